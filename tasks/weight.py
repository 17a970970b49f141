"""Steps that decide about the weight: evidence from the ledger, a pure decision, an entry in the journal."""

from collections.abc import Callable
from datetime import datetime

from steelyard.errors import FixConfiguration
from steelyard.home import Home
from steelyard.queries.evidence import gate_standing, monthly_evidence, phase_evidence
from steelyard.tasks.step import step
from steelyard.tasks.trials import count_settings
from steelyard.weight.decision import Decision, Entry, Kind
from steelyard.weight.gates import review
from steelyard.weight.ladder import evaluate, period_end
from steelyard.weight.limits import guard
from steelyard.weight.state import State, initial_state
from steelyard.weight.transitions import extend_lease


def current_state(home: Home, as_of: datetime) -> State:
    """Return the lineage's state; a lineage nobody decided about starts in foundation at ``as_of``.

    Raises:
        FixConfiguration: If ``as_of`` lies before the last decision: what was decided then cannot be decided again.
    """
    return _usable(home, home.journal.state(), as_of)


def _usable(home: Home, state: State | None, as_of: datetime) -> State:
    if state is None:
        return home.journal.begin(initial_state(home.settings.services.lineage, as_of))
    if as_of < state.as_of:
        raise FixConfiguration(
            f"as of {as_of:%Y-%m-%d %H:%M} lies before the last decision of {state.as_of:%Y-%m-%d %H:%M}; "
            "pass a later --as-of, or a home of its own to replay the past"
        )
    return state


@step(one_at_a_time=True)
def guard_weight(home: Home, as_of: datetime) -> Entry | None:
    """Run the daily guard and, having checked, renew the lease; returns the entry where something changed."""
    with home.journal.deciding():
        found = home.journal.state()
        if found is not None and found.as_of >= as_of:
            recorded = home.journal.decided("guard", as_of)
            if recorded is not None:
                return recorded
        state, policy = _usable(home, found, as_of), home.settings.weight
        entry = _guarded(home, state, as_of)
        home.journal.renew_lease(
            extend_lease(entry.state if entry else state, policy, as_of).lease_until
        )
        return entry


def _guarded(home: Home, state: State, as_of: datetime) -> Entry | None:
    if state.phase == "foundation":  # there is no model to limit
        return None
    decision = guard(state, monthly_evidence(home, as_of, state), home.settings.weight, as_of)
    return record(home, decision) if _matters(decision) else None


@step(one_at_a_time=True)
def evaluate_weight(home: Home, as_of: datetime) -> Entry | None:
    """Evaluate the last whole period, once: the second time the recorded decision comes back.

    None while the lineage is younger than the end of that period.
    """

    def decide(state: State, period: datetime) -> Decision:
        evidence = monthly_evidence(home, period, state)
        return evaluate(state, evidence, home.settings.weight, period, as_of)

    return _once(home, "weight", home.settings.weight.evaluation_days, as_of, decide)


@step(one_at_a_time=True)
def review_gates(home: Home, as_of: datetime, settled_signals: int) -> Entry | None:
    """Review the gate of the current phase for the last whole period, once; None for a lineage younger than that."""

    def decide(state: State, period: datetime) -> Decision:
        evidence = phase_evidence(home, period, state)
        standing = gate_standing(home, state, settled_signals)
        return review(state, evidence, standing, home.settings.weight, period, as_of)

    return _once(home, "gates", home.settings.weight.review_days, as_of, decide)


def _once(
    home: Home,
    kind: Kind,
    days: int,
    as_of: datetime,
    decide: Callable[[State, datetime], Decision],
) -> Entry | None:
    period = period_end(as_of, days)
    with home.journal.deciding():
        recorded = home.journal.decided(kind, period)
        if recorded is not None:
            return recorded
        state = current_state(home, as_of)
        return record(home, decide(state, period)) if period > state.began else None


def record(home: Home, decision: Decision) -> Entry:
    """Enter a decision in the journal; a new policy is counted."""
    count_settings(home, "weight", decision.policy, decision.as_of)
    return home.journal.append(decision)


def _matters(decision: Decision) -> bool:
    """Whether a guard's decision changes more than the moment it speaks for."""
    return decision.after != decision.before.model_copy(update={"as_of": decision.after.as_of})
