"""Length of the evidence window, and rows it ignores."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from factories.evidence import EARLIER
from factories.settled import UNLIMITED, held, settled
from steelyard.evaluation.books import SizingPolicy
from steelyard.evaluation.evidence import (
    Evidence,
    WindowPolicy,
    current_losing_days,
    current_losing_streak,
    gather_evidence,
)
from steelyard.evaluation.positions import take_positions
from steelyard.evaluation.skill import Skill

MONTHLY = WindowPolicy(days=30, min_settled=20, max_days=120)


def evidence_at(
    frame: pd.DataFrame, day: int, window: WindowPolicy = MONTHLY, since_day: int = -1
) -> Evidence:
    return gather_evidence(
        frame, EARLIER + timedelta(days=day), EARLIER + timedelta(days=since_day), window
    )


@pytest.mark.parametrize(
    ("step", "day", "settled_count", "extended"),
    [
        pytest.param(1, 100, 30, False, id="30 in 30 days"),
        pytest.param(2, 100, 20, True, id="15 in 30 days: reaches back for 20"),
        pytest.param(8, 200, 15, True, id="15 in 120 days: no further"),
    ],
)
def test_a_window_reaches_back_until_it_has_enough(
    step: int, day: int, settled_count: int, extended: bool
) -> None:
    """At most 120 days; ``extended`` says that it did."""
    evidence = evidence_at(held(300).iloc[::step].reset_index(drop=True), day)

    assert (evidence.settled, evidence.extended) == (settled_count, extended)


def test_a_window_needs_independent_predictions_and_shows_both_counts() -> None:
    """Pairs that share their lives are worth one each: 30 in 30 days are 15, so it reaches back."""
    frame = settled(300)
    pairs = frame.assign(
        decided_at=frame["decided_at"].to_numpy()[np.arange(300) // 2 * 2],
        settled_at=frame["settled_at"].to_numpy()[np.arange(300) // 2 * 2],
    )
    zoned = {
        name: pairs[name].astype("datetime64[ns, UTC]") for name in ("decided_at", "settled_at")
    }
    rows = take_positions(pairs.assign(**zoned), SizingPolicy(), UNLIMITED)
    evidence = evidence_at(rows, 100)

    assert (evidence.settled, evidence.independent, evidence.extended) == (40, 20, True)
    assert evidence.figures()["independent"] == 20
    assert evidence.count.words("predictions") == "40 predictions, worth 20 independent ones"
    assert (evidence.books.ml.trades, evidence.books.ml.blocked) == (20, 20)


def test_later_outcomes_and_earlier_decisions_are_ignored() -> None:
    """Outcomes after the end change nothing; decisions before ``since`` do not count."""
    frame = held(100)
    altered = frame.copy()
    altered.loc[50:, "net_return"] = -0.5
    altered.loc[50:, "won"] = False

    assert evidence_at(frame, 50).figures() == evidence_at(altered, 50).figures()
    assert evidence_at(frame, 50, since_day=40).settled == 10


def test_accuracy_counts_predictions_and_coverage_counts_signals() -> None:
    """Two of four signals have a prediction, one of the two is right."""
    frame = held(
        4, p_win=[0.6, 0.4, np.nan, np.nan], fallback_reason=[None, None, "no_model", "no_model"]
    )
    evidence = evidence_at(frame, 10)

    assert (evidence.settled, evidence.accuracy, evidence.coverage, evidence.fallback_rate) == (
        2,
        0.5,
        0.5,
        0.5,
    )


def test_the_streak_counts_trades_of_the_ml_book_only() -> None:
    """Three traded losses around an untraded one are a streak of 3; a traded win ends it."""
    won = pd.array([True, False, False, False, False], dtype="boolean")

    assert evidence_at(held(5, won=won, confidence_ml=[80, 80, 60, 80, 80]), 10).losing_streak == 3
    assert evidence_at(held(5, won=won[::-1], confidence_ml=80.0), 10).losing_streak == 4


@pytest.mark.parametrize(
    ("won", "confidence", "streak"),
    [
        pytest.param([True, False, False, False], [80] * 4, 3, id="3 since the last win"),
        pytest.param([False, False, False, True], [80] * 4, 0, id="the last one won"),
        pytest.param([False] * 4, [80] * 4, 4, id="no win at all"),
        pytest.param(
            [True, False, True, False], [80, 80, 60, 80], 2, id="an untraded win does not end it"
        ),
        pytest.param([False] * 4, [60, np.nan, 60, 60], 0, id="no trades"),
    ],
)
def test_the_current_streak_counts_the_latest_losses_of_the_ml_book(
    won: list[bool], confidence: list[float], streak: int
) -> None:
    """The streak breaker of the trading side uses the same count."""
    frame = held(4, won=pd.array(won, dtype="boolean"), confidence_ml=confidence)

    assert current_losing_streak(frame) == streak
    assert current_losing_streak(frame[:0]) == 0


def test_an_empty_window_has_no_figures_and_no_error() -> None:
    """NaN in the value, None in the flat figures."""
    evidence = evidence_at(held(0), 10)

    assert np.isnan(evidence.accuracy)
    assert evidence.figures()["accuracy"] is None
    assert evidence.figures()["settled"] == 0


def test_recorded_figures_keep_their_names() -> None:
    """MLflow metrics and JSON keys of the lifetime evidence are fixed."""
    evidence = evidence_at(held(30), 30)
    lifetime = Skill(30, 2.0, 0.5, 0.01, 0.6, 0.5, 0.1, 0.05)
    figures = replace(evidence, lifetime=lifetime).figures()

    assert [name for name in figures if name.startswith("life_")] == [
        "life_settled",
        "life_skill",
        "life_decay",
        "life_growth",
        "life_accuracy",
        "life_no_information_rate",
        "life_ml_return",
        "life_baseline_return",
        "life_right_autocorrelation",
        "life_win_autocorrelation",
        "life_luck_outlasts_bets",
        "life_bet_days",
        "life_mean_hold_days",
        "life_days",
        "life_ml_trades",
    ]
    assert figures["life_decay"] == 0.5


def test_a_losing_day_is_over_and_had_trades() -> None:
    """Five losing days, a day off, two more, and one that is not over: seven in a row."""
    frame = held(10, net_return=[0.01, *[-0.01] * 9], confidence_ml=[*[80] * 6, 60, *[80] * 3])
    noon = frame["settled_at"].iloc[-1]
    end = noon.ceil("D")

    assert current_losing_days(frame, end.to_pydatetime()) == 8
    assert current_losing_days(frame, (end - timedelta(days=1)).to_pydatetime()) == 7
    assert current_losing_days(frame[:1], end.to_pydatetime()) == 0
    assert current_losing_days(frame[:0], end.to_pydatetime()) == 0
