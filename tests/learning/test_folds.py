"""Splits run forward in time; no fold learns from rows that overlap its test rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factories.samples import make_samples
from steelyard.errors import CollectMoreData
from steelyard.learning.folds import split_holdout, walk_forward
from steelyard.learning.policy import LearningPolicy

POLICY = LearningPolicy()
EMBARGO = np.timedelta64(24, "h")


@settings(deadline=None, max_examples=40)
@given(count=st.integers(250, 1500), hold_hours=st.integers(1, 400), seed=st.integers(0, 99))
def test_every_part_ends_an_embargo_before_the_next_begins(
    count: int, hold_hours: int, seed: int
) -> None:
    """Fit before stop rows, both before the test rows, all of them before the holdout."""
    samples = make_samples(count, hold_hours=hold_hours, seed=seed)
    try:
        development, holdout = split_holdout(samples, POLICY)
        folds = walk_forward(samples, development, POLICY)
    except CollectMoreData:
        return  # long brackets over few signals: refusing is the right answer
    for fold in folds:
        for earlier, later in ((fold.fit, fold.stop), (fold.train, fold.test)):
            assert samples.settled_at[earlier].max() < samples.decided_at[later].min() - EMBARGO
    assert samples.settled_at[development].max() < samples.decided_at[holdout].min() - EMBARGO


@pytest.mark.parametrize(
    ("count", "size"), [(250, 100), (499, 100), (1000, 200), (2500, 500), (9000, 500)]
)
def test_the_holdout_is_the_latest_fifth_within_bounds(count: int, size: int) -> None:
    """20 %, at least 100, at most 500, always the latest."""
    _, holdout = split_holdout(make_samples(count), POLICY)

    assert holdout.tolist() == list(range(count - size, count))


def test_too_few_signals_say_how_many_are_needed() -> None:
    """249 of the 250 needed."""
    with pytest.raises(CollectMoreData, match="249 settled signals, 250 needed"):
        split_holdout(make_samples(249), POLICY)


def test_test_folds_are_scored_once_each() -> None:
    """No row is in two test folds, and test folds follow each other in time."""
    samples = make_samples(800)
    development, _ = split_holdout(samples, POLICY)
    tests = np.concatenate([fold.test for fold in walk_forward(samples, development, POLICY)])

    assert len(np.unique(tests)) == len(tests)
    assert (np.diff(tests) > 0).all()
