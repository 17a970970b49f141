"""The rollout of a lineage: checklist of the phases and measures of month 2, 4 and 6 (SPEC §5).

Nothing decides by it.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from steelyard.evaluation.evidence import Evidence
from steelyard.weight.ladder import period_end
from steelyard.weight.policy import PHASES, Phase, RolloutPolicy, WeightPolicy
from steelyard.weight.rules import at_least, recorded_weight, step_up, weight_on_entry
from steelyard.weight.state import State

ItemStatus = Literal["done", "due", "late", "ahead"]
MONTH = timedelta(days=30)
WEEK = timedelta(days=7)
FORESIGHT = timedelta(days=3650)
"""A course that takes longer ends here."""
RATIOS = ("Sharpe", "profit factor")
"""Measures that are no shares."""


@dataclass(frozen=True, slots=True)
class RolloutItem:
    """One line of the rollout.

    Attributes:
        name: Phase or month.
        begins: When its time begins (UTC).
        due: When its time is over (UTC).
        status: done, due (its time runs), late (its time is over and the policy in force would
            have let a perfect model get there) or ahead (its time has not come).
        detail: Where the lineage stands on it, in words.
        earliest: When a perfect model would get there under the policy in force (UTC); None if
            never.
    """

    name: str
    begins: datetime
    due: datetime
    status: ItemStatus
    detail: str
    earliest: datetime | None


class Measure(NamedTuple):
    """A figure of a milestone and its target; NaN misses every target."""

    name: str
    figure: float
    target: float

    @property
    def reached(self) -> bool:
        """Whether the figure is above its target; the weight may equal it."""
        if self.name == "weight":
            return self.figure >= self.target
        return self.figure > self.target


class Course(NamedTuple):
    """The fastest course of a lineage.

    Attributes:
        entered: Phase → when it is entered (UTC); a phase that cannot be reached is missing.
        weights: Each moment at which the weight changes (UTC), and the weight from then on.
    """

    entered: Mapping[Phase, datetime]
    weights: tuple[tuple[datetime, float], ...]

    def reaches(self, weight: float) -> datetime | None:
        """Return when the weight reaches ``weight``; None if never."""
        moments = (moment for moment, reached in self.weights if at_least(reached, weight))
        return next(moments, None)


def fastest_course(began: datetime, policy: WeightPolicy) -> Course:
    """Return when a model that meets every criterion at once gets where.

    Gates and steps come at their usual moments (``ladder.period_end``).

    Args:
        began: When the lineage began (UTC).
        policy: The policy in force.
    """
    gates = policy.gates
    days = {"shadow": gates.shadow_days, "pilot": gates.pilot_days}
    days["expansion"] = gates.expansion_days
    phase, weight, entered, weights = PHASES[0], 0.0, {PHASES[0]: began}, []
    for moment in _decision_moments(began, policy):
        ceiling, before = policy.band(phase).ceiling, weight
        if moment == period_end(moment, policy.evaluation_days):
            weight = recorded_weight(weight + step_up(weight, policy.steps.size, ceiling))
        waited = moment >= entered[phase] + timedelta(days=days.get(phase, 0))
        at_top = phase != "expansion" or at_least(weight, ceiling)
        reviewed = moment == period_end(moment, policy.review_days)
        if reviewed and waited and at_top and phase != PHASES[-1]:
            phase = PHASES[PHASES.index(phase) + 1]
            entered[phase] = moment
            weight = weight_on_entry(weight, policy.band(phase).floor)
        if weight != before:
            weights.append((moment, weight))
        if phase == PHASES[-1] and at_least(weight, policy.band(phase).ceiling):
            break
    return Course(entered, tuple(weights))


def _decision_moments(began: datetime, policy: WeightPolicy) -> Iterator[datetime]:
    """Yield the ends of all periods of gates and steps after ``began``, in order."""
    moment = min(period_end(began, days) for days in (policy.review_days, policy.evaluation_days))
    while moment < began + FORESIGHT:
        moment += timedelta(days=1)
        lengths = (policy.review_days, policy.evaluation_days)
        if moment > began and any(moment == period_end(moment, days) for days in lengths):
            yield moment


def checklist(
    state: State, entered: Mapping[Phase, datetime], policy: WeightPolicy, as_of: datetime
) -> tuple[RolloutItem, ...]:
    """Return the phases with the weeks planned for them, counted from ``state.began``.

    A phase is done once it was left upward, the last one once it was reached. A later fall back
    undoes neither; the detail says where the lineage is now.

    Args:
        state: State in force.
        entered: When each phase was first entered (UTC); a phase never entered is missing.
        policy: Its ``rollout`` has the weeks per phase; the last phase has a month.
        as_of: Moment of the report (UTC).
    """
    course = fastest_course(state.began, policy)
    return tuple(
        _check_phase(phase, state, entered, course, policy.rollout, as_of) for phase in PHASES
    )


def _check_phase(
    phase: Phase,
    state: State,
    entered: Mapping[Phase, datetime],
    course: Course,
    policy: RolloutPolicy,
    as_of: datetime,
) -> RolloutItem:
    number = PHASES.index(phase)
    begins, due = _planned_weeks(phase, state.began, policy)
    proving_phases = PHASES[number + 1 :] or (phase,)
    done = state.phase in proving_phases or any(proving in entered for proving in proving_phases)
    if phase == state.phase:
        detail = f"since {state.phase_since:%Y-%m-%d}"
    elif phase in entered:
        fallen_back = PHASES.index(state.phase) < number
        detail = f"entered {entered[phase]:%Y-%m-%d}"
        detail += f", now in {state.phase}" if fallen_back else ""
    else:
        detail = "not entered"
    earliest = course.entered.get(proving_phases[0])
    status = _status(begins, due, earliest, as_of, done=done)
    return RolloutItem(phase, begins, due, status, detail, earliest)


def _planned_weeks(
    phase: Phase, began: datetime, policy: RolloutPolicy
) -> tuple[datetime, datetime]:
    if phase == PHASES[-1]:
        due = began + policy.optimization_month * MONTH
        return due - MONTH, due
    begins = began + PHASES.index(phase) * policy.phase_weeks * WEEK
    return begins, begins + policy.phase_weeks * WEEK


def milestones(
    state: State, evidence: Evidence | None, policy: WeightPolicy, as_of: datetime
) -> tuple[RolloutItem, ...]:
    """Return the measures hoped for in month 2, 4 and 6.

    Args:
        state: State in force.
        evidence: Evidence of the month; None: every figure is unknown and nothing is done.
        policy: Its ``rollout`` has the targets.
        as_of: Moment of the report (UTC).
    """
    targets, course = policy.rollout, fastest_course(state.began, policy)
    accuracy = improvement = sharpe = win_rate = profit_factor = math.nan
    if evidence is not None:
        blended = evidence.books.blended
        accuracy, improvement = evidence.accuracy, evidence.books.improvement_blended
        sharpe, win_rate = blended.sharpe, blended.win_rate
        profit_factor = blended.profit_factor
    month_2 = (Measure("accuracy", accuracy, targets.month_2_accuracy),)
    month_4 = (
        Measure("weight", state.weight, targets.month_4_weight),
        Measure("improvement", improvement, targets.month_4_improvement),
        Measure("Sharpe", sharpe, targets.month_4_sharpe),
        Measure("win rate", win_rate, targets.month_4_win_rate),
    )
    month_6 = (
        Measure("weight", state.weight, targets.month_6_weight),
        Measure("improvement", improvement, targets.month_6_improvement),
        Measure("Sharpe", sharpe, targets.month_6_sharpe),
        Measure("win rate", win_rate, targets.month_6_win_rate),
        Measure("profit factor", profit_factor, targets.month_6_profit_factor),
    )
    months = (
        (2, month_2, course.entered.get("shadow")),
        (4, month_4, course.reaches(targets.month_4_weight)),
        (6, month_6, course.reaches(targets.month_6_weight)),
    )
    return tuple(
        _milestone(state, month, measures, earliest, as_of) for month, measures, earliest in months
    )


def _milestone(
    state: State,
    month: int,
    measures: Sequence[Measure],
    earliest: datetime | None,
    as_of: datetime,
) -> RolloutItem:
    begins, due = state.began + (month - 1) * MONTH, state.began + month * MONTH
    in_shadow = month > 2 or state.phase != "foundation"
    done = in_shadow and all(measure.reached for measure in measures)
    detail = ", ".join(
        f"{measure.name} {_format(measure.name, measure.figure)} "
        f"(target {_format(measure.name, measure.target)})"
        for measure in measures
    )
    if month == 2:
        detail = f"phase {state.phase}{'' if in_shadow else ' (target shadow)'}, {detail}"
    status = _status(begins, due, earliest, as_of, done=done)
    return RolloutItem(f"month {month}", begins, due, status, detail, earliest)


def expected_improvement(phase: Phase, policy: RolloutPolicy) -> tuple[float, float] | None:
    """Return the improvement over the baseline expected in a phase, from and to.

    Args:
        phase: Phase in force; None is returned before pilot, where none is expected.
        policy: The expectations, shares.
    """
    ranges: Mapping[str, tuple[float, float]] = {
        "pilot": policy.expected_pilot,
        "expansion": policy.expected_expansion,
        "optimization": policy.expected_optimization,
    }
    return ranges.get(phase)


def _status(
    begins: datetime, due: datetime, earliest: datetime | None, as_of: datetime, *, done: bool
) -> ItemStatus:
    if done:
        return "done"
    if as_of >= due and earliest is not None and as_of >= earliest:
        return "late"
    return "due" if as_of >= begins else "ahead"


def _format(name: str, figure: float) -> str:
    if math.isnan(figure):
        return "unknown"
    return f"{figure:.2f}" if name in RATIOS else f"{figure:.1%}"
