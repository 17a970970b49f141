"""Bars: OHLCV rows of one symbol, each known only at its close."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from steelyard.errors import FixData

COLUMNS = ("symbol", "timestamp", "open", "high", "low", "close", "volume")
PRICES = ("open", "high", "low", "close")

Floats = NDArray[np.float64]
Stamps = NDArray[np.datetime64]


@dataclass(frozen=True, slots=True, eq=False)
class Bars:
    """The bars of one symbol, oldest first.

    Attributes:
        symbol: Name of the instrument.
        bar_size: Time from a bar's open to the next.
        timestamp: Open time of each bar, UTC, ``datetime64[ns]``, strictly rising, shape (n,).
        open: Open prices, shape (n,).
        high: Highest prices, shape (n,).
        low: Lowest prices, shape (n,).
        close: Close prices, shape (n,).
        volume: Traded quantity, shape (n,); NaN (FX) or 0 (index) if the market has none.
        known_after: Time from a bar's open until it is known; None for ``bar_size``. Daily bars of
            an exchange are known at the close of their session, before their day has ended.
    """

    symbol: str
    bar_size: pd.Timedelta
    timestamp: Stamps
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    known_after: pd.Timedelta | None = None

    def __len__(self) -> int:
        return len(self.timestamp)

    def __getitem__(self, rows: slice) -> "Bars":
        """Return a view of the bars in a slice; nothing is copied."""
        return Bars(
            self.symbol,
            self.bar_size,
            self.timestamp[rows],
            self.open[rows],
            self.high[rows],
            self.low[rows],
            self.close[rows],
            self.volume[rows],
            self.known_after,
        )

    def position(self, moment: datetime) -> int:
        """Return the position of the last bar that opened by ``moment`` (UTC); −1 before all."""
        stamp = np.datetime64(moment.replace(tzinfo=None), "ns")
        return int(np.searchsorted(self.timestamp, stamp, side="right")) - 1

    @property
    def closes_at(self) -> Stamps:
        """Close time of each bar, when it is known, UTC, shape (n,)."""
        return self.timestamp + self.delay

    @property
    def delay(self) -> np.timedelta64:
        """Time from a bar's open until it is known."""
        return (self.known_after or self.bar_size).to_timedelta64()


def by_symbol(
    frame: pd.DataFrame, bar_size: pd.Timedelta, known_after: pd.Timedelta | None = None
) -> dict[str, Bars]:
    """Return the bars of each symbol, symbols in alphabetical order.

    Args:
        frame: Bars of all symbols, columns ``COLUMNS``; ``timestamp`` with a time zone.
        bar_size: Time from a bar's open to the next, the same for all symbols.
        known_after: Time from a bar's open until it is known; None for ``bar_size``.

    Raises:
        FixData: If the stamps of a symbol do not strictly rise.
    """
    numbers, symbols = pd.factorize(frame["symbol"])
    if (np.diff(numbers) < 0).any():  # the bars of a symbol stand apart
        order = np.argsort(numbers, kind="stable")
        frame, numbers = frame.iloc[order], numbers[order]
    stamps = naive(frame["timestamp"])
    columns = [
        np.ascontiguousarray(frame[name].to_numpy(dtype=np.float64)) for name in (*PRICES, "volume")
    ]
    edges = np.searchsorted(numbers, np.arange(len(symbols) + 1))
    found = {}
    for name, first, end in sorted(zip(map(str, symbols), edges, edges[1:], strict=False)):
        _require_rising(name, stamps[first:end])
        opens, highs, lows, closes, volumes = (column[first:end] for column in columns)
        opened = stamps[first:end]
        found[name] = Bars(name, bar_size, opened, opens, highs, lows, closes, volumes, known_after)
    return found


def _require_rising(symbol: str, stamps: Stamps) -> None:
    falling = np.flatnonzero(np.diff(stamps) <= np.timedelta64(0))
    if falling.size:
        raise FixData(
            f"{symbol}: bar {stamps[falling[0] + 1]} does not come after {stamps[falling[0]]}; "
            "sort the bars and drop duplicates"
        )


