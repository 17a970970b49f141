"""No indicator, score, feature or label knows anything about the bars after its own."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factories.bars import scaled, small_history, small_market, with_other_future
from steelyard.market import indicators
from steelyard.market.bars import Bars, Floats, until
from steelyard.market.brackets import BracketPolicy
from steelyard.market.features import FEATURES, at_every_bar, features
from steelyard.market.history import as_known, history
from steelyard.market.strategy import WARMUP, ReversionStrategy, TrendStrategy, signals

BARS = small_market()["SIM00"]
cuts = st.integers(WARMUP, len(BARS) - 1)

INDICATORS: dict[str, Callable[[Bars], Floats]] = {
    "ema": lambda bars: indicators.ema(bars.close, 12),
    "sma": lambda bars: indicators.sma(bars.close, 20),
    "rsi": lambda bars: indicators.rsi(bars.close),
    "macd_histogram": lambda bars: indicators.macd_histogram(bars.close),
    "atr": indicators.atr,
    "adx": indicators.adx,
    "directional_difference": indicators.directional_difference,
    "relative_volume": indicators.relative_volume,
}
SCORES = {
    f"{system.__name__}: {name}": (lambda bars, s=system, n=name: s().scan(bars).scores[n])
    for system in (TrendStrategy, ReversionStrategy)
    for name in system.score_names
}


@pytest.mark.parametrize(
    "value", [*INDICATORS.values(), *SCORES.values()], ids=[*INDICATORS, *SCORES]
)
@settings(max_examples=15)
@given(cut=cuts)
def test_an_indicator_or_score_ignores_the_future(
    value: Callable[[Bars], Floats], cut: int
) -> None:
    """Cutting the future off, or replacing it, leaves every earlier value as it was."""
    before = value(BARS)[:cut]

    np.testing.assert_array_equal(value(BARS[:cut]), before)
    np.testing.assert_array_equal(value(with_other_future(BARS, cut))[:cut], before)


@settings(max_examples=15)
@given(cut=cuts)
def test_a_feature_of_a_symbol_ignores_the_future(cut: int) -> None:
    """The same for every feature a symbol has on its own."""
    cut_off, whole, shaken = (
        at_every_bar(bars) for bars in (BARS[:cut], BARS, with_other_future(BARS, cut))
    )
    for name, values in whole.items():
        np.testing.assert_array_equal(cut_off[name], values[:cut], err_msg=name)
        np.testing.assert_array_equal(shaken[name][:cut], values[:cut], err_msg=name)


@settings(max_examples=10)
@given(days=st.integers(30, 175), seed=st.integers(0, 5))
def test_the_history_as_known_is_the_history_of_the_bars_known(days: int, seed: int) -> None:
    """Signals, outcomes and features of the bars closed by a moment are those of all bars.

    Cut to that moment.
    """
    as_of = pd.Timestamp("2020-01-01 05:00", tz="UTC") + pd.Timedelta(days=days, hours=seed)
    from_the_past = history(until(small_market(), as_of), TrendStrategy(), BracketPolicy())

    pd.testing.assert_frame_equal(from_the_past, as_known(small_history(), as_of))


def test_another_future_changes_no_known_row() -> None:
    """With other bars after a moment, everything known at it stays the same.

    In every symbol and across them.
    """
    cut = 700
    as_of = pd.Timestamp(BARS.closes_at[cut - 1], tz="UTC")
    shaken = {name: with_other_future(bars, cut) for name, bars in small_market().items()}
    before_shock = as_known(history(shaken, TrendStrategy(), BracketPolicy()), as_of)

    pd.testing.assert_frame_equal(before_shock, as_known(small_history(), as_of))


@pytest.mark.parametrize("feature", FEATURES, ids=lambda feature: feature.name)
def test_scaling_prices_or_volume_changes_no_feature(feature: object) -> None:
    """Bars in cents, or volume in lots, give the same number."""
    market = {
        name: scaled(bars, prices=100.0, volume=0.01) for name, bars in small_market().items()
    }
    proposed = signals(small_market(), TrendStrategy())
    name = feature.name  # type: ignore[attr-defined]

    np.testing.assert_allclose(
        _features(market, proposed)[name], _features(small_market(), proposed)[name], atol=1e-7
    )


_computed: dict[int, pd.DataFrame] = {}


def _features(market: dict[str, Bars], proposed: pd.DataFrame) -> pd.DataFrame:
    key = int(market["SIM00"].close[0])
    if key not in _computed:
        _computed[key] = features(market, proposed)
    return _computed[key]


def test_inputs_come_back_unmodified() -> None:
    """Nothing writes into the bars or the signals it is given."""
    market = small_market()
    copies = {name: bars.close.copy() for name, bars in market.items()}
    proposed = signals(market, TrendStrategy())
    before = proposed.copy()
    features(market, proposed)
    history(market, TrendStrategy(), BracketPolicy())

    pd.testing.assert_frame_equal(proposed, before)
    for name, close in copies.items():
        np.testing.assert_array_equal(market[name].close, close)
