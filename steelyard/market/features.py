"""Features: what the model knows about a signal at its decision close, and nothing later.

Prices enter as ratios to the average true range or to each other, so scaling all prices changes no feature. A *signed*
feature is seen from the side of the trade: it flips for sells, so that "momentum in my direction" is one number.

Neutral values stand where a market has nothing to say, so that a feature is never NaN once warmed up: volume features
are 0 where there is no volume (FX: NaN, index: 0), candle features 0 where high equals low, ranks 0 for a single symbol,
ratios of volatility 1 where nothing moved before.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import talib
from numba import njit
from numpy.typing import NDArray

from steelyard.market import indicators
from steelyard.market.bars import Bars, Floats
from steelyard.market.brackets import decision_bars, side_signs
from steelyard.market.indicators import filling, ratio
from steelyard.market.strategy import Strategy


@dataclass(frozen=True, slots=True)
class Feature:
    """One number of the model's input; ``signed`` ones flip for sells."""

    name: str
    group: str
    signed: bool
    description: str


FEATURES: tuple[Feature, ...] = (
    Feature("ema_spread", "trend", True, "EMA12 minus EMA26, in ATRs"),
    Feature("over_ema50", "trend", True, "close minus EMA50, in ATRs"),
    Feature("ema26_slope", "trend", True, "change of EMA26 over 5 bars, in ATRs"),
    Feature("di_difference", "trend", True, "+DI minus -DI over their sum"),
    Feature("adx", "trend", False, "ADX14 over 100"),
    Feature("efficiency20", "trend", True, "net change over the sum of absolute changes, 20 bars"),
    Feature("rsi", "momentum", True, "RSI14 around 50, -1 to 1"),
    Feature("macd_histogram", "momentum", True, "MACD histogram, in ATRs"),
    Feature("change1", "momentum", True, "close against the close before, in ATRs"),
    Feature("change5", "momentum", True, "close against 5 bars before, in ATRs"),
    Feature("change20", "momentum", True, "close against 20 bars before, in ATRs"),
    Feature("change60", "momentum", True, "close against 60 bars before, in ATRs"),
    Feature(
        "range_place14", "momentum", True, "place of the close in the 14-bar range, -0.5 to 0.5"
    ),
    Feature(
        "range_place50", "momentum", True, "place of the close in the 50-bar range, -0.5 to 0.5"
    ),
    Feature("atr_ratio", "volatility", False, "ATR14 over ATR100"),
    Feature("true_range", "volatility", False, "true range of the bar, in ATRs"),
    Feature("deviation_ratio", "volatility", False, "deviation of changes over 10 bars against 60"),
    Feature(
        "down_share",
        "volatility",
        True,
        "share of squared changes that fell, 20 bars, around a half",
    ),
    Feature("autocorrelation", "volatility", False, "correlation of neighbouring changes, 50 bars"),
    Feature("volume_now", "volume", False, "log of volume over its 20-bar mean"),
    Feature("volume_trend", "volume", False, "log of the 20-bar over the 100-bar mean volume"),
    Feature(
        "volume_pressure", "volume", True, "volume of rising minus falling bars over all, 20 bars"
    ),
    Feature("body", "candle", True, "close minus open over high minus low"),
    Feature("close_place", "candle", True, "place of the close within its bar, -1 to 1"),
    Feature("body_share20", "candle", False, "mean share of the body in the bar, 20 bars"),
    Feature(
        "wick_balance20", "candle", True, "mean of lower minus upper wick over the range, 20 bars"
    ),
    Feature("gap", "candle", True, "open against the close before, in ATRs"),
    Feature("hour_sin", "calendar", False, "hour of the day of the close (UTC) on a circle"),
    Feature("hour_cos", "calendar", False, "the same, cosine"),
    Feature("weekday_sin", "calendar", False, "weekday of the close (UTC) on a circle"),
    Feature("weekday_cos", "calendar", False, "the same, cosine"),
    Feature(
        "rank_change20",
        "cross-section",
        True,
        "rank of change20 among symbols with this bar, -0.5 to 0.5",
    ),
    Feature(
        "rank_volatility",
        "cross-section",
        False,
        "rank of atr_ratio among symbols with this bar, -0.5 to 0.5",
    ),
    Feature(
        "rank_volume",
        "cross-section",
        False,
        "rank of volume_trend among symbols with this bar, -0.5 to 0.5",
    ),
    Feature("regime_trend", "regime", True, "mean efficiency20 of the symbols with this bar"),
    Feature("regime_volatility", "regime", False, "mean atr_ratio of the symbols with this bar"),
    Feature("regime_breadth", "regime", True, "share of symbols above their EMA50, around a half"),
)
_CIRCLE_MINUTE, _CIRCLE_WEEKDAY = 2 * np.pi * np.arange(1440) / 1440, 2 * np.pi * np.arange(7) / 7
_SIN_MINUTE, _COS_MINUTE = np.sin(_CIRCLE_MINUTE), np.cos(_CIRCLE_MINUTE)
_SIN_WEEKDAY, _COS_WEEKDAY = np.sin(_CIRCLE_WEEKDAY), np.cos(_CIRCLE_WEEKDAY)
REFRESH = 256
"""Bars after which a rolling sum is summed anew, counted from the first bar: rounding is not carried further, and a
prefix of the bars gives the same values to the last bit."""
_RANKED = {
    "rank_change20": "change20",
    "rank_volatility": "atr_ratio",
    "rank_volume": "volume_trend",
}
_MEANS = {"regime_trend": "efficiency20", "regime_volatility": "atr_ratio"}


