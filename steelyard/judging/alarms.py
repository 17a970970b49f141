"""How often a limit is breached by chance alone, by a model that is as good as it should be."""

import math

import numpy as np
from scipy.stats import binom


def streak_alarm(trades: int, losses: int, win_rate: float) -> float:
    """Return the probability of at least ``losses`` losses in a row somewhere among ``trades`` independent trades.

    Exact, by the length of the run at the end (Feller, An Introduction to Probability Theory I, 1968, chapter XIII.7).
    """
    if losses < 1:
        return 1.0
    running = np.zeros(losses)  # probability of ending in a run of 0, 1, … losses without having reached ``losses``
    running[0] = 1.0
    for _ in range(trades):
        survived = running.sum()
        running[1:] = running[:-1] * (1 - win_rate)
        running[0] = survived * win_rate
    return float(1 - running.sum())


def low_accuracy_alarm(signals: int, bound: float, accuracy: float) -> float:
    """Return the probability that a model right with ``accuracy`` is right on less than ``bound`` of ``signals`` signals."""
    return float(binom.cdf(math.ceil(bound * signals - 1e-9) - 1, signals, accuracy))
