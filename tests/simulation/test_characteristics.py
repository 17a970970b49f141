"""The operating characteristics of the default policy, and how lives are simulated."""

import doctest

import numpy as np
import pytest

from steelyard import api
from steelyard.evaluation.books import SizingPolicy
from steelyard.simulation.bounds import compile_bounds
from steelyard.simulation.characteristics import (
    SCENARIOS,
    AfterTurn,
    Cell,
    Design,
    Scenario,
    information_limit,
    measure_characteristics,
    run_lives,
    simulate,
    simulate_signals,
)
from steelyard.simulation.lives import BY_STREAK
from steelyard.weight.policy import LimitPolicy, SequentialPolicy, WeightPolicy

SIZING = SizingPolicy()


@pytest.fixture(scope="module")
def cells() -> dict[str, Cell]:
    """Each life at 50 signals a month for 24 months, 250 of each."""
    return {cell.world: cell for cell in simulate(WeightPolicy(), SIZING, [Design(250)])}


def test_a_model_without_skill_gets_no_weight_by_evidence(
    cells: dict[str, Cell],
) -> None:
    """In about 1 % of lives it ever reaches 20 %; by the ladder in at least 4 %."""
    assert cells["no skill"].modes["sequential"].reached["20%"] <= 0.03
    assert cells["no skill"].modes["sequential"].held <= 0.01
    assert cells["no skill"].modes["ladder"].reached["20%"] >= 0.04


def test_a_holdout_lets_the_skilled_begin_with_a_lead_and_keeps_the_others_out() -> None:
    """The first gate refuses most models without skill; a 60 % model is at 20 % within 4 months."""
    unskilled, skilled = (
        next(simulate(WeightPolicy(), SIZING, [Design(60, holdout=500)], [scenario]))
        for scenario in (SCENARIOS[0], SCENARIOS[4])
    )

    assert unskilled.modes["sequential"].reached["20%"] <= 0.01
    assert unskilled.modes["ladder"].reached["20%"] <= 0.03
    assert skilled.modes["sequential"].months_to["20%"] <= 4


def test_small_skill_earns_more_than_by_the_ladder(
    cells: dict[str, Cell],
) -> None:
    """55 %: at least 1.5 times the mean weight after 24 months."""
    assert (
        cells["55 %"].modes["sequential"].held_at_end
        >= 1.5 * cells["55 %"].modes["ladder"].held_at_end
    )
    assert cells["55 %"].modes["sequential"].held_at_end >= 0.25


def test_large_skill_is_not_held_up(cells: dict[str, Cell]) -> None:
    """60 %: a weight of 40 % within 10 months in the median."""
    assert cells["60 %"].modes["sequential"].months_to["40%"] <= 10


def test_a_healthy_model_is_left_alone(cells: dict[str, Cell]) -> None:
    """58 %: hardly ever disabled, where the ladder does it to most."""
    assert cells["58 %"].modes["sequential"].disabled <= 0.05
    assert cells["58 %"].modes["ladder"].disabled >= 0.5


def test_a_model_that_inverts_or_dies_comes_down(
    cells: dict[str, Cell],
) -> None:
    """Inverted: weight 0 within 4 months in 95 % of lives; dying: halved within 6 in 90 %."""
    assert cells["58 % inverted"].modes["sequential"].after_turn.zero_within_4_months >= 0.95
    assert cells["58 % dying"].modes["sequential"].after_turn.half_within_6_months >= 0.90


def test_no_test_is_faster_than_the_information_limit(
    cells: dict[str, Cell],
) -> None:
    """The median 55 % life has 20 % no sooner than ln(20)/KL; twice the signals halve that."""
    limit = cells["55 %"].information_limit_months

    assert cells["55 %"].modes["sequential"].months_to["20%"] >= limit
    assert information_limit(0.55, 100, 20.0) == pytest.approx(limit / 2, abs=0.1)


