"""The registry: models, the lineage's state and its journal, in MLflow (SPEC §7).

"No champion" is None; a registry that cannot be reached raises ``RestoreService``. What others read is written last: a
decision's run is finished before the state tag names it, a version's tags are set before an alias points to it.
"""

import json
import math
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

from filelock import FileLock, Timeout

from steelyard.errors import FixConfiguration, RestoreService
from steelyard.gateways.pyfunc import save
from steelyard.weight.journal import Decision, Entry, decision_key, link
from steelyard.weight.state import State

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

TRAINING, DECISIONS = "steelyard/training", "steelyard/decisions"
STATE = "steelyard.state"
ENTRY = "decision.json"
MODEL = "model"
LOCK_SECONDS = 60
PROBE_SECONDS = 2


@dataclass(frozen=True, slots=True)
class Version:
    """A registered version of the model.

    Attributes:
        stage: challenger, champion, refused or retired.
        key: Training key: same data and settings, same version.
        as_of: Moment the training spoke for.
        trained_through: ISO time of the last outcome it was fitted, tuned or calibrated on; empty without a model.
        verdict: The training's result in one sentence.
        reasons: Why it serves or does not, once that was decided.
    """

    number: str
    run_id: str
    stage: str
    key: str
    as_of: datetime
    trained_through: str
    family: str
    metrics: Mapping[str, float]
    verdict: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Registration:
    """What a training hands to the registry.

    Attributes:
        files: The stored model, name → content; empty when the training was refused before a model came of it.
        artifacts: Pictures, tables and reports, name → content.
        refused: Why the version may not serve; empty for a challenger.
    """

    key: str
    as_of: datetime
    family: str
    trained_through: str
    files: Mapping[str, bytes]
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    artifacts: Mapping[str, bytes]
    verdict: str
    feature_names: tuple[str, ...]
    data_hash: str
    refused: tuple[str, ...] = ()


