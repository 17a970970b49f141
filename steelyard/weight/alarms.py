"""How often each breaker would disable a healthy model by chance, in words for whoever looks at the limits."""

from steelyard.judging.alarms import low_accuracy_alarm, streak_alarm
from steelyard.judging.evidence import Evidence
from steelyard.weight.policy import WeightPolicy
from steelyard.weight.sequential import binding

YEAR_DAYS = 365
TRADES = 2500  # where the ml book has not traded yet


def false_alarms(evidence: Evidence, policy: WeightPolicy) -> dict[str, str]:
    """Return for each breaker how often it hits a model that is just good enough to rise, at the pace of ``evidence``.

    Such a model is right, and wins, on ``steps.raise_accuracy`` of the signals. Windows and trades count as independent.
    """
    healthy = policy.steps.raise_accuracy
    losses, bound = policy.limits.breaker_streak + 1, policy.limits.breaker_accuracy
    trades = round(evidence.books.ml.trades_per_day * YEAR_DAYS) or TRADES
    signals = max(evidence.settled, policy.min_settled)
    streak, low = streak_alarm(trades, losses, healthy), low_accuracy_alarm(signals, bound, healthy)
    words = {
        "breaker_accuracy": f"chance breaks a healthy {healthy:.0%} model in {low:.1%} of windows of {signals} signals",
        "breaker_streak": f"{losses} losses in a row hit a healthy {healthy:.0%} one in {streak:.1%} of {trades:,} trades",
    }
    if not binding(policy):
        return words
    bounds = policy.sequential
    words["breaker_accuracy"] += f"; believed where claims that hold get once in {bounds.cut:g} months, or more seldom"
    words["breaker_decay"] = f"claims that hold get here once in {bounds.disable:g} months, or more seldom"
    return words
