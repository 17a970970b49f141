"""Calibration of raw scores to ``p_win``, and the scale from ``p_win`` to confidence (SPEC §4)."""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from steelyard.learning.samples import Bools, Floats
from steelyard.values import FrozenModel

QUANTILES = 501


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
            reference, so that both systems exceed any confidence equally often; ``probability``:
            100 · p_win.
        p_win: Quantiles of the reference's ``p_win``, strictly rising; empty for ``probability``.
        confidence: Existing confidence at the same quantiles; empty for ``probability``.
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


def fit_calibration(raw: Floats, won: Bools) -> Calibration | str:
    """Return the calibration of out-of-fold scores, or the reason why there is none.

    A score that does not rise with the share won cannot be calibrated monotonically: the model is
    refused.

    Args:
        raw: Out-of-fold probabilities, shape (n,).
        won: Outcomes, shape (n,).
    """
    from sklearn.linear_model import LogisticRegression

    if won.all() or not won.any():
        return "not calibratable: every out-of-fold outcome is the same"
    fitted = LogisticRegression(C=1e6).fit(logit(raw)[:, None], won)
    slope = float(fitted.coef_[0, 0])
    if not slope > 0:
        return (
            "not monotone-calibratable: out of fold, a higher score won less often "
            f"(slope {slope:.2f}, over 0 needed)"
        )
    return Calibration(slope=slope, intercept=float(fitted.intercept_[0]))


def fit_scale(kind: Literal["matched", "probability"], p_win: Floats, confidence: Floats) -> Scale:
    """Return the scale of a reference.

    Args:
        kind: See ``Scale.kind``.
        p_win: Out-of-fold probabilities of the reference, shape (n,).
        confidence: Existing confidence, 0-100, of the same signals, shape (n,).
    """
    if kind == "probability":
        return Scale(kind=kind)
    levels = np.linspace(0, 1, QUANTILES)
    grid, matched = np.quantile(p_win, levels), np.quantile(confidence, levels)
    distinct, groups = np.unique(grid, return_inverse=True)
    # tied predictions share one confidence
    shared = np.bincount(groups, weights=matched) / np.bincount(groups)
    return Scale(kind=kind, p_win=tuple(distinct.tolist()), confidence=tuple(shared.tolist()))
