"""The gates: what each phase asks before the lineage may move up, and what is still missing, in words (SPEC §5).

A figure that is not finite, such as the Sharpe ratio of days that are all alike, opens no gate.
"""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from steelyard.evaluation.ab_test import ArmComparison
from steelyard.evaluation.evidence import Evidence
from steelyard.weight.decision import Decision, Rule, make_rule
from steelyard.weight.limits import breaker_rules, measure_cuts
from steelyard.weight.policy import PHASES, GatePolicy, WeightPolicy
from steelyard.weight.sequential import is_sequential, proof, would_stand
from steelyard.weight.state import State
from steelyard.weight.transitions import make_decision, promote


@dataclass(frozen=True, slots=True)
class GateInputs:
    """What a gate asks about besides the evidence.

    Attributes:
        settled_signals: Settled signals in the whole history, traded or not.
        features_validated: The features passed their data contract.
        has_champion: A version of the model serves.
    """

    settled_signals: int
    features_validated: bool
    has_champion: bool


def review(
    state: State,
    evidence: Evidence,
    standing: GateInputs,
    policy: WeightPolicy,
    period: datetime,
    as_of: datetime,
) -> Decision:
    """Return what the gate review of the period ending at ``period`` decides; ``evidence`` is that of the phase."""
    rules = criteria(state, evidence, standing, policy, period, as_of)
    missing = tuple(r.reason for r in rules if not r.fired)
    stay = state.model_copy(update={"as_of": as_of})
    if state.phase == PHASES[-1]:
        reason = "not stable yet: " + "; ".join(missing) if missing else "stable"
        return make_decision(
            "gates", period, as_of, "HOLD", (reason,), rules, state, stay, evidence, policy
        )
    if missing:
        return make_decision(
            "gates", period, as_of, "HOLD", missing, rules, state, stay, evidence, policy
        )
    following = PHASES[PHASES.index(state.phase) + 1]
    if state.held:
        reasons = (f"{following} is earned, but an operator holds the weight",)
        return make_decision(
            "gates", period, as_of, "HOLD", reasons, rules, state, stay, evidence, policy
        )
    doubt = would_stand(evidence, policy) if state.weight > 0 else ""
    reasons = (f"{state.phase} → {following}: every criterion met{doubt}",)
    after = promote(state, following, policy, as_of)
    return make_decision(
        "gates", period, as_of, "RAISE", reasons, rules, state, after, evidence, policy
    )


def criteria(
    state: State,
    evidence: Evidence,
    standing: GateInputs,
    policy: WeightPolicy,
    period: datetime,
    as_of: datetime,
) -> tuple[Rule, ...]:
    """Return every criterion of the current phase; ``fired`` means met, the reason says what is missing."""
    proven = (
        (proof(evidence, policy),)
        if is_sequential(policy) and state.phase in ("pilot", "expansion")
        else ()
    )
    return (
        *_of_phase(state, evidence, standing, policy, period),
        *proven,
        _no_limit(state, evidence, policy, as_of),
    )


def _of_phase(
    state: State, evidence: Evidence, standing: GateInputs, policy: WeightPolicy, period: datetime
) -> tuple[Rule, ...]:
    gates = policy.gates
    if state.phase == "foundation":
        return (
            _at_least(
                "settled_signals",
                standing.settled_signals,
                gates.foundation_settled,
                "settled signals",
            ),
            _is("features_validated", standing.features_validated, "validated features"),
            _is("champion", standing.has_champion, "a champion"),
        )
    if state.phase == "shadow":
        return _shadow(state, evidence, standing, policy, period)
    if state.phase == "pilot":
        return _pilot(state, evidence, policy, period)
    if state.phase == "expansion":
        return _expansion(state, evidence, policy, period)
    return (
        _days("stable_days", state, gates.stable_days, period),
        _over(
            "stable_improvement",
            evidence.books.improvement_blended,
            gates.stable_improvement,
            "improvement",
        ),
    )


def _shadow(
    state: State, evidence: Evidence, standing: GateInputs, policy: WeightPolicy, period: datetime
) -> tuple[Rule, ...]:
    gates = policy.gates
    return (
        _days("days", state, gates.shadow_days, period),
        _is("champion", standing.has_champion, "a champion"),
        _is("retrained", not state.retrain_required, "a champion trained after the breaker"),
        _at_least(
            "settled_predictions", evidence.settled, gates.shadow_settled, "settled predictions"
        ),
        _over("accuracy", evidence.accuracy, gates.shadow_accuracy, "accuracy"),
        _over("no_information_rate", evidence.accuracy, evidence.no_information_rate, "accuracy"),
        _floor("coverage", evidence.coverage, gates.shadow_coverage, "coverage"),
        make_rule(
            "latency_p99",
            evidence.latency_p99_ms,
            gates.shadow_latency_p99_ms,
            fired=evidence.latency_p99_ms < gates.shadow_latency_p99_ms,
            reason=f"p99 latency {evidence.latency_p99_ms:.2f} ms, under {gates.shadow_latency_p99_ms:g} ms needed",
        ),
    )


def _pilot(
    state: State, evidence: Evidence, policy: WeightPolicy, period: datetime
) -> tuple[Rule, ...]:
    blended, base, fallback = (
        evidence.books.blended,
        evidence.books.baseline,
        policy.gates.pilot_fallback_rate,
    )
    return (
        _days("days", state, policy.gates.pilot_days, period),
        _at_least(
            "settled_predictions", evidence.settled, policy.min_settled, "settled predictions"
        ),
        _floor("mean_return", blended.mean_return, base.mean_return, "blended mean return"),
        _floor("win_rate", blended.win_rate, base.win_rate, "blended win rate"),
        _floor("sharpe", blended.sharpe, base.sharpe, "blended Sharpe"),
        _at_most("drawdown", blended.max_drawdown, base.max_drawdown, "blended drawdown"),
        _at_most("fallback_rate", evidence.fallback_rate, fallback, "fallback rate"),
        _arms(evidence.arms, policy.gates),
        sample_ratio(evidence.arms, policy.gates),
    )


