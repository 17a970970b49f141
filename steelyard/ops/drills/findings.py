"""What a fire drill found: what had to be noticed, who noticed it, after how long, and whether that was soon enough."""

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
    """One thing a safeguard had to notice.

    Attributes:
        what: What had to be noticed or kept.
        by: The safeguard.
        bound: It counts within so many units.
        after: It was noticed after so many; NaN for never.
        unit: Days are simulated, seconds are the wall clock's.
        words: Figures to it.
    """

    what: str
    by: str
    bound: float
    after: float
    unit: Literal["days", "seconds"] = "days"
    words: str = ""

    @property
    def in_time(self) -> bool:
        """Whether it was noticed within the bound; never is not."""
        return self.after <= self.bound

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; never is None."""
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
class Found:
    """What one drill found.

    Attributes:
        notices: In the order they were asked for.
        weights: The weight trading could use, with the moment from which on; the first is from before the trouble.
        words: What else is worth knowing: what it cost, what nobody noticed.
    """

    notices: tuple[Notice, ...]
    weights: tuple[tuple[datetime, float], ...]
    words: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; ``noticed`` only where everything was, in time."""
        return {
            "noticed": bool(self.notices) and all(one.in_time for one in self.notices),
            "notices": [one.to_dict() for one in self.notices],
            "weights": [{"at": at.isoformat(), "weight": weight} for at, weight in self.weights],
            "words": list(self.words),
        }


def held(what: str, by: str, holds: bool, words: str = "") -> Notice:
    """Return the notice of something that must hold at every look."""
    return Notice(what, by, 0.0, 0.0 if holds else NEVER, "days", words)


def days_until(began: datetime, moments: Iterable[datetime]) -> float:
    """Return the days from ``began`` to the first of ``moments``; NaN without any."""
    return min(((moment - began) / DAY for moment in moments), default=NEVER)


def changes(weights: Iterable[tuple[datetime, float]]) -> tuple[tuple[datetime, float], ...]:
    """Return the moments from which on the weight was another, the first with them."""
    found: list[tuple[datetime, float]] = []
    for at, weight in weights:
        if not found or found[-1][1] != weight:
            found.append((at, weight))
    return tuple(found)
