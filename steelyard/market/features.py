"""Features: the inputs of the model for a signal, computed from bars closed by the decision.

A *signed* feature is seen from the side of the trade: it changes its sign for sells, so that
"momentum in my direction" is one number. The formulas are in ``formulas``; this module computes
them over whole histories.

After the warm-up no feature is NaN: volume features are 0 if there is no volume (FX: NaN, index:
0), candle features 0 if high equals low, ranks 0 for a single symbol, ratios of volatility 1 if
nothing moved before.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import talib
from numpy.typing import NDArray

from steelyard.compiled import compiled
from steelyard.market import formulas, indicators
from steelyard.market.bars import Bars, Floats, naive
from steelyard.market.brackets import positions_of, rows_by_symbol, side_signs
from steelyard.market.cross_section import (
    CROSSED,
    RANK_SOURCES,
    REGIME_SOURCES,
    Crossing,
    across_symbols,
)
from steelyard.market.formulas import (
    array_kernel,
    candle_shape,
    divide,
    range_position,
    window_deviation,
)
from steelyard.market.strategy import Strategy, own_names


@dataclass(frozen=True, slots=True)
class Feature:
    """One input of the model.

    Attributes:
        name: Column name.
        group: Subject, also the name of its formulas in ``formulas``; "cross-section" and "regime"
            look across symbols, "side" is the signal's own.
        signed: Changes its sign for sells.
        description: Formula in words, with unit and range.
    """

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
    Feature("change1", "momentum", True, "change of the close over 1 bar, in ATRs"),
    Feature("change5", "momentum", True, "change of the close over 5 bars, in ATRs"),
    Feature("change20", "momentum", True, "change of the close over 20 bars, in ATRs"),
    Feature("change60", "momentum", True, "change of the close over 60 bars, in ATRs"),
    Feature(
        "range_place14", "momentum", True, "position of the close in the 14-bar range, -0.5 to 0.5"
    ),
    Feature(
        "range_place50", "momentum", True, "position of the close in the 50-bar range, -0.5 to 0.5"
    ),
    Feature("atr_ratio", "volatility", False, "ATR14 over ATR100"),
    Feature("true_range", "volatility", False, "true range of the bar, in ATRs"),
    Feature("deviation_ratio", "volatility", False, "deviation of changes, 10 over 60 bars"),
    Feature(
        "down_share",
        "volatility",
        True,
        "half minus the share of squared changes that fell, 20 bars",
    ),
    Feature("autocorrelation", "volatility", False, "lag-1 autocorrelation of changes, 50 bars"),
    Feature("volume_now", "volume", False, "log of volume over its 20-bar mean"),
    Feature("volume_trend", "volume", False, "log of the 20-bar over the 100-bar mean volume"),
    Feature(
        "volume_pressure", "volume", True, "volume of rising minus falling bars over all, 20 bars"
    ),
    Feature("body", "candle", True, "close minus open over high minus low"),
    Feature("close_place", "candle", True, "position of the close within its bar, -1 to 1"),
    Feature("body_share20", "candle", False, "mean share of the body in the bar, 20 bars"),
    Feature(
        "wick_balance20", "candle", True, "mean of lower minus upper wick over the range, 20 bars"
    ),
    Feature("gap", "candle", True, "open minus the close before, in ATRs"),
    Feature("hour_sin", "calendar", False, "sine of the time of day of the close (UTC)"),
    Feature("hour_cos", "calendar", False, "cosine of the time of day of the close (UTC)"),
    Feature("weekday_sin", "calendar", False, "sine of the weekday of the close (UTC)"),
    Feature("weekday_cos", "calendar", False, "cosine of the weekday of the close (UTC)"),
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
    Feature("regime_breadth", "regime", True, "share of symbols above their EMA50 minus a half"),
    Feature("direction", "side", True, "side of the signal: 1 buys, -1 sells"),
)
REFRESH_BARS = 256
"""Bars after which a rolling sum is recomputed, counted from the first bar.

Rounding errors do not build up, and a prefix of the bars gives the same values to the last bit."""
_COLUMNS = {feature.name: column for column, feature in enumerate(FEATURES)}
_SIGNED = [column for column, feature in enumerate(FEATURES) if feature.signed]
SCORE = "score_"
"""Prefix of the columns with the sub-scores of the existing system."""
OWN = "own_"
"""Prefix of the columns with the user's own features: any scale, NaN if a value is not known."""
LARGEST = 1e30
"""Largest size of an own feature: XGBoost reads them in single precision, which ends at 3.4e38."""


def feature_names(strategy: Strategy) -> tuple[str, ...]:
    """Return the model's inputs for a system: those of ``row_names``."""
    return row_names(strategy.score_names, own_names(strategy))


