"""Limits take weight away: breakers and latched cuts, for the evaluation and the daily guard alike.

Every limit says what must hold to let the weight stay, so that NaN counts as a breach.
"""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from steelyard.weight.case import Case
from steelyard.weight.decision import Decision, Kind, Rule, make_decision, make_rule
from steelyard.weight.policy import WeightPolicy
from steelyard.weight.rules import (
    CUTS,
    NO_CUT,
    cut_effect,
    decay_fires,
    drawdown_bound,
    latch_active,
    over,
    shortfall_bound,
    under,
)
from steelyard.weight.sequential import decay_breaker
from steelyard.weight.state import State
from steelyard.weight.transitions import disable, set_weight

CutStatus = Literal[
    "within", "breached", "latched", "no weight to cut", "not confirmed by lifetime evidence"
]


@dataclass(frozen=True, slots=True)
class Cut:
    """One limit of SPEC §6.2 as measured.

    Attributes:
        figure: What was measured; ``bound`` is what it was held against.
        factor: What a breach multiplies the weight by.
        comparison: Figure and bound in words.
        status: "breached" cuts now; every other status leaves the weight alone.
    """

    name: str
    figure: float
    bound: float
    factor: float
    comparison: str
    status: CutStatus

    @property
    def rule(self) -> Rule:
        """The limit as a line of the record."""
        fired = self.status == "breached"
        reason = self.comparison if fired else f"{self.comparison} ({self.status})"
        return make_rule(self.name, self.figure, self.bound, fired=fired, reason=reason)


