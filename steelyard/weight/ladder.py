"""The monthly evaluation: limits before rewards, and the first group that fires decides (SPEC §6)."""

import math
from datetime import UTC, datetime, timedelta

from steelyard.evaluation.evidence import Evidence
from steelyard.weight.decision import Decision, Rule, Verdict, make_rule
from steelyard.weight.limits import (
    Cut,
    breaker_rules,
    latches_after,
    limit,
    measure_cuts,
    shortfall_bound,
)
from steelyard.weight.policy import WeightPolicy
from steelyard.weight.sequential import (
    bound_by,
    breach_confirmed,
    is_sequential,
    life_rules,
    proof,
    would_stand,
)
from steelyard.weight.state import State
from steelyard.weight.transitions import make_decision, set_weight

ANCHOR = datetime(2000, 1, 1, tzinfo=UTC)


def period_end(as_of: datetime, days: int) -> datetime:
    """Return the end of the last whole period of ``days`` that closed by ``as_of``, counted from 2000-01-01 UTC."""
    return ANCHOR + timedelta(days=days) * ((as_of - ANCHOR) // timedelta(days=days))


def evaluate(
    state: State, evidence: Evidence, policy: WeightPolicy, period: datetime, as_of: datetime
) -> Decision:
    """Return what the evaluation of the period ending at ``period`` decides, made at ``as_of``.

    Args:
        state: State in force at ``as_of``.
        evidence: What settled by the end of the period.
        policy: Bounds and steps, from ``conf/weight.yaml``.
        period: End of the evaluated period.
        as_of: When the decision is made; not before ``period``.

    Raises:
        ValueError: If ``as_of`` lies before the period's end, or ``state.weight`` outside [0, policy.ceiling].
    """
    if as_of < period:
        raise ValueError(f"{as_of=} lies before the end of the period {period}")
    if not 0 <= state.weight <= policy.ceiling:
        raise ValueError(f"weight {state.weight} must lie in [0, {policy.ceiling}]")

    limited = limit("weight", state, evidence, policy, period, as_of)
    if limited is not None:
        return limited
    cuts = measure_cuts(state, evidence, policy, as_of)
    rules = (*breaker_rules(state, evidence, policy), *(c.rule for c in cuts))
    verdict, step, reason, looked_at = _step(state, evidence, policy, cuts)
    after = state.model_copy(update={"latches": latches_after(state, cuts, as_of), "as_of": as_of})
    if step:
        after = set_weight(after, state.weight + step, policy, as_of)
    return make_decision(
        "weight",
        period,
        as_of,
        verdict,
        (reason,),
        (*rules, *looked_at),
        state,
        after,
        evidence,
        policy,
    )


def _step(
    state: State, evidence: Evidence, policy: WeightPolicy, cuts: tuple[Cut, ...]
) -> tuple[Verdict, float, str, tuple[Rule, ...]]:
    """Return verdict, change of weight, reason and the rules looked at, once no limit fires."""
    if evidence.settled < policy.min_settled:
        missing = policy.min_settled - evidence.settled
        return "HOLD", 0.0, f"insufficient evidence: {missing} more settled predictions needed", ()
    if state.phase in ("foundation", "shadow"):
        return "HOLD", 0.0, f"phase {state.phase}: the weight is earned at the gate", ()
    latched = [c.name for c in cuts if c.standing == "latched"]
    if latched:
        return "HOLD", 0.0, f"still breached since the last cut: {', '.join(latched)}", ()
    return _reward(state, evidence, policy)


def _reward(
    state: State, evidence: Evidence, policy: WeightPolicy
) -> tuple[Verdict, float, str, tuple[Rule, ...]]:
    month, life, lower = (
        raise_rules(evidence, policy),
        life_rules(evidence),
        _lower_rule(evidence, policy),
    )
    proven = proof(evidence, policy)
    rules = (*month, *life, proven) if life else month
    by_life = (
        is_sequential(policy)
        and bool(life)
        and _healthy(evidence, policy)
        and not all(r.fired for r in month)
    )
    earned_by = life if by_life else month
    earned = all(r.fired for r in earned_by)
    ceilings = _ceilings(state, evidence, policy, earned)
    if earned and (proven.fired or not is_sequential(policy)):
        words = (*earned_by, proven) if is_sequential(policy) else earned_by
        return _raised(
            state, evidence, policy, (*rules, *ceilings), "; ".join(r.reason for r in words)
        )
    if lower.fired:
        return (
            "CUT",
            -min(policy.steps.size, state.weight),
            f"step down: {lower.reason}",
            (*rules, lower),
        )
    missed = (proven,) if earned else tuple(r for r in month if not r.fired)
    return (
        "HOLD",
        0.0,
        f"no step up: {'; '.join(r.reason for r in missed)}",
        (*rules, lower, *ceilings),
    )


def _raised(
    state: State, evidence: Evidence, policy: WeightPolicy, rules: tuple[Rule, ...], words: str
) -> tuple[Verdict, float, str, tuple[Rule, ...]]:
    room = policy.band(state.phase).ceiling - state.weight
    if state.held:
        return "HOLD", 0.0, "a step up is earned, but an operator holds the weight", rules
    if not room > 1e-9:
        return (
            "HOLD",
            0.0,
            f"a step up is earned, but {state.phase} ends at {state.weight:.0%}",
            rules,
        )
    return (
        "RAISE",
        min(policy.steps.size, room),
        f"step up: {words}{would_stand(evidence, policy)}",
        rules,
    )


def _ceilings(
    state: State, evidence: Evidence, policy: WeightPolicy, earned: bool
) -> tuple[Rule, ...]:
    """Return which of the ceilings the weight is the lowest of, for the record: phase, ladder, evidence, guard."""
    if evidence.lifetime is None:
        return ()
    held = state.weight
    ceilings = {
        "phase": policy.band(state.phase).ceiling,
        "ladder": held + policy.steps.size if earned else held,
        "evidence": policy.ceiling if proof(evidence, policy).fired else held,
        "guard": held if state.held else policy.ceiling,
    }
    return (bound_by(ceilings, policy),)


def raise_rules(evidence: Evidence, policy: WeightPolicy) -> tuple[Rule, Rule]:
    """Return what a step up asks for; neither NaN nor infinity meets either."""
    ml, base, bound = (
        evidence.books.ml.sharpe,
        evidence.books.baseline.sharpe,
        policy.steps.raise_accuracy,
    )
    accuracy = make_rule(
        "raise_accuracy",
        evidence.accuracy,
        bound,
        fired=math.isfinite(evidence.accuracy) and evidence.accuracy > bound,
        reason=f"accuracy {evidence.accuracy:.1%}, over {bound:.0%} needed",
    )
    words = f"ML Sharpe {ml:.2f}, over the baseline's {base:.2f} needed"
    sharpe = make_rule(
        "raise_sharpe", ml, base, fired=math.isfinite(ml) and ml > base, reason=words
    )
    return accuracy, sharpe


def _healthy(evidence: Evidence, policy: WeightPolicy) -> bool:
    """Whether the month asks for no step down; NaN does."""
    lowest = shortfall_bound(evidence.books.baseline.sharpe, policy.steps.sharpe_shortfall)
    return evidence.accuracy >= policy.steps.lower_accuracy and evidence.books.ml.sharpe >= lowest


def _lower_rule(evidence: Evidence, policy: WeightPolicy) -> Rule:
    """Return the step down: accuracy under its bound, or Sharpe under the baseline's by the smaller shortfall."""
    ml, base = evidence.books.ml.sharpe, evidence.books.baseline.sharpe
    bound = shortfall_bound(base, policy.steps.sharpe_shortfall)
    healthy = _healthy(evidence, policy)
    confirmed = breach_confirmed(
        evidence, policy.sequential.confirm, policy, evidence.accuracy, ml, bound
    )
    reason = f"accuracy {evidence.accuracy:.1%}, ML Sharpe {ml:.2f} against {bound:.2f}"
    reason += "" if healthy or confirmed else " (not confirmed by the evidence)"
    return make_rule("lower", ml, bound, fired=not healthy and confirmed, reason=reason)