SCORE = "score_"
"""What the name of a sub-score of the existing system begins with."""


def feature_names(strategy: Strategy) -> tuple[str, ...]:
    """Return the model's inputs in order: ``FEATURES``, then the system's confidence and its sub-scores."""
    return row_names(strategy.score_names)


def row_names(score_names: Iterable[str]) -> tuple[str, ...]:
    """Return the model's inputs for a system with these sub-scores."""
    return (
        *(feature.name for feature in FEATURES),
        "confidence_existing",
        *(f"{SCORE}{name}" for name in score_names),
    )


def feature_set_hash(names: Iterable[str]) -> str:
    """Return 16 hexadecimal digits that change with any name or their order."""
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]


def features(bars: Mapping[str, Bars], signals: pd.DataFrame) -> pd.DataFrame:
    """Return the features of each signal (columns ``FEATURES``), index of ``signals``, signed by its side."""
    own = {symbol: at_every_bar(bars[symbol]) for symbol in bars}
    table = pd.DataFrame(index=signals.index, columns=[f.name for f in FEATURES], dtype=np.float64)
    for symbol, rows in signals.groupby("symbol", sort=False):
        decided = decision_bars(bars[str(symbol)], rows)
        for name, values in own[str(symbol)].items():
            table.loc[rows.index, name] = values[decided]
    for name, values in _across(bars, own, signals).items():
        table[name] = values
    signed = [feature.name for feature in FEATURES if feature.signed]
    table[signed] = table[signed].mul(side_signs(signals), axis=0)
    return table


def at_every_bar(bars: Bars) -> dict[str, Floats]:
    """Return every feature of one symbol alone at every bar, unsigned (from a buyer's side), shape (n,) each."""
    atr = indicators.atr(bars)
    before = _lagged(bars.close, 1)
    change = np.nan_to_num(bars.close - before)
    return {
        **_trend(bars, atr, change),
        **_momentum(bars, atr),
        **_volatility(bars, atr, change),
        **_volume(bars, change),
        **_candle(bars, atr, before),
        **_calendar(bars),
    }


def _trend(bars: Bars, atr: Floats, change: Floats) -> dict[str, Floats]:
    slow = indicators.ema(bars.close, 26)
    return {
        "ema_spread": ratio(indicators.ema(bars.close, 12) - slow, atr, 0.0),
        "over_ema50": ratio(bars.close - indicators.ema(bars.close, 50), atr, 0.0),
        "ema26_slope": change_over(slow, 5, atr),
        "di_difference": indicators.directional_difference(bars),
        "adx": indicators.adx(bars) / 100,
        "efficiency20": change_over(bars.close, 20, mean(np.abs(change), 20) * 20),
    }


def _momentum(bars: Bars, atr: Floats) -> dict[str, Floats]:
    changes = {f"change{n}": change_over(bars.close, n, atr) for n in (1, 5, 20, 60)}
    return {
        "rsi": (indicators.rsi(bars.close) - 50) / 50,
        "macd_histogram": ratio(indicators.macd_histogram(bars.close), atr, 0.0),
        **changes,
        "range_place14": _place(bars, 14),
        "range_place50": _place(bars, 50),
    }


def _volatility(bars: Bars, atr: Floats, change: Floats) -> dict[str, Floats]:
    true_range = np.asarray(talib.TRANGE(bars.high, bars.low, bars.close))
    squares = change * change
    fallen = squares * (change < 0)
    return {
        "atr_ratio": ratio(atr, indicators.atr(bars, 100), 1.0),
        "true_range": ratio(true_range, atr, 1.0),
        "deviation_ratio": ratio(deviation(change, 10), deviation(change, 60), 1.0),
        "down_share": 0.5 - ratio(mean(fallen, 20), mean(squares, 20), 0.5),
        "autocorrelation": autocorrelation(change, 50),
    }


