"""The feed gets stuck: bars stop, come again, or repeat the last close. What arrives must be held against its contract."""

from dataclasses import dataclass
from datetime import datetime

import pandas as pd

from steelyard.market.bars import PRICES
from steelyard.ops.drills.findings import Found, Notice, days_until, held
from steelyard.ops.drills.ground import BEGAN, DAY, DrillHome, copied, market

STORY = "After sixty days the source gives the same bars for ever; in a second home, new bars with the last close again."
STUCK = BEGAN + 60 * DAY
BOUND, FEW = 7.0, 2.0
"""Days until the guard and until collect should have said something: signals come in bursts, bars do not."""
WATCHED = 9 * DAY


def stuck_feed(place: DrillHome) -> Found:
    """Send other prices for old bars and stop the feed at ``STUCK`` in one home, freeze its prices in another."""
    frozen = copied(place.folder, place.folder / "frozen", place.run)
    bars = market()
    fresh = bars[(bars["timestamp"] < STUCK).to_numpy()]
    changed = _changed_prices(place, fresh)
    stopped, flat = _lived(place, fresh), _lived(frozen, _frozen(bars))
    return Found(
        (
            held(
                "old bars with other prices are counted and left",
                "collect",
                changed > 0,
                f"{changed} conflicting",
            ),
            Notice(
                "bars stop: no signals any more",
                "guard",
                BOUND,
                stopped.quiet,
                words=f"{stopped.added} bars added",
            ),
            Notice(
                "frozen prices: the last bars repeat",
                "collect",
                FEW,
                flat.findings,
                words="among its findings",
            ),
            Notice(
                "frozen prices: no signals any more",
                "guard",
                BOUND,
                flat.quiet,
                words=f"{flat.added} bars added",
            ),
        ),
        (*stopped.weights, *flat.weights[-1:]),
        ("the weight stays while nothing is asked of it; the guard goes on renewing the lease",),
    )


@dataclass(frozen=True, slots=True)
class _Days:
    """What happened after ``STUCK``: bars added, days until collect and guard said something, the weight."""

    added: int
    findings: float
    quiet: float
    weights: tuple[tuple[datetime, float], ...]


def _changed_prices(place: DrillHome, fresh: pd.DataFrame) -> int:
    moved = fresh.copy()
    moved[list(PRICES)] *= 1.001
    moved.to_parquet(place.feed)
    conflicting: int = place.flow("collect", BEGAN)["conflicting"]
    return conflicting


def _lived(place: DrillHome, bars: pd.DataFrame) -> _Days:
    """Live from ``STUCK`` until the guard says that signals stopped."""
    bars.to_parquet(place.feed)
    place.flow("collect", STUCK)
    place.flow("settle", STUCK)
    place.flow("guard", STUCK)
    added, day = 0, STUCK
    found: list[datetime] = []
    quiet: list[datetime] = []
    while not quiet and day < STUCK + WATCHED:
        day += DAY
        collected = place.flow("collect", day)
        place.flow("guard", day)
        added += collected["added"]
        found += [day] if any("feed stuck" in words for words in collected["findings"]) else []
        quiet = place.alerts("silence", "no signals")
    weights = tuple((at, place.weight(at)) for at in (STUCK, day))
    return _Days(added, days_until(STUCK, found), days_until(STUCK, quiet), weights)


def _frozen(bars: pd.DataFrame) -> pd.DataFrame:
    """Return ``bars`` whose prices stay at the last close from ``STUCK`` on."""
    stuck = (bars["timestamp"] >= STUCK).to_numpy()
    last = bars[~stuck].groupby("symbol")["close"].last()
    flat = bars.copy()
    for name in PRICES:
        flat.loc[stuck, name] = flat.loc[stuck, "symbol"].map(last)
    return flat
