"""Limits take weight away: breakers and latched cuts, for the evaluation and the daily guard alike.

Every limit says what must hold to let the weight stay, so that NaN counts as a breach.
"""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from steelyard.weight.case import Case
from steelyard.weight.decision import Decision, Kind, Rule, make_decision, make_rule
from steelyard.weight.policy import WeightPolicy
from steelyard.weight.rules import (
    CUTS,
    NO_CUT,
    cut_effect,
    decay_fires,
    drawdown_bound,
    over,
    shortfall_bound,
    time_passed,
    under,
)
from steelyard.weight.sequential import allowed_streak, decay_breaker
from steelyard.weight.state import State
from steelyard.weight.transitions import cut_weight, disable
from steelyard.weight.wording import number, percent, plain_percent

NOT_CONFIRMED: Final = "not confirmed by lifetime evidence"
CutStatus = Literal[
    "within", "breached", "latched", "no weight to cut", "not confirmed by lifetime evidence"
]


STREAK_BREAKERS = ("breaker_streak", "breaker_losing_days")
"""Breakers that keep the evidence of skill: a streak may be chance (SPEC §6)."""


@dataclass(frozen=True, slots=True)
class Streaks:
    """Losing streaks of the ml book.

    Attributes:
        losses: Consecutive losses.
        losing_days: Consecutive days with trades on which it lost.
        allowed_losses: Most losses in a row that are allowed (``sequential.allowed_streak``).
    """

    losses: int
    losing_days: int
    allowed_losses: int


@dataclass(frozen=True, slots=True)
class Cut:
    """One limit of SPEC §6.2 as measured.

    Attributes:
        figure: What was measured; ``bound`` is what it was held against.
        factor: What a breach multiplies the weight by.
        comparison: Figure and bound in words.
        takes_effect: The limit is breached, and nothing more is needed to confirm it.
        status: "breached" cuts now; every other status leaves the weight alone. One that is not
            confirmed is a warning: nothing rises while it lasts (SPEC §6).
    """

    name: str
    figure: float
    bound: float
    factor: float
    comparison: str
    status: CutStatus
    takes_effect: bool

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
    return case.decide("guard", "HOLD", (_latch_words(case.state, after),), limits.rules, after)


def _latch_words(before: State, after: State) -> str:
    """Return what became of the cuts that are latched."""
    changes = (
        ("may cut again", set(before.latches) - set(after.latches)),
        ("kept again", set(after.clear) - set(before.clear)),
        ("breached again", set(after.latches) & set(before.clear) - set(after.clear)),
    )
    words = [f"{what}: {', '.join(sorted(names))}" for what, names in changes if names]
    return "; ".join(words) or "no limit takes effect"


def streak_breaker(
    state: State, streaks: Streaks, policy: WeightPolicy, as_of: datetime
) -> Decision | None:
    """Return the decision that a losing streak forces; None if all are within their bounds.

    The trading process calls it on every settled outcome and does not wait for the guard.

    Args:
        state: State in force.
        streaks: Latest losing streaks of the ml book.
        policy: Its ``limits`` are the bounds.
        as_of: Moment of the latest outcome (UTC).
    """
    rules = _streak_breakers(state, streaks, policy)
    fired = tuple(rule.reason for rule in rules if rule.fired)
    if not fired:
        return None
    return make_decision(
        "guard",
        state,
        disable(state, as_of, keeps_skill=True),
        policy,
        as_of,
        verdict="DISABLE",
        reasons=fired,
        rules=rules,
    )


