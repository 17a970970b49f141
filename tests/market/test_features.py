"""Features: finite, neutral where there is nothing to say, seen from the side of the trade."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from factories.bars import bars_of, small_history, small_market
from steelyard.market import formulas
from steelyard.market.bars import Bars
from steelyard.market.features import (
    FEATURES,
    at_every_bar,
    feature_names,
    feature_set_hash,
    features,
)
from steelyard.market.strategy import WARMUP, TrendStrategy, signals


def test_there_are_30_to_45_features_and_none_is_missing() -> None:
    """SPEC §3; every value of every signal is finite."""
    names = list(feature_names(TrendStrategy()))

    assert 30 <= len(names) <= 45
    assert np.isfinite(small_history()[names].to_numpy()).all()


@pytest.mark.parametrize(
    "group",
    [
        formulas.Trend,
        formulas.Momentum,
        formulas.Volatility,
        formulas.Volume,
        formulas.Candle,
        formulas.Calendar,
    ],
    ids=lambda group: str(group.__name__),
)
def test_formulas_give_the_features_of_their_group_in_order(group: type) -> None:
    """The names and their order are those of ``FEATURES``."""
    names = tuple(f.name for f in FEATURES if f.group == group.__name__.lower())

    assert group._fields == names  # type: ignore[attr-defined]


@pytest.mark.parametrize("volume", [np.nan, 0.0], ids=["FX", "index"])
def test_volume_features_are_neutral_without_volume(volume: float) -> None:
    """0 in each, and the rest as before."""
    proposed = signals(small_market(), TrendStrategy())
    market = {
        name: replace(bars, volume=np.full(len(bars), volume))
        for name, bars in small_market().items()
    }
    silent, usual = features(market, proposed), features(small_market(), proposed)
    about_volume = [f.name for f in FEATURES if f.group == "volume"] + ["rank_volume"]

    assert (silent[about_volume] == 0).all(axis=None)
    pd.testing.assert_frame_equal(
        silent.drop(columns=about_volume), usual.drop(columns=about_volume)
    )


def test_a_market_that_does_not_move_gives_numbers() -> None:
    """Flat bars: neutral values, no NaN and no infinity after the warm-up."""
    flat = bars_of([(100.0, 100.0, 100.0, 100.0)] * 200)

    assert all(np.isfinite(values[WARMUP:]).all() for values in at_every_bar(flat).values())


def test_a_single_symbol_ranks_in_the_middle() -> None:
    """Nobody to be compared with: 0."""
    alone = {"SIM00": small_market()["SIM00"]}
    table = features(alone, signals(alone, TrendStrategy()))

    assert (table[["rank_change20", "rank_volatility", "rank_volume"]] == 0).all(axis=None)


def test_ranks_follow_the_order_of_the_symbols() -> None:
    """Of three symbols with a bar the highest has 0.5, the middle 0, the lowest −0.5.

    Seen by a buyer.
    """
    proposed = signals(small_market(), TrendStrategy())
    table = features(small_market(), proposed).assign(
        sign=np.where(proposed["side"] == "buy", 1, -1), symbol=proposed["symbol"]
    )
    change20 = {name: at_every_bar(bars)["change20"] for name, bars in small_market().items()}
    bar = np.searchsorted(
        small_market()["SIM00"].timestamp,
        proposed["timestamp"].iloc[5].tz_localize(None).to_datetime64(),
    )
    order = sorted(change20, key=lambda name: change20[name][bar])
    expected = (order.index(proposed["symbol"].iloc[5]) - 1) / 2

    assert table["rank_change20"].iloc[5] * table["sign"].iloc[5] == pytest.approx(expected)


def mirrored(bars: Bars) -> Bars:
    """The same path upside down, in log prices."""
    top = bars.close.max() * bars.close.min()
    return replace(
        bars, open=top / bars.open, high=top / bars.low, low=top / bars.high, close=top / bars.close
    )


def test_a_signed_feature_flips_with_the_side() -> None:
    """The same bars seen by a seller: signed features change their sign, the others stay."""
    proposed = signals(small_market(), TrendStrategy())
    flipped = proposed.assign(side=proposed["side"].map({"buy": "sell", "sell": "buy"}))
    bought, sold = features(small_market(), proposed), features(small_market(), flipped)
    signed = [f.name for f in FEATURES if f.signed]
    unsigned = [f.name for f in FEATURES if not f.signed]

    pd.testing.assert_frame_equal(bought[signed], -sold[signed])
    pd.testing.assert_frame_equal(bought[unsigned], sold[unsigned])


def test_the_side_is_a_feature() -> None:
    """1 for buys, -1 for sells, in the table as in the stream."""
    proposed = signals(small_market(), TrendStrategy())
    sides = proposed["side"].map({"buy": 1.0, "sell": -1.0})

    assert set(sides) == {1.0, -1.0}
    assert features(small_market(), proposed)["direction"].tolist() == sides.tolist()


def test_upside_down_momentum_is_negative_momentum() -> None:
    """RSI of the mirrored path is mirrored (exactly in ratios.

    Here within the curvature of the logarithm).
    """
    bars = small_market()["SIM00"]
    up, down = at_every_bar(bars)["rsi"][WARMUP:], at_every_bar(mirrored(bars))["rsi"][WARMUP:]

    assert np.corrcoef(up, down)[0, 1] < -0.99


def test_the_hash_of_a_feature_set_notices_order_and_names() -> None:
    """Same names in another order are another set."""
    assert feature_set_hash(["a", "b"]) != feature_set_hash(["b", "a"])
    assert len(feature_set_hash(["a"])) == 16
