"""The newest bars of a universe in a trading process that is sent them: checked, appended, never rewritten."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from steelyard.market.bars import Bars

KEPT = 4096
"""Bars a symbol's features may look back over; the slowest of them, ATR100, has forgotten what came before to 1e-17."""
SYMBOLS = 5_000


@dataclass(frozen=True, slots=True)
class Bar:
    """One closed bar; ``timestamp`` is its open, UTC without a zone, ``volume`` NaN where the market has none."""

    symbol: str
    timestamp: np.datetime64
    open: float
    high: float
    low: float
    close: float
    volume: float


class BarBuffer:
    """The histories by symbol, grown by what is taken in.

    Args:
        bars: What is known at the start.
        bar_size: Time from a bar's open to its close.

    Attributes:
        bars: The histories, to be read only; a bar that comes replaces the symbol's ``Bars``, never changes them.
    """

    def __init__(self, bars: Mapping[str, Bars], bar_size: pd.Timedelta) -> None:
        self.bar_size = bar_size
        self._columns: dict[str, _Columns] = {
            symbol: _Columns(one) for symbol, one in bars.items() if len(one)
        }
        self.bars: dict[str, Bars] = {symbol: one.bars for symbol, one in self._columns.items()}

    def take(self, bars: Sequence[Bar]) -> str | None:
        """Take in bars that are new, oldest first for each symbol; returns what is wrong with the first that cannot be.

        Bars from before the newest one are known already and left, as is the newest one again. After a bar that cannot be
        taken in no later one of this call is: a hole would be filled with nothing.
        """
        for bar in bars:
            wrong = self._wrong(bar)
            if wrong is not None:
                return f"{bar.symbol}: bar {bar.timestamp}: {wrong}; not taken in"
            self._append(bar)
        return None

    def _wrong(self, bar: Bar) -> str | None:
        known = self.bars.get(bar.symbol)
        if not bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high:
            return f"open {bar.open:g} and close {bar.close:g} do not lie between low {bar.low:g} and high {bar.high:g}"
        if known is None:
            return f"more than {SYMBOLS} symbols" if len(self.bars) >= SYMBOLS else None
        if bar.timestamp == known.timestamp[-1] and bar.close != known.close[-1]:
            return f"close {bar.close:g} is not the {known.close[-1]:g} that was taken in before"
        return None

    def _append(self, bar: Bar) -> None:
        columns = self._columns.get(bar.symbol)
        if columns is None:
            columns = self._columns[bar.symbol] = _Columns(_empty(bar.symbol, self.bar_size))
        elif bar.timestamp <= columns.bars.timestamp[-1]:
            return
        self.bars[bar.symbol] = columns.append(bar)


class _Columns:
    """One symbol's arrays with room to grow; a full one is followed by a new one, so that views stay as they are."""

    def __init__(self, bars: Bars) -> None:
        self._start(bars[-KEPT:])

    def _start(self, kept: Bars) -> None:
        self._end = len(kept)
        self._stamps = np.empty(2 * KEPT, dtype="datetime64[ns]")
        self._values = np.empty((5, 2 * KEPT))
        self._stamps[: self._end] = kept.timestamp
        for row, values in zip(
            self._values, (kept.open, kept.high, kept.low, kept.close, kept.volume), strict=True
        ):
            row[: self._end] = values
        self.bars = self._view(kept.symbol, kept.bar_size)

    def _view(self, symbol: str, bar_size: pd.Timedelta) -> Bars:
        return Bars(
            symbol, bar_size, self._stamps[: self._end], *(row[: self._end] for row in self._values)
        )

    def append(self, bar: Bar) -> Bars:
        """Return the history with one more bar."""
        if self._end == 2 * KEPT:
            self._start(self.bars[-KEPT:])
        self._stamps[self._end] = bar.timestamp
        self._values[:, self._end] = (bar.open, bar.high, bar.low, bar.close, bar.volume)
        self._end += 1
        self.bars = self._view(self.bars.symbol, self.bars.bar_size)
        return self.bars


def _empty(symbol: str, bar_size: pd.Timedelta) -> Bars:
    none = np.empty(0)
    return Bars(symbol, bar_size, np.empty(0, dtype="datetime64[ns]"), none, none, none, none, none)
