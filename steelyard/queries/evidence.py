"""The evidence a decision rests on, read from the ledger: of the month, of the phase, of the whole life."""

from dataclasses import replace
from datetime import datetime, timedelta

from steelyard.evaluation.evidence import Evidence, WindowPolicy, gather_evidence
from steelyard.evaluation.skill import Skill, measure_skill
from steelyard.home import Home
from steelyard.weight.gates import GateInputs, window_left
from steelyard.weight.state import State


def gate_standing(home: Home, state: State, settled_signals: int) -> GateInputs:
    """Return what the gate asks about besides the evidence; features are validated before any training."""
    validated = state.champion is not None or home.registry.challenger() is not None
    return GateInputs(settled_signals, validated, has_champion=state.champion is not None)


def monthly_evidence(home: Home, end: datetime, state: State) -> Evidence:
    """Return the evidence of the rolling window that ends at ``end`` (SPEC §6)."""
    policy = home.settings.weight
    window = WindowPolicy(policy.window_days, policy.min_settled, policy.window_max_days)
    found = _evidence(home, end, state.evidence_since, window, policy.window_max_days)
    return replace(found, lifetime=life_evidence(home, end, state))


def phase_evidence(home: Home, end: datetime, state: State) -> Evidence:
    """Return the evidence of the current phase: the rolling window, reaching back until the gate has what it counts."""
    policy = home.settings.weight
    wanted = policy.gates.shadow_settled if state.phase == "shadow" else policy.min_settled
    since = max(state.evidence_since, state.phase_since)
    window = WindowPolicy(policy.window_days, wanted)
    found = _evidence(home, end, since, window, max((end - since).days + 1, policy.window_days))
    return replace(found, lifetime=life_evidence(home, end, state))


def life_evidence(home: Home, end: datetime, state: State) -> Skill:
    """Return the evidence of the lineage's whole life at ``end``, since its evidence last began anew."""
    opinions, settings = home.ledger.opinions(state.evidence_since, end), home.settings
    return measure_skill(
        opinions, end, state.evidence_since, settings.books, settings.weight.sequential.bets
    )


def _evidence(
    home: Home, end: datetime, since: datetime, window: WindowPolicy, days: int
) -> Evidence:
    settled = home.ledger.settled_predictions(end - timedelta(days=days), end)
    return gather_evidence(settled, end, since, window, home.settings.books)


def shadow_window(home: Home, state: State, as_of: datetime) -> tuple[str, ...]:
    """Return what is missing before the champion in shadow may be replaced; empty when nothing shields it."""
    if state.phase != "shadow" or state.champion is None:
        return ()
    champion = home.registry.version(state.champion)
    since = champion.serving_since or champion.as_of
    settled = home.ledger.settled_predictions(since, as_of)
    own = int((settled["model_version"] == champion.number).sum())
    return window_left(state, since, own, home.settings.weight, as_of)
