"""Run benchmarks of speed, all or the named ones, and write what they found.

It stands in ``docs/performance.md`` with machine, load and command; sections of benchmarks that
were not run stay. A table whose last column is ``exponent`` is drawn, too: its figures over the
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
COLUMNS = 3
"""Panels side by side."""
STATISTICS = ("edge.py", "evidence.py", "planted.py")
"""What a command finds out, not how long it takes; docs/results.md tells."""
PAGE = DOCS / "performance.md"
HEADER = f"""# Performance

Written by `make bench`. Figures are of the machine and the hour beside them; what holds elsewhere
are the ratios to a peer measured in the same run, and the exponents: 1.0 means that twice the data
take twice the time, 0.0 that it makes no difference.

![Cost over size on logarithmic scales, one panel a table]({PICTURE})
"""


@dataclass(frozen=True, slots=True)
class Growth:
    """A table of figures over sizes.

    Attributes:
        benchmark: What printed it.
        unit: What the sizes count.
        sizes: Sizes, rising.
        rows: Name of a figure → its values, as many as sizes.
    """

    benchmark: str
    unit: str
    sizes: Sequence[float]
    rows: dict[str, list[float]]


def main() -> None:
    """Run the benchmarks named on the command line, or all; a failed one ends it."""
    scripts = [f"{name.removesuffix('.py')}.py" for name in sys.argv[1:]] or sorted(
        file.name for file in HERE.glob("[!_]*.py") if file.name not in STATISTICS
    )
    for script in scripts:
        section = run(script)
        sections = sections_of(PAGE) | {script.removesuffix(".py"): section}
        draw([table for name in sorted(sections) for table in growths_in(name, sections[name])])
        page = "\n".join([HEADER, *(sections[name] for name in sorted(sections))])
        PAGE.write_text(page, encoding="utf-8")


def sections_of(page: Path) -> dict[str, str]:
    """Return the sections of a page by their title; none if it does not exist.

    Args:
        page: File in Markdown.
    """
    text = page.read_text(encoding="utf-8") if page.exists() else ""
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)[1:]
    return {
        title: f"## {title}\n\n{body.strip()}\n"
        for title, body in zip(parts[::2], parts[1::2], strict=True)
    }


def run(script: str) -> str:
    """Run a benchmark, show what it prints, and return it as a section of the page.

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
    seconds, day = time.perf_counter() - started, f"{datetime.now(UTC):%-d %B %Y}"
    told = f"{day}, {machine()}; {seconds:.0f} s, load before it {load:.1f}"
    return (
        f"## {script.removesuffix('.py')}\n\n{title}\n\n`python benchmarks/{script}`, {told}\n\n"
        f"```text\n{done.stdout.rstrip()}\n```\n"
    )


def growths_in(benchmark: str, output: str) -> list[Growth]:
    """Return the tables of a benchmark whose last column is ``exponent``.

    Args:
        benchmark: Its name.
        output: What it printed; names end at their first number.
    """
    tables = list[Growth]()
    for line in output.splitlines():
        words = re.match(r"(\D+?)\s+((?:[\d,.]+\s+)+)(exponent|-?[\d.]+|nan)\s*$", line)
        if not words:
            continue
        numbers = [float(number.replace(",", "")) for number in words[2].split()]
        if words[3] == "exponent":
            tables.append(Growth(benchmark, words[1], numbers, {}))
        elif tables and len(numbers) == len(tables[-1].sizes):
            tables[-1].rows[words[1]] = numbers
    return tables


def draw(growths: Sequence[Growth]) -> None:
    """Draw figures over sizes, one panel a table, with a line of exponent 1 among them.

    Args:
        growths: The tables.
    """
    rows = -(-len(growths) // COLUMNS)
    figure = Figure(figsize=(5.2 * COLUMNS, 3.6 * max(rows, 1)), layout="constrained")
    panels = figure.subplots(max(rows, 1), COLUMNS, squeeze=False).flatten()
    for axes in panels[len(growths) :]:
        axes.set_visible(False)
    for axes, growth in zip(panels, growths, strict=False):
        for name, values in growth.rows.items():
            axes.loglog(growth.sizes, values, "o-", lw=1.4, ms=3.5, label=name)
        lowest = min(values[0] for values in growth.rows.values())
        straight = [lowest * size / growth.sizes[0] for size in growth.sizes]
        axes.loglog(growth.sizes, straight, ":", color="#8a9099", label="exponent 1")
        axes.set(title=f"{growth.benchmark} by {growth.unit}", xlabel=growth.unit)
        axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.set_dpi(110)
    with (DOCS / PICTURE).open("wb") as opened:
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
