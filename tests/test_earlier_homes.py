"""A home that version 0.1.0 wrote goes on under the present version.

``homes/0.1.0.tar.xz`` is ten weeks of a replay on simulated bars, with the settings of then, and
``told.json``, what version 0.1.0 itself read from it. To keep it small it is without pictures, data
docs and the files of models that no longer serve, and its lake is not compressed before the archive
is.
"""

import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from steelyard.home import open_home

PACKED = Path(__file__).parent / "homes" / "0.1.0.tar.xz"
NEXT_DAY = "2021-07-13T23:00:00+00:00"
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    with tarfile.open(PACKED) as packed:
        packed.extractall(tmp_path, filter="data")
    return tmp_path


def test_a_home_of_version_0_1_0_goes_on(earlier: Path, command: Command) -> None:
    """Weight, phase and every decision are read as they were written, and the days go on."""
    folders = ("--home", earlier, "--conf", earlier / "conf")
    told = json.loads((earlier / "told.json").read_text())

    def asked(name: str, *options: object) -> Any:
        code, out, err = command(name, *options, *folders, "--json")
        assert code == 0, err
        return json.loads(out)

    state = asked("status", "--as-of", NEXT_DAY)["state"]
    entries = open_home(earlier, earlier / "conf").journal.entries()
    assert (state["weight"], state["phase"]) == (told["weight"], told["phase"])
    assert [entry.hash for entry in entries] == told["journal"]
    for name in ("guard", "weight"):
        asked(name, "--as-of", NEXT_DAY)
    assert asked("verify")["faults"] == []
    code, _, err = command("report", "--as-of", NEXT_DAY, *folders)
    assert code == 0, err
    after = asked("status", "--as-of", NEXT_DAY)["state"]
    assert (after["weight"], after["phase"]) == (told["weight"], told["phase"])
    assert (earlier / "lineage.html").exists()
