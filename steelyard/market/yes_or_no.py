"""Systems that only say yes or no, and the scale on which a model's opinion is put beside theirs.

A model's confidence is the system's own at the same quantile. A system with few distinct
confidences has no quantiles to match. Its yes is blended with opinions that are spread around the
threshold instead, so that the model's share of the decisions grows with its weight: at 10 % the
tenth of the signals it likes least is left, at 70 % the half (SPEC §4).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from steelyard.errors import FixConfiguration
from steelyard.market.bars import Floats

TRADE_ABOVE = 70.0
"""Confidence, 0-100, above which a signal is traded by default."""
PLAIN_YES = 75.0
"""Confidence of a system that says nothing but yes: low enough for a weight of 10 % to count."""
GRADED_FROM = 20
"""Distinct confidences from which a system is graded, not a yes or no."""
RECOGNISED_FROM = 50
"""Signals from which the number of their distinct confidences says anything."""
SCALE_FROM = 5
"""Signals from which confidences within 0 to 1 are taken for another scale."""
WEIGHTS = (0.0, 0.10, 0.70)
"""Weights of the model …"""
SHARES = (0.0, 0.10, 0.50)
"""… and the share of a yes-or-no system's trades that the blend leaves out at each."""


def is_yes_or_no(confidences: Floats) -> bool:
    """Return whether a system says only yes or no; False while there are too few signals to tell.

    Args:
        confidences: Confidences of the existing system, 0 to 100, shape (signals,).
    """
    return len(confidences) >= RECOGNISED_FROM and len(np.unique(confidences)) < GRADED_FROM


def plain_yes_of(confidences: Floats, threshold: float) -> float | None:
    """Return the usual confidence of a yes; None if no signal exceeds the threshold.

    Args:
        confidences: Confidences of the existing system, 0 to 100, shape (signals,).
        threshold: Confidence above which a signal is traded.
    """
    above = confidences[confidences > threshold]
    return float(np.median(above)) if len(above) else None


def spread_opinions(levels: Floats, yes: float, threshold: float) -> Floats:
    """Return the model's confidence, 0-100, at each quantile of its opinions, rising.

    At the weight w the blend of a yes falls to the threshold where the model's confidence is
    (threshold − (1 − w) · yes) / w: the blend solved for the opinion. That confidence is given to
    the quantile ``SHARES`` names for w. Above a half it rises to 100 in a straight line.

    Args:
        levels: Quantiles, 0 to 1, rising, shape (q,).
        yes: Confidence of a yes, above the threshold.
        threshold: Confidence above which a signal is traded.
    """
    weights = np.interp(levels, SHARES, WEIGHTS)
    balance = balance_at(np.maximum(weights, 1e-9), yes, threshold)
    upper = np.interp(levels, (SHARES[-1], 1.0), (balance.max(), 100.0))
    return np.asarray(np.clip(np.where(levels <= SHARES[-1], balance, upper), 0.0, 100.0))


def balance_at(weight: Floats, yes: float, threshold: float) -> Floats:
    """Return the opinions at which the blend of a yes is just the threshold; under 0: none is.

    Args:
        weight: Weights of the model, over 0, any shape.
        yes: Confidence of a yes, above the threshold.
        threshold: Confidence above which a signal is traded.
    """
    return np.asarray(yes - (yes - threshold) / weight)


def require_whole_scale(
    confidences: "pd.Series[float]", system: str, remedy: str = "multiply them by 100"
) -> None:
    """Refuse confidences that are shares of one, not of a hundred.

    Args:
        confidences: Confidences of the existing system, shape (signals,).
        system: What gives them, for the message.
        remedy: What to do, for the message.

    Raises:
        FixConfiguration: If all of at least ``SCALE_FROM`` lie within 0 to 1.
    """
    if len(confidences) >= SCALE_FROM and confidences.max() <= 1:
        raise FixConfiguration(
            f"all {len(confidences)} confidences of {system} lie within 0 to 1, so it would trade "
            f"nothing: the scale is 0 to 100; {remedy}"
        )


@dataclass(frozen=True, slots=True)
class YesOrNo:
    """What is said about a system that says only yes or no.

    Attributes:
        finding: What was seen, and what follows.
        advice: What to do; None if the model can be heard at every weight.
    """

    finding: str
    advice: str | None = None

    @property
    def words(self) -> str:
        """Finding and advice in one line."""
        return "; ".join(part for part in (self.finding, self.advice) if part)


def recognise(confidences: "pd.Series[float]", threshold: float) -> YesOrNo | None:
    """Return what a system that says only yes or no should know; None if it is graded.

    Args:
        confidences: Confidences of the existing system, 0 to 100, shape (signals,).
        threshold: Confidence above which a signal is traded.
    """
    values = np.asarray(confidences, dtype=np.float64)
    if not is_yes_or_no(values):
        return None
    found = (
        f"the existing system says only yes or no ({len(np.unique(values))} distinct confidences "
        f"in {len(values)} signals)"
    )
    advice = f"let a yes be {PLAIN_YES:g}, and a no {2 * threshold - PLAIN_YES:g}"
    yes = plain_yes_of(values, threshold)
    if yes is None:
        return YesOrNo(f"{found}, and never more than {threshold:g}: it trades nothing", advice)
    heard_from = 1 - threshold / yes
    if heard_from > WEIGHTS[1]:
        finding = f"{found}: with a yes of {yes:g} a weight under {heard_from:.0%} changes nothing"
        return YesOrNo(finding, advice)
    return YesOrNo(
        f"{found}: the model's opinions are spread around {threshold:g}, so that it leaves out "
        "about one trade in ten at a weight of 10 % and half of them at 70 %"
    )
