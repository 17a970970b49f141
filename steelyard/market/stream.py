"""Features bar by bar: those of ``features``, at the newest bar only, in microseconds.

TA-Lib's stream handles update the indicators, one compiled pass over the last bars gives the
windows, and ``formulas`` turns both into features. Every value equals that of the batch to 1e-9; a
test walks real bars and compares them all. A symbol that is not warmed up yet, or whose history was
rewritten, is computed by the batch functions themselves.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numba.extending import register_jitable
from talib import stream

from steelyard.errors import FixData
from steelyard.market.bars import Bars, Floats
from steelyard.market.features import FEATURES, RANK_SOURCES, REGIME_SOURCES, at_every_bar
from steelyard.market.formulas import (
    Calendar,
    Candle,
    Momentum,
    Trend,
    Volatility,
    Volume,
    calendar,
    candle,
    candle_shape,
    divide,
    locate,
    momentum,
    rank_among,
    trend,
    volatility,
    volume,
    window_deviation,
)
from steelyard.market.strategy import WARMUP

OWN_FEATURES = tuple(
    feature.name for feature in FEATURES if feature.group not in ("cross-section", "regime", "side")
)
"""Features of one symbol alone, in order; those across symbols follow, then the side."""
SIGNED = np.array([feature.signed for feature in FEATURES])
WINDOW_BARS = 128
"""Bars kept at least; the longest window is the 100-bar mean of the volume."""
CAPACITY = 4096
"""Bars after which the last ``WINDOW_BARS`` move back to the start of the buffer."""
_TREND, _MOMENTUM, _VOLATILITY, _VOLUME, _CANDLE, _CALENDAR = (
    OWN_FEATURES.index(group._fields[0])
    for group in (Trend, Momentum, Volatility, Volume, Candle, Calendar)
)
_ACROSS = tuple(feature.name for feature in FEATURES)[len(OWN_FEATURES) : -1]
_RANKS = np.array(
    [(_ACROSS.index(rank), OWN_FEATURES.index(source)) for rank, source in RANK_SOURCES.items()]
)
_MEANS = np.array(
    [(_ACROSS.index(mean), OWN_FEATURES.index(source)) for mean, source in REGIME_SOURCES.items()]
)
_BREADTH = _ACROSS.index("regime_breadth")


class Indicators(NamedTuple):
    """TA-Lib's values of one symbol at its newest bar, numbers."""

    ema12: float
    ema26: float
    ema50: float
    plus: float
    minus: float
    adx: float
    rsi: float
    histogram: float
    atr: float
    atr_100: float


