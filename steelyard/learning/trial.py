"""One trial of a search: fitted on every fold, stopped early if it is clearly behind.

A trial knows the data, its own parameters and what earlier batches of trials reached, nothing
else: whoever evaluates it, next to whatever else, gets the same numbers.

The folds of a booster grow together from rung to rung. At each the scores of the stopping rows are
calibrated by fold, as at the end, so that what is compared is order and not how far slow learning
rates have come. The trial ends if its loss is higher than that of the best trial of earlier batches
was at the same rung by more than a standard error of the difference.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from threading import Lock
from typing import Any, cast

import numpy as np

from steelyard.learning.boosters import GROWING_BOOSTERS, BoosterData, GrowingBooster, Params
from steelyard.learning.calibration import calibrated_losses
from steelyard.learning.folds import Fold, ScoredRows
from steelyard.learning.logistic import LogisticModel
from steelyard.learning.own_family import ClassLoader, fit_own, is_own, probabilities
from steelyard.learning.policy import BoosterFamily, Family, LearningPolicy
from steelyard.learning.samples import Floats, Samples

FIRST_RUNG = 25
_building = Lock()
"""Held while native formats are built; workers of one process share them."""

Marks = Mapping[int, Floats]
"""Rung → calibrated loss of each stopping row, nats, shape (s,), of the best trial so far."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A trial to evaluate: its number in the study, its family and the family's parameters."""

    number: int
    family: Family
    params: Params


@dataclass(frozen=True, slots=True, eq=False)
class TrialOutcome:
    """What a trial reached.

    Attributes:
        pruned_at: Rung at which it ended; None if it is complete.
        rounds: Median best round of the folds; 0 if the family has no rounds.
        out_of_fold: Raw probabilities of the test rows, in their order, shape (n,).
        slope: Slope of their calibration; not over 0 if they cannot be calibrated.
        losses: Calibrated loss of each test row, nats, shape (n,).
        passed: Its calibrated losses of the stopping rows at every rung.
    """

    pruned_at: int | None
    rounds: int
    out_of_fold: Floats
    slope: float
    losses: Floats
    passed: Marks


@dataclass(frozen=True, eq=False)
class SearchData:
    """What every trial of a search is fitted and scored on.

    Attributes:
        samples: All samples; only the rows of the folds are used.
        weight: Weight of each sample in fits and scores, shape (n,).
        folds: Walk-forward folds.
        policy: Rounds, patience and seed.
        load: Returns the class of a family of the user's own.
    """

    samples: Samples
    weight: Floats
    folds: list[Fold]
    policy: LearningPolicy
    load: ClassLoader

    @cached_property
    def scored(self) -> ScoredRows:
        """Test rows of all folds."""
        return ScoredRows.from_folds(self.samples, self.folds, self.weight)

    @cached_property
    def stopping(self) -> ScoredRows:
        """Stopping rows of all folds."""
        parts = [fold.stop for fold in self.folds]
        return ScoredRows.from_parts(self.samples, parts, self.weight)

    @property
    def native(self) -> list[tuple[BoosterData, BoosterData]]:
        """Fitted and stopping rows of each fold in the boosters' formats; built at first use."""
        with _building:
            return self._native

    @cached_property
    def _native(self) -> list[tuple[BoosterData, BoosterData]]:
        built = []
        for fold in self.folds:
            fit = BoosterData.from_rows(self.samples.rows(fold.fit, self.weight))
            stop = BoosterData.from_rows(self.samples.rows(fold.stop, self.weight), bins_of=fit)
            built.append((fit.build(), stop.build()))
        return built

    def __getstate__(self) -> dict[str, Any]:
        """Return the fields: what is derived from them is derived again by a worker elsewhere."""
        return {name: self.__dict__[name] for name in self.__dataclass_fields__}


