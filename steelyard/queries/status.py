"""The status of a lineage: weight, limits, gate, versions, schedules and alerts."""

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from steelyard.errors import CollectMoreData
from steelyard.evaluation.books import finite_or_none
from steelyard.evaluation.evidence import Evidence
from steelyard.evaluation.influence import measure_pivotal
from steelyard.gateways.alerts import StoredAlert
from steelyard.home import Home
from steelyard.monitoring.false_alarms import false_alarms
from steelyard.queries.drift import last_drift
from steelyard.queries.evidence import (
    gate_inputs,
    monthly_evidence,
    phase_evidence,
    shadow_window,
)
from steelyard.queries.history import count_settled, known_history
from steelyard.queries.records import decision_record, state_record, version_record
from steelyard.queries.schedules import schedules
from steelyard.queries.trials import life_worth
from steelyard.weight.case import Case
from steelyard.weight.decision import Entry, Rule
from steelyard.weight.gates import criteria
from steelyard.weight.ladder import period_end
from steelyard.weight.limits import measure_limits
from steelyard.weight.policy import Phase
from steelyard.weight.rollout import RolloutItem, checklist, expected_improvement, milestones
from steelyard.weight.sequential import proof
from steelyard.weight.state import State

LAST_DECISIONS = 5


def status(home: Home, as_of: datetime) -> dict[str, Any]:
    """Return the status of the lineage as plain JSON values.

    If the state tag cannot be trusted, the state is the one the last sealed decision left.

    Args:
        home: Opened home.
        as_of: Evaluate as of this time (UTC).
    """
    state, fault = home.journal.verified()
    document = {
        "lineage": home.settings.services.lineage,
        "as_of": as_of.isoformat(),
        "fault": fault,
        "brake": home.brake.words if home.brake.pulled else None,
        "alerts": [_alert(stored) for stored in home.alerts.open()],
        "state": None,
    }
    if state is None:
        return document | {
            "answer": "Nothing was decided here yet; the existing system decides alone."
        }
    return document | _lineage(home, state, as_of)


def _lineage(home: Home, state: State, as_of: datetime) -> dict[str, Any]:
    policy, entries = home.settings.weight, home.journal.entries()
    evidence = monthly_evidence(home, as_of, state)
    in_force = 0.0 if home.brake.pulled else state.weight_in_force(as_of)
    case = Case(state, evidence, policy, as_of, as_of)
    return {
        "answer": answer(state, in_force, as_of),
        "state": state_record(state),
        "weight_in_force": in_force,
        "lease": _lease(state, as_of),
        **_versions(home, state, as_of),
        "decisions": [_decision(home, entry) for entry in reversed(entries[-LAST_DECISIONS:])],
        "reviews": _reviews(home, as_of),
        "schedules": schedules(home, state, entries, as_of),
        "limits": [rule.model_dump() for rule in measure_limits(case).rules],
        "false_alarms": false_alarms(evidence, policy),
        "proof": proof(case).model_dump() | {"binding": policy.evidence_binds},
        "influence": _influence(home, state, as_of),
        "gate": [rule.model_dump() for rule in _gate(home, state, as_of)],
        "evidence": evidence.figures(),
        "improvement": _improvement(home, state, evidence),
        "worth": life_worth(home, home.ledger.settled_predictions(state.began, as_of), as_of),
        "drift": last_drift(home),
        "rollout": [
            _item(item) for item in checklist(state, _entered(entries), policy.rollout, as_of)
        ],
        "milestones": [_item(item) for item in milestones(state, evidence, policy.rollout, as_of)],
    }


