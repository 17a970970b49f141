"""Files written whole: the old content or the new one, never a part."""

import os
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from factories.pilot import BAR, bars_frame
from factories.registry import LINEAGE
from steelyard.gateways.alerts import Alert, Alerts
from steelyard.gateways.brake import Brake
from steelyard.gateways.files import private_file, private_folder, write_whole
from steelyard.gateways.lake import Lake
from steelyard.gateways.ledger import Ledger
from steelyard.gateways.spool import Spool


@pytest.mark.parametrize("before", [None, "a longer old content"], ids=["new file", "old file"])
@pytest.mark.parametrize("content", ["née", "née".encode()], ids=["text", "bytes"])
def test_a_file_holds_exactly_what_was_written(
    tmp_path: Path, before: str | None, content: str | bytes
) -> None:
    """The content stands alone in its file, and nothing is left beside it."""
    file = tmp_path / "state.json"
    if before is not None:
        file.write_text(before)
    write_whole(file, content)
    assert file.read_bytes() == "née".encode()
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """A full disk costs the new content only, and leaves no half-written file."""

    def full(*_: object) -> None:
        raise OSError("no space left")

    file = tmp_path / "state.json"
    write_whole(file, "old")
    monkeypatch.setattr(os, step, full)
    with pytest.raises(OSError, match="no space left"):
        write_whole(file, "new")
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_remainder_of_a_process_that_died_is_in_nobodys_way(tmp_path: Path) -> None:
    """What another process left half-written is written over."""
    (tmp_path / "state.json.new").write_text("half of something much longer")
    write_whole(tmp_path / "state.json", "whole")
    assert (tmp_path / "state.json").read_text() == "whole"


def test_writers_of_one_file_take_turns(tmp_path: Path) -> None:
    """Whoever reads while eight write finds the content of one of them."""
    file, contents = tmp_path / "state.json", [str(number) * 100_000 for number in range(8)]
    write_whole(file, contents[0])

    def write_and_read(content: str) -> set[str]:
        read = set()
        for _ in range(10):
            write_whole(file, content)
            read.add(file.read_text())
        return read

    with ThreadPoolExecutor(len(contents)) as pool:
        read = set().union(*pool.map(write_and_read, contents))
    assert read <= set(contents)
    assert list(tmp_path.iterdir()) == [file]


@pytest.fixture
def open_umask() -> Iterator[None]:
    """A umask that lets everybody in."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("open_umask")
def test_what_a_home_holds_is_for_its_owner_only(tmp_path: Path) -> None:
    """Home, ledger with its side files, lake, spool, brake and alerts, whatever the umask."""
    home = tmp_path / "home"
    state = home / ".steelyard"
    ledger = Ledger(f"sqlite:///{state}/ledger.db", LINEAGE)
    ledger.migrate()
    Lake(state / "lake").append(bars_frame().head(20), BAR)
    spool = Spool(state / "spool")
    spool.open()
    spool.append([{"n": 1}])
    spool.set_aside(b"{")
    spool.close()
    Brake(state).pull("operator", "tried")
    now = datetime.now(UTC)
    Alerts(state / "alerts", ()).post(Alert(key="k", at=now, kind="flow", title="t", advice="a"))
    with closing(sqlite3.connect(private_file(home / "mlruns" / "mlflow.db"))) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE t (n)")
        modes = {path: path.stat().st_mode & 0o777 for path in (home, *home.rglob("*"))}

    locks = {path for path in modes if path.suffix == ".lock" or path.name.startswith(".")}
    folders = {path for path in modes if path.is_dir()}
    assert {"ledger.db", "lines.jsonl", "damaged.jsonl", "mlflow.db-wal"} <= {
        path.name for path in modes
    }
    assert {modes[path] for path in folders} == {0o700}
    assert {path for path in modes.keys() - folders - locks if modes[path] != 0o600} == set()


@pytest.mark.usefixtures("open_umask")
def test_a_folder_that_exists_keeps_its_modes(tmp_path: Path) -> None:
    """Nothing is mended in silence; the doctor names it."""
    (tmp_path / "shared").mkdir(mode=0o755)
    private_folder(tmp_path / "shared" / "own")

    assert (tmp_path / "shared").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "shared" / "own").stat().st_mode & 0o777 == 0o700
