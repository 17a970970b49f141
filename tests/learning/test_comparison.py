"""Champion against challenger."""

from dataclasses import replace

import numpy as np
import pytest

from factories.samples import make_samples
from steelyard.learning.comparison import common_rows, compare_models
from steelyard.learning.policy import LearningPolicy

POLICY = LearningPolicy()
DAYS = np.datetime64("2024-01-01", "ns") + np.arange(200) * np.timedelta64(1, "D")
WON = np.tile([True, False], 100)
GOOD, BAD = np.where(WON, 0.7, 0.3), np.where(WON, 0.3, 0.7)
LUKEWARM, BOLD = np.where(WON, 0.55, 0.45), np.where(WON, 0.99, 0.01)


def correct_four(p_win: np.ndarray) -> np.ndarray:
    better = p_win.copy()
    better[:4] = np.where(WON[:4], 0.6, 0.4)
    return better


@pytest.mark.parametrize(
    ("champion", "challenger", "wins"),
    [
        pytest.param(BAD, GOOD, True, id="better in both"),
        pytest.param(GOOD, GOOD, False, id="a tie keeps the champion"),
        pytest.param(LUKEWARM, GOOD, False, id="same accuracy, better log-loss"),
        pytest.param(GOOD, BAD, False, id="worse in both"),
        pytest.param(correct_four(BAD), BOLD * np.nan, False, id="NaN wins nothing"),
        pytest.param(
            np.where(WON, 0.45, 0.55),
            np.where(np.arange(200) < 150, BOLD, 1 - BOLD),
            False,
            id="more right, bolder wrong",
        ),
    ],
)
def test_a_challenger_needs_more_accuracy_and_no_worse_log_loss(
    champion: np.ndarray, challenger: np.ndarray, wins: bool
) -> None:
    """Both conditions, the first strictly."""
    comparison = compare_models(WON, champion, challenger, DAYS, POLICY)

    assert comparison.wins is wins
    assert comparison.reasons


def test_intervals_and_mcnemar_are_recorded() -> None:
    """4 of 200 signals corrected: +2 %, an interval around it, an exact p of 1/8."""
    comparison = compare_models(WON, BAD, correct_four(BAD), DAYS, POLICY)

    assert comparison.accuracy == pytest.approx(0.02)
    assert comparison.accuracy_interval[0] < 0.02 < comparison.accuracy_interval[1]
    assert comparison.mcnemar_p == pytest.approx(0.125)
    assert comparison == compare_models(WON, BAD, correct_four(BAD), DAYS, POLICY)


def test_days_are_resampled_whole() -> None:
    """Where the signals of a day share their luck, the interval is that of the days."""
    right = np.repeat(np.arange(20) % 3 > 0, 10)
    challenger = np.where(right, GOOD, BAD)
    apart, together = (
        compare_models(WON, BAD, challenger, stamps, POLICY).accuracy_interval
        for stamps in (DAYS, np.repeat(DAYS[:20], 10))
    )

    assert together[1] - together[0] > 2.5 * (apart[1] - apart[0])


def test_too_few_common_rows_keep_the_champion() -> None:
    """49 of the 50 needed."""
    comparison = compare_models(WON[:49], BAD[:49], GOOD[:49], DAYS[:49], POLICY)

    assert not comparison.wins
    assert "49 signals" in comparison.reasons[0]


def test_common_rows_lie_after_all_training_outcomes() -> None:
    """At least an embargo after the last outcome used."""
    samples = make_samples(500)
    through = samples.settled_at[399]
    rows = common_rows(samples, np.arange(300, 500), through, POLICY)

    assert (samples.decided_at[rows] > through + np.timedelta64(24, "h")).all()
    assert len(rows) > 80
    assert (
        len(common_rows(replace(samples), np.arange(300, 500), samples.settled_at.max(), POLICY))
        == 0
    )