def _volume(bars: Bars, change: Floats) -> dict[str, Floats]:
    volume = indicators.known_volume(bars)
    short, long = mean(volume, 20), mean(volume, 100)
    return {
        "volume_now": log_ratio(volume, short),
        "volume_trend": log_ratio(short, long),
        "volume_pressure": ratio(mean(np.sign(change) * volume, 20), short, 0.0),
    }


def _candle(bars: Bars, atr: Floats, before: Floats) -> dict[str, Floats]:
    body, close_place, wicks = shapes(bars.open, bars.high, bars.low, bars.close)
    return {
        "body": body,
        "close_place": close_place,
        "body_share20": mean(np.abs(body), 20),
        "wick_balance20": mean(wicks, 20),
        "gap": ratio(bars.open - before, atr, 0.0),
    }


def _calendar(bars: Bars) -> dict[str, Floats]:
    minutes = bars.closes_at.astype("datetime64[m]").astype(np.int64)
    hour_sin, hour_cos = on_circle(minutes, 0, 1, _SIN_MINUTE, _COS_MINUTE)
    weekday_sin, weekday_cos = on_circle(
        minutes, 3 * 1440, 1440, _SIN_WEEKDAY, _COS_WEEKDAY
    )  # 1970 began on a Thursday
    return {
        "hour_sin": hour_sin,
        "hour_cos": hour_cos,
        "weekday_sin": weekday_sin,
        "weekday_cos": weekday_cos,
    }


@njit(cache=True, nogil=True)
def on_circle(
    minutes: NDArray[np.int64], shift: int, unit: int, sines: Floats, cosines: Floats
) -> tuple[Floats, Floats]:
    """Return sine and cosine of ``(minutes + shift) / unit`` on a circle of as many steps as the tables have."""
    sine, cosine = np.empty(len(minutes)), np.empty(len(minutes))
    for i in range(len(minutes)):
        step = (minutes[i] + shift) // unit % len(sines)
        sine[i], cosine[i] = sines[step], cosines[step]
    return sine, cosine


def _across(
    bars: Mapping[str, Bars], own: Mapping[str, Mapping[str, Floats]], signals: pd.DataFrame
) -> dict[str, Floats]:
    """Return ranks and regime of each signal among the symbols that have a bar with exactly its stamp."""
    stamps = signals["timestamp"].dt.tz_localize(None).to_numpy(dtype="datetime64[ns]")
    moments = np.unique(stamps)
    at = np.searchsorted(moments, stamps)
    symbols = sorted(bars)
    column = np.asarray(
        signals["symbol"].map({symbol: number for number, symbol in enumerate(symbols)}).to_numpy(),
        dtype=np.int64,
    )
    panels: dict[str, Floats] = {}
    for name in {*_RANKED.values(), *_MEANS.values(), "over_ema50"}:
        panels[name] = _panel(moments, [(bars[s].timestamp, own[s][name]) for s in symbols])
    ranks = {name: _rank(panels[source], at, column) for name, source in _RANKED.items()}
    means = {name: _row_mean(panels[source])[at] for name, source in _MEANS.items()}
    above = np.where(np.isnan(panels["over_ema50"]), np.nan, np.sign(panels["over_ema50"]) / 2)
    return {**ranks, **means, "regime_breadth": _row_mean(above)[at]}


def _panel(
    moments: NDArray[np.datetime64], columns: list[tuple[NDArray[np.datetime64], Floats]]
) -> Floats:
    """Return values by moment (rows) and symbol (columns), NaN where a symbol has no bar."""
    panel = np.full((len(moments), len(columns)), np.nan)
    for number, (stamps, values) in enumerate(columns):
        found = np.minimum(np.searchsorted(stamps, moments), len(stamps) - 1)
        there = stamps[found] == moments
        panel[there, number] = values[found[there]]
    return panel


def _rank(panel: Floats, at: NDArray[Any], column: NDArray[np.int64]) -> Floats:
    """Return the share of others below minus above, halved: −0.5 lowest, 0.5 highest, 0 alone."""
    rows, mine = panel[at], panel[at, column][:, None]
    below, above = (rows < mine).sum(axis=1), (rows > mine).sum(axis=1)
    others = np.isfinite(rows).sum(axis=1) - 1
    return np.where(others > 0, (below - above) / (2 * np.maximum(others, 1)), 0.0)


