"""Calibration of raw scores to ``p_win``, and the scale from ``p_win`` to confidence (SPEC §4)."""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from steelyard.learning.folds import ScoredRows
from steelyard.learning.likelihood import fit_coefficients
from steelyard.learning.samples import Floats
from steelyard.market.yes_or_no import TRADE_ABOVE, is_yes_or_no, plain_yes_of, spread_opinions
from steelyard.values import FrozenModel

QUANTILES = 501
PENALTY = 1e-6
"""Ridge penalty of slope and intercepts, next to none."""
FARTHEST_LOGIT = 30.0
"""Log odds beyond which no share of wins differs from 0 or 1."""


class Calibration(FrozenModel):
    """Platt scaling: ``p_win = 1 / (1 + exp(−(slope · logit(raw) + intercept)))``.

    Strictly rising in the raw score. Platt, "Probabilistic outputs for support vector machines"
    (1999).
    """

    slope: Annotated[float, Field(gt=0)]
    intercept: float

    def apply(self, raw: Floats) -> Floats:
        """Return calibrated probabilities of raw ones; any shape."""
        return 1 / (1 + np.exp(-(self.slope * logit(raw) + self.intercept)))


class Scale(FrozenModel):
    """Scale from ``p_win`` to the existing system's confidence, 0-100.

    Attributes:
        kind: ``matched``: the existing confidence at the same quantile of the out-of-fold
            reference, so that both systems exceed any confidence equally often, or the spread of
            a yes-or-no system; ``probability``: 100 · p_win.
        p_win: Quantiles of the reference's ``p_win``, strictly rising; empty for ``probability``.
        confidence: Confidence at the same quantiles; empty for ``probability``.
    """

    kind: Literal["matched", "probability"]
    p_win: tuple[float, ...] = ()
    confidence: tuple[float, ...] = ()

    def apply(self, p_win: Floats) -> Floats:
        """Return confidences, 0-100, of ``p_win``, any shape, clipped to those of the reference."""
        if self.kind == "probability":
            return 100 * p_win
        return np.interp(p_win, self.p_win, self.confidence)


def logit(probabilities: Floats) -> Floats:
    """Return log odds of probabilities clipped to within 1e-9 of 0 and 1; any shape."""
    clipped = np.clip(probabilities, 1e-9, 1 - 1e-9)
    return np.asarray(np.log(clipped / (1 - clipped)))


def fit_calibration(raw: Floats, rows: ScoredRows) -> Calibration | str:
    """Return the calibration of out-of-fold scores, or the reason why there is none.

    The slope is fitted with an intercept per fold: base rates differ from fold to fold, and each
    fold's scores from their own fit, so that over all folds a good score may well seem to fall
    with the share won. The one intercept that serves makes the mean ``p_win`` of these rows the
    share that won: the base rate of a single fold is no better guess of the next.

    A score that does not rise with the share won cannot be calibrated monotonically: the model is
    refused.

    Args:
        raw: Out-of-fold probabilities, shape (n,).
        rows: The rows they belong to.
    """
    from scipy.optimize import brentq

    if rows.won.all() or not rows.won.any():
        return "not calibratable: every out-of-fold outcome is the same"
    slope, _ = fit_slope(raw, rows)
    if not slope > 0:
        return (
            "not monotone-calibratable: out of fold, a higher score won less often "
            f"(slope {slope:.2f}, over 0 needed)"
        )
    share_won = np.average(rows.won, weights=rows.weight)

    def excess(intercept: float) -> float:
        p_win = Calibration(slope=slope, intercept=intercept).apply(raw)
        return float(np.average(p_win, weights=rows.weight) - share_won)

    bound = float(np.abs(slope * logit(raw)).max()) + FARTHEST_LOGIT
    return Calibration(slope=slope, intercept=float(brentq(excess, -bound, bound)))


def fit_slope(raw: Floats, rows: ScoredRows) -> tuple[float, Floats]:
    """Return slope and intercept per fold, shape (folds,), of the most likely Platt scaling.

    Args:
        raw: Out-of-fold probabilities, shape (n,).
        rows: The rows they belong to.
    """
    scores = logit(raw)
    deviation = float(scores.std())
    if not deviation > 0:
        return 0.0, np.zeros(rows.fold.max() + 1)
    # in deviations, so that the penalty, which ends the search if scores know it all, is the same
    members = rows.fold[:, None] == np.arange(rows.fold.max() + 1)
    columns = np.column_stack([scores / deviation, members])
    penalty = np.full(columns.shape[1], PENALTY)
    fitted = fit_coefficients(columns, rows.won, rows.weight, penalty)
    return float(fitted[0] / deviation), fitted[1:]


def calibrated_losses(raw: Floats, rows: ScoredRows) -> tuple[float, Floats]:
    """Return the slope, and the log-loss of each row, nats, shape (n,), calibrated by fold.

    What is compared is what a model tells signals apart by: neither the size of its scores, which
    calibration mends, nor the base rate of a fold, which no model knows. Scores that fall with the
    share won are replaced by the base rate.

    Args:
        raw: Out-of-fold probabilities, shape (n,).
        rows: The rows they belong to.
    """
    slope, intercepts = fit_slope(raw, rows)
    if slope > 0:
        scores = slope * logit(raw) + intercepts[rows.fold]
    else:
        shares = [
            np.bincount(rows.fold, rows.weight * outcome) for outcome in (rows.won, ~rows.won)
        ]
        wins, losses = shares[0][rows.fold], shares[1][rows.fold]
        scores = logit(wins / (wins + losses))
    return slope, np.logaddexp(0, np.where(rows.won, -scores, scores))


def fit_scale(
    kind: Literal["matched", "probability"],
    p_win: Floats,
    confidence: Floats,
    threshold: float = TRADE_ABOVE,
) -> Scale:
    """Return the scale of a reference.

    A system that says only yes or no has no quantiles to match; its scale is spread around the
    threshold (``market.yes_or_no``).

    Args:
        kind: See ``Scale.kind``.
        p_win: Out-of-fold probabilities of the reference, shape (n,).
        confidence: Existing confidence, 0-100, of the same signals, shape (n,).
        threshold: Confidence above which a signal is traded.
    """
    if kind == "probability":
        return Scale(kind=kind)
    levels = np.linspace(0, 1, QUANTILES)
    grid, matched = np.quantile(p_win, levels), np.quantile(confidence, levels)
    yes = plain_yes_of(confidence, threshold) if is_yes_or_no(confidence) else None
    if yes is not None:
        matched = spread_opinions(levels, yes, threshold)
    distinct, groups = np.unique(grid, return_inverse=True)
    # tied predictions share one confidence
    shared = np.bincount(groups, weights=matched) / np.bincount(groups)
    return Scale(kind=kind, p_win=tuple(distinct.tolist()), confidence=tuple(shared.tolist()))
