"""Evidence of skill and decay: rarely false, early if true."""

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from factories.evidence import EARLIER
from factories.settled import settled
from steelyard.evaluation.books import SizingPolicy
from steelyard.evaluation.skill import (
    BetPolicy,
    Games,
    Skill,
    compile_bets,
    decay_value,
    measure_skill,
    new_games,
    play_bet,
    skill_value,
)

SIZING = SizingPolicy()
LIVES, DAYS = 250, 360


def simulate_lives(
    slope: float,
    day_size: int = 2,
    base_rates: tuple[float, float] = (0.5, 0.5),
    dependent_days: bool = False,
    spread: float = 0.1,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return skill and decay by day, shape (lives, days).

    Models claim edges of deviation ``spread`` and keep the share ``slope`` of them. The existing
    system takes half of the signals; the model knows the base rates of both classes.
    """
    rng, policy = np.random.default_rng(7), BetPolicy()
    skill, decay = np.empty((LIVES, DAYS)), np.empty((LIVES, DAYS))
    for life in range(LIVES):
        games = new_games(policy)
        classes = rng.integers(0, 2, (DAYS, day_size))
        claim = spread * rng.standard_normal((DAYS, day_size))
        p_win = np.clip(np.array(base_rates)[classes] + claim, 0.05, 0.95)
        luck = (
            np.repeat(rng.random((DAYS, 1)), day_size, 1)
            if dependent_days
            else rng.random((DAYS, day_size))
        )
        won = luck < np.array(base_rates)[classes] + slope * claim
        for day in range(DAYS):
            play_bet(games, compile_bets(policy), p_win[day], classes[day], won[day])
            skill[life, day], decay[life, day] = skill_value(games), decay_value(games)
    return skill, decay


@pytest.mark.parametrize(
    "dependent_days", [False, True], ids=["independent signals", "dependent days"]
)
@pytest.mark.parametrize("base_rates", [(0.5, 0.5), (0.4, 0.6), (0.58, 0.58)], ids=str)
def test_no_skill_rarely_looks_like_skill(
    base_rates: tuple[float, float], dependent_days: bool
) -> None:
    """An e-value of 20 within a year in at most 5 % of lives (Ville), plus 3 standard errors."""
    skill, _ = simulate_lives(0.0, base_rates=base_rates, dependent_days=dependent_days, day_size=3)

    assert (skill.max(axis=1) >= 20).mean() <= 0.05 + 3 * 0.0138


def test_skill_is_found_within_the_year() -> None:
    """Two signals a day at an accuracy of 58 %: evidence of 100 in 90 % of lives."""
    skill, _ = simulate_lives(1.0)

    assert (skill.max(axis=1) >= 100).mean() >= 0.9


def test_kept_claims_rarely_look_decayed_and_dead_ones_do() -> None:
    """100 months within a year: at most 2 % of lives if claims hold, most if they do not."""
    assert (simulate_lives(1.0)[1].max(axis=1) >= 100).mean() <= 0.02
    assert (simulate_lives(0.0)[1].max(axis=1) >= 100).mean() >= 0.7
    assert (simulate_lives(-1.0)[1][:, 240] >= 100).mean() >= 0.95


def place_bet(games: Games, p_win: float, won: NDArray[np.bool_]) -> None:
    """Play one bet on signals of one class with equal claims."""
    play_bet(
        games,
        compile_bets(BetPolicy()),
        np.full(len(won), p_win),
        np.zeros(len(won), dtype=np.int64),
        won,
    )


def test_dependent_signals_get_smaller_stakes() -> None:
    """20 equal outcomes have 20 times the variance of 20 independent ones: a win pays less."""
    rng = np.random.default_rng(4)
    independent, dependent = new_games(BetPolicy()), new_games(BetPolicy())
    for number in range(200):
        claim = 0.55 if number % 2 else 0.45
        place_bet(independent, claim, rng.random(20) < 0.5)
        place_bet(dependent, claim, np.repeat(rng.random() < 0.5, 20))
    before = independent.growth[0], dependent.growth[0]
    for games in (independent, dependent):
        place_bet(games, 0.55, np.ones(20, dtype=bool))

    assert independent.scores[2] / independent.scores[0] == pytest.approx(1, abs=0.3)
    assert dependent.scores[2] / dependent.scores[0] == pytest.approx(20, rel=0.15)
    assert dependent.growth[0] - before[1] < (independent.growth[0] - before[0]) / 3


def test_stakes_follow_the_share_of_claims_kept() -> None:
    """Claims of 2 points and an edge of 10 get larger stakes; large claims are not ruined."""
    rng = np.random.default_rng(5)

    def growth(claim: float, edge: float) -> float:
        games = new_games(BetPolicy())
        for _ in range(400):
            sign = rng.integers(0, 2) * 2 - 1
            place_bet(games, 0.5 + sign * claim, rng.random(10) < 0.5 + sign * edge)
        return float(games.growth[0])

    expected = 400 * 10 * 2 * 0.7 * (2 * 0.02 * 0.10 - 0.7 * 0.02**2)
    assert growth(0.02, 0.10) > 1.3 * expected
    assert growth(0.15, 0.02) > -10


@pytest.mark.parametrize("claim", [0.99, 0.01])
def test_no_day_loses_the_whole_capital(claim: float) -> None:
    """1,000 signals, all wrong, at the worst base rate: 5 % is left."""
    games = new_games(BetPolicy())
    place_bet(games, claim, np.full(1000, claim < 0.5))

    assert games.skill.min() >= 0.05 * BetPolicy().initial_share * (1 - 1e-9)


def simulate_settled(count: int, accuracy: float = 0.6, seed: int = 1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    p_win = np.where(rng.random(count) < 0.5, accuracy, 1 - accuracy)
    return settled(
        count,
        p_win=p_win,
        won=rng.random(count) < p_win,
        confidence_existing=rng.uniform(0, 100, count),
    )


def skill_at(frame: pd.DataFrame, days: int, since_day: int = 0) -> Skill:
    end, since = EARLIER + timedelta(days=days), EARLIER + timedelta(days=since_day)
    return measure_skill(frame, end, since, SIZING, BetPolicy())


def test_later_outcomes_and_earlier_decisions_are_ignored() -> None:
    """Rows outside (since, end] change nothing."""
    frame = simulate_settled(400)

    assert skill_at(frame, 300) == skill_at(frame.iloc[:300], 300)
    assert skill_at(frame, 300, 100) == skill_at(frame.iloc[100:300], 300)


def test_without_predictions_the_evidence_is_neutral() -> None:
    """An e-value of 1, and None for the signals still needed."""
    skill = skill_at(settled(30, p_win=np.nan), 30)

    assert (skill.settled, skill.skill, skill.decay_evidence) == (0, 1.0, 0.0)
    assert skill.more_needed(100) is None


def test_more_needed_follows_the_growth_so_far() -> None:
    """Halfway after 200 signals: 200 more; above the bound: 0; a losing game: None."""
    halfway = Skill(200, 10.0, 0.0, np.log(10) / 200, 0.56, 0.5, 0.1, 0.0)

    assert halfway.more_needed(100) == 200
    assert halfway.more_needed(10) == 0
    assert Skill(200, 0.5, 0.0, -0.01, 0.5, 0.5, 0.0, 0.0).more_needed(100) is None


def test_one_outcome_moves_the_evidence_in_its_direction() -> None:
    """A win at a high ``p_win`` raises the skill, a loss raises the decay."""
    frame = simulate_settled(50)
    frame.loc[49, ["p_win", "won"]] = [0.7, True]
    won = skill_at(frame, 50)
    frame.loc[49, "won"] = False
    lost = skill_at(frame, 50)

    assert won.skill > lost.skill
    assert won.decay_evidence < lost.decay_evidence


def test_the_correlation_of_neighbours_is_measured() -> None:
    """Outcomes in groups of five correlate by 4/5; too few, or all equal, give NaN."""
    rng, frame = np.random.default_rng(3), simulate_settled(1000)
    frame["won"] = pd.array(np.repeat(rng.random(200) < 0.5, 5), dtype="boolean")
    frame[["p_win", "confidence_ml"]] = [0.6, 80.0]
    dependent = skill_at(frame, 1000)
    independent = skill_at(
        frame.assign(won=pd.array(rng.random(1000) < 0.5, dtype="boolean")), 1000
    )

    assert (
        dependent.win_autocorrelation
        == dependent.right_autocorrelation
        == pytest.approx(0.8, abs=0.05)
    )
    assert independent.win_autocorrelation == pytest.approx(0.0, abs=0.1)
    assert np.isnan(skill_at(frame, 99).win_autocorrelation)
    assert np.isnan(
        skill_at(
            frame.assign(won=pd.array([True] * 1000, dtype="boolean")), 1000
        ).win_autocorrelation
    )
