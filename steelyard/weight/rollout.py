"""Where a lineage stands in its rollout: the checklist of the phases and the measures of month 2, 4 and 6 (SPEC §5)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from steelyard.evaluation.evidence import Evidence
from steelyard.weight.policy import PHASES, Phase, RolloutPolicy
from steelyard.weight.state import State

ItemStatus = Literal["done", "due", "late", "ahead"]
MONTH = timedelta(days=30)
WEEK = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Item:
    """One line of the rollout.

    Attributes:
        begins: When its time begins; ``due`` is when it is over.
        standing: done, due (its time runs), late (its time is over) or ahead (its time has not come).
    """

    name: str
    begins: datetime
    due: datetime
    standing: ItemStatus
    words: str


def checklist(
    state: State, entered: Mapping[Phase, datetime], policy: RolloutPolicy, as_of: datetime
) -> tuple[Item, ...]:
    """Return the phases with the weeks they are planned for, counted from ``state.began``.

    A phase is done once it was left upward, and the last one once it was reached: a later fall back undoes neither, and
    the words say where the lineage stands now.

    Args:
        state: State in force.
        entered: When each phase was first entered, as far as it was.
        policy: ``phase_weeks`` from one phase to the next; the last has the month ``optimization_month``.
        as_of: Now.
    """
    return tuple(
        _phase(number, phase, state, entered, policy, as_of) for number, phase in enumerate(PHASES)
    )


def _phase(
    number: int,
    phase: Phase,
    state: State,
    entered: Mapping[Phase, datetime],
    policy: RolloutPolicy,
    as_of: datetime,
) -> Item:
    begins, due = _weeks(number, phase, state.began, policy)
    proofs = PHASES[number + 1 :] or (phase,)
    done = state.phase in proofs or any(later in entered for later in proofs)
    if phase == state.phase:
        words = f"since {state.phase_since:%Y-%m-%d}"
    elif phase in entered:
        fallen = PHASES.index(state.phase) < number
        words = f"entered {entered[phase]:%Y-%m-%d}{f', now in {state.phase}' if fallen else ''}"
    else:
        words = "not entered"
    return Item(phase, begins, due, "done" if done else _standing(begins, due, as_of), words)


def _weeks(
    number: int, phase: Phase, began: datetime, policy: RolloutPolicy
) -> tuple[datetime, datetime]:
    if phase == PHASES[-1]:
        due = began + policy.optimization_month * MONTH
        return due - MONTH, due
    begins = began + number * policy.phase_weeks * WEEK
    return begins, begins + policy.phase_weeks * WEEK


def milestones(
    state: State, evidence: Evidence | None, policy: RolloutPolicy, as_of: datetime
) -> tuple[Item, ...]:
    """Return the measures hoped for in month 2, 4 and 6; what is not known is not done."""
    seen = evidence
    nan = float("nan")
    measures: Sequence[tuple[int, Sequence[tuple[str, float, float]]]] = (
        (2, (("accuracy", seen.accuracy if seen else nan, policy.month_2_accuracy),)),
        (
            4,
            (
                ("weight", state.weight, policy.month_4_weight),
                (
                    "improvement",
                    seen.books.improvement_blended if seen else nan,
                    policy.month_4_improvement,
                ),
                ("Sharpe", seen.books.blended.sharpe if seen else nan, policy.month_4_sharpe),
                ("win rate", seen.books.blended.win_rate if seen else nan, policy.month_4_win_rate),
            ),
        ),
        (
            6,
            (
                ("weight", state.weight, policy.month_6_weight),
                (
                    "improvement",
                    seen.books.improvement_blended if seen else nan,
                    policy.month_6_improvement,
                ),
                ("Sharpe", seen.books.blended.sharpe if seen else nan, policy.month_6_sharpe),
                ("win rate", seen.books.blended.win_rate if seen else nan, policy.month_6_win_rate),
                (
                    "profit factor",
                    seen.books.blended.profit_factor if seen else nan,
                    policy.month_6_profit_factor,
                ),
            ),
        ),
    )
    return tuple(_milestone(state, month, figures, as_of) for month, figures in measures)


def _milestone(
    state: State, month: int, figures: Sequence[tuple[str, float, float]], as_of: datetime
) -> Item:
    begins, due = state.began + (month - 1) * MONTH, state.began + month * MONTH
    reached = month > 2 or state.phase != "foundation"
    done = reached and all(
        figure >= bound if name == "weight" else figure > bound for name, figure, bound in figures
    )
    words = ", ".join(
        f"{name} {_said(name, figure)} of {_said(name, bound)}" for name, figure, bound in figures
    )
    if month == 2:
        words = f"phase {state.phase}{'' if reached else ' of shadow'}, {words}"
    return Item(
        f"month {month}", begins, due, "done" if done else _standing(begins, due, as_of), words
    )


def expected_improvement(phase: Phase, policy: RolloutPolicy) -> tuple[float, float] | None:
    """Return the improvement over the baseline that is expected in a phase, from and to; None where none is."""
    ranges: Mapping[str, tuple[float, float]] = {
        "pilot": policy.expected_pilot,
        "expansion": policy.expected_expansion,
        "optimization": policy.expected_optimization,
    }
    return ranges.get(phase)


def _standing(begins: datetime, due: datetime, as_of: datetime) -> ItemStatus:
    if as_of >= due:
        return "late"
    return "due" if as_of >= begins else "ahead"


def _said(name: str, figure: float) -> str:
    if figure != figure:
        return "unknown"
    return f"{figure:.2f}" if name in ("Sharpe", "profit factor") else f"{figure:.1%}"
