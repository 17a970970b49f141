"""The gates: the criteria of each phase for moving up, and what is still missing (SPEC §5).

A figure that is not finite, such as the Sharpe ratio of days that are all alike, opens no gate.
"""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from steelyard.evaluation.ab_test import ArmComparison
from steelyard.evaluation.books import Books
from steelyard.market.overlap import SignalCount
from steelyard.weight.case import Case
from steelyard.weight.decision import Decision, Rule, make_rule
from steelyard.weight.limits import measure_limits, warnings
from steelyard.weight.policy import PHASES, GatePolicy, WeightPolicy
from steelyard.weight.rules import (
    at_least,
    at_most,
    blend_keeps_up,
    chance_shortfall,
    exceeds,
    split_fair,
    treatment_not_worse,
)
from steelyard.weight.sequential import is_proven, life_profit, proof, would_stand
from steelyard.weight.state import State
from steelyard.weight.transitions import promote
from steelyard.weight.wording import SHARES, number, percent

BLEND_CRITERIA = ("mean_return", "win_rate", "sharpe", "drawdown", "fallback_rate")
"""Criteria of the pilot that the blend meets or fails, however many signals there are."""


@dataclass(frozen=True, slots=True)
class GateInputs:
    """What a gate asks about besides the evidence.

    Attributes:
        settled_signals: Settled signals in the whole history, traded or not.
        features_validated: The features passed their data contract at the last training.
        has_champion: A version of the model serves.
        pivotal: Signals settled since ``State.judged_since`` that the blend would decide
            differently at the weight the next phase begins with.
    """

    settled_signals: SignalCount
    features_validated: bool
    has_champion: bool
    pivotal: int = 0


def review(case: Case, inputs: GateInputs) -> Decision:
    """Return the decision of the gate review.

    Args:
        case: What is judged; its evidence is that of the phase.
        inputs: What the gate asks about besides the evidence.
    """
    state, proven = case.state, proof(case)
    rules = criteria(case, inputs, proven)
    missing = tuple(rule.reason for rule in rules if not rule.fired)
    stay = state.model_copy(update={"as_of": case.as_of})
    if state.phase == PHASES[-1]:
        reason = "not stable yet: " + "; ".join(missing) if missing else "stable"
        return case.decide("gates", "HOLD", (reason,), rules, stay)
    if missing:
        return case.decide("gates", "HOLD", missing, rules, stay)
    following = PHASES[PHASES.index(state.phase) + 1]
    if state.held:
        reason = f"{following} is earned, but an operator holds the weight"
        return case.decide("gates", "HOLD", (reason,), rules, stay)
    doubt = would_stand(case, proven) if state.weight > 0 else ""
    reason = f"{state.phase} → {following}: every criterion met{doubt}"
    after = promote(state, following, case.policy, case.as_of)
    return case.decide("gates", "RAISE", (reason,), rules, after)


def pilot_failed(decision: Decision, state: State) -> bool:
    """Return whether a review found the blend of the present pilot wanting.

    Too few days, signals or evidence are no failure: the pilot goes on.

    Args:
        decision: Decision of a gate review.
        state: State in force.
    """
    met = {rule.name: rule.fired for rule in decision.rules}
    present = decision.before.phase == "pilot" and decision.before.phase_since == state.phase_since
    judged = met.get("days", False) and met.get("settled_predictions", False)
    return present and judged and not all(met.get(name, True) for name in BLEND_CRITERIA)


def criteria(case: Case, inputs: GateInputs, proven: Rule) -> tuple[Rule, ...]:
    """Return every criterion of the current phase; ``fired`` means met.

    Args:
        case: What is judged; its evidence is that of the phase.
        inputs: What the gate asks about besides the evidence.
        proven: The rule of ``proof`` on the case; a criterion from pilot on in sequential mode.
    """
    rises = case.state.phase in ("shadow", "pilot", "expansion")
    asks_proof = case.policy.evidence_binds and rises
    return (
        *_phase_criteria(case, inputs),
        *((proven, life_profit(case)) if asks_proof else ()),
        _no_limit(case),
    )


