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