def _row_mean(panel: Floats) -> Floats:
    known = np.isfinite(panel)
    return np.asarray(np.where(known, panel, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1))


def _lagged(values: Floats, by: int) -> Floats:
    lagged = np.full(len(values), np.nan)
    lagged[by:] = values[: len(values) - by] if by < len(values) else []
    return lagged


def _place(bars: Bars, period: int) -> Floats:
    highest = np.asarray(talib.MAX(bars.high, timeperiod=period))
    lowest = np.asarray(talib.MIN(bars.low, timeperiod=period))
    return place(bars.close, lowest, highest)


@filling
def log_ratio(out: Floats, numerator: Floats, denominator: Floats) -> None:
    """Return the logarithm of the quotient within ±5, so that a bar without trades stays a number; 0 over 0."""
    for i in range(len(numerator)):
        if denominator[i] == 0:
            out[i] = 0.0
        elif numerator[i] == 0:
            out[i] = -5.0
        else:
            out[i] = min(max(np.log(numerator[i] / denominator[i]), -5.0), 5.0)


@filling
def place(out: Floats, closes: Floats, lowest: Floats, highest: Floats) -> None:
    """Return where the close stands between two levels, −0.5 to 0.5; 0 where they are one."""
    for i in range(len(closes)):
        height = highest[i] - lowest[i]
        out[i] = (closes[i] - lowest[i]) / height - 0.5 if height != 0 else 0.0


@njit(cache=True, nogil=True)
def shapes(
    opens: Floats, highs: Floats, lows: Floats, closes: Floats
) -> tuple[Floats, Floats, Floats]:
    """Return body, place of the close and lower minus upper wick of each bar, over its height; 0 where it has none."""
    body, place, wicks = np.zeros(len(opens)), np.zeros(len(opens)), np.zeros(len(opens))
    for i in range(len(opens)):
        height = highs[i] - lows[i]
        if height == 0:
            continue
        body[i] = (closes[i] - opens[i]) / height
        place[i] = (2 * closes[i] - highs[i] - lows[i]) / height
        wicks[i] = (
            min(opens[i], closes[i]) - lows[i] - highs[i] + max(opens[i], closes[i])
        ) / height
    return body, place, wicks


@filling
def change_over(out: Floats, values: Floats, bars: int, scale: Floats) -> None:
    """Return the change over ``bars`` bars in units of ``scale``; 0 where the scale is 0, NaN while either is unknown."""
    for i in range(bars, len(values)):
        out[i] = (values[i] - values[i - bars]) / scale[i] if scale[i] != 0 else 0.0


@filling
def mean(out: Floats, values: Floats, period: int) -> None:
    """Return the rolling mean, exactly 0 for a window of zeros."""
    total, moved = 0.0, 0
    for i in range(len(values)):
        total += values[i]
        moved += values[i] != 0.0
        if i >= period:
            total -= values[i - period]
            moved -= values[i - period] != 0.0
        if i % REFRESH == 0:
            total = values[max(0, i - period + 1) : i + 1].sum()
        if i >= period - 1:
            out[i] = total / period if moved else 0.0


@filling
def deviation(out: Floats, values: Floats, period: int) -> None:
    """Return the rolling standard deviation (of the window itself, not of a sample)."""
    total = squares = 0.0
    for i in range(len(values)):
        total += values[i]
        squares += values[i] * values[i]
        if i >= period:
            total -= values[i - period]
            squares -= values[i - period] * values[i - period]
        if i % REFRESH == 0:
            window = values[max(0, i - period + 1) : i + 1]
            total, squares = window.sum(), (window * window).sum()
        if i >= period - 1:
            spread = squares / period - (total / period) ** 2
            # differences of equal squares leave rounding behind; what lies under it is no spread at all
            out[i] = np.sqrt(spread) if spread > 1e-10 * squares / period else 0.0


@filling
def autocorrelation(out: Floats, values: Floats, period: int) -> None:
    """Return the rolling lag-1 products of ``period`` changes over the sum of their squares; 0 where nothing moved."""
    products = squares = 0.0
    moved = 0
    for i in range(1, len(values)):
        products += values[i] * values[i - 1]
        squares += values[i] * values[i]
        moved += values[i] != 0.0
        gone = i - period + 1
        if gone >= 1:
            products -= values[gone] * values[gone - 1]
            squares -= values[gone] * values[gone]
            moved -= values[gone] != 0.0
        if i % REFRESH == 0:
            first = max(1, gone + 1)
            products = (values[first : i + 1] * values[first - 1 : i]).sum()
            squares = (values[first : i + 1] ** 2).sum()
        if i >= period - 1:
            out[i] = products / squares if moved else 0.0