def answer(state: State, in_force: float, as_of: datetime) -> str:
    """Return in one sentence how much the model decides, and what limits it.

    Args:
        state: State in force.
        in_force: Weight in force, in [0, 1]; 0 if brake or lease take it away.
        as_of: Evaluate as of this time (UTC).
    """
    if in_force:
        sentence = f"The model decides {in_force:.1%} of the confidence"
    elif state.weight:
        sentence = (
            f"The model decides nothing now: its weight of {state.weight:.1%} is out of force"
        )
    else:
        sentence = "The existing system decides alone"
    sentence += f"; phase {state.phase} since {state.phase_since:%Y-%m-%d}"
    if state.held:
        sentence += "; held by an operator"
    if state.retrain_required:
        sentence += "; a retraining is required"
    if as_of > state.lease_until:
        ended = f"{state.lease_until:%Y-%m-%d %H:%M} UTC"
        sentence += f"; the lease ended on {ended}, no guard has run since"
    return f"{sentence}."


def _lease(state: State, as_of: datetime) -> dict[str, Any]:
    days = (state.lease_until - as_of) / timedelta(days=1)
    words = f"runs {days:.1f} more days" if days >= 0 else f"ran out {-days:.1f} days ago"
    return {"until": state.lease_until.isoformat(), "days_left": round(days, 3), "words": words}


def _versions(home: Home, state: State, as_of: datetime) -> dict[str, Any]:
    champion = home.registry.version(state.champion) if state.champion else None
    waiting = [version for version in home.registry.versions() if version.stage == "challenger"]
    return {
        "champion": version_record(champion) if champion else None,
        "challenger": version_record(waiting[0]) if waiting else None,
        "queued": [version.number for version in waiting[1:]],
        "shadow_window": list(shadow_window(home, state, as_of)),
    }


def _decision(home: Home, entry: Entry) -> dict[str, Any]:
    return decision_record(entry) | {
        "operator": entry.decision.operator,
        "page": home.run_url(entry.run_id),
    }


def _reviews(home: Home, as_of: datetime) -> list[dict[str, str]]:
    policy = home.settings.weight
    due = {"weight": policy.evaluation_days, "gates": policy.review_days}
    return [
        {"kind": kind, "period_end": (period_end(as_of, days) + timedelta(days=days)).isoformat()}
        for kind, days in due.items()
    ]


def _gate(home: Home, state: State, as_of: datetime) -> tuple[Rule, ...]:
    inputs = gate_inputs(home, state, _settled_signals(home, state, as_of))
    evidence = phase_evidence(home, as_of, state)
    case = Case(state, evidence, home.settings.weight, as_of, as_of)
    return criteria(case, inputs, proof(case))


def _settled_signals(home: Home, state: State, as_of: datetime) -> int:
    """Return the number of settled signals, which only the gate out of foundation needs."""
    if state.phase != "foundation":
        return 0
    try:
        return count_settled(known_history(home, as_of))
    except CollectMoreData:
        return 0


def _improvement(home: Home, state: State, evidence: Evidence) -> dict[str, Any]:
    expected = expected_improvement(state.phase, home.settings.weight.rollout)
    achieved = finite_or_none(evidence.books.improvement_blended)
    return {"achieved": achieved, "expected": list(expected) if expected else None}


def _influence(home: Home, state: State, as_of: datetime) -> dict[str, float | None]:
    """Return how many decisions the weight changed, and their gain, since the evidence began."""
    settled = home.ledger.settled_predictions(state.evidence_since, as_of)
    pivotal = measure_pivotal(settled, home.settings.books)
    figures = asdict(pivotal) | {"influence": pivotal.influence}
    return {name: finite_or_none(figure) for name, figure in figures.items()}


def _entered(entries: list[Entry]) -> dict[Phase, datetime]:
    entered: dict[Phase, datetime] = {}
    for entry in entries:
        entered.setdefault(entry.decision.after.phase, entry.decision.after.phase_since)
    return entered


def _item(item: RolloutItem) -> dict[str, str]:
    return {
        "name": item.name,
        "begins": item.begins.isoformat(),
        "due": item.due.isoformat(),
        "standing": item.status,
        "words": item.detail,
    }


def _alert(stored: StoredAlert) -> dict[str, Any]:
    alert = stored.alert
    return {
        "at": alert.at.isoformat(),
        "kind": alert.kind,
        "title": alert.title,
        "attempts": stored.attempts,
        "trouble": stored.trouble,
    }
