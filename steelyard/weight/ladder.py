"""The monthly evaluation: limits before rewards, the first group that fires decides (SPEC §6)."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from steelyard.weight.case import Case
from steelyard.weight.decision import Decision, Rule, Verdict, make_rule
from steelyard.weight.limits import (
    Limits,
    enforce,
    measure_limits,
    settle_latches,
    warnings,
)
from steelyard.weight.rules import exceeds, month_healthy, shortfall_bound, step_down, step_up
from steelyard.weight.sequential import (
    bound_by,
    life_profit,
    lifetime_rules,
    proof,
    would_stand,
)
from steelyard.weight.transitions import cut_weight, set_weight
from steelyard.weight.wording import number, percent, plain_percent

ANCHOR = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Step:
    """What the evaluation does to the weight once no limit fires.

    Attributes:
        change: Change of the weight, a share; 0 to hold.
        rules: Rules looked at besides the limits.
    """

    verdict: Verdict
    reason: str
    change: float = 0.0
    rules: tuple[Rule, ...] = ()


def period_end(as_of: datetime, days: int) -> datetime:
    """Return the end of the last whole period that closed by ``as_of``.

    Args:
        as_of: Moment looked from (UTC).
        days: Length of a period; periods are counted from 2000-01-01 UTC.
    """
    return ANCHOR + timedelta(days=days) * ((as_of - ANCHOR) // timedelta(days=days))


def evaluate(case: Case) -> Decision:
    """Return the decision of the monthly evaluation.

    Raises:
        ValueError: If ``as_of`` lies before the period's end, or the weight outside [0, ceiling].
    """
    if case.as_of < case.period_end:
        raise ValueError(f"as_of={case.as_of} lies before the end of the period {case.period_end}")
    if not 0 <= case.state.weight <= case.policy.ceiling:
        raise ValueError(f"weight {case.state.weight} must lie in [0, {case.policy.ceiling}]")

    limits = measure_limits(case)
    limited = enforce(case, limits, "weight")
    if limited is not None:
        return limited
    step = _choose_step(case, limits)
    after = settle_latches(case, limits)
    if step.change:
        move = set_weight if step.change > 0 else cut_weight
        after = move(after, case.state.weight + step.change, case.policy, case.as_of)
    rules = (*limits.rules, *step.rules)
    return case.decide("weight", step.verdict, (step.reason,), rules, after)


def _choose_step(case: Case, limits: Limits) -> Step:
    if not case.conclusive:
        reason = case.evidence.count.missing_words(case.policy.min_settled, "settled predictions")
        return Step("HOLD", f"insufficient evidence: {reason}")
    if case.state.phase in ("foundation", "shadow"):
        return Step("HOLD", f"phase {case.state.phase}: the weight rises at the gate, not by steps")
    latched = limits.cuts_that_are("latched")
    if latched:
        names = ", ".join(cut.name for cut in latched)
        return Step("HOLD", f"no step while a cut is latched: {names}")
    return _reward(case, limits)


def _reward(case: Case, limits: Limits) -> Step:
    """Return the step up or down, if the month or the lifetime asks for one."""
    binding, proven, profit = case.policy.evidence_binds, proof(case), life_profit(case)
    month, lifetime = raise_rules(case), lifetime_rules(case.evidence.lifetime)
    lower = _lower_rule(case)
    rules = (*month, *lifetime, proven, profit) if lifetime else month

    by_lifetime = binding and lifetime and _is_healthy(case) and not _all_fired(month)
    earned_by = lifetime if by_lifetime else month
    earned = _all_fired(earned_by)
    ceilings = _ceilings(case, proven, earned=earned)
    if earned and (not binding or (proven.fired and profit.fired)):
        warned = "; ".join(warnings(limits, case.policy).values()) if binding else ""
        if warned:
            return Step("HOLD", f"no step up: {warned}", 0.0, (*rules, *ceilings))
        reasons = (*earned_by, proven) if binding else earned_by
        return _raise_weight(
            case, (*rules, *ceilings), _joined(reasons) + would_stand(case, proven)
        )
    if lower.fired:
        change = -step_down(case.state.weight, case.policy.steps.size)
        return Step("CUT", f"step down: {lower.reason}", change, (*rules, lower))
    asked = (proven, profit) if earned else month
    missed = tuple(rule for rule in asked if not rule.fired)
    return Step("HOLD", f"no step up: {_joined(missed)}", 0.0, (*rules, lower, *ceilings))


def _raise_weight(case: Case, rules: tuple[Rule, ...], reason: str) -> Step:
    ceiling = case.policy.band(case.state.phase).ceiling
    change = step_up(case.state.weight, case.policy.steps.size, ceiling)
    if case.state.held:
        return Step("HOLD", "a step up is earned, but an operator holds the weight", 0.0, rules)
    if not change:
        reason = f"a step up is earned, but {case.state.phase} ends at {case.state.weight:.0%}"
        return Step("HOLD", reason, 0.0, rules)
    return Step("RAISE", f"step up: {reason}", change, rules)


def _all_fired(rules: tuple[Rule, ...]) -> bool:
    return all(rule.fired for rule in rules)


def _joined(rules: tuple[Rule, ...]) -> str:
    return "; ".join(rule.reason for rule in rules)


def _ceilings(case: Case, proven: Rule, *, earned: bool) -> tuple[Rule, ...]:
    """Return the rule that names the lowest ceiling; none without lifetime evidence."""
    if case.evidence.lifetime is None:
        return ()
    held, policy = case.state.weight, case.policy
    ceilings = {
        "phase": policy.band(case.state.phase).ceiling,
        "ladder": held + policy.steps.size if earned else held,
        "evidence": policy.ceiling if proven.fired else held,
        "guard": held if case.state.held else policy.ceiling,
    }
    return (bound_by(ceilings, policy),)


def raise_rules(case: Case) -> tuple[Rule, Rule]:
    """Return the conditions of a step up; neither NaN nor infinity meets either."""
    accuracy, bound = case.evidence.accuracy, case.policy.steps.raise_accuracy
    ml, baseline = case.evidence.books.ml.sharpe, case.evidence.books.baseline.sharpe
    return (
        make_rule(
            "raise_accuracy",
            accuracy,
            bound,
            fired=exceeds(accuracy, bound),
            reason=f"accuracy {percent(accuracy, bound)}, over {plain_percent(bound)} needed",
        ),
        make_rule(
            "raise_sharpe",
            ml,
            baseline,
            fired=exceeds(ml, baseline),
            reason=f"ML Sharpe {number(ml, baseline)}, over the baseline's "
            f"{number(baseline, ml)} needed",
        ),
    )


def _is_healthy(case: Case) -> bool:
    steps, books = case.policy.steps, case.evidence.books
    lowest = shortfall_bound(books.baseline.sharpe, steps.sharpe_shortfall)
    return month_healthy(case.evidence.accuracy, steps.lower_accuracy, books.ml.sharpe, lowest)


def _lower_rule(case: Case) -> Rule:
    """Return the step down: accuracy too low, or Sharpe too far under the baseline's."""
    accuracy, books = case.evidence.accuracy, case.evidence.books
    ml = books.ml.sharpe
    bound = shortfall_bound(books.baseline.sharpe, case.policy.steps.sharpe_shortfall)
    healthy = _is_healthy(case)
    confirmed = case.confirms(case.policy.sequential.confirm, accuracy, ml, bound)
    lowest = case.policy.steps.lower_accuracy
    reason = f"accuracy {percent(accuracy, lowest)} (at least {plain_percent(lowest)} needed)"
    reason += f", ML Sharpe {number(ml, bound)} (at least {number(bound, ml)} needed)"
    reason += "" if healthy or confirmed else " (not confirmed by lifetime evidence)"
    return make_rule("lower", ml, bound, fired=not healthy and confirmed, reason=reason)