@dataclass(frozen=True, slots=True)
class Limits:
    """All limits of a case, measured once.

    Attributes:
        breakers: Limits that take the weight to 0.
        cuts: Limits that multiply the weight; empty without enough evidence.
    """

    breakers: tuple[Rule, ...]
    cuts: tuple[Cut, ...]

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Breakers and cuts as lines of the record."""
        return (*self.breakers, *(cut.rule for cut in self.cuts))

    def cuts_that_are(self, status: CutStatus) -> tuple[Cut, ...]:
        """Return the cuts of one status."""
        return tuple(cut for cut in self.cuts if cut.status == status)


def guard(case: Case) -> Decision:
    """Return the decision of the daily guard: DISABLE, CUT, or HOLD with latches released."""
    limits = measure_limits(case)
    limited = enforce(case, limits, "guard")
    if limited is not None:
        return limited
    after = settle_latches(case, limits)
    released = sorted(set(case.state.latches) - set(after.latches))
    reason = f"back within bounds: {', '.join(released)}" if released else "no limit takes effect"
    return case.decide("guard", "HOLD", (reason,), limits.rules, after)


def streak_breaker(
    state: State, streak: int, policy: WeightPolicy, as_of: datetime
) -> Decision | None:
    """Return the decision that a losing streak forces; None if it is within its bound.

    The trading process calls it on every settled outcome and does not wait for the guard.

    Args:
        state: State in force.
        streak: Latest consecutive losses of the ml book.
        policy: Its ``limits.breaker_streak`` is the bound.
        as_of: Moment of the latest outcome (UTC).
    """
    rule = _streak_breaker(state, streak, policy)
    if not rule.fired:
        return None
    return make_decision(
        "guard",
        state,
        disable(state, as_of),
        policy,
        as_of,
        verdict="DISABLE",
        reasons=(rule.reason,),
        rules=(rule,),
    )


def measure_limits(case: Case) -> Limits:
    """Return the limits of SPEC §6.1 and §6.2 as they stand.

    No breaker fires in foundation, where there is no model to disable, and none while a retraining
    is required: the model is disabled already.
    """
    breakers = (
        _accuracy_breaker(case),
        _streak_breaker(case.state, case.evidence.losing_streak, case.policy),
        *decay_breaker(case, armed=_armed(case.state)),
    )
    return Limits(breakers, _measure_cuts(case) if case.conclusive else ())


def enforce(case: Case, limits: Limits, kind: Kind) -> Decision | None:
    """Return the decision a breached limit forces; None if no limit fires.

    Args:
        case: What is judged.
        limits: Its limits, from ``measure_limits``.
        kind: Which review enforces them.
    """
    fired = tuple(breaker.reason for breaker in limits.breakers if breaker.fired)
    if fired:
        after = disable(case.state, case.as_of)
        return case.decide(kind, "DISABLE", fired, limits.breakers, after)
    breached = limits.cuts_that_are("breached")
    if not breached:
        return None
    weight = case.state.weight * math.prod(cut.factor for cut in breached)
    after = set_weight(settle_latches(case, limits), weight, case.policy, case.as_of)
    reasons = tuple(f"×{cut.factor:g}: {cut.comparison}" for cut in breached)
    return case.decide(kind, "CUT", reasons, limits.rules, after)


def settle_latches(case: Case, limits: Limits) -> State:
    """Return the state at ``as_of`` with its latches settled.

    Latches still breached keep their moment, new breaches latch now, the others are released.
    Without enough evidence nothing is known to have cleared, so every latch stays.

    Args:
        case: What is judged.
        limits: Its limits, from ``measure_limits``.
    """
    latches = dict(case.state.latches)
    if limits.cuts:
        latches = {cut.name: latches[cut.name] for cut in limits.cuts_that_are("latched")}
        latches |= {cut.name: case.as_of for cut in limits.cuts_that_are("breached")}
    return case.state.model_copy(update={"latches": latches, "as_of": case.as_of})


def _armed(state: State) -> bool:
    return state.phase != "foundation" and not state.retrain_required


def _streak_breaker(state: State, streak: int, policy: WeightPolicy) -> Rule:
    bound = policy.limits.breaker_streak
    fired = _armed(state) and over(streak, bound)
    reason = f"{streak} consecutive ML losses, at most {bound} allowed"
    return make_rule("breaker_streak", streak, bound, fired=fired, reason=reason)


def _accuracy_breaker(case: Case) -> Rule:
    accuracy, bound = case.evidence.accuracy, case.policy.limits.breaker_accuracy
    if not case.conclusive:
        count = case.evidence.count.words("settled predictions")
        reason = f"{count}, {case.policy.min_settled} needed"
        return make_rule("breaker_accuracy", math.nan, bound, fired=False, reason=reason)
    breached = under(accuracy, bound)
    confirmed = case.confirms(case.policy.sequential.cut, accuracy)
    reason = f"accuracy {accuracy:.1%}, at least {bound:.0%} needed"
    reason += " (not confirmed by lifetime evidence)" if breached and not confirmed else ""
    fired = _armed(case.state) and breached and confirmed
    return make_rule("breaker_accuracy", accuracy, bound, fired=fired, reason=reason)


def _measure_cuts(case: Case) -> tuple[Cut, ...]:
    limits, evidence = case.policy.limits, case.evidence
    accuracy, ml, baseline = evidence.accuracy, evidence.books.ml, evidence.books.baseline
    deepest = drawdown_bound(baseline.max_drawdown, limits.drawdown_ratio)
    lowest = shortfall_bound(baseline.sharpe, limits.sharpe_shortfall)
    return (
        _measure_cut(
            case,
            "cut_accuracy",
            (accuracy, limits.cut_accuracy, limits.cut_accuracy_factor),
            f"accuracy {accuracy:.1%}, at least {limits.cut_accuracy:.0%} needed",
            breached=under(accuracy, limits.cut_accuracy),
        ),
        _measure_cut(
            case,
            "cut_drawdown",
            (ml.max_drawdown, deepest, limits.drawdown_factor),
            f"ML drawdown {ml.max_drawdown:.2%}, at most {deepest:.2%} allowed "
            f"({limits.drawdown_ratio:g} × the baseline's)",
            breached=over(ml.max_drawdown, deepest),
        ),
        _measure_cut(
            case,
            "cut_sharpe",
            (ml.sharpe, lowest, limits.sharpe_factor),
            f"ML Sharpe {ml.sharpe:.2f}, at least {lowest:.2f} needed "
            f"({limits.sharpe_shortfall:.0%} under the baseline's)",
            breached=under(ml.sharpe, lowest),
        ),
        *_measure_decay_cut(case),
    )


def _measure_cut(
    case: Case,
    name: str,
    figures: tuple[float, float, float],
    comparison: str,
    *,
    breached: bool,
) -> Cut:
    """Return a cut of the ladder; ``figures`` are what was measured, its bound and its factor."""
    confirmed = case.confirms(case.policy.sequential.confirm, *figures)
    status = _cut_status(case, name, breached=breached, confirmed=confirmed)
    return Cut(name, *figures, comparison, status)


def _measure_decay_cut(case: Case) -> tuple[Cut, ...]:
    """Return the cut on decay itself; none in ladder mode or without lifetime evidence."""
    sequential, decay = case.policy.sequential, case.decay_evidence
    if not case.policy.evidence_binds or case.evidence.lifetime is None:
        return ()
    comparison = (
        f"evidence that the claims no longer hold is {decay:.1f} months, "
        f"must stay under {sequential.cut:g}"
    )
    breached = decay_fires(case.policy.evidence_binds, decay, sequential.cut)
    status = _cut_status(case, "cut_decay", breached=breached, confirmed=True)
    return (Cut("cut_decay", decay, sequential.cut, sequential.cut_factor, comparison, status),)


def _cut_status(case: Case, name: str, *, breached: bool, confirmed: bool) -> CutStatus:
    fired_at = case.state.latches.get(name)
    latch = timedelta(days=case.policy.limits.latch_days)
    latched = fired_at is not None and latch_active(case.as_of, fired_at, latch)
    effect = cut_effect(breached and confirmed, case.state.weight, latched)
    if effect != NO_CUT:
        return "breached" if effect == CUTS else "latched"
    if not breached:
        return "within"
    return "no weight to cut" if confirmed else "not confirmed by lifetime evidence"
