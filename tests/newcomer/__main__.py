"""Goes through docs/start.md as a newcomer does: every command as it stands, in an empty account.

The account has a new home folder and a clone of the last commit, and nothing of this environment
but the way to a package index. What a block ``text`` shows must be seen in what the commands before
it print, figures included, times excepted; every file that the prose names must be there.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
PAGE = PROJECT / "docs" / "start.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"`((?:\w+/)*[\w.]+\.(?:html|py|yaml|example))`")
TIME = re.compile(r"\b[\d.]+ (s|min)\b")
KEPT = re.compile(r"LANG|(PIP|UV|SSL)_\w+|\w+_(proxy|PROXY)|REQUESTS_CA_BUNDLE")
"""Variables that an empty account has, too: who it is, and how pip reaches its index."""
MARK = "=== newcomer:"


def main() -> None:
    """Follow the page; the exit code is 1 if a command fails, or something is not as it says."""
    text = PAGE.read_text(encoding="utf-8")
    blocks = [(kind, content.strip()) for kind, content in BLOCK.findall(text)]
    with tempfile.TemporaryDirectory(prefix="newcomer-") as name:
        checkout = Path(name) / "steelyard"
        subprocess.run(["git", "clone", "--quiet", PROJECT, checkout], check=True)
        printed, folder = _followed(blocks, checkout)
        missing = _unseen(blocks, printed) + [
            f"{file} is not there" for file in _named(text) if not (folder / file).exists()
        ]
    sys.exit("\n".join(missing) if missing else 0)


def _followed(blocks: list[tuple[str, str]], checkout: Path) -> tuple[list[str], Path]:
    """Return what each block printed, and the folder in which the last one left the shell.

    Args:
        blocks: Kind and content of each block of the page; those of commands run in one shell.
        checkout: Folder in which the shell starts.
    """
    lines = [f'printf "\\n{MARK} %s\\n" "$PWD"']
    for kind, content in blocks:
        lines += [content if kind in ("bash", "sh") else "", lines[0]]
    home = checkout.with_name("account")
    home.mkdir()
    python = Path(sys.executable).resolve().parent  # not a launcher that looks into another account
    kept = {name: os.environ[name] for name in os.environ if KEPT.fullmatch(name)}
    path = f"{python}{os.pathsep}{os.environ['PATH']}"
    shell = subprocess.Popen(
        ["bash", "-euc", "\n".join(lines)],
        cwd=checkout,
        env=kept | {"HOME": str(home), "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert shell.stdout is not None
    printed, folder = [""], checkout
    for line in shell.stdout:
        sys.stderr.write(line)
        if line.startswith(MARK):
            folder = Path(line.removeprefix(MARK).strip())
            printed.append("")
        else:
            printed[-1] += line
    if shell.wait():
        sys.exit(f"a command of {PAGE.name} failed")
    return printed[1:], folder


def _unseen(blocks: list[tuple[str, str]], printed: list[str]) -> list[str]:
    """Return what the page shows and the commands before it did not print."""
    return [
        f"{PAGE.name} shows, and it was not seen: {line}"
        for (kind, content), before in zip(blocks[1:], printed, strict=False)
        if kind == "text"
        for line in content.splitlines()
        if TIME.sub("a time", line) not in TIME.sub("a time", before)
    ]


def _named(text: str) -> list[str]:
    """Return the files that the prose of a page names."""
    return FILE.findall(BLOCK.sub("", text))


if __name__ == "__main__":
    main()
