"""Distinguish splits from crashes, and hold back symbols until the user has explained a jump.

With an adjusted close the adjustment factor decides: if it changes there was a split, if not the
move was real. Without one, an overnight gap at a simple ratio, or an implausibly large one, may be
either; only the user can know.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from steelyard.market.bars import PRICES, before, first_bars, naive
from steelyard.values import FrozenModel

Kind = Literal["split", "crash", "undecided", "reused"]
SIMPLE_RATIOS = np.array([1.5, 2, 3, 4, 5, 6, 7, 8, 10, 15, 20, 25, 30, 40, 50, 100])
TOLERANCE = 0.05
"""A gap within 5 % of a simple ratio may be a split: prices also move on split days."""
MIN_GAP = 1.4
"""Smallest overnight move that needs an explanation, as a ratio or its inverse."""
MIN_FACTOR = 1.2
"""Smallest change of the adjustment factor that counts as a split."""
IMPLAUSIBLE_GAP = 4.5
"""A larger move without adjustment is more often a wrong unit or a missed 5:1 split than real."""
REUSE_GAP = 3.0
REUSE_HOLE = pd.Timedelta("30D")
"""A larger gap after a longer hole without bars: the ticker may belong to another company now."""


class JumpDecision(FrozenModel):
    """The user's explanation of a jump: new shares for one old share, or 1 for a real move."""

    symbol: str
    date: date
    ratio: Annotated[float, Field(gt=0, le=10_000)]


@dataclass(frozen=True, slots=True)
class Jump:
    """A move between two bars that needs an explanation; ``ratio`` is open over previous close."""

    symbol: str
    date: date
    ratio: float
    kind: Kind

    def __str__(self) -> str:
        verdicts = {
            "split": "split, adjusted away",
            "crash": "real move, kept",
            "undecided": "split, bad data or real? held back until conf/source.yaml says (jumps)",
            "reused": "ticker reused after a hole? held back until conf/source.yaml says (jumps)",
        }
        return (
            f"{self.symbol} {self.date:%Y-%m-%d} {self.ratio - 1:+.1%} overnight: "
            f"{verdicts[self.kind]}"
        )


def explain(
    frame: pd.DataFrame, decisions: Iterable[JumpDecision], zone: str = "UTC"
) -> tuple[pd.DataFrame, list[Jump]]:
    """Return the bars on one price scale, without ``adj_close``, and every jump with its kind.

    Args:
        frame: Bars, sorted by symbol and timestamp; columns ``COLUMNS`` of ``bars``. With a column
            ``adj_close`` prices and volume are adjusted by it.
        decisions: Explanations by the user; at most one for a symbol and date.
        zone: Zone of the dates in ``decisions``, and of those in messages.
    """
    dates = frame["timestamp"].dt.tz_convert(zone).dt.tz_localize(None).dt.normalize()
    if "adj_close" in frame:
        return _adjusted(frame, dates, list(decisions))
    return _decided(frame, dates, list(decisions))


def held_back(jumps: Iterable[Jump]) -> tuple[str, ...]:
    """Return the symbols with a jump that is not explained yet, in alphabetical order."""
    return tuple(sorted({jump.symbol for jump in jumps if jump.kind in ("undecided", "reused")}))


def _adjusted(
    frame: pd.DataFrame, dates: pd.Series, decisions: list[JumpDecision]
) -> tuple[pd.DataFrame, list[Jump]]:
    """Adjust by the adjusted close; a decision adds a split it missed, never one it has already."""
    factor = frame["adj_close"] / frame["close"]
    change = factor / factor.groupby(frame["symbol"]).shift()
    gap = _gaps(frame)
    split = _beyond(change, MIN_FACTOR) & _beyond(gap, MIN_FACTOR)
    adjusted = frame.drop(columns="adj_close")
    adjusted[list(PRICES)] = adjusted[list(PRICES)].mul(factor, axis=0)
    adjusted["volume"] = adjusted["volume"] / factor
    explained = np.zeros(len(frame), dtype=bool)
    for decision in decisions:
        decided = _rows_of(frame, dates, decision) & ~split
        explained |= decided
        if decision.ratio != 1 and decided.any():
            split |= decided
            _rescale(adjusted, dates, decision)
    implausible = _beyond(gap, IMPLAUSIBLE_GAP) & ~split & ~explained
    crash = _beyond(gap, MIN_GAP) & ~split & ~implausible
    return adjusted, [
        *_jumps(frame, dates, gap, split, "split"),
        *_jumps(frame, dates, gap, crash, "crash"),
        *_jumps(frame, dates, gap, implausible, "undecided"),
    ]


