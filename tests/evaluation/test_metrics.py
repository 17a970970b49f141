"""Measures, against figures computed by hand."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.evaluation import metrics

NAN, INF = float("nan"), float("inf")
START = datetime(2026, 1, 1, tzinfo=UTC)
NONE = np.empty(0)


def array(*values: float) -> np.ndarray:
    return np.array(values, dtype=float)


@pytest.mark.parametrize(
    ("measure", "values", "expected"),
    [
        pytest.param(
            metrics.max_drawdown, array(0.1, -0.2, 0.05, -0.1), 0.25, id="drawdown from the peak"
        ),
        pytest.param(metrics.max_drawdown, array(-0.1), 0.1, id="drawdown from the start"),
        pytest.param(metrics.max_drawdown, array(0.1, 0.2), 0.0, id="no drawdown"),
        pytest.param(metrics.max_drawdown, NONE, 0.0, id="no trades, no drawdown"),
        pytest.param(metrics.max_drawdown, array(NAN, 0.1), NAN, id="NaN drawdown"),
        pytest.param(metrics.profit_factor, array(3.0, -1.0, -0.5), 2.0, id="profit factor"),
        pytest.param(metrics.profit_factor, array(3.0), INF, id="no loss"),
        pytest.param(metrics.profit_factor, NONE, NAN, id="no trades, no factor"),
        pytest.param(metrics.profit_factor, array(0.0, 0.0), NAN, id="neither gain nor loss"),
        pytest.param(metrics.profit_factor, array(1.0, NAN), NAN, id="NaN factor, not infinite"),
        pytest.param(metrics.payoff_ratio, array(3.0, 1.0, -1.0), 2.0, id="payoff"),
        pytest.param(metrics.payoff_ratio, array(3.0), NAN, id="no loss, no payoff"),
        pytest.param(metrics.payoff_ratio, array(3.0, NAN, -1.0), NAN, id="NaN payoff"),
        pytest.param(metrics.win_rate, array(1.0, NAN), NAN, id="NaN rate"),
        pytest.param(
            metrics.win_rate, array(1.0, 0.0, -1.0, -2.0), 0.25, id="a return of 0 is no win"
        ),
        pytest.param(metrics.win_rate, NONE, NAN, id="no trades, no rate"),
        pytest.param(metrics.sharpe, array(0.0, 0.0, 0.0), 0.0, id="never traded"),
        pytest.param(metrics.sharpe, array(0.01, 0.01), NAN, id="constant return"),
        pytest.param(metrics.sharpe, array(0.01), NAN, id="one day"),
        pytest.param(
            metrics.sharpe, array(0.02, 0.0), 0.01 / np.sqrt(2e-4) * np.sqrt(365), id="two days"
        ),
        pytest.param(metrics.sharpe, array(NAN, 0.01), NAN, id="NaN day"),
    ],
)
def test_a_measure_of_returns(measure: object, values: np.ndarray, expected: float) -> None:
    """Known values and the edges."""
    assert measure(values) == pytest.approx(expected, nan_ok=True)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("won", "streak"),
    [
        ([], 0),
        ([True], 0),
        ([False], 1),
        ([False, False, True, False], 2),
        ([True, False, False], 2),
    ],
)
def test_the_longest_losing_streak(won: list[bool], streak: int) -> None:
    """Runs at the start, in the middle and at the end."""
    assert metrics.longest_losing_streak(np.array(won, dtype=bool)) == streak


def test_days_without_trades_count_as_zero() -> None:
    """Five days with two trades on the third and one at the end of the last."""
    stamps = np.array(["2026-01-03T05", "2026-01-03T20", "2026-01-06T00"], dtype="datetime64[ns]")
    daily = metrics.daily_returns(stamps, array(0.01, 0.02, 0.04), START, START + timedelta(days=5))

    assert daily == pytest.approx([0, 0, 0.03, 0, 0.04])


def test_a_day_that_has_just_begun_counts_as_a_day() -> None:
    """With an end at noon, trades of that morning do not count for the day before."""
    stamps = np.array(["2026-01-02T20", "2026-01-03T09"], dtype="datetime64[ns]")
    daily = metrics.daily_returns(
        stamps, array(0.01, 0.02), START, START + timedelta(days=2, hours=12)
    )

    assert daily == pytest.approx([0, 0.01, 0.02])


def test_sharpe_of_session_days_is_that_of_calendar_days() -> None:
    """A return on five days of seven: √365 over all days agrees with √260 over sessions."""
    rng = np.random.default_rng(1)
    weeks = np.zeros((200, 7))
    weeks[:, :5] = rng.normal(0.0005, 0.01, (200, 5))
    sessions = weeks[:, :5].ravel()
    expected = sessions.mean() / sessions.std(ddof=1) * np.sqrt(365 * 5 / 7)

    assert metrics.sharpe(weeks.ravel()) == pytest.approx(expected, rel=0.01)


def test_scores_of_probabilities() -> None:
    """Accuracy, no-information rate, Brier and log-loss of four predictions."""
    p_win, won = array(0.9, 0.6, 0.4, 0.5), np.array([True, False, False, True])

    assert metrics.accuracy(p_win, won) == 0.5
    assert metrics.no_information_rate(np.array([True, True, False])) == pytest.approx(2 / 3)
    assert metrics.brier(p_win, won) == pytest.approx((0.01 + 0.36 + 0.16 + 0.25) / 4)
    assert metrics.log_loss(p_win, won) == pytest.approx(-np.log([0.9, 0.4, 0.6, 0.5]).mean())
    assert np.isnan(metrics.accuracy(NONE, np.empty(0, dtype=bool)))


def test_a_signal_without_a_prediction_is_not_a_wrong_one() -> None:
    """NaN is left out of the accuracy and gives NaN in the other scores."""
    p_win, won = array(0.9, NAN, 0.4), np.array([True, True, True])

    assert metrics.accuracy(p_win, won) == 0.5
    assert np.isnan(metrics.brier(p_win, won))
    assert np.isnan(metrics.log_loss(p_win, won))


@pytest.mark.parametrize(
    ("latency", "expected"),
    [
        pytest.param(np.arange(101.0), (50, 95, 99), id="0 to 100 ms"),
        pytest.param(array(7.0, NAN), (7, 7, 7), id="one measured, one not"),
        pytest.param(NONE, (NAN, NAN, NAN), id="nothing measured"),
    ],
)
def test_latency_percentiles_ignore_nan(latency: np.ndarray, expected: tuple[float, ...]) -> None:
    """p50, p95 and p99 of the measured values."""
    assert metrics.latency_percentiles(latency) == pytest.approx(expected, nan_ok=True)


def test_an_honest_model_lies_on_the_diagonal() -> None:
    """Exact shares lie on it; a model 10 points off everywhere has an ECE of 10 points."""
    p_win = np.repeat([0.2, 0.8], 50)
    won = np.concatenate([np.arange(50) < 10, np.arange(50) < 40])

    predicted, happened, counts = metrics.reliability(p_win, won, bins=2)
    assert predicted == pytest.approx(happened)
    assert counts.tolist() == [50, 50]
    assert metrics.calibration_error(
        np.full(100, 0.6), np.tile([True, False], 50)
    ) == pytest.approx(0.1)


@given(st.lists(st.floats(-0.1, 0.1), min_size=1, max_size=30))
def test_a_drawdown_is_never_negative_nor_larger_than_all_losses(returns: list[float]) -> None:
    """0 ≤ drawdown ≤ sum of the losses."""
    values = array(*returns)

    assert 0 <= metrics.max_drawdown(values) <= -values[values < 0].sum() + 1e-12


def test_a_model_as_good_as_a_constant_is_not_better() -> None:
    """Right exactly as often as the larger class occurs: never above its share by rounding."""
    ties = [(settled, won) for settled in range(1, 120) for won in range(settled + 1)]

    assert not any(
        max(won, settled - won) / settled > metrics.no_information_rate(np.arange(settled) < won)
        for settled, won in ties
    )
