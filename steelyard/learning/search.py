"""The search: Optuna over both families under one budget, pruned on boosting rounds, scored out of fold.

All folds of a trial grow in step from rung to rung; the mean stopping loss of a rung decides whether the trial goes on
(successive halving: Jamieson and Talwalkar, AISTATS 2016). What a trial is worth is the log-loss on the test folds, which
neither stopping nor pruning has looked at. Two threads share the folds; each booster runs on one, so results repeat.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
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
    """One trial as it is logged; ``value`` is the out-of-fold log-loss in nats, NaN where it was pruned."""

    number: int
    family: Family
    state: str
    value: float
    rounds: int
    params: Params


@dataclass(frozen=True, slots=True, eq=False)
class SearchResult:
    """The best trial, and every one that was tried.

    Attributes:
        rounds: Median of the rounds at which the folds stopped.
        out_of_fold: Raw probabilities of the test folds' rows, in their order, by the best trial.
    """

    family: Family
    params: Params
    rounds: int
    out_of_fold: Floats
    trials: tuple[TrialRow, ...]

    def table(self) -> pd.DataFrame:
        """Return every trial, one row each, parameters spread over columns."""
        rows = [
            {
                "number": t.number,
                "family": t.family,
                "state": t.state,
                "value": t.value,
                "rounds": t.rounds,
                **t.params,
            }
            for t in self.trials
        ]
        return pd.DataFrame(rows)


@dataclass(slots=True)
class _Run:
    """One fold of one trial while it grows."""

    booster: GrowingBooster
    test: BoosterData
    patience: int
    grown: int = 0
    best_round: int = 1
    best_loss: float = field(default=float("inf"))
    loss: float = field(default=float("inf"))

    def grow_to(self, rounds: int) -> float:
        """Grow until ``rounds`` or until the stopping loss has not improved for ``patience``; return the best loss."""
        while self.grown < rounds and self.grown - self.best_round < self.patience:
            self.booster.grow()
            self.grown += 1
            self.loss = self.booster.stop_loss()
            if self.loss < self.best_loss:
                self.best_loss, self.best_round = self.loss, self.grown
        return self.best_loss

    def score(self) -> Floats:
        """Return the probabilities of the test rows at the best round."""
        return self.booster.predict(self.test, self.best_round)


def search(
    samples: Samples,
    folds: list[Fold],
    policy: LearningPolicy,
    on_trial: Callable[[TrialRow], None] | None = None,
) -> SearchResult:
    """Return the best of ``policy.trials`` trials over all families; same data and seed, same result."""
    search_ = _Search(samples, folds, policy, on_trial)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(
        seed=policy.seed, n_startup_trials=max(5, policy.trials // 4)
    )
    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=FIRST_RUNG, reduction_factor=3)
    study = optuna.create_study(sampler=sampler, pruner=pruner)
    with ThreadPoolExecutor(THREADS, initializer=silence_lightgbm) as pool:
        study.optimize(lambda trial: search_.trial(trial, pool), n_trials=policy.trials)
    return search_.best


class _Search:
    """What the trials of one study share: tables, rows so far, and the best result."""

    def __init__(
        self,
        samples: Samples,
        folds: list[Fold],
        policy: LearningPolicy,
        on_trial: Callable[[TrialRow], None] | None,
    ) -> None:
        self._policy = policy
        self._on_trial = on_trial
        self._tables = [_tables(samples, fold) for fold in folds]
        self._won = samples.won[np.concatenate([fold.test for fold in folds])]
        self._rows: list[TrialRow] = []
        self._best: tuple[float, SearchResult] | None = None

    def trial(self, trial: optuna.Trial, pool: ThreadPoolExecutor) -> float:
        family, params = suggest_params(trial, self._policy.families)
        runs = [
            _Run(
                GROWING_BOOSTERS[family](params, fit, self._policy.seed, stop),
                test,
                self._policy.patience,
            )
            for fit, stop, test in self._tables
        ]
        for rung in rungs(self._policy.rounds):
            losses = list(pool.map(lambda run, to=rung: run.grow_to(to), runs))
            trial.report(float(np.mean(losses)), rung)
            if trial.should_prune():
                self._log(TrialRow(trial.number, family, "pruned", float("nan"), rung, params))
                raise optuna.TrialPruned
        return self._finish(
            trial.number, family, params, runs, np.concatenate(list(pool.map(_Run.score, runs)))
        )

    def _finish(
        self, number: int, family: Family, params: Params, runs: list[_Run], out_of_fold: Floats
    ) -> float:
        value = float(log_loss(self._won, out_of_fold, labels=[False, True]))
        rounds = int(np.median([run.best_round for run in runs]))
        self._log(TrialRow(number, family, "complete", value, rounds, params))
        if self._best is None or value < self._best[0]:
            self._best = value, SearchResult(family, params, rounds, out_of_fold, ())
        return value

    def _log(self, row: TrialRow) -> None:
        self._rows.append(row)
        if self._on_trial is not None:
            self._on_trial(row)

    @property
    def best(self) -> SearchResult:
        assert self._best is not None  # noqa: S101  # the first trial reaches the last rung: nothing to prune it against
        result = self._best[1]
        return SearchResult(
            result.family, result.params, result.rounds, result.out_of_fold, tuple(self._rows)
        )


def rungs(rounds: int) -> list[int]:
    """Return the rounds at which a trial is weighed: 25, 75, 225, … and the last."""
    steps = []
    rung = FIRST_RUNG
    while rung < rounds:
        steps.append(rung)
        rung *= 3
    return [*steps, rounds]


def suggest_params(trial: optuna.Trial, families: tuple[Family, ...]) -> tuple[Family, Params]:
    """Return a family and its parameters: shallow, slow and regularised, as weak signals ask for."""
    family = cast(Family, trial.suggest_categorical("family", families))
    rate = trial.suggest_float("learning_rate", 0.01, 0.15, log=True)
    depth = trial.suggest_int("max_depth", 2, 5)
    leaf = trial.suggest_int("min_leaf", 10, 120, log=True)
    rows = trial.suggest_float("row_share", 0.5, 1.0)
    columns = trial.suggest_float("column_share", 0.3, 1.0)
    l2 = trial.suggest_float("l2", 0.1, 50.0, log=True)
    if family == "lightgbm":
        return family, {
            "learning_rate": rate,
            "max_depth": depth,
            "num_leaves": 2**depth - 1,
            "min_data_in_leaf": leaf,
            "bagging_fraction": rows,
            "feature_fraction": columns,
            "lambda_l2": l2,
        }
    return family, {
        "eta": rate,
        "max_depth": depth,
        "min_child_weight": leaf / 4,  # the Hessian of a log-loss near p = 1/2 is a quarter a row
        "subsample": rows,
        "colsample_bytree": columns,
        "lambda": l2,
    }


def _tables(samples: Samples, fold: Fold) -> tuple[BoosterData, BoosterData, BoosterData]:
    fit = BoosterData.from_rows(samples.x[fold.fit], samples.won[fold.fit])
    stop = BoosterData.from_rows(samples.x[fold.stop], samples.won[fold.stop], like=fit)
    return fit, stop, BoosterData.from_rows(samples.x[fold.test], samples.won[fold.test])
