"""Calibration of raw scores to ``p_win``, and the scale that puts ``p_win`` beside the existing system's confidence."""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from steelyard.learning.samples import Bools, Floats
from steelyard.values import FrozenModel

QUANTILES = 501


class Calibration(FrozenModel):
    """Platt scaling: ``p_win = 1 / (1 + exp(−(slope · logit(raw) + intercept)))``, strictly rising in the raw score.

    Platt, "Probabilistic outputs for support vector machines" (1999).
    """

    slope: Annotated[float, Field(gt=0)]
    intercept: float

    def apply(self, raw: Floats) -> Floats:
        """Return calibrated probabilities of raw ones, any shape."""
        return 1 / (1 + np.exp(-(self.slope * logit(raw) + self.intercept)))


class Scale(FrozenModel):
    """Puts ``p_win`` on the existing system's 0-100 scale.

    ``matched``: the existing confidence at the same quantile of the out-of-fold reference, so that both systems exceed
    any confidence equally often; ``probability``: 100 · p_win.

    Attributes:
        p_win: Quantiles of the reference's ``p_win``, strictly rising.
        confidence: The existing confidence at the same quantiles.
    """

    kind: Literal["matched", "probability"]
    p_win: tuple[float, ...] = ()
    confidence: tuple[float, ...] = ()

    def apply(self, p_win: Floats) -> Floats:
        """Return confidences, 0-100, never falling in ``p_win``; beyond the reference, its ends."""
        if self.kind == "probability":
            return 100 * p_win
        return np.interp(p_win, self.p_win, self.confidence)


def logit(p: Floats) -> Floats:
    """Return the log odds, probabilities kept 1e-9 away from 0 and 1."""
    clipped = np.clip(p, 1e-9, 1 - 1e-9)
    return np.asarray(np.log(clipped / (1 - clipped)))


def fit_calibration(raw: Floats, won: Bools) -> Calibration | str:
    """Return the calibration of out-of-fold scores, or why there is none.

    A score that does not rise with the share won cannot be calibrated monotonically: the model is refused.
    """
    from sklearn.linear_model import LogisticRegression

    if won.all() or not won.any():
        return "not calibratable: every out-of-fold outcome is the same"
    fitted = LogisticRegression(C=1e6).fit(logit(raw)[:, None], won)
    slope = float(fitted.coef_[0, 0])
    if not slope > 0:
        return f"not monotone-calibratable: out of fold, a higher score won less often (slope {slope:.2f}, over 0 needed)"
    return Calibration(slope=slope, intercept=float(fitted.intercept_[0]))


def fit_scale(kind: Literal["matched", "probability"], p_win: Floats, confidence: Floats) -> Scale:
    """Return the scale of a reference: out-of-fold ``p_win`` and the existing confidences of the same signals."""
    if kind == "probability":
        return Scale(kind=kind)
    levels = np.linspace(0, 1, QUANTILES)
    grid, matched = np.quantile(p_win, levels), np.quantile(confidence, levels)
    distinct, group = np.unique(grid, return_inverse=True)
    middle = np.bincount(group, weights=matched) / np.bincount(
        group
    )  # tied predictions share one confidence
    return Scale(kind=kind, p_win=tuple(distinct.tolist()), confidence=tuple(middle.tolist()))