@dataclass(slots=True)
class _FoldRun:
    """One fold of one trial during its growth."""

    booster: GrowingBooster
    patience: int
    rounds: int = 0
    best_round: int = 1
    best_loss: float = field(default=float("inf"))

    def grow_to(self, rounds: int) -> None:
        """Grow to ``rounds``, or until the stopping loss stalls."""
        while self.rounds < rounds and self.rounds - self.best_round < self.patience:
            self.booster.grow()
            self.rounds += 1
            loss = self.booster.stop_loss()
            if loss < self.best_loss:
                self.best_loss, self.best_round = loss, self.rounds

    def predict(self, x: Floats) -> Floats:
        """Return the raw probabilities of ``x``, shape (n, k) → (n,), at the best round so far."""
        return self.booster.predict(x, self.best_round)


def run_trial(data: SearchData, marks: Marks, suggestion: Suggestion) -> TrialOutcome:
    """Return what a trial reaches; a booster is scored where it ended, pruned or not.

    Args:
        data: Rows and folds.
        marks: What the best trials of earlier batches reached.
        suggestion: Family and parameters.

    Raises:
        FixConfiguration: If a family of the user's own cannot be loaded or fitted.
    """
    family, params = suggestion.family, suggestion.params
    if is_own(family) or family == "logistic":
        fits = [_fit_and_predict(data, fold, family, params) for fold in data.folds]
        return _outcome(data, fits)
    return _grow(data, marks, cast(BoosterFamily, family), params)


def shortfall(losses: Floats, best: Floats, weight: Floats) -> tuple[float, float]:
    """Return by how much losses exceed the best in the mean, and the standard error of that.

    Args:
        losses: Loss of each row, nats, shape (n,).
        best: Losses of the model they are held against, shape (n,).
        weight: Weight of each row, shape (n,).
    """
    difference = losses - best
    mean = float(np.average(difference, weights=weight))
    error = np.sqrt(np.sum((weight * (difference - mean)) ** 2)) / weight.sum()
    return mean, float(error)


def rungs(rounds: int) -> list[int]:
    """Return the rounds at which a trial is measured: 25, 50, 100, … and the last."""
    steps = []
    rung = FIRST_RUNG
    while rung < rounds:
        steps.append(rung)
        rung *= 2
    return [*steps, rounds]


def _fit_and_predict(data: SearchData, fold: Fold, family: Family, params: Params) -> Floats:
    """Return the probabilities of a fold's test rows by a family without rounds."""
    rows, x = data.samples.rows(fold.train, data.weight), data.samples.x[fold.test]
    if family == "logistic":
        return LogisticModel.fit(rows, params["C"]).predict(x)
    return probabilities(fit_own(family, params, rows, data.load), x)


def _grow(data: SearchData, marks: Marks, family: BoosterFamily, params: Params) -> TrialOutcome:
    booster, policy = GROWING_BOOSTERS[family], data.policy
    runs = [
        _FoldRun(booster(params, fit, policy.seed, stop), policy.patience)
        for fit, stop in data.native
    ]
    passed: dict[int, Floats] = {}
    pruned_at = None
    for rung in rungs(policy.rounds):
        for run in runs:
            run.grow_to(rung)
        raw = [run.predict(stop.x) for run, (_, stop) in zip(runs, data.native, strict=True)]
        _, passed[rung] = calibrated_losses(np.concatenate(raw), data.stopping)
        if rung < policy.rounds and _is_behind(passed[rung], marks, rung, data.stopping.weight):
            pruned_at = rung
            break
    tests = [data.samples.x[fold.test] for fold in data.folds]
    scores = [run.predict(x) for run, x in zip(runs, tests, strict=True)]
    rounds = int(np.median([run.best_round for run in runs]))
    return _outcome(data, scores, rounds, pruned_at, passed)


def _is_behind(losses: Floats, marks: Marks, rung: int, weight: Floats) -> bool:
    if not marks:
        return False
    mean, error = shortfall(losses, marks[rung], weight)
    return mean > error


def _outcome(
    data: SearchData,
    scores: list[Floats],
    rounds: int = 0,
    pruned_at: int | None = None,
    passed: Marks | None = None,
) -> TrialOutcome:
    """Return the outcome of raw probabilities of each fold's test rows."""
    out_of_fold = np.concatenate(scores)
    slope, losses = calibrated_losses(out_of_fold, data.scored)
    return TrialOutcome(pruned_at, rounds, out_of_fold, slope, losses, passed or {})
