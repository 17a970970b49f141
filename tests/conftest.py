"""What tests of several layers start from."""

from pathlib import Path

import pytest

from registries import open_registry
from steelyard.settings import go_offline

go_offline()


@pytest.fixture(scope="session")
def empty_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated MLflow database, made once: migrating takes seconds."""
    folder = tmp_path_factory.mktemp("mlflow")
    open_registry(folder).journal.state()
    return folder