def measure_limits(case: Case) -> Limits:
    """Return the limits of SPEC §6.1 and §6.2 as they stand.

    No breaker fires in foundation, where there is no model to disable, and none while a retraining
    is required: the model is disabled already.
    """
    evidence = case.evidence
    streaks = Streaks(
        evidence.losing_streak,
        evidence.losing_days,
        allowed_streak(evidence.lifetime, case.policy),
    )
    breakers = (
        _accuracy_breaker(case),
        *_streak_breakers(case.state, streaks, case.policy),
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
    fired = tuple(breaker for breaker in limits.breakers if breaker.fired)
    if fired:
        keeps_skill = all(breaker.name in STREAK_BREAKERS for breaker in fired)
        after = disable(case.state, case.as_of, keeps_skill=keeps_skill)
        reasons = tuple(breaker.reason for breaker in fired)
        return case.decide(kind, "DISABLE", reasons, limits.breakers, after)
    breached = limits.cuts_that_are("breached")
    if not breached:
        return None
    weight = case.state.weight * math.prod(cut.factor for cut in breached)
    after = cut_weight(settle_latches(case, limits), weight, case.policy, case.as_of)
    reasons = tuple(f"×{cut.factor:g}: {cut.comparison}" for cut in breached)
    return case.decide(kind, "CUT", reasons, limits.rules, after)


def settle_latches(case: Case, limits: Limits) -> State:
    """Return the state at ``as_of`` with its latches settled.

    A latched cut keeps its moment, a new one latches now, the others are released. Without enough
    evidence nothing is known to have cleared, so everything stays.

    Args:
        case: What is judged.
        limits: Its limits, from ``measure_limits``.
    """
    state = case.state
    if not limits.cuts:
        return state.model_copy(update={"as_of": case.as_of})
    latched = limits.cuts_that_are("latched")
    latches = {cut.name: state.latches[cut.name] for cut in latched}
    latches |= {cut.name: case.as_of for cut in limits.cuts_that_are("breached")}
    clear = {
        cut.name: state.clear.get(cut.name, case.as_of) for cut in latched if not cut.takes_effect
    }
    return state.model_copy(update={"latches": latches, "clear": clear, "as_of": case.as_of})


def warnings(limits: Limits, policy: WeightPolicy) -> dict[str, str]:
    """Return the limits that are breached and not confirmed, name → what would confirm it.

    Args:
        limits: Limits of a case.
        policy: Its ``sequential`` says how much evidence of decay confirms a breach.
    """
    confirm = policy.sequential.confirm
    return {
        cut.name: f"{cut.comparison}: a warning, nothing rises while it lasts; it takes effect "
        f"when the evidence that the claims no longer hold reaches {confirm:g} months"
        for cut in limits.cuts_that_are(NOT_CONFIRMED)
    }


def _armed(state: State) -> bool:
    return state.phase != "foundation" and not state.retrain_required


def _streak_breakers(state: State, streaks: Streaks, policy: WeightPolicy) -> tuple[Rule, ...]:
    """Return the breaker on losses in a row and, with binding evidence, on losing days."""
    armed, losses, days = _armed(state), streaks.losses, streaks.losing_days
    most_losses, most_days = streaks.allowed_losses, policy.limits.breaker_losing_days
    by_losses = make_rule(
        "breaker_streak",
        losses,
        most_losses,
        fired=armed and over(losses, most_losses),
        reason=f"{losses} consecutive ML losses, at most {most_losses} allowed",
    )
    if not policy.evidence_binds:
        return (by_losses,)
    by_days = make_rule(
        "breaker_losing_days",
        days,
        most_days,
        fired=armed and over(days, most_days),
        reason=f"{days} consecutive losing days of the ml book, at most {most_days} allowed",
    )
    return by_losses, by_days


def _accuracy_breaker(case: Case) -> Rule:
    accuracy, bound = case.evidence.accuracy, case.policy.limits.breaker_accuracy
    if not case.conclusive:
        count = case.evidence.count.words("settled predictions")
        reason = f"{count}, {case.policy.min_settled} needed"
        return make_rule("breaker_accuracy", math.nan, bound, fired=False, reason=reason)
    breached = under(accuracy, bound)
    confirmed = case.confirms(case.policy.sequential.cut, accuracy)
    reason = f"accuracy {percent(accuracy, bound)}, at least {plain_percent(bound)} needed"
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
            f"accuracy {percent(accuracy, limits.cut_accuracy)}, at least "
            f"{plain_percent(limits.cut_accuracy)} needed",
            breached=under(accuracy, limits.cut_accuracy),
        ),
        _measure_cut(
            case,
            "cut_drawdown",
            (ml.max_drawdown, deepest, limits.drawdown_factor),
            f"ML drawdown {percent(ml.max_drawdown, deepest, 2)}, at most "
            f"{percent(deepest, ml.max_drawdown, 2)} allowed "
            f"({limits.drawdown_ratio:g} × the baseline's)",
            breached=over(ml.max_drawdown, deepest),
        ),
        _measure_cut(
            case,
            "cut_sharpe",
            (ml.sharpe, lowest, limits.sharpe_factor),
            f"ML Sharpe {number(ml.sharpe, lowest)}, at least {number(lowest, ml.sharpe)} needed "
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
    return Cut(name, *figures, comparison, status, takes_effect=breached and confirmed)


def _measure_decay_cut(case: Case) -> tuple[Cut, ...]:
    """Return the cut on decay itself; none in ladder mode or without lifetime evidence."""
    sequential, decay = case.policy.sequential, case.decay_evidence
    if not case.policy.evidence_binds or case.evidence.lifetime is None:
        return ()
    comparison = (
        f"evidence that the claims no longer hold is {number(decay, sequential.cut, 1)} months, "
        f"must stay under {sequential.cut:g}"
    )
    breached = decay_fires(case.policy.evidence_binds, decay, sequential.cut)
    status = _cut_status(case, "cut_decay", breached=breached, confirmed=True)
    cut = Cut(
        "cut_decay",
        decay,
        sequential.cut,
        sequential.cut_factor,
        comparison,
        status,
        takes_effect=breached,
    )
    return (cut,)


def _cut_status(case: Case, name: str, *, breached: bool, confirmed: bool) -> CutStatus:
    state, limits, takes_effect = case.state, case.policy.limits, breached and confirmed
    fired_at, clear_since = state.latches.get(name), state.clear.get(name)
    effect = cut_effect(
        takes_effect,
        state.weight,
        fired_at is not None,
        _passed(case, fired_at, limits.latch_days),
        not takes_effect and _passed(case, clear_since, limits.clear_days),
    )
    if effect != NO_CUT:
        return "breached" if effect == CUTS else "latched"
    if not breached:
        return "within"
    return "no weight to cut" if confirmed else NOT_CONFIRMED


def _passed(case: Case, since: datetime | None, days: int) -> bool:
    return since is not None and time_passed(case.as_of, since, timedelta(days=days))
