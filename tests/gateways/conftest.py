"""Real databases: SQLite files, a PostgreSQL server, a migrated MLflow."""

from collections.abc import Callable
from pathlib import Path

import pytest

from factories.registry import copy_mlflow, open_registry
from steelyard.gateways.registry import Registry


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path, postgres: Callable[[], str]) -> str:
    return f"sqlite:///{tmp_path}/state/ledger.db" if request.param == "sqlite" else postgres()


@pytest.fixture
def registry(empty_mlflow: Path, tmp_path: Path) -> Registry:
    """A registry for each test; experiments are recreated so that artifacts go to its folder."""
    return open_registry(copy_mlflow(empty_mlflow, tmp_path / "mlruns"))