@pytest.mark.parametrize("dependence", [0.0, 0.5])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_the_signals_are_what_the_world_says(scenario: Scenario, dependence: float) -> None:
    """Pace, accuracy before and after the change and share taken are as stated; books unrelated."""
    design = Design(100, 24, 50, dependence)
    simulated = simulate_signals(scenario, design, 100, np.random.default_rng(1), 0.005)
    signals, early = simulated.signals, simulated.signals.day <= design.change_day
    right = (signals.p_win > 0.5) == signals.won
    later = (
        scenario.claim_retention if scenario.later_retention is None else scenario.later_retention
    )

    assert len(signals.day) / 100 / 24 == pytest.approx(50, rel=0.02)
    assert right[early].mean() == pytest.approx(
        0.5 + scenario.claim_retention * (scenario.accuracy - 0.5), abs=0.012
    )
    assert right[~early].mean() == pytest.approx(0.5 + later * (scenario.accuracy - 0.5), abs=0.012)
    assert (signals.ml > 70).mean() == pytest.approx(0.3, abs=0.01)
    assert np.corrcoef(signals.existing, signals.won)[0, 1] == pytest.approx(0, abs=0.02)
    assert (np.sign(signals.returns) == np.where(signals.won, 1, -1)).all()


def test_signals_of_a_day_hang_together_where_asked() -> None:
    """Pairs of one day are right or wrong together more often than pairs of two days."""

    def together(dependence: float) -> float:
        signals = simulate_signals(
            SCENARIOS[3], Design(50, 12, 100, dependence), 50, np.random.default_rng(2), 0.005
        ).signals
        right = (signals.p_win > 0.5) == signals.won
        same_day = np.diff(signals.day) == 0
        return float((right[1:] == right[:-1])[same_day].mean())

    assert together(0.5) > together(0.0) + 0.1


def test_the_same_seed_gives_the_same_lives() -> None:
    """Another seed gives other lives."""
    bounds = [compile_bounds(WeightPolicy(), SIZING.threshold)]

    def weights(seed: int) -> np.ndarray:  # type: ignore[type-arg]
        return run_lives(SCENARIOS[4], Design(20, 6, 50, 0.0, seed), bounds, 0.005)[0].weights

    assert np.array_equal(weights(1), weights(1))
    assert not np.array_equal(weights(1), weights(2))


def test_lives_that_never_had_weight_leave_no_figures_after_the_turn() -> None:
    """Nothing to come down from: None, not an error."""
    design = Design(10, 6, 5)
    [only] = run_lives(
        SCENARIOS[5], design, [compile_bounds(WeightPolicy(), SIZING.threshold)], 0.005
    )
    after_change = measure_characteristics(
        SCENARIOS[5], design, only._replace(weights=np.zeros_like(only.weights))
    ).after_turn

    assert after_change == AfterTurn(0.0, None, None, None, None)


@pytest.mark.parametrize("dependence", [0.0, 0.5])
def test_a_coin_breaks_the_streak_of_chance_in_no_more_than_its_share_of_years(
    dependence: float,
) -> None:
    """At 100 signals a month the bound of 5 % holds; the worst dependence doubles it at most."""
    coin = Scenario("coin", 0.55, 0.0)
    policy = WeightPolicy(
        limits=LimitPolicy(breaker_accuracy=0.0, breaker_streak=1, breaker_losing_days=1000),
        sequential=SequentialPolicy(disable=1e9),
    )
    design = Design(300, 12, 100, dependence)
    [paths] = run_lives(coin, design, [compile_bounds(policy, SIZING.threshold)], 0.005)

    assert ((paths.breakers & BY_STREAK) > 0).any(axis=1).mean() <= 0.05 * (
        1 + 2 * dependence
    ) + 0.03


def test_the_public_simulation_runs_its_example() -> None:
    """Here, where the lives are compiled already."""
    [example] = doctest.DocTestFinder(recurse=False).find(
        api.simulate, "simulate", globs=dict(vars(api))
    )
    assert doctest.DocTestRunner().run(example).failed == 0
