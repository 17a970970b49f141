"""Bar histories of a trading process that receives its bars: checked, appended, never rewritten."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC

import numpy as np
import pandas as pd

from steelyard.desk.state_watch import Clock, system_clock
from steelyard.market.bars import Bars
from steelyard.weight.state import CLOCK_TOLERANCE

HISTORY = 4096
"""Bars kept per symbol; the slowest feature, ATR100, weighs older bars with less than 1e-17."""
MAX_SYMBOLS = 5_000


@dataclass(frozen=True, slots=True)
class Bar:
    """One closed bar.

    Attributes:
        timestamp: Open time, UTC without a zone.
        volume: Volume; NaN if the market has none.
    """

    symbol: str
    timestamp: np.datetime64
    open: float
    high: float
    low: float
    close: float
    volume: float


class BarBuffer:
    """Histories by symbol that grow by appended bars.

    Args:
        bars: Histories at the start, by symbol.
        bar_size: Time from a bar's open to the next.
        known_after: Time from a bar's open until it is known; None for ``bar_size``.
        clock: Returns the present time, aware: no bar may open after it.

    Attributes:
        bars: Histories by symbol, read-only; a new bar replaces the symbol's ``Bars``.
    """

    def __init__(
        self,
        bars: Mapping[str, Bars],
        bar_size: pd.Timedelta,
        known_after: pd.Timedelta | None = None,
        clock: Clock = system_clock,
    ) -> None:
        self.bar_size = bar_size
        self.known_after = known_after or bar_size
        self._clock = clock
        self._columns: dict[str, _Columns] = {
            symbol: _Columns(history) for symbol, history in bars.items() if len(history)
        }
        self.bars: dict[str, Bars] = {
            symbol: columns.bars for symbol, columns in self._columns.items()
        }

    def extend(self, bars: Sequence[Bar]) -> str | None:
        """Append new bars; returns what is wrong with the first invalid one, or None.

        Bars up to the newest known one are ignored. A bar of the future is left out; any other
        invalid bar ends the call: appending later ones would leave a gap.

        Args:
            bars: Closed bars, oldest first within each symbol.
        """
        now, note = self._clock() + CLOCK_TOLERANCE, None
        last_open = np.datetime64(now.astimezone(UTC).replace(tzinfo=None), "ns")
        for bar in bars:
            if bar.timestamp > last_open:
                note = note or _note(bar, "opens in the future; check the clocks")
                continue
            fault = self._fault(bar)
            if fault is not None:
                return _note(bar, fault)
            self._append(bar)
        return note

    def _fault(self, bar: Bar) -> str | None:
        history = self.bars.get(bar.symbol)
        if not bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high:
            return (
                f"open {bar.open:g} and close {bar.close:g} do not lie between "
                f"low {bar.low:g} and high {bar.high:g}"
            )
        if history is None:
            return f"more than {MAX_SYMBOLS} symbols" if len(self.bars) >= MAX_SYMBOLS else None
        if bar.timestamp == history.timestamp[-1] and bar.close != history.close[-1]:
            return f"close {bar.close:g} differs from {history.close[-1]:g} received before"
        return None

    def _append(self, bar: Bar) -> None:
        columns = self._columns.get(bar.symbol)
        if columns is None:
            none = np.empty(0)
            stamps, size, known = np.empty(0, "datetime64[ns]"), self.bar_size, self.known_after
            history = Bars(bar.symbol, size, stamps, none, none, none, none, none, known)
            columns = self._columns[bar.symbol] = _Columns(history)
        elif bar.timestamp <= columns.bars.timestamp[-1]:
            return
        self.bars[bar.symbol] = columns.append(bar)


def _note(bar: Bar, fault: str) -> str:
    return f"{bar.symbol}: bar {bar.timestamp}: {fault}; not taken in"


class _Columns:
    """Arrays of one symbol with room to grow; full ones are replaced, so that views stay valid."""

    def __init__(self, bars: Bars) -> None:
        self._allocate(bars[-HISTORY:])

    def _allocate(self, history: Bars) -> None:
        self._end = len(history)
        self._stamps = np.empty(2 * HISTORY, dtype="datetime64[ns]")
        self._values = np.empty((5, 2 * HISTORY))
        self._stamps[: self._end] = history.timestamp
        columns = (history.open, history.high, history.low, history.close, history.volume)
        for row, column in zip(self._values, columns, strict=True):
            row[: self._end] = column
        self.bars = self._view(history)

    def _view(self, history: Bars) -> Bars:
        stamps, values = self._stamps[: self._end], self._values[:, : self._end]
        symbol, bar_size, known_after = history.symbol, history.bar_size, history.known_after
        opens, highs, lows, closes, volumes = values
        return Bars(symbol, bar_size, stamps, opens, highs, lows, closes, volumes, known_after)

    def append(self, bar: Bar) -> Bars:
        """Return the history with one more bar."""
        if self._end == 2 * HISTORY:
            self._allocate(self.bars[-HISTORY:])
        self._stamps[self._end] = bar.timestamp
        self._values[:, self._end] = (bar.open, bar.high, bar.low, bar.close, bar.volume)
        self._end += 1
        self.bars = self._view(self.bars)
        return self.bars
