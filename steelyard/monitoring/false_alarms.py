"""False alarms of the breakers: how often chance alone breaches a limit, with a model that is as good as it should be."""

import math

import numpy as np
from scipy.stats import norm

from steelyard.evaluation.evidence import Evidence
from steelyard.weight.policy import WeightPolicy

YEAR_DAYS = 365
TRADES = 2500  # where the ml book has not traded yet
SELDOM = 0.05
"""Chance of a false streak in those trades that a trader may live with: over it, the limit that has it is named."""
TIED = 0.05
"""Correlation of neighbouring signals from which it is worth a word."""


def streak_alarm(trades: int, losses: int, win_rate: float, autocorrelation: float = 0.0) -> float:
    """Return the probability of at least ``losses`` losses in a row somewhere among ``trades`` trades.

    Exact where wins and losses are a Markov chain whose neighbours correlate by ``autocorrelation`` in [0, 1): the
    distribution of the run at the end, by powers of its transition matrix (Fu and Koutras, "Distribution theory of runs:
    a Markov chain approach", JASA 89, 1994). Independent trades have 0.
    """
    if losses < 1 or trades < 1:
        return float(losses < 1)
    loss = 1 - win_rate
    again, begins = loss + autocorrelation * win_rate, loss * (1 - autocorrelation)
    step = np.diag(
        np.full(losses - 1, again), k=1
    )  # from a run of 0, 1, … losses to the next; what leaves has got there
    step[:, 0] = 1 - again
    step[0, 0] = 1 - begins
    if losses == 1:
        return float(1 - win_rate * (1 - begins) ** (trades - 1))
    step[0, 1] = begins
    first = np.zeros(losses)
    first[:2] = win_rate, loss
    return float(1 - (first @ np.linalg.matrix_power(step, trades - 1)).sum())


def low_accuracy_alarm(
    signals: int, bound: float, accuracy: float, autocorrelation: float = 0.0
) -> float:
    """Return the probability that a model right with ``accuracy`` is right on less than ``bound`` of ``signals`` signals.

    By the normal approximation with continuity correction. Where being right correlates by r = ``autocorrelation`` in
    [0, 1) from signal to signal, the variance is (1 + r) / (1 - r) times as large (Bayley and Hammersley, "The effective
    number of independent observations in an autocorrelated time series", JRSS Supplement 8, 1946).
    """
    if signals < 1:
        return 0.0
    most = math.ceil(bound * signals - 1e-9) - 1
    variance = signals * accuracy * (1 - accuracy) * (1 + autocorrelation) / (1 - autocorrelation)
    return float(norm.cdf((most + 0.5 - signals * accuracy) / math.sqrt(variance)))


def enough_losses(trades: int, win_rate: float, autocorrelation: float, chance: float) -> int:
    """Return the fewest losses in a row that ``trades`` trades show with at most the probability ``chance``."""
    high = 1
    while streak_alarm(trades, high, win_rate, autocorrelation) > chance:
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (
            (middle, high)
            if streak_alarm(trades, middle, win_rate, autocorrelation) > chance
            else (low, middle)
        )
    return high


def false_alarms(evidence: Evidence, policy: WeightPolicy) -> dict[str, str]:
    """Return for each breaker how often it hits a model that is just good enough to rise, at the pace of ``evidence``.

    Such a model is right, and wins, on ``steps.raise_accuracy`` of the signals. Neighbours hang together as they did over
    the lineage's life; where that is not known yet, they count as independent.
    """
    words = {
        "breaker_accuracy": _accuracy_words(evidence, policy),
        "breaker_streak": _streak_words(evidence, policy),
    }
    if not policy.evidence_binds:
        return words
    bounds = policy.sequential
    words["breaker_accuracy"] += (
        f"; believed where claims that hold get once in {bounds.cut:g} months, or more seldom"
    )
    words["breaker_decay"] = (
        f"claims that hold get here once in {bounds.disable:g} months, or more seldom"
    )
    return words


def _accuracy_words(evidence: Evidence, policy: WeightPolicy) -> str:
    healthy, bound = policy.steps.raise_accuracy, policy.limits.breaker_accuracy
    signals = max(evidence.settled, policy.min_settled)
    tied = evidence.lifetime.right_autocorrelation if evidence.lifetime else math.nan
    chance = low_accuracy_alarm(signals, bound, healthy, _known(tied))
    return f"chance breaks a healthy {healthy:.0%} model in {chance:.1%} of windows of {signals} signals{_tied(tied)}"


def _streak_words(evidence: Evidence, policy: WeightPolicy) -> str:
    healthy, losses = policy.steps.raise_accuracy, policy.limits.breaker_streak + 1
    trades = round(evidence.books.ml.trades_per_day * YEAR_DAYS) or TRADES
    tied = evidence.lifetime.win_autocorrelation if evidence.lifetime else math.nan
    chance = streak_alarm(trades, losses, healthy, _known(tied))
    words = f"{losses} losses in a row hit a healthy {healthy:.0%} one in {chance:.1%} of {trades:,} trades{_tied(tied)}"
    if chance <= SELDOM:
        return words
    enough = enough_losses(trades, healthy, _known(tied), SELDOM) - 1
    return f"{words}; breaker_streak {enough} would in {SELDOM:.0%} at most"


def _known(autocorrelation: float) -> float:
    return max(autocorrelation, 0.0) if math.isfinite(autocorrelation) else 0.0


def _tied(autocorrelation: float) -> str:
    if math.isnan(autocorrelation):
        return ", were they independent"
    return f", neighbours correlating by {autocorrelation:.2f}" if autocorrelation > TIED else ""
