"""The trials of a training's search, each a run of its own below the training's."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from steelyard.gateways.registry.tracking import TRAINING, Figures, Tracking

if TYPE_CHECKING:
    from steelyard.learning.search import TrialRow

PARENT = "mlflow.parentRunId"


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
        tags = {PARENT: parent, "lineage": tracking.lineage, "state": row.state, "family": row.family}
        with tracking.run(TRAINING, f"trial {row.number}", tags, trial.began, trial.ended) as run_id:
            metrics = {"oof_log_loss": row.value, "rounds": float(row.rounds), "seconds": seconds}
            tracking.log(run_id, Figures(metrics, {"family": row.family, **row.params}))
