"""Registered versions of the model: trained, waiting, serving, refused, retired (SPEC §7).

"No champion" is None; a registry that cannot be reached raises ``RestoreService``. A version's tags
are the record, aliases follow them: ``recover`` moves an alias left behind by a process that died.
"""

import json
import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from steelyard.errors import RestoreService
from steelyard.gateways.registry import descriptions
from steelyard.gateways.registry.datasets import Dataset, Trial, best_trials, inputs, log_trials
from steelyard.gateways.registry.evaluation import MachineLoad, evaluate_holdout
from steelyard.gateways.registry.journal import Journal, Lock
from steelyard.gateways.registry.tracking import (
    DECISIONS,
    MAX_CHARACTERS,
    NOTE,
    OBSERVATIONS,
    TRAINING,
    KeyedRuns,
    RunFigures,
    Tracking,
    is_absent,
)
from steelyard.gateways.seal import Seal
from steelyard.gateways.witnesses import Witnesses
from steelyard.learning.scorer import files_hash
from steelyard.weight.decision import Entry

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

MODEL = "model"
MAX_VERSIONS = 10_000
FEATURES_VALIDATED = "features_validated"
"""Tag of the registered model: whether the features passed their contract at the last training."""


@dataclass(frozen=True, slots=True)
class Version:
    """A registered version of the model.

    Attributes:
        number: Version number in MLflow, from 1.
        run_id: Run of its training.
        stage: challenger, champion, refused or retired.
        key: Training key: same data and settings, same version.
        as_of: Time the training was evaluated as of, UTC.
        trained_through: ISO time of the last outcome it was fitted, tuned or calibrated on; empty
            without a model.
        family: Model family, such as xgboost.
        metrics: Finite metrics of the training by name.
        verdict: Result of the training in one sentence.
        reasons: Why it serves or does not; of a challenger, why it waits for an operator; empty
            until decided.
        serving_since: When it became the champion, UTC; None if it never served.
        files_hash: SHA-256 of the stored model; empty without a model or if stored by an older
            release.
        approved: Who approved it and why, in a sentence; empty if no operator did.
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
    serving_since: datetime | None
    files_hash: str = ""
    approved: str = ""

    @property
    def waits_for_operator(self) -> bool:
        """Whether it is too good to be true and not approved."""
        return self.stage == "challenger" and bool(self.reasons)


@dataclass(frozen=True, slots=True)
class Registration:
    """A training to be registered.

    Attributes:
        key: Training key: same data and settings, same version.
        as_of: Time the training was evaluated as of, UTC.
        family: Model family, such as xgboost.
        trained_through: ISO time of the last outcome used; empty without a model.
        files: Stored model, name → content; empty if the training was refused before it gave a
            model.
        params: Settings of the training by name.
        metrics: Metrics by name; those that are not finite are not stored.
        artifacts: Pictures, tables and reports, name → content.
        verdict: Result in one sentence.
        feature_names: Inputs of the model, in order.
        data_hash: SHA-256 of the training rows.
        refused: Why the version may not serve; empty for a challenger.
        trials: All trials of its search, in order.
        every_trial: Whether each of them gets a run of its own; otherwise only the best do.
        data: Rows it was trained and evaluated on.
        holdout: Outcome and opinion of each holdout signal, columns ``won`` and ``p_win``, for
            MLflow's own evaluation; None to leave that out.
        load: Load of the machine during the training; None if it was not watched.
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
    trials: tuple[Trial, ...] = ()
    every_trial: bool = False
    data: tuple[Dataset, ...] = ()
    holdout: pd.DataFrame | None = None
    load: MachineLoad | None = None