def _decided(
    frame: pd.DataFrame, dates: pd.Series, decisions: list[JumpDecision]
) -> tuple[pd.DataFrame, list[Jump]]:
    gap = _gaps(frame)
    large = _beyond(gap, MIN_GAP)
    moves = gap.to_numpy()[large]
    sizes = np.maximum(moves, 1 / moves)
    simple = np.zeros(len(frame), dtype=bool)
    simple[large] = (np.abs(sizes[:, None] / SIMPLE_RATIOS - 1) < TOLERANCE).any(axis=1)
    doubtful = simple | _beyond(gap, IMPLAUSIBLE_GAP)
    reused = _beyond(gap, REUSE_GAP) & _after_a_hole(frame)
    adjusted, explained = frame.copy(), np.zeros(len(frame), dtype=bool)
    jumps: list[Jump] = []
    for decision in decisions:
        decided = _rows_of(frame, dates, decision)
        explained |= decided
        _rescale(adjusted, dates, decision)
        jumps += _jumps(
            frame, dates, gap, decided & large, "crash" if decision.ratio == 1 else "split"
        )
    jumps += _jumps(frame, dates, gap, reused & ~explained, "reused")
    jumps += _jumps(frame, dates, gap, doubtful & ~reused & ~explained, "undecided")
    jumps += _jumps(frame, dates, gap, large & ~doubtful & ~reused & ~explained, "crash")
    return adjusted, jumps


def _rescale(adjusted: pd.DataFrame, dates: pd.Series, decision: JumpDecision) -> None:
    """Bring the bars before a decided split to the price scale after it, in place."""
    earlier = ((adjusted["symbol"] == decision.symbol) & (dates < _day(decision))).to_numpy()
    adjusted.loc[earlier, list(PRICES)] /= decision.ratio
    adjusted.loc[earlier, "volume"] *= decision.ratio


def _day(decision: JumpDecision) -> pd.Timestamp:
    return pd.Timestamp(decision.date)


def _rows_of(frame: pd.DataFrame, dates: pd.Series, decision: JumpDecision) -> np.ndarray:
    return np.asarray((frame["symbol"] == decision.symbol) & (dates == _day(decision)))


def _gaps(frame: pd.DataFrame) -> pd.Series:
    """Return each open over the previous close of the symbol, NaN at its first bar."""
    closes = before(frame["close"].to_numpy(dtype=np.float64), first_bars(frame))
    gaps: pd.Series[float] = frame["open"] / closes
    return gaps


def _after_a_hole(frame: pd.DataFrame) -> np.ndarray:
    stamps = naive(frame["timestamp"])
    return np.asarray(stamps - before(stamps, first_bars(frame)) > REUSE_HOLE.to_timedelta64())


def _beyond(ratios: pd.Series, bound: float) -> np.ndarray:
    """Return True where a ratio lies outside [1/bound, bound]; False for NaN."""
    values = ratios.to_numpy()
    return np.asarray((values > bound) | (values < 1 / bound))


def _jumps(
    frame: pd.DataFrame, dates: pd.Series, gap: pd.Series, chosen: np.ndarray, kind: Kind
) -> list[Jump]:
    rows = zip(frame["symbol"][chosen], dates[chosen].dt.date, gap[chosen], strict=True)
    return [Jump(str(symbol), day, float(ratio), kind) for symbol, day, ratio in rows]
