"""The commands of the guide, run as they stand, each page in an empty folder of its own."""

import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from factories.guides import python_of
from factories.registry import copy_mlflow
from factories.trade_logs import freqtrade_trades

DOCS = Path(__file__).parents[1] / "docs"
PAGES = [DOCS / "start.md", *sorted((DOCS / "guide").glob("*.md"))]
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
MODULES = {
    "own-exits": "my_exits.py",
    "own-features": "my_features.py",
    "own-model": "my_models.py",
}
"""Files that the Python blocks of a page are saved as."""
ELSEWHERE = ("steelyard replay --bars sample", "steelyard simulate")
"""Commands of the start page that are run by another page, or by CI itself."""
SHORTER = ["--end", "2021-06-03", "--trials", "1"]
"""What its other replay gets here: of an option given twice the last counts."""
QUICK = "trials: 2\nrounds: 20\nbootstrap_samples: 200\nfamilies: [logistic]\n"

CONTINUED = {"start": sorted((DOCS / "concepts").glob("*.md"))}
"""Pages whose commands go on in the folder of another one."""
HOMES = {"start": ("first/past", "first/edge")}
"""Homes that a page uses, other than ``.`` and ``replayed``."""


def prepare(page: str, folder: Path) -> None:
    """Write the files that a page takes as the reader's own."""
    if page in MODULES:
        source = "\n\n".join(python_of(f"{page}.md"))
        (folder / MODULES[page]).write_text(source, encoding="utf-8")
    if page == "from-a-log":
        freqtrade_trades(600, winners=0.55, start="2025-01-01", hours=6).to_csv(
            folder / "trades.csv", index=False
        )


def commands(page: Path) -> Iterator[str]:
    """Yield the commands of a page: one of ours each, or the lines of a shell between them.

    Those of the pages that continue it follow. Blocks marked ``bash`` need what a test does not
    have: an installation, a server, a venue.
    """
    pages = [page, *CONTINUED.get(page.stem, ())]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    for block in BLOCK.findall(text):
        shell: list[str] = []
        for line in block.replace("\\\n", " ").splitlines():
            if is_ours(line):
                yield "\n".join(shell)
                yield line
                shell = []
            else:
                shell.append(line)
        yield "\n".join(shell)


def is_ours(line: str) -> bool:
    """Return whether a line is a command of ours that ends by itself."""
    return line.startswith("steelyard ") and not line.rstrip().endswith("&")


@pytest.mark.parametrize(
    "page", [page for page in PAGES if any(commands(page))], ids=lambda page: page.stem
)
def test_the_commands_of_a_page_run(
    page: Path,
    tmp_path: Path,
    empty_mlflow: Path,
    command: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every command ends with code 0; the search is short, and MLflow's tables are there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "my_system", raising=False)  # that of another folder
    prepare(page.stem, tmp_path)
    for home in HOMES.get(page.stem, ("", "replayed")):
        copy_mlflow(empty_mlflow, tmp_path / home / "mlruns")
    program = shlex.join([sys.executable, "-P", "-m", "steelyard"])
    begins = page.stem == "start"
    for line in dict.fromkeys(filter(None, commands(page))):
        if begins and line.startswith(ELSEWHERE):
            continue
        if is_ours(line):
            words = shlex.split(line, comments=True)[1:]
            code, _, err = command(*words, *(SHORTER if begins and "replay" in words else ()))
            assert code == 0, f"{line}: {err}"
        elif line.startswith("cd "):
            monkeypatch.chdir(line.removeprefix("cd "))
        else:
            script = f'set -eu\nsteelyard() {{ {program} "$@"; }}\n{line}'
            subprocess.run(["sh", "-c", script], check=True, timeout=120)
        if not is_ours(line) and Path("conf").is_dir():
            Path("conf/learning.yaml").write_text(QUICK, encoding="utf-8")
