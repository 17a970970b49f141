"""What a run of training in MLflow rests on: the rows it saw (digest, columns, counts) and the trials of its search."""

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
DIGEST = 36
"""Characters of a fingerprint MLflow keeps."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """Rows of settled signals.

    Attributes:
        context: What they were for: training, holdout, comparison.
        digest: SHA-256 over every value and name.
        source: Where they come from, as an address.
        columns: Numbers known when decided; the outcome is one more column.
        profile: Counts and bounds, plain JSON values.
    """

    name: str
    context: str
    digest: str
    source: str
    columns: tuple[str, ...]
    profile: Mapping[str, Any]


def inputs(data: Iterable[Dataset]) -> "list[DatasetInput]":
    """Return ``data`` as MLflow's inputs of a run."""
    from mlflow import entities

    return [
        entities.DatasetInput(
            entities.Dataset(
                name=one.name,
                digest=one.digest[:DIGEST],
                source_type="local",
                source=json.dumps({"uri": one.source}),
                schema=json.dumps({"mlflow_colspec": _columns(one.columns)}),
                profile=json.dumps(dict(one.profile)),
            ),
            [entities.InputTag("mlflow.data.context", one.context)],
        )
        for one in data
    ]


def _columns(names: Iterable[str]) -> list[dict[str, Any]]:
    kinds = [*((name, "double") for name in names), ("won", "boolean")]
    return [{"type": kind, "name": name, "required": True} for name, kind in kinds]


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial of a search, and when it ran."""

    row: "TrialRow"
    began: datetime
    ended: datetime


def log_trials(tracking: Tracking, parent: str, trials: Iterable[Trial]) -> None:
    """Log finished runs below ``parent``: parameters, out-of-fold log-loss, rounds, state, family, duration."""
    for trial in trials:
        row = trial.row
        seconds = (trial.ended - trial.began).total_seconds()
        tags = {
            PARENT: parent,
            "lineage": tracking.lineage,
            "state": row.state,
            "family": row.family,
        }
        with tracking.run(
            TRAINING, f"trial {row.number}", tags, trial.began, trial.ended
        ) as run_id:
            metrics = {"oof_log_loss": row.value, "rounds": float(row.rounds), "seconds": seconds}
            tracking.log(run_id, RunFigures(metrics, {"family": row.family, **row.params}))
