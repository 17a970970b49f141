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


@settings(max_examples=40)
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
    ("count", "days", "size"),
    [
        pytest.param(9000, 60, 1800, id="a fifth, however many"),
        pytest.param(1000, 60, 241, id="60 days, four signals each and the last"),
        pytest.param(1000, 30, 200, id="a fifth, more than 30 days"),
        pytest.param(400, 10, 100, id="100 signals"),
    ],
)
def test_the_holdout_is_the_latest_fifth_and_at_least_so_long(
    count: int, days: int, size: int
) -> None:
    """20 %, at least 100 signals and 60 days, always the latest."""
    _, holdout = split_holdout(
        make_samples(count), POLICY.model_copy(update={"holdout_days": days})
    )

    assert holdout.tolist() == list(range(count - size, count))


def test_a_holdout_of_more_than_half_asks_for_more_bars() -> None:
    """Sixty days are 241 of 400 signals; at most 200 may be held out."""
    with pytest.raises(CollectMoreData, match="last 60 days, 241 of 400 signals, 50% at most"):
        split_holdout(make_samples(400), POLICY)


def test_the_far_past_is_forgotten() -> None:
    """Of 1,500 signals in 375 days those of the last 200 are used, a holdout among them."""
    samples = make_samples(1500)
    policy = POLICY.model_copy(update={"train_days": 200})
    development, holdout = split_holdout(samples, policy)
    everything, unchanged = split_holdout(samples, POLICY)
    begin = samples.decided_at[-1] - np.timedelta64(200, "D")

    assert samples.decided_at[development[0]] == begin
    assert len(holdout) == 241
    assert everything[0] == 0
    assert len(unchanged) == 300


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
