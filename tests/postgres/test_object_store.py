"""MLflow's files on S3."""

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from factories.object_store import object_store
from factories.registry import LINEAGE, copy_mlflow
from steelyard.errors import FixConfiguration, RestoreService
from steelyard.gateways.registry.tracking import DECISIONS, Tracking

pytestmark = pytest.mark.postgres


def test_a_store_that_goes_away_is_one_line(
    tmp_path: Path, empty_mlflow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is there is read, what is not there is None; without its client the line says so."""
    database = copy_mlflow(empty_mlflow, tmp_path / "mlruns") / "mlflow.db"
    with closing(sqlite3.connect(database)) as connection, connection:
        place = ("s3://steelyard/mlflow/decisions", DECISIONS)
        connection.execute("UPDATE experiments SET artifact_location = ? WHERE name = ?", place)
    tracking = Tracking(f"sqlite:///{database}", "s3://steelyard/mlflow", LINEAGE)
    with object_store("steelyard") as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        with tracking.reached(), tracking.run(DECISIONS, "a run", {}) as run:
            tracking.attach(run, {"kept.json": b"1"})
            assert (tracking.read(run, "kept.json"), tracking.read(run, "lost.json")) == ("1", None)

    with pytest.raises(RestoreService, match=r"MLflow at .* cannot be used"), tracking.reached():
        tracking.attach(run, {"kept.json": b"2"})
    monkeypatch.setitem(sys.modules, "boto3.exceptions", None)
    with (
        pytest.raises(FixConfiguration, match=r"pip install 'steelyard\[s3\]'"),
        tracking.reached(),
    ):
        tracking.read(run, "kept.json")
