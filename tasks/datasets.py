"""Rows of samples as what a run in MLflow learned from or was judged on."""

from steelyard.gateways.registry import Data
from steelyard.home import Home
from steelyard.learning.folds import holdout_split
from steelyard.learning.policy import LearningPolicy
from steelyard.learning.samples import Index, Samples


def dataset(home: Home, samples: Samples, rows: Index, context: str) -> Data:
    """Return the rows of ``samples`` at ``rows``, used as ``context`` (training, holdout, comparison)."""
    part = samples.take(rows)
    return Data(
        name="settled signals",
        context=context,
        digest=part.data_hash,
        source=f"{home.state_folder / 'lake'}",
        columns=samples.feature_names,
        profile={
            "num_rows": len(part),
            "decided_from": str(part.decided_at.min())[:19],
            "decided_through": str(part.decided_at.max())[:19],
            "settled_through": str(part.settled_at.max())[:19],
            "share_won": round(float(part.won.mean()), 4),
        },
    )


def learned_from(home: Home, samples: Samples, policy: LearningPolicy) -> tuple[Data, Data]:
    """Return what a training's search, fit and calibration saw, and the rows it was scored on once at the end."""
    development, holdout = holdout_split(samples, policy)
    return dataset(home, samples, development, "training"), dataset(home, samples, holdout, "holdout")
