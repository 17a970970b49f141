"""Evidence of skill and decay: rarely false, early if true."""

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from factories.evidence import EARLIER
from factories.settled import UNLIMITED, settled
from steelyard.evaluation.books import SizingPolicy
from steelyard.evaluation.positions import PositionLimits, take_positions
from steelyard.evaluation.skill import (
    BetPolicy,
    Games,
    Origin,
    Skill,
    compile_bets,
    decay_value,
    measure_skill,
    new_games,
    play_bet,
    skill_value,
)
from steelyard.simulation.markets import NULL_MARKETS, Market, evidence_reached

LIVES, DAYS = 250, 360


def simulate_lives(
    slope: float,
    day_size: int = 2,
    spread: float = 0.1,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return skill and decay by day, shape (lives, days).

    Models claim edges of deviation ``spread`` and keep the share ``slope`` of them. The existing
    system takes half of the signals.
    """
    rng, policy = np.random.default_rng(7), BetPolicy()
    skill, decay = np.empty((LIVES, DAYS)), np.empty((LIVES, DAYS))
    for life in range(LIVES):
        games = new_games(policy)
        classes = rng.integers(0, 2, (DAYS, day_size))
        claim = spread * rng.standard_normal((DAYS, day_size))
        p_win = np.clip(0.5 + claim, 0.05, 0.95)
        won = rng.random((DAYS, day_size)) < 0.5 + slope * claim
        for day in range(DAYS):
            play_bet(games, compile_bets(policy), p_win[day], classes[day], won[day])
            skill[life, day], decay[life, day] = skill_value(games), decay_value(games)
    return skill, decay


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


@pytest.mark.parametrize(
    ("claimed", "months"),
    [(0.55, 12), (0.525, 14), (0.51, 28)],
    ids=["honest", "claims half", "claims a fifth"],
)
def test_a_model_that_claims_too_little_is_found(claimed: float, months: int) -> None:
    """The portfolio of stakes finds an edge of 55 % at 50 signals a month behind small claims."""
    market = Market("", claimed, 0.05 / (claimed - 0.5))
    reached, _ = evidence_reached(market, 300, 36, 50, (20.0,), BetPolicy())

    assert np.median(reached) <= months


@pytest.mark.parametrize("signals", [50, 300])
@pytest.mark.parametrize("market", NULL_MARKETS, ids=lambda market: market.name)
def test_no_skill_rarely_looks_like_skill(market: Market, signals: int) -> None:
    """1/alpha in at most alpha of lives, or with a warning; plus 3 standard errors (Ville)."""
    lives = 300
    reached, warned = evidence_reached(market, lives, 24, signals, (20.0, 100.0), BetPolicy())
    unwarned = (np.isfinite(reached) & ~warned).mean(axis=0)

    for alpha, share in zip((0.05, 0.01), unwarned, strict=True):
        assert share <= alpha + 3 * np.sqrt(alpha * (1 - alpha) / lives)


@pytest.mark.parametrize("market", NULL_MARKETS[:8], ids=lambda market: market.name)
def test_luck_that_ends_with_the_bet_needs_no_warning(market: Market) -> None:
    """20 in at most 5 % of lives, whether warned or not."""
    reached, _ = evidence_reached(market, 300, 24, 50, (20.0,), BetPolicy())

    assert np.isfinite(reached).mean() <= 0.05 + 3 * 0.0126


def test_luck_that_outlasts_the_bets_is_told() -> None:
    """Runs of 20 signals with one outcome, in bets of three: most lives say so."""
    market = next(market for market in NULL_MARKETS if market.run == 20)
    frame = simulate_settled(1200)
    independent = skill_at(frame, 1200)
    rng = np.random.default_rng(8)
    frame["won"] = pd.array(np.repeat(rng.random(60) < 0.5, 20), dtype="boolean")
    frame["p_win"] = np.repeat(rng.uniform(0.4, 0.6, 60), 20)
    reached, warned = evidence_reached(market, 300, 24, 50, (20.0,), BetPolicy())

    assert not independent.luck_outlasts_bets
    assert skill_at(frame, 1200).luck_outlasts_bets
    assert warned[np.isfinite(reached)].mean() >= 0.75


@pytest.mark.parametrize("claim", [0.99, 0.01])
def test_no_day_loses_the_whole_capital(claim: float) -> None:
    """1,000 signals, all wrong, at the worst base rate: 5 % is left."""
    games = new_games(BetPolicy())
    place_bet(games, claim, np.full(1000, claim < 0.5))

    assert games.skill.sum(axis=2).min() >= 0.05 * BetPolicy().initial_share * (1 - 1e-9)


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
    held = take_positions(frame, SizingPolicy(), UNLIMITED)
    return measure_skill(held, end, Origin(since), BetPolicy())


def test_the_books_of_the_life_follow_the_position_rules() -> None:
    """Of three signals of one moment the account takes one; all three are evidence."""
    frame = simulate_settled(300).assign(confidence_existing=80.0, confidence_ml=80.0)
    for name in ("decided_at", "settled_at"):
        frame[name] = frame[name].iloc[np.arange(300) // 3 * 3].reset_index(drop=True)
    held = take_positions(frame, SizingPolicy(), PositionLimits(), ("baseline", "ml"))
    skill = measure_skill(held, EARLIER + timedelta(days=300), Origin(EARLIER), BetPolicy())

    assert skill.settled == 300
    assert (skill.ml_return, skill.baseline_return) == pytest.approx((0.25, 0.25))


def test_later_outcomes_and_earlier_decisions_are_ignored() -> None:
    """Rows outside (since, end] change nothing."""
    frame = simulate_settled(400)

    assert skill_at(frame, 300) == skill_at(frame.iloc[:300], 300)
    assert skill_at(frame, 300, 100) == skill_at(frame.iloc[100:300], 300, 100)


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
