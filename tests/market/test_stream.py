"""Features bar by bar are those of the batch, on real bars and on odd ones."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from steelyard.errors import FixData
from steelyard.gateways.sources import SourceSettings, read
from steelyard.market.bars import Bars, by_symbol
from steelyard.market.features import FEATURES, features
from steelyard.market.stream import FeatureStream

DAY = pd.Timedelta("1D")
NAMES = [feature.name for feature in FEATURES]


@pytest.fixture(scope="module")
def sample() -> dict[str, Bars]:
    """Three real stocks of the built-in sample, their last two years and a half."""
    frame = read(SourceSettings(kind="sample")).frame
    kept = frame[frame["symbol"].isin(["AAPL", "GOOG", "MSFT"])]
    return {
        symbol: bars[-640:]
        for symbol, bars in by_symbol(kept[~kept.duplicated(["symbol", "timestamp"])], DAY).items()
    }


def batch(bars: Mapping[str, Bars], symbol: str, side: str) -> np.ndarray:
    """The batch features of a signal at the newest bar."""
    stamp = pd.Timestamp(bars[symbol].timestamp[-1], tz="UTC")
    signal = pd.DataFrame({"symbol": [symbol], "timestamp": [stamp], "side": [side]})
    return features(bars, signal)[NAMES].to_numpy(dtype=float)[0]


def test_a_year_of_real_bars_gives_the_same_features_row_for_row(sample: dict[str, Bars]) -> None:
    """252 days, three symbols, both sides.

    Every feature of every row within 1e-9 of the batch over the whole history.
    """
    first = 380
    streamed = FeatureStream({symbol: bars[:first] for symbol, bars in sample.items()})
    worst = 0.0
    for end in range(first + 1, first + 253):
        so_far = {symbol: bars[:end] for symbol, bars in sample.items()}
        streamed.follow(so_far)
        if end % 12:
            continue
        for symbol in sample:
            for side, sign in (("buy", 1), ("sell", -1)):
                worst = max(
                    worst,
                    float(np.abs(streamed.at(symbol, sign) - batch(so_far, symbol, side)).max()),
                )
    whole = features(sample, _every_bar(sample, first, first + 252))[NAMES]

    assert worst < 1e-9
    again = FeatureStream({symbol: bars[:first] for symbol, bars in sample.items()})
    for number, end in enumerate(range(first + 1, first + 253)):
        again.follow({symbol: bars[:end] for symbol, bars in sample.items()})
        for column, symbol in enumerate(sample):
            row = whole.iloc[number * len(sample) + column].to_numpy(dtype=float)
            np.testing.assert_allclose(again.at(symbol, 1), row, rtol=0, atol=1e-9, err_msg=symbol)


def _every_bar(sample: dict[str, Bars], first: int, last: int) -> pd.DataFrame:
    rows = [
        {"symbol": symbol, "timestamp": pd.Timestamp(bars.timestamp[at], tz="UTC"), "side": "buy"}
        for at in range(first, last)
        for symbol, bars in sample.items()
    ]
    return pd.DataFrame(rows)


def odd(kind: str, n: int = 400) -> Bars:
    rng = np.random.default_rng(4)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, n)))
    volume = rng.integers(1, 1000, n).astype(float)
    if kind == "flat for a hundred bars":
        close[200:300] = close[200]
    open_ = np.concatenate([close[:1], close[:-1]])
    high, low = np.maximum(open_, close) * 1.001, np.minimum(open_, close) * 0.999
    if kind == "no range at all":
        open_, high, low = close.copy(), close.copy(), close.copy()
    if kind == "no volume (FX)":
        volume[:] = np.nan
    if kind == "volume 0 (index)":
        volume[:] = 0
    stamps = np.datetime64("2024-01-01", "ns") + np.arange(n) * np.timedelta64(1, "h")
    return Bars("X", pd.Timedelta("1h"), stamps, open_, high, low, close, volume)


@pytest.mark.parametrize(
    "kind",
    ["plain", "flat for a hundred bars", "no range at all", "no volume (FX)", "volume 0 (index)"],
)
def test_odd_markets_give_the_same(kind: str) -> None:
    """Every bar from the warm-up on."""
    bars = odd(kind)
    streamed = FeatureStream({"X": bars[:130]})
    for end in range(131, len(bars)):
        streamed.follow({"X": bars[:end]})
        if end % 7 == 0 or 195 < end < 310:
            np.testing.assert_allclose(
                streamed.at("X", 1),
                batch({"X": bars[:end]}, "X", "buy"),
                rtol=0,
                atol=1e-9,
                err_msg=str(end),
            )


def test_a_symbol_that_is_not_warmed_up_is_the_batch_itself() -> None:
    """NaN where the batch has NaN, and not counted in ranks; it joins when it is warmed up."""
    old, young = odd("plain"), odd("plain")
    young = Bars(
        "Y",
        young.bar_size,
        young.timestamp,
        young.open,
        young.high,
        young.low,
        young.close,
        young.volume,
    )[300:]
    streamed = FeatureStream({"X": old[:330], "Y": young[:30]})
    for end in range(331, 400):
        so_far = {"X": old[:end], "Y": young[: end - 300]}
        streamed.follow(so_far)
        for symbol in so_far:
            np.testing.assert_allclose(
                streamed.at(symbol, -1), batch(so_far, symbol, "sell"), rtol=0, atol=1e-9
            )


@pytest.mark.parametrize("gap", [1, 5, 127, 128, 200])
def test_bars_that_come_late_come_all_at_once(gap: int) -> None:
    """A process that was away for a while catches up, or starts anew."""
    bars = odd("plain")
    streamed = FeatureStream({"X": bars[:150]})
    streamed.follow({"X": bars[: 150 + gap]})

    np.testing.assert_allclose(
        streamed.at("X", 1), batch({"X": bars[: 150 + gap]}, "X", "buy"), rtol=0, atol=1e-9
    )


def test_a_rewritten_history_starts_anew() -> None:
    """A split, adjusted backwards: the same stamps on another scale."""
    bars = odd("plain")
    half = Bars(
        "X",
        bars.bar_size,
        bars.timestamp,
        bars.open / 2,
        bars.high / 2,
        bars.low / 2,
        bars.close / 2,
        bars.volume,
    )
    streamed = FeatureStream({"X": bars[:200]})
    streamed.follow({"X": half[:201]})

    np.testing.assert_allclose(
        streamed.at("X", 1), batch({"X": half[:201]}, "X", "buy"), rtol=0, atol=1e-9
    )


def test_thousands_of_bars_wear_nothing_out() -> None:
    """Longer than what is kept: the windows move with it."""
    bars = odd("plain", 9000)
    streamed = FeatureStream({"X": bars[:200]})
    for end in range(201, len(bars) + 1):
        streamed.follow({"X": bars[max(0, end - 3) : end]})

    np.testing.assert_allclose(
        streamed.at("X", 1), batch({"X": bars}, "X", "buy"), rtol=0, atol=1e-9
    )


def test_a_bad_bar_leaves_every_other_symbol_as_it_should_be() -> None:
    """It is refused; the symbols before it have taken in theirs, those after it still can."""
    good, bad, later = odd("plain"), odd("plain"), odd("no range at all")
    close = bad.close.copy()
    close[200] = np.inf
    bad = replace(bad, close=close)
    streamed = FeatureStream({"A": good[:200], "B": bad[:200], "C": later[:200]})

    with pytest.raises(FixData, match="is not a finite number"):
        streamed.follow({"A": good[:201], "B": bad[:201], "C": later[:201]})
    healed = {"A": good[:202], "B": good[:202], "C": later[:202]}
    streamed.follow(healed)

    for symbol in healed:
        np.testing.assert_allclose(
            streamed.at(symbol, 1), batch(healed, symbol, "buy"), rtol=0, atol=1e-9
        )


def test_following_changes_no_bar() -> None:
    """Inputs come back unmodified."""
    bars = odd("plain")
    before = bars.close.copy()
    FeatureStream({"X": bars[:200]}).follow({"X": bars})

    np.testing.assert_array_equal(bars.close, before)
