"""Connection to MLflow: a client on a migrated database, its runs, and failures as our errors."""

import math
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from json import JSONDecodeError
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

from filelock import FileLock, Timeout

from steelyard.errors import FixConfiguration, RestoreService, VerifyState, needing
from steelyard.garbage import without_collector
from steelyard.gateways.files import private_file
from steelyard.gateways.outside import in_markdown
from steelyard.gateways.registry.bulk import finished_runs
from steelyard.gateways.registry.descriptions import ABOUT, WHERE
from steelyard.gateways.registry.places import (
    COPIED_FROM,
    artifact_location,
    client_address,
    database_file,
    foreign_place,
    take_over,
)
from steelyard.gateways.registry.served import file_reader, served_runs
from steelyard.gateways.witnesses import Witnesses

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

TRAINING, DECISIONS, OBSERVATIONS, POLICIES = (
    "steelyard/training",
    "steelyard/decisions",
    "steelyard/observations",
    "steelyard/policies",
)
NOTE = "mlflow.note.content"
"""Tag that MLflow's pages show as the description of a run or an experiment."""
EXPERIMENTS = {
    TRAINING: "Every training: figures, pictures, and the best trials of its search as child runs.",
    DECISIONS: "The journal: one run for every change of the weight, every refusal to change it, "
    "and every promotion.",
    OBSERVATIONS: "Checks that decide nothing: drift, monthly reviews.",
    POLICIES: "Every policy that decided, its settings as parameters; a decision names its own by "
    "the tag `policy_hash`.",
}
MAX_CHARACTERS = 5000
"""Length of a tag or a description that all of MLflow's databases store."""
MAX_RUNS = 50_000
"""Runs that one search of MLflow returns at most."""
READERS = 16
"""Files that are read at once from a store that is not a local folder."""
LOCK_SECONDS = 60
PROBE_SECONDS = 2


@dataclass(frozen=True, slots=True)
class RunFigures:
    """Metrics, parameters and tags of a run; metrics that are not finite are left out."""

    metrics: Mapping[str, float] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


