"""Whatever a library raises about a damaged home, the operator gets one line with what to do."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest

from factories.homes import LAST, pilot_home
from steelyard.errors import FixData
from steelyard.gateways.sources import SourceSettings, read

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, empty_mlflow: Path) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "home"
    pilot_home(folder, empty_mlflow)
    lake = folder / ".steelyard" / "lake"
    (lake / "symbol=A").mkdir(parents=True)
    (lake / "lake.json").write_text('{"bar_size": "1h"}')
    pd.DataFrame({"other": [1]}).to_parquet(lake / "symbol=A" / "bars.parquet")
    return folder


def sql(file: Path, statement: str) -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(statement)


def ledger(statement: str) -> Callable[[Path], None]:
    return lambda home: sql(home / ".steelyard" / "ledger.db", statement)


def mlflow(statement: str) -> Callable[[Path], None]:
    return lambda home: sql(home / "mlruns" / "mlflow.db", statement)


def noise(name: str) -> Callable[[Path], None]:
    def damage(home: Path) -> None:
        (home / name).write_bytes(bytes(range(256)) * 64)
        for log in ("-wal", "-shm"):  # SQLite would read its pages from there
            (home / f"{name}{log}").unlink(missing_ok=True)

    return damage


DAMAGES: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "MLflow's database is noise": (noise("mlruns/mlflow.db"), "status", "cannot be used"),
    "MLflow's database of another version": (
        mlflow("UPDATE alembic_version SET version_num = 'ffffffffffff'"),
        "status",
        "cannot be used",
    ),
    "MLflow lost a table": (mlflow("DROP TABLE registered_model_tags"), "status", "cannot be used"),
    "the ledger is noise": (noise(".steelyard/ledger.db"), "guard", "cannot be used"),
    "the ledger of a later version": (
        ledger("UPDATE alembic_version SET version_num = '9999'"),
        "guard",
        "tables of another version of Steelyard",
    ),
    "a time that is none": (
        ledger("UPDATE ml_predictions SET decided_at = 'yesterday'"),
        "guard",
        "a value that cannot be read",
    ),
    "a number that is none": (
        ledger("UPDATE ml_predictions SET net_return = 'much'"),
        "guard",
        "a value that cannot be read",
    ),
    "bars without columns": (lambda _: None, "trade", "restore it, or delete it and collect again"),
    "bars are noise": (
        noise(".steelyard/lake/symbol=A/bars.parquet"),
        "settle",
        "restore it, or delete it",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_store_is_one_line(
    tmp_path: Path, whole: Path, command: Command, damage: str
) -> None:
    """No traceback, no unexpected error, exit code 1."""
    home = Path(shutil.copytree(whole, tmp_path / "home"))
    damaging, name, words = DAMAGES[damage]
    damaging(home)
    code, _, err = command(name, "--home", home, "--as-of", LAST.isoformat())

    assert code == 1
    assert words in err
    assert "unexpected" not in err
    assert len([line for line in err.splitlines() if line.startswith("steelyard:")]) == 1


@pytest.mark.parametrize("name", ["a.csv.gz", "a.parquet", "a.csv"])
def test_a_file_of_noise_is_one_line(tmp_path: Path, name: str) -> None:
    """Compressed ones raise errors of their own kind."""
    content = b"\x1f\x8b\x08\x00" + bytes(range(256)) * 4
    (tmp_path / name).write_bytes(content)

    with pytest.raises(FixData, match=r"cannot be read|separated|column"):
        read(SourceSettings(kind="files", path=str(tmp_path)))


def test_a_decision_without_its_number_keeps_nobody_from_deciding(
    tmp_path: Path, whole: Path, command: Command
) -> None:
    """Somebody removed the tag on MLflow's pages; verify names it."""
    home = Path(shutil.copytree(whole, tmp_path / "home"))
    sql(home / "mlruns" / "mlflow.db", "DELETE FROM tags WHERE key = 'sequence'")
    code, _, err = command("hold", "--reason", "why", "--home", home)

    assert (code, "unexpected" in err) == (0, False), err
    assert command("verify", "--home", home)[0] == 1
