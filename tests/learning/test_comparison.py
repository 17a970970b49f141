"""Champion against challenger."""

from dataclasses import replace

import numpy as np
import pytest

from factories.samples import make_samples
from steelyard.learning.comparison import common_rows, compare_models
from steelyard.learning.policy import LearningPolicy

POLICY = LearningPolicy()
WON = np.tile([True, False], 100)
GOOD, BAD = np.where(WON, 0.7, 0.3), np.where(WON, 0.3, 0.7)
LUKEWARM, BOLD = np.where(WON, 0.55, 0.45), np.where(WON, 0.99, 0.01)


def one_more_right(p: np.ndarray) -> np.ndarray:
    better = p.copy()
    better[:4] = np.where(WON[:4], 0.6, 0.4)
    return better


@pytest.mark.parametrize(
    ("champion", "challenger", "wins"),
    [
        pytest.param(BAD, GOOD, True, id="better in both"),
        pytest.param(GOOD, GOOD, False, id="a tie keeps the champion"),
        pytest.param(LUKEWARM, GOOD, False, id="same accuracy, better log-loss"),
        pytest.param(GOOD, BAD, False, id="worse in both"),
        pytest.param(one_more_right(BAD), BOLD * np.nan, False, id="NaN wins nothing"),
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
    """Both, and strictly the first."""
    found = compare_models(WON, champion, challenger, POLICY)

    assert found.wins is wins
    assert found.reasons


def test_intervals_and_mcnemar_are_recorded() -> None:
    """Four signals turned right of 200: +2 %, an interval that holds it, an exact p of 1/8."""
    found = compare_models(WON, BAD, one_more_right(BAD), POLICY)

    assert found.accuracy == pytest.approx(0.02)
    assert found.accuracy_interval[0] < 0.02 < found.accuracy_interval[1]
    assert found.mcnemar_p == pytest.approx(0.125)
    assert found == compare_models(WON, BAD, one_more_right(BAD), POLICY)


def test_too_few_common_rows_keep_the_champion() -> None:
    """49 of 50."""
    found = compare_models(WON[:49], BAD[:49], GOOD[:49], POLICY)

    assert not found.wins
    assert "49 signals" in found.reasons[0]


def test_common_rows_lie_after_everything_either_model_was_trained_on() -> None:
    """An embargo after the last outcome used."""
    samples = make_samples(500)
    through = samples.settled_at[399]
    rows = common_rows(samples, np.arange(300, 500), through, POLICY)

    assert (samples.decided_at[rows] > through + np.timedelta64(24, "h")).all()
    assert len(rows) > 80
    assert (
        len(common_rows(replace(samples), np.arange(300, 500), samples.settled_at.max(), POLICY))
        == 0
    )
