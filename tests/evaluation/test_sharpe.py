"""Share of a Sharpe ratio that luck explains."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.evaluation.metrics import sharpe
from steelyard.evaluation.sharpe import (
    DeflatedSharpe,
    Moments,
    deflated_probability,
    deflated_sharpe,
    expected_maximum,
    mean_interval,
    minimum_track_record,
    probabilistic_sharpe,
)

FUND = Moments(days=24, sharpe=0.458, skew=-2.448, kurtosis=10.164)
"""The hedge fund of Bailey and López de Prado (2012), section 3: monthly returns."""
STRATEGY = Moments(days=1250, sharpe=2.5 / math.sqrt(250), skew=-3, kurtosis=10)
"""The example of Bailey and López de Prado (2014): five years of daily returns."""
returns = st.lists(st.floats(-0.1, 0.1), min_size=5, max_size=60).map(np.array)


def test_the_published_example_of_the_probabilistic_ratio() -> None:
    """0.982 for normal returns, 0.913 with skewness and kurtosis."""
    assert probabilistic_sharpe(replace(FUND, skew=0, kurtosis=3)) == pytest.approx(0.982, abs=5e-4)
    assert probabilistic_sharpe(FUND) == pytest.approx(0.913, abs=5e-4)


def test_the_published_example_of_the_deflated_ratio() -> None:
    """100 trials, variance of the annual ratios ½: threshold 0.1132 a day, 0.900; 46: 0.95."""
    variance = 0.5 / 250
    assert expected_maximum(100, variance) == pytest.approx(0.1132, abs=5e-5)
    assert deflated_probability(STRATEGY, 100, variance) == pytest.approx(0.9004, abs=5e-4)
    assert deflated_probability(STRATEGY, 46, variance) == pytest.approx(0.9505, abs=5e-4)


@pytest.mark.parametrize(
    ("periods", "years"), [(252, 2.73), (52, 2.83), (12, 3.24)], ids=["daily", "weekly", "monthly"]
)
def test_the_published_minimum_track_records(periods: int, years: float) -> None:
    """A ratio of 2 is above 1 with 95 % after 2.73 years of days, 2.83 of weeks, 3.24 of months."""
    per_period = 1 / math.sqrt(periods)
    days = minimum_track_record(Moments(100, 2 * per_period, 0, 3), per_period)

    assert days / periods == pytest.approx(years, abs=5e-3)


@given(daily=returns, trials=st.integers(1, 5_000))
def test_laws_of_the_deflated_ratio(daily: np.ndarray, trials: int) -> None:
    """0.5 against itself; deflating and trials only lower it; the needed days give exactly 95 %."""
    moments = Moments.from_returns(daily)
    if not math.isfinite(moments.sharpe) or not math.isfinite(moments.spread):
        return
    assert probabilistic_sharpe(moments, moments.sharpe) == 0.5
    assert deflated_probability(moments, trials) <= probabilistic_sharpe(moments)
    assert deflated_probability(moments, trials + 1) <= deflated_probability(moments, trials)
    assert deflated_probability(moments, 1) == probabilistic_sharpe(moments)
    needed = minimum_track_record(moments, trials=trials)
    if 2 <= needed < 1e9:
        longer = replace(moments, days=needed)  # type: ignore[arg-type]
        assert deflated_probability(longer, trials) == pytest.approx(0.95)


def test_the_best_of_many_worthless_systems_is_mostly_luck() -> None:
    """200 systems without skill over 300 days, 200 times: deflated, at most 10 % seem certain."""
    rng = np.random.default_rng(3)
    probable, deflated_probable, best_ratios = 0, 0, []
    for _ in range(200):
        systems = rng.normal(0, 0.01, (200, 300))
        best = Moments.from_returns(systems[np.argmax(systems.mean(axis=1) / systems.std(axis=1))])
        best_ratios.append(best.sharpe)
        probable += probabilistic_sharpe(best) > 0.95
        deflated_probable += deflated_probability(best, 200) > 0.95

    assert probable == 200
    assert deflated_probable <= 20
    assert np.mean(best_ratios) == pytest.approx(expected_maximum(200, 1 / 299), rel=0.03)


def test_a_single_ratio_is_as_certain_as_stated() -> None:
    """Without skill the probability is uniform: above 95 % in 5 % of cases, skewed or not."""
    rng = np.random.default_rng(4)
    for samples in (rng.standard_normal((2_000, 250)), 1 - rng.standard_exponential((2_000, 250))):
        share = np.mean(
            [probabilistic_sharpe(Moments.from_returns(daily)) > 0.95 for daily in samples]
        )
        assert share == pytest.approx(0.05, abs=0.017)


@pytest.mark.parametrize(
    "dependence", [0.0, 0.3], ids=["independent days", "days that follow each other"]
)
def test_the_interval_covers_the_true_mean_about_as_often_as_stated(dependence: float) -> None:
    """400 years of days: near 95 %; resampling single days would cover dependent ones in 85 %."""
    rng = np.random.default_rng(5)
    covered = 0
    for _ in range(400):
        daily = rng.standard_normal(365)
        for day in range(1, 365):
            daily[day] += dependence * daily[day - 1]
        low, high = mean_interval(daily)
        covered += low <= 0 <= high
    assert 0.89 <= covered / 400 <= 0.98


@pytest.mark.parametrize(
    "daily",
    [
        np.array([]),
        np.array([0.01]),
        np.full(30, 0.01),
        np.zeros(30),
        np.array([0.01, np.nan, 0.02]),
    ],
    ids=["no days", "one day", "equal days", "never traded", "an unknown day"],
)
def test_ratios_that_cannot_be_measured_are_none(daily: np.ndarray) -> None:
    """NaN inside, None in the JSON values."""
    deflated = DeflatedSharpe.from_returns(daily, 10)

    assert (deflated.sharpe, deflated.positive, deflated.luck, deflated.days_needed) == (
        None,
        None,
        None,
        None,
    )
    assert math.isnan(probabilistic_sharpe(Moments.from_returns(daily)))


def test_no_record_length_proves_a_losing_book() -> None:
    """``days_needed`` is None; the ratio is that of the books."""
    daily = np.tile([0.01, -0.02, 0.003], 40)
    deflated = DeflatedSharpe.from_returns(daily, 1)

    assert deflated.days_needed is None
    assert deflated.sharpe == pytest.approx(sharpe(daily))


def test_gains_are_paired_day_by_day() -> None:
    """Equal books gain 0; 0.05 % more a day is 1.5 % in 30 days; the baseline is not deflated."""
    baseline = np.random.default_rng(6).normal(0, 0.01, 200)
    equity = pd.DataFrame(
        {
            "baseline": baseline.cumsum(),
            "ml": (baseline + 0.0005).cumsum(),
            "blended": baseline.cumsum(),
        }
    )
    sharpes = deflated_sharpe(equity, 500)
    gains, books = sharpes.to_dict()["gains"], sharpes.books

    assert gains["ml"] == pytest.approx({"mean": 0.015, "low": 0.015, "high": 0.015})
    assert gains["blended"] == pytest.approx({"mean": 0.0, "low": 0.0, "high": 0.0})
    assert books["baseline"].positive is not None
    assert books["baseline"].luck == pytest.approx(1 - books["baseline"].positive)
    assert books["blended"].luck > books["baseline"].luck  # type: ignore[operator]
