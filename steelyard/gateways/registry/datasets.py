"""Inputs of a training in MLflow: digest, columns and counts of its rows, and its search trials."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from steelyard.gateways.registry.tracking import TRAINING, RunFigures, Tracking

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput

    from steelyard.learning.search import TrialRow

PARENT = "mlflow.parentRunId"
BEST_TRIALS = 5
"""Trials of a search that get a run of their own unless all do."""
DIGEST_CHARACTERS = 36
"""Characters of a digest that MLflow stores."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """Rows of settled signals, described but not stored.

    Attributes:
        name: Name of the rows.
        context: Use of the rows: training, holdout or comparison.
        digest: SHA-256 over all values and names.
        source: Address of the data they come from.
        columns: Features known at the decision; the outcome ``won`` is one more column.
        profile: Counts and bounds, plain JSON values.
    """

    name: str
    context: str
    digest: str
    source: str
    columns: tuple[str, ...]
    profile: Mapping[str, Any]


def inputs(data: Iterable[Dataset]) -> "list[DatasetInput]":
    """Return datasets as MLflow's inputs of a run."""
    from mlflow import entities

    return [
        entities.DatasetInput(
            entities.Dataset(
                name=dataset.name,
                digest=dataset.digest[:DIGEST_CHARACTERS],
                source_type="local",
                source=json.dumps({"uri": dataset.source}),
                schema=_schema(dataset.columns),
                profile=json.dumps(dict(dataset.profile)),
            ),
            [entities.InputTag("mlflow.data.context", dataset.context)],
        )
        for dataset in data
    ]


def _schema(feature_names: Iterable[str]) -> str:
    """Return MLflow's schema of settled signals as JSON: the features and the outcome."""
    kinds = [*((name, "double") for name in feature_names), ("won", "boolean")]
    columns = [{"type": kind, "name": name, "required": True} for name, kind in kinds]
    return json.dumps({"mlflow_colspec": columns})


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial of a search with its start and end, UTC."""

    row: "TrialRow"
    began: datetime
    ended: datetime

    @property
    def seconds(self) -> float:
        """Duration."""
        return (self.ended - self.began).total_seconds()


def best_trials(trials: Iterable[Trial]) -> list[Trial]:
    """Return the trials with the lowest log-loss, in the order they were tried."""
    complete = [trial for trial in trials if trial.row.state == "complete"]
    best = sorted(complete, key=lambda trial: trial.row.value)[:BEST_TRIALS]
    return sorted(best, key=lambda trial: trial.row.number)


def log_trials(tracking: Tracking, parent: str, trials: Iterable[Trial]) -> None:
    """Log trials as finished child runs: parameters, out-of-fold log-loss, rounds, duration.

    Args:
        tracking: MLflow runs of the lineage.
        parent: Id of the training's run.
        trials: Trials of the search; a pruned one has a NaN log-loss, which is left out.
    """
    for trial in trials:
        row, seconds = trial.row, trial.seconds
        tags = {
            PARENT: parent,
            "lineage": tracking.lineage,
            "state": row.state,
            "family": row.family,
        }
        name = f"trial {row.number}"
        with tracking.run(TRAINING, name, tags, trial.began, trial.ended) as run_id:
            metrics = {"oof_log_loss": row.value, "rounds": float(row.rounds), "seconds": seconds}
            tracking.log(run_id, RunFigures(metrics, {"family": row.family, **row.params}))
