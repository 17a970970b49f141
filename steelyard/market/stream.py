"""Features bar by bar: the numbers ``features`` computes over a whole history, at the newest bar, in microseconds.

TA-Lib's stream handles carry the indicators on, one compiled pass over the last bars gives the rest. Every value is the
batch one to 1e-9; a test walks real bars and compares them all. A symbol that is not warmed up yet, or whose history was
rewritten, is computed by the batch functions themselves.
"""

from collections.abc import Mapping

import numpy as np
from numba import njit
from talib import stream

from steelyard.errors import FixData
from steelyard.market.bars import Bars, Floats
from steelyard.market.features import (
    _COS_MINUTE,
    _COS_WEEKDAY,
    _SIN_MINUTE,
    _SIN_WEEKDAY,
    FEATURES,
    at_every_bar,
)
from steelyard.market.strategy import WARMUP

OWN = tuple(
    feature.name for feature in FEATURES if feature.group not in ("cross-section", "regime")
)
"""Features of one symbol alone, in order; those across symbols follow them."""
SIGNED = np.array([feature.signed for feature in FEATURES])
KEPT = 128
"""Bars the windows look back over, at least; the longest is the 100-bar mean of the volume."""
ROOM = 4096


class SymbolStream:
    """The features of one symbol at its newest bar, carried on from bar to bar.

    Args:
        bars: History so far, oldest first; the more, the closer the indicators are to those of the whole history.

    Raises:
        FixData: If a price is not a number, here and in ``follow``.
    """

    def __init__(self, bars: Bars) -> None:
        self.symbol = bars.symbol
        self.newest = np.datetime64("NaT", "ns")
        self.values = np.full(len(OWN), np.nan)
        self._restart(bars)

    def follow(self, bars: Bars) -> None:
        """Take in the bars that came since; ``bars`` is the whole history, or any end of it that reaches back to them.

        The history starts anew where it does not contain the newest bar seen: somebody rewrote it.
        """
        if len(bars) == 0 or bars.timestamp[-1] == self.newest:
            return
        new = len(bars) - int(np.searchsorted(bars.timestamp, self.newest, side="right"))
        continues = 0 < new < len(bars) and bars.timestamp[len(bars) - new - 1] == self.newest
        if self._handles is None or not continues or new > KEPT or not self._same_close(bars, new):
            self._restart(bars)
            return
        _require_finite(bars[len(bars) - new :])
        for at in range(len(bars) - new, len(bars)):
            self._append(bars, at)
        self._compute(bars)

    def _same_close(self, bars: Bars, new: int) -> bool:
        return bool(bars.close[len(bars) - new - 1] == self._columns[3, self._end - 1])

    def _restart(self, bars: Bars) -> None:
        _require_finite(bars)
        self.newest = bars.timestamp[-1]
        self._handles: _Handles | None = None
        if len(bars) <= WARMUP:
            self.values = np.array([at_every_bar(bars)[name][-1] for name in OWN])
            return
        self._handles = _Handles(bars)
        kept = bars[-KEPT:]
        self._columns = np.empty((5, ROOM))
        self._slow = np.empty(ROOM)
        self._end = len(kept)
        columns = (kept.open, kept.high, kept.low, kept.close, np.nan_to_num(kept.volume, nan=0.0))
        for row, values in zip(self._columns, columns, strict=True):
            row[: self._end] = values
        self._slow[: self._end] = self._handles.slow_before[-KEPT:]
        self._compute(bars)

    def _append(self, bars: Bars, at: int) -> None:
        if self._end == ROOM:
            self._columns[:, :KEPT] = self._columns[:, -KEPT:]
            self._slow[:KEPT] = self._slow[-KEPT:]
            self._end = KEPT
        volume = bars.volume[at]
        bar = (
            bars.open[at],
            bars.high[at],
            bars.low[at],
            bars.close[at],
            0.0 if np.isnan(volume) else volume,
        )
        self._columns[:, self._end] = bar
        assert self._handles is not None  # noqa: S101  # for the type checker: only warmed-up symbols append
        self._handles.update(float(bar[1]), float(bar[2]), float(bar[3]))
        self._slow[self._end] = self._handles.indicators[1]
        self._end += 1

    def _compute(self, bars: Bars) -> None:
        self.newest = bars.timestamp[-1]
        assert self._handles is not None  # noqa: S101  # for the type checker
        closes_at = int(
            (self.newest + bars.bar_size.to_timedelta64()).astype("datetime64[m]").astype(np.int64)
        )
        windows(self.values, self._columns, self._slow, self._end, self._handles.indicators)
        self.values[_CALENDAR : _CALENDAR + 4] = (
            _SIN_MINUTE[closes_at % 1440],
            _COS_MINUTE[closes_at % 1440],
            _SIN_WEEKDAY[(closes_at // 1440 + 3) % 7],
            _COS_WEEKDAY[(closes_at // 1440 + 3) % 7],
        )


_CALENDAR = OWN.index("hour_sin")


def _require_finite(bars: Bars) -> None:
    """Refuse what is no number before any state is touched: the indicators would never recover. NaN is no volume."""
    if (
        not np.isfinite(bars.open + bars.high + bars.low + bars.close).all()
        or np.isinf(bars.volume).any()
    ):
        raise FixData(
            f"{bars.symbol}: a price or volume up to {bars.timestamp[-1]} is not a number; correct or drop the bar"
        )


class _Handles:
    """TA-Lib's state of one symbol, and the newest values: EMA12, EMA26, EMA50, +DI, −DI, ADX, RSI, MACD histogram, ATRs."""

    def __init__(self, bars: Bars) -> None:
        high, low, close = bars.high, bars.low, bars.close
        self._fast = stream.EMA(close, timeperiod=12)
        self._slow, self.slow_before = stream.EMA.open_and_fill(close, timeperiod=26)
        self._long = stream.EMA(close, timeperiod=50)
        self._plus = stream.PLUS_DI(high, low, close, timeperiod=14)
        self._minus = stream.MINUS_DI(high, low, close, timeperiod=14)
        self._adx = stream.ADX(high, low, close, timeperiod=14)
        self._rsi = stream.RSI(close, timeperiod=14)
        self._macd = stream.MACD(close, fastperiod=12, slowperiod=26, signalperiod=9)
        self._range = stream.ATR(high, low, close, timeperiod=14)
        self._long_range = stream.ATR(high, low, close, timeperiod=100)
        handles = (
            self._fast,
            self._slow,
            self._long,
            self._plus,
            self._minus,
            self._adx,
            self._rsi,
        )
        self.indicators = np.array(
            [
                *(h.value for h in handles),
                self._macd.value[2],
                self._range.value,
                self._long_range.value,
            ]
        )

    def update(self, high: float, low: float, close: float) -> None:
        """Carry every indicator on by one closed bar."""
        self.indicators[:] = (
            self._fast.update(close),
            self._slow.update(close),
            self._long.update(close),
            self._plus.update(high, low, close),
            self._minus.update(high, low, close),
            self._adx.update(high, low, close),
            self._rsi.update(close),
            self._macd.update(close)[2],
            self._range.update(high, low, close),
            self._long_range.update(high, low, close),
        )


@njit(cache=True, nogil=True)
def over(numerator: float, denominator: float, neutral: float) -> float:
    """Return the quotient, ``neutral`` where the denominator is 0."""
    return numerator / denominator if denominator != 0 else neutral


@njit(cache=True, nogil=True)
def log_over(numerator: float, denominator: float) -> float:
    """Return the logarithm of the quotient within ±5; 0 over 0."""
    if denominator == 0:
        return 0.0
    if numerator == 0:
        return -5.0
    return float(min(max(np.log(numerator / denominator), -5.0), 5.0))


@njit(cache=True, nogil=True)
def spread_of(closes: Floats, last: int, period: int) -> float:
    """Return the standard deviation of the last ``period`` changes."""
    total = squares = 0.0
    for i in range(last - period + 1, last + 1):
        change = closes[i] - closes[i - 1]
        total += change
        squares += change * change
    spread = squares / period - (total / period) ** 2
    return float(np.sqrt(spread)) if spread > 1e-10 * squares / period else 0.0


@njit(cache=True, nogil=True)
def place_in(highs: Floats, lows: Floats, close: float, last: int, period: int) -> float:
    """Return where the close stands in the range of the last ``period`` bars, −0.5 to 0.5."""
    highest, lowest = highs[last], lows[last]
    for i in range(last - period + 1, last):
        highest, lowest = max(highest, highs[i]), min(lowest, lows[i])
    return (close - lowest) / (highest - lowest) - 0.5 if highest != lowest else 0.0


@njit(cache=True, nogil=True)
def windows(out: Floats, columns: Floats, slow: Floats, end: int, known: Floats) -> None:
    """Fill ``out`` (order of ``OWN``, but for the calendar) at the newest bar.

    Args:
        out: Shape (31,).
        columns: Open, high, low, close, volume, shape (5, ROOM), known up to ``end``.
        slow: EMA26 at the same bars.
        end: Position after the newest bar.
        known: Indicators at the newest bar, as ``_Handles`` orders them.
    """
    opens, highs, lows, closes, volumes = columns[0], columns[1], columns[2], columns[3], columns[4]
    i = end - 1
    close, before = closes[i], closes[i - 1]
    fast, slow_now, long, plus, minus, adx, rsi, histogram, atr, long_atr = known

    moved = squares = fallen = volume_20 = pressure = bodies = wicks = 0.0
    for k in range(i - 19, i + 1):
        change = closes[k] - closes[k - 1]
        moved += abs(change)
        squares += change * change
        if change < 0:
            fallen += change * change
        volume_20 += volumes[k]
        pressure += np.sign(change) * volumes[k]
        height = highs[k] - lows[k]
        if height != 0:
            bodies += abs((closes[k] - opens[k]) / height)
            wicks += (
                min(opens[k], closes[k]) - lows[k] - highs[k] + max(opens[k], closes[k])
            ) / height
    volume_100 = 0.0
    for k in range(i - 99, i + 1):
        volume_100 += volumes[k]
    products = all_squares = 0.0
    for k in range(i - 48, i + 1):
        change = closes[k] - closes[k - 1]
        products += change * (closes[k - 1] - closes[k - 2])
        all_squares += change * change
    true_range = max(highs[i] - lows[i], abs(highs[i] - before), abs(lows[i] - before))
    height = highs[i] - lows[i]

    out[0] = over(fast - slow_now, atr, 0.0)
    out[1] = over(close - long, atr, 0.0)
    out[2] = over(slow_now - slow[i - 5], atr, 0.0)
    out[3] = over(plus - minus, plus + minus, 0.0)
    out[4] = adx / 100
    out[5] = over(close - closes[i - 20], moved, 0.0)
    out[6] = (rsi - 50) / 50
    out[7] = over(histogram, atr, 0.0)
    out[8] = over(close - before, atr, 0.0)
    out[9] = over(close - closes[i - 5], atr, 0.0)
    out[10] = over(close - closes[i - 20], atr, 0.0)
    out[11] = over(close - closes[i - 60], atr, 0.0)
    out[12] = place_in(highs, lows, close, i, 14)
    out[13] = place_in(highs, lows, close, i, 50)
    out[14] = over(atr, long_atr, 1.0)
    out[15] = over(true_range, atr, 1.0)
    out[16] = over(spread_of(closes, i, 10), spread_of(closes, i, 60), 1.0)
    out[17] = 0.5 - over(fallen, squares, 0.5)
    out[18] = over(products, all_squares, 0.0)
    out[19] = log_over(volumes[i], volume_20 / 20)
    out[20] = log_over(volume_20 / 20, volume_100 / 100)
    out[21] = over(pressure, volume_20, 0.0)
    out[22] = over(close - opens[i], height, 0.0)
    out[23] = over(2 * close - highs[i] - lows[i], height, 0.0)
    out[24] = bodies / 20
    out[25] = wicks / 20
    out[26] = over(opens[i] - before, atr, 0.0)


class FeatureStream:
    """The features of every symbol of a universe at the newest bar, and across it.

    Symbols without a bar at the moment asked about do not count in ranks and regime, as in the batch.
    """

    def __init__(self, bars: Mapping[str, Bars]) -> None:
        self._symbols = {symbol: SymbolStream(one) for symbol, one in bars.items() if len(one)}

    def follow(self, bars: Mapping[str, Bars]) -> None:
        """Take in the bars that came since (see ``SymbolStream.follow``), and symbols that are new."""
        for symbol, one in bars.items():
            known = self._symbols.get(symbol)
            if known is not None:
                known.follow(one)
            elif len(one):
                self._symbols[symbol] = SymbolStream(one)

    def newest(self, symbol: str) -> np.datetime64:
        """Return the open time of the newest bar of ``symbol`` that was taken in."""
        return self._symbols[symbol].newest

    def at(self, symbol: str, side: int) -> Floats:
        """Return the features of a signal at the newest bar of ``symbol``, order of ``FEATURES``, from its own side.

        Args:
            symbol: A symbol of the universe.
            side: +1 buys, −1 sells.

        Raises:
            KeyError: If the symbol has no bars.
        """
        mine = self._symbols[symbol]
        there = [other.values for other in self._symbols.values() if other.newest == mine.newest]
        row = np.empty(len(FEATURES))
        row[: len(OWN)] = mine.values
        across(row[len(OWN) :], mine.values, np.array(there))
        if side < 0:
            row[SIGNED] = -row[SIGNED]
        return row


_CHANGE, _VOLATILITY, _VOLUME = (
    OWN.index("change20"),
    OWN.index("atr_ratio"),
    OWN.index("volume_trend"),
)
_EFFICIENCY, _ABOVE = OWN.index("efficiency20"), OWN.index("over_ema50")


@njit(cache=True, nogil=True)
def across(out: Floats, mine: Floats, rows: Floats) -> None:
    """Fill ``out`` with the three ranks and the three means over the universe, order of ``FEATURES``."""
    out[0] = rank_of(mine[_CHANGE], rows[:, _CHANGE])
    out[1] = rank_of(mine[_VOLATILITY], rows[:, _VOLATILITY])
    out[2] = rank_of(mine[_VOLUME], rows[:, _VOLUME])
    out[3] = mean_of(rows[:, _EFFICIENCY])
    out[4] = mean_of(rows[:, _VOLATILITY])
    out[5] = mean_of(np.sign(rows[:, _ABOVE]) / 2)


@njit(cache=True, nogil=True)
def rank_of(mine: float, values: Floats) -> float:
    """Return the share of others below minus above, halved; 0 alone."""
    below = above = known = 0
    for value in values:
        below += value < mine
        above += value > mine
        known += np.isfinite(value)
    return (below - above) / (2 * (known - 1)) if known > 1 else 0.0


@njit(cache=True, nogil=True)
def mean_of(values: Floats) -> float:
    """Return the mean of what is known."""
    total, known = 0.0, 0
    for value in values:
        if np.isfinite(value):
            total += value
            known += 1
    return total / max(known, 1)
