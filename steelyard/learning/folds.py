"""Splits in time, purged by bracket end and embargoed: no fold learns from rows it is scored on.

Purging and embargo as in López de Prado, "Advances in Financial Machine Learning" (2018), chapter
7; here every split also runs forward in time, as trading does.
"""

from dataclasses import dataclass

import numpy as np

from steelyard.errors import CollectMoreData
from steelyard.learning.policy import LearningPolicy
from steelyard.learning.samples import Bools, Floats, Index, Samples

LARGEST_HOLDOUT = 0.5
"""Share of the signals that a holdout may take."""


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """One walk-forward split; each part is purged against the next.

    Attributes:
        fit: Rows that grow the trees, positions, shape (f,).
        stop: Later rows, before the test, whose loss stops the boosting, shape (s,).
        test: Rows that are scored, never used for fitting or stopping, shape (t,).
    """

    fit: Index
    stop: Index
    test: Index

    @property
    def train(self) -> Index:
        """Fit and stop rows together, shape (f + s,)."""
        return np.concatenate([self.fit, self.stop])


@dataclass(frozen=True, slots=True, eq=False)
class ScoredRows:
    """Rows of all folds on which models are calibrated and compared: test rows, or stopping rows.

    Attributes:
        index: Positions among the samples, shape (n,).
        fold: Number of each row's fold, from 0, shape (n,).
        won: Outcomes, shape (n,).
        weight: Weight of each row, shape (n,).
    """

    index: Index
    fold: Index
    won: Bools
    weight: Floats

    @classmethod
    def from_folds(cls, samples: Samples, folds: list[Fold], weight: Floats) -> "ScoredRows":
        """Return the test rows of the folds, in their order.

        Args:
            samples: All samples.
            folds: Walk-forward folds.
            weight: Weight of each sample, shape (n,).
        """
        return cls.from_parts(samples, [fold.test for fold in folds], weight)

    @classmethod
    def from_parts(cls, samples: Samples, parts: list[Index], weight: Floats) -> "ScoredRows":
        """Return one part of every fold, in their order.

        Args:
            samples: All samples.
            parts: Positions of each fold's rows.
            weight: Weight of each sample, shape (n,).
        """
        index = np.concatenate(parts)
        fold = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        return cls(index, fold, samples.won[index], weight[index])


def split_holdout(samples: Samples, policy: LearningPolicy) -> tuple[Index, Index]:
    """Return positions of the development and holdout rows.

    The latest signals are held out: a share, and at least some signals and days. Earlier signals
    that overlap them are dropped, and those before ``policy.train_days``.

    Args:
        samples: Rows to split.
        policy: Size of the holdout, and the embargo.

    Raises:
        CollectMoreData: If there are fewer than ``policy.min_settled`` samples, or too few remain
            before the holdout.
    """
    rows = _latest_rows(samples, policy.train_days)
    count = len(rows)
    if count < policy.min_settled:
        raise CollectMoreData(
            f"{count} settled signals, {policy.min_settled} needed for a training; "
            "collect more bars"
        )
    in_days = len(_latest_rows(samples, policy.holdout_days))
    if in_days > count * LARGEST_HOLDOUT:
        raise CollectMoreData(
            f"the holdout takes the last {policy.holdout_days} days, {in_days} of {count} signals, "
            f"{LARGEST_HOLDOUT:.0%} at most may be held out; collect more bars"
        )
    wanted = max(round(count * policy.holdout_share), policy.holdout_min, in_days)
    earlier, holdout = rows[:-wanted], rows[-wanted:]
    development = purge(samples, earlier, samples.decided_at[holdout[0]], policy)
    if len(development) < policy.folds * 10:
        raise CollectMoreData(
            f"{len(development)} signals settled {policy.embargo_hours:g} hours before the holdout "
            f"begins, {policy.folds * 10} needed; collect more bars"
        )
    return development, holdout


def _latest_rows(samples: Samples, days: int | None) -> Index:
    """Return the rows decided in the last ``days`` before the latest; None for all."""
    if days is None:
        return np.arange(len(samples))
    begin = samples.decided_at[-1:] - np.timedelta64(days, "D")
    return np.flatnonzero(samples.decided_at >= begin)


def purge(samples: Samples, rows: Index, begin: np.datetime64, policy: LearningPolicy) -> Index:
    """Return the rows whose outcome was known an embargo before ``begin``.

    Args:
        samples: All samples.
        rows: Positions to choose from, shape (m,).
        begin: First decision time of the part they are purged against, UTC.
        policy: Length of the embargo.
    """
    embargo = np.timedelta64(round(policy.embargo_hours * 3600), "s")
    return rows[samples.settled_at[rows] < begin - embargo]


def walk_forward(samples: Samples, rows: Index, policy: LearningPolicy) -> list[Fold]:
    """Return expanding folds: equal test blocks after a first block used for training only.

    Args:
        samples: All samples.
        rows: Positions to split, shape (m,), ascending.
        policy: Number of folds, share of the stopping rows, and the embargo.

    Raises:
        CollectMoreData: If purging leaves no fold with rows to fit on.
    """
    blocks = np.array_split(rows, policy.folds + 1)
    folds = []
    for number in range(1, len(blocks)):
        test = blocks[number]
        train = purge(samples, np.concatenate(blocks[:number]), samples.decided_at[test[0]], policy)
        cut = len(train) - max(int(len(train) * policy.stop_share), 1)
        stop = train[cut:]
        if len(stop) == 0 or cut < 1:
            continue
        fit = purge(samples, train[:cut], samples.decided_at[stop[0]], policy)
        if len(fit):
            folds.append(Fold(fit, stop, test))
    if not folds:
        raise CollectMoreData(
            "no fold keeps rows to fit on after purging; collect more bars or shorten the embargo"
        )
    return folds