class Registry:
    """Models of one lineage at an MLflow address, and the journal of what they may decide.

    Args:
        address: ``sqlite:///FILE``, ``postgresql+psycopg://…`` or ``http://…`` of a server.
        artifacts: Folder or URL of run files if there is no server.
        lineage: Name of the registered model.
        lock: Returns a context in which no other process changes the lineage.
        seal: Seals state and decisions.
        witnesses: What ledger and trading side have seen of the lineage; None for none.
    """

    def __init__(
        self,
        address: str,
        artifacts: str,
        lineage: str,
        lock: Lock,
        seal: Seal,
        witnesses: Witnesses | None = None,
    ) -> None:
        self._tracking = Tracking(address, artifacts, lineage, witnesses)
        self.journal = Journal(self._tracking, lock, seal, self._install_champion, witnesses)
        self.observations = KeyedRuns(self._tracking, OBSERVATIONS)

    def present(self) -> bool:
        """Whether the lineage exists; nothing is created."""
        return self._tracking.present()

    def origin(self) -> tuple[str | None, bool]:
        """Return the folder of the home this one was copied from, and whether runs go there."""
        return self._tracking.origin()

    def require_database(self) -> None:
        """Refuse to make a database anew that held the lineage.

        Raises:
            VerifyState: If its file is gone.
        """
        self._tracking.require_database()

    def recover(self) -> None:
        """Complete the last decision and the challenger's alias after a process died.

        Safe to repeat.
        """
        self.journal.recover()
        with self._tracking.reached():
            self._align_challenger()

    def register(self, training: Registration) -> Version:
        """Store a training as one finished run and one version, and return the version.

        A version with the same key is returned unchanged.

        Raises:
            RestoreService: If MLflow cannot be reached or another process keeps the lock.
        """
        with self._tracking.reached(), self.journal.deciding():
            registered = self.find(training.key)
            if registered is not None:
                self._align_challenger()
                return registered
            run_id = self._finished_run(training.key) or self._log_run(training)
            tags = _initial_tags(training)
            client, lineage = self._tracking.client, self._tracking.lineage
            source = f"{client.get_run(run_id).info.artifact_uri}/{MODEL}"
            page = self._tracking.page(TRAINING, run_id)
            description = descriptions.describe_version(tags, page)[:MAX_CHARACTERS]
            version = client.create_model_version(
                lineage, source, run_id, tags=tags, description=description
            )
            self._align_challenger()
            return self.version(version.version)

    def _finished_run(self, key: str) -> str | None:
        """Return the finished run of a training whose process died before its version was made.

        Unfinished runs are marked as killed; call it under the lock.
        """
        for run_id in self._tracking.run_ids(TRAINING, "RUNNING"):
            self._tracking.client.set_terminated(run_id, status="KILLED")
        condition = f" and tags.training_key = '{key}'"
        return next(iter(self._tracking.run_ids(TRAINING, "FINISHED", condition)), None)

    def _log_run(self, training: Registration) -> str:
        from steelyard.gateways.pyfunc import save  # imports both boosters; readers need neither

        tags = {
            "lineage": self._tracking.lineage,
            "training_key": training.key,
            "data_hash": training.data_hash,
            "verdict": training.verdict,
            NOTE: descriptions.describe_training(
                training.verdict,
                f"{training.as_of:%Y-%m-%d} ({training.family})",
                training.trained_through[:10],
                str(training.params.get("reason", "")),
            ),
        }
        began = training.trials[0].began if training.trials else None
        name = f"train {training.as_of:%Y-%m-%d}"
        with self._tracking.run(TRAINING, name, tags, began) as run_id:
            figures = RunFigures(training.metrics, training.params)
            self._tracking.fill(run_id, figures, training.artifacts)
            if training.data:
                self._tracking.client.log_inputs(run_id, inputs(training.data))
            if training.files:
                with tempfile.TemporaryDirectory() as folder:
                    save(Path(folder, MODEL), training.files, training.feature_names)
                    self._tracking.client.log_artifacts(run_id, folder)
            chosen = training.trials if training.every_trial else best_trials(training.trials)
            log_trials(self._tracking, run_id, chosen)
            if training.load is not None:
                self._tracking.client.log_batch(run_id, training.load.metrics())
            if training.holdout is not None:  # last: it finishes the run
                evaluate_holdout(self._tracking.client.tracking_uri, run_id, training.holdout)
        return run_id

    def page(self, run_id: str) -> str:
        """Return the path of a training's run on MLflow's pages."""
        with self._tracking.reached():
            return f"/{self._tracking.page(TRAINING, run_id)}"

    def find(self, key: str) -> Version | None:
        """Return the version of a training key, None if it was never trained."""
        return next(iter(self.versions(training_key=key)), None)

    def versions(self, **tags: str) -> list[Version]:
        """Return the versions with these tags, oldest first.

        Args:
            **tags: Value by name of a tag; without any, all versions are returned.
        """
        with self._tracking.reached():
            terms = (f" and tags.{name} = '{value}'" for name, value in tags.items())
            query = f"name = '{self._tracking.lineage}'{''.join(terms)}"
            registered = self._tracking.client.search_model_versions(
                query, max_results=MAX_VERSIONS
            )
            versions = [_to_version(version) for version in registered]
            return sorted(versions, key=lambda version: int(version.number))

    def version(self, version_number: str) -> Version:
        """Return a registered version.

        Raises:
            RestoreService: If it does not exist (any more).
        """
        remembered = self.journal.remembered
        if remembered is None:
            return self._read_version(version_number)
        if version_number not in remembered:
            remembered[version_number] = self._read_version(version_number)
        version: Version = remembered[version_number]
        return version

    def _read_version(self, version_number: str) -> Version:
        from mlflow.exceptions import MlflowException

        with self._tracking.reached():
            try:
                return _to_version(
                    self._tracking.client.get_model_version(self._tracking.lineage, version_number)
                )
            except MlflowException as error:
                if not is_absent(error):
                    raise
                raise RestoreService(
                    f"version {version_number} is not in the registry any more; restore it"
                ) from error

    def record_features(self, *, valid: bool) -> None:
        """Record whether the features passed their data contract at the last training.

        Raises:
            RestoreService: If MLflow cannot be reached.
        """
        with self._tracking.reached():
            lineage, answer = self._tracking.lineage, "yes" if valid else "no"
            self._tracking.client.set_registered_model_tag(lineage, FEATURES_VALIDATED, answer)

    def features_validated(self) -> bool:
        """Return the recorded result; of homes that never recorded one, whether a version exists.

        Raises:
            RestoreService: If MLflow cannot be reached.
        """
        with self._tracking.reached():
            tags = self._tracking.client.get_registered_model(self._tracking.lineage).tags
        recorded = tags.get(FEATURES_VALIDATED)
        return bool(self.versions()) if recorded is None else recorded == "yes"

    def champion(self) -> Version | None:
        """Return the version that serves according to the journal, None if none does.

        Raises:
            RestoreService: If MLflow cannot be reached or the version is gone.
            VerifyState: If the state tag does not follow from the journal.
        """
        state = self.journal.state()
        return self.version(state.champion) if state and state.champion else None

    def challenger(self) -> Version | None:
        """Return the oldest version that waits for its comparison, None if none waits.

        Raises:
            VerifyState: If the state tag does not follow from the journal.
        """
        return next(iter(self.waiting()), None)

    def waiting(self) -> list[Version]:
        """Return the versions that wait for their comparison, oldest first.

        Raises:
            VerifyState: If the state tag does not follow from the journal.
        """
        self.journal.state()
        return self.versions(stage="challenger")

    def load(self, version_number: str) -> dict[str, bytes]:
        """Return the stored files of a version, name → content.

        Raises:
            RestoreService: If they are gone or differ from those registered.
        """
        version = self.version(version_number)
        with self._tracking.reached(), tempfile.TemporaryDirectory() as folder:
            downloaded = Path(
                self._tracking.client.download_artifacts(version.run_id, f"{MODEL}/data", folder)
            )
            paths = [path for path in downloaded.rglob("*") if path.is_file()]
            files = {path.name: path.read_bytes() for path in paths}
        if version.files_hash not in ("", files_hash(files)):
            raise RestoreService(
                f"the files of version {version_number} are not those that were registered; "
                f"restore the artifacts of its run {version.run_id} from a backup, or train anew"
            )
        return files

    def read(self, version: Version, name: str) -> str | None:
        """Return the text of a file of a version's training; None if it has no such file.

        Args:
            version: Registered version.
            name: Name of the file.
        """
        with self._tracking.reached():
            return self._tracking.read(version.run_id, name)

    def attach(self, version: Version, files: Mapping[str, bytes]) -> None:
        """Add files to the run of a version's training.

        Args:
            version: Registered version.
            files: Name → content.
        """
        with self._tracking.reached():
            self._tracking.attach(version.run_id, files)

    def importance(self, version: Version) -> dict[str, dict[str, float]]:
        """Return a version's feature importance, ``gain`` and ``shap`` each by feature.

        Empty if its training stored none.
        """
        text = self.read(version, "importance.json") or "{}"
        importance: dict[str, dict[str, float]] = json.loads(text)
        return importance if "shap" in importance else {}

    def refuse(self, version_number: str, reasons: tuple[str, ...]) -> Version:
        """Mark a version as refused and return it; it stays registered. Safe to repeat.

        Args:
            version_number: Version number.
            reasons: Why it may not serve.
        """
        return self._decide(version_number, "refused", reasons)

    def let_wait(self, version_number: str, reasons: tuple[str, ...]) -> Version:
        """Let a challenger wait for an operator and return it. Safe to repeat.

        Args:
            version_number: Version number.
            reasons: Why it may not serve without an approval.
        """
        return self._decide(version_number, "challenger", reasons)

    def reopen(self, version_number: str, approved: str) -> Version:
        """Make an approved version a challenger that may serve and return it. Safe to repeat.

        Args:
            version_number: Version number.
            approved: Who approved it and why, in a sentence.
        """
        with self._tracking.reached(), self.journal.deciding():
            self._set_tags(version_number, {"approved": approved[:MAX_CHARACTERS]})
            return self._decide(version_number, "challenger", ())

    def _decide(self, version_number: str, stage: str, reasons: tuple[str, ...]) -> Version:
        with self._tracking.reached(), self.journal.deciding():
            self._move_stage(version_number, {"reasons": json.dumps(reasons), "stage": stage})
            self._align_challenger()
            return self.version(version_number)

    def record_canaries(
        self,
        version_number: str,
        summary: str,
        figures: Mapping[str, float],
        files: Mapping[str, bytes],
    ) -> None:
        """Record the leakage checks of a version with its tags and its run. Safe to repeat.

        Args:
            version_number: Version number.
            summary: Result in one sentence.
            figures: Metrics by name; those that are not finite are left out.
            files: Name → content.
        """
        with self._tracking.reached(), self.journal.deciding():
            self._set_tags(version_number, {"canaries": summary})
            self._tracking.fill(self.version(version_number).run_id, RunFigures(figures), files)

    def _install_champion(self, entry: Entry) -> None:
        """Make the version of a promotion the champion and retire its predecessor.

        Safe to repeat.
        """
        version_number, predecessor = str(entry.state.champion), entry.decision.before.champion
        since, reasons = entry.decision.as_of.isoformat(), entry.decision.reasons
        page = self._tracking.page(DECISIONS, str(entry.run_id))
        if predecessor not in (None, version_number):
            because = f"{since[:10]}, {'; '.join(reasons)}"
            self._move_stage(
                str(predecessor), {"retired_because": because, "stage": "retired"}, page
            )
        tags = {"reasons": json.dumps(reasons), "serving_since": since, "stage": "champion"}
        self._move_stage(version_number, tags, page)
        self._point_alias("champion", version_number)
        self._align_challenger()

    def _align_challenger(self) -> None:
        """Point the alias challenger at the oldest version that waits."""
        waiting = self.versions(stage="challenger")
        self._point_alias("challenger", waiting[0].number if waiting else None)

    def _point_alias(self, alias: str, version_number: str | None) -> None:
        client, lineage = self._tracking.client, self._tracking.lineage
        current = client.get_registered_model(lineage).aliases.get(alias)
        if version_number is None and current is not None:
            client.delete_registered_model_alias(lineage, alias)
        elif version_number is not None and str(current) != version_number:
            client.set_registered_model_alias(lineage, alias, version_number)

    def _move_stage(self, version_number: str, tags: Mapping[str, str], decision: str = "") -> None:
        """Move a version to another stage; the stage, which others read, is written last."""
        client, lineage = self._tracking.client, self._tracking.lineage
        version = client.get_model_version(lineage, version_number)
        training = self._tracking.page(TRAINING, str(version.run_id))
        description = descriptions.describe_version({**version.tags, **tags}, training, decision)
        client.update_model_version(lineage, version_number, description[:MAX_CHARACTERS])
        self._set_tags(version_number, tags)

    def _set_tags(self, version_number: str, tags: Mapping[str, str]) -> None:
        (self.journal.remembered or {}).pop(version_number, None)
        for name, value in tags.items():
            self._tracking.client.set_model_version_tag(
                self._tracking.lineage, version_number, name, value
            )

    def align(self) -> None:
        """Set stages and aliases to what the journal says. Safe to repeat."""
        state = self.journal.state()
        champion = state.champion if state else None
        with self._tracking.reached(), self.journal.deciding():
            for version in self.versions():
                if version.number == champion:
                    self._move_stage(version.number, {"stage": "champion"})
                elif version.stage == "champion":
                    stage = "retired" if version.serving_since else "refused"
                    self._move_stage(version.number, {"stage": stage})
            self._point_alias("champion", champion)
            self._align_challenger()

    def misplaced(self) -> list[str]:
        """Return where aliases and stages contradict the journal or each other, one line each."""
        state, _ = self.journal.verified()
        champion = state.champion if state else None
        versions = self.versions()
        with self._tracking.reached():
            aliases = self._tracking.client.get_registered_model(self._tracking.lineage).aliases
        waiting = [version.number for version in versions if version.stage == "challenger"]
        challenger = waiting[0] if waiting else None
        return [
            *_alias_faults("champion", aliases.get("champion"), champion),
            *_alias_faults("challenger", aliases.get("challenger"), challenger),
            *(
                f"version {version.number} has the stage champion, but the journal lets "
                f"{champion or 'none'} serve"
                for version in versions
                if version.stage == "champion" and version.number != champion
            ),
            *(
                f"version {version.number} serves by the journal, but has the stage {version.stage}"
                for version in versions
                if version.number == champion and version.stage != "champion"
            ),
        ]


