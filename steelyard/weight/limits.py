"""Limits: what takes weight away. Breakers and latched cuts, for the evaluation and the daily guard alike.

Every limit is phrased as what must hold to be let through, so that NaN counts as a breach.
"""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from steelyard.evaluation.evidence import Evidence
from steelyard.weight.decision import Decision, Kind, Rule, make_rule
from steelyard.weight.policy import WeightPolicy
from steelyard.weight.sequential import breach_confirmed, decay_rules, is_sequential
from steelyard.weight.state import State
from steelyard.weight.transitions import disable, make_decision, set_weight

CutStatus = Literal[
    "within", "breached", "latched", "no weight to cut", "not confirmed by the evidence"
]


@dataclass(frozen=True, slots=True)
class Cut:
    """One limit of SPEC §6.2, measured; ``breached`` is the standing that multiplies the weight by ``factor``."""

    name: str
    figure: float
    bound: float
    factor: float
    words: str
    standing: CutStatus

    @property
    def rule(self) -> Rule:
        """The limit as a line of the record."""
        reason = self.words if self.standing == "breached" else f"{self.words} ({self.standing})"
        return make_rule(
            self.name, self.figure, self.bound, fired=self.standing == "breached", reason=reason
        )


def guard(state: State, evidence: Evidence, policy: WeightPolicy, as_of: datetime) -> Decision:
    """Return what the daily guard decides: DISABLE, CUT, or HOLD with the latches released whose condition cleared."""
    limited = limit("guard", state, evidence, policy, as_of, as_of)
    if limited is not None:
        return limited
    cuts = measure_cuts(state, evidence, policy, as_of)
    after = state.model_copy(update={"latches": latches_after(state, cuts, as_of), "as_of": as_of})
    released = sorted(set(state.latches) - set(after.latches))
    reason = f"back within bounds: {', '.join(released)}" if released else "no limit fires"
    rules = (*breaker_rules(state, evidence, policy), *(c.rule for c in cuts))
    return make_decision(
        "guard", as_of, as_of, "HOLD", (reason,), rules, state, after, evidence, policy
    )


def streak_breaker(
    state: State, streak: int, policy: WeightPolicy, as_of: datetime
) -> Decision | None:
    """Return the decision that the latest ``streak`` of consecutive ML losses forces, None for none.

    For the trading process, which calls it on every settled outcome and waits for no guard.
    """
    rule = _streak_rule(state, streak, policy)
    if not rule.fired:
        return None
    after = disable(state, as_of)
    return make_decision(
        "guard", as_of, as_of, "DISABLE", (rule.reason,), (rule,), state, after, None, policy
    )


def limit(
    kind: Kind,
    state: State,
    evidence: Evidence,
    policy: WeightPolicy,
    period_end: datetime,
    as_of: datetime,
) -> Decision | None:
    """Return the decision a breached limit forces (groups 1 and 2 of SPEC §6), None when none fires."""
    breakers = breaker_rules(state, evidence, policy)
    fired = tuple(r.reason for r in breakers if r.fired)
    if fired:
        after = disable(state, as_of)
        return make_decision(
            kind, period_end, as_of, "DISABLE", fired, breakers, state, after, evidence, policy
        )
    cuts = measure_cuts(state, evidence, policy, as_of)
    breached = [c for c in cuts if c.standing == "breached"]
    if not breached:
        return None
    weight = state.weight * math.prod(c.factor for c in breached)
    latched = state.model_copy(update={"latches": latches_after(state, cuts, as_of)})
    after = set_weight(latched, weight, policy, as_of)
    reasons = tuple(f"×{c.factor:g}: {c.words}" for c in breached)
    rules = (*breakers, *(c.rule for c in cuts))
    return make_decision(
        kind, period_end, as_of, "CUT", reasons, rules, state, after, evidence, policy
    )


def breaker_rules(state: State, evidence: Evidence, policy: WeightPolicy) -> tuple[Rule, ...]:
    """Return the circuit breakers (SPEC §6.1): accuracy, once there is enough of it, the losing streak, always, and decay.

    A lineage that already waits for its retraining is not disabled a second time, and before shadow there is no model
    to disable.
    """
    armed = _armed(state)
    return (
        _accuracy_breaker(armed, evidence, policy),
        _streak_rule(state, evidence.losing_streak, policy),
        *decay_rules(evidence, policy, armed=armed),
    )


def _armed(state: State) -> bool:
    return state.phase != "foundation" and not state.retrain_required


def _streak_rule(state: State, streak: int, policy: WeightPolicy) -> Rule:
    bound = policy.limits.breaker_streak
    reason = f"{streak} consecutive ML losses, at most {bound} allowed"
    return make_rule(
        "breaker_streak", streak, bound, fired=_armed(state) and not streak <= bound, reason=reason
    )


