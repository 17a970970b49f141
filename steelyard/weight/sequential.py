"""What the evidence over a lineage's life says to a step: RAISE, HOLD or CUT (docs/decisions/0017).

Where the policy's ``evidence`` is "ladder", all of it is recorded and none of it decides.
"""

import math
from collections.abc import Mapping

from steelyard.evaluation.evidence import Evidence
from steelyard.evaluation.skill import Skill
from steelyard.weight.decision import Rule, make_rule
from steelyard.weight.policy import SequentialPolicy, WeightPolicy


def is_sequential(policy: WeightPolicy) -> bool:
    """Whether the evidence over the life decides anything."""
    return policy.evidence == "sequential"


def breach_confirmed(
    evidence: Evidence, bound: float, policy: WeightPolicy, *figures: float
) -> bool:
    """Whether a breached limit of the ladder takes effect: always in ladder mode, else once the decay reaches ``bound``.

    A life nobody knows confirms every limit, and NaN among the limit's ``figures`` needs no confirmation.
    """
    if (
        not is_sequential(policy)
        or evidence.lifetime is None
        or any(math.isnan(figure) for figure in figures)
    ):
        return True
    return not evidence.lifetime.decay_evidence < bound


def proof(evidence: Evidence, policy: WeightPolicy) -> Rule:
    """Return whether the evidence would let a rise stand: skill proven, and no decay to speak of."""
    bounds, life = policy.sequential, evidence.lifetime
    if life is None:
        return make_rule(
            "evidence", math.nan, bounds.rise, fired=False, reason="no evidence over the life"
        )
    if not life.decay_evidence < bounds.confirm:
        words = f"claims have decayed: {life.decay_evidence:.1f} months, under {bounds.confirm:g} needed"
        return make_rule("evidence", life.skill, bounds.rise, fired=False, reason=words)
    proven = life.skill >= bounds.rise
    words = f"evidence of skill {life.skill:.3g}, {bounds.rise:g} needed"
    return make_rule(
        "evidence",
        life.skill,
        bounds.rise,
        fired=proven,
        reason=words if proven else words + _missing(life, bounds),
    )


def _missing(life: Skill, bounds: SequentialPolicy) -> str:
    more = life.more_needed(bounds.rise)
    if more is None:
        return "; more signals of this kind would not bring it"
    return f"; at the growth so far {more} more settled signals would bring it"


def would_stand(evidence: Evidence, policy: WeightPolicy) -> str:
    """Return what the record adds to a rise in ladder mode that the evidence does not carry; empty where it does."""
    rule = proof(evidence, policy)
    if is_sequential(policy) or evidence.lifetime is None or rule.fired:
        return ""
    return f"; by the evidence this rise would not have stood: {rule.reason}"


def life_rules(evidence: Evidence) -> tuple[Rule, ...]:
    """Return the ladder's rule over the whole life: accuracy over chance, and more earned than the baseline."""
    life = evidence.lifetime
    if life is None:
        return ()
    rate = life.no_information_rate
    return (
        make_rule(
            "life_accuracy",
            life.accuracy,
            rate,
            fired=life.accuracy > rate,
            reason=f"accuracy of {life.settled} settled predictions {life.accuracy:.1%}, over {rate:.1%} needed",
        ),
        make_rule(
            "life_return",
            life.ml_return,
            life.baseline_return,
            fired=life.ml_return > life.baseline_return,
            reason=f"ML return {life.ml_return:+.2%}, over the baseline's {life.baseline_return:+.2%} needed",
        ),
    )


def decay_rules(evidence: Evidence, policy: WeightPolicy, *, armed: bool) -> tuple[Rule, ...]:
    """Return the breaker on decay; in ladder mode it is recorded and never fires. None where no life is known."""
    if evidence.lifetime is None:
        return ()
    bound, decay = policy.sequential.disable, evidence.lifetime.decay_evidence
    fired = armed and is_sequential(policy) and not decay < bound
    words = f"evidence that the claims no longer hold {decay:.1f} months, under {bound:g} needed"
    words += "" if is_sequential(policy) else " (recorded only)"
    return (make_rule("breaker_decay", decay, bound, fired=fired, reason=words),)


def bound_by(ceilings: Mapping[str, float], policy: WeightPolicy) -> Rule:
    """Return the lowest of the ceilings, which is the weight; the evidence's is only shown where it does not bind."""
    counted = {
        name: ceiling
        for name, ceiling in ceilings.items()
        if is_sequential(policy) or name != "evidence"
    }
    lowest = min(counted, key=lambda name: counted[name])
    words = ", ".join(f"{name} {ceiling:.1%}" for name, ceiling in ceilings.items())
    weight = round(counted[lowest], 10)  # as the state is rounded
    return make_rule("bound_by", weight, weight, fired=True, reason=f"{words}: {lowest} binds")
