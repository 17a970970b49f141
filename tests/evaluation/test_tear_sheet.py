"""The tear sheet: growth, Sortino, Calmar, exposure, months and symbols, checked by hand."""

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from factories.bars import bars_of
from factories.evidence import EARLIER
from factories.settled import held
from steelyard.evaluation.books import equity_curves
from steelyard.evaluation.tear_sheet import (
    annual_growth,
    buy_and_hold,
    monthly_returns,
    sortino,
    symbol_figures,
    tear_sheets,
)

YEAR = timedelta(days=365)
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("gain", "span", "growth"),
    [
        pytest.param(0.10, YEAR, 0.10, id="a year is itself"),
        pytest.param(0.21, 2 * YEAR, 0.10, id="two years compound"),
        pytest.param(0.10, YEAR / 2, 0.21, id="half a year twice"),
        pytest.param(-0.19, 2 * YEAR, -0.10, id="a loss"),
        pytest.param(-1.0, YEAR, math.nan, id="nothing left"),
        pytest.param(0.05, timedelta(minutes=10), math.nan, id="ten minutes make no year"),
        pytest.param(0.0, timedelta(0), math.nan, id="no time yet"),
    ],
)
def test_growth_is_the_rate_that_compounds_to_the_gain(
    gain: float, span: timedelta, growth: float
) -> None:
    """1 + gain = (1 + growth) to the power of the years."""
    assert annual_growth(gain, span) == pytest.approx(growth, nan_ok=True)


@pytest.mark.parametrize(
    ("daily", "ratio"),
    [
        pytest.param([0.02, -0.01, 0.02, -0.01], 0.005 / math.sqrt(0.00005), id="by hand"),
        pytest.param([0.0, 0.0], 0.0, id="never traded"),
        pytest.param([0.01, 0.02], math.nan, id="no losing day"),
        pytest.param([0.01], math.nan, id="one day"),
    ],
)
def test_sortino_divides_by_the_losing_days_alone(daily: list[float], ratio: float) -> None:
    """The root of their mean square over all days, annualised with the root of 365."""
    assert sortino(np.array(daily)) == pytest.approx(ratio * math.sqrt(365), nan_ok=True)


def test_a_tear_sheet_has_growth_over_drawdown_and_the_time_in_the_market() -> None:
    """Ten trades of half a day each in 40 days; two of them at once count once."""
    net = np.where(np.arange(10) == 4, -0.02, 0.01)
    signals = held(10, net_return=net)
    doubled = pd.concat([signals, signals.assign(symbol="T")]).sort_values("settled_at")
    end = EARLIER + timedelta(days=40)
    sheets = [
        tear_sheets(rows, equity_curves(rows, EARLIER, end), EARLIER, end)["blended"]
        for rows in (signals, doubled)
    ]

    assert sheets[0].exposure == sheets[1].exposure == pytest.approx(0.125)
    growth = annual_growth(9 * 0.0025 - 0.005, timedelta(days=40))
    assert sheets[0].growth == pytest.approx(growth)
    assert sheets[0].calmar == pytest.approx(growth / 0.005)


def test_an_account_that_never_traded_has_no_calmar_and_was_never_in_the_market() -> None:
    """Nothing is made up where there is nothing to measure."""
    signals = held(3, confidence_ml=10.0)
    end = EARLIER + timedelta(days=30)
    sheet = tear_sheets(signals, equity_curves(signals, EARLIER, end), EARLIER, end)["ml"]

    assert (sheet.growth, sheet.exposure, sheet.sortino) == (0.0, 0.0, 0.0)
    assert sheet.to_dict()["calmar"] is None


def test_months_add_up_to_the_equity_and_a_midnight_belongs_to_the_day_before() -> None:
    """The gain of 31 January is January's, though its day ends in February."""
    signals = held(60, confidence_existing=np.where(np.arange(60) < 31, 80.0, 10.0))
    end = EARLIER + timedelta(days=60)
    months = monthly_returns(equity_curves(signals, EARLIER, end))
    days = pd.date_range(EARLIER, periods=60).month

    assert [month.month for month in months] == sorted(set(days))
    assert [month.blended for month in months] == pytest.approx(
        [0.0025 * int((days == month.month).sum()) for month in months]
    )
    assert sum(month.difference for month in months) == pytest.approx(0.0025 * 29)


def test_buy_and_hold_buys_at_the_last_close_that_was_known() -> None:
    """Before the first bar at its open; after the last bar nothing is known."""
    bars = bars_of([(10, 11, 9, 10.5), (10.5, 12, 10, 12), (12, 15, 12, 15)])

    assert buy_and_hold(bars, NEW_YEAR - timedelta(days=1)) == pytest.approx(0.5)
    assert buy_and_hold(bars, NEW_YEAR + timedelta(hours=1)) == pytest.approx(15 / 10.5 - 1)
    assert math.isnan(buy_and_hold(bars, NEW_YEAR + timedelta(hours=3)))


def test_symbols_are_ordered_by_what_they_brought() -> None:
    """Trades, share won and both accounts of each symbol; without bars no buy-and-hold."""
    signals = held(4, symbol=["A", "B", "A", "B"], net_return=[-0.01, 0.01, 0.01, 0.01])
    best, worst = symbol_figures(signals, {}, EARLIER)

    assert (best.symbol, best.trades, best.win_rate) == ("B", 2, 1.0)
    assert best.blended == best.baseline == pytest.approx(0.005)
    assert (worst.symbol, worst.win_rate, worst.blended) == ("A", 0.5, pytest.approx(0.0))
    assert worst.to_dict()["buy_and_hold"] is None
