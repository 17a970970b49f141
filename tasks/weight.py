"""Steps that decide about the weight: evidence in, a pure decision, an entry in the journal.

The evidence rests on the ledger, so the ledger is held against the digests in the sealed state: its
last days before every guard of a weight, all of it before a rise.
"""

from collections.abc import Callable
from datetime import UTC, datetime

from steelyard.errors import VerifyState
from steelyard.home import Home
from steelyard.market.overlap import SignalCount
from steelyard.queries.evidence import gate_inputs, monthly_evidence, phase_evidence
from steelyard.queries.state import require_not_before
from steelyard.tasks.alerts import announce_warnings
from steelyard.tasks.events import emit_decision
from steelyard.tasks.step import step
from steelyard.tasks.trials import count_settings
from steelyard.weight.case import Case
from steelyard.weight.decision import Decision, Entry, Kind
from steelyard.weight.gates import review
from steelyard.weight.ladder import evaluate, period_end
from steelyard.weight.limits import guard, measure_limits
from steelyard.weight.policy import PHASES
from steelyard.weight.state import State, initial_state
from steelyard.weight.transitions import extend_lease

LEDGER_CHECK = "ledger check"
"""Recorded as the operator of the brake; only a brake pulled under this name is released here."""
GUARDED_DIGESTS = 35
"""Digests whose rows every guard checks: about as many days as the window has."""


@step()
def ensure_lineage(home: Home, as_of: datetime) -> State:
    """Return the state of the lineage; begin the lineage in foundation if it has none.

    Args:
        home: Opened home.
        as_of: Begin of a new lineage (UTC); for an existing one, not before its last decision.

    Raises:
        FixConfiguration: If ``as_of`` lies before the last decision.
    """
    state = home.journal.state()
    if state is None:
        return home.journal.begin(initial_state(home.settings.services.lineage, as_of))
    return require_not_before(state, as_of)


@step(one_at_a_time=True)
def guard_weight(home: Home, as_of: datetime) -> Entry | None:
    """Check the limits, lower the weight if one is breached, and renew the lease.

    Args:
        home: Opened home.
        as_of: Check as of this time (UTC).

    Returns:
        The journal entry, or None if the decision changed nothing.
    """
    with home.journal.deciding():
        latest = home.journal.state()
        if latest is not None and latest.as_of >= as_of:  # only then may it be recorded already
            recorded = home.journal.decided("guard", as_of)
            if recorded is not None:
                return recorded
        state, policy = ensure_lineage(home, as_of), home.settings.weight
        require_whole_ledger(home, state, GUARDED_DIGESTS if state.weight else 0)
        entry = _apply_limits(home, state, as_of)
        leased = extend_lease(home.journal.state() or state, policy, as_of, datetime.now(UTC))
        home.journal.renew_lease(leased.lease_until, home.digests.extend())
        return entry


def require_whole_ledger(home: Home, state: State, last: int | None) -> None:
    """Refuse to go on, with the brake pulled, if settled rows of the ledger changed or are gone.

    Args:
        home: Opened home.
        state: Sealed state, which knows the chain of digests.
        last: Check the rows of this many last digests, and the numbers of all; None for all rows.

    Raises:
        VerifyState: If they did.
    """
    faults = home.digests.faults(state.digests, state.digest_head, last)
    if faults:
        home.brake.pull(LEDGER_CHECK, faults[0])
        raise VerifyState(
            f"{faults[0]}; the brake is pulled, the weight is 0; restore the ledger's newest "
            "backup, or go on at weight 0 with new evidence: steelyard rollback --accept-loss"
        )
    if home.brake.operator == LEDGER_CHECK:
        home.brake.release()


def _apply_limits(home: Home, state: State, as_of: datetime) -> Entry | None:
    if state.phase == "foundation":  # there is no model to limit
        return None
    evidence = monthly_evidence(home, as_of, state)
    case = Case(state, evidence, home.settings.weight, as_of, as_of)
    announce_warnings(home, state, measure_limits(case), as_of)
    decision = guard(case)
    unchanged = decision.before.model_copy(update={"as_of": decision.after.as_of})
    return None if decision.after == unchanged else record(home, decision)


@step(one_at_a_time=True)
def evaluate_weight(home: Home, as_of: datetime) -> Entry | None:
    """Evaluate the last whole period once; a second run returns the recorded decision.

    Args:
        home: Opened home.
        as_of: Evaluate as of this time (UTC).

    Returns:
        The journal entry, or None if the lineage began after the end of that period.
    """

    def decide(state: State, period: datetime) -> Decision:
        evidence = monthly_evidence(home, period, state)
        return evaluate(Case(state, evidence, home.settings.weight, period, as_of))

    return _decide_once(home, "weight", home.settings.weight.evaluation_days, as_of, decide)


@step(one_at_a_time=True)
def review_gates(home: Home, as_of: datetime, settled_signals: SignalCount) -> Entry | None:
    """Review the gate of the current phase once per period.

    Args:
        home: Opened home.
        as_of: Review as of this time (UTC).
        settled_signals: Signals settled by ``as_of``; the gate out of foundation needs a minimum.

    Returns:
        The journal entry, or None if the lineage began after the end of the last whole period.
    """

    def decide(state: State, period: datetime) -> Decision:
        evidence = phase_evidence(home, period, state)
        inputs = gate_inputs(home, state, settled_signals, period)
        return review(Case(state, evidence, home.settings.weight, period, as_of), inputs)

    return _decide_once(home, "gates", home.settings.weight.review_days, as_of, decide)


def _decide_once(
    home: Home,
    kind: Kind,
    period_days: int,
    as_of: datetime,
    decide: Callable[[State, datetime], Decision],
) -> Entry | None:
    period = period_end(as_of, period_days)
    with home.journal.deciding():
        recorded = home.journal.decided(kind, period)
        if recorded is not None:
            return recorded
        state = ensure_lineage(home, as_of)
        return record(home, decide(state, period)) if period > state.began else None


def record(home: Home, decision: Decision) -> Entry:
    """Append a decision to the journal and count its policy as a trial if it is new.

    Args:
        home: Opened home.
        decision: Decision made from the state in force.

    Raises:
        RestoreService: If another process decided meanwhile.
        VerifyState: If the weight would rise on settled rows that were changed.
    """
    count_settings(home, "weight", decision.policy, decision.as_of)
    if _rises(decision):
        require_whole_ledger(home, decision.before, None)
    entry = home.journal.append(decision)
    emit_decision(home, entry)
    return entry


def _rises(decision: Decision) -> bool:
    before, after = decision.before, decision.after
    return after.weight > before.weight or PHASES.index(after.phase) > PHASES.index(before.phase)
