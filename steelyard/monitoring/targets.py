"""What is hoped for of each figure of the model's health, and how likely a miss is by chance (SPEC §9)."""

import math
from collections.abc import Mapping

import numpy as np
from scipy.special import bdtr, bdtrc

from steelyard.evaluation import books
from steelyard.evaluation.books import Floats

NAN = float("nan")
RARE = 0.001
"""Chance under which something is not put down to chance: with ten figures a day, one false alarm in a hundred days."""
MIN_SIGNALS = 20
"""Observations under which nothing is said about chance."""
NEAR, EXTREME = 0.01, 0.20

TARGETS: Mapping[str, tuple[float, str]] = {
    "brier": (0.25, "<"),
    "ece": (0.05, "<="),
    "overconfidence": (0.05, "<="),
    "uniform_share": (0.50, "<="),
    "overfitting_gap": (0.10, "<="),
    "top_feature_share": (0.50, "<="),
    "latency_p99_ms": books.TARGETS["latency_ms"],
    "coverage": (0.99, ">="),
    "fallback_rate": (0.01, "<="),
    "hit_rate": (0.50, ">="),
    "mean_slippage_bps": (1.0, "<="),
}
"""Figure → (bound, direction).

``brier``: a model that always says one half has 0.25 and knows nothing. ``ece``: five points of a hundred do not move a
decision; what sampling alone adds is added to the bound. ``overconfidence``: the same five points, in the direction that
costs money. ``uniform_share``: where half of all opinions are one number, the model tells signals apart no better than a
constant. ``overfitting_gap``: ten points between known and unknown rows are memory, not skill. ``top_feature_share``: a
model that leans on one input by more than half falls with it. ``coverage``, ``fallback_rate``, ``latency_p99_ms``: the
bounds of the gates (SPEC §5, §8). ``hit_rate``: in units of the existing system's own, because blending must not make
trading stop (SPEC §4). ``mean_slippage_bps``: in units of what the brackets assume, because labels and books rest on it.
"""


def meets(value: float, bound: float, direction: str) -> bool | None:
    """Whether ``value`` meets the bound; None when one of them is not known."""
    if math.isnan(value) or math.isnan(bound):
        return None
    return {"<": value < bound, "<=": value <= bound + 1e-9, ">=": value >= bound - 1e-9}[direction]


def chance_of_many(hits: int, n: int, share: float) -> float:
    """Return the chance of ``hits`` or more among ``n``, each of probability ``share``; NaN under ``MIN_SIGNALS``."""
    if n < MIN_SIGNALS or math.isnan(share):
        return NAN
    return float(bdtrc(hits - 1, n, share)) if hits else 1.0


def chance_of_few(hits: int, n: int, share: float) -> float:
    """Return the chance of ``hits`` or fewer among ``n``, each of probability ``share``; NaN under ``MIN_SIGNALS``."""
    return float(bdtr(hits, n, share)) if n >= MIN_SIGNALS and not math.isnan(share) else NAN


def chance_of_mean(values: Floats, bound: float) -> float:
    """Return the chance of a mean as high as that of ``values`` when the true one is ``bound``; NaN under ``MIN_SIGNALS``.

    Normal, which the means of twenty and more bounded values are nearly.
    """
    if len(values) < MIN_SIGNALS or math.isnan(bound):
        return NAN
    return chance_beyond(
        float(values.mean()) - bound, float(values.std(ddof=1)) / math.sqrt(len(values))
    )


def chance_beyond(excess: float, error: float) -> float:
    """Return the chance that a normal error with the standard deviation ``error`` reaches ``excess``; NaN gives NaN."""
    if math.isnan(error) or math.isnan(excess):
        return NAN
    if error == 0:
        return 0.0 if excess > 1e-9 else 1.0
    return 0.5 * math.erfc(excess / error / math.sqrt(2))


def uniform(p_win: Floats) -> int:
    """Return how many opinions lie within one point of a hundred of their median."""
    return int((np.abs(p_win - np.median(p_win)) <= NEAR).sum()) if len(p_win) else 0


def extreme(p_win: Floats) -> int:
    """Return how many opinions lie outside 30–70 %."""
    return int((np.abs(p_win - 0.5) > EXTREME + 1e-9).sum())


def overconfident(p_win: Floats, won: Floats) -> Floats:
    """Return for each settled opinion how sure the model was of its own call, less 1 where the call was right."""
    right = (p_win > 0.5) == (won > 0.5)
    return np.asarray(np.maximum(p_win, 1 - p_win) - right)
