"""False alarms of the breakers: how often chance alone breaches a limit of a healthy model."""

import math

import numpy as np

from steelyard.evaluation.chances import normal_share
from steelyard.evaluation.evidence import Evidence
from steelyard.evaluation.figures import streak_by_chance
from steelyard.weight.policy import WeightPolicy
from steelyard.weight.sequential import allowed_streak

YEAR_DAYS = 365
TRADES = 2500  # if the ml book has not traded yet
SELDOM = 0.05
"""Acceptable probability of a false streak; above it, the text names the limit that meets it."""
CORRELATED = 0.05
"""Correlation of neighbouring signals above which the text mentions it."""


def streak_alarm(trades: int, losses: int, win_rate: float, autocorrelation: float = 0.0) -> float:
    """Return the probability of a losing streak of at least ``losses`` somewhere in the trades.

    Exact if wins and losses form a Markov chain: the distribution of the run at the end, by powers
    of its transition matrix (Fu and Koutras, "Distribution theory of runs: a Markov chain
    approach", JASA 89, 1994).

    Args:
        trades: Number of trades.
        losses: Length of the streak.
        win_rate: Share of wins, in [0, 1].
        autocorrelation: Correlation of neighbouring outcomes, in [0, 1); 0 if independent.
    """
    if losses < 1 or trades < 1:
        return float(losses < 1)
    loss_rate = 1 - win_rate
    after_loss = loss_rate + autocorrelation * win_rate
    after_win = loss_rate * (1 - autocorrelation)
    # from a run of 0, 1, … losses to the next; a run that leaves the matrix has the full length
    transitions = np.diag(np.full(losses - 1, after_loss), k=1)
    transitions[:, 0] = 1 - after_loss
    transitions[0, 0] = 1 - after_win
    if losses == 1:
        return float(1 - win_rate * (1 - after_win) ** (trades - 1))
    transitions[0, 1] = after_win
    first = np.zeros(losses)
    first[:2] = win_rate, loss_rate
    return float(1 - (first @ np.linalg.matrix_power(transitions, trades - 1)).sum())


def low_accuracy_alarm(
    signals: int, bound: float, accuracy: float, autocorrelation: float = 0.0
) -> float:
    """Return the probability that a model is right on less than the share ``bound`` of its signals.

    By the normal approximation with continuity correction. If being right correlates by r from
    signal to signal, the variance is (1 + r) / (1 - r) times as large (Bayley and Hammersley, "The
    effective number of independent observations in an autocorrelated time series", JRSS
    Supplement 8, 1946).

    Args:
        signals: Number of settled signals.
        bound: Share of right calls, in [0, 1], that counts as too low if not reached.
        accuracy: True accuracy of the model, in (0, 1).
        autocorrelation: Correlation r of neighbouring signals, in [0, 1); 0 if independent.
    """
    if signals < 1:
        return 0.0
    most_right = math.ceil(bound * signals - 1e-9) - 1
    variance = signals * accuracy * (1 - accuracy) * (1 + autocorrelation) / (1 - autocorrelation)
    return normal_share((most_right + 0.5 - signals * accuracy) / math.sqrt(variance))


def false_alarms(evidence: Evidence, policy: WeightPolicy) -> dict[str, str]:
    """Return a text for each breaker: how often it fires on a model just good enough to rise.

    Such a model is right, and wins, on the share ``steps.raise_accuracy`` of the signals.

    Args:
        evidence: Evidence of the last window; gives the pace of trading and the correlation of
            neighbouring signals over the lineage's life. If that is unknown, they count as
            independent.
        policy: Limits, from ``conf/weight.yaml``.
    """
    texts = {
        "breaker_accuracy": _accuracy_text(evidence, policy),
        "breaker_streak": _streak_text(evidence, policy),
    }
    if not policy.evidence_binds:
        return texts
    bounds = policy.sequential
    texts["breaker_accuracy"] += (
        f"; takes effect from decay evidence that true claims reach at most once in {bounds.cut:g} "
        "months"
    )
    texts["breaker_decay"] = (
        f"true claims reach this decay evidence at most once in {bounds.disable:g} months"
    )
    return texts


def _accuracy_text(evidence: Evidence, policy: WeightPolicy) -> str:
    healthy, bound = policy.steps.raise_accuracy, policy.limits.breaker_accuracy
    signals = max(evidence.settled, policy.min_settled)
    correlation = evidence.lifetime.right_autocorrelation if evidence.lifetime else math.nan
    chance = low_accuracy_alarm(signals, bound, healthy, _usable(correlation))
    return (
        f"fires by chance on a healthy {healthy:.0%} model in {chance:.1%} of windows of {signals} "
        f"signals{_dependence(correlation)}"
    )


def _streak_text(evidence: Evidence, policy: WeightPolicy) -> str:
    healthy = policy.steps.raise_accuracy
    losses = allowed_streak(evidence.lifetime, policy) + 1
    trades = round(evidence.books.ml.trades_per_day * YEAR_DAYS) or TRADES
    correlation = evidence.lifetime.win_autocorrelation if evidence.lifetime else math.nan
    chance = streak_alarm(trades, losses, healthy, _usable(correlation))
    text = (
        f"a healthy {healthy:.0%} model has {losses} losses in a row with probability {chance:.1%} "
        f"in {trades:,} trades{_dependence(correlation)}"
    )
    if chance <= SELDOM or policy.evidence_binds:
        return text
    enough = streak_by_chance(trades, healthy, correlation, SELDOM)
    return f"{text}; breaker_streak {enough:.0f} would fire in at most {SELDOM:.0%}"


def _usable(correlation: float) -> float:
    return max(correlation, 0.0) if math.isfinite(correlation) else 0.0


def _dependence(correlation: float) -> str:
    if math.isnan(correlation):
        return " (if independent)"
    return f" (neighbours correlate by {correlation:.2f})" if correlation > CORRELATED else ""
