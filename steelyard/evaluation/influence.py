"""Influence: returns of the signals whose decision the weight changed."""

import math
from dataclasses import dataclass

import pandas as pd

from steelyard.evaluation import metrics
from steelyard.evaluation.books import Bools, Floats

TWO_SIDED_95 = 1.959964


@dataclass(frozen=True, slots=True)
class Pivotal:
    """Returns of the changed decisions; NaN if there is nothing to measure.

    Attributes:
        weighed: Settled signals decided with a weight above 0, control arm left out.
        changed: Those of them decided otherwise than by the existing system, with room for it.
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


def changed_signals(held: pd.DataFrame) -> tuple[Bools, Floats]:
    """Return the decisions the weight changed, and what they gained, shape (n,) each.

    A signal taken for the blend gains its return on the account; one left that the baseline book
    took gains the opposite.

    Args:
        held: As in ``measure_pivotal``.
    """
    changed = held["pivotal"].to_numpy(dtype=bool) & (held["arm"] != "control").to_numpy(dtype=bool)
    taken = held["decision_taken"].to_numpy() | held["baseline_taken"].to_numpy()
    gained = held["decision_return"].to_numpy() - held["baseline_return"].to_numpy()
    return changed & taken, gained


def measure_pivotal(held: pd.DataFrame) -> Pivotal:
    """Measure the decisions the weight changed.

    Signals of one day are correlated, so the interval uses days as clusters.

    Args:
        held: Settled predictions from ``positions.take_positions``, one row a signal, with columns
            ``weight``, ``arm``, ``pivotal`` and ``settled_at``.
    """
    weighed = ((held["weight"] > 0) & (held["arm"] != "control")).to_numpy(dtype=bool)
    changed, gains = changed_signals(held)
    changed &= weighed
    gained, stamps = gains[changed], held["settled_at"].to_numpy(dtype="datetime64[ns]")[changed]
    mean = metrics.mean(gained)
    deviations = (gained - mean) / max(len(gained), 1)
    margin = TWO_SIDED_95 * metrics.error_by_day(deviations, stamps)
    return Pivotal(
        weighed=int(weighed.sum()),
        changed=len(gained),
        gained=float(gained.sum()),
        mean=mean,
        low=mean - margin,
        high=mean + margin,
    )
