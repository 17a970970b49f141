"""Registered versions of the model: trained, waiting, serving, refused, retired (SPEC §7).

"No champion" is None; a registry that cannot be reached raises ``RestoreService``. A version's tags are the record, aliases
follow them: ``recover`` moves an alias that a process left behind when it died.
"""

import json
import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steelyard.errors import RestoreService
from steelyard.gateways.registry import descriptions
from steelyard.gateways.registry.datasets import Dataset, Trial, inputs, log_trials
from steelyard.gateways.registry.journal import Journal, Lock
from steelyard.gateways.registry.tracking import (
    DECISIONS,
    LONGEST,
    NOTE,
    TRAINING,
    Observations,
    RunFigures,
    Tracking,
    is_absent,
)
from steelyard.learning.scorer import files_hash
from steelyard.weight.decision import Entry

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

MODEL = "model"


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
        serving_since: When it became the champion; None for one that never served.
        files_hash: SHA-256 over the stored model; empty where there is none, or it was stored before there were such.
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


@dataclass(frozen=True, slots=True)
class Registration:
    """What a training hands to the registry.

    Attributes:
        files: The stored model, name → content; empty when the training was refused before a model came of it.
        artifacts: Pictures, tables and reports, name → content.
        refused: Why the version may not serve; empty for a challenger.
        trials: Every trial of its search, in order.
        data: The rows it learned from and was judged on.
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
    data: tuple[Dataset, ...] = ()


class Registry:
    """Models of one lineage at an MLflow address, and the journal of what they may decide.

    Args:
        address: ``sqlite:///FILE``, ``postgresql+psycopg://…`` or the ``http://`` address of a server.
        artifacts: Where files lie when there is no server.
        lineage: Name of the registered model.
        lock: Gives a context in which no other process changes the lineage.
        seal_key: Secret the state and the decisions are sealed with.
    """

    def __init__(
        self, address: str, artifacts: str, lineage: str, lock: Lock, seal_key: str = ""
    ) -> None:
        self._tracking = Tracking(address, artifacts, lineage)
        self.journal = Journal(self._tracking, lock, seal_key, self._install_champion)
        self.observations = Observations(self._tracking)

    def present(self) -> bool:
        """Whether the lineage is there; nothing is made."""
        return self._tracking.present()

    def recover(self) -> None:
        """Complete what a process left undone when it died: the last decision, the challenger's alias. Safe to repeat."""
        self.journal.recover()
        with self._tracking.reached():
            self._align_challenger()

    def register(self, training: Registration) -> Version:
        """Store a training as one finished run and one version; a version with the same key comes back as it is."""
        with self._tracking.reached(), self.journal.deciding():
            found = self.find(training.key)
            if found is not None:
                self._align_challenger()
                return found
            run_id = self._logged(training.key) or self._log(training)
            tags = _tags_of(training)
            client, lineage = self._tracking.client, self._tracking.lineage
            source = f"{client.get_run(run_id).info.artifact_uri}/{MODEL}"
            about = descriptions.of_version(tags, self._tracking.page(TRAINING, run_id))[:LONGEST]
            made = client.create_model_version(
                lineage, source, run_id, tags=tags, description=about
            )
            self._align_challenger()
            return self.version(made.version)

    def _logged(self, key: str) -> str | None:
        """Return the finished run of a training whose process died before its version was made.

        Runs that were begun and never finished are marked as killed; whoever registers holds the lock.
        """
        for run_id in self._tracking.runs(TRAINING, "RUNNING"):
            self._tracking.client.set_terminated(run_id, status="KILLED")
        return next(
            iter(self._tracking.runs(TRAINING, "FINISHED", f" and tags.training_key = '{key}'")),
            None,
        )

    def _log(self, training: Registration) -> str:
        from steelyard.gateways.pyfunc import (
            save,
        )  # brings both boosters, which whoever only loads does not need

        tags = {
            "lineage": self._tracking.lineage,
            "training_key": training.key,
            "data_hash": training.data_hash,
            "verdict": training.verdict,
            NOTE: f"**{training.verdict}**",
        }
        began = training.trials[0].began if training.trials else None
        with self._tracking.run(
            TRAINING, f"train {training.as_of:%Y-%m-%d}", tags, began
        ) as run_id:
            figures = RunFigures(training.metrics, training.params)
            self._tracking.fill(run_id, figures, training.artifacts)
            if training.data:
                self._tracking.client.log_inputs(run_id, inputs(training.data))
            if training.files:
                with tempfile.TemporaryDirectory() as folder:
                    save(Path(folder, MODEL), training.files, training.feature_names)
                    self._tracking.client.log_artifacts(run_id, folder)
            log_trials(self._tracking, run_id, training.trials)
        return run_id

    def page(self, run_id: str) -> str:
        """Return the path of a training's run among MLflow's pages."""
        with self._tracking.reached():
            return f"/{self._tracking.page(TRAINING, run_id)}"

    def find(self, key: str) -> Version | None:
        """Return the version of a training key, None when it was never trained."""
        return next((version for version in self.versions() if version.key == key), None)

    def versions(self) -> list[Version]:
        """Return every version, oldest first."""
        with self._tracking.reached():
            wanted = f"name='{self._tracking.lineage}'"
            found = self._tracking.client.search_model_versions(wanted, max_results=10_000)
            return sorted((_version(one) for one in found), key=lambda version: int(version.number))

    def version(self, number: str) -> Version:
        """Return a registered version.

        Raises:
            RestoreService: If it is not there (any more).
        """
        from mlflow.exceptions import MlflowException

        with self._tracking.reached():
            try:
                return _version(
                    self._tracking.client.get_model_version(self._tracking.lineage, number)
                )
            except MlflowException as error:
                if not is_absent(error):
                    raise
                raise RestoreService(
                    f"version {number} is not in the registry any more; restore it"
                ) from error

    def champion(self) -> Version | None:
        """Return the version that serves, as the journal has it; None when none does."""
        state = self.journal.state()
        return self.version(state.champion) if state and state.champion else None

    def challenger(self) -> Version | None:
        """Return the version that is compared next, None when none waits: of those that wait, the oldest."""
        return next(iter(self.waiting()), None)

    def waiting(self) -> list[Version]:
        """Return every version that waits to be compared, oldest first.

        Raises:
            VerifyState: If the state tag does not follow from the journal.
        """
        self.journal.state()
        return [version for version in self.versions() if version.stage == "challenger"]

    def load(self, number: str) -> dict[str, bytes]:
        """Return the stored files of a version, name → content.

        Raises:
            RestoreService: If they are gone, or not those that were registered.
        """
        version = self.version(number)
        with self._tracking.reached(), tempfile.TemporaryDirectory() as folder:
            place = Path(
                self._tracking.client.download_artifacts(version.run_id, f"{MODEL}/data", folder)
            )
            files = {file.name: file.read_bytes() for file in place.rglob("*") if file.is_file()}
        if version.files_hash not in ("", files_hash(files)):
            raise RestoreService(
                f"the files of version {number} are not those that were registered; restore the artifacts of its run "
                f"{version.run_id} from a backup, or train anew"
            )
        return files

    def importance(self, version: Version) -> dict[str, dict[str, float]]:
        """Return a version's importance by feature under ``gain`` and ``shap``; empty where its training kept none."""
        with self._tracking.reached():
            found = json.loads(self._tracking.read(version.run_id, "importance.json") or "{}")
        return found if "shap" in found else {}

    def refuse(self, number: str, reasons: tuple[str, ...]) -> Version:
        """Keep a version registered and say why it does not serve. Safe to repeat."""
        with self._tracking.reached(), self.journal.deciding():
            self._move(number, {"reasons": json.dumps(reasons), "stage": "refused"})
            self._align_challenger()
            return self.version(number)

    def record_canaries(
        self, number: str, words: str, figures: Mapping[str, float], files: Mapping[str, bytes]
    ) -> None:
        """Keep what the canaries said of a version: in words as its tag, figures and files with its run. Safe to repeat."""
        with self._tracking.reached(), self.journal.deciding():
            self._tag(number, {"canaries": words})
            self._tracking.fill(self.version(number).run_id, RunFigures(figures), files)

    def _install_champion(self, entry: Entry) -> None:
        """Let the version a promotion names serve, and retire the one before. Safe to repeat."""
        number, before = str(entry.state.champion), entry.decision.before.champion
        since, why = entry.decision.as_of.isoformat(), entry.decision.reasons
        page = self._tracking.page(DECISIONS, str(entry.run_id))
        if before not in (None, number):
            because = f"{since[:10]}, {'; '.join(why)}"
            self._move(str(before), {"retired_because": because, "stage": "retired"}, page)
        self._move(
            number, {"reasons": json.dumps(why), "serving_since": since, "stage": "champion"}, page
        )
        self._point("champion", number)
        self._align_challenger()

    def _align_challenger(self) -> None:
        """Let the alias name the oldest version that waits."""
        waiting = [version.number for version in self.versions() if version.stage == "challenger"]
        self._point("challenger", waiting[0] if waiting else None)

    def _point(self, alias: str, number: str | None) -> None:
        client, lineage = self._tracking.client, self._tracking.lineage
        present = client.get_registered_model(lineage).aliases.get(alias)
        if number is None and present is not None:
            client.delete_registered_model_alias(lineage, alias)
        elif number is not None and str(present) != number:
            client.set_registered_model_alias(lineage, alias, number)

    def _move(self, number: str, tags: Mapping[str, str], decision: str = "") -> None:
        """Enter what becomes of a version: its description first, the stage, which others read, last."""
        client, lineage = self._tracking.client, self._tracking.lineage
        found = client.get_model_version(lineage, number)
        training = self._tracking.page(TRAINING, str(found.run_id))
        about = descriptions.of_version({**found.tags, **tags}, training, decision)
        client.update_model_version(lineage, number, about[:LONGEST])
        self._tag(number, tags)

    def _tag(self, number: str, tags: Mapping[str, str]) -> None:
        for name, value in tags.items():
            self._tracking.client.set_model_version_tag(self._tracking.lineage, number, name, value)

    def align(self) -> None:
        """Let stages and aliases say who serves by the journal. Safe to repeat."""
        state = self.journal.state()
        champion = state.champion if state else None
        with self._tracking.reached(), self.journal.deciding():
            for version in self.versions():
                if version.number == champion:
                    self._move(version.number, {"stage": "champion"})
                elif version.stage == "champion":
                    self._move(
                        version.number, {"stage": "retired" if version.serving_since else "refused"}
                    )
            self._point("champion", champion)
            self._align_challenger()

    def misplaced(self) -> list[str]:
        """Return what aliases and stages say against the journal and each other, one line each."""
        state, _ = self.journal.verified()
        champion = state.champion if state else None
        versions = self.versions()
        with self._tracking.reached():
            aliases = self._tracking.client.get_registered_model(self._tracking.lineage).aliases
        waiting = [version.number for version in versions if version.stage == "challenger"]
        return [
            *_alias_faults("champion", aliases.get("champion"), champion),
            *_alias_faults(
                "challenger", aliases.get("challenger"), waiting[0] if waiting else None
            ),
            *(
                f"version {version.number} has the stage champion, but the journal lets {champion or 'none'} serve"
                for version in versions
                if version.stage == "champion" and version.number != champion
            ),
            *(
                f"version {version.number} serves by the journal, but has the stage {version.stage}"
                for version in versions
                if version.number == champion and version.stage != "champion"
            ),
        ]


def _alias_faults(alias: str, found: object, expected: str | None) -> list[str]:
    if (found is None and expected is None) or str(found) == expected:
        return []
    return [
        f"the alias {alias} names version {found or 'none'}, it should name {expected or 'none'}"
    ]


def _tags_of(training: Registration) -> dict[str, str]:
    """Return the tags a version begins with."""
    metrics = {name: value for name, value in training.metrics.items() if math.isfinite(value)}
    return {  # pages show them in this order
        "stage": "refused" if training.refused else "challenger",
        **(
            {"holdout_accuracy": f"{metrics['holdout_accuracy']:.1%}"}
            if "holdout_accuracy" in metrics
            else {}
        ),
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


def _version(found: "ModelVersion") -> Version:
    tags: dict[str, Any] = found.tags
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
        serving_since=datetime.fromisoformat(tags["serving_since"])
        if "serving_since" in tags
        else None,
        files_hash=tags.get("files_hash", ""),
    )