class Registry:
    """Models, state and journal of one lineage at an MLflow address."""

    def __init__(self, address: str, artifacts: str, lineage: str) -> None:
        self._address = address
        self._artifacts = artifacts
        self._lineage = lineage
        self._completed = False

    @cached_property
    def _client(self) -> "MlflowClient":
        """The client of a migrated database with both experiments and the registered model, made once under a lock."""
        from mlflow import MlflowClient

        file = self._file()
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            _require_unlocked(file)
        client = MlflowClient(tracking_uri=self._address, registry_uri=self._address)
        with self._lock:
            self._prepare(client)
        if file is not None:
            with sqlite3.connect(file) as connection:
                connection.execute("PRAGMA journal_mode=WAL")
        return client

    def _prepare(self, client: "MlflowClient") -> None:
        for name in (TRAINING, DECISIONS):
            if client.get_experiment_by_name(name) is None:
                place = None if self._address.startswith("http") else f"{self._artifacts}/{name.rpartition('/')[2]}"
                client.create_experiment(name, artifact_location=place)
        if not client.search_registered_models(f"name='{self._lineage}'"):
            client.create_registered_model(self._lineage, description=_ABOUT)

    def _file(self) -> Path | None:
        """Return the database file of a SQLite address."""
        parsed = urlparse(self._address)
        if parsed.scheme not in ("sqlite", "http", "https", "postgresql", "postgresql+psycopg"):
            raise FixConfiguration("conf/services.yaml: mlflow must be sqlite:///FILE, postgresql+psycopg://… or http://…")
        return Path(parsed.path[1:]) if parsed.scheme == "sqlite" else None

    @cached_property
    def _lock(self) -> AbstractContextManager[object]:
        """A lock that one process of this machine holds at a time; the holder may take it again."""
        file = self._file()
        return FileLock(file.with_suffix(".lock"), timeout=LOCK_SECONDS) if file is not None else nullcontext()

    # models

    def register(self, training: Registration) -> Version:
        """Store a training as one finished run and one version; a version with the same key comes back as it is."""
        with self._reached():
            found = self.find(training.key)
            if found is not None:
                return found
            run_id = self._log(training)
            stage = "refused" if training.refused else "challenger"
            tags = {
                "stage": stage,
                "training_key": training.key,
                "as_of": training.as_of.isoformat(),
                "trained_through": training.trained_through,
                "family": training.family,
                "data_hash": training.data_hash,
                "metrics": json.dumps({k: v for k, v in training.metrics.items() if math.isfinite(v)}),
                "verdict": training.verdict,
                "reasons": json.dumps(training.refused),
            }
            source = f"{self._client.get_run(run_id).info.artifact_uri}/{MODEL}"
            made = self._client.create_model_version(self._lineage, source, run_id, tags=tags, description=training.verdict)
            if stage == "challenger":
                self._client.set_registered_model_alias(self._lineage, "challenger", made.version)
            return _version(self._client.get_model_version(self._lineage, made.version))

    def _log(self, training: Registration) -> str:
        client = self._client
        run_id: str = client.create_run(self._experiment(TRAINING), run_name=f"train {training.as_of:%Y-%m-%d}").info.run_id
        tags = {"training_key": training.key, "data_hash": training.data_hash, "verdict": training.verdict}
        client.log_batch(run_id, _metrics(training.metrics), _params(training.params), _tags(tags))
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            for name, content in training.artifacts.items():
                (place / name).write_bytes(content)
            if training.files:
                save(place / MODEL, training.files, training.feature_names)
            client.log_artifacts(run_id, folder)
        client.set_terminated(run_id)
        return run_id

    def find(self, key: str) -> Version | None:
        """Return the version of a training key, None when it was never trained."""
        return next((version for version in self.versions() if version.key == key), None)

    def versions(self) -> list[Version]:
        """Return every version, oldest first."""
        with self._reached():
            found = self._client.search_model_versions(f"name='{self._lineage}'", max_results=10_000)
            return sorted((_version(one) for one in found), key=lambda version: int(version.number))

    def champion(self) -> Version | None:
        """Return the version that serves, None when none does."""
        return self._by_alias("champion")

    def challenger(self) -> Version | None:
        """Return the version that wants to serve, None when none does."""
        return self._by_alias("challenger")

    def _by_alias(self, alias: str) -> Version | None:
        from mlflow.exceptions import MlflowException

        with self._reached():
            try:
                return _version(self._client.get_model_version_by_alias(self._lineage, alias))
            except MlflowException as error:
                if _is_absent(error):
                    return None
                raise

    def load(self, number: str) -> dict[str, bytes]:
        """Return the stored files of a version, name → content."""
        with self._reached(), tempfile.TemporaryDirectory() as folder:
            run_id = str(self._client.get_model_version(self._lineage, number).run_id)
            place = Path(self._client.download_artifacts(run_id, f"{MODEL}/data", folder))
            return {file.name: file.read_bytes() for file in place.rglob("*") if file.is_file()}

    def promote(self, number: str, reasons: tuple[str, ...]) -> Version:
        """Let a version serve; the champion before it retires. Safe to repeat."""
        with self._reached():
            before = self.champion()
            self._judge(number, "champion", reasons)
            if before is not None and before.number != number:
                self._client.set_model_version_tag(self._lineage, before.number, "stage", "retired")
            self._client.set_registered_model_alias(self._lineage, "champion", number)
            self._drop_challenger(number)
            return _version(self._client.get_model_version(self._lineage, number))

    def refuse(self, number: str, reasons: tuple[str, ...]) -> Version:
        """Keep a version registered and say why it does not serve. Safe to repeat."""
        with self._reached():
            self._judge(number, "refused", reasons)
            self._drop_challenger(number)
            return _version(self._client.get_model_version(self._lineage, number))

    def _judge(self, number: str, stage: str, reasons: tuple[str, ...]) -> None:
        self._client.set_model_version_tag(self._lineage, number, "reasons", json.dumps(reasons))
        self._client.set_model_version_tag(self._lineage, number, "stage", stage)

    def _drop_challenger(self, number: str) -> None:
        challenger = self.challenger()
        if challenger is not None and challenger.number == number:
            self._client.delete_registered_model_alias(self._lineage, "challenger")

    # state and journal

    def state(self) -> State | None:
        """Return the lineage's state, None when nothing was ever decided.

        A process that died after finishing a decision's run and before writing the state is made good here, once for
        each registry that is opened.
        """
        with self._reached():
            state = self._stored_state()
            if state is not None and not self._completed:
                state = self._complete(state)
            self._completed = True
            return state

    def _stored_state(self) -> State | None:
        stored = self._client.get_registered_model(self._lineage).tags.get(STATE)
        return State.model_validate_json(stored) if stored else None

    def _complete(self, state: State) -> State:
        last = self._last_entry()
        if last is None or last.sequence <= state.sequence:
            return state
        return self._write_state(last.state.model_copy(update={"lease_until": state.lease_until}))

    def append(self, decision: Decision) -> Entry:
        """Record a decision once: with the same lineage, kind and period the recorded one comes back.

        Raises:
            RestoreService: If another process holds the journal.
        """
        with self._reached(), self._lock:
            recorded = self._recorded(decision.kind, decision.period_end)
            if recorded is not None:
                return recorded
            entry = self._record(link(decision, self._last_entry()))
            self._write_state(entry.state)
            return entry

    def _record(self, entry: Entry) -> Entry:
        client, decision = self._client, entry.decision
        name = f"{decision.kind} {decision.period_end:%Y-%m-%d} {decision.verdict}"
        run_id = client.create_run(self._experiment(DECISIONS), run_name=name).info.run_id
        entry = entry.model_copy(update={"run_id": run_id})
        tags = {
            "lineage": decision.lineage,
            "key": decision_key(decision.lineage, decision.kind, decision.period_end),
            "kind": decision.kind,
            "sequence": str(entry.sequence),
            "verdict": decision.verdict,
            "reasons": "; ".join(decision.reasons),
            "phase": decision.after.phase,
            "as_of": decision.as_of.isoformat(),
            "previous_run_id": entry.previous_run_id or "",
            "previous_hash": entry.previous_hash,
            "hash": entry.hash,
        }
        figures = {name: float(v) for name, v in decision.evidence.items() if isinstance(v, int | float)}
        weights = {"weight_before": decision.before.weight, "weight_after": decision.after.weight}
        client.log_batch(run_id, _metrics(figures | weights), _params(_flat(decision.policy)), _tags(tags))
        client.log_text(run_id, entry.model_dump_json(indent=1), ENTRY)
        client.set_terminated(run_id)
        return entry

    def decided(self, kind: str, period_end: datetime) -> Entry | None:
        """Return the recorded decision about a period, None when it is still open."""
        state = self.state()
        if state is None or state.as_of < period_end:
            return None  # nothing was decided at or after the period's end
        with self._reached():
            return self._recorded(kind, period_end)

    def journal(self) -> list[Entry]:
        """Return every decision in order."""
        with self._reached():
            runs = self._runs("", "attributes.start_time ASC", limit=50_000)
            return sorted((self._entry(run) for run in runs), key=lambda entry: entry.sequence)

    def renew_lease(self, state: State, until: datetime) -> State:
        """Let the weight stay in force until ``until``; nothing else changes."""
        with self._reached():
            return self._write_state(state.model_copy(update={"lease_until": until}))

    def _recorded(self, kind: str, period_end: datetime) -> Entry | None:
        key = decision_key(self._lineage, kind, period_end)
        runs = self._runs(f" and tags.key = '{key}'", "attributes.start_time ASC", limit=1)
        return self._entry(runs[0]) if runs else None

    def _last_entry(self) -> Entry | None:
        runs = self._runs("", "attributes.start_time DESC", limit=5)  # several may share a millisecond
        last = max(runs, key=lambda run: int(run.data.tags["sequence"]), default=None)
        return self._entry(last) if last else None

    def _runs(self, condition: str, order: str, limit: int) -> list["Run"]:
        wanted = f"attributes.status = 'FINISHED' and tags.lineage = '{self._lineage}'{condition}"
        return list(self._client.search_runs([self._experiment(DECISIONS)], wanted, max_results=limit, order_by=[order]))

    def _entry(self, run: "Run") -> Entry:
        with tempfile.TemporaryDirectory() as folder:
            stored = Path(self._client.download_artifacts(run.info.run_id, ENTRY, folder)).read_text(encoding="utf-8")
        return Entry.model_validate_json(stored)

    def _write_state(self, state: State) -> State:
        readable = {"ml_weight": f"{state.weight:.4f}", "phase": state.phase}
        tags = self._client.get_registered_model(self._lineage).tags
        for name, value in {**readable, STATE: state.model_dump_json()}.items():
            if tags.get(name) != value:
                self._client.set_registered_model_tag(self._lineage, name, value)
        return state

    def _experiment(self, name: str) -> str:
        if name not in self._experiments:
            found = self._client.get_experiment_by_name(name)
            if found is None:
                raise RestoreService(f"MLflow at {_masked(self._address)} lost its experiment {name}; restore the database")
            self._experiments[name] = found.experiment_id
        return self._experiments[name]

    @cached_property
    def _experiments(self) -> dict[str, str]:
        return {}

    @contextmanager
    def _reached(self) -> Iterator[None]:
        from mlflow.exceptions import MlflowException

        try:
            yield
        except (MlflowException, OSError, Timeout, sqlite3.Error) as error:
            reason = " ".join(str(error).split())[:200]
            raise RestoreService(
                f"MLflow at {_masked(self._address)} cannot be used: {reason}; nothing was changed"
            ) from error


