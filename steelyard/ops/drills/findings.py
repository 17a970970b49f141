"""Result of a fire drill: what had to be noticed, by which safeguard, and whether in time."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from steelyard.evaluation.books import finite_or_none

NEVER = math.nan
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing that a safeguard had to notice.

    Attributes:
        what: What had to be noticed or kept.
        by: The safeguard.
        bound: Longest time allowed, in ``unit``.
        after: Time until it was noticed, in ``unit``; NaN for never.
        unit: Simulated days, or seconds of the wall clock.
        words: Details, such as figures.
    """

    what: str
    by: str
    bound: float
    after: float
    unit: Literal["days", "seconds"] = "days"
    words: str = ""

    @property
    def in_time(self) -> bool:
        """Whether it was noticed within the bound."""
        return self.after <= self.bound

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; None stands for never."""
        return {
            "what": self.what,
            "by": self.by,
            "bound": self.bound,
            "after": finite_or_none(self.after),
            "unit": self.unit,
            "words": self.words,
            "in_time": self.in_time,
        }


@dataclass(frozen=True, slots=True)
class DrillResult:
    """Result of one drill.

    Attributes:
        notices: What had to be noticed, in order.
        weights: Times (UTC) and the weight that trading could use from then on; the first is from
            before the fault.
        words: Further remarks, such as the cost of the fault.
    """

    notices: tuple[Notice, ...]
    weights: tuple[tuple[datetime, float], ...]
    words: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; ``noticed`` if there are notices and all were in time."""
        return {
            "noticed": bool(self.notices) and all(notice.in_time for notice in self.notices),
            "notices": [notice.to_dict() for notice in self.notices],
            "weights": [{"at": at.isoformat(), "weight": weight} for at, weight in self.weights],
            "words": list(self.words),
        }


def must_hold(what: str, by: str, holds: bool, words: str = "") -> Notice:
    """Return the notice of a condition that must hold at once.

    Args:
        what: Condition in words.
        by: The safeguard.
        holds: Whether it held; if not, the notice counts as never.
        words: Details.
    """
    return Notice(what, by, 0.0, 0.0 if holds else NEVER, "days", words)


def days_until(began: datetime, moments: Iterable[datetime]) -> float:
    """Return the days from ``began`` to the first of ``moments``; NaN without any.

    Args:
        began: Start of the fault (UTC).
        moments: Times (UTC), in any order.
    """
    return min(((moment - began) / DAY for moment in moments), default=NEVER)


def changes(weights: Iterable[tuple[datetime, float]]) -> tuple[tuple[datetime, float], ...]:
    """Return the first time and weight, and each later one at which the weight changed."""
    changed: list[tuple[datetime, float]] = []
    for at, weight in weights:
        if not changed or changed[-1][1] != weight:
            changed.append((at, weight))
    return tuple(changed)
