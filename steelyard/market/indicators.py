"""Indicators through TA-Lib: each value is known at the close of its bar, and ignores later ones.

Every function takes arrays of shape (n,), oldest first, and returns arrays of shape (n,), NaN
during the warm-up. An input shorter than its warm-up gives NaN throughout. Formulas are TA-Lib's:
Wilder, "New Concepts in Technical Trading Systems" (1978) for RSI, ATR and ADX; Appel for MACD.
"""

import numpy as np
import talib

from steelyard.market.bars import Bars, Floats
from steelyard.market.formulas import direction, ratio


def ema(values: Floats, period: int) -> Floats:
    """Return the exponential moving average, in the unit of ``values``.

    Args:
        values: Shape (n,).
        period: Bars; the result, shape (n,), is NaN at the first ``period`` − 1.
    """
    return np.asarray(talib.EMA(values, timeperiod=period))


def sma(values: Floats, period: int) -> Floats:
    """Return the simple moving average, in the unit of ``values``.

    Args:
        values: Shape (n,).
        period: Bars; the result, shape (n,), is NaN at the first ``period`` − 1.
    """
    return np.asarray(talib.SMA(values, timeperiod=period))


def rsi(close: Floats, period: int = 14) -> Floats:
    """Return the relative strength index, 0 to 100.

    Args:
        close: Closes, shape (n,).
        period: Bars of Wilder's average.
    """
    return np.asarray(talib.RSI(close, timeperiod=period))


def macd_histogram(close: Floats) -> Floats:
    """Return MACD(12, 26) minus its 9-bar signal line, price units, from closes of shape (n,)."""
    return np.asarray(talib.MACD(close, fastperiod=12, slowperiod=26, signalperiod=9)[2])


def atr(bars: Bars, period: int = 14) -> Floats:
    """Return the average true range, in price units.

    Args:
        bars: Bars of one symbol.
        period: Bars of Wilder's average.
    """
    return np.asarray(talib.ATR(bars.high, bars.low, bars.close, timeperiod=period))


def adx(bars: Bars, period: int = 14) -> Floats:
    """Return the average directional index, 0 to 100: the strength of a trend, not its direction.

    Args:
        bars: Bars of one symbol.
        period: Bars of Wilder's average.
    """
    return np.asarray(talib.ADX(bars.high, bars.low, bars.close, timeperiod=period))


def directional_indicators(bars: Bars, period: int = 14) -> tuple[Floats, Floats]:
    """Return +DI and −DI, 0 to 100.

    Args:
        bars: Bars of one symbol.
        period: Bars of Wilder's average.
    """
    plus = talib.PLUS_DI(bars.high, bars.low, bars.close, timeperiod=period)
    minus = talib.MINUS_DI(bars.high, bars.low, bars.close, timeperiod=period)
    return np.asarray(plus), np.asarray(minus)


def directional_difference(bars: Bars, period: int = 14) -> Floats:
    """Return +DI minus −DI over their sum, −1 to 1; 0 if neither moves.

    Args:
        bars: Bars of one symbol.
        period: Bars of Wilder's average.
    """
    plus, minus = directional_indicators(bars, period)
    return np.asarray(direction(plus, minus))


def relative_volume(bars: Bars, period: int = 20) -> Floats:
    """Return volume over its own moving average; 1 throughout in a market without volume.

    Args:
        bars: Bars of one symbol.
        period: Bars of the average.
    """
    volume = known_volume(bars)
    return ratio(volume, sma(volume, period), 1.0)


def known_volume(bars: Bars) -> Floats:
    """Return the volume with NaN as 0, so that an FX market (NaN) reads like an index (0)."""
    return np.nan_to_num(bars.volume, nan=0.0)
