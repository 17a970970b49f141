"""Run every benchmark of speed and write ``docs/performance.md`` with machine, load and command.

Benchmarks print tables; one whose last column is ``exponent`` is drawn, too: its figures over the
sizes in its header, both on a logarithmic scale.
"""

import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs"
PICTURE = "pictures/scaling.png"
STATISTICS = ("edge.py", "evidence.py", "planted.py")
"""What a command finds out, not how long it takes; docs/results.md tells."""
HEADER = """# Performance

Written by `make bench` on {machine}, {day}. Figures are of this machine and hour; what holds
elsewhere are the ratios to a peer measured in the same run, and the exponents: 1.0 means that twice
the data take twice the time, 0.0 that it makes no difference.

![Cost over size on logarithmic scales, one panel a benchmark]({picture})
"""


@dataclass(frozen=True, slots=True)
class Growth:
    """A table of figures over sizes.

    Attributes:
        unit: What the sizes count.
        sizes: Sizes, rising.
        rows: Name of a figure → its values, as many as sizes.
    """

    unit: str
    sizes: Sequence[float]
    rows: dict[str, list[float]]


@dataclass(frozen=True, slots=True)
class Run:
    """A benchmark that was run.

    Attributes:
        script: Name of its file.
        title: First sentence of its docstring.
        load: Average load of the minute before it began.
        seconds: Time it took.
        output: What it printed.
    """

    script: str
    title: str
    load: float
    seconds: float
    output: str

    def section(self) -> str:
        """Return what it found as Markdown."""
        told = f"{self.seconds:.0f} s, load before it {self.load:.1f}"
        return (
            f"## {self.script.removesuffix('.py')}\n\n{self.title}\n\n"
            f"`python benchmarks/{self.script}`, {told}\n\n"
            f"```text\n{self.output.rstrip()}\n```\n"
        )


def main() -> None:
    """Run the benchmarks named on the command line, or all; a failed one ends it."""
    named = [f"{name.removesuffix('.py')}.py" for name in sys.argv[1:]]
    scripts = named or sorted(
        file.name for file in HERE.glob("[!_]*.py") if file.name not in STATISTICS
    )
    runs = [run(script) for script in scripts]
    growths = {
        f"{one.script.removesuffix('.py')} by {table.unit}": table
        for one in runs
        for table in growths_in(one.output)
    }
    if named:
        return
    draw(growths, DOCS / PICTURE)
    day = f"{datetime.now(UTC):%-d %B %Y}"
    page = HEADER.format(machine=machine(), day=day, picture=PICTURE)
    sections = "\n".join(one.section() for one in runs)
    (DOCS / "performance.md").write_text(f"{page}\n{sections}", encoding="utf-8")


def run(script: str) -> Run:
    """Run a benchmark and show what it prints.

    Args:
        script: Name of its file.
    """
    source = (HERE / script).read_text(encoding="utf-8")
    title = source.split('"""')[1].strip().split("\n\n")[0].replace("\n", " ").replace("``", "`")
    print(f"\n{script}: {title}", flush=True)
    load, started = os.getloadavg()[0], time.perf_counter()
    done = subprocess.run(
        [sys.executable, str(HERE / script)], check=False, stdout=subprocess.PIPE, text=True
    )
    print(done.stdout, flush=True)
    if done.returncode:
        sys.exit(f"{script} ended with {done.returncode}; its error is above")
    return Run(script, title, load, time.perf_counter() - started, done.stdout)


def growths_in(output: str) -> list[Growth]:
    """Return the tables of a benchmark whose last column is ``exponent``.

    Args:
        output: What it printed; names end at two spaces or at their first number.
    """
    tables = list[Growth]()
    for line in output.splitlines():
        words = re.match(r"(\D+?)\s+((?:[\d,.]+\s+)+)(exponent|-?[\d.]+|nan)\s*$", line)
        if not words:
            continue
        numbers = [float(number.replace(",", "")) for number in words[2].split()]
        if words[3] == "exponent":
            tables.append(Growth(words[1], numbers, {}))
        elif tables and len(numbers) == len(tables[-1].sizes):
            tables[-1].rows[words[1]] = numbers
    return tables


def draw(growths: dict[str, Growth], file: Path) -> None:
    """Draw figures over sizes, one panel a benchmark, with a line of exponent 1 behind them.

    Args:
        growths: Title of a panel → its table.
        file: Written.
    """
    columns = min(len(growths), 3)
    figure = Figure(figsize=(4.6 * columns, 3.6 * -(-len(growths) // 3)), layout="constrained")
    panels = figure.subplots(-(-len(growths) // 3), columns, squeeze=False).flatten()
    for axes in panels[len(growths) :]:
        axes.set_visible(False)
    for axes, (title, growth) in zip(panels, growths.items(), strict=False):
        for name, values in growth.rows.items():
            axes.loglog(growth.sizes, values, "o-", lw=1.4, ms=3.5, label=name)
        lowest = min(values[0] for values in growth.rows.values())
        straight = [lowest * size / growth.sizes[0] for size in growth.sizes]
        axes.loglog(growth.sizes, straight, ":", color="#8a9099", label="exponent 1")
        axes.set(title=title, xlabel=growth.unit)
        axes.legend(frameon=False, fontsize=8)
    figure.set_dpi(110)
    with file.open("wb") as opened:
        FigureCanvasAgg(figure).print_png(opened, metadata={"Software": None})


def machine() -> str:
    """Return processor, cores, memory and interpreter in a phrase."""
    facts = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    named = re.search(r"model name\s*:\s*(.+)", facts)
    processor = named[1] if named else platform.processor()
    gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    python = platform.python_version()
    return f"{processor}, {os.cpu_count()} cores, {gigabytes:.0f} GB, Python {python}"


if __name__ == "__main__":
    main()
