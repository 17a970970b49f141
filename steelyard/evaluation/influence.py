"""What the weight itself was worth: the signals it decided otherwise than the existing system would have."""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from steelyard.evaluation.books import Floats, SizingPolicy, account_returns

TWO_SIDED_95 = 1.959964


@dataclass(frozen=True, slots=True)
class Pivotal:
    """What the changed decisions brought; NaN where there is nothing to measure.

    Attributes:
        weighed: Settled signals that were decided with a weight above 0, control arm left out.
        changed: Those decided otherwise than without the model.
        gained: Account return they brought over the existing system's decision, summed.
        mean: The same per changed signal; ``low`` and ``high`` are its 95 % interval.
    """

    weighed: int
    changed: int
    gained: float
    mean: float
    low: float
    high: float

    @property
    def influence(self) -> float:
        """Share of the weighed signals whose decision changed: what the weight amounts to."""
        return self.changed / self.weighed if self.weighed else math.nan


def measure_pivotal(settled: pd.DataFrame, sizing: SizingPolicy) -> Pivotal:
    """Return what the weight brought on ``settled`` (settled predictions).

    Signals of one day hang together, so the interval takes days for its draws (Liang and Zeger, "Longitudinal data analysis
    using generalized linear models", Biometrika 73, 1986).
    """
    weighed = ((settled["weight"] > 0) & (settled["arm"] != "control")).to_numpy(dtype=bool)
    changed = weighed & settled["pivotal"].to_numpy(dtype=bool)
    taken = settled["decision"].to_numpy(dtype=bool)[changed]
    gained = account_returns(settled[changed], sizing) * np.where(taken, 1.0, -1.0)
    day = settled.loc[changed, "settled_at"].dt.floor("D").to_numpy()
    mean = float(gained.mean()) if len(gained) else math.nan
    margin = TWO_SIDED_95 * _standard_error(gained, day)
    return Pivotal(
        int(weighed.sum()), len(gained), float(gained.sum()), mean, mean - margin, mean + margin
    )


def _standard_error(gained: Floats, day: np.ndarray) -> float:
    """Return the standard error of the mean with days as clusters; NaN with fewer than two days."""
    _, cluster = np.unique(day, return_inverse=True)
    days = cluster.max(initial=-1) + 1
    if days < 2:
        return math.nan
    sums = np.bincount(cluster, weights=gained - gained.mean())
    return math.sqrt(float((sums**2).sum()) * days / (days - 1)) / len(gained)