def _accuracy_breaker(armed: bool, evidence: Evidence, policy: WeightPolicy) -> Rule:
    bound = policy.limits.breaker_accuracy
    if evidence.settled < policy.min_settled:
        reason = f"{evidence.settled} settled predictions of {policy.min_settled} needed"
        return make_rule("breaker_accuracy", math.nan, bound, fired=False, reason=reason)
    breached = not evidence.accuracy >= bound
    confirmed = breach_confirmed(evidence, policy.sequential.cut, policy, evidence.accuracy)
    words = f"accuracy {evidence.accuracy:.1%}, at least {bound:.0%} needed"
    words += " (not confirmed by the evidence)" if breached and not confirmed else ""
    return make_rule(
        "breaker_accuracy",
        evidence.accuracy,
        bound,
        fired=armed and breached and confirmed,
        reason=words,
    )


def measure_cuts(
    state: State, evidence: Evidence, policy: WeightPolicy, as_of: datetime
) -> tuple[Cut, ...]:
    """Return the limits of SPEC §6.2 as they stand; none without enough evidence."""
    if evidence.settled < policy.min_settled:
        return ()
    limits, ml, base = policy.limits, evidence.books.ml, evidence.books.baseline
    deepest = limits.drawdown_ratio * base.max_drawdown
    lowest = shortfall_bound(base.sharpe, limits.sharpe_shortfall)
    measures = (
        (
            "cut_accuracy",
            (evidence.accuracy, limits.cut_accuracy, limits.cut_accuracy_factor),
            f"accuracy {evidence.accuracy:.1%}, at least {limits.cut_accuracy:.0%} needed",
            evidence.accuracy >= limits.cut_accuracy,
        ),
        (
            "cut_drawdown",
            (ml.max_drawdown, deepest, limits.drawdown_factor),
            f"ML drawdown {ml.max_drawdown:.2%}, at most {deepest:.2%} allowed ({limits.drawdown_ratio:g} × the baseline's)",
            ml.max_drawdown <= deepest,
        ),
        (
            "cut_sharpe",
            (ml.sharpe, lowest, limits.sharpe_factor),
            f"ML Sharpe {ml.sharpe:.2f}, at least {lowest:.2f} needed ({limits.sharpe_shortfall:.0%} under the baseline's)",
            ml.sharpe >= lowest,
        ),
    )
    confirm = policy.sequential.confirm
    ladder = tuple(
        Cut(name, *figures, words, _standing(name, bool(holds), confirmed, state, policy, as_of))
        for name, figures, words, holds in measures
        for confirmed in [breach_confirmed(evidence, confirm, policy, *figures)]
    )
    return (*ladder, *_decay_cut(state, evidence, policy, as_of))


def _decay_cut(
    state: State, evidence: Evidence, policy: WeightPolicy, as_of: datetime
) -> tuple[Cut, ...]:
    if not is_sequential(policy) or evidence.lifetime is None:
        return ()
    bound, decay = policy.sequential.cut, evidence.lifetime.decay_evidence
    words = f"evidence that the claims no longer hold {decay:.1f} months, under {bound:g} needed"
    standing = _standing("cut_decay", decay < bound, True, state, policy, as_of)
    return (Cut("cut_decay", decay, bound, policy.sequential.cut_factor, words, standing),)


def _standing(
    name: str, holds: bool, confirmed: bool, state: State, policy: WeightPolicy, as_of: datetime
) -> CutStatus:
    if holds:
        return "within"
    if not confirmed:
        return "not confirmed by the evidence"
    if state.weight == 0:
        return "no weight to cut"
    fired_at = state.latches.get(name)
    if fired_at is not None and as_of < fired_at + timedelta(days=policy.limits.latch_days):
        return "latched"
    return "breached"


def latches_after(state: State, cuts: tuple[Cut, ...], as_of: datetime) -> dict[str, datetime]:
    """Return the latches set after ``as_of``: still breached ones keep their moment, new ones start now.

    Without enough evidence (no cuts measured) nothing is known to have cleared, so every latch stays.
    """
    if not cuts:
        return dict(state.latches)
    kept = {c.name: state.latches[c.name] for c in cuts if c.standing == "latched"}
    return kept | {c.name: as_of for c in cuts if c.standing == "breached"}


def shortfall_bound(baseline: float, share: float) -> float:
    """Return the figure ``share`` under ``baseline``, which for a negative baseline lies further down (SPEC §6)."""
    return baseline - share * abs(baseline)
