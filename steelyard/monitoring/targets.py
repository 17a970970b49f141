"""Targets of the model's health figures, and the probability of a miss by chance (SPEC §9)."""

import math
from collections.abc import Mapping

import numpy as np

from steelyard.evaluation import books
from steelyard.evaluation.books import Floats
from steelyard.evaluation.chances import chance_of_at_most
from steelyard.evaluation.figures import called_right

NAN = float("nan")
RARE = 0.001
"""Probability under which chance is ruled out: ten figures a day, one false alarm in 100 days."""
MIN_SIGNALS = 20
"""Observations needed for a probability."""
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

``brier``: a model that always predicts one half has 0.25 and no skill. ``ece``: five percentage
points do not change a decision; what sampling alone adds is added to the bound. ``overconfidence``:
the same five points, in the direction that costs money. ``uniform_share``: if half of all
predictions are one number, the model separates signals no better than a constant.
``overfitting_gap``: ten points between training rows and new rows are memory, not skill.
``top_feature_share``: a model that rests on one input by more than half fails with it.
``coverage``, ``fallback_rate``, ``latency_p99_ms``: the bounds of the gates (SPEC §5, §8).
``hit_rate``: in units of the existing system's own, because blending must not make trading stop
(SPEC §4). ``mean_slippage_bps``: in units of what the brackets assume, because labels and books
rest on it.
"""


def meets(value: float, bound: float, direction: str) -> bool | None:
    """Return whether a value meets its bound; None if one of them is unknown.

    Args:
        value: The figure; NaN if unknown.
        bound: Its target, same unit; NaN if unknown.
        direction: ``<``, ``<=`` or ``>=``: how the value must compare with the bound.
    """
    if math.isnan(value) or math.isnan(bound):
        return None
    return {"<": value < bound, "<=": value <= bound + 1e-9, ">=": value >= bound - 1e-9}[direction]


def chance_of_many(hits: int, trials: int, share: float) -> float:
    """Return the binomial probability of at least this many hits.

    Args:
        hits: Hits, 0 to ``trials``.
        trials: Independent trials; the result is NaN under ``MIN_SIGNALS``.
        share: Probability of a hit, in [0, 1]; NaN gives NaN.
    """
    if trials < MIN_SIGNALS or math.isnan(share):
        return NAN
    return chance_of_at_most(trials - hits, trials, 1 - share)


def chance_of_few(hits: int, trials: int, share: float) -> float:
    """Return the binomial probability of at most this many hits.

    Args:
        hits: Hits, 0 to ``trials``.
        trials: Independent trials; the result is NaN under ``MIN_SIGNALS``.
        share: Probability of a hit, in [0, 1]; NaN gives NaN.
    """
    if trials < MIN_SIGNALS or math.isnan(share):
        return NAN
    return chance_of_at_most(hits, trials, share)


def chance_of_mean(values: Floats, bound: float) -> float:
    """Return the probability of a mean as high as that of ``values`` if the true mean is ``bound``.

    By the normal approximation, which is close for means of 20 and more bounded values.

    Args:
        values: Independent observations, shape (n,), no NaN; NaN if n is under ``MIN_SIGNALS``.
        bound: Assumed true mean, same unit; NaN gives NaN.
    """
    if len(values) < MIN_SIGNALS or math.isnan(bound):
        return NAN
    return chance_beyond(
        float(values.mean()) - bound, float(values.std(ddof=1)) / math.sqrt(len(values))
    )


def chance_beyond(excess: float, error: float) -> float:
    """Return the probability that a normal error reaches ``excess``.

    Args:
        excess: Distance from the mean, same unit as ``error``; NaN gives NaN.
        error: Standard deviation of the error, at least 0; NaN gives NaN.
    """
    if math.isnan(error) or math.isnan(excess):
        return NAN
    if error == 0:
        return 0.0 if excess > 1e-9 else 1.0
    return 0.5 * math.erfc(excess / error / math.sqrt(2))


def count_uniform(p_win: Floats) -> int:
    """Return how many predictions, shape (n,), lie within one percentage point of their median."""
    return int((np.abs(p_win - np.median(p_win)) <= NEAR).sum()) if len(p_win) else 0


def count_extreme(p_win: Floats) -> int:
    """Return how many predictions, shape (n,), lie outside 30–70 %."""
    return int((np.abs(p_win - 0.5) > EXTREME + 1e-9).sum())


def overconfidence(p_win: Floats, won: Floats) -> Floats:
    """Return the confidence of each prediction in its own call, less 1 if the call was right.

    Args:
        p_win: Predictions of settled signals, shape (n,), no NaN.
        won: 1 for a win, 0 for a loss, shape (n,).

    Returns:
        Shape (n,); the mean is the confidence above the accuracy.
    """
    right = called_right(p_win, won > 0.5)
    return np.asarray(np.maximum(p_win, 1 - p_win) - right)