def _alias_faults(alias: str, actual: object, expected: str | None) -> list[str]:
    if (actual is None and expected is None) or str(actual) == expected:
        return []
    return [
        f"the alias {alias} names version {actual or 'none'}, it should name {expected or 'none'}"
    ]


def _initial_tags(training: Registration) -> dict[str, str]:
    """Return the tags of a new version, in the order MLflow's pages show them."""
    metrics = {name: value for name, value in training.metrics.items() if math.isfinite(value)}
    accuracy = metrics.get("holdout_accuracy")
    return {
        "stage": "refused" if training.refused else "challenger",
        **({"holdout_accuracy": f"{accuracy:.1%}"} if accuracy is not None else {}),
        "verdict": training.verdict,
        "trained_through": training.trained_through,
        "family": training.family,
        "as_of": training.as_of.isoformat(),
        "reasons": json.dumps(training.refused),
        "training_key": training.key,
        "data_hash": training.data_hash,
        "files_hash": files_hash(training.files) if training.files else "",
        "metrics": json.dumps(metrics),
    }


def _to_version(registered: "ModelVersion") -> Version:
    tags: dict[str, Any] = registered.tags
    since = tags.get("serving_since")
    return Version(
        number=str(registered.version),
        run_id=str(registered.run_id),
        stage=tags["stage"],
        key=tags["training_key"],
        as_of=datetime.fromisoformat(tags["as_of"]),
        trained_through=tags["trained_through"],
        family=tags["family"],
        metrics=json.loads(tags["metrics"]),
        verdict=tags["verdict"],
        reasons=tuple(json.loads(tags["reasons"])),
        serving_since=datetime.fromisoformat(since) if since is not None else None,
        files_hash=tags.get("files_hash", ""),
        approved=tags.get("approved", ""),
    )