def _phase_criteria(case: Case, inputs: GateInputs) -> tuple[Rule, ...]:
    match case.state.phase:
        case "foundation":
            return _foundation(case.policy.gates, inputs)
        case "shadow":
            return _shadow(case, inputs)
        case "pilot":
            return _pilot(case, inputs)
        case "expansion":
            return _expansion(case)
    return _optimization(case)


def _foundation(gates: GatePolicy, inputs: GateInputs) -> tuple[Rule, ...]:
    return (
        _count(
            "settled_signals", inputs.settled_signals, gates.foundation_settled, "settled signals"
        ),
        _present("features_validated", inputs.features_validated, "validated features"),
        _present("champion", inputs.has_champion, "a champion"),
    )


def _shadow(case: Case, inputs: GateInputs) -> tuple[Rule, ...]:
    gates, evidence = case.policy.gates, case.evidence
    accuracy, latency = evidence.accuracy, evidence.latency_p99_ms
    retrained = not case.state.retrain_required
    return (
        _days("days", case, gates.shadow_days),
        _present("champion", inputs.has_champion, "a champion"),
        _present("retrained", retrained, "a champion trained after the breaker"),
        _count("settled_predictions", evidence.count, gates.shadow_settled, "settled predictions"),
        _shadow_accuracy(case),
        _above("no_information_rate", accuracy, evidence.no_information_rate, "accuracy"),
        _floor("coverage", evidence.coverage, gates.shadow_coverage, "coverage"),
        make_rule(
            "latency_p99",
            latency,
            gates.shadow_latency_p99_ms,
            fired=latency < gates.shadow_latency_p99_ms,
            reason=f"p99 latency {number(latency, gates.shadow_latency_p99_ms)} ms, "
            f"under {gates.shadow_latency_p99_ms:g} ms needed",
        ),
    )


def _shadow_accuracy(case: Case) -> Rule:
    """Return whether the accuracy suffices; it may be lower where the skill is proven (SPEC §5)."""
    rule = _above("accuracy", case.evidence.accuracy, case.policy.gates.shadow_accuracy, "accuracy")
    if rule.fired or not (case.policy.evidence_binds and is_proven(case)):
        return rule
    reason = f"{rule.reason}, or proven skill, which there is"
    return rule.model_copy(update={"fired": True, "reason": reason})


def _pilot(case: Case, inputs: GateInputs) -> tuple[Rule, ...]:
    gates, evidence = case.policy.gates, case.evidence
    return (
        _days("days", case, gates.pilot_days),
        _enough_predictions(case),
        _at_floor(case),
        _pivotal(case, inputs),
        *_blend_beside_baseline(evidence.books),
        _cap("fallback_rate", evidence.fallback_rate, gates.pilot_fallback_rate, "fallback rate"),
        _arms(evidence.arms, gates),
        sample_ratio(evidence.arms, gates),
    )


def _blend_beside_baseline(books: Books) -> tuple[Rule, ...]:
    blended, baseline = books.blended, books.baseline
    richer, surer, smoother, shallower = blend_keeps_up(blended, baseline)
    figures = (
        ("mean_return", blended.mean_return, baseline.mean_return, "blended mean return", richer),
        ("win_rate", blended.win_rate, baseline.win_rate, "blended win rate", surer),
        ("sharpe", blended.sharpe, baseline.sharpe, "blended Sharpe", smoother),
    )
    floors = (
        make_rule(name, figure, bound, fired=met, reason=_floor_words(name, noun, figure, bound))
        for name, figure, bound, noun, met in figures
    )
    figure, bound = blended.max_drawdown, baseline.max_drawdown
    reason = _cap_words("drawdown", "blended drawdown", figure, bound)
    return (*floors, make_rule("drawdown", figure, bound, fired=shallower, reason=reason))