class SymbolStream:
    """The features of one symbol at its newest bar, updated from bar to bar.

    Args:
        bars: History so far, oldest first; the longer, the closer the indicators are to those of
            the whole history.

    Raises:
        FixData: If a price is not finite, here and in ``follow``.
    """

    def __init__(self, bars: Bars) -> None:
        self.symbol = bars.symbol
        self.newest = np.datetime64("NaT", "ns")
        self.values = np.full(len(OWN_FEATURES), np.nan)
        self._restart(bars)

    def follow(self, bars: Bars) -> None:
        """Add the bars that are new.

        ``bars`` is the whole history, or its last bars back to the newest one known. If that bar is
        missing or has another close, the history was rewritten and is read anew.
        """
        if len(bars) == 0 or bars.timestamp[-1] == self.newest:
            return
        first_new = int(np.searchsorted(bars.timestamp, self.newest, side="right"))
        if len(bars) - first_new > WINDOW_BARS or not self._continues(bars, first_new):
            self._restart(bars)
            return
        _require_finite(bars[first_new:])
        for position in range(first_new, len(bars)):
            self._append(bars, position)
        self._compute(bars)

    def _continues(self, bars: Bars, first_new: int) -> bool:
        last = first_new - 1
        return bool(
            self._handles is not None
            and 0 <= last < len(bars) - 1
            and bars.timestamp[last] == self.newest
            and bars.close[last] == self._columns[3, self._end - 1]
        )

    def _restart(self, bars: Bars) -> None:
        _require_finite(bars)
        self.newest = bars.timestamp[-1]
        self._handles: _Handles | None = None
        if len(bars) <= WARMUP:
            self.values = np.array([at_every_bar(bars)[name][-1] for name in OWN_FEATURES])
            return
        self._handles = _Handles(bars)
        recent = bars[-WINDOW_BARS:]
        self._columns = np.empty((5, CAPACITY))
        self._ema26 = np.empty(CAPACITY)
        self._end = len(recent)
        traded = np.nan_to_num(recent.volume, nan=0.0)
        columns = (recent.open, recent.high, recent.low, recent.close, traded)
        for row, values in zip(self._columns, columns, strict=True):
            row[: self._end] = values
        self._ema26[: self._end] = self._handles.past_ema26[-WINDOW_BARS:]
        self._compute(bars)

    def _append(self, bars: Bars, position: int) -> None:
        if self._end == CAPACITY:
            self._columns[:, :WINDOW_BARS] = self._columns[:, -WINDOW_BARS:]
            self._ema26[:WINDOW_BARS] = self._ema26[-WINDOW_BARS:]
            self._end = WINDOW_BARS
        high, low, close = bars.high[position], bars.low[position], bars.close[position]
        traded = bars.volume[position]
        traded = 0.0 if np.isnan(traded) else traded
        self._columns[:, self._end] = (bars.open[position], high, low, close, traded)
        assert self._handles is not None  # noqa: S101  # only warmed-up symbols append
        self._handles.update(float(high), float(low), float(close))
        self._ema26[self._end] = self._handles.indicators.ema26
        self._end += 1

    def _compute(self, bars: Bars) -> None:
        self.newest = bars.timestamp[-1]
        assert self._handles is not None  # noqa: S101  # for the type checker
        windows(self.values, self._columns, self._ema26, self._end, self._handles.indicators)
        closes_at = self.newest + bars.bar_size.to_timedelta64()
        minutes = int(closes_at.astype("datetime64[m]").astype(np.int64))
        self.values[_CALENDAR : _CALENDAR + len(Calendar._fields)] = calendar(minutes)


def _require_finite(bars: Bars) -> None:
    """Refuse bad numbers before any state changes: the indicators would never recover."""
    prices = bars.open + bars.high + bars.low + bars.close
    if not np.isfinite(prices).all() or np.isinf(bars.volume).any():
        raise FixData(
            f"{bars.symbol}: a price or volume up to {bars.timestamp[-1]} is not a finite number; "
            "correct or drop the bar"
        )


class _Handles:
    """TA-Lib's stream handles of one symbol, and ``indicators``, their newest values."""

    def __init__(self, bars: Bars) -> None:
        high, low, close = bars.high, bars.low, bars.close
        self._ema12 = stream.EMA(close, timeperiod=12)
        self._ema26, self.past_ema26 = stream.EMA.open_and_fill(close, timeperiod=26)
        self._ema50 = stream.EMA(close, timeperiod=50)
        self._plus = stream.PLUS_DI(high, low, close, timeperiod=14)
        self._minus = stream.MINUS_DI(high, low, close, timeperiod=14)
        self._adx = stream.ADX(high, low, close, timeperiod=14)
        self._rsi = stream.RSI(close, timeperiod=14)
        self._macd = stream.MACD(close, fastperiod=12, slowperiod=26, signalperiod=9)
        self._atr = stream.ATR(high, low, close, timeperiod=14)
        self._atr_100 = stream.ATR(high, low, close, timeperiod=100)
        self.indicators = Indicators(
            ema12=self._ema12.value,
            ema26=self._ema26.value,
            ema50=self._ema50.value,
            plus=self._plus.value,
            minus=self._minus.value,
            adx=self._adx.value,
            rsi=self._rsi.value,
            histogram=self._macd.value[2],
            atr=self._atr.value,
            atr_100=self._atr_100.value,
        )

    def update(self, high: float, low: float, close: float) -> None:
        """Update every indicator by one closed bar.

        Args:
            high: High of the bar, finite.
            low: Low of the bar, finite.
            close: Close of the bar, finite.
        """
        self.indicators = Indicators(
            ema12=self._ema12.update(close),
            ema26=self._ema26.update(close),
            ema50=self._ema50.update(close),
            plus=self._plus.update(high, low, close),
            minus=self._minus.update(high, low, close),
            adx=self._adx.update(high, low, close),
            rsi=self._rsi.update(close),
            histogram=self._macd.update(close)[2],
            atr=self._atr.update(high, low, close),
            atr_100=self._atr_100.update(high, low, close),
        )


