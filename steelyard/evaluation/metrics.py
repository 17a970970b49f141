"""Measures of trades, probabilities and equity.

Returns are fractions of the account. Empty input gives NaN, never an error. NaN in the input gives
NaN unless the docstring says that it is left out: callers phrase their limits so that NaN falls on
the safe side.
"""

import math
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from steelyard.evaluation.figures import annual_sharpe, called_right, clustered_error, larger_share

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
BINS = 10
NAN = float("nan")


def daily_returns(
    settled_at: NDArray[np.datetime64], returns: Floats, start: datetime, end: datetime
) -> Floats:
    """Return the sum of returns by calendar day (UTC), 0 for days without trades, shape (days,).

    Args:
        settled_at: Time each return was realised, UTC, shape (n,).
        returns: Fractions of the account, shape (n,).
        start: Time (UTC) within the first day, or its beginning.
        end: Last time counted (UTC); the day it falls into counts in full.
    """
    first_day = np.datetime64(start.replace(tzinfo=None), "D")
    length = (np.datetime64(end.replace(tzinfo=None)) - first_day) / np.timedelta64(1, "D")
    days = max(math.ceil(length), 1)
    offsets = (settled_at - first_day) / np.timedelta64(1, "D")
    day_numbers = (np.ceil(offsets).astype(np.int64) - 1).clip(0, days - 1)
    sums = np.bincount(day_numbers, weights=returns, minlength=days)
    return np.asarray(sums, dtype=np.float64)


def sharpe(daily: Floats) -> float:
    """Return the annualised Sharpe ratio against cash at 0.

    Annualised with √365: on calendar days the mean shrinks by 252/365 and the deviation by its
    root, which gives the figure of session days with √252, for stocks and round-the-clock markets
    alike (Sharpe, J. Portfolio Management 21, 1994). A book that never traded has 0; fewer than two
    days, or a constant return other than 0, give NaN.

    Args:
        daily: Returns of all calendar days, zeros included, shape (days,).
    """
    if len(daily) < 2:
        return NAN
    return float(annual_sharpe(daily.mean(), daily.std(ddof=1)))


def max_drawdown(returns: Floats) -> float:
    """Return the deepest fall of the additive equity from its peak, 0 or a positive fraction.

    Args:
        returns: Fractions of the starting account in the order realised, shape (n,).
    """
    equity = np.concatenate(([0.0], np.cumsum(returns)))
    return float((np.maximum.accumulate(equity) - equity).max())


def win_rate(returns: Floats) -> float:
    """Return the share of ``returns``, shape (n,), above 0; NaN without any."""
    return mean(np.where(np.isnan(returns), np.nan, returns > 0))


def profit_factor(returns: Floats) -> float:
    """Return gross gain ÷ gross loss of ``returns``, shape (n,).

    Infinity for gains without a loss, NaN with neither.
    """
    gain, loss = np.maximum(returns, 0).sum(), np.maximum(-returns, 0).sum()
    if loss == 0:
        return float("inf") if gain > 0 else NAN
    return float(gain / loss)


def payoff_ratio(returns: Floats) -> float:
    """Return mean gain ÷ mean loss of ``returns``, shape (n,); NaN unless there are both."""
    gains = returns[~(returns <= 0)]  # so written that NaN counts among the gains and shows
    losses = returns[returns < 0]
    return float(gains.mean() / -losses.mean()) if len(gains) and len(losses) else NAN


def mean(values: Floats) -> float:
    """Return the arithmetic mean of ``values``, shape (n,); NaN without any."""
    return float(values.sum() / len(values)) if len(values) else NAN


def accuracy(p_win: Floats, won: Bools) -> float:
    """Return the share of signals whose outcome ``p_win > 0.5`` predicted; NaN without any.

    Args:
        p_win: Probabilities in [0, 1], shape (n,); NaN is left out.
        won: Outcomes, shape (n,).
    """
    predicted = ~np.isnan(p_win)
    return mean(called_right(p_win[predicted], won[predicted]).astype(np.float64))


def no_information_rate(won: Bools) -> float:
    """Return the share of the larger class of ``won``, shape (n,): the accuracy of a constant."""
    return float(larger_share(int(won.sum()), len(won)))


