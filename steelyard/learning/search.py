"""Hyperparameter search: Optuna over all families, in batches, scored out of fold.

The first trials are the same in every search: a strong linear model, and very small, heavily
regularised trees of each booster. At the edges that real bars show they are hard to beat.

Optuna is asked for a batch of trials at once and told their scores in the order of their numbers,
so that results depend on the width of the batches, not on how many workers share one, nor on which
is quicker. The first batch is the trials every search begins with; later trials are pruned
against what earlier batches reached (``learning.trial``). The score is the calibrated log-loss on
the test folds, which neither stopping nor pruning uses. Optuna is told that of a pruned trial, too,
as far as it came: a search whose trials are nearly all pruned learns from all of them.

The best score of many trials is lucky. The simplest model (linear, then small trees, then any; of
each kind first the trial that every search begins with) serves that is within one standard error of
the best (Breiman, Friedman, Olshen and Stone, Classification and Regression Trees, 1984, section
3.4.3).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import optuna
import pandas as pd

from steelyard.learning.boosters import Params, silence_lightgbm
from steelyard.learning.folds import Fold
from steelyard.learning.own_family import (
    ClassLoader,
    NamedTrial,
    installed_class,
    is_own,
    load_family,
)
from steelyard.learning.own_family import first_params as own_first_params
from steelyard.learning.policy import Family, LearningPolicy
from steelyard.learning.samples import Floats, Samples
from steelyard.learning.trial import (
    Marks,
    SearchData,
    Suggestion,
    TrialOutcome,
    run_trial,
    shortfall,
)
from steelyard.values import OrderedMap

THREADS = 2
"""Trials evaluated at the same time; the result does not depend on it."""
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


def search(
    samples: Samples,
    weight: Floats,
    folds: list[Fold],
    policy: LearningPolicy,
    on_trial: Callable[[TrialRow], None] | None = None,
    load: ClassLoader = installed_class,
    workers: OrderedMap | None = None,
) -> SearchResult:
    """Return the choice among ``policy.trials`` trials; same data and seed, same result.

    Args:
        samples: All samples; only the rows of the folds are used.
        weight: Weight of each sample in fits and scores, shape (n,).
        folds: Walk-forward folds.
        policy: Budget, width of the batches, families, seed and stopping.
        on_trial: Called after each trial, for logging.
        load: Returns the class of a family of the user's own.
        workers: Map over the trials of a batch; None for threads of this process.

    Raises:
        FixConfiguration: If a family of the user's own cannot be loaded or fitted.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(
        seed=policy.seed, n_startup_trials=max(5, policy.trials // 4), constant_liar=True
    )
    study = optuna.create_study(sampler=sampler)
    for family in policy.families:
        study.enqueue_trial({"family": family, **first_params(family, load)})
    log = _Log(SearchData(samples, weight, folds, policy, load), on_trial)
    with threads() if workers is None else nullcontext(workers) as evaluate:
        for width in batch_widths(policy):
            asked = [study.ask() for _ in range(width)]
            suggestions = [
                Suggestion(trial.number, *suggest_params(trial, policy.families, load))
                for trial in asked
            ]
            outcomes = evaluate(partial(run_trial, log.data, log.marks), suggestions)
            for suggestion, outcome in log.take_in(suggestions, outcomes):
                study.tell(suggestion.number, log.mean_loss(outcome))
    return log.result


@contextmanager
def threads(count: int = THREADS) -> Iterator[OrderedMap]:
    """Yield a map over threads of this process; learners let go of the interpreter.

    Args:
        count: Number of threads.
    """
    with ThreadPoolExecutor(count, initializer=silence_lightgbm) as pool:
        yield pool.map


def batch_widths(policy: LearningPolicy) -> Iterator[int]:
    """Yield the number of trials of each batch; the first are those every search begins with.

    Args:
        policy: Budget, families and width of the batches.
    """
    left, width = policy.trials, len(policy.families)
    while left > 0:
        yield min(width, left)
        left, width = left - width, policy.batch


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
            mean, error = shortfall(trial.losses, best.losses, weight)
            if mean <= error:
                return trial.result
    return best.result


class _Log:
    """What a search has learned: the log, the complete trials, and the marks for the next batch."""

    def __init__(self, data: SearchData, on_trial: Callable[[TrialRow], None] | None) -> None:
        self.data = data
        self.marks: Marks = {}
        self._on_trial = on_trial
        self._rows: list[TrialRow] = []
        self._complete: list[ScoredTrial] = []

    def take_in(
        self, suggestions: Sequence[Suggestion], outcomes: Iterable[TrialOutcome]
    ) -> Iterator[tuple[Suggestion, TrialOutcome]]:
        """Yield a batch by number, each trial after it is logged; then set the marks.

        Args:
            suggestions: Trials of the batch.
            outcomes: Their outcomes, in the same order.
        """
        best = self.marks
        for suggestion, outcome in zip(suggestions, outcomes, strict=True):
            self._log(suggestion, outcome)
            if outcome.passed and outcome.pruned_at is None and self._leads(outcome.passed, best):
                best = outcome.passed
            yield suggestion, outcome
        self.marks = best

    def _leads(self, passed: Marks, best: Marks) -> bool:
        """Return whether a complete trial has less loss on the stopping rows than the best yet."""
        if not best:
            return True
        last, weight = self.data.policy.rounds, self.data.stopping.weight
        return shortfall(passed[last], best[last], weight)[0] < 0

    def mean_loss(self, outcome: TrialOutcome) -> float:
        """Return the calibrated out-of-fold log-loss, nats, of a trial as far as it came."""
        return float(np.average(outcome.losses, weights=self.data.scored.weight))

    def _log(self, suggestion: Suggestion, outcome: TrialOutcome) -> None:
        number, family, params = suggestion.number, suggestion.family, suggestion.params
        if outcome.pruned_at is None:
            result = SearchResult(family, params, outcome.rounds, outcome.out_of_fold, ())
            self._complete.append(ScoredTrial(result, outcome.slope, outcome.losses))
            value = self.mean_loss(outcome)
            row = TrialRow(number, family, "complete", value, outcome.rounds, params)
        else:
            row = TrialRow(number, family, "pruned", float("nan"), outcome.pruned_at, params)
        self._rows.append(row)
        if self._on_trial is not None:
            self._on_trial(row)

    @property
    def result(self) -> SearchResult:
        chosen = choose_trial(self._complete, self.data.scored.weight)
        return replace(chosen, trials=tuple(self._rows))


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
