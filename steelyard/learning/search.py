"""Hyperparameter search: Optuna over all families, pruned by rounds, scored out of fold.

The first trials are the same in every search: a strong linear model, and very small, heavily
regularised trees of each booster. At the edges that real bars show they are hard to beat.

All folds of a trial grow together from rung to rung; the mean stopping loss at a rung decides
whether the trial goes on (successive halving: Jamieson and Talwalkar, AISTATS 2016). The score of a
trial is its calibrated log-loss on the test folds, which neither stopping nor pruning uses. Two
threads share the folds; each booster runs on one, so results repeat.

The best score of many trials is lucky. The simplest model (linear, then small trees, then any; of
each kind first the trial that every search begins with) serves that is within one standard error of
the best (Breiman, Friedman, Olshen and Stone, Classification and Regression Trees, 1984, section
3.4.3).
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import cast

import numpy as np
import optuna
import pandas as pd

from steelyard.learning.boosters import (
    GROWING_BOOSTERS,
    BoosterData,
    GrowingBooster,
    Params,
    silence_lightgbm,
)
from steelyard.learning.calibration import calibrated_losses
from steelyard.learning.folds import Fold, ScoredRows
from steelyard.learning.logistic import LogisticModel
from steelyard.learning.own_family import (
    ClassLoader,
    NamedTrial,
    fit_own,
    installed_class,
    is_own,
    load_family,
    probabilities,
)
from steelyard.learning.own_family import first_params as own_first_params
from steelyard.learning.policy import BoosterFamily, Family, LearningPolicy
from steelyard.learning.samples import Floats, Samples

FIRST_RUNG = 25
THREADS = 2
"""Folds grown at the same time; the result does not depend on it."""
STRENGTHS = (2e-4, 2e-2)
"""Bounds of the ``C`` of logistic regressions; the first trial has ``STRENGTH``."""
STRENGTH = 2e-3
SMALL_TREES = {
    "learning_rate": 0.03,
    "max_depth": 2,
    "leaf_share": 0.03,
    "row_share": 0.7,
    "column_share": 0.4,
    "l2": 100.0,
}
"""First trial of each booster: trees of at most four leaves."""


@dataclass(frozen=True, slots=True)
class TrialRow:
    """One trial as it is logged.

    Attributes:
        number: Position in the study, from 0.
        family: Family of the trial.
        state: ``complete`` or ``pruned``.
        value: Calibrated out-of-fold log-loss, nats; NaN if pruned.
        rounds: Median best round of the folds, or the round at which it was pruned; 0 if the family
            has no rounds.
        params: Parameters of its family.
    """

    number: int
    family: Family
    state: str
    value: float
    rounds: int
    params: Params


@dataclass(frozen=True, slots=True, eq=False)
class SearchResult:
    """The chosen trial and the log of all trials.

    Attributes:
        family: Family of the chosen trial.
        params: Its parameters.
        rounds: Median of the rounds at which its folds stopped; 0 if the family has no rounds.
        out_of_fold: Its raw probabilities of the test folds' rows, in their order, shape (n,).
        trials: Every trial.
    """

    family: Family
    params: Params
    rounds: int
    out_of_fold: Floats
    trials: tuple[TrialRow, ...]

    @property
    def complexity(self) -> int:
        """0 for a linear model, 1 for trees of at most four leaves, 2 for all others."""
        if self.family == "logistic":
            return 0
        if is_own(self.family):
            return 2
        return 1 if self.params["max_depth"] <= SMALL_TREES["max_depth"] else 2

    def table(self) -> pd.DataFrame:
        """Return one row a trial, with one column for each parameter."""
        rows = [
            {
                "number": trial.number,
                "family": trial.family,
                "state": trial.state,
                "value": trial.value,
                "rounds": trial.rounds,
                **trial.params,
            }
            for trial in self.trials
        ]
        return pd.DataFrame(rows)


@dataclass(slots=True)
class _FoldRun:
    """One fold of one trial during its growth."""

    booster: GrowingBooster
    test: BoosterData
    patience: int
    rounds: int = 0
    best_round: int = 1
    best_loss: float = field(default=float("inf"))

    def grow_to(self, rounds: int) -> float:
        """Grow to ``rounds``, or until the stopping loss stalls; return the best loss, nats."""
        while self.rounds < rounds and self.rounds - self.best_round < self.patience:
            self.booster.grow()
            self.rounds += 1
            loss = self.booster.stop_loss()
            if loss < self.best_loss:
                self.best_loss, self.best_round = loss, self.rounds
        return self.best_loss

    def predict_test(self) -> Floats:
        """Return the raw probabilities of the test rows at the best round."""
        return self.booster.predict(self.test, self.best_round)


def search(
    samples: Samples,
    weight: Floats,
    folds: list[Fold],
    policy: LearningPolicy,
    on_trial: Callable[[TrialRow], None] | None = None,
    load: ClassLoader = installed_class,
) -> SearchResult:
    """Return the choice among ``policy.trials`` trials; same data and seed, same result.

    Args:
        samples: All samples; only the rows of the folds are used.
        weight: Weight of each sample in fits and scores, shape (n,).
        folds: Walk-forward folds.
        policy: Budget, families, seed and stopping.
        on_trial: Called after each trial, for logging.
        load: Returns the class of a family of the user's own.

    Raises:
        FixConfiguration: If a family of the user's own cannot be loaded or fitted.
    """
    study_search = _Search(samples, weight, folds, policy, on_trial, load)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(
        seed=policy.seed, n_startup_trials=max(5, policy.trials // 4)
    )
    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=FIRST_RUNG, reduction_factor=3)
    study = optuna.create_study(sampler=sampler, pruner=pruner)
    for family in policy.families:
        study.enqueue_trial({"family": family, **first_params(family, load)})
    with ThreadPoolExecutor(THREADS, initializer=silence_lightgbm) as pool:
        study.optimize(lambda trial: study_search.run_trial(trial, pool), n_trials=policy.trials)
    return study_search.result


@dataclass(frozen=True, slots=True, eq=False)
class ScoredTrial:
    """A complete trial and its calibration by fold.

    Attributes:
        result: The trial.
        slope: Slope of the calibration; not over 0 if the scores cannot be calibrated.
        losses: Calibrated loss of each out-of-fold row, nats, shape (n,).
    """

    result: SearchResult
    slope: float
    losses: Floats


def choose_trial(trials: Sequence[ScoredTrial], weight: Floats) -> SearchResult:
    """Return the simplest trial within one standard error of the best of all.

    Of each kind the first trial, which is the same in every search, comes before the best, and
    linear models before small trees before any. Trials that cannot be calibrated are chosen only
    if there are no others.

    Args:
        trials: Complete trials, at least one.
        weight: Weight of each out-of-fold row, shape (n,).
    """

    def mean_loss(trial: ScoredTrial) -> float:
        return float(np.average(trial.losses, weights=weight))

    usable = [trial for trial in trials if trial.slope > 0] or trials
    best = min(usable, key=mean_loss)
    for complexity in range(best.result.complexity + 1):
        kind = [trial for trial in usable if trial.result.complexity == complexity]
        for trial in (*kind[:1], *sorted(kind, key=mean_loss)[:1]):
            mean = mean_loss(trial) - mean_loss(best)
            deviations = trial.losses - best.losses - mean
            error = np.sqrt(np.sum((weight * deviations) ** 2)) / weight.sum()
            if mean <= error:
                return trial.result
    return best.result


class _Search:
    """State shared by the trials of one study: data of the folds, log, and complete trials."""

    def __init__(
        self,
        samples: Samples,
        weight: Floats,
        folds: list[Fold],
        policy: LearningPolicy,
        on_trial: Callable[[TrialRow], None] | None,
        load: ClassLoader,
    ) -> None:
        self._policy = policy
        self._load = load
        self._on_trial = on_trial
        self._samples, self._weight, self._folds = samples, weight, folds
        self._fold_data = [_fold_data(samples, weight, fold) for fold in folds]
        self._scored = ScoredRows.from_folds(samples, folds, weight)
        self._rows: list[TrialRow] = []
        self._complete: list[ScoredTrial] = []

    def run_trial(self, trial: optuna.Trial, pool: ThreadPoolExecutor) -> float:
        """Return the calibrated out-of-fold log-loss of one trial, nats.

        Args:
            trial: Source of the parameters.
            pool: Threads that grow the folds.

        Raises:
            optuna.TrialPruned: If the trial is stopped at a rung.
        """
        family, params = suggest_params(trial, self._policy.families, self._load)
        if is_own(family):
            out_of_fold = np.concatenate(
                [self._fit_own(fold, family, params) for fold in self._folds]
            )
            result = SearchResult(family, params, 0, out_of_fold, ())
        elif family == "logistic":
            out_of_fold = np.concatenate([self._regress(fold, params["C"]) for fold in self._folds])
            result = SearchResult(family, params, 0, out_of_fold, ())
        else:
            result = self._grow(trial, cast(BoosterFamily, family), params, pool)
        slope, losses = calibrated_losses(result.out_of_fold, self._scored)
        value = float(np.average(losses, weights=self._scored.weight))
        self._complete.append(ScoredTrial(result, slope, losses))
        self._log(TrialRow(trial.number, family, "complete", value, result.rounds, params))
        return value

    def _regress(self, fold: Fold, strength: float) -> Floats:
        """Return a regression's probabilities of a fold's test rows."""
        model = LogisticModel.fit(self._samples.rows(fold.train, self._weight), strength)
        return model.predict(self._samples.x[fold.test])

    def _fit_own(self, fold: Fold, family: Family, params: Params) -> Floats:
        """Return the probabilities of a fold's test rows by a family of the user's own."""
        rows = self._samples.rows(fold.train, self._weight)
        return probabilities(fit_own(family, params, rows, self._load), self._samples.x[fold.test])

    def _grow(
        self, trial: optuna.Trial, family: BoosterFamily, params: Params, pool: ThreadPoolExecutor
    ) -> SearchResult:
        """Grow a booster on every fold; only the trials every search begins with are not pruned."""
        runs = [
            _FoldRun(
                GROWING_BOOSTERS[family](params, fit, self._policy.seed, stop),
                test,
                self._policy.patience,
            )
            for fit, stop, test in self._fold_data
        ]
        for rung in rungs(self._policy.rounds):
            losses = list(pool.map(lambda run, rounds=rung: run.grow_to(rounds), runs))
            trial.report(float(np.mean(losses)), rung)
            if trial.number >= len(self._policy.families) and trial.should_prune():
                self._log(TrialRow(trial.number, family, "pruned", float("nan"), rung, params))
                raise optuna.TrialPruned
        rounds = int(np.median([run.best_round for run in runs]))
        out_of_fold = np.concatenate(list(pool.map(_FoldRun.predict_test, runs)))
        return SearchResult(family, params, rounds, out_of_fold, ())

    def _log(self, row: TrialRow) -> None:
        self._rows.append(row)
        if self._on_trial is not None:
            self._on_trial(row)

    @property
    def result(self) -> SearchResult:
        chosen = choose_trial(self._complete, self._scored.weight)
        return replace(chosen, trials=tuple(self._rows))


def rungs(rounds: int) -> list[int]:
    """Return the rounds at which a trial may be pruned: 25, 75, 225, … and the last."""
    steps = []
    rung = FIRST_RUNG
    while rung < rounds:
        steps.append(rung)
        rung *= 3
    return [*steps, rounds]


def first_params(family: Family, load: ClassLoader) -> Params:
    """Return what ``suggest_params`` is told for a family's first trial.

    Args:
        family: The family.
        load: Returns the class of a family of the user's own.
    """
    if is_own(family):
        return own_first_params(family, load)
    return {"C": STRENGTH} if family == "logistic" else dict(SMALL_TREES)


def suggest_params(
    trial: optuna.Trial, families: tuple[Family, ...], load: ClassLoader = installed_class
) -> tuple[Family, Params]:
    """Return a family and its parameters.

    Weak signals need shrunken weights, or shallow, slow and regularised trees.

    Args:
        trial: Source of the parameters.
        families: Families to choose from.
        load: Returns the class of a family of the user's own.
    """
    family = trial.suggest_categorical("family", families)
    if is_own(family):
        own = load_family(family, load)
        return family, dict(own.search_space(NamedTrial(trial, family)))
    if family == "logistic":
        return family, {"C": trial.suggest_float("C", *STRENGTHS, log=True)}
    rate = trial.suggest_float("learning_rate", 0.01, 0.15, log=True)
    depth = trial.suggest_int("max_depth", 2, 5)
    leaf_share = trial.suggest_float("leaf_share", 0.005, 0.1, log=True)
    row_share = trial.suggest_float("row_share", 0.5, 1.0)
    column_share = trial.suggest_float("column_share", 0.3, 1.0)
    penalty = trial.suggest_float("l2", 0.1, 300.0, log=True)
    if family == "lightgbm":
        return family, {
            "learning_rate": rate,
            "max_depth": depth,
            "num_leaves": 2**depth,
            "leaf_share": leaf_share,
            "bagging_fraction": row_share,
            "feature_fraction": column_share,
            "lambda_l2": penalty,
        }
    return family, {
        "eta": rate,
        "max_depth": depth,
        "leaf_share": leaf_share,
        "subsample": row_share,
        "colsample_bytree": column_share,
        "lambda": penalty,
    }


def _fold_data(
    samples: Samples, weight: Floats, fold: Fold
) -> tuple[BoosterData, BoosterData, BoosterData]:
    fit = BoosterData.from_rows(samples.rows(fold.fit, weight))
    stop = BoosterData.from_rows(samples.rows(fold.stop, weight), bins_of=fit)
    return fit, stop, BoosterData.from_rows(samples.rows(fold.test, weight))
