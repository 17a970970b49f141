"""The way to MLflow: a client on a migrated database, runs that are finished or marked, and failures as our errors."""

import math
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

from filelock import FileLock, Timeout

from steelyard.errors import FixConfiguration, RestoreService
from steelyard.gateways.registry.descriptions import ABOUT, WHERE

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

TRAINING, DECISIONS, OBSERVATIONS = (
    "steelyard/training",
    "steelyard/decisions",
    "steelyard/observations",
)
NOTE = "mlflow.note.content"
"""Tag of what MLflow's pages show as the description of a run or an experiment."""
EXPERIMENTS = {
    TRAINING: "Every training: figures, pictures, and each trial of its search as a run below it.",
    DECISIONS: "The journal: every change of the weight, every refusal to change it, and every promotion, one run each.",
    OBSERVATIONS: "What was looked at and decided nothing: checks for drift, monthly reviews.",
}
LONGEST = 5000
"""Characters of a tag or a description that every database of MLflow's keeps."""
LOCK_SECONDS = 60
PROBE_SECONDS = 2


@dataclass(frozen=True, slots=True)
class RunFigures:
    """What a run says besides its files; figures that are not finite are left out."""

    metrics: Mapping[str, float] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


class Tracking:
    """Runs and the registered model of one lineage at an MLflow address."""

    def __init__(self, address: str, artifacts: str, lineage: str) -> None:
        self._address = address
        self._artifacts = artifacts
        self.lineage = lineage

    @cached_property
    def client(self) -> "MlflowClient":
        """The client of a migrated database with both experiments and the registered model, made once under a lock."""
        from mlflow import MlflowClient

        file = self._file()
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            _require_unlocked(file)
        client = MlflowClient(tracking_uri=self._address, registry_uri=self._address)
        with self._alone(file):
            self._prepare(client)
        if file is not None:
            with sqlite3.connect(file) as connection:
                connection.execute("PRAGMA journal_mode=WAL")
        return client

    def present(self) -> bool:
        """Whether the lineage is there; nothing is made, neither a database nor what is missing in it."""
        from mlflow import MlflowClient

        with self.reached():
            file = self._file()
            if file is not None and not _has_tables(file):
                return False
            client = MlflowClient(tracking_uri=self._address, registry_uri=self._address)
            return bool(client.search_registered_models(f"name='{self.lineage}'"))

    def _prepare(self, client: "MlflowClient") -> None:
        for name, about in EXPERIMENTS.items():
            if client.get_experiment_by_name(name) is None:
                place = (
                    None
                    if self._address.startswith("http")
                    else f"{self._artifacts}/{name.rpartition('/')[2]}"
                )
                _unless_there(
                    client.create_experiment, name, artifact_location=place, tags={NOTE: about}
                )
        if not client.search_registered_models(f"name='{self.lineage}'"):
            _unless_there(
                client.create_registered_model, self.lineage, description=f"{ABOUT}\n\n{WHERE}"
            )

    def _file(self) -> Path | None:
        """Return the database file of a SQLite address."""
        parsed = urlparse(self._address)
        if parsed.scheme not in ("sqlite", "http", "https", "postgresql", "postgresql+psycopg"):
            raise FixConfiguration(
                "conf/services.yaml: mlflow must be sqlite:///FILE, postgresql+psycopg://… or http://…"
            )
        return Path(parsed.path[1:]) if parsed.scheme == "sqlite" else None

    @staticmethod
    def _alone(file: Path | None) -> AbstractContextManager[object]:
        """Let one process at a time make a new SQLite database: MLflow itself would corrupt it."""
        return (
            FileLock(file.with_suffix(".lock"), timeout=LOCK_SECONDS)
            if file is not None
            else nullcontext()
        )

    @contextmanager
    def reached(self) -> Iterator[None]:
        """Turn what goes wrong between here and MLflow into ``RestoreService``."""
        from mlflow.exceptions import MlflowException

        try:
            yield
        except (MlflowException, OSError, Timeout, sqlite3.Error) as error:
            reason = " ".join(str(error).split())[:200]
            raise RestoreService(f"MLflow at {self.masked} cannot be used: {reason}") from error

    @property
    def masked(self) -> str:
        """The address without its password."""
        parsed = urlparse(self._address)
        return (
            self._address.replace(f":{parsed.password}@", ":***@")
            if parsed.password
            else self._address
        )

    @contextmanager
    def run(
        self,
        experiment: str,
        name: str,
        tags: Mapping[str, str],
        began: datetime | None = None,
        ended: datetime | None = None,
    ) -> Iterator[str]:
        """Yield the id of a new run that carries ``tags`` from its first moment, and finish it.

        Args:
            experiment: Its experiment.
            name: What it is called.
            tags: What others find it by.
            began: When it began; now.
            ended: When it ended; when it is finished.
        """
        place, since = self.experiment(experiment), _milliseconds(began)
        clipped = {tag: value[:LONGEST] for tag, value in tags.items()}
        run_id: str = self.client.create_run(place, since, clipped, name).info.run_id
        yield run_id
        self.client.set_terminated(run_id, end_time=_milliseconds(ended))

    def fill(self, run_id: str, figures: RunFigures, files: Mapping[str, bytes]) -> None:
        """Log figures and files (name → content, a name may contain folders) in a run that is not finished yet."""
        self.log(run_id, figures)
        self.attach(run_id, files)

    def log(self, run_id: str, figures: RunFigures) -> None:
        """Log figures in one call."""
        self.client.log_batch(
            run_id, _metrics(figures.metrics), _params(figures.params), _tags(figures.tags)
        )

    def attach(self, run_id: str, files: Mapping[str, bytes]) -> None:
        """Put files beside a run, finished or not."""
        with tempfile.TemporaryDirectory() as folder:
            for name, content in files.items():
                place = Path(folder, name)
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(content)
            self.client.log_artifacts(run_id, folder)

    def read(self, run_id: str, name: str) -> str | None:
        """Return the text of a run's file, None when the run has no such file."""
        from mlflow.exceptions import MlflowException

        with tempfile.TemporaryDirectory() as folder:
            try:
                return Path(self.client.download_artifacts(run_id, name, folder)).read_text(
                    encoding="utf-8"
                )
            except MlflowException:
                if name in {file.path for file in self.client.list_artifacts(run_id)}:
                    raise
                return None

    def decisions(
        self, condition: str = "", status: str = "FINISHED", limit: int = 50_000
    ) -> list["Run"]:
        """Return the lineage's decision runs of a status, latest decision first."""
        wanted = f"attributes.status = '{status}' and tags.lineage = '{self.lineage}'{condition}"
        order = ["metrics.sequence DESC"]
        return list(
            self.client.search_runs(
                [self.experiment(DECISIONS)], wanted, max_results=limit, order_by=order
            )
        )

    def runs(self, experiment: str, status: str, condition: str = "") -> list[str]:
        """Return the ids of the lineage's runs of a status in an experiment, latest first."""
        wanted = f"attributes.status = '{status}' and tags.lineage = '{self.lineage}'{condition}"
        return [
            str(run.info.run_id)
            for run in self.client.search_runs([self.experiment(experiment)], wanted)
        ]

    def page(self, experiment: str, run_id: str) -> str:
        """Return where a run is among MLflow's pages, as an address within them."""
        return f"#/experiments/{self.experiment(experiment)}/runs/{run_id}"

    def experiment(self, name: str) -> str:
        """Return the id of an experiment."""
        if name not in self._experiments:
            found = self.client.get_experiment_by_name(name)
            if found is None:
                raise RestoreService(
                    f"MLflow at {self.masked} lost its experiment {name}; restore the database"
                )
            self._experiments[name] = found.experiment_id
        return self._experiments[name]

    @cached_property
    def _experiments(self) -> dict[str, str]:
        return {}