@njit(cache=True, nogil=True)
def windows(out: Floats, columns: Floats, ema26: Floats, end: int, indicators: Indicators) -> None:
    """Fill in the features of one symbol at its newest bar, except the calendar.

    Args:
        out: Result, order of ``OWN_FEATURES``, shape (31,).
        columns: Open, high, low, close, volume (0 for none), shape (5, ``CAPACITY``), filled up to
            ``end``.
        ema26: EMA26 at the same bars, shape (``CAPACITY``,).
        end: Position after the newest bar, at least ``WINDOW_BARS`` or the length of the history.
        indicators: Values at the newest bar.
    """
    opens, highs, lows, closes, volumes = columns[0], columns[1], columns[2], columns[3], columns[4]
    i = end - 1
    close, close_1, atr = closes[i], closes[i - 1], indicators.atr

    path = squares = fallen = volume_20 = signed_20 = bodies = wicks = 0.0
    for k in range(i - 19, i + 1):
        change = closes[k] - closes[k - 1]
        path += abs(change)
        squares += change * change
        if change < 0:
            fallen += change * change
        volume_20 += volumes[k]
        signed_20 += np.sign(change) * volumes[k]
        body, _, wick_balance = candle_shape(opens[k], highs[k], lows[k], closes[k])
        bodies += abs(body)
        wicks += wick_balance
    volume_100 = 0.0
    for k in range(i - 99, i + 1):
        volume_100 += volumes[k]
    true_range = max(highs[i] - lows[i], abs(highs[i] - close_1), abs(lows[i] - close_1))
    body, position, _ = candle_shape(opens[i], highs[i], lows[i], close)

    _put(
        out,
        _TREND,
        trend(
            close=close,
            close_20=closes[i - 20],
            path_20=path,
            ema12=indicators.ema12,
            ema26=indicators.ema26,
            ema26_5=ema26[i - 5],
            ema50=indicators.ema50,
            plus=indicators.plus,
            minus=indicators.minus,
            adx=indicators.adx,
            atr=atr,
        ),
    )
    _put(
        out,
        _MOMENTUM,
        momentum(
            close=close,
            close_1=close_1,
            close_5=closes[i - 5],
            close_20=closes[i - 20],
            close_60=closes[i - 60],
            rsi=indicators.rsi,
            histogram=indicators.histogram,
            position_14=position_of_newest(highs, lows, close, i, 14),
            position_50=position_of_newest(highs, lows, close, i, 50),
            atr=atr,
        ),
    )
    _put(
        out,
        _VOLATILITY,
        volatility(
            atr=atr,
            atr_100=indicators.atr_100,
            true_range=true_range,
            deviation_10=newest_deviation(closes, i, 10),
            deviation_60=newest_deviation(closes, i, 60),
            fallen=fallen,
            squares=squares,
            autocorrelation=newest_autocorrelation(closes, i, 50),
        ),
    )
    _put(
        out,
        _VOLUME,
        volume(
            traded=volumes[i],
            mean_20=volume_20 / 20,
            mean_100=volume_100 / 100,
            signed_20=signed_20,
            total_20=volume_20,
        ),
    )
    _put(
        out,
        _CANDLE,
        candle(
            body=body,
            position=position,
            body_20=bodies / 20,
            wicks_20=wicks / 20,
            opened=opens[i],
            close_1=close_1,
            atr=atr,
        ),
    )


@register_jitable
def _put(out: Floats, first: int, group: Any) -> None:
    """Write the features of a group into ``out`` from position ``first`` on."""
    for k in range(len(group)):
        out[first + k] = group[k]


