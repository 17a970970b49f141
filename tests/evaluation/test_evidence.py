"""How far back evidence reaches, and what it never looks at."""

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from factories.evidence import EARLIER
from factories.settled import settled
from steelyard.evaluation.books import SizingPolicy
from steelyard.evaluation.evidence import (
    Evidence,
    WindowPolicy,
    current_losing_streak,
    gather_evidence,
)

SIZING = SizingPolicy()
MONTHLY = WindowPolicy(days=30, min_settled=20, max_days=120)


def at(
    frame: pd.DataFrame, day: int, window: WindowPolicy = MONTHLY, since_day: int = -1
) -> Evidence:
    return gather_evidence(
        frame, EARLIER + timedelta(days=day), EARLIER + timedelta(days=since_day), window, SIZING
    )


@pytest.mark.parametrize(
    ("every", "day", "settled_count", "extended"),
    [
        pytest.param(1, 100, 30, False, id="30 in 30 days"),
        pytest.param(2, 100, 20, True, id="15 in 30 days: reaches back for 20"),
        pytest.param(8, 200, 15, True, id="15 in 120 days: no further"),
    ],
)
def test_a_window_reaches_back_until_it_has_enough(
    every: int, day: int, settled_count: int, extended: bool
) -> None:
    """At most 120 days, and the record says that it did."""
    found = at(settled(300).iloc[::every].reset_index(drop=True), day)

    assert (found.settled, found.extended) == (settled_count, extended)


def test_the_future_and_what_was_decided_before_since_are_never_looked_at() -> None:
    """Outcomes after the end change nothing; decisions before ``since`` are left out."""
    frame = settled(100)
    changed = frame.copy()
    changed.loc[50:, "net_return"] = -0.5
    changed.loc[50:, "won"] = False

    assert at(frame, 50).figures() == at(changed, 50).figures()
    assert at(frame, 50, since_day=40).settled == 10


def test_accuracy_counts_opinions_and_coverage_counts_signals() -> None:
    """Two of four signals had an opinion, one of the two was right."""
    frame = settled(
        4, p_win=[0.6, 0.4, np.nan, np.nan], fallback_reason=[None, None, "no_model", "no_model"]
    )
    found = at(frame, 10)

    assert (found.settled, found.accuracy, found.coverage, found.fallback_rate) == (
        2,
        0.5,
        0.5,
        0.5,
    )


def test_the_streak_counts_trades_of_the_ml_book_only() -> None:
    """Three losses taken with a loss left aside in between: three in a row; a win taken would break it."""
    won = pd.array([True, False, False, False, False], dtype="boolean")

    assert at(settled(5, won=won, confidence_ml=[80, 80, 60, 80, 80]), 10).losing_streak == 3
    assert at(settled(5, won=won[::-1], confidence_ml=80.0), 10).losing_streak == 4


@pytest.mark.parametrize(
    ("won", "confidence", "streak"),
    [
        pytest.param([True, False, False, False], [80] * 4, 3, id="three since the last win"),
        pytest.param([False, False, False, True], [80] * 4, 0, id="the last one won"),
        pytest.param([False] * 4, [80] * 4, 4, id="none ever won"),
        pytest.param(
            [True, False, True, False], [80, 80, 60, 80], 2, id="a win left aside breaks nothing"
        ),
        pytest.param([False] * 4, [60, np.nan, 60, 60], 0, id="nothing taken"),
    ],
)
def test_the_losses_in_a_row_are_the_latest_of_the_ml_book(
    won: list[bool], confidence: list[float], streak: int
) -> None:
    """What the trading side counts, outcome by outcome."""
    frame = settled(4, won=pd.array(won, dtype="boolean"), confidence_ml=confidence)

    assert current_losing_streak(frame, SIZING) == streak
    assert current_losing_streak(frame[:0], SIZING) == 0


def test_an_empty_window_has_no_figures_and_no_error() -> None:
    """NaN where there is nothing, None in the record."""
    found = at(settled(0), 10)

    assert np.isnan(found.accuracy)
    assert found.figures()["accuracy"] is None
    assert found.figures()["settled"] == 0