def are_rising(frame: pd.DataFrame) -> bool:
    """Return whether each symbol's rows stand together, stamps rise and none is missing."""
    return _rising(frame, pd.factorize(frame["symbol"])[0])


def are_in_order(frame: pd.DataFrame) -> bool:
    """Return whether rows are rising, see ``are_rising``, and their symbols alphabetical."""
    numbers, symbols = pd.factorize(frame["symbol"])
    return pd.Index(symbols).is_monotonic_increasing and _rising(frame, numbers)


def _rising(frame: pd.DataFrame, numbers: NDArray[np.int64]) -> bool:
    if (numbers < 0).any() or frame["timestamp"].isna().any():
        return False
    steps = np.diff(numbers)  # numbered as first seen, so those of symbols together never fall
    rising = np.diff(naive(frame["timestamp"])) > np.timedelta64(0)
    return bool(((steps > 0) | ((steps == 0) & rising)).all())


def first_bars(frame: pd.DataFrame) -> NDArray[np.int64]:
    """Return the position of each symbol's first bar, shape (s,), in bars sorted by symbol."""
    numbers = pd.factorize(frame["symbol"])[0]
    return np.flatnonzero(np.diff(numbers, prepend=-1)).astype(np.int64)


def before(values: NDArray[Any], first: NDArray[np.int64]) -> NDArray[Any]:
    """Return the value at the bar before of the same symbol; NaN or NaT at its first.

    Args:
        values: Floats or stamps of bars sorted by symbol and stamp, shape (n,).
        first: Position of each symbol's first bar, shape (s,).
    """
    earlier = np.roll(values, 1)
    earlier[first] = np.datetime64("NaT") if values.dtype.kind == "M" else np.nan
    return earlier


def naive(stamps: pd.Series) -> Stamps:
    """Return a column of stamps as UTC ``datetime64[ns]`` without a zone, shape (n,)."""
    return np.asarray(stamps.dt.tz_convert("UTC").dt.tz_localize(None), dtype="datetime64[ns]")


def bar_sizes(frame: pd.DataFrame) -> dict[str, pd.Timedelta]:
    """Return the most common distance between bars of each symbol; symbols with one are left out.

    Args:
        frame: Bars in any order, with the columns ``symbol`` and ``timestamp``; rows without a
            stamp are ignored.
    """
    known = frame if are_rising(frame) else frame.dropna(subset=["symbol", "timestamp"])
    numbers, symbols = pd.factorize(known["symbol"])
    stamps = naive(known["timestamp"]).astype(np.int64)
    if known is not frame:
        order = np.lexsort((stamps, numbers))
        numbers, stamps = numbers[order], stamps[order]
    spacing = np.diff(stamps)
    kept = (np.diff(numbers) == 0) & (spacing > 0)
    codes, sizes = pd.factorize(spacing[kept], sort=True)
    pairs, counts = np.unique(numbers[1:][kept] * len(sizes) + codes, return_counts=True)
    owners, codes = np.divmod(pairs, max(len(sizes), 1))
    commonest = np.lexsort((codes, -counts, owners))  # of equal counts the smallest distance
    owners, first = np.unique(owners[commonest], return_index=True)
    found = zip(symbols[owners], sizes[codes[commonest[first]]], strict=True)
    return {str(symbol): pd.Timedelta(int(size)) for symbol, size in sorted(found)}


def until(bars: Mapping[str, Bars], as_of: pd.Timestamp) -> dict[str, Bars]:
    """Return the bars closed by ``as_of``; symbols without any are left out.

    Args:
        bars: Bars by symbol.
        as_of: Time with a zone; a bar that closes at this time is included.
    """
    moment = as_of.tz_convert("UTC").tz_localize(None).to_datetime64()
    counts = {
        symbol: int(np.searchsorted(history.closes_at, moment, side="right"))
        for symbol, history in bars.items()
    }
    return {symbol: bars[symbol][:count] for symbol, count in counts.items() if count}
