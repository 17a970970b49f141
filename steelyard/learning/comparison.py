"""Champion against challenger, on rows neither was fitted, tuned or calibrated on (SPEC §3)."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

from steelyard.learning.policy import LearningPolicy
from steelyard.learning.samples import Bools, Floats, Index, Samples
from steelyard.market.bars import Stamps

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class ModelComparison:
    """Result of a comparison; differences are challenger minus champion, intervals are 95 %.

    Attributes:
        wins: True if the challenger replaces the champion.
        rows: Signals both were scored on.
        accuracy: Difference of the accuracies, positive is better; NaN with too few rows.
        accuracy_interval: Bootstrap interval of ``accuracy``, by day.
        log_loss: Difference of the log-losses, nats, negative is better; NaN with too few rows.
        log_loss_interval: Bootstrap interval of ``log_loss``, by day.
        mcnemar_p: Exact two-sided p of the signals on which exactly one was right; 1 without any.
        reasons: Both conditions with their figures.
    """

    wins: bool
    rows: int
    accuracy: float
    accuracy_interval: Interval
    log_loss: float
    log_loss_interval: Interval
    mcnemar_p: float
    reasons: tuple[str, ...]


def common_rows(
    samples: Samples, holdout: Index, trained_through: np.datetime64, policy: LearningPolicy
) -> Index:
    """Return the holdout rows decided an embargo after the other model's last training outcome.

    Args:
        samples: All samples.
        holdout: Positions of the holdout, shape (m,).
        trained_through: Time of the other model's last training outcome, UTC.
        policy: Length of the embargo.
    """
    embargo = np.timedelta64(round(policy.embargo_hours * 3600), "s")
    return holdout[samples.decided_at[holdout] > trained_through + embargo]


def compare_models(
    won: Bools, champion: Floats, challenger: Floats, settled_at: Stamps, policy: LearningPolicy
) -> ModelComparison:
    """Compare two models on the same rows.

    The challenger wins if its accuracy is higher and its log-loss is not worse; NaN never wins.

    Args:
        won: Outcomes, shape (n,).
        champion: Probabilities of the champion, shape (n,).
        challenger: Probabilities of the challenger, shape (n,).
        settled_at: Time each outcome was known, UTC, shape (n,); those of a day share their luck.
        policy: Rows needed, and size and seed of the bootstrap.
    """
    if len(won) < policy.min_common:
        reason = (
            f"{len(won)} signals neither model was fitted on, {policy.min_common} needed to compare"
        )
        nan = float("nan")
        return ModelComparison(False, len(won), nan, (nan, nan), nan, (nan, nan), nan, (reason,))
    right = ((challenger > 0.5) == won).astype(float) - ((champion > 0.5) == won)
    loss = _losses(challenger, won) - _losses(champion, won)
    accuracy, log_loss = float(right.mean()), float(loss.mean())
    higher, not_worse = accuracy > 0, log_loss <= 0
    standing = "reached" if higher else "needed"
    reasons = (
        f"accuracy {accuracy:+.2%} on {len(won)} signals, a higher one {standing}",
        f"log-loss {log_loss:+.4f} nats, {'not worse' if not_worse else 'no worse one allowed'}",
    )
    return ModelComparison(
        wins=higher and not_worse,
        rows=len(won),
        accuracy=accuracy,
        accuracy_interval=_bootstrap_interval(right, settled_at, policy),
        log_loss=log_loss,
        log_loss_interval=_bootstrap_interval(loss, settled_at, policy),
        mcnemar_p=_mcnemar_p(right),
        reasons=reasons,
    )


def _losses(p_win: Floats, won: Bools) -> Floats:
    clipped = np.clip(p_win, 1e-12, 1 - 1e-12)
    return -np.where(won, np.log(clipped), np.log1p(-clipped))


def _bootstrap_interval(
    differences: Floats, settled_at: Stamps, policy: LearningPolicy
) -> Interval:
    """Return the percentile interval of a mean of paired differences, whole days (UTC) resampled.

    Efron, "Bootstrap methods: another look at the jackknife", Ann. Statist. 7, 1979; of clusters:
    Cameron, Gelbach and Miller, "Bootstrap-based improvements for inference with clustered errors",
    Rev. Econ. Stat. 90, 2008.
    """
    _, day = np.unique(settled_at.astype("datetime64[D]"), return_inverse=True)
    sums, counts = np.bincount(day, weights=differences), np.bincount(day)
    rng = np.random.default_rng(policy.seed)
    draws = rng.integers(0, len(sums), size=(policy.bootstrap_samples, len(sums)))
    means = sums[draws].sum(axis=1) / counts[draws].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def _mcnemar_p(right: Floats) -> float:
    """Return McNemar's exact p (Psychometrika 12, 1947).

    Args:
        right: +1 if only the challenger was right, −1 if only the champion was, else 0, shape (n,).
    """
    better, worse = int((right > 0).sum()), int((right < 0).sum())
    return float(binomtest(better, better + worse).pvalue) if better + worse else 1.0
