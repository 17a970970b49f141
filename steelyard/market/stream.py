"""Features bar by bar: those of ``features``, at the newest bar only, in microseconds.

TA-Lib's stream handles update the indicators, one compiled pass over the last bars gives the
windows, and ``formulas`` turns both into features. Every value equals that of the batch to 1e-9; a
test walks real bars and compares them all. A symbol that is not warmed up yet, or whose history was
rewritten, is computed by the batch functions themselves.
"""

from array import array
from collections.abc import Mapping
from math import isfinite, isinf
from typing import Any, NamedTuple, cast

import numpy as np
from talib import stream

from steelyard.compiled import compiled, shared
from steelyard.errors import FixData
from steelyard.market.bars import Bars, Floats
from steelyard.market.cross_section import RANK_SOURCES, REGIME_SOURCES
from steelyard.market.features import FEATURES, at_every_bar
from steelyard.market.formulas import (
    Calendar,
    Candle,
    Ints,
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
CAPACITY = 512
"""Bars after which the last ``WINDOW_BARS`` move back to the start of the buffer."""
MINUTE = 60_000_000_000
"""Nanoseconds of a minute."""
_TREND, _MOMENTUM, _VOLATILITY, _VOLUME, _CANDLE, _CALENDAR = (
    OWN_FEATURES.index(group._fields[0])
    for group in (Trend, Momentum, Volatility, Volume, Candle, Calendar)
)
_ACROSS = tuple(feature.name for feature in FEATURES)[len(OWN_FEATURES) : -1]
_COMPARED = tuple(dict.fromkeys((*RANK_SOURCES.values(), *REGIME_SOURCES.values())))
_SOURCES = np.array([OWN_FEATURES.index(name) for name in _COMPARED])
_RANKS = np.array(
    [(_ACROSS.index(rank), _COMPARED.index(source)) for rank, source in RANK_SOURCES.items()]
)
_MEANS = np.array(
    [(_ACROSS.index(mean), _COMPARED.index(source)) for mean, source in REGIME_SOURCES.items()]
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


NEWS_COLUMNS = 7 + len(Indicators._fields)
"""Columns of ``take_in``'s bars."""


class Panel(NamedTuple):
    """State of every symbol, one row each, in the order in which they joined.

    Attributes:
        values: Features at the newest bar, order of ``OWN_FEATURES``, shape (s, 31).
        compared: The five of them that are compared across symbols, side by side: a thousand
            symbols fit into the processor's cache. Shape (s, 5).
        columns: Last bars: open, high, low, close, volume (0 for none), shape (s, 5,
            ``CAPACITY``), filled up to ``ends``.
        ema26: EMA26 at the same bars, shape (s, ``CAPACITY``).
        ends: Position after the newest bar, shape (s,).
        stamps: Open time of the newest bar, nanoseconds since 1970 UTC, shape (s,).
    """

    values: Floats
    compared: Floats
    columns: Floats
    ema26: Floats
    ends: Ints
    stamps: Ints

    @classmethod
    def of_size(cls, symbols: int) -> "Panel":
        """Return a panel for this many symbols."""
        return cls(
            np.full((symbols, len(OWN_FEATURES)), np.nan),
            np.full((symbols, len(_COMPARED)), np.nan),
            np.empty((symbols, 5, CAPACITY)),
            np.empty((symbols, CAPACITY)),
            np.zeros(symbols, dtype=np.int64),
            np.zeros(symbols, dtype=np.int64),
        )

    def with_room(self) -> "Panel":
        """Return a panel of twice the size with the same symbols."""
        larger = Panel.of_size(2 * len(self.ends) + 1)
        for new, old in zip(larger, self, strict=True):
            new[: len(old)] = old
        return larger


class FeatureStream:
    """The features of every symbol of a universe at the newest bar, and across it.

    As in the batch, a symbol without a bar at that time does not count in ranks and regime. The new
    bars of all symbols are taken in by one compiled pass.

    Args:
        bars: History of each symbol so far, oldest first; the longer, the closer the indicators are
            to those of the whole history. A symbol without bars joins with its first.

    Raises:
        FixData: If a price is not finite, here and in ``follow``.
    """

    def __init__(self, bars: Mapping[str, Bars]) -> None:
        self._rows: dict[str, int] = {}
        self._handles: list[_Handles | None] = []
        self._histories: list[Bars] = []
        self._newest: list[tuple[int, float]] = []
        self._panel = Panel.of_size(len(bars))
        take_in(self._panel, np.empty((0, NEWS_COLUMNS)))  # compiled now: no bar waits for it
        self.follow(bars)

    def follow(self, bars: Mapping[str, Bars]) -> None:
        """Add the bars that are new, and symbols that are new.

        A symbol's bars are its whole history, or its last bars back to the newest one known. If
        that bar is missing or has another close, the history was rewritten and is read anew.
        """
        news = array("d")
        try:
            for symbol, history in bars.items():
                row = self._rows.get(symbol)
                if row is None:
                    if len(history):
                        self._add(symbol, history)
                elif self._histories[row] is not history:
                    self._follow(row, history, news)
                    self._histories[row] = history
        finally:  # what the indicators have seen, the windows must see, too
            if news:
                take_in(self._panel, np.array(news).reshape(-1, NEWS_COLUMNS))

    def newest(self, symbol: str) -> int:
        """Return the open time of the newest bar of ``symbol``, nanoseconds since 1970 UTC."""
        return self._newest[self._rows[symbol]][0]

    def at(self, symbol: str, side: int) -> Floats:
        """Return the features of a signal at the newest bar, order of ``FEATURES``, shape (38,).

        Args:
            symbol: A symbol of the universe.
            side: +1 buys, −1 sells; signed features are seen from this side.

        Raises:
            KeyError: If the symbol has no bars.
        """
        asked = self._rows[symbol]
        row = np.empty(len(FEATURES))
        row[: len(OWN_FEATURES)] = self._panel.values[asked]
        across(row[len(OWN_FEATURES) : -1], self._panel, asked, len(self._rows))
        row[-1] = 1.0
        if side < 0:
            row[SIGNED] = -row[SIGNED]
        return row

    def _add(self, symbol: str, bars: Bars) -> None:
        row = len(self._rows)
        if row == len(self._panel.ends):
            self._panel = self._panel.with_room()
        handles, newest = self._restart(row, bars)
        self._handles.append(handles)
        self._histories.append(bars)
        self._newest.append(newest)
        self._rows[symbol] = row

    def _follow(self, row: int, bars: Bars, news: "array[float]") -> None:
        last, (newest, close) = len(bars) - 1, self._newest[row]
        if last < 0 or (opened := _opened(bars, last)) == newest:
            return
        first = last
        if first == 0 or _opened(bars, first - 1) != newest:
            first = int(np.searchsorted(bars.timestamp, np.datetime64(newest, "ns"), side="right"))
        handles = self._handles[row]
        if (
            handles is None
            or last - first >= WINDOW_BARS
            or not 0 < first <= last
            or (first != last and _opened(bars, first - 1) != newest)
            or bars.close.item(first - 1) != close
        ):
            self._handles[row], self._newest[row] = self._restart(row, bars)
            return
        fresh = [_finite(bars, at) for at in range(first, last + 1)]
        size = bars.bar_size.value
        for at, prices in enumerate(fresh, first):
            indicators = handles.update(prices[1], prices[2], prices[3])
            news.extend((row, (_opened(bars, at) + size) // MINUTE, *prices, *indicators))
        self._panel.stamps[row] = opened
        self._newest[row] = opened, prices[3]

    def _restart(self, row: int, bars: Bars) -> tuple["_Handles | None", tuple[int, float]]:
        """Read a history anew; return its handles, None before the warm-up, and its newest bar."""
        _require_finite(bars)
        panel, handles = self._panel, None
        newest = _opened(bars, -1)
        if len(bars) <= WARMUP:
            features = at_every_bar(bars)
            panel.values[row] = [features[name][-1] for name in OWN_FEATURES]
            panel.compared[row] = panel.values[row, _SOURCES]
        else:
            handles, recent = _Handles(bars), bars[-WINDOW_BARS:]
            end = len(recent)
            columns = (recent.open, recent.high, recent.low, recent.close, recent.volume)
            panel.columns[row, :, :end] = np.nan_to_num(columns, nan=0.0)
            panel.ema26[row, :end] = handles.past_ema26[-WINDOW_BARS:]
            panel.ends[row] = end
            minutes = (newest + bars.bar_size.value) // MINUTE
            compute(panel, row, minutes, handles.first)
        panel.stamps[row] = newest
        return handles, (newest, bars.close.item(-1))


def _opened(bars: Bars, at: int) -> int:
    """Return the open time of a bar, nanoseconds since 1970 UTC."""
    return cast(int, bars.timestamp.item(at))


def _finite(bars: Bars, at: int) -> tuple[float, float, float, float, float]:
    """Return open, high, low, close and volume of a bar; refuse them if one is not finite."""
    opened, high, low = bars.open.item(at), bars.high.item(at), bars.low.item(at)
    close, volume = bars.close.item(at), bars.volume.item(at)
    if not isfinite(opened + high + low + close) or isinf(volume):
        _require_finite(bars[at : at + 1])
    return opened, high, low, close, volume


def _require_finite(bars: Bars) -> None:
    """Refuse bad numbers before any state changes: the indicators would never recover."""
    prices = bars.open + bars.high + bars.low + bars.close
    if not np.isfinite(prices).all() or np.isinf(bars.volume).any():
        raise FixData(
            f"{bars.symbol}: a price or volume up to {bars.timestamp[-1]} is not a finite number; "
            "correct or drop the bar"
        )


class _Handles:
    """TA-Lib's stream handles of one symbol."""

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
        self.first = Indicators(
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

    def update(self, high: float, low: float, close: float) -> Indicators:
        """Return the indicators after one more closed bar.

        Args:
            high: High of the bar, finite.
            low: Low of the bar, finite.
            close: Close of the bar, finite.
        """
        return Indicators(  # in their order: names would cost a fifth of a bar
            self._ema12.update(close),
            self._ema26.update(close),
            self._ema50.update(close),
            self._plus.update(high, low, close),
            self._minus.update(high, low, close),
            self._adx.update(high, low, close),
            self._rsi.update(close),
            self._macd.update(close)[2],
            self._atr.update(high, low, close),
            self._atr_100.update(high, low, close),
        )


@compiled
def take_in(panel: Panel, news: Floats) -> None:
    """Append new bars and compute the features at each.

    Args:
        panel: State, updated.
        news: One bar each, in order: row of its symbol, close time in minutes since 1970 UTC, open,
            high, low, close, volume (NaN for none), ``Indicators``; shape (n, 17).
    """
    for new in news:
        row = int(new[0])
        end = panel.ends[row]
        columns, ema26 = panel.columns[row], panel.ema26[row]
        if end == CAPACITY:
            columns[:, :WINDOW_BARS] = columns[:, CAPACITY - WINDOW_BARS :]
            ema26[:WINDOW_BARS] = ema26[CAPACITY - WINDOW_BARS :]
            end = WINDOW_BARS
        for k in range(5):
            columns[k, end] = new[2 + k]
        if np.isnan(columns[4, end]):
            columns[4, end] = 0.0
        ema26[end] = new[8]
        panel.ends[row] = end + 1
        indicators = Indicators(
            new[7], new[8], new[9], new[10], new[11], new[12], new[13], new[14], new[15], new[16]
        )
        compute(panel, row, int(new[1]), indicators)


@compiled
def compute(panel: Panel, row: int, minutes: int, indicators: Indicators) -> None:
    """Compute the features of one symbol at its newest bar.

    Args:
        panel: State; the symbol's values are updated.
        row: Row of the symbol.
        minutes: Close time of the bar, minutes since 1970 UTC.
        indicators: Values at the bar.
    """
    out = panel.values[row]
    windows(out, panel.columns[row], panel.ema26[row], panel.ends[row], indicators)
    _put(out, _CALENDAR, calendar(minutes))
    for k in range(len(_SOURCES)):
        panel.compared[row, k] = out[_SOURCES[k]]


@compiled
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


@shared
def _put(out: Floats, first: int, group: Any) -> None:
    """Write the features of a group into ``out`` from position ``first`` on."""
    for k in range(len(group)):
        out[first + k] = group[k]


@shared
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


@shared
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


@shared
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


@compiled
def across(out: Floats, panel: Panel, asked: int, symbols: int) -> None:
    """Fill in the features across symbols.

    Args:
        out: Result, order of ``FEATURES``, shape (6,).
        panel: State of the universe; NaN does not count.
        asked: Row of the symbol.
        symbols: Rows that are filled.
    """
    stamps = panel.stamps[:symbols]
    present = panel.compared[np.flatnonzero(stamps == stamps[asked])]
    for rank, source in _RANKS:
        out[rank] = rank_among(panel.compared[asked, source], present[:, source])
    for mean, source in _MEANS:
        values = present[:, source]
        out[mean] = known_mean(np.sign(values) / 2 if mean == _BREADTH else values)


@shared
def known_mean(values: Floats) -> float:
    """Return the mean of the finite values of an array of shape (s,); 0 if there is none."""
    total, known = 0.0, 0
    for value in values:
        if np.isfinite(value):
            total += value
            known += 1
    return total / max(known, 1)
