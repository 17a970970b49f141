"""Rules on the lifetime evidence: what it lets rise, believe and take away (docs/decisions/0017).

In ladder mode all of it is recorded and none of it decides.
"""

import math
from collections.abc import Mapping

from steelyard.evaluation.skill import Skill
from steelyard.weight.case import Case
from steelyard.weight.decision import Rule, make_rule
from steelyard.weight.policy import WeightPolicy
from steelyard.weight.rules import (
    decay_fires,
    decay_reaches,
    exceeds,
    recorded_weight,
    skill_proven,
)


def proof(case: Case) -> Rule:
    """Return whether the lifetime evidence lets the weight rise: skill proven and no decay."""
    bounds, lifetime = case.policy.sequential, case.evidence.lifetime
    if lifetime is None:
        return make_rule(
            "evidence", math.nan, bounds.rise, fired=False, reason="no lifetime evidence"
        )
    skill, decay = lifetime.skill, lifetime.decay_evidence
    proven = skill_proven(skill, decay, bounds.rise, bounds.confirm)
    if decay_reaches(decay, bounds.confirm):
        reason = (
            f"evidence that the claims no longer hold is {decay:.1f} months, "
            f"must stay under {bounds.confirm:g}"
        )
    else:
        reason = f"evidence of skill {skill:.3g}, {bounds.rise:g} needed"
        reason += "" if proven else _missing_signals(lifetime, bounds.rise)
    if lifetime.luck_outlasts_bets:
        reason += (
            f"; luck lasts longer than a bet of {bounds.bets.days} days, so the evidence may be "
            "too high: raise sequential.bets.days"
        )
    return make_rule("evidence", skill, bounds.rise, fired=proven, reason=reason)


def _missing_signals(lifetime: Skill, rise: float) -> str:
    missing = lifetime.more_needed(rise)
    if missing is None:
        return "; at the growth so far no number of signals would reach it"
    return f"; at the growth so far {missing} more settled signals would reach it"


def would_stand(case: Case, proven: Rule) -> str:
    """Return the doubt recorded with a rise that the evidence does not carry; "" without doubt.

    Args:
        case: What is judged; sequential mode refuses such a rise, so no doubt is recorded.
        proven: The rule of ``proof`` on its evidence.
    """
    if case.policy.evidence_binds or case.evidence.lifetime is None or proven.fired:
        return ""
    return f"; by the evidence this rise would not have stood: {proven.reason}"


def lifetime_rules(lifetime: Skill | None) -> tuple[Rule, ...]:
    """Return the step up judged over the lifetime; empty without lifetime evidence.

    It asks for an accuracy above chance, and more earned than by the baseline.
    """
    if lifetime is None:
        return ()
    accuracy, rate = lifetime.accuracy, lifetime.no_information_rate
    earned, baseline = lifetime.ml_return, lifetime.baseline_return
    return (
        make_rule(
            "life_accuracy",
            accuracy,
            rate,
            fired=exceeds(accuracy, rate),
            reason=f"lifetime accuracy {accuracy:.1%} on {lifetime.settled} settled predictions, "
            f"over {rate:.1%} needed",
        ),
        make_rule(
            "life_return",
            earned,
            baseline,
            fired=exceeds(earned, baseline),
            reason=f"lifetime ML return {earned:+.2%}, over the baseline's {baseline:+.2%} needed",
        ),
    )


def decay_breaker(case: Case, *, armed: bool) -> tuple[Rule, ...]:
    """Return the breaker on decay; none without lifetime evidence, only recorded in ladder mode.

    Args:
        case: What is judged.
        armed: There is a model that a breaker could disable.
    """
    if case.evidence.lifetime is None:
        return ()
    binding, bound, decay = (
        case.policy.evidence_binds,
        case.policy.sequential.disable,
        case.decay_evidence,
    )
    reason = (
        f"evidence that the claims no longer hold is {decay:.1f} months, must stay under {bound:g}"
    )
    reason += "" if binding else " (recorded only)"
    fired = armed and decay_fires(binding, decay, bound)
    return (make_rule("breaker_decay", decay, bound, fired=fired, reason=reason),)


def bound_by(ceilings: Mapping[str, float], policy: WeightPolicy) -> Rule:
    """Return the lowest of the ceilings, which is the weight.

    Args:
        ceilings: Highest weight by who sets it: phase, ladder, evidence, guard.
        policy: In ladder mode the ceiling of the evidence is shown and does not count.
    """
    counted = {
        name: ceiling
        for name, ceiling in ceilings.items()
        if policy.evidence_binds or name != "evidence"
    }
    lowest = min(counted, key=lambda name: counted[name])
    listed = ", ".join(f"{name} {ceiling:.1%}" for name, ceiling in ceilings.items())
    weight = recorded_weight(counted[lowest])
    return make_rule("bound_by", weight, weight, fired=True, reason=f"{listed}: {lowest} binds")
