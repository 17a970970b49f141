"""False alarms, against figures that can be counted by hand."""

import numpy as np
import pytest

from steelyard.evaluation.figures import streak_by_chance
from steelyard.monitoring.false_alarms import low_accuracy_alarm, streak_alarm


@pytest.mark.parametrize(
    ("trades", "losses", "win_rate", "probability"),
    [
        pytest.param(1, 1, 0.4, 0.6, id="one trade"),
        pytest.param(2, 1, 0.5, 0.75, id="one loss in two"),
        pytest.param(3, 2, 0.5, 3 / 8, id="LLL, LLW, WLL"),
        pytest.param(10, 11, 0.1, 0.0, id="too few trades"),
        pytest.param(5, 0, 0.5, 1.0, id="no streak at all"),
    ],
)
def test_a_streak_by_chance(trades: int, losses: int, win_rate: float, probability: float) -> None:
    """Counted over all orders of wins and losses."""
    assert streak_alarm(trades, losses, win_rate) == pytest.approx(probability)


def test_eleven_losses_in_2500_trades_of_a_healthy_system() -> None:
    """A system that wins 55 % loses eleven in a row in about a fifth of such lives.

    As drawing them shows too.
    """
    won = np.random.default_rng(1).random((2000, 2500)) < 0.55
    run = np.zeros(2000, dtype=int)
    longest = run.copy()
    for column in won.T:
        run = np.where(column, 0, run + 1)
        longest = np.maximum(longest, run)

    assert streak_alarm(2500, 11, 0.55) == pytest.approx(0.19, abs=0.005)
    assert (longest >= 11).mean() == pytest.approx(streak_alarm(2500, 11, 0.55), abs=0.03)


def test_a_low_month_by_chance() -> None:
    """Of 20 signals 8 or fewer right are under 45 %; 9 are not."""
    assert low_accuracy_alarm(20, 0.45, 0.5) == pytest.approx(0.2517, abs=1e-3)
    assert low_accuracy_alarm(0, 0.45, 0.5) == 0.0


def test_signals_that_hang_together_break_more_often() -> None:
    """Wins that follow wins and losses that follow losses, drawn 2,000 times.

    Against the stated rates.
    """
    correlation, generator = 0.3, np.random.default_rng(1)
    won = [generator.random(2000) < 0.55]
    for _ in range(499):
        won.append(
            np.where(generator.random(2000) < correlation, won[-1], generator.random(2000) < 0.55)
        )
    run, longest = np.zeros(2000, dtype=int), np.zeros(2000, dtype=int)
    for column in won:
        run = np.where(column, 0, run + 1)
        longest = np.maximum(longest, run)

    assert streak_alarm(500, 11, 0.55, correlation) == pytest.approx(
        (longest >= 11).mean(), abs=0.03
    )
    assert streak_alarm(500, 11, 0.55, correlation) > 5 * streak_alarm(500, 11, 0.55)
    assert low_accuracy_alarm(50, 0.45, 0.55, correlation) == pytest.approx(
        (np.mean(won[-50:], axis=0) < 0.45).mean(), abs=0.03
    )


@pytest.mark.parametrize("correlation", [0.0, 0.3])
@pytest.mark.parametrize("trades", [180, 500, 2500])
def test_the_streak_that_chance_exceeds_seldom(trades: int, correlation: float) -> None:
    """The bound of the breaker, in closed form, is that of the exact probability."""
    most = int(streak_by_chance(trades, 0.55, correlation, 0.05))

    assert streak_alarm(trades, most + 1, 0.55, correlation) <= 0.05
    assert streak_alarm(trades, most, 0.55, correlation) > 0.05
    assert streak_by_chance(0, 0.55, 0.0, 0.05) == 0
