"""Measures of trades, probabilities and equity.

Returns are fractions of the account. Empty input gives NaN, never an error, and NaN in the input gives NaN unless the
docstring says that it is left out: callers phrase their limits so that NaN falls on the safe side.
"""

import math
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
DAYS_A_YEAR = 365
BINS = 10


def daily_returns(
    settled_at: NDArray[np.datetime64], returns: Floats, start: datetime, end: datetime
) -> Floats:
    """Return the sum of ``returns`` by calendar day (UTC), 0 for days without trades.

    Args:
        settled_at: When each return was realised, UTC, shape (n,).
        returns: Fractions of the account, shape (n,).
        start: The first day is the one that begins at or holds this moment.
        end: Last moment counted; the day it falls into counts as one, however early it is.
    """
    first = np.datetime64(start.replace(tzinfo=None), "D")
    days = max(
        math.ceil((np.datetime64(end.replace(tzinfo=None)) - first) / np.timedelta64(1, "D")), 1
    )
    offsets = (settled_at - first) / np.timedelta64(1, "D")
    day = (np.ceil(offsets).astype(np.int64) - 1).clip(0, days - 1)
    return np.asarray(np.bincount(day, weights=returns, minlength=days), dtype=np.float64)


def sharpe(daily: Floats) -> float:
    """Return the annualised Sharpe ratio of daily returns over all calendar days, zeros included, against cash at 0.

    Annualised with √365: on calendar days the mean shrinks by 252/365 and the deviation by its root, which gives the
    figure of session days with √252, for stocks and round-the-clock markets alike (Sharpe, J. Portfolio Management 21,
    1994). A book that never traded has 0; fewer than two days, or a constant return that is not 0, give NaN.
    """
    if len(daily) < 2:
        return float("nan")
    if not daily.any():
        return 0.0
    mean, deviation = daily.mean(), daily.std(ddof=1)
    if not deviation > 1e-12 * abs(mean):  # equal days leave only rounding
        return float("nan")
    return float(mean / deviation * np.sqrt(DAYS_A_YEAR))


def max_drawdown(returns: Floats) -> float:
    """Return the deepest fall of the additive equity from its peak, a positive share of the starting account; 0 if none."""
    equity = np.concatenate(([0.0], np.cumsum(returns)))
    return float((np.maximum.accumulate(equity) - equity).max())


def win_rate(returns: Floats) -> float:
    """Return the share of returns above 0; NaN without any."""
    return mean(np.where(np.isnan(returns), np.nan, returns > 0))


def profit_factor(returns: Floats) -> float:
    """Return gross gain over gross loss; infinity for gains without a loss, NaN with neither."""
    gain, loss = np.maximum(returns, 0).sum(), np.maximum(-returns, 0).sum()
    if loss == 0:
        return float("inf") if gain > 0 else float("nan")
    return float(gain / loss)


def payoff_ratio(returns: Floats) -> float:
    """Return the mean gain over the mean loss; NaN without both."""
    gains, losses = (
        returns[~(returns <= 0)],
        returns[returns < 0],
    )  # so written that NaN counts among the gains and shows
    return float(gains.mean() / -losses.mean()) if len(gains) and len(losses) else float("nan")


def mean(values: Floats) -> float:
    """Return the arithmetic mean; NaN without values."""
    return float(values.sum() / len(values)) if len(values) else float("nan")


def accuracy(p_win: Floats, won: Bools) -> float:
    """Return the share of signals where ``p_win > 0.5`` said what happened; those without an opinion (NaN) are left out."""
    known = ~np.isnan(p_win)
    return mean(((p_win[known] > 0.5) == won[known]).astype(np.float64))


def no_information_rate(won: Bools) -> float:
    """Return the share of the larger class: the accuracy of always saying the same."""
    rate = mean(won.astype(np.float64))
    return max(rate, 1 - rate)


def error_rates(taken: Bools, won: Bools) -> tuple[float, float]:
    """Return false positive rate (losers taken) and false negative rate (winners left); NaN without such signals."""
    return mean(taken[~won].astype(np.float64)), mean((~taken[won]).astype(np.float64))


def brier(p_win: Floats, won: Bools) -> float:
    """Return the mean squared error of the probabilities (Brier, Monthly Weather Review 78, 1950)."""
    return mean((p_win - won) ** 2)


def log_loss(p_win: Floats, won: Bools) -> float:
    """Return the mean negative log-likelihood in nats, probabilities kept 1e-12 away from 0 and 1."""
    p = np.clip(p_win, 1e-12, 1 - 1e-12)
    return -mean(np.where(won, np.log(p), np.log1p(-p)))


def reliability(
    p_win: Floats, won: Bools, bins: int = BINS
) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Return mean prediction, share won and count of up to ``bins`` groups of equal size, lowest predictions first."""
    order = np.argsort(p_win, kind="stable")
    groups = [group for group in np.array_split(order, bins) if len(group)]
    predicted = np.array([p_win[group].mean() for group in groups])
    happened = np.array([won[group].mean() for group in groups])
    return predicted, happened, np.array([len(group) for group in groups], dtype=np.int64)


def calibration_error(p_win: Floats, won: Bools) -> float:
    """Return the expected calibration error over groups of equal size (Naeini et al., AAAI 2015); NaN without any."""
    predicted, happened, counts = reliability(p_win, won)
    return (
        float(np.average(np.abs(predicted - happened), weights=counts))
        if len(counts)
        else float("nan")
    )


def calibration_noise(outcomes: int) -> float:
    """Return the largest mean that sampling adds to the calibration error of ``outcomes``; 0 without any.

    A group of n/g outcomes misses its mean by a normal error of at most ½·√(g/n), whose absolute value has the mean
    ½·√(2g/πn) and the variance (1 − 2/π)·g/4n; so has the mean of g groups, but for a variance g times smaller.
    """
    return 0.5 * math.sqrt(2 * BINS / (math.pi * outcomes)) if outcomes else 0.0


def calibration_deviation(outcomes: int) -> float:
    """Return the standard deviation that sampling gives the calibration error of ``outcomes``, at least 1.

    ½·√((1 − 2/π)/n), see ``calibration_noise``.
    """
    return 0.5 * math.sqrt((1 - 2 / math.pi) / outcomes)


def longest_losing_streak(won: Bools) -> int:
    """Return the longest run of consecutive losses, in the order given."""
    lost = np.concatenate(([0], (~won).astype(np.int64), [0]))
    edges = np.flatnonzero(np.diff(lost))
    return int((edges[1::2] - edges[::2]).max(initial=0))


def latency_percentiles(latency_ms: Floats) -> tuple[float, float, float]:
    """Return p50, p95 and p99 in milliseconds; NaN is left out, and the answer where nothing was measured."""
    measured = latency_ms[~np.isnan(latency_ms)]
    if not len(measured):
        return float("nan"), float("nan"), float("nan")
    p50, p95, p99 = np.percentile(measured, (50, 95, 99))
    return float(p50), float(p95), float(p99)
