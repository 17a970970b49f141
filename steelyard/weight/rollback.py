"""What an operator does: take the weight away, freeze it, let it move again, approve a version."""

from datetime import datetime

from steelyard.evaluation.evidence import Evidence
from steelyard.weight.decision import Decision, Rule, make_decision
from steelyard.weight.policy import WeightPolicy
from steelyard.weight.state import State
from steelyard.weight.transitions import disable, return_to


def roll_back(
    state: State,
    reason: str,
    operator: str,
    policy: WeightPolicy,
    as_of: datetime,
    *,
    evidence: Evidence | None = None,
    rules: tuple[Rule, ...] = (),
    accepted_missing: tuple[int, ...] | None = None,
) -> Decision:
    """Return the decision that takes the weight to 0: shadow, a retraining, and new evidence.

    Args:
        state: State in force.
        reason: Why, in the operator's words.
        operator: Who asks for it.
        policy: Bounds, for the record.
        as_of: Moment of the rollback (UTC); no moment of the state lies beyond it afterwards.
        evidence: What is known at ``as_of``, for the record; None if it could not be gathered.
        rules: Limits as they stand, for the record.
        accepted_missing: Numbers of lost decisions; the operator accepts their loss and that of
            settled rows. None if nothing is accepted.
    """
    after = return_to(disable(state, as_of), as_of)
    if state.phase == "foundation":  # there is no champion that could requalify
        after = after.model_copy(update={"phase": "foundation", "retrain_required": False})
    lost = ", ".join(map(str, accepted_missing or ()))
    if accepted_missing is not None:
        after = after.model_copy(update={"digests": 0, "digest_head": None})
    decision = make_decision(
        "rollback",
        state,
        after,
        policy,
        as_of,
        verdict="DISABLE",
        reasons=(
            f"rolled back by {operator}: {reason}",
            *((f"accepted as lost: decisions {lost}",) if lost else ()),
        ),
        rules=rules,
        evidence=evidence,
        operator=operator,
    )
    return decision.model_copy(update={"accepted_missing": accepted_missing or ()})


def hold(
    state: State, reason: str, operator: str, policy: WeightPolicy, as_of: datetime
) -> Decision:
    """Return the decision that freezes the weight; limits still lower it.

    Args:
        state: State in force.
        reason: Why, in the operator's words.
        operator: Who asks for it.
        policy: Bounds, for the record.
        as_of: Moment of the hold (UTC).
    """
    return make_decision(
        "hold",
        state,
        state.model_copy(update={"held": True, "as_of": as_of}),
        policy,
        as_of,
        verdict="HOLD",
        reasons=(f"held by {operator}: {reason}",),
        operator=operator,
    )


def resume(
    state: State, reason: str, operator: str, policy: WeightPolicy, as_of: datetime
) -> Decision:
    """Return the decision that lets the weight move again; steps it missed are not made up for.

    Args:
        state: State in force.
        reason: Why, in the operator's words.
        operator: Who asks for it.
        policy: Bounds, for the record.
        as_of: Moment of the resumption (UTC).
    """
    return make_decision(
        "resume",
        state,
        state.model_copy(update={"held": False, "as_of": as_of}),
        policy,
        as_of,
        verdict="HOLD",
        reasons=(f"resumed by {operator}: {reason}",),
        operator=operator,
    )


def approve(
    state: State,
    version: str,
    doubts: tuple[str, ...],
    reason: str,
    operator: str,
    policy: WeightPolicy,
    as_of: datetime,
) -> Decision:
    """Return the decision that a doubted version may serve; weight and phase stay (SPEC §3).

    Args:
        state: State in force.
        version: Number of the version.
        doubts: Why it waited or was refused.
        reason: Why it is right all the same, in the operator's words.
        operator: Who approves it.
        policy: Bounds, for the record.
        as_of: Moment of the approval (UTC).
    """
    decision = make_decision(
        "approve",
        state,
        state.model_copy(update={"as_of": as_of}),
        policy,
        as_of,
        verdict="HOLD",
        reasons=(f"version {version} approved by {operator}: {reason}", *doubts),
        operator=operator,
    )
    return decision.model_copy(update={"version": version})
