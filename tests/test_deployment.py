"""What is delivered for deployment is what the programs understand."""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
UNITS = sorted((PROJECT / "deploy" / "systemd").glob("*.service"))
INSTALLED = "/opt/steelyard/bin/steelyard"
Command = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_starts_a_command_that_tells_systemd(unit: Path, command: Command) -> None:
    """The command and its options are there; systemd waits for its signs of life."""
    text = unit.read_text()
    [line] = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)
    program, name, *options = shlex.split(line)
    _, shown, _ = command(name, "--help")

    assert program == INSTALLED
    assert f"steelyard-{name}" == unit.stem
    assert all(option in shown for option in options[::2])
    assert "\nType=notify\n" in text
    assert re.search(r"^WatchdogSec=\d+min$", text, re.MULTILINE)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_systemd_understands_every_line(tmp_path: Path) -> None:
    """Nothing is unknown or ignored."""
    copies = [tmp_path / unit.name for unit in UNITS]
    for unit, copy in zip(UNITS, copies, strict=True):
        copy.write_text(unit.read_text().replace(INSTALLED, sys.executable))
    verified = subprocess.run(
        ["systemd-analyze", "verify", *copies], capture_output=True, text=True
    )

    assert (verified.returncode, verified.stderr) == (0, "")
