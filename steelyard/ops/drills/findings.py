"""Result of a fire drill: what had to be noticed, by which safeguard, and whether in time."""

import math
from collections.abc import Iterable
from datetime import datetime, timedelta

from steelyard.views.drills import Notice

NEVER = math.nan
DAY = timedelta(days=1)


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