class Tracking:
    """Runs and the registered model of one lineage at an MLflow address.

    Args:
        address: ``sqlite:///FILE``, ``postgresql+psycopg://…`` or ``http://…`` of a server.
        artifacts: Folder or URL of run files if there is no server.
        lineage: Name of the registered model.
        witnesses: Whoever has seen the lineage; a database they know is not made anew. None for
            nobody.
    """

    def __init__(
        self, address: str, artifacts: str, lineage: str, witnesses: Witnesses | None = None
    ) -> None:
        self._address = address
        self._artifacts = artifacts
        self._experiment_ids: dict[str, str] = {}
        self._witnesses = witnesses
        self.lineage = lineage

    @cached_property
    def client(self) -> "MlflowClient":
        """MLflow client; the first use migrates the database and creates what is missing in it."""
        from mlflow import MlflowClient

        file = self._database_file()
        self.require_database()
        if file is not None:
            private_file(file)
            _require_unlocked(file)
        address = client_address(self._address)
        client = MlflowClient(tracking_uri=address, registry_uri=address)
        with self._exclusive(file):
            self._create_missing(client)
            if file is not None:
                take_over(file, self._artifacts)
        if file is not None:
            with sqlite3.connect(file) as connection:
                connection.execute("PRAGMA journal_mode=WAL")
        return client

    def require_database(self) -> None:
        """Refuse to make a database anew that held the lineage.

        Raises:
            VerifyState: If its file is gone.
        """
        if self.is_gone():
            raise VerifyState(
                f"MLflow's database {self._database_file()} is gone, although decisions of "
                f"{self.lineage} were made with it; restore it from the newest backup, or begin a "
                "new lineage: another name as lineage in conf/services.yaml"
            )

    def is_gone(self) -> bool:
        """Whether the database file is missing or empty although the lineage was seen before."""
        file = self._database_file()
        if file is None or self._witnesses is None:
            return False
        is_missing = not file.exists() or file.stat().st_size == 0
        return is_missing and self._witnesses.testify().highest > 0

    def has_begun(self) -> bool:
        """Whether there may be something to read; nothing is created, and MLflow not imported.

        Raises:
            VerifyState: If the database is gone although it held the lineage.
        """
        self.require_database()
        file = self._database_file()
        return file is None or file.exists()

    def present(self) -> bool:
        """Whether the lineage exists; nothing is created, not even the database."""
        file = self._database_file()
        if file is not None and not file.exists():
            return False
        from mlflow import MlflowClient

        with self.reached():
            if file is not None and not _has_tables(file):
                return False
            address = client_address(self._address)
            client = MlflowClient(tracking_uri=address, registry_uri=address)
            return bool(client.search_registered_models(f"name='{self.lineage}'"))

    def origin(self) -> tuple[str | None, bool]:
        """Return the folder of the home this one was copied or moved from, None if it was not.

        Also whether new runs would still be written there; nothing is created.
        """
        file = self._database_file()
        if file is None or not _has_tables(file):
            return None, False
        foreign = foreign_place(file, self._artifacts)
        if foreign is not None:
            return foreign, True
        with self.reached():
            experiment = self.client.get_experiment_by_name(DECISIONS)
        return (experiment.tags.get(COPIED_FROM) if experiment else None), False

    def _create_missing(self, client: "MlflowClient") -> None:
        for name, description in EXPERIMENTS.items():
            if client.get_experiment_by_name(name) is None:
                part = name.rpartition("/")[2]
                folder = None if self._on_server else artifact_location(self._artifacts, part)
                tags = {NOTE: description}
                _create_once(client.create_experiment, name, artifact_location=folder, tags=tags)
        if not client.search_registered_models(f"name='{self.lineage}'"):
            description = f"{ABOUT}\n\n{WHERE}"
            _create_once(client.create_registered_model, self.lineage, description=description)

    @property
    def _on_server(self) -> bool:
        return self._address.startswith("http")

    def _database_file(self) -> Path | None:
        """Return the database file of a SQLite address, None for a server."""
        parsed = urlparse(self._address)
        if parsed.scheme not in ("sqlite", "http", "https", "postgresql", "postgresql+psycopg"):
            raise FixConfiguration(
                "conf/services.yaml: mlflow must be sqlite:///FILE, postgresql+psycopg://… "
                "or http://…"
            )
        return database_file(self._address)

    @staticmethod
    def _exclusive(file: Path | None) -> AbstractContextManager[object]:
        """Return a lock: MLflow corrupts a SQLite database that two processes create at once."""
        return (
            FileLock(file.with_suffix(".lock"), timeout=LOCK_SECONDS)
            if file is not None
            else nullcontext()
        )

    @contextmanager
    def reached(self) -> Iterator[None]:
        """Turn failures of MLflow and of the connection to it into ``RestoreService``.

        Raises:
            FixConfiguration: If the files lie on S3 and its client is not installed.
        """
        from alembic.util import CommandError
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        raw: tuple[type[Exception], ...] = (
            *(MlflowException, SQLAlchemyError, CommandError, OSError, Timeout, sqlite3.Error),
            *(ModuleNotFoundError, JSONDecodeError, UnicodeDecodeError),
            *self._store_errors(),
        )
        try:
            yield
        except raw as error:
            reason = " ".join(str(error).split())[:200]
            raise RestoreService(f"MLflow at {self.masked} cannot be used: {reason}") from error

    def _store_errors(self) -> tuple[type[Exception], ...]:
        """Return what the client of an object store raises, which MLflow passes on as it is."""
        if not self._artifacts.startswith("s3://"):
            return ()
        with needing("conf/services.yaml: artifacts: s3://…"):
            from boto3.exceptions import Boto3Error
            from botocore.exceptions import BotoCoreError, ClientError
        return Boto3Error, BotoCoreError, ClientError

    @property
    def masked(self) -> str:
        """Address without its password."""
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
        """Create a run, yield its id, and finish it; after an exception it stays unfinished.

        Args:
            experiment: Name of its experiment.
            name: Name of the run.
            tags: Tags set on creation, by which others find the run.
            began: Start time, UTC; None for now.
            ended: End time, UTC; None for the time the block ends.
        """
        experiment_id, start_ms = self.experiment_id(experiment), _milliseconds(began)
        clipped = {tag: value[:MAX_CHARACTERS] for tag, value in tags.items()}
        run_id: str = self.client.create_run(experiment_id, start_ms, clipped, name).info.run_id
        yield run_id
        self.client.set_terminated(run_id, end_time=_milliseconds(ended))

    def fill(self, run_id: str, figures: RunFigures, files: Mapping[str, bytes]) -> None:
        """Log figures and files in a run.

        Args:
            run_id: Run to write to.
            figures: Metrics, parameters and tags.
            files: Name → content; a name may contain folders.
        """
        self.log(run_id, figures)
        self.attach(run_id, files)

    def log(self, run_id: str, figures: RunFigures) -> None:
        """Log figures in one call.

        Args:
            run_id: Run to write to.
            figures: Metrics, parameters and tags; NaN and infinite metrics are left out.
        """
        from mlflow.entities import Metric, Param, RunTag

        now_ms = int(time.time() * 1000)
        metrics = [
            Metric(name, float(value), now_ms, 0)
            for name, value in figures.metrics.items()
            if math.isfinite(value)
        ]
        params = [Param(name, str(value)) for name, value in figures.params.items()]
        tags = [RunTag(name, value[:MAX_CHARACTERS]) for name, value in figures.tags.items()]
        self.client.log_batch(run_id, metrics, params, tags)

    def attach(self, run_id: str, files: Mapping[str, bytes]) -> None:
        """Add files to a run, finished or not.

        Args:
            run_id: Run to write to.
            files: Name → content; a name may contain folders.
        """
        with tempfile.TemporaryDirectory() as folder:
            for name, content in files.items():
                file = Path(folder, name)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
            self.client.log_artifacts(run_id, folder)

    def read(self, run_id: str, name: str) -> str | None:
        """Return the text of a run's file, None if the run has no such file.

        Args:
            run_id: Run to read from.
            name: Name of the file, with its folders.
        """
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

    def texts(self, runs: Sequence["Run"], name: str) -> list[str | None]:
        """Return the text of a file of each run, in order; None where a run has no such file.

        Args:
            runs: Runs to read from.
            name: Name of the file, with its folders.
        """
        folders = [local_folder(run.info.artifact_uri) for run in runs]
        if None not in folders:
            return [_text(Path(str(folder), name)) for folder in folders]
        with ThreadPoolExecutor(READERS) as readers:
            return list(readers.map(self._reader(name), runs))

    def _reader(self, name: str) -> Callable[["Run"], str | None]:
        """Return a function that reads the text of a run's file, None if there is none."""
        if not self._on_server:
            return lambda run: self.read(run.info.run_id, name)
        served = file_reader(self._address, name)
        return lambda run: served(run) or self.read(run.info.run_id, name)

    def decision_runs(
        self,
        condition: str = "",
        status: str = "FINISHED",
        limit: int = MAX_RUNS,
    ) -> list["Run"]:
        """Return the lineage's decision runs, latest decision first.

        Args:
            condition: Further terms of MLflow's search, beginning with `` and ``.
            status: Status of the runs, such as FINISHED or RUNNING.
            limit: Maximum number of runs.
        """
        query = f"attributes.status = '{status}' and tags.lineage = '{self.lineage}'{condition}"
        order = "metrics.sequence DESC"
        with without_collector():
            return list(
                self.client.search_runs(
                    [self.experiment_id(DECISIONS)], query, max_results=limit, order_by=[order]
                )
            )

    def decision_run(self, run_id: str) -> "Run | None":
        """Return a decision's run by its id; None if ``decision_runs`` would not find it."""
        from mlflow.exceptions import MlflowException

        try:
            run = self.client.get_run(run_id)
        except MlflowException as error:
            if not is_absent(error):
                raise
            return None
        info, lineage = run.info, run.data.tags.get("lineage")
        is_there = (info.status, info.lifecycle_stage) == ("FINISHED", "active")
        return run if is_there and lineage == self.lineage else None

    def all_decision_runs(self, names: Sequence[str] = ()) -> list["Run"]:
        """Return all finished decision runs of the lineage, latest first, without parameters.

        Args:
            names: Tags and metrics that are needed; a server returns all of them anyway. Empty for
                all.
        """
        experiment_id = self.experiment_id(DECISIONS)
        with without_collector():
            if self._on_server:
                return served_runs(self._address, experiment_id, self.lineage)
            return finished_runs(self._address, experiment_id, self.lineage, names)

    def run_ids(self, experiment: str, status: str, condition: str = "") -> list[str]:
        """Return the ids of the lineage's runs in an experiment, latest first.

        Args:
            experiment: Name of the experiment.
            status: Status of the runs, such as FINISHED or RUNNING.
            condition: Further terms of MLflow's search, beginning with `` and ``.
        """
        query = f"attributes.status = '{status}' and tags.lineage = '{self.lineage}'{condition}"
        runs = self.client.search_runs([self.experiment_id(experiment)], query)
        return [str(run.info.run_id) for run in runs]

    def page(self, experiment: str, run_id: str) -> str:
        """Return the address of a run relative to MLflow's root page.

        Args:
            experiment: Name of the experiment.
            run_id: Run to link to.
        """
        return f"#/experiments/{self.experiment_id(experiment)}/runs/{run_id}"

    def experiment_id(self, name: str) -> str:
        """Return the id of an experiment.

        Raises:
            RestoreService: If the experiment does not exist.
        """
        if name not in self._experiment_ids:
            experiment = self.client.get_experiment_by_name(name)
            if experiment is None:
                raise RestoreService(
                    f"MLflow at {self.masked} lost its experiment {name}; restore the database"
                )
            self._experiment_ids[name] = experiment.experiment_id
        return self._experiment_ids[name]


