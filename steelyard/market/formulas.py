"""Formulas of the features, each written once.

Python callers (``features``) pass arrays of shape (n,), oldest bar first, and get arrays of shape
(n,). Compiled kernels (``stream``) pass numbers and get numbers: numba inlines the same function.
Prices enter as ratios to the average true range or to each other, so multiplying all prices by a
constant changes no feature.

A name ending in a number (``close_20``) is the value that many bars earlier, or a statistic over
that many bars.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, NamedTuple

import numpy as np
from numba.extending import overload
from numpy.typing import NDArray

from steelyard.compiled import compiled, shared
from steelyard.market.bars import Floats

Ints = NDArray[np.int64]
Values = Any
"""An array of shape (n,) from Python callers, a number in a compiled kernel."""

MINUTES_PER_DAY = 1440
_DAY_ANGLES = 2 * np.pi * np.arange(MINUTES_PER_DAY) / MINUTES_PER_DAY
_WEEK_ANGLES = 2 * np.pi * np.arange(7) / 7
_DAY_SINES, _DAY_COSINES = np.sin(_DAY_ANGLES), np.cos(_DAY_ANGLES)
_WEEK_SINES, _WEEK_COSINES = np.sin(_WEEK_ANGLES), np.cos(_WEEK_ANGLES)


def array_kernel(
    kernel: Callable[..., None], rule: Callable[..., float] | None = None
) -> Callable[..., Floats]:
    """Compile ``kernel(out, first, …)`` into ``f(first, …)``, which returns a new array ``out``.

    numpy allocates ``out``: on a million bars this takes half the time of an allocation by numba.

    Args:
        kernel: Writes into ``out``, shape (n,), NaN where it writes nothing; ``first`` has shape
            (n,).
        rule: The same for one element, a ``shared`` function of numbers; compiled callers
            of ``f`` get this.
    """
    fill = compiled(kernel)

    @wraps(kernel)
    def run(first: NDArray[Any], *others: Any) -> Floats:
        out = np.full(len(first), np.nan)
        fill(out, first, *others)
        return out

    if rule is not None:
        overload(run, strict=False)(lambda *_: rule)
    return run


def applies(rule: Callable[..., float]) -> Callable[[Callable[..., None]], Callable[..., Floats]]:
    """Return a decorator: ``array_kernel`` for a kernel that applies ``rule`` to each element."""
    return lambda kernel: array_kernel(kernel, rule)


@shared
def divide(numerator: float, denominator: float, neutral: float) -> float:
    """Return the quotient of two numbers.

    Args:
        numerator: NaN gives NaN, unless the denominator is 0.
        denominator: NaN gives NaN.
        neutral: Result if the denominator is 0.
    """
    return numerator / denominator if denominator != 0 else neutral


@applies(divide)
def ratio(out: Floats, numerator: Floats, denominator: Floats, neutral: float) -> None:
    """Return the quotient of each bar, shape (n,).

    Args:
        out: Result; callers do not pass it.
        numerator: Shape (n,); NaN gives NaN, unless the denominator is 0.
        denominator: Shape (n,); NaN gives NaN.
        neutral: Result if the denominator is 0.
    """
    for i in range(len(out)):
        out[i] = divide(numerator[i], denominator[i], neutral)


@shared
def divide_change(current: float, earlier: float, scale: float) -> float:
    """Return the change in units of ``scale``.

    Args:
        current: Price at this bar.
        earlier: Price at an earlier bar; NaN (not enough bars) gives NaN.
        scale: Unit, for example the ATR; 0 gives 0, NaN gives NaN.
    """
    if np.isnan(earlier):
        return np.nan
    return (current - earlier) / scale if scale != 0 else 0.0


@applies(divide_change)
def scaled_change(out: Floats, current: Floats, earlier: Floats, scale: Floats) -> None:
    """Return the change at each bar in units of ``scale``, shape (n,).

    Args:
        out: Result; callers do not pass it.
        current: Price at each bar, shape (n,).
        earlier: Price at an earlier bar, shape (n,); NaN (not enough bars) gives NaN.
        scale: Unit, for example the ATR, shape (n,); 0 gives 0, NaN gives NaN.
    """
    for i in range(len(out)):
        out[i] = divide_change(current[i], earlier[i], scale[i])


@shared
def bounded_log(numerator: float, denominator: float) -> float:
    """Return the logarithm of the quotient, bounded to ±5: a bar without trades stays finite.

    Args:
        numerator: Volume, 0 or more; 0 gives −5.
        denominator: Volume, 0 or more; 0 gives 0.
    """
    if denominator == 0:
        return 0.0
    if numerator == 0:
        return -5.0
    return float(min(max(np.log(numerator / denominator), -5.0), 5.0))


@applies(bounded_log)
def log_ratio(out: Floats, numerator: Floats, denominator: Floats) -> None:
    """Return the logarithm of the quotient at each bar, bounded to ±5, shape (n,).

    Args:
        out: Result; callers do not pass it.
        numerator: Volume, 0 or more, shape (n,); 0 gives −5.
        denominator: Volume, 0 or more, shape (n,); 0 gives 0.
    """
    for i in range(len(out)):
        out[i] = bounded_log(numerator[i], denominator[i])


@shared
def locate(price: float, lowest: float, highest: float) -> float:
    """Return the position of a price in a range: −0.5 bottom, 0.5 top, 0 if it is empty.

    Args:
        price: Price, usually the close.
        lowest: Bottom of the range, price units; NaN gives NaN.
        highest: Top of the range; NaN gives NaN.
    """
    height = highest - lowest
    return (price - lowest) / height - 0.5 if height != 0 else 0.0


@applies(locate)
def range_position(out: Floats, price: Floats, lowest: Floats, highest: Floats) -> None:
    """Return the position of each price in its range, −0.5 to 0.5, shape (n,); 0 if it is empty.

    Args:
        out: Result; callers do not pass it.
        price: Price, usually the close, shape (n,).
        lowest: Bottom of the range, shape (n,); NaN gives NaN.
        highest: Top of the range, shape (n,); NaN gives NaN.
    """
    for i in range(len(out)):
        out[i] = locate(price[i], lowest[i], highest[i])


@shared
def window_deviation(total: float, squares: float, period: int) -> float:
    """Return the standard deviation of a window (its own, not that of a sample).

    Args:
        total: Sum of the values in the window.
        squares: Sum of their squares.
        period: Number of values in the window.
    """
    variance = squares / period - (total / period) ** 2
    # Differences of equal squares leave rounding errors: a variance below them is 0.
    return np.sqrt(variance) if variance > 1e-10 * squares / period else 0.0


@shared
def candle_shape(
    opened: float, high: float, low: float, close: float
) -> tuple[float, float, float]:
    """Return body, position of the close and lower minus upper wick over the height, −1 to 1.

    All are 0 if the height is 0.

    Args:
        opened: Open of one bar.
        high: High.
        low: Low.
        close: Close.
    """
    height = high - low
    if height == 0:
        return 0.0, 0.0, 0.0
    body = (close - opened) / height
    position = (2 * close - high - low) / height
    wicks = (min(opened, close) - low - high + max(opened, close)) / height
    return body, position, wicks


@shared
def rank_among(value: float, values: Floats) -> float:
    """Return the share of others below minus above, halved: −0.5 lowest, 0.5 highest, 0 if alone.

    Args:
        value: Value to rank, one of ``values``.
        values: Values of all symbols, shape (s,); NaN does not count.
    """
    below = above = known = 0
    for other in values:
        below += other < value
        above += other > value
        known += np.isfinite(other)
    return (below - above) / (2 * (known - 1)) if known > 1 else 0.0


@shared
def direction(plus: Values, minus: Values) -> Values:
    """Return +DI minus −DI over their sum, −1 to 1; 0 if both are 0.

    Args:
        plus: +DI, 0 to 100, shape (n,) or a number.
        minus: −DI, 0 to 100, shape (n,) or a number.
    """
    return ratio(plus - minus, plus + minus, 0.0)


class Trend(NamedTuple):
    """The features of group "trend", shape (n,) each or numbers."""

    ema_spread: Values
    over_ema50: Values
    ema26_slope: Values
    di_difference: Values
    adx: Values
    efficiency20: Values


@shared
def trend(
    close: Values,
    close_20: Values,
    path_20: Values,
    ema12: Values,
    ema26: Values,
    ema26_5: Values,
    ema50: Values,
    plus: Values,
    minus: Values,
    adx: Values,
    atr: Values,
) -> Trend:
    """Return the trend features; all arguments have shape (n,) or are numbers.

    Args:
        close: Close.
        close_20: Close 20 bars before.
        path_20: Sum of the absolute changes of the last 20 bars; efficiency is Kaufman's ratio,
            "Trading Systems and Methods".
        ema12: EMA over 12 bars.
        ema26: EMA over 26 bars.
        ema26_5: EMA over 26 bars, 5 bars before.
        ema50: EMA over 50 bars.
        plus: +DI, 0 to 100.
        minus: −DI, 0 to 100.
        adx: ADX, 0 to 100.
        atr: ATR over 14 bars.
    """
    return Trend(
        ema_spread=ratio(ema12 - ema26, atr, 0.0),
        over_ema50=ratio(close - ema50, atr, 0.0),
        ema26_slope=ratio(ema26 - ema26_5, atr, 0.0),
        di_difference=direction(plus, minus),
        adx=adx / 100,
        efficiency20=scaled_change(close, close_20, path_20),
    )


class Momentum(NamedTuple):
    """The features of group "momentum", shape (n,) each or numbers."""

    rsi: Values
    macd_histogram: Values
    change1: Values
    change5: Values
    change20: Values
    change60: Values
    range_place14: Values
    range_place50: Values


@shared
def momentum(
    close: Values,
    close_1: Values,
    close_5: Values,
    close_20: Values,
    close_60: Values,
    rsi: Values,
    histogram: Values,
    position_14: Values,
    position_50: Values,
    atr: Values,
) -> Momentum:
    """Return the momentum features; all arguments have shape (n,) or are numbers.

    Args:
        close: Close.
        close_1: Close 1 bar before.
        close_5: Close 5 bars before.
        close_20: Close 20 bars before.
        close_60: Close 60 bars before.
        rsi: RSI over 14 bars, 0 to 100.
        histogram: MACD histogram, price units.
        position_14: ``range_position`` of the close over 14 bars.
        position_50: ``range_position`` of the close over 50 bars.
        atr: ATR over 14 bars.
    """
    return Momentum(
        rsi=(rsi - 50) / 50,
        macd_histogram=ratio(histogram, atr, 0.0),
        change1=scaled_change(close, close_1, atr),
        change5=scaled_change(close, close_5, atr),
        change20=scaled_change(close, close_20, atr),
        change60=scaled_change(close, close_60, atr),
        range_place14=position_14,
        range_place50=position_50,
    )


class Volatility(NamedTuple):
    """The features of group "volatility", shape (n,) each or numbers."""

    atr_ratio: Values
    true_range: Values
    deviation_ratio: Values
    down_share: Values
    autocorrelation: Values


@shared
def volatility(
    atr: Values,
    atr_100: Values,
    true_range: Values,
    deviation_10: Values,
    deviation_60: Values,
    fallen: Values,
    squares: Values,
    autocorrelation: Values,
) -> Volatility:
    """Return the volatility features; all arguments have shape (n,) or are numbers.

    Args:
        atr: ATR over 14 bars.
        atr_100: ATR over 100 bars.
        true_range: True range of the bar.
        deviation_10: Standard deviation of the last 10 changes of the close.
        deviation_60: Standard deviation of the last 60 changes.
        fallen: Sum or mean of the squared changes of the last 20 bars, falling bars only.
        squares: The same of all 20 bars.
        autocorrelation: Lag-1 autocorrelation of the last 50 changes.
    """
    return Volatility(
        atr_ratio=ratio(atr, atr_100, 1.0),
        true_range=ratio(true_range, atr, 1.0),
        deviation_ratio=ratio(deviation_10, deviation_60, 1.0),
        down_share=0.5 - ratio(fallen, squares, 0.5),
        autocorrelation=autocorrelation,
    )


class Volume(NamedTuple):
    """The features of group "volume", shape (n,) each or numbers; 0 in a market without volume."""

    volume_now: Values
    volume_trend: Values
    volume_pressure: Values


@shared
def volume(
    traded: Values, mean_20: Values, mean_100: Values, signed_20: Values, total_20: Values
) -> Volume:
    """Return the volume features; all arguments have shape (n,) or are numbers.

    Args:
        traded: Volume of the bar, 0 if unknown.
        mean_20: Mean volume of the last 20 bars.
        mean_100: Mean volume of the last 100 bars.
        signed_20: Sum or mean of the volume of 20 bars, negative for bars that fell.
        total_20: Sum or mean of the volume of the same 20 bars.
    """
    return Volume(
        volume_now=log_ratio(traded, mean_20),
        volume_trend=log_ratio(mean_20, mean_100),
        volume_pressure=ratio(signed_20, total_20, 0.0),
    )


class Candle(NamedTuple):
    """The features of group "candle", shape (n,) each or numbers."""

    body: Values
    close_place: Values
    body_share20: Values
    wick_balance20: Values
    gap: Values


@shared
def candle(
    body: Values,
    position: Values,
    body_20: Values,
    wicks_20: Values,
    opened: Values,
    close_1: Values,
    atr: Values,
) -> Candle:
    """Return the candle features; all arguments have shape (n,) or are numbers.

    Args:
        body: Body of the bar, as in ``candle_shape``.
        position: Position of its close, as in ``candle_shape``.
        body_20: Mean absolute body of the last 20 bars.
        wicks_20: Mean of lower minus upper wick of the last 20 bars.
        opened: Open.
        close_1: Close 1 bar before.
        atr: ATR over 14 bars.
    """
    return Candle(
        body=body,
        close_place=position,
        body_share20=body_20,
        wick_balance20=wicks_20,
        gap=ratio(opened - close_1, atr, 0.0),
    )


class Calendar(NamedTuple):
    """The features of group "calendar", shape (n,) each or numbers."""

    hour_sin: Values
    hour_cos: Values
    weekday_sin: Values
    weekday_cos: Values


@shared
def calendar(minutes: Values) -> Calendar:
    """Return minute of the day and weekday on a circle.

    Args:
        minutes: Close of the bar in minutes since 1970 UTC, shape (n,) or a number.
    """
    minute = minutes % MINUTES_PER_DAY
    weekday = (minutes // MINUTES_PER_DAY + 3) % 7  # 1970 began on a Thursday
    return Calendar(
        hour_sin=_DAY_SINES[minute],
        hour_cos=_DAY_COSINES[minute],
        weekday_sin=_WEEK_SINES[weekday],
        weekday_cos=_WEEK_COSINES[weekday],
    )
