"""Splits in time: purged by bracket end and embargoed, so that no fold learns from what it is scored on.

Purging and embargo as in López de Prado, "Advances in Financial Machine Learning" (2018), chapter 7; here every split
also runs forward in time, as trading does.
"""

from dataclasses import dataclass

import numpy as np

from steelyard.errors import CollectMoreData
from steelyard.learning.policy import LearningPolicy
from steelyard.learning.samples import Index, Samples


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """One walk-forward split; each part is purged against the next.

    Attributes:
        fit: Rows the trees are grown on.
        stop: Later rows, still before the test, whose loss stops the boosting.
        test: Rows that are scored, never used for fitting or stopping.
    """

    fit: Index
    stop: Index
    test: Index

    @property
    def train(self) -> Index:
        """Fit and stop rows together."""
        return np.concatenate([self.fit, self.stop])


def split_holdout(samples: Samples, policy: LearningPolicy) -> tuple[Index, Index]:
    """Return development and holdout rows: the latest signals are held out, what overlaps them is dropped.

    Raises:
        CollectMoreData: If there are fewer than ``policy.min_settled`` samples, or too few remain before the holdout.
    """
    n = len(samples)
    if n < policy.min_settled:
        raise CollectMoreData(
            f"{n} settled signals, {policy.min_settled} needed for a training; collect more bars"
        )
    size = int(np.clip(round(n * policy.holdout_share), policy.holdout_min, policy.holdout_max))
    holdout = np.arange(n - size, n)
    development = purge(samples, np.arange(n - size), samples.decided_at[n - size], policy)
    if len(development) < policy.folds * 10:
        raise CollectMoreData(
            f"{len(development)} signals settled {policy.embargo_hours:g} hours before the holdout begins, "
            f"{policy.folds * 10} needed; collect more bars"
        )
    return development, holdout


def purge(samples: Samples, rows: Index, begin: np.datetime64, policy: LearningPolicy) -> Index:
    """Return the ``rows`` whose bracket ended an embargo before ``begin``."""
    embargo = np.timedelta64(round(policy.embargo_hours * 3600), "s")
    return rows[samples.settled_at[rows] < begin - embargo]


def walk_forward(samples: Samples, rows: Index, policy: LearningPolicy) -> list[Fold]:
    """Return expanding folds over ``rows``: equal test blocks after a first block that is only trained on."""
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
