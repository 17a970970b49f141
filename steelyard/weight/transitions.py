"""The few ways a state may change; every decision goes through one of them."""

from datetime import datetime, timedelta
from typing import Any

from steelyard.evaluation.skill import Origin
from steelyard.weight.policy import Phase, WeightPolicy
from steelyard.weight.rules import bounded_weight, recorded_weight, weight_on_entry
from steelyard.weight.state import State


def set_weight(state: State, weight: float, policy: WeightPolicy, as_of: datetime) -> State:
    """Return ``state`` at ``weight``: capped by the band, demoted if below the floor (SPEC §5).

    Args:
        state: State in force.
        weight: Weight asked for; NaN or less than ``policy.min_weight`` becomes 0, in shadow.
        policy: Bands of the phases.
        as_of: Moment of the change (UTC).
    """
    bounded = bounded_weight(weight, policy.band(state.phase).ceiling, policy.min_weight)
    return _enter(state, policy.phase_holding(bounded, state.phase), bounded, policy, as_of)


def cut_weight(state: State, weight: float, policy: WeightPolicy, as_of: datetime) -> State:
    """Return ``state`` at a lower ``weight``; gates count from this moment (SPEC §5).

    Args:
        state: State in force.
        weight: Weight asked for, as ``set_weight`` takes it.
        policy: Bands of the phases.
        as_of: Moment of the cut (UTC).
    """
    cut = set_weight(state, weight, policy, as_of)
    return cut.model_copy(update={"cut_at": as_of})


def promote(state: State, phase: Phase, policy: WeightPolicy, as_of: datetime) -> State:
    """Return ``state`` in ``phase``, its weight lifted to the floor.

    Args:
        state: State in force.
        phase: Phase to enter.
        policy: Bands of the phases.
        as_of: Moment of the change (UTC).
    """
    weight = weight_on_entry(state.weight, policy.band(phase).floor)
    return _enter(state, phase, weight, policy, as_of)


def disable(state: State, as_of: datetime, *, keeps_skill: bool = False) -> State:
    """Return the state after a breaker: weight 0, shadow, a retraining required.

    Args:
        state: State in force.
        as_of: Moment of the change (UTC); the figures are counted from here.
        keeps_skill: The evidence of skill goes on, as after a losing streak; otherwise it begins
            anew.
    """
    skill = {} if keeps_skill else {"skill_since": as_of, "head_start": 1.0}
    return state.model_copy(
        update={
            **skill,
            "weight": 0.0,
            "phase": "shadow",
            "base": 0.0,
            "bonus": 0.0,
            "as_of": as_of,
            "phase_since": as_of,
            "evidence_since": as_of,
            "latches": {},
            "clear": {},
            "retrain_required": True,
        }
    )


def install_champion(
    state: State,
    version: str,
    trained_as_of: datetime,
    as_of: datetime,
    fresh: Origin | None = None,
) -> State:
    """Return the state after ``version`` was promoted.

    Weight and evidence belong to the lineage, so the new champion inherits both. The figures begin
    anew with the first version trained after a breaker; the evidence of skill begins with the first
    champion, and with the first one after a breaker that ended it.

    Args:
        state: State in force.
        version: Number of the version that serves from now on.
        trained_as_of: End of what the version was trained on (UTC).
        as_of: Moment of the promotion (UTC).
        fresh: Where the evidence of skill begins if it begins now; None: at ``as_of``, without a
            head start.
    """
    origin = fresh or Origin(as_of)
    requalifies = state.retrain_required and trained_as_of > state.evidence_since
    update: dict[str, Any] = {"champion": version, "as_of": as_of}
    if requalifies:
        update |= {"retrain_required": False, "evidence_since": as_of, "phase_since": as_of}
    if state.champion is None or (requalifies and state.skill_since == state.evidence_since):
        update |= {
            "skill_since": origin.since,
            "head_start": origin.capital,
            "hold_days": origin.hold_days,
        }
    return state.model_copy(update=update)


def extend_lease(state: State, policy: WeightPolicy, as_of: datetime, now: datetime) -> State:
    """Return ``state`` with the lease extended to ``lease_days`` after ``as_of``.

    A later lease stays as it is, unless it ends more than ``lease_days`` from now: a clock that was
    ahead wrote it, and it is shortened.

    Args:
        state: State in force.
        policy: Its ``lease_days`` is the length of the lease.
        as_of: Moment of the check that renews it (UTC).
        now: Present time (UTC); simulated bars may lie beyond it.
    """
    length = timedelta(days=policy.lease_days)
    until = min(max(state.lease_until, as_of + length), max(now, as_of) + length)
    return state.model_copy(update={"lease_until": until})


def return_to(state: State, at: datetime) -> State:
    """Return ``state`` with every moment beyond ``at`` moved to it; a clock was ahead.

    Args:
        state: State in force.
        at: Present time (UTC).
    """
    names = ("began", "as_of", "phase_since", "evidence_since", "skill_since", "lease_until")
    moments = {name: min(getattr(state, name), at) for name in names}
    return state.model_copy(
        update={**moments, "cut_at": min(state.cut_at, at) if state.cut_at else None}
    )


def _enter(
    state: State, phase: Phase, weight: float, policy: WeightPolicy, as_of: datetime
) -> State:
    base, weight = policy.band(phase).floor, recorded_weight(weight)
    return state.model_copy(
        update={
            "weight": weight,
            "phase": phase,
            "base": base,
            "bonus": recorded_weight(weight - base),
            "as_of": as_of,
            "phase_since": state.phase_since if phase == state.phase else as_of,
        }
    )
