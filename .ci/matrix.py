"""Tries Steelyard on every Python from 3.11 on that this machine has.

Each gets a new environment in ``build/matrix``, runs the tests of the core and of a trading
session, and a replay; a table at the end says how each did, and which were not there. A Python is
found on PATH, in pyenv's folder, or downloaded by uv where it can be.

Usage: ``python .ci/matrix.py EXTRAS [CONSTRAINTS]`` in the root of a checkout. EXTRAS are those of
``make install``; without CONSTRAINTS the newest releases are tried.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VERSIONS = ("3.11", "3.12", "3.13", "3.14")
TESTS = ("tests/market", "tests/evaluation", "tests/weight", "tests/desk/test_session.py")
REPLAY = ("--bars", "simulated:hidden", "--start", "2020-06-01", "--end", "2020-07-15")
UV = (sys.executable, "-m", "uv")


class Failed(Exception):
    """A step that failed, in one line."""


def main() -> None:
    """Try each version; exit code 1 if one failed or none was found."""
    extras, *constraints = sys.argv[1:]
    packages = [f"--constraint={file}" for file in constraints] + ["--editable", f".[{extras}]"]
    results = {version: _tried(version, packages) for version in VERSIONS}
    for version, (result, _) in results.items():
        print(f"{version:6}{result}")
    outcomes = {passed for _, passed in results.values()}
    sys.exit(0 if outcomes <= {True, None} and True in outcomes else 1)


def _tried(version: str, packages: Sequence[str]) -> tuple[str, bool | None]:
    """Return what came of a version, and whether it passed; None if it is not there.

    Args:
        version: Version of Python, such as 3.13.
        packages: What pip is to install.
    """
    folder = ROOT / "build" / "matrix" / version
    print(f"Python {version} …", file=sys.stderr, flush=True)
    if _run([*UV, "venv", "--quiet", "--clear", "--python", _interpreter(version), folder]):
        return "not found", None
    python, began = folder / "bin" / "python", time.monotonic()
    try:
        if _run([*UV, "pip", "install", "--quiet", "--python", python, *packages]):
            raise Failed("the packages cannot be installed together")
        installed = time.monotonic()
        passed = _test(python)
        tested = time.monotonic()
        signals = _replay(python, folder / "home")
    except Failed as failure:
        return f"FAILED: {failure}", False
    return (
        f"ok: installed in {installed - began:.0f} s, {passed} in {tested - installed:.0f} s, "
        f"a replay of {signals} signals in {time.monotonic() - tested:.0f} s"
    ), True


def _interpreter(version: str) -> str:
    """Return pyenv's interpreter of a version; the version itself, for uv to find, if none."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    return next(map(str, root.glob(f"versions/{version}.*/bin/python")), version)


def _test(python: Path) -> str:
    ended = subprocess.run(
        [python, "-m", "pytest", "-q", "--numprocesses", "2", "--dist", "loadfile", *TESTS],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    summary = ended.stdout.strip().splitlines()[-1].split(" in ")[0]
    if ended.returncode:
        print(ended.stdout, file=sys.stderr)
        raise Failed(summary)
    return summary


def _replay(python: Path, home: Path) -> int:
    steelyard = [python, "-P", "-m", "steelyard"]
    replay = [*steelyard, "replay", *REPLAY, "--trials", "2", "--home", home, "--json"]
    ended = subprocess.run(replay, cwd=home.parent, stdout=subprocess.PIPE, text=True)
    if ended.returncode or _run([*steelyard, "verify", "--home", home]):
        raise Failed("a replay, or verify of its home, failed")
    return int(json.loads(ended.stdout)["signals"])


def _run(command: Sequence[str | Path]) -> int:
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL).returncode


if __name__ == "__main__":
    main()