@register_jitable
def newest_deviation(closes: Floats, newest: int, period: int) -> float:
    """Return the standard deviation of the newest changes of the close.

    Args:
        closes: Closes, shape (n,).
        newest: Position of the newest bar.
        period: Number of changes.
    """
    total = squares = 0.0
    for k in range(newest - period + 1, newest + 1):
        change = closes[k] - closes[k - 1]
        total += change
        squares += change * change
    return window_deviation(total, squares, period)


@register_jitable
def newest_autocorrelation(closes: Floats, newest: int, period: int) -> float:
    """Return the sum of lag-1 products of the newest changes over that of squares; 0 if none moved.

    Args:
        closes: Closes, shape (n,).
        newest: Position of the newest bar.
        period: Number of changes; they have ``period`` − 1 products.
    """
    products = squares = 0.0
    for k in range(newest - period + 2, newest + 1):
        change = closes[k] - closes[k - 1]
        products += change * (closes[k - 1] - closes[k - 2])
        squares += change * change
    return divide(products, squares, 0.0)


@register_jitable
def position_of_newest(
    highs: Floats, lows: Floats, close: float, newest: int, period: int
) -> float:
    """Return the position of the newest close in the range of the newest bars, −0.5 to 0.5.

    Args:
        highs: Highs, shape (n,).
        lows: Lows, shape (n,).
        close: Newest close.
        newest: Position of the newest bar.
        period: Bars of the range.
    """
    highest, lowest = highs[newest], lows[newest]
    for k in range(newest - period + 1, newest):
        highest, lowest = max(highest, highs[k]), min(lowest, lows[k])
    return locate(close, lowest, highest)


class FeatureStream:
    """The features of every symbol of a universe at the newest bar, and across it.

    As in the batch, a symbol without a bar at that time does not count in ranks and regime.
    """

    def __init__(self, bars: Mapping[str, Bars]) -> None:
        self._symbols = {
            symbol: SymbolStream(history) for symbol, history in bars.items() if len(history)
        }

    def follow(self, bars: Mapping[str, Bars]) -> None:
        """Add the bars that are new (see ``SymbolStream.follow``), and symbols that are new."""
        for symbol, history in bars.items():
            followed = self._symbols.get(symbol)
            if followed is not None:
                followed.follow(history)
            elif len(history):
                self._symbols[symbol] = SymbolStream(history)

    def newest(self, symbol: str) -> np.datetime64:
        """Return the open time of the newest bar of ``symbol``, UTC."""
        return self._symbols[symbol].newest

    def at(self, symbol: str, side: int) -> Floats:
        """Return the features of a signal at the newest bar, order of ``FEATURES``, shape (38,).

        Args:
            symbol: A symbol of the universe.
            side: +1 buys, −1 sells; signed features are seen from this side.

        Raises:
            KeyError: If the symbol has no bars.
        """
        asked = self._symbols[symbol]
        panel = [other.values for other in self._symbols.values() if other.newest == asked.newest]
        row = np.empty(len(FEATURES))
        row[: len(OWN_FEATURES)] = asked.values
        across(row[len(OWN_FEATURES) : -1], asked.values, np.array(panel))
        row[-1] = 1.0
        if side < 0:
            row[SIGNED] = -row[SIGNED]
        return row


@njit(cache=True, nogil=True)
def across(out: Floats, own: Floats, panel: Floats) -> None:
    """Fill in the features across symbols.

    Args:
        out: Result, order of ``FEATURES``, shape (6,).
        own: Features of the symbol itself, order of ``OWN_FEATURES``, shape (31,).
        panel: The same of every symbol with a bar at this time, itself included, shape (s, 31); NaN
            does not count.
    """
    for rank, source in _RANKS:
        out[rank] = rank_among(own[source], panel[:, source])
    for mean, source in _MEANS:
        out[mean] = known_mean(
            np.sign(panel[:, source]) / 2 if mean == _BREADTH else panel[:, source]
        )


@register_jitable
def known_mean(values: Floats) -> float:
    """Return the mean of the finite values of an array of shape (s,); 0 if there is none."""
    total, known = 0.0, 0
    for value in values:
        if np.isfinite(value):
            total += value
            known += 1
    return total / max(known, 1)
