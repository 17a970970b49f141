"""The search: which trial is chosen, and what it weighs."""

from dataclasses import replace

import numpy as np
import pytest

from factories.samples import make_samples
from steelyard.learning.folds import split_holdout, walk_forward
from steelyard.learning.policy import Family, LearningPolicy
from steelyard.learning.search import ScoredTrial, SearchResult, choose_trial, search

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