def flat(document: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a nested document under dotted names."""
    names: dict[str, Any] = {}
    for name, value in document.items():
        names |= (
            flat(value, f"{prefix}{name}.")
            if isinstance(value, dict)
            else {f"{prefix}{name}": value}
        )
    return names


def is_absent(error: Any) -> bool:
    """Whether MLflow says that something does not exist, as opposed to not answering."""
    return bool(error.error_code == "RESOURCE_DOES_NOT_EXIST")


def _unless_there(create: Any, name: str, **options: Any) -> None:
    """Create something another process may be creating at the same moment."""
    from mlflow.exceptions import MlflowException

    try:
        create(name, **options)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _require_unlocked(file: Path) -> None:
    """Refuse a database another process has locked: MLflow itself would try for minutes."""
    connection = sqlite3.connect(file, timeout=PROBE_SECONDS)
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.rollback()
    finally:
        connection.close()


def _has_tables(file: Path) -> bool:
    if not file.exists():
        return False
    connection = sqlite3.connect(file, timeout=PROBE_SECONDS)
    try:
        return (
            connection.execute(
                "SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'"
            ).fetchone()
            is not None
        )
    finally:
        connection.close()


def _milliseconds(moment: datetime | None) -> int | None:
    return int(moment.timestamp() * 1000) if moment else None


def _metrics(figures: Mapping[str, float]) -> list[Any]:
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    return [
        Metric(name, float(value), now, 0)
        for name, value in figures.items()
        if math.isfinite(value)
    ]


def _params(values: Mapping[str, Any]) -> list[Any]:
    from mlflow.entities import Param

    return [Param(name, str(value)) for name, value in values.items()]


def _tags(values: Mapping[str, str]) -> list[Any]:
    from mlflow.entities import RunTag

    return [RunTag(name, value[:LONGEST]) for name, value in values.items()]


class Observations:
    """Runs in the experiment ``steelyard/observations``, each under a key of its own."""

    def __init__(self, tracking: Tracking) -> None:
        self._tracking = tracking

    def find(self, key: str) -> str | None:
        """Return the finished run of a key, None where there is none.

        Raises:
            RestoreService: If MLflow cannot be reached.
        """
        with self._tracking.reached():
            experiment = self._tracking.experiment(OBSERVATIONS)
            wanted = f"attributes.status = 'FINISHED' and tags.key = '{key}'"
            found = self._tracking.client.search_runs([experiment], wanted, max_results=1)
            return str(found[0].info.run_id) if found else None

    def record(self, key: str, name: str, figures: RunFigures, files: Mapping[str, bytes]) -> str:
        """Record an observation once for each key; returns its run, the one there was where it is recorded already."""
        with self._tracking.reached():
            found = self.find(key)
            if found is not None:
                return found
            with self._tracking.run(
                OBSERVATIONS, name, {"key": key, "lineage": self._tracking.lineage}
            ) as run_id:
                self._tracking.fill(run_id, figures, files)
            return run_id

    def page(self, run_id: str) -> str:
        """Return where a run is among MLflow's pages."""
        return f"/{self._tracking.page(OBSERVATIONS, run_id)}"
