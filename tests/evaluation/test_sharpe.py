"""How much of a Sharpe ratio luck explains."""

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
FOUND = Moments(days=1250, sharpe=2.5 / math.sqrt(250), skew=-3, kurtosis=10)
"""The strategy of Bailey and López de Prado (2014), a numerical example: five years of daily returns."""
returns = st.lists(st.floats(-0.1, 0.1), min_size=5, max_size=60).map(np.array)


def test_the_published_example_of_the_probabilistic_ratio() -> None:
    """0.982 taken as normal, 0.913 with its skewness and kurtosis."""
    assert probabilistic_sharpe(replace(FUND, skew=0, kurtosis=3)) == pytest.approx(0.982, abs=5e-4)
    assert probabilistic_sharpe(FUND) == pytest.approx(0.913, abs=5e-4)


def test_the_published_example_of_the_deflated_ratio() -> None:
    """100 trials whose annualised ratios vary by 1/2: a threshold of 0.1132 a day and 0.900; with 46 trials 0.95."""
    variance = 0.5 / 250
    assert expected_maximum(100, variance) == pytest.approx(0.1132, abs=5e-5)
    assert deflated_probability(FOUND, 100, variance) == pytest.approx(0.9004, abs=5e-4)
    assert deflated_probability(FOUND, 46, variance) == pytest.approx(0.9505, abs=5e-4)


@pytest.mark.parametrize(
    ("a_year", "years"), [(252, 2.73), (52, 2.83), (12, 3.24)], ids=["daily", "weekly", "monthly"]
)
def test_the_published_minimum_track_records(a_year: int, years: float) -> None:
    """A ratio of 2 is over 1 with 95 %, by normal returns, after 2.73 years of days, 2.83 of weeks, 3.24 of months."""
    per_period = 1 / math.sqrt(a_year)
    found = minimum_track_record(Moments(100, 2 * per_period, 0, 3), per_period)

    assert found / a_year == pytest.approx(years, abs=5e-3)


@given(daily=returns, trials=st.integers(1, 5_000))
def test_the_laws(daily: np.ndarray, trials: int) -> None:
    """Against itself 0.5; deflating never raises; more trials never help; the needed days make it exactly sure."""
    found = Moments.from_returns(daily)
    if not math.isfinite(found.sharpe) or not math.isfinite(found.spread):
        return
    assert probabilistic_sharpe(found, found.sharpe) == 0.5
    assert deflated_probability(found, trials) <= probabilistic_sharpe(found)
    assert deflated_probability(found, trials + 1) <= deflated_probability(found, trials)
    assert deflated_probability(found, 1) == probabilistic_sharpe(found)
    needed = minimum_track_record(found, trials=trials)
    if needed < 1e9:
        assert deflated_probability(replace(found, days=needed), trials) == pytest.approx(0.95)  # type: ignore[arg-type]


def test_the_best_of_many_worthless_systems_is_mostly_luck() -> None:
    """200 systems without skill over 300 days, 200 times: over half of the best ones seem sure, deflated hardly any."""
    rng = np.random.default_rng(3)
    sure, deflated_sure, tops = 0, 0, []
    for _ in range(200):
        systems = rng.normal(0, 0.01, (200, 300))
        best = Moments.from_returns(systems[np.argmax(systems.mean(axis=1) / systems.std(axis=1))])
        tops.append(best.sharpe)
        sure += probabilistic_sharpe(best) > 0.95
        deflated_sure += deflated_probability(best, 200) > 0.95

    assert sure == 200
    assert deflated_sure <= 20
    assert np.mean(tops) == pytest.approx(expected_maximum(200, 1 / 299), rel=0.03)


def test_a_single_ratio_is_as_sure_as_it_says() -> None:
    """Without skill the probability of skill is uniform: over 95 % one time in twenty, skewed returns or not."""
    rng = np.random.default_rng(4)
    for draw in (rng.standard_normal((2_000, 250)), 1 - rng.standard_exponential((2_000, 250))):
        over = np.mean([probabilistic_sharpe(Moments.from_returns(daily)) > 0.95 for daily in draw])
        assert over == pytest.approx(0.05, abs=0.017)


@pytest.mark.parametrize(
    "dependence", [0.0, 0.3], ids=["independent days", "days that follow each other"]
)
def test_the_interval_holds_the_true_mean_about_as_often_as_it_says(dependence: float) -> None:
    """A year of days, 400 times: near 95 %; days resampled one by one would hold the dependent one in 85 %."""
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(400):
        daily = rng.standard_normal(365)
        for day in range(1, 365):
            daily[day] += dependence * daily[day - 1]
        low, high = mean_interval(daily)
        held += low <= 0 <= high
    assert 0.89 <= held / 400 <= 0.98


@pytest.mark.parametrize(
    "daily",
    [
        np.array([]),
        np.array([0.01]),
        np.full(30, 0.01),
        np.zeros(30),
        np.array([0.01, np.nan, 0.02]),
    ],
    ids=["no days", "one day", "equal days", "never traded", "a day unknown"],
)
def test_what_cannot_be_measured_is_not_known(daily: np.ndarray) -> None:
    """NaN, which JSON shows as None."""
    found = DeflatedSharpe.from_returns(daily, 10)

    assert (found.sharpe, found.positive, found.luck, found.days_needed) == (None, None, None, None)
    assert math.isnan(probabilistic_sharpe(Moments.from_returns(daily)))


def test_a_losing_book_needs_no_longer_record_but_another_model() -> None:
    """No length makes a ratio below 0 sure; its ratio is that of the books."""
    daily = np.tile([0.01, -0.02, 0.003], 40)
    found = DeflatedSharpe.from_returns(daily, 1)

    assert found.days_needed is None
    assert found.sharpe == pytest.approx(sharpe(daily))


def test_gains_are_paired_day_by_day() -> None:
    """The same book gains nothing, half a per mille a day more is 1.5 % in 30 days for sure; the baseline was not sought."""
    base = np.random.default_rng(6).normal(0, 0.01, 200)
    equity = pd.DataFrame(
        {"baseline": base.cumsum(), "ml": (base + 0.0005).cumsum(), "blended": base.cumsum()}
    )
    found = deflated_sharpe(equity, 500)
    gains, books = found["gains"], found["books"]

    assert gains["ml"] == pytest.approx({"mean": 0.015, "low": 0.015, "high": 0.015})  # type: ignore[index]
    assert gains["blended"] == pytest.approx({"mean": 0.0, "low": 0.0, "high": 0.0})  # type: ignore[index]
    assert books["baseline"]["luck"] == pytest.approx(1 - books["baseline"]["positive"])  # type: ignore[index]
    assert books["blended"]["luck"] > books["baseline"]["luck"]  # type: ignore[index]
