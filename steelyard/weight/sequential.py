"""Rules on the lifetime evidence: what it lets rise, believe and take away (docs/decisions/0017).

In ladder mode all of it is recorded and none of it decides.
"""

import math
from collections.abc import Mapping

from steelyard.evaluation.figures import streak_by_chance, trades_a_year
from steelyard.evaluation.skill import Skill
from steelyard.weight.case import Case
from steelyard.weight.decision import Rule, make_rule
from steelyard.weight.policy import WeightPolicy
from steelyard.weight.rules import (
    at_least,
    decay_fires,
    decay_reaches,
    exceeds,
    recorded_weight,
    skill_proven,
)
from steelyard.weight.wording import number, percent


def proof(case: Case) -> Rule:
    """Return whether the lifetime evidence lets the weight rise: skill proven and no decay.

    The gate out of shadow, where there is no weight yet, asks for less evidence.
    """
    bounds, lifetime = case.policy.sequential, case.evidence.lifetime
    in_shadow = case.state.phase in ("foundation", "shadow")
    needed = bounds.leave_shadow if in_shadow else bounds.rise
    if lifetime is None:
        return make_rule("evidence", math.nan, needed, fired=False, reason="no lifetime evidence")
    skill, decay = lifetime.skill, lifetime.decay_evidence
    proven = skill_proven(skill, decay, needed, bounds.confirm)
    if decay_reaches(decay, bounds.confirm):
        months = number(decay, bounds.confirm, 1)
        reason = (
            f"evidence that the claims no longer hold is {months} months, "
            f"must stay under {bounds.confirm:g}"
        )
    else:
        reason = f"evidence of skill {number(skill, needed, 1)}, {needed:g} needed"
        reason += "" if proven else _missing_signals(lifetime, needed)
    return make_rule(
        "evidence", skill, needed, fired=proven, reason=reason + _bets_too_short(lifetime)
    )


def is_proven(case: Case) -> bool:
    """Return whether the skill is proven to the degree that lets a weight rise."""
    bounds, lifetime = case.policy.sequential, case.evidence.lifetime
    return lifetime is not None and skill_proven(
        lifetime.skill, lifetime.decay_evidence, bounds.rise, bounds.confirm
    )


def _bets_too_short(lifetime: Skill) -> str:
    """Return the doubt that dependent luck casts on the evidence; "" without doubt."""
    days = lifetime.bet_days
    if lifetime.luck_outlasts_bets:
        return (
            f"; luck lasts longer than a bet of {days} days, so the evidence may be too high: "
            "raise sequential.bets.days"
        )
    if lifetime.mean_hold_days > days:
        return (
            f"; a bet of {days} days is shorter than the mean hold of "
            f"{lifetime.mean_hold_days:.1f} days, so the evidence may be too high: "
            "raise sequential.bets.days"
        )
    return ""


def life_profit(case: Case) -> Rule:
    """Return whether the ml book has not lost money over its life; else nothing rises (SPEC §6)."""
    lifetime = case.evidence.lifetime
    earned = math.nan if lifetime is None else lifetime.ml_return
    return make_rule(
        "life_profit",
        earned,
        0.0,
        fired=at_least(earned, 0.0),
        reason=f"lifetime ML return {percent(earned, 0.0, 2)}, at least 0% needed",
    )


def allowed_streak(lifetime: Skill | None, policy: WeightPolicy) -> int:
    """Return how many ML losses in a row are allowed.

    With binding evidence it is the streak that chance gives a model no better than a coin, at this
    pace and dependence, in ``limits.streak_years`` of years, if that is more than the plain bound.

    Args:
        lifetime: Evidence of the life; None for the plain bound.
        policy: The bounds.
    """
    limits = policy.limits
    if lifetime is None or not policy.evidence_binds:
        return limits.breaker_streak
    by_chance = streak_by_chance(
        trades_a_year(lifetime.ml_trades, lifetime.days),
        limits.cut_accuracy,
        lifetime.win_autocorrelation,
        limits.streak_years,
    )
    return max(limits.breaker_streak, int(by_chance))


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
            reason=f"lifetime accuracy {percent(accuracy, rate)} on {lifetime.settled} settled "
            f"predictions, over {percent(rate, accuracy)} needed",
        ),
        make_rule(
            "life_return",
            earned,
            baseline,
            fired=exceeds(earned, baseline),
            reason=f"lifetime ML return {percent(earned, baseline, 2)}, over the baseline's "
            f"{percent(baseline, earned, 2)} needed",
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
        f"evidence that the claims no longer hold is {number(decay, bound, 1)} months, "
        f"must stay under {bound:g}"
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
