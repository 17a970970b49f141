"""Splits told from crashes, and symbols that may not be traded before somebody decides.

With an adjusted close the adjustment decides: where its factor changes there was a split, where it does not the move was
real. Without one, an overnight gap at a simple ratio or an incredible one may be either, and only the user can know.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Literal, cast

import numpy as np
import pandas as pd
from pydantic import Field

from steelyard.market.bars import PRICES
from steelyard.values import FrozenModel

Kind = Literal["split", "crash", "undecided", "reused"]
SIMPLE = np.array([1.5, 2, 3, 4, 5, 6, 7, 8, 10, 15, 20, 25, 30, 40, 50, 100])
TOLERANCE = 0.05
"""A gap within 5 % of a simple ratio may be a split: overnight moves on split days are ordinary ones."""
MIN_GAP = 1.4
MIN_FACTOR = 1.2
INCREDIBLE = 4.5
"""A larger move that no adjustment explains is more often a wrong unit or a missed 5:1 split than the market."""
REUSE_GAP = 3.0
REUSE_HOLE = pd.Timedelta("30D")


class JumpDecision(FrozenModel):
    """What the user knows about a flagged jump: new shares for one old, or 1 for a real move."""

    symbol: str
    date: date
    ratio: Annotated[float, Field(gt=0, le=10_000)]


@dataclass(frozen=True, slots=True)
class Jump:
    """A move between two bars that needs an explanation; ``ratio`` is the open over the close before."""

    symbol: str
    date: date
    ratio: float
    kind: Kind

    def __str__(self) -> str:
        words = {
            "split": "split, adjusted away",
            "crash": "real move, kept",
            "undecided": "split, bad data or real? held back until conf/source.yaml says (jumps)",
            "reused": "ticker reused after a hole? held back until conf/source.yaml says (jumps)",
        }
        return f"{self.symbol} {self.date:%Y-%m-%d} {self.ratio - 1:+.1%} overnight: {words[self.kind]}"


def explain(
    frame: pd.DataFrame, decisions: Iterable[JumpDecision], zone: str = "UTC"
) -> tuple[pd.DataFrame, list[Jump]]:
    """Return bars on one price scale, and every jump with what it was taken for.

    Args:
        frame: Bars, sorted by symbol and timestamp; with a column ``adj_close`` they are adjusted by it.
        decisions: What the user has decided about jumps; at most one for a symbol and date.
        zone: Zone of the dates in ``decisions``, and of those in messages.
    """
    dates = frame["timestamp"].dt.tz_convert(zone).dt.date
    if "adj_close" in frame:
        return _adjusted(frame, dates, list(decisions))
    return _decided(frame, dates, list(decisions))


def held_back(jumps: Iterable[Jump]) -> tuple[str, ...]:
    """Return the symbols with a jump nobody has explained."""
    return tuple(sorted({jump.symbol for jump in jumps if jump.kind in ("undecided", "reused")}))


def _adjusted(
    frame: pd.DataFrame, dates: pd.Series, decisions: list[JumpDecision]
) -> tuple[pd.DataFrame, list[Jump]]:
    """Adjust by the adjusted close; a decision adds what it missed, never what it has adjusted already."""
    factor = frame["adj_close"] / frame["close"]
    change = factor / factor.groupby(frame["symbol"]).shift()
    gap = _gaps(frame)
    split = _beyond(change, MIN_FACTOR) & _beyond(gap, MIN_FACTOR)
    adjusted = frame.drop(columns="adj_close")
    adjusted[list(PRICES)] = adjusted[list(PRICES)].mul(factor, axis=0)
    adjusted["volume"] = adjusted["volume"] / factor
    known = np.zeros(len(frame), dtype=bool)
    for decision in decisions:
        here = _at(frame, dates, decision) & ~split
        known |= here
        if decision.ratio != 1 and here.any():
            split |= here
            _rescale(adjusted, dates, decision)
    incredible = _beyond(gap, INCREDIBLE) & ~split & ~known
    crash = _beyond(gap, MIN_GAP) & ~split & ~incredible
    found = {"split": split, "crash": crash, "undecided": incredible}
    return adjusted, [
        jump
        for kind, where in found.items()
        for jump in _listed(frame, dates, gap, where, cast(Kind, kind))
    ]


def _decided(
    frame: pd.DataFrame, dates: pd.Series, decisions: list[JumpDecision]
) -> tuple[pd.DataFrame, list[Jump]]:
    gap, hole = _gaps(frame), frame.groupby("symbol")["timestamp"].diff()
    larger, large = np.maximum(gap.to_numpy(), 1 / gap.to_numpy()), _beyond(gap, MIN_GAP)
    simple = (np.abs(larger[:, None] / SIMPLE - 1) < TOLERANCE).any(axis=1) & large
    doubtful = simple | _beyond(gap, INCREDIBLE)
    reused = _beyond(gap, REUSE_GAP) & (hole > REUSE_HOLE).to_numpy()
    adjusted, known = frame.copy(), np.zeros(len(frame), dtype=bool)
    jumps: list[Jump] = []
    for decision in decisions:
        here = _at(frame, dates, decision)
        known |= here
        _rescale(adjusted, dates, decision)
        jumps += _listed(
            frame, dates, gap, here & large, "crash" if decision.ratio == 1 else "split"
        )
    jumps += _listed(frame, dates, gap, reused & ~known, "reused")
    jumps += _listed(frame, dates, gap, doubtful & ~reused & ~known, "undecided")
    jumps += _listed(frame, dates, gap, large & ~doubtful & ~reused & ~known, "crash")
    return adjusted, jumps


def _rescale(adjusted: pd.DataFrame, dates: pd.Series, decision: JumpDecision) -> None:
    """Bring a symbol's bars before a decided date on the price scale after it, in place."""
    before = ((adjusted["symbol"] == decision.symbol) & (dates < decision.date)).to_numpy()
    adjusted.loc[before, list(PRICES)] /= decision.ratio
    adjusted.loc[before, "volume"] *= decision.ratio


def _at(frame: pd.DataFrame, dates: pd.Series, decision: JumpDecision) -> np.ndarray:
    return np.asarray((frame["symbol"] == decision.symbol) & (dates == decision.date))


def _gaps(frame: pd.DataFrame) -> pd.Series:
    """Return each open over the symbol's close before, NaN at its first bar."""
    return frame["open"] / frame.groupby("symbol")["close"].shift()


def _beyond(ratios: pd.Series, bound: float) -> np.ndarray:
    """Return where a ratio lies outside [1/bound, bound]; NaN does not."""
    values = ratios.to_numpy()
    return np.asarray((values > bound) | (values < 1 / bound))


def _listed(
    frame: pd.DataFrame, dates: pd.Series, gap: pd.Series, where: np.ndarray, kind: Kind
) -> list[Jump]:
    rows = zip(frame["symbol"][where], dates[where], gap[where], strict=True)
    return [Jump(str(symbol), day, float(ratio), kind) for symbol, day, ratio in rows]
