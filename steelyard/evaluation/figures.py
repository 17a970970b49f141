"""Scalar figures of the evaluation, each written once for Python and compiled code.

Python callers run them as plain Python; the kernels of ``steelyard.simulation.lives`` inline them.
Numba does not see that one of them changed when it loads a cached kernel of another module: after a
change here, delete ``steelyard/simulation/__pycache__``.
"""

import math
from collections.abc import Callable
from typing import Any, TypeVar

from numba.extending import register_jitable

DAYS_A_YEAR = 365
NEGLIGIBLE = 1e-12
"""Deviation relative to the mean below which only rounding is left."""

Function = TypeVar("Function", bound=Callable[..., Any])


def shared(rule: Function) -> Function:
    """Return ``rule`` unchanged, registered so that compiled code can inline it."""
    register_jitable(rule)
    return rule


@shared
def called_right(p_win: Any, won: Any) -> Any:
    """Return whether the outcome is the one that ``p_win > 0.5`` predicts.

    Args:
        p_win: Probability of a win; a number or an array of shape (n,). NaN predicts a loss.
        won: Outcome, of the same shape.
    """
    return (p_win > 0.5) == won


@shared
def share(part: float, whole: float) -> float:
    """Return ``part ÷ whole``; NaN if ``whole`` is 0.

    Args:
        part: A count or a sum.
        whole: The count it belongs to.
    """
    return part / whole if whole else math.nan


@shared
def larger_share(won: float, settled: float) -> float:
    """Return the share of the larger class, the accuracy of a constant; NaN without outcomes.

    It is formed from counts: 1 − the share won can round below the accuracy of a model that was
    right exactly as often.

    Args:
        won: Outcomes won.
        settled: All outcomes.
    """
    return max(won, settled - won) / settled if settled else math.nan


@shared
def improvement(total: float, baseline: float) -> float:
    """Return (total − baseline) ÷ |baseline|; NaN if the baseline earned nothing.

    Args:
        total: Total return of a book, share of the account.
        baseline: Total return of the baseline book.
    """
    size = abs(baseline)
    return (total - baseline) / size if size > 0 else math.nan


@shared
def varies(mean: float, deviation: float) -> bool:
    """Return whether daily returns vary by more than rounding.

    Args:
        mean: Their mean; NaN does not vary.
        deviation: Their standard deviation; NaN does not vary.
    """
    return deviation > NEGLIGIBLE * abs(mean)


@shared
def annual_sharpe(mean: float, deviation: float) -> float:
    """Return the Sharpe ratio annualised with √365; 0 without a trade, NaN if nothing varies.

    Args:
        mean: Mean of the returns of all calendar days.
        deviation: Their sample standard deviation; 0 with a mean of 0 if the book never traded.
    """
    if mean == 0 and deviation == 0:
        return 0.0
    return mean / deviation * math.sqrt(DAYS_A_YEAR) if varies(mean, deviation) else math.nan


@shared
def window_short(inside: int, needed: int, available: int) -> bool:
    """Return whether a window has to begin earlier than usual.

    Args:
        inside: Settled predictions in the usual window.
        needed: Settled predictions needed.
        available: All settled predictions that may be used; without any, nothing can be reached.
    """
    return inside < needed and available > 0


@shared
def first_needed(available: int, needed: int) -> int:
    """Return the position of the first of the last ``needed`` predictions; 0 if there are fewer.

    Args:
        available: All settled predictions that may be used, in the order they settled.
        needed: Settled predictions needed.
    """
    return max(available - needed, 0)
