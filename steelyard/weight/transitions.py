"""The few ways a state may change; every decision goes through one of them."""

from datetime import datetime, timedelta

from steelyard.evaluation.evidence import Evidence
from steelyard.weight.decision import Decision, Kind, Rule, Verdict
from steelyard.weight.policy import Phase, WeightPolicy
from steelyard.weight.state import State


def set_weight(state: State, weight: float, policy: WeightPolicy, as_of: datetime) -> State:
    """Return ``state`` at ``weight``: capped by the band, demoted where it lies under the floor (SPEC §5).

    A weight under ``policy.min_weight`` is 0. A weight of 0 is shadow.
    """
    weight = min(weight, policy.band(state.phase).ceiling, policy.ceiling)
    if not weight >= policy.min_weight:  # so written that NaN ends at 0
        return _entered(state, "shadow", 0.0, policy, as_of)
    return _entered(state, policy.phase_holding(weight, state.phase), weight, policy, as_of)


def promote(state: State, phase: Phase, policy: WeightPolicy, as_of: datetime) -> State:
    """Return ``state`` in the next phase, its weight lifted to the floor."""
    return _entered(state, phase, max(state.weight, policy.band(phase).floor), policy, as_of)


def disable(state: State, as_of: datetime) -> State:
    """Return the state after a breaker: weight 0, shadow, and no way up before a retraining and new evidence."""
    return state.model_copy(
        update={
            "weight": 0.0,
            "phase": "shadow",
            "base": 0.0,
            "bonus": 0.0,
            "as_of": as_of,
            "phase_since": as_of,
            "evidence_since": as_of,
            "latches": {},
            "retrain_required": True,
        }
    )


def install_champion(state: State, version: str, trained_as_of: datetime, as_of: datetime) -> State:
    """Return the state after the promotion of ``version``, which was trained on what was known at ``trained_as_of``.

    Weight and evidence belong to the lineage, and the new champion inherits both; only a lineage that had to retrain
    starts its evidence afresh.
    """
    serving = state.model_copy(update={"champion": version, "as_of": as_of})
    if not state.retrain_required or trained_as_of <= state.evidence_since:
        return serving
    return serving.model_copy(
        update={"retrain_required": False, "evidence_since": as_of, "phase_since": as_of}
    )


def extend_lease(state: State, policy: WeightPolicy, as_of: datetime) -> State:
    """Return ``state`` with the lease running until ``lease_days`` after ``as_of``, never shortened."""
    return state.model_copy(
        update={"lease_until": max(state.lease_until, as_of + timedelta(days=policy.lease_days))}
    )


def _entered(
    state: State, phase: Phase, weight: float, policy: WeightPolicy, as_of: datetime
) -> State:
    base = policy.band(phase).floor
    weight = round(weight, 10)  # steps of 0.05 stay exact in the record
    return state.model_copy(
        update={
            "weight": weight,
            "phase": phase,
            "base": base,
            "bonus": round(weight - base, 10),
            "as_of": as_of,
            "phase_since": state.phase_since if phase == state.phase else as_of,
        }
    )


def make_decision(
    kind: Kind,
    period_end: datetime,
    as_of: datetime,
    verdict: Verdict,
    reasons: tuple[str, ...],
    rules: tuple[Rule, ...],
    before: State,
    after: State,
    evidence: Evidence | None,
    policy: WeightPolicy,
    operator: str | None = None,
) -> Decision:
    """Return the decision for the record, with the evidence and the policy it was made under."""
    return Decision(
        lineage=before.lineage,
        kind=kind,
        period_end=period_end,
        as_of=as_of,
        verdict=verdict,
        reasons=reasons,
        rules=rules,
        before=before,
        after=after,
        evidence=evidence.figures() if evidence else {},
        policy=policy.model_dump(mode="json", exclude={"ab_key"}),
        operator=operator,
    )
