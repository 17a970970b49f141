"""Hyperparameter search: Optuna over both families, pruned by rounds, scored out of fold.

All folds of a trial grow together from rung to rung; the mean stopping loss at a rung decides
whether the trial goes on (successive halving: Jamieson and Talwalkar, AISTATS 2016). The score of a
trial is the log-loss on the test folds, which neither stopping nor pruning uses. Two threads share
the folds; each booster runs on one, so results repeat.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import cast

import numpy as np
import optuna
import pandas as pd
from sklearn.metrics import log_loss

from steelyard.learning.boosters import (
    GROWING_BOOSTERS,
    BoosterData,
    GrowingBooster,
    Params,
    silence_lightgbm,
)
from steelyard.learning.folds import Fold
from steelyard.learning.policy import Family, LearningPolicy
from steelyard.learning.samples import Floats, Samples

FIRST_RUNG = 25
THREADS = 2
"""Folds grown at the same time; the result does not depend on it."""


@dataclass(frozen=True, slots=True)
class TrialRow:
    """One trial as it is logged.

    Attributes:
        number: Position in the study, from 0.
        family: Booster library.
        state: ``complete`` or ``pruned``.
        value: Out-of-fold log-loss, nats; NaN if pruned.
        rounds: Median best round of the folds, or the round at which it was pruned.
        params: Parameters of the booster.
    """

    number: int
    family: Family
    state: str
    value: float
    rounds: int
    params: Params


@dataclass(frozen=True, slots=True, eq=False)
class SearchResult:
    """The best trial and the log of all trials.

    Attributes:
        family: Booster library of the best trial.
        params: Parameters of the best trial.
        rounds: Median of the rounds at which its folds stopped.
        out_of_fold: Its raw probabilities of the test folds' rows, in their order, shape (n,).
        trials: Every trial.
    """

    family: Family
    params: Params
    rounds: int
    out_of_fold: Floats
    trials: tuple[TrialRow, ...]

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
    folds: list[Fold],
    policy: LearningPolicy,
    on_trial: Callable[[TrialRow], None] | None = None,
) -> SearchResult:
    """Return the best of ``policy.trials`` trials; same data and seed, same result.

    Args:
        samples: All samples; only the rows of the folds are used.
        folds: Walk-forward folds.
        policy: Budget, families, seed and stopping.
        on_trial: Called after each trial, for logging.
    """
    study_search = _Search(samples, folds, policy, on_trial)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(
        seed=policy.seed, n_startup_trials=max(5, policy.trials // 4)
    )
    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=FIRST_RUNG, reduction_factor=3)
    study = optuna.create_study(sampler=sampler, pruner=pruner)
    with ThreadPoolExecutor(THREADS, initializer=silence_lightgbm) as pool:
        study.optimize(lambda trial: study_search.run_trial(trial, pool), n_trials=policy.trials)
    return study_search.result


class _Search:
    """State shared by the trials of one study: data of the folds, log, and the best result."""

    def __init__(
        self,
        samples: Samples,
        folds: list[Fold],
        policy: LearningPolicy,
        on_trial: Callable[[TrialRow], None] | None,
    ) -> None:
        self._policy = policy
        self._on_trial = on_trial
        self._fold_data = [_fold_data(samples, fold) for fold in folds]
        self._won = samples.won[np.concatenate([fold.test for fold in folds])]
        self._rows: list[TrialRow] = []
        self._best: tuple[float, SearchResult] | None = None

    def run_trial(self, trial: optuna.Trial, pool: ThreadPoolExecutor) -> float:
        """Return the out-of-fold log-loss of one trial, nats.

        Args:
            trial: Source of the parameters.
            pool: Threads that grow the folds.

        Raises:
            optuna.TrialPruned: If the trial is stopped at a rung.
        """
        family, params = suggest_params(trial, self._policy.families)
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
            if trial.should_prune():
                self._log(TrialRow(trial.number, family, "pruned", float("nan"), rung, params))
                raise optuna.TrialPruned
        rounds = int(np.median([run.best_round for run in runs]))
        out_of_fold = np.concatenate(list(pool.map(_FoldRun.predict_test, runs)))
        return self._complete(trial.number, SearchResult(family, params, rounds, out_of_fold, ()))

    def _complete(self, number: int, result: SearchResult) -> float:
        value = float(log_loss(self._won, result.out_of_fold, labels=[False, True]))
        row = TrialRow(number, result.family, "complete", value, result.rounds, result.params)
        self._log(row)
        if self._best is None or value < self._best[0]:
            self._best = value, result
        return value

    def _log(self, row: TrialRow) -> None:
        self._rows.append(row)
        if self._on_trial is not None:
            self._on_trial(row)

    @property
    def result(self) -> SearchResult:
        # the first trial always completes: there is nothing to prune it against
        assert self._best is not None  # noqa: S101
        return replace(self._best[1], trials=tuple(self._rows))


def rungs(rounds: int) -> list[int]:
    """Return the rounds at which a trial may be pruned: 25, 75, 225, … and the last."""
    steps = []
    rung = FIRST_RUNG
    while rung < rounds:
        steps.append(rung)
        rung *= 3
    return [*steps, rounds]


def suggest_params(trial: optuna.Trial, families: tuple[Family, ...]) -> tuple[Family, Params]:
    """Return a family and its parameters.

    Weak signals need shallow, slow and regularised trees, so the ranges are small.

    Args:
        trial: Source of the parameters.
        families: Families to choose from.
    """
    family = cast(Family, trial.suggest_categorical("family", families))
    rate = trial.suggest_float("learning_rate", 0.01, 0.15, log=True)
    depth = trial.suggest_int("max_depth", 2, 5)
    min_leaf = trial.suggest_int("min_leaf", 10, 120, log=True)
    row_share = trial.suggest_float("row_share", 0.5, 1.0)
    column_share = trial.suggest_float("column_share", 0.3, 1.0)
    penalty = trial.suggest_float("l2", 0.1, 50.0, log=True)
    if family == "lightgbm":
        return family, {
            "learning_rate": rate,
            "max_depth": depth,
            "num_leaves": 2**depth - 1,
            "min_data_in_leaf": min_leaf,
            "bagging_fraction": row_share,
            "feature_fraction": column_share,
            "lambda_l2": penalty,
        }
    return family, {
        "eta": rate,
        "max_depth": depth,
        "min_child_weight": min_leaf / 4,  # the Hessian of a log-loss near p = 1/2 is ¼ per row
        "subsample": row_share,
        "colsample_bytree": column_share,
        "lambda": penalty,
    }


def _fold_data(samples: Samples, fold: Fold) -> tuple[BoosterData, BoosterData, BoosterData]:
    fit = BoosterData.from_rows(samples.x[fold.fit], samples.won[fold.fit])
    stop = BoosterData.from_rows(samples.x[fold.stop], samples.won[fold.stop], bins_of=fit)
    return fit, stop, BoosterData.from_rows(samples.x[fold.test], samples.won[fold.test])
