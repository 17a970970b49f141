"""Scalar figures of the evaluation, each written once for Python and compiled code.

Python callers run them as plain Python; the kernels of ``steelyard.simulation.lives`` inline them.
"""

import math
from typing import Any

from steelyard.compiled import shared

DAYS_A_YEAR = 365
MONTH_DAYS = 30
IMPROVEMENT_FLOOR = 0.01
"""Smallest size of a baseline that an improvement is relative to, share of the account a month."""
NEGLIGIBLE = 1e-12
"""Deviation relative to the mean below which only rounding is left."""


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
def base_rate_loss(won: float, settled: float) -> float:
    """Return the log-loss of saying the base rate each time, nats; NaN without outcomes.

    Args:
        won: Outcomes won.
        settled: All outcomes.
    """
    if settled == 0:
        return math.nan
    loss = 0.0
    for count in (won, settled - won):
        if count > 0:
            loss -= count / settled * math.log(count / settled)
    return loss


@shared
def improvement(total: float, baseline: float, days: float) -> float:
    """Return (total − baseline) ÷ max(|baseline|, 1 % of the account a month) (SPEC §6).

    Without the floor, a baseline that earned next to nothing would make any gain look enormous.

    Args:
        total: Total return of a book, share of the account.
        baseline: Total return of the baseline book; NaN gives NaN.
        days: Days in which both were earned, above 0.
    """
    size, floor = abs(baseline), IMPROVEMENT_FLOOR * days / MONTH_DAYS
    return (total - baseline) / (floor if size < floor else size)


@shared
def clustered_error(squares: float, clusters: int) -> float:
    """Return the standard error of a sum of deviations that are correlated within clusters.

    Liang and Zeger, "Longitudinal data analysis using generalized linear models", Biometrika 73,
    1986; NaN with fewer than two clusters.

    Args:
        squares: Sum over the clusters of their squared sums of deviations.
        clusters: Number of clusters.
    """
    return math.sqrt(squares * clusters / (clusters - 1)) if clusters > 1 else math.nan


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
def window_short(inside: float, needed: int, available: int) -> bool:
    """Return whether a window has to begin earlier than usual.

    Args:
        inside: Independent settled predictions in the usual window.
        needed: Independent settled predictions needed.
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


@shared
def neighbour_correlation(pairs: float, first: float, second: float, both: float) -> float:
    """Return the correlation of neighbours in a series of 0 and 1; NaN if one of them is constant.

    Args:
        pairs: Pairs of neighbours.
        first: How often the first of a pair is 1.
        second: How often the second is.
        both: How often both are.
    """
    variances = first * (pairs - first) * second * (pairs - second)
    return (pairs * both - first * second) / math.sqrt(variances) if variances > 0 else math.nan


@shared
def streak_by_chance(
    trades_a_year: float, win_rate: float, correlation: float, years_share: float
) -> float:
    """Return the losing streak that chance exceeds in ``years_share`` of years.

    Wins and losses are a Markov chain with the win rate w, l = 1 − w and the correlation r. A year
    of n trades holds n·w·l·(1 − r) losses that follow a win; each begins more than L losses in a
    row with probability (l + r·w)^L. Longer streaks come as a Poisson process.

    Args:
        trades_a_year: Trades a year; without any the answer is 0.
        win_rate: Share of trades won, in (0, 1).
        correlation: Correlation of neighbouring outcomes, below 1; NaN or less than 0 counts as 0.
        years_share: Share of years with a longer streak, in (0, 1).
    """
    dependence = correlation if correlation > 0 else 0.0
    begun = trades_a_year * win_rate * (1 - win_rate) * (1 - dependence)
    allowed = -math.log(1 - years_share)
    if begun <= allowed:
        return 0.0
    lasts = 1 - win_rate + dependence * win_rate
    return math.ceil(math.log(allowed / begun) / math.log(lasts))


@shared
def trades_a_year(trades: float, days: float) -> float:
    """Return the pace of trades a year.

    Args:
        trades: Trades so far.
        days: Days in which they settled; fewer than a month count as one.
    """
    return trades / max(days, MONTH_DAYS) * DAYS_A_YEAR
