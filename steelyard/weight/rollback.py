"""What an operator may always do: take the weight away, freeze it, let it move again (SPEC §6)."""

from datetime import datetime

from steelyard.evaluation.evidence import Evidence
from steelyard.weight.decision import Decision, Rule
from steelyard.weight.policy import WeightPolicy
from steelyard.weight.state import State
from steelyard.weight.transitions import disable, make_decision


def roll_back(
    state: State,
    evidence: Evidence | None,
    rules: tuple[Rule, ...],
    reason: str,
    operator: str,
    policy: WeightPolicy,
    as_of: datetime,
) -> Decision:
    """Return the decision that takes the weight to 0 now: shadow, a retraining, and new evidence before any way up.

    Args:
        state: State in force.
        evidence: What is known at ``as_of``, for the record alone; None where it could not be gathered.
        rules: Limits as they stand, for the record alone.
        reason: Why, in the operator's words.
        operator: Who.
        policy: Bounds, for the record.
        as_of: Now.
    """
    after = disable(state, as_of)
    if state.phase == "foundation":  # there is no champion that could requalify
        after = after.model_copy(update={"phase": "foundation", "retrain_required": False})
    reasons = (f"rolled back by {operator}: {reason}",)
    return make_decision(
        "rollback",
        as_of,
        as_of,
        "DISABLE",
        reasons,
        rules,
        state,
        after,
        evidence,
        policy,
        operator,
    )


def hold(
    state: State, reason: str, operator: str, policy: WeightPolicy, as_of: datetime
) -> Decision:
    """Return the decision that freezes the weight; limits still lower it."""
    after = state.model_copy(update={"held": True, "as_of": as_of})
    reasons = (f"held by {operator}: {reason}",)
    return make_decision(
        "hold", as_of, as_of, "HOLD", reasons, (), state, after, None, policy, operator
    )


def resume(
    state: State, reason: str, operator: str, policy: WeightPolicy, as_of: datetime
) -> Decision:
    """Return the decision that lets the weight move again; nothing it missed is made up for."""
    after = state.model_copy(update={"held": False, "as_of": as_of})
    reasons = (f"resumed by {operator}: {reason}",)
    return make_decision(
        "resume", as_of, as_of, "HOLD", reasons, (), state, after, None, policy, operator
    )