def _arms(arms: ArmComparison, gates: GatePolicy) -> Rule:
    """Treatment may earn less than control only by what chance explains."""
    fewest = min(arms.control, arms.treatment)
    if fewest < gates.pilot_arm_signals:
        words = f"{gates.pilot_arm_signals - fewest} more settled signals in the smaller arm"
        return make_rule("arms", math.nan, math.nan, fired=False, reason=words)
    bound = -gates.pilot_arm_errors * arms.standard_error
    words = f"treatment earned {arms.difference:+.4%} a signal over control, at least {bound:+.4%} needed"
    return make_rule(
        "arms", arms.difference, bound, fired=arms.difference >= bound - 1e-12, reason=words
    )


def sample_ratio(arms: ArmComparison, gates: GatePolicy) -> Rule:
    """Return whether the split of the arms is one that halves explain; with a broken one they cannot be compared."""
    p, bound = arms.sample_ratio_p, gates.pilot_sample_ratio_p
    words = f"{arms.treatment} treatment and {arms.control} control signals"
    met = not p < bound  # without any signal nothing speaks against the split
    reason = (
        words
        if met
        else f"{words}: the split is off (p = {p:.1g}), look for signals lost in one arm"
    )
    return make_rule("sample_ratio", p, bound, fired=met, reason=reason)


def window_left(
    state: State, serving_since: datetime, settled: int, policy: WeightPolicy, as_of: datetime
) -> tuple[str, ...]:
    """Return what is missing before the champion in shadow may be replaced; empty once its window is over.

    Args:
        state: State in force; only in shadow, and not while a retraining is required, is a version shielded.
        serving_since: When the version became the champion.
        settled: Settled predictions of this version.
        policy: Its ``gates.shadow_days`` and ``gates.shadow_settled`` make the window, ``window_max_days`` ends it.
        as_of: Now.
    """
    served = (as_of - max(serving_since, state.phase_since)) / timedelta(days=1)
    if state.phase != "shadow" or state.retrain_required or served >= policy.window_max_days:
        return ()
    days = math.ceil(policy.gates.shadow_days - served)
    predictions = policy.gates.shadow_settled - settled
    missing = ((days, "more days"), (predictions, "more settled predictions"))
    return tuple(f"{count} {what}" for count, what in missing if count > 0)


def _expansion(
    state: State, evidence: Evidence, policy: WeightPolicy, period: datetime
) -> tuple[Rule, ...]:
    gates, top = policy.gates, policy.band("expansion").ceiling
    return (
        _days("days", state, gates.expansion_days, period),
        _at_least(
            "settled_predictions", evidence.settled, policy.min_settled, "settled predictions"
        ),
        _floor("weight_at_top", state.weight, top, "weight"),
        _over(
            "improvement",
            evidence.books.improvement_blended,
            gates.expansion_improvement,
            "return improvement",
        ),
        _at_most(
            "drawdown",
            evidence.books.blended.max_drawdown,
            gates.expansion_drawdown,
            "blended drawdown",
        ),
    )


def _no_limit(state: State, evidence: Evidence, policy: WeightPolicy, as_of: datetime) -> Rule:
    """Limits before rewards: no gate opens while a limit is breached, on this evidence or since the last cut."""
    harmless = ("within", "not confirmed by the evidence")
    breached = {
        cut.name
        for cut in measure_cuts(state, evidence, policy, as_of)
        if cut.standing not in harmless
    }
    fired = {rule.name for rule in breaker_rules(state, evidence, policy) if rule.fired}
    names = sorted({*state.latches, *breached, *fired})
    words = f"limits breached: {', '.join(names)}" if names else "no limit breached"
    return make_rule("no_limit_breached", len(names), 0, fired=not names, reason=words)


def _days(name: str, state: State, needed: int, period: datetime) -> Rule:
    passed = max((period - state.phase_since) / timedelta(days=1), 0.0)
    missing = math.ceil(needed - passed)
    words = (
        f"{missing} more days in {state.phase}"
        if missing > 0
        else f"{passed:.0f} days in {state.phase}"
    )
    return make_rule(name, passed, needed, fired=passed >= needed, reason=words)


def _at_least(name: str, count: int, needed: int, what: str) -> Rule:
    words = f"{needed - count} more {what}" if count < needed else f"{count} {what}"
    return make_rule(name, count, needed, fired=count >= needed, reason=words)


def _is(name: str, holds: bool, what: str) -> Rule:
    return make_rule(
        name, float(holds), 1.0, fired=holds, reason=what if holds else f"{what} is missing"
    )


def _over(name: str, figure: float, bound: float, what: str) -> Rule:
    met = math.isfinite(figure) and figure > bound
    return make_rule(
        name, figure, bound, fired=met, reason=f"{what} {figure:.4g}, over {bound:.4g} needed"
    )


def _floor(name: str, figure: float, bound: float, what: str) -> Rule:
    met = math.isfinite(figure) and figure >= bound - 1e-12
    return make_rule(
        name, figure, bound, fired=met, reason=f"{what} {figure:.4g}, at least {bound:.4g} needed"
    )


def _at_most(name: str, figure: float, bound: float, what: str) -> Rule:
    met = math.isfinite(figure) and figure <= bound + 1e-12
    return make_rule(
        name, figure, bound, fired=met, reason=f"{what} {figure:.4g}, at most {bound:.4g} allowed"
    )
