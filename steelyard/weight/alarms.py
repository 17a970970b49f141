"""How often each breaker would disable a healthy model by chance, in words for whoever looks at the limits."""

import math

from steelyard.judging.alarms import enough_losses, low_accuracy_alarm, streak_alarm
from steelyard.judging.evidence import Evidence
from steelyard.weight.policy import WeightPolicy
from steelyard.weight.sequential import binding

YEAR_DAYS = 365
TRADES = 2500  # where the ml book has not traded yet
SELDOM = 0.05
"""Chance of a false streak in those trades that a trader may live with: over it, the limit that has it is named."""
TIED = 0.05
"""Correlation of neighbouring signals from which it is worth a word."""


def false_alarms(evidence: Evidence, policy: WeightPolicy) -> dict[str, str]:
    """Return for each breaker how often it hits a model that is just good enough to rise, at the pace of ``evidence``.

    Such a model is right, and wins, on ``steps.raise_accuracy`` of the signals. Neighbours hang together as they did over
    the lineage's life; where that is not known yet, they count as independent.
    """
    words = {"breaker_accuracy": _accuracy_words(evidence, policy), "breaker_streak": _streak_words(evidence, policy)}
    if not binding(policy):
        return words
    bounds = policy.sequential
    words["breaker_accuracy"] += f"; believed where claims that hold get once in {bounds.cut:g} months, or more seldom"
    words["breaker_decay"] = f"claims that hold get here once in {bounds.disable:g} months, or more seldom"
    return words


def _accuracy_words(evidence: Evidence, policy: WeightPolicy) -> str:
    healthy, bound = policy.steps.raise_accuracy, policy.limits.breaker_accuracy
    signals = max(evidence.settled, policy.min_settled)
    tied = evidence.life.right_autocorrelation if evidence.life else math.nan
    chance = low_accuracy_alarm(signals, bound, healthy, _known(tied))
    return f"chance breaks a healthy {healthy:.0%} model in {chance:.1%} of windows of {signals} signals{_tied(tied)}"


def _streak_words(evidence: Evidence, policy: WeightPolicy) -> str:
    healthy, losses = policy.steps.raise_accuracy, policy.limits.breaker_streak + 1
    trades = round(evidence.books.ml.trades_per_day * YEAR_DAYS) or TRADES
    tied = evidence.life.win_autocorrelation if evidence.life else math.nan
    chance = streak_alarm(trades, losses, healthy, _known(tied))
    words = f"{losses} losses in a row hit a healthy {healthy:.0%} one in {chance:.1%} of {trades:,} trades{_tied(tied)}"
    if chance <= SELDOM:
        return words
    return (
        f"{words}; breaker_streak {enough_losses(trades, healthy, _known(tied), SELDOM) - 1} would in {SELDOM:.0%} at most"
    )


def _known(autocorrelation: float) -> float:
    return max(autocorrelation, 0.0) if math.isfinite(autocorrelation) else 0.0


def _tied(autocorrelation: float) -> str:
    if math.isnan(autocorrelation):
        return ", were they independent"
    return f", neighbours correlating by {autocorrelation:.2f}" if autocorrelation > TIED else ""
