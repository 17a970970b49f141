"""Homes that are damaged, copied, or lie at an odd path: trading starts, and nothing is lost."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from factories.homes import LAST, pilot_home
from steelyard.flows.guard import guard
from steelyard.flows.rollback import rollback
from steelyard.gateways.files import set_aside
from steelyard.home import Home, open_home
from steelyard.ops.doctor.home import lineage
from steelyard.queries.status import status
from steelyard.trading import open_session

DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda file: file.write_bytes(b""),
    "truncated": lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
    "random bytes": lambda file: file.write_bytes(bytes(range(255, -1, -1)) * 3),
    "a folder in its place": lambda file: (file.unlink(), file.mkdir()),
}
PARTS = (
    "state.json",
    "bundle/current",
    "bundle/1/model.json",
    "spool/lines.jsonl",
    "spool/drained",
)


@pytest.fixture(scope="module")
def traded(tmp_path_factory: pytest.TempPathFactory, empty_mlflow: Path) -> Path:
    """A home in which a trading process has left state, model and spool on disk."""
    folder = tmp_path_factory.mktemp("traded") / "home"
    pilot_home(folder, empty_mlflow)
    open_session(folder, clock=lambda: LAST).close()
    spool = folder / ".steelyard" / "spool"
    (spool / "lines.jsonl").write_bytes(b'{"nonsense":1}\n')
    (spool / "drained").write_text("0")
    return folder


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("with_mlflow", [False, pytest.param(True, marks=pytest.mark.soak)])
def test_no_damage_keeps_trading_from_starting(
    tmp_path: Path, traded: Path, damage: str, with_mlflow: bool
) -> None:
    """Without MLflow the existing system decides; the damaged files are kept."""
    home = Path(shutil.copytree(traded, tmp_path / "home"))
    for part in PARTS:
        DAMAGES[damage](home / ".steelyard" / part)
    if not with_mlflow:
        (home / "mlruns" / "mlflow.db").rename(home / "gone.db")
        (home / "mlruns" / "mlflow.db").mkdir()
    session = open_session(home, clock=lambda: LAST)
    session.persist()
    found = session.status(LAST)
    session.close()

    assert (found.weight, found.version) == ((0.15, "1") if with_mlflow else (0.0, ""))
    assert (home / ".steelyard" / "state.json.damaged").exists()
    assert (home / ".steelyard" / "bundle.damaged").is_dir()
    [alert] = [
        stored.alert
        for stored in open_home(home).alerts.open()
        if "state.json" in stored.alert.figure
    ]
    assert "is kept as" in alert.figure


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_seal_key_keeps_nobody_from_trading(
    tmp_path: Path, traded: Path, damage: str
) -> None:
    """Nothing can be believed without it: the existing system decides, and an alert says why."""
    home = Path(shutil.copytree(traded, tmp_path / "home"))
    DAMAGES[damage](home / ".steelyard" / "seal.key")
    session = open_session(home, clock=lambda: LAST)
    weight = session.status(LAST).weight
    session.close()

    assert weight == 0.0
    assert any("seal" in stored.alert.figure for stored in open_home(home).alerts.open())


def test_a_disk_that_cannot_be_written_keeps_nobody_from_starting(
    tmp_path: Path, traded: Path
) -> None:
    """The existing system decides, as a brake that cannot be read counts as pulled."""
    home = Path(shutil.copytree(traded, tmp_path / "home"))
    shutil.rmtree(home / ".steelyard" / "spool")
    (home / ".steelyard").rename(home / "away")
    (home / ".steelyard").write_text("")
    session = open_session(home, clock=lambda: LAST)
    session.persist()  # nothing was evaluated yet
    assert session.status(LAST).out_of_force == "brake"

    (home / ".steelyard").unlink()
    (home / "away").rename(home / ".steelyard")
    session.close()
    assert (home / ".steelyard" / "spool" / "lines.jsonl").exists()


def test_a_file_that_cannot_be_kept_aside_twice_gets_another_name(tmp_path: Path) -> None:
    """Nothing that was set aside before is overwritten."""
    for number in range(3):
        (tmp_path / "a").write_text(str(number))
        set_aside(tmp_path / "a")

    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "a.damaged",
        "a.damaged-2",
        "a.damaged-3",
    ]
    assert set_aside(tmp_path / "a") is None


def test_a_home_at_an_odd_path_works(tmp_path: Path, empty_mlflow: Path) -> None:
    """Question mark, number sign, percent, blank, and letters beyond ASCII."""
    folder = tmp_path / "wie? #1 100%41 Börse"
    home = pilot_home(folder, empty_mlflow)
    guard.fn(LAST, str(folder))
    rollback.fn(reason="a test", operator="anna", as_of=LAST, home=str(folder))
    open_session(folder, clock=lambda: LAST).close()

    assert [path.name for path in tmp_path.iterdir()] == [folder.name]
    assert home.journal.faults() == []
    assert home.registry.load("1")
    assert status(open_home(folder), LAST).current is not None
    stored = {path.name for path in (folder / "mlruns" / "artifacts").rglob("*")}
    assert {"decision.json", "incident.md", "model.json"} <= stored


def content(folder: Path) -> tuple[set[str], int]:
    """Names of all files but SQLite's own, and the number of runs in MLflow."""
    names = {str(file) for file in folder.rglob("*") if not file.name.endswith(("-wal", "-shm"))}
    with closing(sqlite3.connect(folder / "mlruns" / "mlflow.db")) as connection:
        [runs] = connection.execute("SELECT COUNT(*) FROM runs").fetchone()
    return names, runs


def test_a_copied_home_writes_into_itself_alone(tmp_path: Path, empty_mlflow: Path) -> None:
    """The doctor says it is a copy; afterwards it needs the original no more."""
    original, copy = tmp_path / "original", tmp_path / "copy"
    pilot_home(original, empty_mlflow)
    shutil.copytree(original, copy)
    assert origins(open_home(original)) == [("ok", "the home is where it was made")]
    before = content(original)
    [(standing, finding)] = origins(open_home(copy))
    assert standing == "warning"
    assert f"copied or moved from {original}/mlruns/artifacts" in finding

    rollback.fn(reason="a test", operator="anna", as_of=LAST, home=str(copy))
    guard.fn(LAST, str(copy))
    assert content(original) == before
    shutil.rmtree(original)
    home = open_home(copy)
    assert home.journal.faults() == []
    assert home.registry.load("1")
    [(standing, finding)] = origins(home)
    assert (standing, "its own files are in this home" in finding) == ("ok", True)


def origins(home: Home) -> list[tuple[str, str]]:
    return [(row.standing, row.found) for row in lineage(home) if row.name == "origin"]
