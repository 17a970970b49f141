"""The cross-section: where a signal's symbol stands among all symbols that have its bar.

It is the one part of the features that looks across symbols. All it needs of a symbol is a stamp
and ``CROSSED``, 48 bytes a bar, so that symbols can be computed apart from each other before.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from steelyard.compiled import compiled
from steelyard.market.bars import Floats, Stamps
from steelyard.market.formulas import Ints, rank_among

RANK_SOURCES = {
    "rank_change20": "change20",
    "rank_volatility": "atr_ratio",
    "rank_volume": "volume_trend",
}
"""Rank features and the feature that each ranks."""
REGIME_SOURCES = {
    "regime_trend": "efficiency20",
    "regime_volatility": "atr_ratio",
    "regime_breadth": "over_ema50",
}
"""Regime features and the feature whose mean (the breadth: mean sign, halved) each is."""
CROSSED = ("change20", "atr_ratio", "volume_trend", "efficiency20", "over_ema50")
"""The features of one symbol that the cross-section takes."""
BLOCK_CELLS = 1 << 20
"""Cells of stamps × symbols that are laid out at once: memory does not grow with the history."""
SORT_FROM = 64
"""Signals of a stamp from which sorting its symbols is cheaper than comparing each with all."""


@dataclass(frozen=True, slots=True, eq=False)
class Crossing:
    """What the cross-section takes of some symbols, bar behind bar, symbol behind symbol.

    Attributes:
        symbols: Names, in alphabetical order.
        ends: Position after the last bar of each symbol, shape (s,).
        stamps: Open of each bar, UTC ``datetime64[ns]``, rising within a symbol, shape (n,).
        values: ``CROSSED`` at each bar, shape (n, 5); NaN before the first full window.
    """

    symbols: tuple[str, ...]
    ends: Ints
    stamps: Stamps
    values: Floats

    @classmethod
    def of_symbols(cls, own: Mapping[str, tuple[Stamps, Floats]]) -> "Crossing":
        """Return the crossing of some symbols.

        Args:
            own: Stamps, shape (n,), and values, shape (n, 5), by symbol.
        """
        symbols = tuple(sorted(own))
        stamps = [own[symbol][0] for symbol in symbols]
        values = [own[symbol][1] for symbol in symbols]
        return cls(
            symbols,
            np.cumsum([len(part) for part in stamps], dtype=np.int64),
            np.concatenate([np.empty(0, dtype="datetime64[ns]"), *stamps]),
            np.concatenate([np.empty((0, len(CROSSED))), *values]),
        )

    @classmethod
    def joined(cls, parts: Iterable["Crossing"]) -> "Crossing":
        """Return one crossing of the symbols of all parts, no two of which share a symbol."""
        return cls.of_symbols({symbol: own for part in parts for symbol, own in part._items()})

    def _items(self) -> Iterable[tuple[str, tuple[Stamps, Floats]]]:
        begins = [0, *self.ends][: len(self.symbols)]
        for symbol, begin, end in zip(self.symbols, begins, self.ends, strict=True):
            yield symbol, (self.stamps[begin:end], self.values[begin:end])


def across_symbols(crossing: Crossing, symbols: Ints, stamps: Stamps) -> Floats:
    """Return ranks and regime of signals among the symbols that have a bar at their stamp.

    Args:
        crossing: Every symbol of the universe.
        symbols: Place of each signal's symbol in ``crossing.symbols``, shape (m,).
        stamps: Open of its decision bar, UTC ``datetime64[ns]``, shape (m,).

    Returns:
        ``RANK_SOURCES`` and ``REGIME_SOURCES`` in their order, shape (m, 6).
    """
    moments, rows = np.unique(stamps, return_inverse=True)
    by_moment = np.argsort(rows, kind="stable")
    begins = np.searchsorted(rows[by_moment], np.arange(len(moments) + 1))
    starts = np.concatenate([[0], crossing.ends[:-1]]).astype(np.int64)
    table = np.empty((len(stamps), len(RANK_SOURCES) + len(REGIME_SOURCES)))
    height = max(1, BLOCK_CELLS // max(len(crossing.symbols), 1))
    for first in range(0, len(moments), height):
        block = moments[first : first + height]
        panels = _laid_out(crossing, starts, block)
        last = first + len(block)
        signals = by_moment[begins[first] : begins[last]]
        offsets = begins[first : last + 1] - begins[first]
        for number, source in enumerate(RANK_SOURCES.values()):
            panel = panels[CROSSED.index(source)]
            table[signals, number] = ranks_in(panel, offsets, symbols[signals])
        above = panels[CROSSED.index("over_ema50")]
        above[:] = np.where(np.isnan(above), np.nan, np.sign(above) / 2)
        for number, source in enumerate(REGIME_SOURCES.values(), start=len(RANK_SOURCES)):
            means = _row_means(panels[CROSSED.index(source)])
            table[signals, number] = means[rows[signals] - first]
    return table


def _laid_out(crossing: Crossing, positions: Ints, moments: Stamps) -> Floats:
    """Return values by feature, moment and symbol, NaN where a symbol has no bar, shape (5, t, s).

    ``positions`` move on to each symbol's first bar after the moments.
    """
    panels = np.full((len(CROSSED), len(moments), len(crossing.symbols)), np.nan)
    stamps = crossing.stamps.astype(np.int64)
    lay_out(panels, moments.astype(np.int64), stamps, crossing.values, positions, crossing.ends)
    return panels


@compiled
def lay_out(
    panels: Floats, moments: Ints, stamps: Ints, values: Floats, positions: Ints, ends: Ints
) -> None:
    """Write the values of each symbol's bars that opened at one of some moments into ``panels``.

    Args:
        panels: Values by feature, moment and symbol, shape (k, t, s); NaN.
        moments: Times, rising, nanoseconds, shape (t,).
        stamps: Open of each bar, rising within a symbol, nanoseconds, shape (n,).
        values: Values of each bar, shape (n, k).
        positions: Where to begin in each symbol's bars, shape (s,); moved on behind the moments.
        ends: Position after the last bar of each symbol, shape (s,).
    """
    for symbol in range(len(ends)):
        position = positions[symbol]
        for row in range(len(moments)):
            while position < ends[symbol] and stamps[position] < moments[row]:
                position += 1
            if position < ends[symbol] and stamps[position] == moments[row]:
                for feature in range(len(panels)):
                    panels[feature, row, symbol] = values[position, feature]
        positions[symbol] = position


@compiled
def ranks_in(panel: Floats, offsets: Ints, columns: Ints) -> Floats:
    """Return the rank of each signal's symbol among all symbols, −0.5 to 0.5, shape (m,).

    Args:
        panel: Values by moment and symbol, shape (t, s); NaN does not count.
        offsets: The signals of moment i are those from offset i to i + 1, shape (t + 1,).
        columns: Column of each signal in ``panel``, in order of moments, shape (m,).
    """
    ranks = np.empty(len(columns))
    for row in range(len(panel)):
        first, last = offsets[row], offsets[row + 1]
        if last - first < SORT_FROM:
            for k in range(first, last):
                ranks[k] = rank_among(panel[row, columns[k]], panel[row])
            continue
        known = np.sort(panel[row][~np.isnan(panel[row])])
        finite = np.isfinite(known).sum()
        for k in range(first, last):
            value = panel[row, columns[k]]
            below = np.searchsorted(known, value)
            above = len(known) - np.searchsorted(known, value, side="right")
            is_ranked = finite > 1 and not np.isnan(value)
            ranks[k] = (below - above) / (2 * (finite - 1)) if is_ranked else 0.0
    return ranks


def _row_means(panel: Floats) -> Floats:
    known = np.isfinite(panel)
    return np.asarray(np.where(known, panel, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1))
