"""Bars."""

import numpy as np
import pandas as pd
import pytest

from factories.bars import FOUR_HOURS, small_market
from steelyard.errors import FixData
from steelyard.market.bars import bar_sizes, by_symbol, until


def frame(stamps: list[str]) -> pd.DataFrame:
    times = pd.to_datetime(stamps, utc=True).astype("datetime64[ns, UTC]")
    return pd.DataFrame(
        {
            "symbol": "X",
            "timestamp": times,
            **dict.fromkeys(("open", "high", "low", "close", "volume"), 1.0),
        }
    )


def test_a_slice_is_a_view() -> None:
    """Nothing is copied for a prefix."""
    bars = small_market()["SIM00"]

    assert np.shares_memory(bars[:100].close, bars.close)
    assert len(bars[:100]) == 100


def test_a_bar_is_known_at_its_close() -> None:
    """At 04:00 the bar of 00:00 is, a moment earlier it is not."""
    market = {"SIM00": small_market()["SIM00"]}

    assert len(until(market, pd.Timestamp("2020-01-01 04:00", tz="UTC"))["SIM00"]) == 1
    assert until(market, pd.Timestamp("2020-01-01 03:59", tz="UTC")) == {}


@pytest.mark.parametrize(
    "stamps", [["2026-01-02", "2026-01-01"], ["2026-01-01", "2026-01-01"]], ids=["back", "twice"]
)
def test_stamps_that_do_not_rise_are_refused(stamps: list[str]) -> None:
    """The message names symbol and stamp."""
    with pytest.raises(FixData, match="X: bar 2026-01-01"):
        by_symbol(frame(stamps), FOUR_HOURS)


def test_each_symbol_has_its_usual_distance() -> None:
    """A hole does not change it; one bar tells nothing."""
    stamps = ["2026-01-01", "2026-01-02", "2026-01-03", "2026-02-01"]

    assert bar_sizes(frame(stamps)) == {"X": pd.Timedelta("1D")}
    assert bar_sizes(frame(["2026-01-01"])) == {}


@pytest.mark.parametrize("ordered", [True, False], ids=["in order", "mixed"])
def test_usual_distances_are_those_of_counting(ordered: bool) -> None:
    """Of equal counts the smallest; rows without symbol or stamp are ignored, repeats are none."""
    rng = np.random.default_rng(3)
    steps = rng.integers(0 if not ordered else 1, 4, (40, 9))
    stamps = pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(
        np.cumsum(steps, axis=1).ravel(), "h"
    )
    names = np.repeat([f"S{number % 20 if not ordered else number:02d}" for number in range(40)], 9)
    bars = pd.DataFrame({"symbol": names, "timestamp": stamps.as_unit("ns")})
    if not ordered:
        bars.loc[rng.integers(0, 360, 9), "symbol"] = None
        bars.loc[rng.integers(0, 360, 9), "timestamp"] = pd.NaT
        bars = bars.sample(frac=1, random_state=1)

    expected = {}
    for symbol, times in bars.dropna().groupby("symbol")["timestamp"]:
        gaps = times.sort_values().diff().dropna()
        expected[symbol] = gaps[gaps > pd.Timedelta(0)].mode().iloc[0]
    sizes = bar_sizes(bars)
    assert sizes == expected
    assert list(sizes) == sorted(sizes)