def error_by_day(deviations: Floats, stamps: NDArray[np.datetime64]) -> float:
    """Return the standard error of a sum of deviations that are correlated within days (UTC).

    Args:
        deviations: Deviation of each signal from its mean, weighted as in the sum, shape (n,).
        stamps: Time of each signal, UTC, shape (n,).

    Returns:
        NaN with fewer than two days.
    """
    _, days = np.unique(stamps.astype("datetime64[D]"), return_inverse=True)
    sums = np.bincount(days, weights=deviations)
    return float(clustered_error(float((sums**2).sum()), len(sums)))


def error_rates(traded: Bools, won: Bools) -> tuple[float, float]:
    """Return the share of losers that were traded and of winners that were not.

    Args:
        traded: True for each signal the book traded, shape (n,).
        won: Outcomes, shape (n,).

    Returns:
        False positive and false negative rate; NaN without losers or winners, respectively.
    """
    return mean(traded[~won].astype(np.float64)), mean((~traded[won]).astype(np.float64))


def brier(p_win: Floats, won: Bools) -> float:
    """Return the mean squared error (Brier, Monthly Weather Review 78, 1950); NaN without any.

    Args:
        p_win: Probabilities in [0, 1], shape (n,).
        won: Outcomes, shape (n,).
    """
    return mean((p_win - won) ** 2)


def log_loss(p_win: Floats, won: Bools) -> float:
    """Return the mean negative log-likelihood, nats; NaN without any.

    Args:
        p_win: Probabilities, shape (n,), clipped to within 1e-12 of 0 and 1.
        won: Outcomes, shape (n,).
    """
    clipped = np.clip(p_win, 1e-12, 1 - 1e-12)
    return -mean(np.where(won, np.log(clipped), np.log1p(-clipped)))


def reliability(
    p_win: Floats, won: Bools, bins: int = BINS
) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Return the reliability curve over groups of equal size, lowest predictions first.

    Args:
        p_win: Probabilities in [0, 1], shape (n,), without NaN.
        won: Outcomes, shape (n,).
        bins: Largest number of groups.

    Returns:
        Mean prediction, share won and count of each group, shape (≤ bins,) each.
    """
    order = np.argsort(p_win, kind="stable")
    groups = [group for group in np.array_split(order, bins) if len(group)]
    predicted = np.array([p_win[group].mean() for group in groups])
    happened = np.array([won[group].mean() for group in groups])
    return predicted, happened, np.array([len(group) for group in groups], dtype=np.int64)


def calibration_error(p_win: Floats, won: Bools) -> float:
    """Return the expected calibration error (ECE) over groups of equal size; NaN without any.

    Naeini, Cooper and Hauskrecht, "Obtaining well calibrated probabilities", AAAI 2015.

    Args:
        p_win: Probabilities in [0, 1], shape (n,), without NaN.
        won: Outcomes, shape (n,).
    """
    predicted, happened, counts = reliability(p_win, won)
    if not len(counts):
        return NAN
    return float(np.average(np.abs(predicted - happened), weights=counts))


def calibration_noise(outcomes: int) -> float:
    """Return the largest mean that sampling adds to the ECE of ``outcomes``; 0 without any.

    A group of n/g outcomes misses its mean by a normal error of at most ½·√(g/n), whose absolute
    value has the mean ½·√(2g/πn) and the variance (1 − 2/π)·g/4n. The mean of g groups has the same
    mean and a variance g times smaller.
    """
    return 0.5 * math.sqrt(2 * BINS / (math.pi * outcomes)) if outcomes else 0.0


def calibration_deviation(outcomes: int) -> float:
    """Return the standard deviation that sampling gives the ECE of ``outcomes``, at least 1.

    ½·√((1 − 2/π)/n); derived in ``calibration_noise``.
    """
    return 0.5 * math.sqrt((1 - 2 / math.pi) / outcomes)


def longest_losing_streak(won: Bools) -> int:
    """Return the longest run of consecutive losses among ordered outcomes ``won``, shape (n,)."""
    lost = np.concatenate(([0], (~won).astype(np.int64), [0]))
    edges = np.flatnonzero(np.diff(lost))
    return int((edges[1::2] - edges[::2]).max(initial=0))


def latency_percentiles(latency_ms: Floats) -> tuple[float, float, float]:
    """Return p50, p95 and p99 of latencies, milliseconds; all NaN without any.

    Args:
        latency_ms: Milliseconds, shape (n,); NaN is left out.
    """
    measured = latency_ms[~np.isnan(latency_ms)]
    if not len(measured):
        return NAN, NAN, NAN
    p50, p95, p99 = np.percentile(measured, (50, 95, 99))
    return float(p50), float(p95), float(p99)
