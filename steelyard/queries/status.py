"""The status of a home: weight, versions, limits, gate, schedules, alerts."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from steelyard.errors import CollectMoreData
from steelyard.evaluation.books import finite_or_none
from steelyard.evaluation.influence import Pivotal, measure_pivotal
from steelyard.evaluation.skill import Skill
from steelyard.gateways.alerts import StoredAlert
from steelyard.gateways.heartbeat import Heartbeat
from steelyard.gateways.ledger.tables import STALE
from steelyard.home import Home, open_ledger
from steelyard.market.overlap import SignalCount
from steelyard.market.yes_or_no import recognise
from steelyard.monitoring.false_alarms import false_alarms
from steelyard.queries.books import held_predictions
from steelyard.queries.drift import last_drift
from steelyard.queries.evidence import (
    gate_inputs,
    monthly_evidence,
    phase_evidence,
    shadow_window,
)
from steelyard.queries.history import count_settled, known_history
from steelyard.queries.records import decision_records, version_record
from steelyard.queries.replay import last_replayed_day
from steelyard.queries.schedules import schedules
from steelyard.queries.state import forgotten_lineages
from steelyard.queries.trials import life_worth
from steelyard.views.lineage import (
    Improvement,
    Lease,
    LineageStatus,
    PostedAlert,
    Status,
    UpcomingReview,
)
from steelyard.weight.case import Case
from steelyard.weight.decision import Rule
from steelyard.weight.gates import criteria
from steelyard.weight.ladder import period_end
from steelyard.weight.limits import measure_limits
from steelyard.weight.policy import PHASES, Phase
from steelyard.weight.rollout import checklist, expected_improvement, milestones
from steelyard.weight.sequential import proof
from steelyard.weight.state import State

LAST_DECISIONS = 5
CONFIDENCES_OF = timedelta(days=365)
"""Span of the recorded confidences by which a yes-or-no system is recognised."""


def status(home: Home, as_of: datetime) -> Status:
    """Return the status of the home; the state is the last that can be believed.

    Args:
        home: Opened home.
        as_of: Evaluate as of this time (UTC).
    """
    state, fault = home.journal.verified()
    return Status(
        lineage=home.settings.services.lineage,
        as_of=as_of,
        fault=fault,
        brake=brake_words(home, state),
        replay=_replay_words(home),
        run=beat.words(as_of) if (beat := Heartbeat(home.shared_folder).last()) else None,
        warnings=tuple(_warnings(home, as_of)),
        alerts=tuple(posted_alert(stored) for stored in home.alerts.open()),
        answer=_answer(home, state, fault, as_of),
        current=None if state is None else _lineage_status(home, state, as_of),
    )


def _replay_words(home: Home) -> str | None:
    replayed = last_replayed_day(home)
    return f"this home holds a replay; its last day is {replayed:%Y-%m-%d}" if replayed else None


def answer_now(home: Home, as_of: datetime) -> str:
    """Return what the model decides, in one sentence; little is read for it.

    Args:
        home: Opened home.
        as_of: Evaluate as of this time (UTC).
    """
    return _answer(home, *home.journal.verified(), as_of)


def _answer(home: Home, state: State | None, fault: str | None, as_of: datetime) -> str:
    if state is None:
        return _answer_without_state(fault)
    return answer(state, weight_in_force(home, state, as_of), as_of)


def _answer_without_state(fault: str | None) -> str:
    reason = "No state can be believed" if fault else "Nothing was decided here yet"
    return f"{reason}; the existing system decides alone."


def _warnings(home: Home, as_of: datetime) -> Iterator[str]:
    """Yield what keeps the model or every trade without effect."""
    beat = Heartbeat(home.shared_folder).last()
    if home.settings.up.run and beat and beat.is_stale(as_of):
        yield f"steelyard run does not trade: {beat.words(as_of)}"
    if open_ledger(home.settings.services).revisions()[0] is None:
        return
    if forgotten := forgotten_lineages(home):
        yield f"the ledger also holds {', '.join(forgotten)}, which no settings name"
    newest = home.ledger.newest_trades(as_of)
    if len(newest) and (newest["veto"] == STALE).all():
        yield (
            f"the latest signals ({newest['submitted_at'].iloc[0]:%Y-%m-%d %H:%M} UTC) were not "
            "traded: the entry of each had passed; see steelyard doctor, row entries"
        )
    recorded = home.ledger.predictions(as_of - CONFIDENCES_OF, as_of, ("confidence_existing",))
    if yes_or_no := recognise(recorded["confidence_existing"], home.settings.books.threshold):
        yield yes_or_no.words


def weight_in_force(home: Home, state: State, as_of: datetime) -> float:
    """Return the weight trading may use; 0 with a brake pulled, without a lease, or a false one.

    Args:
        home: Opened home.
        state: State that can be believed.
        as_of: Evaluate as of this time (UTC).
    """
    out_of_force = brake_words(home, state) is not None or _is_too_long(home, state, as_of)
    return 0.0 if out_of_force else state.weight_in_force(as_of)


def brake_words(home: Home, state: State | None) -> str | None:
    """Return who pulled the brake, on disk or in the ledger, and why; None if nobody did.

    Args:
        home: Opened home.
        state: State that can be believed; without one the ledger is not asked.
    """
    if home.brake.pulled:
        return home.brake.words
    if state is None:
        return None
    return home.ledger.brake(home.settings.services.lineage)


def _is_too_long(home: Home, state: State, as_of: datetime) -> bool:
    now = max(as_of, datetime.now(UTC))
    return state.lease_is_too_long(now, home.settings.weight.lease_days)


def _lineage_status(home: Home, state: State, as_of: datetime) -> LineageStatus:
    policy = home.settings.weight
    evidence = monthly_evidence(home, as_of, state)
    case = Case(state, evidence, policy, as_of, as_of)
    champion = home.registry.version(state.champion) if state.champion else None
    waiting = home.registry.versions(stage="challenger")
    return LineageStatus(
        state=state,
        weight_in_force=weight_in_force(home, state, as_of),
        lease=_lease(home, state, as_of),
        champion=version_record(champion) if champion else None,
        challenger=version_record(waiting[0]) if waiting else None,
        queued=tuple(version.number for version in waiting[1:]),
        shadow_window=shadow_window(home, state, as_of),
        decisions=decision_records(home, reversed(home.journal.entries(last=LAST_DECISIONS))),
        reviews=_upcoming_reviews(home, as_of),
        schedules=schedules(home, state, as_of),
        limits=measure_limits(case).rules,
        false_alarms=false_alarms(evidence, policy),
        proof=proof(case),
        proof_binds=policy.evidence_binds,
        influence=_influence(home, state, as_of),
        gate=_gate(home, state, evidence.lifetime, as_of),
        evidence=evidence,
        improvement=Improvement(
            finite_or_none(evidence.books.improvement_blended),
            expected_improvement(state.phase, policy.rollout),
        ),
        worth=life_worth(home, held_predictions(home, state.began, as_of, ("p_win",)), as_of),
        drift=last_drift(home),
        rollout=checklist(state, _entered(home), policy, as_of),
        milestones=milestones(state, evidence, policy, as_of),
    )


def answer(state: State, in_force: float, as_of: datetime) -> str:
    """Return the share the model decides, and what limits it, in one sentence.

    Args:
        state: State in force.
        in_force: Weight trading may use, as a share.
        as_of: Time of the status (UTC).
    """
    if in_force:
        summary = f"The model decides {in_force:.1%} of the confidence"
    elif state.weight:
        summary = f"The model decides nothing now: its weight of {state.weight:.1%} is out of force"
    else:
        summary = "The existing system decides alone"
    summary += f"; phase {state.phase} since {state.phase_since:%Y-%m-%d}"
    if state.held:
        summary += "; held by an operator"
    if state.retrain_required:
        summary += "; a retraining is required"
    if as_of > state.lease_until:
        ended = f"{state.lease_until:%Y-%m-%d %H:%M} UTC"
        summary += f"; the lease ended on {ended}, no guard has run since"
    return f"{summary}."


def _lease(home: Home, state: State, as_of: datetime) -> Lease:
    left = (state.lease_until - as_of) / timedelta(days=1)
    words = f"runs {left:.1f} more days" if left >= 0 else f"ran out {-left:.1f} days ago"
    if _is_too_long(home, state, as_of):
        words += ", too long: a clock was ahead; the next guard shortens it"
    return Lease(state.lease_until, round(left, 3), words)


def _upcoming_reviews(home: Home, as_of: datetime) -> tuple[UpcomingReview, ...]:
    policy = home.settings.weight
    due = {"weight": policy.evaluation_days, "gates": policy.review_days}
    return tuple(
        UpcomingReview(kind, period_end(as_of, days) + timedelta(days=days))
        for kind, days in due.items()
    )


def _influence(home: Home, state: State, as_of: datetime) -> Pivotal:
    columns = ("weight", "arm", "pivotal")
    return measure_pivotal(held_predictions(home, state.evidence_since, as_of, columns))


def _gate(home: Home, state: State, lifetime: Skill | None, as_of: datetime) -> tuple[Rule, ...]:
    inputs = gate_inputs(home, state, _settled_signals(home, state, as_of), as_of)
    evidence = phase_evidence(home, as_of, state, lifetime)
    case = Case(state, evidence, home.settings.weight, as_of, as_of)
    return criteria(case, inputs, proof(case))


def _settled_signals(home: Home, state: State, as_of: datetime) -> SignalCount:
    """Return the number of settled signals, which only the first gate needs; 0 elsewhere."""
    if state.phase != "foundation":
        return SignalCount(0, 0.0)
    try:
        return count_settled(known_history(home, as_of))
    except CollectMoreData:
        return SignalCount(0, 0.0)


def _entered(home: Home) -> dict[Phase, datetime]:
    """Return when each phase was entered first."""
    first = {phase: home.journal.entry_into(phase) for phase in PHASES}
    return {phase: entry.decision.after.phase_since for phase, entry in first.items() if entry}


def posted_alert(stored: StoredAlert) -> PostedAlert:
    """Return an alert with the attempts to deliver it."""
    alert = stored.alert
    return PostedAlert(alert.at, alert.kind, alert.title, stored.attempts, stored.trouble)