def row_names(score_names: Iterable[str], own_names: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the model's inputs in order: ``FEATURES``, confidence, sub-scores, own features.

    Args:
        score_names: Names of the system's sub-scores.
        own_names: Names of the user's own features.
    """
    return (
        *(feature.name for feature in FEATURES),
        "confidence_existing",
        *(f"{SCORE}{name}" for name in score_names),
        *(f"{OWN}{name}" for name in own_names),
    )


def may_be_missing(names: Iterable[str]) -> NDArray[np.bool_]:
    """Return which of the model's inputs may be NaN: the user's own; shape (k,)."""
    return np.array([name.startswith(OWN) for name in names], dtype=bool)


def feature_set_hash(names: Iterable[str]) -> str:
    """Return 16 hexadecimal digits that change with any name or their order."""
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]


def features(bars: Mapping[str, Bars], signals: pd.DataFrame) -> pd.DataFrame:
    """Return the features of each signal, columns ``FEATURES``, index of ``signals``, by its side.

    Args:
        bars: Bars of every symbol of the universe; ranks and regime look at all of them.
        signals: One row per signal; columns ``symbol``, ``timestamp`` (decision bar, UTC) and
            ``side``.

    Raises:
        FixData: If a signal was decided on a bar that does not exist, or its symbol has none.
    """
    return feature_table(signals, *features_of_some(bars, signals))


def features_of_some(bars: Mapping[str, Bars], signals: pd.DataFrame) -> tuple[Floats, Crossing]:
    """Return what each symbol's own bars give: its signals' features, and what is compared.

    Args:
        bars: Bars of some symbols of a universe.
        signals: Their signals, as ``features`` takes them.

    Returns:
        ``FEATURES`` as seen by a buyer, shape (m, k), NaN where they look across symbols; and what
        the cross-section takes of these symbols.

    Raises:
        FixData: If a signal was decided on a bar that does not exist, or its symbol has none.
    """
    stamps, rows = naive(signals["timestamp"]), rows_by_symbol(signals, bars)
    values = np.full((len(signals), len(FEATURES)), np.nan, order="F")
    crossed = {}
    for symbol, history in bars.items():
        own = at_every_bar(history)
        crossed[symbol] = history.timestamp, np.column_stack([own[name] for name in CROSSED])
        if symbol in rows:
            decided = positions_of(history, stamps[rows[symbol]])
            for name, column in own.items():
                values[rows[symbol], _COLUMNS[name]] = column[decided]
    return values, Crossing.of_symbols(crossed)


def feature_table(signals: pd.DataFrame, own: Floats, crossing: Crossing) -> pd.DataFrame:
    """Return the features of each signal by its side, see ``features``.

    Args:
        signals: One row per signal, as ``features`` takes them.
        own: Result of ``features_of_some`` for these signals, shape (m, k); it is written to.
        crossing: Every symbol of the universe.
    """
    symbols = pd.Index(crossing.symbols).get_indexer(pd.Index(signals["symbol"]))
    across = across_symbols(crossing, symbols, naive(signals["timestamp"]))
    for number, name in enumerate((*RANK_SOURCES, *REGIME_SOURCES)):
        own[:, _COLUMNS[name]] = across[:, number]
    own[:, _COLUMNS["direction"]] = 1.0
    own[:, _SIGNED] *= side_signs(signals)[:, None]
    return pd.DataFrame(own, index=signals.index, columns=list(_COLUMNS))


def at_every_bar(bars: Bars) -> dict[str, Floats]:
    """Return the features of one symbol alone at every bar, as seen by a buyer, shape (n,) each."""
    atr, close_1 = indicators.atr(bars), _lagged(bars.close, 1)
    changes = np.nan_to_num(bars.close - close_1)
    day_ends = bars.timestamp + bars.bar_size.to_timedelta64()  # as the models were trained
    minutes = day_ends.astype("datetime64[m]").astype(np.int64)
    groups = (
        _trend(bars, atr, changes),
        _momentum(bars, atr, close_1),
        _volatility(bars, atr, changes),
        _volume(bars, changes),
        _candle(bars, atr, close_1),
        formulas.calendar(minutes),
    )
    return {name: values for group in groups for name, values in group._asdict().items()}


def _trend(bars: Bars, atr: Floats, changes: Floats) -> formulas.Trend:
    plus, minus = indicators.directional_indicators(bars)
    ema26 = indicators.ema(bars.close, 26)
    return formulas.trend(
        close=bars.close,
        close_20=_lagged(bars.close, 20),
        path_20=rolling_mean(np.abs(changes), 20) * 20,
        ema12=indicators.ema(bars.close, 12),
        ema26=ema26,
        ema26_5=_lagged(ema26, 5),
        ema50=indicators.ema(bars.close, 50),
        plus=plus,
        minus=minus,
        adx=indicators.adx(bars),
        atr=atr,
    )


def _momentum(bars: Bars, atr: Floats, close_1: Floats) -> formulas.Momentum:
    return formulas.momentum(
        close=bars.close,
        close_1=close_1,
        close_5=_lagged(bars.close, 5),
        close_20=_lagged(bars.close, 20),
        close_60=_lagged(bars.close, 60),
        rsi=indicators.rsi(bars.close),
        histogram=indicators.macd_histogram(bars.close),
        position_14=_position(bars, 14),
        position_50=_position(bars, 50),
        atr=atr,
    )


def _position(bars: Bars, period: int) -> Floats:
    highest = np.asarray(talib.MAX(bars.high, timeperiod=period))
    lowest = np.asarray(talib.MIN(bars.low, timeperiod=period))
    return range_position(bars.close, lowest, highest)


def _volatility(bars: Bars, atr: Floats, changes: Floats) -> formulas.Volatility:
    squares = changes * changes
    return formulas.volatility(
        atr=atr,
        atr_100=indicators.atr(bars, 100),
        true_range=np.asarray(talib.TRANGE(bars.high, bars.low, bars.close)),
        deviation_10=rolling_deviation(changes, 10),
        deviation_60=rolling_deviation(changes, 60),
        fallen=rolling_mean(squares * (changes < 0), 20),
        squares=rolling_mean(squares, 20),
        autocorrelation=rolling_autocorrelation(changes, 50),
    )


def _volume(bars: Bars, changes: Floats) -> formulas.Volume:
    traded = indicators.known_volume(bars)
    mean_20 = rolling_mean(traded, 20)
    return formulas.volume(
        traded=traded,
        mean_20=mean_20,
        mean_100=rolling_mean(traded, 100),
        signed_20=rolling_mean(np.sign(changes) * traded, 20),
        total_20=mean_20,
    )


def _candle(bars: Bars, atr: Floats, close_1: Floats) -> formulas.Candle:
    body, position, wicks = candle_shapes(bars.open, bars.high, bars.low, bars.close)
    return formulas.candle(
        body=body,
        position=position,
        body_20=rolling_mean(np.abs(body), 20),
        wicks_20=rolling_mean(wicks, 20),
        opened=bars.open,
        close_1=close_1,
        atr=atr,
    )


def _lagged(values: Floats, bars: int) -> Floats:
    """Return each value ``bars`` bars before, NaN at the first ``bars``."""
    lagged = np.empty(len(values))
    lagged[:bars] = np.nan
    lagged[bars:] = values[: max(len(values) - bars, 0)]
    return lagged


@compiled
def candle_shapes(
    opens: Floats, highs: Floats, lows: Floats, closes: Floats
) -> tuple[Floats, Floats, Floats]:
    """Return ``candle_shape`` of each bar: body, position of the close, wick balance, shape (n,).

    Args:
        opens: Opens, shape (n,).
        highs: Highs, shape (n,).
        lows: Lows, shape (n,).
        closes: Closes, shape (n,).
    """
    bodies, positions, wicks = np.zeros(len(opens)), np.zeros(len(opens)), np.zeros(len(opens))
    for i in range(len(opens)):
        bodies[i], positions[i], wicks[i] = candle_shape(opens[i], highs[i], lows[i], closes[i])
    return bodies, positions, wicks


@array_kernel
def rolling_mean(out: Floats, values: Floats, period: int) -> None:
    """Return the rolling mean, shape (n,): exactly 0 for zeros, NaN before the first full window.

    Args:
        out: Result; callers do not pass it.
        values: Shape (n,), finite.
        period: Bars of the window.
    """
    total, nonzero = 0.0, 0
    for i in range(len(values)):
        total += values[i]
        nonzero += values[i] != 0.0
        if i >= period:
            total -= values[i - period]
            nonzero -= values[i - period] != 0.0
        if i % REFRESH_BARS == 0:
            total = values[max(0, i - period + 1) : i + 1].sum()
        if i >= period - 1:
            out[i] = total / period if nonzero else 0.0


@array_kernel
def rolling_deviation(out: Floats, values: Floats, period: int) -> None:
    """Return the rolling ``window_deviation``, shape (n,); NaN before the first full window.

    Args:
        out: Result; callers do not pass it.
        values: Shape (n,), finite.
        period: Bars of the window.
    """
    total = squares = 0.0
    for i in range(len(values)):
        total += values[i]
        squares += values[i] * values[i]
        if i >= period:
            total -= values[i - period]
            squares -= values[i - period] * values[i - period]
        if i % REFRESH_BARS == 0:
            window = values[max(0, i - period + 1) : i + 1]
            total, squares = window.sum(), (window * window).sum()
        if i >= period - 1:
            out[i] = window_deviation(total, squares, period)


@array_kernel
def rolling_autocorrelation(out: Floats, values: Floats, period: int) -> None:
    """Return the rolling sum of lag-1 products over that of squares, shape (n,); 0 if none moved.

    Args:
        out: Result, NaN before the first full window; callers do not pass it.
        values: Changes, shape (n,), finite.
        period: Bars of the window; it has ``period`` − 1 products.
    """
    products = squares = 0.0
    nonzero = 0
    for i in range(1, len(values)):
        products += values[i] * values[i - 1]
        squares += values[i] * values[i]
        nonzero += values[i] != 0.0
        oldest = i - period + 1
        if oldest >= 1:
            products -= values[oldest] * values[oldest - 1]
            squares -= values[oldest] * values[oldest]
            nonzero -= values[oldest] != 0.0
        if i % REFRESH_BARS == 0:
            first = max(1, oldest + 1)
            products = (values[first : i + 1] * values[first - 1 : i]).sum()
            squares = (values[first : i + 1] ** 2).sum()
        if i >= period - 1:
            out[i] = divide(products, squares if nonzero else 0.0, 0.0)
