"""Compiled kernels: from a row to raw log odds, to ``p_win``, to a confidence.

The trading side, the training and a served version all run these.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]
Bools = NDArray[np.bool_]


@njit(cache=True, nogil=True)
def log_odds(
    row: Floats,
    roots: Ints,
    feature: Ints,
    threshold: Floats,
    left: Ints,
    right: Ints,
    missing_left: Bools,
    base: float,
    linear: Floats,
    centre: Floats,
) -> float:
    """Return the raw log odds of one row.

    Args:
        row: Features, shape (k,).
        roots: First node of each tree, shape (trees,); the other arrays have shape (nodes,).
        feature: Column each node compares, −1 for a leaf.
        threshold: Bound of the node, or the log odds a leaf adds.
        left: Next node for rows within the bound.
        right: Next node for the other rows.
        missing_left: True if a NaN goes left.
        base: Log odds before any tree.
        linear: Log odds that each feature adds per unit, shape (k,); empty without linear terms.
        centre: Value at which a feature adds nothing, shape (k,); empty without linear terms.
    """
    total = base
    for column in range(len(linear)):
        if not np.isnan(row[column]):
            total += linear[column] * (row[column] - centre[column])
    for tree in range(len(roots)):
        node = roots[tree]
        while feature[node] >= 0:
            value = row[feature[node]]
            goes_left = missing_left[node] if np.isnan(value) else value <= threshold[node]
            node = left[node] if goes_left else right[node]
        total += threshold[node]
    return total


@njit(cache=True, nogil=True)
def predict_rows(
    x: Floats,
    roots: Ints,
    feature: Ints,
    threshold: Floats,
    left: Ints,
    right: Ints,
    missing_left: Bools,
    base: float,
    linear: Floats,
    centre: Floats,
) -> Floats:
    """Return raw probabilities, shape (n,).

    Args:
        x: Features, shape (n, k).
        roots: First node of each tree, shape (trees,); the other arrays have shape (nodes,).
        feature: Column each node compares, −1 for a leaf.
        threshold: Bound of the node, or the log odds a leaf adds.
        left: Next node for rows within the bound.
        right: Next node for the other rows.
        missing_left: True if a NaN goes left.
        base: Log odds before any tree.
        linear: Log odds that each feature adds per unit, shape (k,); empty without linear terms.
        centre: Value at which a feature adds nothing, shape (k,); empty without linear terms.
    """
    raw = np.empty(len(x))
    for i in range(len(x)):
        odds = log_odds(
            x[i], roots, feature, threshold, left, right, missing_left, base, linear, centre
        )
        raw[i] = 1.0 / (1.0 + np.exp(-odds))
    return raw


@njit(cache=True, nogil=True)
def score_row(
    row: Floats,
    roots: Ints,
    feature: Ints,
    threshold: Floats,
    left: Ints,
    right: Ints,
    missing_left: Bools,
    base: float,
    linear: Floats,
    centre: Floats,
    single: bool,
    slope: float,
    intercept: float,
    grid: Floats,
    matched: Floats,
) -> tuple[float, float]:
    """Return ``p_win`` and ``confidence_ml`` (0-100) of one row.

    Args:
        row: Features, shape (k,).
        roots: See ``log_odds``.
        feature: See ``log_odds``.
        threshold: See ``log_odds``.
        left: See ``log_odds``.
        right: See ``log_odds``.
        missing_left: See ``log_odds``.
        base: See ``log_odds``.
        linear: Log odds that each feature adds per unit, shape (k,); empty without linear terms.
        centre: Value at which a feature adds nothing, shape (k,); empty without linear terms.
        single: True if the row is rounded to single precision first, as XGBoost does.
        slope: Slope of the Platt scaling.
        intercept: Intercept of the Platt scaling.
        grid: ``p_win`` of the matched scale, shape (q,); empty for 100 · p_win.
        matched: Confidence at each point of ``grid``, shape (q,).
    """
    rounded = row.astype(np.float32).astype(np.float64) if single else row
    odds = log_odds(
        rounded, roots, feature, threshold, left, right, missing_left, base, linear, centre
    )
    return opinion(1.0 / (1.0 + np.exp(-odds)), slope, intercept, grid, matched)


@njit(cache=True, nogil=True)
def opinion(
    raw: float, slope: float, intercept: float, grid: Floats, matched: Floats
) -> tuple[float, float]:
    """Return ``p_win`` and ``confidence_ml`` (0-100) of a raw probability.

    Args:
        raw: Probability of a win as the learner gives it.
        slope: Slope of the Platt scaling.
        intercept: Intercept of the Platt scaling.
        grid: ``p_win`` of the matched scale, shape (q,); empty for 100 · p_win.
        matched: Confidence at each point of ``grid``, shape (q,).
    """
    raw = min(max(raw, 1e-9), 1 - 1e-9)
    p_win = 1.0 / (1.0 + np.exp(-(slope * np.log(raw / (1.0 - raw)) + intercept)))
    if len(grid) == 0:
        return p_win, 100.0 * p_win
    return p_win, matched_confidence(p_win, grid, matched)


@njit(cache=True, nogil=True)
def opinions(raw: Floats, slope: float, intercept: float, grid: Floats, matched: Floats) -> Floats:
    """Return ``p_win`` and ``confidence_ml`` (0-100) of raw probabilities, shape (n,) → (n, 2).

    Args:
        raw: Probabilities of a win as the learner gives them, shape (n,).
        slope: Slope of the Platt scaling.
        intercept: Intercept of the Platt scaling.
        grid: ``p_win`` of the matched scale, shape (q,); empty for 100 · p_win.
        matched: Confidence at each point of ``grid``, shape (q,).
    """
    answers = np.empty((len(raw), 2))
    for i in range(len(raw)):
        answers[i] = opinion(raw[i], slope, intercept, grid, matched)
    return answers


@njit(cache=True, nogil=True)
def matched_confidence(p_win: float, grid: Floats, matched: Floats) -> float:
    """Return the confidence of ``p_win``, interpolated and clipped to the ends of the scale.

    Args:
        p_win: Calibrated probability.
        grid: ``p_win`` of the scale, shape (q,), strictly rising.
        matched: Confidence, 0-100, at each point of ``grid``, shape (q,).
    """
    if p_win <= grid[0]:
        return float(matched[0])
    last = len(grid) - 1
    if p_win >= grid[last]:
        return float(matched[last])
    above = np.searchsorted(grid, p_win, side="right")
    share = (p_win - grid[above - 1]) / (grid[above] - grid[above - 1])
    return float(matched[above - 1] + share * (matched[above] - matched[above - 1]))
