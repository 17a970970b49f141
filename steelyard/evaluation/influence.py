"""Influence: returns of the signals whose decision the weight changed."""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from steelyard.evaluation.books import Floats, SizingPolicy, account_returns

TWO_SIDED_95 = 1.959964


@dataclass(frozen=True, slots=True)
class Pivotal:
    """Returns of the changed decisions; NaN if there is nothing to measure.

    Attributes:
        weighed: Settled signals decided with a weight above 0, control arm left out.
        changed: Those of them decided otherwise than by the existing system.
        gained: Sum of their account returns over the existing system's decision.
        mean: Mean of these returns per changed signal.
        low: Lower end of the 95 % interval of the mean.
        high: Upper end of the 95 % interval of the mean.
    """

    weighed: int
    changed: int
    gained: float
    mean: float
    low: float
    high: float

    @property
    def influence(self) -> float:
        """Share of the weighed signals whose decision changed; NaN without any."""
        return self.changed / self.weighed if self.weighed else math.nan


def measure_pivotal(settled: pd.DataFrame, sizing: SizingPolicy) -> Pivotal:
    """Measure the decisions the weight changed.

    Signals of one day are correlated, so the interval uses days as clusters (Liang and Zeger,
    "Longitudinal data analysis using generalized linear models", Biometrika 73, 1986).

    Args:
        settled: Settled predictions, one row a signal, with columns ``weight``, ``arm``,
            ``pivotal``, ``decision``, ``settled_at``, ``net_return`` and ``stop_distance``.
        sizing: Size of each trade.
    """
    weighed = ((settled["weight"] > 0) & (settled["arm"] != "control")).to_numpy(dtype=bool)
    changed = weighed & settled["pivotal"].to_numpy(dtype=bool)
    traded = settled["decision"].to_numpy(dtype=bool)[changed]
    gained = account_returns(settled[changed], sizing) * np.where(traded, 1.0, -1.0)
    days = settled.loc[changed, "settled_at"].dt.floor("D").to_numpy()
    mean = float(gained.mean()) if len(gained) else math.nan
    margin = TWO_SIDED_95 * _clustered_error(gained, days)
    return Pivotal(
        weighed=int(weighed.sum()),
        changed=len(gained),
        gained=float(gained.sum()),
        mean=mean,
        low=mean - margin,
        high=mean + margin,
    )


def _clustered_error(gained: Floats, days: NDArray[np.datetime64]) -> float:
    """Return the standard error of the mean with days as clusters; NaN with fewer than two days."""
    _, clusters = np.unique(days, return_inverse=True)
    count = clusters.max(initial=-1) + 1
    if count < 2:
        return math.nan
    sums = np.bincount(clusters, weights=gained - gained.mean())
    return math.sqrt(float((sums**2).sum()) * count / (count - 1)) / len(gained)
