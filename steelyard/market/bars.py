"""Bars: OHLCV rows of one symbol, each known only at its close."""

from collections.abc import Mapping
from dataclasses import dataclass

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
        bar_size: Time from a bar's open to its close.
        timestamp: Open time of each bar, UTC, ``datetime64[ns]``, strictly rising, shape (n,).
        open: Prices, shape (n,), and so ``high``, ``low``, ``close``.
        volume: Traded quantity, shape (n,); NaN (FX) or 0 (index) throughout where the market has none.
    """

    symbol: str
    bar_size: pd.Timedelta
    timestamp: Stamps
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats

    def __len__(self) -> int:
        return len(self.timestamp)

    def __getitem__(self, rows: slice) -> "Bars":
        """Return a view of some bars; nothing is copied."""
        return Bars(
            self.symbol,
            self.bar_size,
            self.timestamp[rows],
            self.open[rows],
            self.high[rows],
            self.low[rows],
            self.close[rows],
            self.volume[rows],
        )

    @property
    def closes_at(self) -> Stamps:
        """When each bar is known, UTC, shape (n,)."""
        return self.timestamp + self.bar_size.to_timedelta64()


def by_symbol(frame: pd.DataFrame, bar_size: pd.Timedelta) -> dict[str, Bars]:
    """Return the bars of each symbol of a bars frame (columns ``COLUMNS``), symbols in alphabetical order.

    Raises:
        FixData: If a symbol's stamps do not strictly rise.
    """
    return {
        str(symbol): _bars(str(symbol), rows, bar_size)
        for symbol, rows in frame.groupby("symbol", sort=True)
    }


def _bars(symbol: str, rows: pd.DataFrame, bar_size: pd.Timedelta) -> Bars:
    stamps = naive(rows["timestamp"])
    falling = np.flatnonzero(np.diff(stamps) <= np.timedelta64(0))
    if falling.size:
        raise FixData(
            f"{symbol}: bar {stamps[falling[0] + 1]} does not come after {stamps[falling[0]]}; sort, drop copies"
        )
    arrays = [
        np.ascontiguousarray(rows[name].to_numpy(dtype=np.float64)) for name in (*PRICES, "volume")
    ]
    return Bars(symbol, bar_size, stamps, *arrays)


def naive(stamps: pd.Series) -> Stamps:
    """Return a UTC column as ``datetime64[ns]`` without a zone, which numpy does not know."""
    return np.asarray(stamps.dt.tz_convert("UTC").dt.tz_localize(None), dtype="datetime64[ns]")


def bar_sizes(frame: pd.DataFrame) -> dict[str, pd.Timedelta]:
    """Return the most common distance between neighbouring bars of each symbol; symbols with one bar are left out.

    Args:
        frame: Bars in any order, with the columns ``symbol`` and ``timestamp``; rows without a stamp are ignored.
    """
    ordered = frame[["symbol", "timestamp"]].sort_values(["symbol", "timestamp"])
    spacing = ordered.groupby("symbol")["timestamp"].diff()
    known = (spacing > pd.Timedelta(0)).to_numpy()
    by_name = spacing[known].groupby(ordered["symbol"][known])
    return {str(symbol): pd.Timedelta(gaps.mode().iloc[0]) for symbol, gaps in by_name}


def until(bars: Mapping[str, Bars], as_of: pd.Timestamp) -> dict[str, Bars]:
    """Return the bars closed by ``as_of``; symbols without any are left out."""
    moment = as_of.tz_convert("UTC").tz_localize(None).to_datetime64()
    cut = {
        name: one[: int(np.searchsorted(one.closes_at, moment, side="right"))]
        for name, one in bars.items()
    }
    return {name: one for name, one in cut.items() if len(one)}
