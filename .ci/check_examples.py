"""Runs the examples: every block of commands in examples/README.md as it stands, and the notebook.

Each section is run in an empty folder that holds the files of ``examples/``, two sections at a
time; its output must hold the line that the page promises. Run from the root of a checkout.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
SECTION = re.compile(r"^## (.+?)\n+```sh\n(.*?)```\n+```text\n(.*?)```", re.MULTILINE | re.DOTALL)
QUICK = "trials: 2\n"
"""A short search, where a section does not ask for one of its own."""
NOTEBOOK = (
    "The notebook",
    "jupyter-execute --timeout=120 --output=executed.ipynb tour.ipynb",
    "executed.ipynb",
)


def main() -> None:
    """Check all examples; the first that fails ends it with what it printed."""
    page = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    sections = [NOTEBOOK, *SECTION.findall(page)]
    assert len(sections) == page.count("```sh") + 1, "a section lacks the line it promises"
    with ThreadPoolExecutor(2) as pool:
        for line in pool.map(_check, sections):
            print(line, flush=True)


def _check(section: tuple[str, str, str]) -> str:
    """Return how long a section took."""
    title, commands, promised = section
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="steelyard-example-") as name:
        for file in filter(Path.is_file, EXAMPLES.iterdir()):
            shutil.copy(file, name)
        conf = Path(name) / "conf"
        conf.mkdir()
        (conf / "learning.yaml").write_text(QUICK, encoding="utf-8")
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
        ended = subprocess.run(
            ["sh", "-euc", commands],
            cwd=name,
            env=os.environ | {"PATH": path},
            capture_output=True,
            text=True,
        )
    printed = ended.stdout + ended.stderr
    if ended.returncode or promised.strip() not in printed:
        sys.exit(f"{title}: exit code {ended.returncode}, {promised.strip()!r} not in\n{printed}")
    return f"{title}: {time.monotonic() - began:.0f} s"


if __name__ == "__main__":
    main()
