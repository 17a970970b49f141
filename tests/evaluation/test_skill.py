"""Evidence over a life: it seldom speaks for a model without skill, soon for one with, and notices the end of it."""

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


def paths(
    slope: float,
    day_size: int = 2,
    base: tuple[float, float] = (0.5, 0.5),
    together: bool = False,
    spread: float = 0.1,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Skill and decay by day, shape (lives, days), of models that claim ``spread`` and keep the share ``slope`` of it.

    The existing system takes every second signal, wins ``base`` of what it leaves and takes, and the model knows that much.
    """
    rng, policy = np.random.default_rng(7), BetPolicy()
    skill, decay = np.empty((LIVES, DAYS)), np.empty((LIVES, DAYS))
    for life in range(LIVES):
        table = new_games(policy)
        classes = rng.integers(0, 2, (DAYS, day_size))
        claim = spread * rng.standard_normal((DAYS, day_size))
        p_win = np.clip(np.array(base)[classes] + claim, 0.05, 0.95)
        luck = (
            np.repeat(rng.random((DAYS, 1)), day_size, 1)
            if together
            else rng.random((DAYS, day_size))
        )
        won = luck < np.array(base)[classes] + slope * claim
        for day in range(DAYS):
            play_bet(table, compile_bets(policy), p_win[day], classes[day], won[day])
            skill[life, day], decay[life, day] = skill_value(table), decay_value(table)
    return skill, decay


@pytest.mark.parametrize(
    "together", [False, True], ids=["signals on their own", "a day wins or loses as one"]
)
@pytest.mark.parametrize("base", [(0.5, 0.5), (0.4, 0.6), (0.58, 0.58)], ids=str)
def test_no_skill_is_seldom_taken_for_skill(base: tuple[float, float], together: bool) -> None:
    """At any time within a year, e-values of 20 in at most 5 % of lives (Ville; three standard errors allowed)."""
    skill, _ = paths(0.0, base=base, together=together, day_size=3)

    assert (skill.max(axis=1) >= 20).mean() <= 0.05 + 3 * 0.0138


def test_skill_is_found_within_the_year() -> None:
    """Two signals a day from an honest model of 58 % accuracy: evidence of 100 in nine lives of ten."""
    skill, _ = paths(1.0)

    assert (skill.max(axis=1) >= 100).mean() >= 0.9


def test_kept_claims_seldom_look_decayed_and_dead_ones_do() -> None:
    """At a bound of 100 months: hardly a life in a year where claims are kept, most where they say nothing."""
    assert (paths(1.0)[1].max(axis=1) >= 100).mean() <= 0.02
    assert (paths(0.0)[1].max(axis=1) >= 100).mean() >= 0.7
    assert (paths(-1.0)[1][:, 240] >= 100).mean() >= 0.95


def bet(table: Games, p_win: float, won: NDArray[np.bool_]) -> None:
    """Place one bet on signals of one class that all claim the same."""
    play_bet(
        table,
        compile_bets(BetPolicy()),
        np.full(len(won), p_win),
        np.zeros(len(won), dtype=np.int64),
        won,
    )


def test_signals_that_win_as_one_get_the_stakes_of_few() -> None:
    """Twenty that go together vary twenty times as far as twenty on their own: a win pays a fraction."""
    rng = np.random.default_rng(4)
    alone, tied = new_games(BetPolicy()), new_games(BetPolicy())
    for n in range(200):
        claim = 0.55 if n % 2 else 0.45
        bet(alone, claim, rng.random(20) < 0.5)
        bet(tied, claim, np.repeat(rng.random() < 0.5, 20))
    before = alone.growth[0], tied.growth[0]
    for table in (alone, tied):
        bet(table, 0.55, np.ones(20, dtype=bool))

    assert alone.scores[2] / alone.scores[0] == pytest.approx(1, abs=0.3)
    assert tied.scores[2] / tied.scores[0] == pytest.approx(20, rel=0.15)
    assert tied.growth[0] - before[1] < (alone.growth[0] - before[0]) / 3


def test_stakes_follow_what_came_of_the_claims() -> None:
    """It claims 2 points and is right by 10: the stakes grow with what came. One that says too much does not ruin itself."""
    rng = np.random.default_rng(5)

    def growth(claim: float, edge: float) -> float:
        table = new_games(BetPolicy())
        for _ in range(400):
            sign = rng.integers(0, 2) * 2 - 1
            bet(table, 0.5 + sign * claim, rng.random(10) < 0.5 + sign * edge)
        return float(table.growth[0])

    plain = 400 * 10 * 2 * 0.7 * (2 * 0.02 * 0.10 - 0.7 * 0.02**2)
    assert growth(0.02, 0.10) > 1.3 * plain
    assert growth(0.15, 0.02) > -10


@pytest.mark.parametrize("claim", [0.99, 0.01])
def test_no_day_takes_the_whole_capital(claim: float) -> None:
    """A thousand signals, all wrong, at the worst base rate: a twentieth is left, to win it back."""
    table = new_games(BetPolicy())
    bet(table, claim, np.full(1000, claim < 0.5))

    assert table.skill.min() >= 0.05 * BetPolicy().initial_share * (1 - 1e-9)


def lived(n: int, accuracy: float = 0.6, seed: int = 1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    p_win = np.where(rng.random(n) < 0.5, accuracy, 1 - accuracy)
    return settled(
        n, p_win=p_win, won=rng.random(n) < p_win, confidence_existing=rng.uniform(0, 100, n)
    )


def judged(frame: pd.DataFrame, days: int, since_day: int = 0) -> Skill:
    end, since = EARLIER + timedelta(days=days), EARLIER + timedelta(days=since_day)
    return measure_skill(frame, end, since, SIZING, BetPolicy())


def test_nothing_settled_later_or_decided_earlier_is_looked_at() -> None:
    """What lies outside (since, end] changes nothing."""
    frame = lived(400)

    assert judged(frame, 300) == judged(frame.iloc[:300], 300)
    assert judged(frame, 300, 100) == judged(frame.iloc[100:300], 300)


def test_without_opinions_the_evidence_says_nothing() -> None:
    """No signals, or none the model spoke about: 1, and nobody knows how many more are needed."""
    silent = judged(settled(30, p_win=np.nan), 30)

    assert (silent.settled, silent.skill, silent.decay_evidence) == (0, 1.0, 0.0)
    assert silent.more_needed(100) is None


def test_more_needed_follows_the_growth_so_far() -> None:
    """Half of the way in 200 signals asks for about 200 more; over the bound for none; a losing bet for no number."""
    half = Skill(200, 10.0, 0.0, np.log(10) / 200, 0.56, 0.5, 0.1, 0.0)

    assert half.more_needed(100) == 200
    assert half.more_needed(10) == 0
    assert Skill(200, 0.5, 0.0, -0.01, 0.5, 0.5, 0.0, 0.0).more_needed(100) is None


def test_one_outcome_moves_the_evidence_the_way_it_should() -> None:
    """A win the model was sure of speaks for it, a loss against it."""
    frame = lived(50)
    frame.loc[49, ["p_win", "won"]] = [0.7, True]
    won = judged(frame, 50)
    frame.loc[49, "won"] = False
    lost = judged(frame, 50)

    assert won.skill > lost.skill
    assert won.decay_evidence < lost.decay_evidence


def test_how_far_neighbours_hang_together_is_measured() -> None:
    """Outcomes that come five at a time correlate by 4/5 from one to the next; too few, or all the same, say nothing."""
    rng, frame = np.random.default_rng(3), lived(1000)
    frame["won"] = pd.array(np.repeat(rng.random(200) < 0.5, 5), dtype="boolean")
    frame[["p_win", "confidence_ml"]] = [0.6, 80.0]
    tied = judged(frame, 1000)
    alone = judged(frame.assign(won=pd.array(rng.random(1000) < 0.5, dtype="boolean")), 1000)

    assert tied.win_autocorrelation == tied.right_autocorrelation == pytest.approx(0.8, abs=0.05)
    assert alone.win_autocorrelation == pytest.approx(0.0, abs=0.1)
    assert np.isnan(judged(frame, 99).win_autocorrelation)
    assert np.isnan(
        judged(frame.assign(won=pd.array([True] * 1000, dtype="boolean")), 1000).win_autocorrelation
    )
