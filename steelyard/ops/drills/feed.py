"""The feed gets stuck: bars stop, arrive again with other prices, or repeat the last close."""

from dataclasses import dataclass
from datetime import datetime

import pandas as pd

from steelyard.market.bars import PRICES
from steelyard.ops.drills.findings import days_until, must_hold
from steelyard.ops.drills.ground import DAY, STARTED_AT, DrillHome, copy_home, market
from steelyard.views.drills import DrillResult, Notice

STORY = (
    "After sixty days the source gives no new bars; "
    "in a second home, new bars that repeat the last close."
)
STUCK_AT = STARTED_AT + 60 * DAY
BOUND, COLLECT_BOUND = 7.0, 2.0
"""Longest days until the guard and until collect report it: signals come in bursts, bars do not."""
WATCHED_FOR = 9 * DAY


def stuck_feed(drill_home: DrillHome) -> DrillResult:
    """Change prices of old bars and stop the feed in one home, freeze its prices in another."""
    frozen = copy_home(drill_home.folder, drill_home.folder / "frozen", drill_home.run)
    bars = market()
    fresh = bars[(bars["timestamp"] < STUCK_AT).to_numpy()]
    changed = _changed_prices(drill_home, fresh)
    stopped, flat = _live_with_feed(drill_home, fresh), _live_with_feed(frozen, _frozen(bars))
    return DrillResult(
        (
            must_hold(
                "old bars with other prices are counted and not stored",
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
                COLLECT_BOUND,
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
class _Observed:
    """Observations since ``STUCK_AT``: bars added, days until collect and guard reported it."""

    added: int
    findings: float
    quiet: float
    weights: tuple[tuple[datetime, float], ...]


def _changed_prices(drill_home: DrillHome, fresh: pd.DataFrame) -> int:
    moved = fresh.copy()
    moved.loc[moved.index[::7], list(PRICES)] *= 1.001  # all of them would be a restated history
    moved.to_parquet(drill_home.feed)
    conflicting: int = drill_home.flow("collect", STARTED_AT).conflicting
    return conflicting


def _live_with_feed(drill_home: DrillHome, bars: pd.DataFrame) -> _Observed:
    """Run the daily flows from ``STUCK_AT`` until the guard reports that signals stopped."""
    bars.to_parquet(drill_home.feed)
    drill_home.flow("collect", STUCK_AT)
    drill_home.flow("settle", STUCK_AT)
    drill_home.flow("guard", STUCK_AT)
    added, day = 0, STUCK_AT
    reported: list[datetime] = []
    quiet: list[datetime] = []
    while not quiet and day < STUCK_AT + WATCHED_FOR:
        day += DAY
        collected = drill_home.flow("collect", day)
        drill_home.flow("guard", day)
        added += collected.added
        stuck = any("feed stuck" in finding for finding in collected.findings)
        reported += [day] if stuck else []
        quiet = drill_home.alerts("silence", "no signals")
    weights = tuple((at, drill_home.weight(at)) for at in (STUCK_AT, day))
    return _Observed(added, days_until(STUCK_AT, reported), days_until(STUCK_AT, quiet), weights)


def _frozen(bars: pd.DataFrame) -> pd.DataFrame:
    """Return bars whose prices stay at the last close from ``STUCK_AT`` on."""
    stuck = (bars["timestamp"] >= STUCK_AT).to_numpy()
    last = bars[~stuck].groupby("symbol")["close"].last()
    flat = bars.copy()
    for name in PRICES:
        flat.loc[stuck, name] = flat.loc[stuck, "symbol"].map(last)
    return flat
