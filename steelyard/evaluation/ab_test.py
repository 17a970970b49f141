"""A/B test of the pilot: a keyed hash assigns each signal to control or treatment (SPEC §4)."""

import math
from dataclasses import dataclass

import pandas as pd
from scipy.special import bdtr

from steelyard.evaluation import metrics
from steelyard.evaluation.books import Floats


@dataclass(frozen=True, slots=True)
class ArmComparison:
    """Earnings of both arms per assigned signal, traded or not: only the assignment is random.

    Attributes:
        control: Settled signals decided by the existing system.
        treatment: Settled signals decided by the blend.
        control_return: Mean account return per control signal; NaN without any.
        treatment_return: Mean account return per treatment signal; NaN without any.
        standard_error: Of the difference, unequal variances (Welch 1947); NaN if an arm has fewer
            than two signals.
        sample_ratio_p: Exact two-sided binomial probability of a split at least as uneven; NaN
            without signals. A tiny value means that signals get lost in one arm (Fabijan et al.,
            "Diagnosing Sample Ratio Mismatch", KDD 2019).
    """

    control: int
    treatment: int
    control_return: float
    treatment_return: float
    standard_error: float
    sample_ratio_p: float

    @property
    def difference(self) -> float:
        """Mean account return of treatment minus that of control."""
        return self.treatment_return - self.control_return


def compare_arms(held: pd.DataFrame) -> ArmComparison:
    """Compare the arms of the pilot.

    Args:
        held: Settled predictions from ``positions.take_positions``, one row each, with column
            ``arm``; rows outside both arms do not count. Both arms share the account.
    """
    earned, arm = held["decision_return"].to_numpy(), held["arm"].to_numpy(dtype=object)
    control, treatment = earned[arm == "control"], earned[arm == "treatment"]
    assigned, fewer = len(control) + len(treatment), min(len(control), len(treatment))
    return ArmComparison(
        control=len(control),
        treatment=len(treatment),
        control_return=metrics.mean(control),
        treatment_return=metrics.mean(treatment),
        standard_error=math.sqrt(_squared_error(control) + _squared_error(treatment)),
        sample_ratio_p=split_probability(fewer, assigned),
    )


def split_probability(fewer: int, assigned: int) -> float:
    """Return the exact two-sided binomial probability of a split at least as uneven.

    Args:
        fewer: Signals in the smaller arm.
        assigned: Signals in both arms; NaN is returned without any.
    """
    return min(1.0, 2 * float(bdtr(fewer, assigned, 0.5))) if assigned else math.nan


def _squared_error(earned: Floats) -> float:
    return float(earned.var(ddof=1) / len(earned)) if len(earned) > 1 else math.nan
