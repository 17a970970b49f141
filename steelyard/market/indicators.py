"""Indicators through TA-Lib: each value is known at the close of its own bar and depends on no later one.

Every function takes arrays of shape (n,), oldest first, and returns arrays of shape (n,), NaN while it warms up. An input
shorter than its warm-up gives NaN throughout. Formulas are TA-Lib's: Wilder, "New Concepts in Technical Trading Systems"
(1978) for RSI, ATR and ADX; Appel for MACD.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
import talib
from numba import njit
from numpy.typing import NDArray

from steelyard.market.bars import Bars, Floats


def ema(values: Floats, period: int) -> Floats:
    """Exponential moving average, in the unit of ``values``; known from bar ``period`` on."""
    return np.asarray(talib.EMA(values, timeperiod=period))


def sma(values: Floats, period: int) -> Floats:
    """Simple moving average, in the unit of ``values``."""
    return np.asarray(talib.SMA(values, timeperiod=period))


def rsi(close: Floats, period: int = 14) -> Floats:
    """Relative strength index, 0 to 100."""
    return np.asarray(talib.RSI(close, timeperiod=period))


def macd_histogram(close: Floats) -> Floats:
    """MACD(12, 26) minus its 9-bar signal line, in price units."""
    return np.asarray(talib.MACD(close, fastperiod=12, slowperiod=26, signalperiod=9)[2])


def atr(bars: Bars, period: int = 14) -> Floats:
    """Average true range, in price units."""
    return np.asarray(talib.ATR(bars.high, bars.low, bars.close, timeperiod=period))


def adx(bars: Bars, period: int = 14) -> Floats:
    """Average directional index, 0 to 100: the strength of a trend, not its direction."""
    return np.asarray(talib.ADX(bars.high, bars.low, bars.close, timeperiod=period))


def directional_difference(bars: Bars, period: int = 14) -> Floats:
    """+DI minus −DI over their sum, −1 to 1; 0 where neither moves."""
    plus = np.asarray(talib.PLUS_DI(bars.high, bars.low, bars.close, timeperiod=period))
    minus = np.asarray(talib.MINUS_DI(bars.high, bars.low, bars.close, timeperiod=period))
    return ratio(plus - minus, plus + minus, 0.0)


def relative_volume(bars: Bars, period: int = 20) -> Floats:
    """Volume over its own moving average; 1 throughout where the market has no volume."""
    volume = known_volume(bars)
    return ratio(volume, sma(volume, period), 1.0)


def known_volume(bars: Bars) -> Floats:
    """Volume with NaN as 0, so that an FX market (no volume at all) reads like an index (volume 0)."""
    return np.nan_to_num(bars.volume, nan=0.0)


def filling(kernel: Callable[..., None]) -> Callable[..., Floats]:
    """Compile ``kernel(out, first, …)`` into ``f(first, …)``, which returns an ``out`` of NaN, as long as ``first``, filled.

    numpy allocates the result: on a million bars its memory takes half the time of what numba allocates.
    """
    compiled = njit(cache=True, nogil=True)(kernel)

    @wraps(kernel)
    def run(first: NDArray[Any], *others: Any) -> Floats:
        out = np.full(len(first), np.nan)
        compiled(out, first, *others)
        return out

    return run


@filling
def ratio(out: Floats, numerator: Floats, denominator: Floats, neutral: float) -> None:
    """Return the quotient, ``neutral`` where the denominator is 0, NaN where either is NaN."""
    for i in range(len(out)):
        out[i] = numerator[i] / denominator[i] if denominator[i] != 0 else neutral
