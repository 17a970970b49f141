"""Splits run forward in time, and nothing a fold learns from overlaps what it is scored on."""

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
@given(n=st.integers(250, 1500), hold=st.integers(1, 400), seed=st.integers(0, 99))
def test_every_part_ends_an_embargo_before_the_next_begins(n: int, hold: int, seed: int) -> None:
    """Brackets of the fit rows end before the stop rows begin, theirs before the test rows, and all before the holdout."""
    samples = make_samples(n, hold_hours=hold, seed=seed)
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
    ("n", "size"), [(250, 100), (499, 100), (1000, 200), (2500, 500), (9000, 500)]
)
def test_the_holdout_is_the_latest_fifth_within_bounds(n: int, size: int) -> None:
    """20 %, at least 100, at most 500, and always the latest."""
    _, holdout = split_holdout(make_samples(n), POLICY)

    assert holdout.tolist() == list(range(n - size, n))


def test_too_few_signals_say_how_many_are_needed() -> None:
    """249 of 250."""
    with pytest.raises(CollectMoreData, match="249 settled signals, 250 needed"):
        split_holdout(make_samples(249), POLICY)


def test_test_folds_are_scored_once_each() -> None:
    """No row is in two test folds, and each test fold lies after the one before."""
    samples = make_samples(800)
    development, _ = split_holdout(samples, POLICY)
    tests = np.concatenate([fold.test for fold in walk_forward(samples, development, POLICY)])

    assert len(np.unique(tests)) == len(tests)
    assert (np.diff(tests) > 0).all()
