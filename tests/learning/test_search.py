"""The search: which trial is chosen, what it weighs, and that workers change nothing."""

import pickle
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from factories.samples import make_samples
from steelyard.learning.folds import split_holdout, walk_forward
from steelyard.learning.own_family import installed_class
from steelyard.learning.policy import Family, LearningPolicy
from steelyard.learning.search import (
    ScoredTrial,
    SearchResult,
    batch_widths,
    choose_trial,
    first_params,
    search,
    threads,
)
from steelyard.learning.trial import SearchData, Suggestion, run_trial

QUICK = LearningPolicy(trials=3, rounds=30)
HALVES = np.where(np.arange(400) % 2, 0.1, -0.1)
"""Differences between two models, 0.1 nats a signal: the standard error of their mean is 0.005."""


def trial(
    family: Family, advantage: float, depth: int = 2, slope: float = 1.0, noisy: bool = False
) -> ScoredTrial:
    """Return a trial whose mean loss is ``advantage`` nats under that of no skill."""
    params = {"C": advantage} if family == "logistic" else {"max_depth": depth, "l2": advantage}
    losses = 0.69 - advantage + noisy * HALVES
    return ScoredTrial(SearchResult(family, params, 0, np.empty(0), ()), slope, losses)


LINEAR, BEST_LINEAR = trial("logistic", 0.0, noisy=True), trial("logistic", 0.001, noisy=True)
SMALL, LARGE = trial("lightgbm", 0.003, noisy=True), trial("xgboost", 0.003, depth=5, noisy=True)


@pytest.mark.parametrize(
    ("trials", "chosen"),
    [
        pytest.param([LINEAR, trial("xgboost", 0.004)], LINEAR, id="linear, within an error"),
        pytest.param(
            [LINEAR, better := trial("xgboost", 0.006)], better, id="small trees, clearly better"
        ),
        pytest.param([SMALL, trial("xgboost", 0.007, depth=4)], SMALL, id="small, within an error"),
        pytest.param(
            [SMALL, better := trial("xgboost", 0.009, depth=4)], better, id="trees, clearly better"
        ),
        pytest.param(
            [LINEAR, SMALL, trial("xgboost", 0.007, depth=4)],
            SMALL,
            id="linear is too far, small trees are not",
        ),
        pytest.param([LINEAR, trial("logistic", 0.001)], LINEAR, id="the first, within an error"),
        pytest.param(
            [trial("logistic", -0.01), LINEAR, BEST_LINEAR], BEST_LINEAR, id="the best of its kind"
        ),
        pytest.param([LARGE, trial("lightgbm", -0.1, depth=5)], LARGE, id="trees alone"),
        pytest.param(
            [trial("logistic", 0.0, slope=-0.1, noisy=True), LARGE],
            LARGE,
            id="linear cannot be calibrated",
        ),
        pytest.param(
            [only := trial("logistic", 0.0, slope=-0.1)], only, id="nothing can be calibrated"
        ),
    ],
)
def test_the_simplest_kind_within_a_standard_error_serves(
    trials: list[ScoredTrial], chosen: ScoredTrial
) -> None:
    """Linear before small trees before any; within a kind the first before the best."""
    assert choose_trial(trials, np.ones(400)) is chosen.result


def test_signals_that_overlap_are_fewer_than_they_look() -> None:
    """1.2 standard errors over 400 signals of their own, 0.6 if three in four count for nothing."""
    trees = trial("xgboost", 0.006)
    quarter = np.where(np.arange(400) // 2 % 4, 1e-9, 1.0)

    assert choose_trial([LINEAR, trees], np.ones(400)) is trees.result
    assert choose_trial([LINEAR, trees], quarter) is LINEAR.result


@pytest.mark.parametrize("family", ["logistic", "xgboost"])
def test_rows_of_no_weight_change_nothing(family: Family) -> None:
    """Their outcomes reach neither fits, nor stopping, nor scores."""
    samples = make_samples(600, signal=1.0)
    policy = QUICK.model_copy(update={"families": (family,), "trials": 1})
    folds = walk_forward(samples, split_holdout(samples, policy)[0], policy)
    ignored = np.arange(600) % 3 == 0
    weight = np.where(ignored, 1e-12, 1.0)
    won = np.where(ignored, ~samples.won, samples.won)

    before, after = (
        search(rows, weight, folds, policy) for rows in (samples, replace(samples, won=won))
    )
    np.testing.assert_allclose(before.out_of_fold, after.out_of_fold, atol=1e-6)
    assert before.trials[0].value == pytest.approx(after.trials[0].value, abs=1e-6)


def elsewhere(work: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
    """Do the work as a process elsewhere would: everything pickled, in another order."""
    pieces = [pickle.dumps((work, item)) for item in items]
    results = [work(item) for work, item in map(pickle.loads, reversed(pieces))]
    return reversed(results)


def test_the_workers_change_nothing() -> None:
    """One thread, two, or pickled in reverse: the same trials, values and choice, bit for bit."""
    samples = make_samples(600, signal=1.0)
    policy = QUICK.model_copy(update={"trials": 10, "batch": 4})
    folds = walk_forward(samples, split_holdout(samples, policy)[0], policy)

    with threads(1) as one, threads(2) as two:
        results = [
            search(samples, samples.uniqueness, folds, policy, workers=workers)
            for workers in (one, two, elsewhere)
        ]
    assert len({repr(result.trials) for result in results}) == 1
    assert len({repr((result.family, result.params)) for result in results}) == 1
    assert len({result.out_of_fold.tobytes() for result in results}) == 1


@pytest.mark.parametrize(
    ("trials", "widths"),
    [
        pytest.param(2, [2], id="fewer than every search begins with"),
        pytest.param(3, [3], id="those every search begins with"),
        pytest.param(12, [3, 4, 4, 1], id="whole batches and the rest"),
    ],
)
def test_the_budget_is_cut_into_batches(trials: int, widths: list[int]) -> None:
    """First the trials every search begins with, then batches of the configured width."""
    assert list(batch_widths(LearningPolicy(trials=trials, batch=4))) == widths


def test_a_trial_ends_if_it_is_clearly_behind_and_is_scored_as_far_as_it_came() -> None:
    """Behind by more than a standard error it ends at the first rung; less, or with no marks, not.

    A pruned trial has its losses, so that the search learns from it.
    """
    samples = make_samples(600, signal=1.0)
    folds = walk_forward(samples, split_holdout(samples, QUICK)[0], QUICK)
    data = SearchData(samples, samples.uniqueness, folds, QUICK, installed_class)
    suggestion = Suggestion(3, "lightgbm", first_params("lightgbm", installed_class))
    alone = run_trial(data, {}, suggestion)
    noise = np.resize([0.3, -0.3], len(alone.passed[25]))

    better = {rung: losses - 0.1 for rung, losses in alone.passed.items()}
    about_as_good = {rung: losses - 0.001 + noise for rung, losses in alone.passed.items()}
    pruned = run_trial(data, better, suggestion)
    assert alone.pruned_at is None
    assert list(alone.passed) == [25, 30]
    assert pruned.pruned_at == 25
    assert np.isfinite(pruned.losses).all()
    assert len(pruned.losses) == len(alone.losses)
    assert run_trial(data, about_as_good, suggestion).pruned_at is None
