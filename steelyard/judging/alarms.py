"""How often a limit is breached by chance alone, by a model that is as good as it should be."""

import math

import numpy as np
from scipy.stats import norm


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
    step = np.diag(np.full(losses - 1, again), k=1)  # from a run of 0, 1, … losses to the next; what leaves has got there
    step[:, 0] = 1 - again
    step[0, 0] = 1 - begins
    if losses == 1:
        return float(1 - win_rate * (1 - begins) ** (trades - 1))
    step[0, 1] = begins
    first = np.zeros(losses)
    first[:2] = win_rate, loss
    return float(1 - (first @ np.linalg.matrix_power(step, trades - 1)).sum())


def low_accuracy_alarm(signals: int, bound: float, accuracy: float, autocorrelation: float = 0.0) -> float:
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
        low, high = (middle, high) if streak_alarm(trades, middle, win_rate, autocorrelation) > chance else (low, middle)
    return high
