"""The rollout of a lineage: checklist of the phases and measures of month 2, 4 and 6 (SPEC §5).

Nothing decides by it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from steelyard.evaluation.evidence import Evidence
from steelyard.weight.policy import PHASES, Phase, RolloutPolicy
from steelyard.weight.state import State

ItemStatus = Literal["done", "due", "late", "ahead"]
MONTH = timedelta(days=30)
WEEK = timedelta(days=7)
RATIOS = ("Sharpe", "profit factor")
"""Measures that are no shares."""


@dataclass(frozen=True, slots=True)
class RolloutItem:
    """One line of the rollout.

    Attributes:
        name: Phase or month.
        begins: When its time begins (UTC).
        due: When its time is over (UTC).
        status: done, due (its time runs), late (its time is over) or ahead (its time has not come).
        detail: Where the lineage stands on it, in words.
    """

    name: str
    begins: datetime
    due: datetime
    status: ItemStatus
    detail: str


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


def checklist(
    state: State, entered: Mapping[Phase, datetime], policy: RolloutPolicy, as_of: datetime
) -> tuple[RolloutItem, ...]:
    """Return the phases with the weeks planned for them, counted from ``state.began``.

    A phase is done once it was left upward, the last one once it was reached. A later fall back
    undoes neither; the detail says where the lineage is now.

    Args:
        state: State in force.
        entered: When each phase was first entered (UTC); a phase never entered is missing.
        policy: Weeks per phase; the last phase has the month ``optimization_month``.
        as_of: Moment of the report (UTC).
    """
    return tuple(_check_phase(phase, state, entered, policy, as_of) for phase in PHASES)


def _check_phase(
    phase: Phase,
    state: State,
    entered: Mapping[Phase, datetime],
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
    return RolloutItem(phase, begins, due, _status(begins, due, as_of, done=done), detail)


def _planned_weeks(
    phase: Phase, began: datetime, policy: RolloutPolicy
) -> tuple[datetime, datetime]:
    if phase == PHASES[-1]:
        due = began + policy.optimization_month * MONTH
        return due - MONTH, due
    begins = began + PHASES.index(phase) * policy.phase_weeks * WEEK
    return begins, begins + policy.phase_weeks * WEEK


def milestones(
    state: State, evidence: Evidence | None, policy: RolloutPolicy, as_of: datetime
) -> tuple[RolloutItem, ...]:
    """Return the measures hoped for in month 2, 4 and 6.

    Args:
        state: State in force.
        evidence: Evidence of the month; None: every figure is unknown and nothing is done.
        policy: The targets.
        as_of: Moment of the report (UTC).
    """
    accuracy = improvement = sharpe = win_rate = profit_factor = math.nan
    if evidence is not None:
        blended = evidence.books.blended
        accuracy, improvement = evidence.accuracy, evidence.books.improvement_blended
        sharpe, win_rate = blended.sharpe, blended.win_rate
        profit_factor = blended.profit_factor
    month_2 = (Measure("accuracy", accuracy, policy.month_2_accuracy),)
    month_4 = (
        Measure("weight", state.weight, policy.month_4_weight),
        Measure("improvement", improvement, policy.month_4_improvement),
        Measure("Sharpe", sharpe, policy.month_4_sharpe),
        Measure("win rate", win_rate, policy.month_4_win_rate),
    )
    month_6 = (
        Measure("weight", state.weight, policy.month_6_weight),
        Measure("improvement", improvement, policy.month_6_improvement),
        Measure("Sharpe", sharpe, policy.month_6_sharpe),
        Measure("win rate", win_rate, policy.month_6_win_rate),
        Measure("profit factor", profit_factor, policy.month_6_profit_factor),
    )
    months = ((2, month_2), (4, month_4), (6, month_6))
    return tuple(_milestone(state, month, measures, as_of) for month, measures in months)


def _milestone(
    state: State, month: int, measures: Sequence[Measure], as_of: datetime
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
    status = _status(begins, due, as_of, done=done)
    return RolloutItem(f"month {month}", begins, due, status, detail)


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


def _status(begins: datetime, due: datetime, as_of: datetime, *, done: bool) -> ItemStatus:
    if done:
        return "done"
    if as_of >= due:
        return "late"
    return "due" if as_of >= begins else "ahead"


def _format(name: str, figure: float) -> str:
    if math.isnan(figure):
        return "unknown"
    return f"{figure:.2f}" if name in RATIOS else f"{figure:.1%}"