_ABOUT = """The model whose opinion may enter the trading system's confidence.

`ml_weight` is its share today, `phase` how far it has come; `steelyard.state` is the whole state. The alias `champion`
is the version that serves. Every change of the weight is a run in the experiment `steelyard/decisions`."""


def _version(found: "ModelVersion") -> Version:
    tags = found.tags
    return Version(
        number=str(found.version),
        run_id=str(found.run_id),
        stage=tags["stage"],
        key=tags["training_key"],
        as_of=datetime.fromisoformat(tags["as_of"]),
        trained_through=tags["trained_through"],
        family=tags["family"],
        metrics=json.loads(tags["metrics"]),
        verdict=tags["verdict"],
        reasons=tuple(json.loads(tags["reasons"])),
    )


def _is_absent(error: Any) -> bool:
    """Whether MLflow says that an alias does not exist, as opposed to not answering."""
    return error.error_code == "RESOURCE_DOES_NOT_EXIST" or ("alias" in str(error) and "not found" in str(error))


def _require_unlocked(file: Path) -> None:
    """Refuse a database another process has locked: MLflow itself would try for minutes."""
    connection = sqlite3.connect(file, timeout=PROBE_SECONDS)
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.rollback()
    finally:
        connection.close()


def _metrics(figures: Mapping[str, float]) -> list[Any]:
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    return [Metric(name, float(value), now, 0) for name, value in figures.items() if math.isfinite(value)]


def _params(values: Mapping[str, Any]) -> list[Any]:
    from mlflow.entities import Param

    return [Param(name, str(value)) for name, value in values.items()]


def _tags(values: Mapping[str, str]) -> list[Any]:
    from mlflow.entities import RunTag

    return [RunTag(name, value[:5000]) for name, value in values.items()]


def _flat(document: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in document.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat


def _masked(address: str) -> str:
    """Return an address without its password."""
    parsed = urlparse(address)
    return address.replace(f":{parsed.password}@", ":***@") if parsed.password else address
