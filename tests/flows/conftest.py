"""Homes for flows, and the command line run as a shell runs it."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from steelyard import cli
from steelyard.settings import PACKAGE


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    """A copy of the project's settings, to be changed by a test."""
    return Path(shutil.copytree(PACKAGE / "conf", tmp_path / "conf"))


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run the command line in this process: exit code, stdout, stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["steelyard", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        code = ended.value.code
        return (1, out, err + code) if isinstance(code, str) else (int(code or 0), out, err)

    return run