def flat(document: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a nested document as one level of dotted names.

    Args:
        document: Values or further documents by name.
        prefix: Start of every name, with its dot.
    """
    flattened: dict[str, Any] = {}
    for name, value in document.items():
        if isinstance(value, dict):
            flattened |= flat(value, f"{prefix}{name}.")
        else:
            flattened[f"{prefix}{name}"] = value
    return flattened


def local_folder(address: str) -> Path | None:
    """Return the folder of a run's files, None if they are not on this machine."""
    parsed = urlparse(address)
    if parsed.scheme == "file":
        return Path(unquote(parsed.path))
    return None if parsed.scheme else Path(address)


def _text(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def is_absent(error: Any) -> bool:
    """Whether an error of MLflow says that something does not exist."""
    return bool(error.error_code == "RESOURCE_DOES_NOT_EXIST")


def _create_once(create: Any, name: str, **options: Any) -> None:
    """Create something that another process may create at the same moment."""
    from mlflow.exceptions import MlflowException

    try:
        create(name, **options)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _require_unlocked(file: Path) -> None:
    """Refuse a database that another process has locked: MLflow would retry for minutes."""
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
        query = "SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'"
        return connection.execute(query).fetchone() is not None
    finally:
        connection.close()


def _milliseconds(time_utc: datetime | None) -> int | None:
    return int(time_utc.timestamp() * 1000) if time_utc else None


class KeyedRuns:
    """Runs in an experiment, at most one for each key.

    Args:
        tracking: MLflow runs of the lineage.
        experiment: Name of the experiment.
    """

    def __init__(self, tracking: Tracking, experiment: str) -> None:
        self._tracking = tracking
        self._experiment = experiment

    def find(self, key: str) -> str | None:
        """Return the id of the finished run of a key, None if there is none.

        Raises:
            RestoreService: If MLflow cannot be reached.
        """
        with self._tracking.reached():
            experiments = [self._tracking.experiment_id(self._experiment)]
            query = f"attributes.status = 'FINISHED' and tags.key = '{key}'"
            runs = self._tracking.client.search_runs(experiments, query, max_results=1)
            return str(runs[0].info.run_id) if runs else None

    def record(
        self,
        key: str,
        name: str,
        description: str,
        figures: RunFigures,
        files: Mapping[str, bytes],
    ) -> str:
        """Record a run once for each key, and return its id.

        Args:
            key: Key under which it is recorded at most once.
            name: Name of the run.
            description: What it says, as plain text.
            figures: Metrics, parameters and tags.
            files: Name → content; a name may contain folders.

        Raises:
            RestoreService: If MLflow cannot be reached.
        """
        with self._tracking.reached():
            recorded = self.find(key)
            if recorded is not None:
                return recorded
            tags = {"key": key, "lineage": self._tracking.lineage, NOTE: in_markdown(description)}
            with self._tracking.run(self._experiment, name, tags) as run_id:
                self._tracking.fill(run_id, figures, files)
            return run_id

    def page(self, run_id: str) -> str:
        """Return the path of a run on MLflow's pages."""
        return f"/{self._tracking.page(self._experiment, run_id)}"