def _expansion(case: Case) -> tuple[Rule, ...]:
    gates, books = case.policy.gates, case.evidence.books
    top, drawdown = case.policy.band("expansion").ceiling, books.blended.max_drawdown
    return (
        _days("days", case, gates.expansion_days),
        _enough_predictions(case),
        _floor("weight_at_top", case.state.weight, top, "weight"),
        _above(
            "improvement",
            books.improvement_blended,
            gates.expansion_improvement,
            "return improvement",
        ),
        _cap("drawdown", drawdown, gates.expansion_drawdown, "blended drawdown"),
    )


def _optimization(case: Case) -> tuple[Rule, ...]:
    gates, improvement = case.policy.gates, case.evidence.books.improvement_blended
    return (
        _days("stable_days", case, gates.stable_days),
        _above("stable_improvement", improvement, gates.stable_improvement, "improvement"),
    )


def _at_floor(case: Case) -> Rule:
    """Return whether the weight is in the band of its phase: no gate undoes a cut (SPEC §5)."""
    floor = case.policy.band(case.state.phase).floor
    return _floor("weight_at_floor", case.state.weight, floor, "weight")


def _pivotal(case: Case, inputs: GateInputs) -> Rule:
    """Return whether the blend changed enough decisions to be judged (SPEC §5).

    With binding evidence they are counted over all signals since the phase or the last cut began,
    at the weight the next phase begins with; in ladder mode in the window, at the weight in force.
    """
    needed = case.policy.gates.pilot_pivotal
    count = inputs.pivotal if case.policy.evidence_binds else case.evidence.books.pivotal
    return _count("pivotal", SignalCount(count, count), needed, "pivotal decisions")


def _arms(arms: ArmComparison, gates: GatePolicy) -> Rule:
    """Return whether treatment earned no less than control, but for what chance explains."""
    fewest = min(arms.control, arms.treatment)
    if fewest < gates.pilot_arm_signals:
        missing = gates.pilot_arm_signals - fewest
        reason = f"{missing} more settled signals in the smaller arm needed"
        return make_rule("arms", math.nan, math.nan, fired=False, reason=reason)
    bound = chance_shortfall(gates.pilot_arm_errors, arms.standard_error)
    fired = treatment_not_worse(arms.difference, bound)
    reason = (
        f"treatment earned {percent(arms.difference, bound, 4)} per signal over control, "
        f"at least {percent(bound, arms.difference, 4)} needed"
    )
    return make_rule("arms", arms.difference, bound, fired=fired, reason=reason)


def sample_ratio(arms: ArmComparison, gates: GatePolicy) -> Rule:
    """Return whether chance explains the split of the arms; otherwise they cannot be compared.

    Args:
        arms: The arms of the pilot.
        gates: Its ``pilot_sample_ratio_p`` is the smallest probability that passes.
    """
    probability, bound = arms.sample_ratio_p, gates.pilot_sample_ratio_p
    fired = split_fair(probability, bound)
    reason = f"{arms.treatment} treatment and {arms.control} control signals"
    if not fired:
        reason += f": uneven split (p = {probability:.1g}), look for signals lost in one arm"
    return make_rule("sample_ratio", probability, bound, fired=fired, reason=reason)


def window_left(
    state: State,
    serving_since: datetime,
    settled: SignalCount,
    policy: WeightPolicy,
    as_of: datetime,
) -> tuple[str, ...]:
    """Return what is missing before the champion in shadow may be replaced; empty if nothing is.

    Args:
        state: State in force; only in shadow, and not if a retraining is required, is a champion
            protected from being replaced.
        serving_since: When the version became the champion (UTC).
        settled: Settled predictions of this version.
        policy: Its ``gates.shadow_days`` and ``gates.shadow_settled`` are the window the champion
            gets, ``window_max_days`` its end.
        as_of: Moment of the check (UTC).
    """
    days_served = (as_of - max(serving_since, state.phase_since)) / timedelta(days=1)
    if state.phase != "shadow" or state.retrain_required or days_served >= policy.window_max_days:
        return ()
    days = math.ceil(policy.gates.shadow_days - days_served)
    predictions = settled.missing(policy.gates.shadow_settled)
    missing = ((days, "more days"), (predictions, "more settled predictions"))
    return tuple(f"{count} {noun}" for count, noun in missing if count > 0)


