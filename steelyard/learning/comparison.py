"""Champion against challenger: the same rows, which neither was fitted, tuned or calibrated on (SPEC §3)."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

from steelyard.learning.policy import LearningPolicy
from steelyard.learning.samples import Bools, Floats, Index, Samples

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class ModelComparison:
    """What a comparison found; differences are challenger minus champion, intervals hold 95 %.

    Attributes:
        rows: Signals both were scored on.
        accuracy: Difference of the accuracies; positive is better.
        log_loss: Difference of the log-losses, nats; negative is better.
        mcnemar_p: Exact two-sided p of the signals on which exactly one was right; 1 without any.
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
    """Return the holdout rows decided an embargo after the other model's last training outcome."""
    embargo = np.timedelta64(round(policy.embargo_hours * 3600), "s")
    return holdout[samples.decided_at[holdout] > trained_through + embargo]


def compare_models(
    won: Bools, champion: Floats, challenger: Floats, policy: LearningPolicy
) -> ModelComparison:
    """Return whether the challenger's probabilities beat the champion's on ``won``, all of shape (n,).

    It wins when its accuracy is higher and its log-loss is not worse; NaN wins nothing.
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
    reasons = (
        f"accuracy {accuracy:+.2%} on {len(won)} signals, a higher one {'reached' if higher else 'needed'}",
        f"log-loss {log_loss:+.4f} nats, {'not worse' if not_worse else 'no worse one allowed'}",
    )
    return ModelComparison(
        wins=higher and not_worse,
        rows=len(won),
        accuracy=accuracy,
        accuracy_interval=_interval(right, policy),
        log_loss=log_loss,
        log_loss_interval=_interval(loss, policy),
        mcnemar_p=_mcnemar(right),
        reasons=reasons,
    )


def _losses(p_win: Floats, won: Bools) -> Floats:
    p = np.clip(p_win, 1e-12, 1 - 1e-12)
    return -np.where(won, np.log(p), np.log1p(-p))


def _interval(differences: Floats, policy: LearningPolicy) -> Interval:
    """Return the percentile bootstrap interval of a mean of paired differences (Efron, Ann. Statist. 7, 1979)."""
    rng = np.random.default_rng(policy.seed)
    drawn = rng.integers(0, len(differences), size=(policy.bootstrap_samples, len(differences)))
    low, high = np.quantile(differences[drawn].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


def _mcnemar(right: Floats) -> float:
    """Return McNemar's exact p (Psychometrika 12, 1947) from +1, −1 and 0 per signal."""
    better, worse = int((right > 0).sum()), int((right < 0).sum())
    return float(binomtest(better, better + worse).pvalue) if better + worse else 1.0
