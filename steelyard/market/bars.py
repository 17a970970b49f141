"""Bars: OHLCV rows of one symbol, each known only at its close."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

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
    return {
        str(symbol): _bars(str(symbol), rows, bar_size, known_after)
        for symbol, rows in frame.groupby("symbol", sort=True)
    }


def _bars(
    symbol: str, rows: pd.DataFrame, bar_size: pd.Timedelta, known_after: pd.Timedelta | None
) -> Bars:
    stamps = naive(rows["timestamp"])
    falling = np.flatnonzero(np.diff(stamps) <= np.timedelta64(0))
    if falling.size:
        raise FixData(
            f"{symbol}: bar {stamps[falling[0] + 1]} does not come after {stamps[falling[0]]}; "
            "sort the bars and drop duplicates"
        )
    opens, highs, lows, closes, volumes = (
        np.ascontiguousarray(rows[name].to_numpy(dtype=np.float64)) for name in (*PRICES, "volume")
    )
    return Bars(symbol, bar_size, stamps, opens, highs, lows, closes, volumes, known_after)


def naive(stamps: pd.Series) -> Stamps:
    """Return a column of stamps as UTC ``datetime64[ns]`` without a zone, shape (n,)."""
    return np.asarray(stamps.dt.tz_convert("UTC").dt.tz_localize(None), dtype="datetime64[ns]")


def bar_sizes(frame: pd.DataFrame) -> dict[str, pd.Timedelta]:
    """Return the most common distance between bars of each symbol; symbols with one are left out.

    Args:
        frame: Bars in any order, with the columns ``symbol`` and ``timestamp``; rows without a
            stamp are ignored.
    """
    ordered = frame[["symbol", "timestamp"]].sort_values(["symbol", "timestamp"])
    spacing = ordered.groupby("symbol")["timestamp"].diff()
    known = (spacing > pd.Timedelta(0)).to_numpy()
    by_name = spacing[known].groupby(ordered["symbol"][known])
    return {str(symbol): pd.Timedelta(gaps.mode().iloc[0]) for symbol, gaps in by_name}


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
