"""Steps that decide about the weight: evidence from the ledger, a pure decision, an entry in the journal."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from steelyard.errors import FixConfiguration
from steelyard.judging.evidence import Evidence, Window, gather
from steelyard.judging.skill import Skill, judge_skill
from steelyard.tasks.step import step
from steelyard.tasks.stores import Stores
from steelyard.tasks.trials import count_settings
from steelyard.weight.changes import with_lease
from steelyard.weight.guards import guard
from steelyard.weight.journal import Decision, Entry, Kind
from steelyard.weight.ladder import evaluate, period_end
from steelyard.weight.phases import Standing, review
from steelyard.weight.state import State, initial_state


def current_state(stores: Stores, as_of: datetime) -> State:
    """Return the lineage's state; a lineage nobody decided about starts in foundation at ``as_of``.

    Raises:
        FixConfiguration: If ``as_of`` lies before the last decision: what was decided then cannot be decided again.
    """
    return _usable(stores, stores.journal.state(), as_of)


def _usable(stores: Stores, state: State | None, as_of: datetime) -> State:
    if state is None:
        return stores.journal.begin(initial_state(stores.settings.services.lineage, as_of))
    if as_of < state.as_of:
        raise FixConfiguration(
            f"as of {as_of:%Y-%m-%d %H:%M} lies before the last decision of {state.as_of:%Y-%m-%d %H:%M}; "
            "pass a later --as-of, or a home of its own to replay the past"
        )
    return state


@step(one_at_a_time=True)
def guard_weight(stores: Stores, as_of: datetime) -> Entry | None:
    """Run the daily guard and, having checked, renew the lease; returns the entry where something changed."""
    with stores.journal.deciding():
        found = stores.journal.state()
        if found is not None and found.as_of >= as_of:
            recorded = stores.journal.decided("guard", as_of)
            if recorded is not None:
                return recorded
        state, policy = _usable(stores, found, as_of), stores.settings.weight
        entry = _guarded(stores, state, as_of)
        stores.journal.renew_lease(with_lease(entry.state if entry else state, policy, as_of).lease_until)
        return entry


def _guarded(stores: Stores, state: State, as_of: datetime) -> Entry | None:
    if state.phase == "foundation":  # there is no model to limit
        return None
    decision = guard(state, monthly_evidence(stores, as_of, state), stores.settings.weight, as_of)
    return record(stores, decision) if _matters(decision) else None


@step(one_at_a_time=True)
def evaluate_weight(stores: Stores, as_of: datetime) -> Entry | None:
    """Evaluate the last whole period, once: the second time the recorded decision comes back.

    None while the lineage is younger than the end of that period.
    """

    def decide(state: State, period: datetime) -> Decision:
        evidence = monthly_evidence(stores, period, state)
        return evaluate(state, evidence, stores.settings.weight, period, as_of)

    return _once(stores, "weight", stores.settings.weight.evaluation_days, as_of, decide)


@step(one_at_a_time=True)
def review_gates(stores: Stores, as_of: datetime, settled_signals: int) -> Entry | None:
    """Review the gate of the current phase for the last whole period, once; None for a lineage younger than that."""

    def decide(state: State, period: datetime) -> Decision:
        evidence = phase_evidence(stores, period, state)
        standing = gate_standing(stores, state, settled_signals)
        return review(state, evidence, standing, stores.settings.weight, period, as_of)

    return _once(stores, "gates", stores.settings.weight.review_days, as_of, decide)


def gate_standing(stores: Stores, state: State, settled_signals: int) -> Standing:
    """Return what the gate asks about besides the evidence; features are validated before any training."""
    validated = state.champion is not None or stores.registry.challenger() is not None
    return Standing(settled_signals, validated, has_champion=state.champion is not None)


def _once(
    stores: Stores,
    kind: Kind,
    days: int,
    as_of: datetime,
    decide: Callable[[State, datetime], Decision],
) -> Entry | None:
    period = period_end(as_of, days)
    with stores.journal.deciding():
        recorded = stores.journal.decided(kind, period)
        if recorded is not None:
            return recorded
        state = current_state(stores, as_of)
        return record(stores, decide(state, period)) if period > state.began else None


def record(stores: Stores, decision: Decision) -> Entry:
    """Enter a decision in the journal; a new policy is counted."""
    count_settings(stores, "weight", decision.policy, decision.as_of)
    return stores.journal.append(decision)


def _matters(decision: Decision) -> bool:
    """Whether a guard's decision changes more than the moment it speaks for."""
    return decision.after != decision.before.model_copy(update={"as_of": decision.after.as_of})


def monthly_evidence(stores: Stores, end: datetime, state: State) -> Evidence:
    """Return the evidence of the rolling window that ends at ``end`` (SPEC §6)."""
    policy = stores.settings.weight
    window = Window(policy.window_days, policy.min_settled, policy.window_max_days)
    found = _evidence(stores, end, state.evidence_since, window, policy.window_max_days)
    return replace(found, life=life_evidence(stores, end, state))


def phase_evidence(stores: Stores, end: datetime, state: State) -> Evidence:
    """Return the evidence of the current phase: the rolling window, reaching back until the gate has what it counts."""
    policy = stores.settings.weight
    wanted = policy.gates.shadow_settled if state.phase == "shadow" else policy.min_settled
    since = max(state.evidence_since, state.phase_since)
    window = Window(policy.window_days, wanted)
    found = _evidence(stores, end, since, window, max((end - since).days + 1, policy.window_days))
    return replace(found, life=life_evidence(stores, end, state))


def life_evidence(stores: Stores, end: datetime, state: State) -> Skill:
    """Return the evidence of the lineage's whole life at ``end``, since its evidence last began anew."""
    opinions, settings = stores.ledger.opinions(state.evidence_since, end), stores.settings
    return judge_skill(opinions, end, state.evidence_since, settings.books, settings.weight.sequential.bets)


def _evidence(stores: Stores, end: datetime, since: datetime, window: Window, days: int) -> Evidence:
    settled = stores.ledger.settled_predictions(end - timedelta(days=days), end)
    return gather(settled, end, since, window, stores.settings.books)
