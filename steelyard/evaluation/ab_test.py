"""The two arms of the pilot: signals a keyed hash gave to the existing system, and those it gave to the blend (SPEC §4)."""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import bdtr

from steelyard.evaluation.books import Floats, SizingPolicy, account_returns


@dataclass(frozen=True, slots=True)
class ArmComparison:
    """What each arm earned per signal assigned to it, taken or not: the assignment is what was drawn by lot.

    Attributes:
        control: Settled signals where the existing system decided.
        treatment: Settled signals where the blend decided.
        control_return: Mean account return per control signal; NaN without any.
        treatment_return: The same for treatment.
        standard_error: Of the difference of the two, unequal variances (Welch 1947); NaN with fewer than two in an arm.
        sample_ratio_p: Exact two-sided binomial probability of a split at least as uneven; NaN without signals. A tiny one
            says that signals get lost in one arm (Fabijan et al., "Diagnosing Sample Ratio Mismatch", KDD 2019).
    """

    control: int
    treatment: int
    control_return: float
    treatment_return: float
    standard_error: float
    sample_ratio_p: float

    @property
    def difference(self) -> float:
        """Mean account return of treatment over that of control."""
        return self.treatment_return - self.control_return


def compare_arms(settled: pd.DataFrame, sizing: SizingPolicy) -> ArmComparison:
    """Return the arms of ``settled`` (settled predictions; rows outside both arms do not count)."""
    earned = np.where(
        settled["decision"].to_numpy(dtype=bool), account_returns(settled, sizing), 0.0
    )
    arm = settled["arm"].to_numpy(dtype=object)
    control, treatment = earned[arm == "control"], earned[arm == "treatment"]
    n, fewer = len(control) + len(treatment), min(len(control), len(treatment))
    return ArmComparison(
        control=len(control),
        treatment=len(treatment),
        control_return=_mean(control),
        treatment_return=_mean(treatment),
        standard_error=math.sqrt(_squared_error(control) + _squared_error(treatment)),
        sample_ratio_p=min(1.0, 2 * float(bdtr(fewer, n, 0.5))) if n else math.nan,
    )


def _mean(earned: Floats) -> float:
    return float(earned.mean()) if len(earned) else math.nan


def _squared_error(earned: Floats) -> float:
    return float(earned.var(ddof=1) / len(earned)) if len(earned) > 1 else math.nan