def _no_limit(case: Case) -> Rule:
    """Return whether no limit is breached, on this evidence or since the last cut."""
    limits = measure_limits(case)
    breached = {cut.name for cut in limits.cuts if cut.status != "within"}
    fired = {breaker.name for breaker in limits.breakers if breaker.fired}
    names = sorted({*case.state.latches, *breached, *fired})
    warned = warnings(limits, case.policy).values()
    reason = "; ".join((f"limits breached: {', '.join(names)}", *warned))
    reason = reason if names else "no limit breached"
    return make_rule("no_limit_breached", len(names), 0, fired=not names, reason=reason)


def _days(name: str, case: Case, needed: int) -> Rule:
    state = case.state
    passed = max((case.period_end - state.judged_since) / timedelta(days=1), 0.0)
    missing = math.ceil(needed - passed)
    where = f"in {state.phase}"
    if state.cut_at is not None and state.cut_at > max(state.phase_since, state.evidence_since):
        where += " since the last cut"
    reason = f"{passed:.0f} days {where}"
    if missing > 0:
        reason = f"{missing} more days {where} needed"
    return make_rule(name, passed, needed, fired=passed >= needed, reason=reason)


def _enough_predictions(case: Case) -> Rule:
    count, needed = case.evidence.count, case.policy.min_settled
    return _count("settled_predictions", count, needed, "settled predictions")


def _count(name: str, count: SignalCount, needed: int, noun: str) -> Rule:
    enough = not count.missing(needed)
    reason = count.words(noun) if enough else count.missing_words(needed, noun)
    return make_rule(name, count.independent, needed, fired=enough, reason=reason)


def _present(name: str, present: bool, noun: str) -> Rule:
    reason = noun if present else f"missing: {noun}"
    return make_rule(name, float(present), 1.0, fired=present, reason=reason)


def _above(name: str, figure: float, bound: float, noun: str) -> Rule:
    reason = f"{noun} {_figure(name, figure, bound)}, over {_figure(name, bound, figure)} needed"
    return make_rule(name, figure, bound, fired=exceeds(figure, bound), reason=reason)


def _floor(name: str, figure: float, bound: float, noun: str) -> Rule:
    reason = _floor_words(name, noun, figure, bound)
    return make_rule(name, figure, bound, fired=at_least(figure, bound), reason=reason)


def _floor_words(name: str, noun: str, figure: float, bound: float) -> str:
    least = _figure(name, bound, figure)
    return f"{noun} {_figure(name, figure, bound)}, at least {least} needed"


def _cap(name: str, figure: float, bound: float, noun: str) -> Rule:
    reason = _cap_words(name, noun, figure, bound)
    return make_rule(name, figure, bound, fired=at_most(figure, bound), reason=reason)


def _cap_words(name: str, noun: str, figure: float, bound: float) -> str:
    most = _figure(name, bound, figure)
    return f"{noun} {_figure(name, figure, bound)}, at most {most} allowed"


def _figure(name: str, figure: float, other: float) -> str:
    """Return a figure of a gate in its unit; "unknown" if it could not be measured."""
    if math.isnan(figure):
        return "unknown"
    return f"{_digits(100 * figure, 100 * other)}%" if name in SHARES else _digits(figure, other)


def _digits(figure: float, other: float) -> str:
    """Return a figure with four digits, or as many as tell it from the other."""
    short = f"{figure:.4g}"
    differs = math.isnan(other) or figure == other
    return short if differs or short != f"{other:.4g}" else number(figure, other, 4)
