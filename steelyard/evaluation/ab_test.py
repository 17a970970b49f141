"""A/B test of the pilot: a keyed hash assigns each signal to control or treatment (SPEC §4)."""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from steelyard.evaluation import metrics
from steelyard.evaluation.chances import chance_of_at_most


@dataclass(frozen=True, slots=True)
class ArmComparison:
    """Earnings of both arms per assigned signal, traded or not: only the assignment is random.

    Attributes:
        control: Settled signals decided by the existing system.
        treatment: Settled signals decided by the blend.
        control_return: Mean account return per control signal; NaN without any.
        treatment_return: Mean account return per treatment signal; NaN without any.
        standard_error: Of the difference, with days as clusters; NaN if an arm has fewer than two
            signals, or all settled on one day.
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
            ``arm``; rows outside both arms do not count. Both arms share the account, and the days:
            what moves the market on one day moves both.
    """
    assigned = held[held["arm"].isin(("control", "treatment")).to_numpy(dtype=bool)]
    earned, treated = assigned["decision_return"].to_numpy(), assigned["arm"].eq("treatment")
    treatment, control = (earned[rows.to_numpy(dtype=bool)] for rows in (treated, ~treated))
    fewer, error = min(len(control), len(treatment)), math.nan
    if fewer > 1:
        above, below = earned - treatment.mean(), control.mean() - earned
        deviations = np.where(treated, above / len(treatment), below / len(control))
        stamps = assigned["settled_at"].to_numpy(dtype="datetime64[ns]")
        error = metrics.error_by_day(deviations, stamps)
    return ArmComparison(
        control=len(control),
        treatment=len(treatment),
        control_return=metrics.mean(control),
        treatment_return=metrics.mean(treatment),
        standard_error=error,
        sample_ratio_p=split_probability(fewer, len(assigned)),
    )


def split_probability(fewer: int, assigned: int) -> float:
    """Return the exact two-sided binomial probability of a split at least as uneven.

    Args:
        fewer: Signals in the smaller arm.
        assigned: Signals in both arms; NaN is returned without any.
    """
    return min(1.0, 2 * chance_of_at_most(fewer, assigned, 0.5)) if assigned else math.nan
