"""The evidence of a decision, read from the ledger: of the month, the phase, the whole life."""

from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np

from steelyard.evaluation.evidence import Evidence, WindowPolicy, gather_evidence
from steelyard.evaluation.positions import take_positions
from steelyard.evaluation.skill import Skill, measure_skill
from steelyard.home import Home
from steelyard.market.overlap import SignalCount, signal_uniqueness
from steelyard.queries.books import held_predictions
from steelyard.weight.gates import GateInputs, window_left
from steelyard.weight.rules import is_pivotal
from steelyard.weight.state import State

COLUMNS = (
    "p_win",
    "won",
    "arm",
    "pivotal",
    "model_version",
    "latency_ms",
    "fallback_reason",
    "hold_minutes",
    "slippage_bps",
)
"""Columns of a prediction that evidence needs beside those of the position rules."""


def gate_inputs(
    home: Home, state: State, settled_signals: SignalCount, end: datetime
) -> GateInputs:
    """Return the gate's inputs other than the evidence.

    Args:
        home: Opened home.
        state: State in force.
        settled_signals: Signals settled so far; the gate out of foundation needs a minimum.
        end: End of what is judged (UTC).
    """
    validated = home.registry.features_validated()
    has_champion = state.champion is not None
    return GateInputs(settled_signals, validated, has_champion, _pivotal(home, state, end))


def _pivotal(home: Home, state: State, end: datetime) -> int:
    """Return ``GateInputs.pivotal``; 0 in a phase whose gate does not ask for it."""
    if state.phase != "pilot":
        return 0
    opinions = home.ledger.opinions(state.judged_since, end)
    weight = home.settings.weight.band("expansion").floor
    existing, ml = (
        opinions[column].to_numpy(dtype=np.float64)
        for column in ("confidence_existing", "confidence_ml")
    )
    return int(is_pivotal(existing, ml, weight, home.settings.books.threshold).sum())


def monthly_evidence(home: Home, end: datetime, state: State) -> Evidence:
    """Return the evidence of the rolling window (SPEC §6).

    Args:
        home: Opened home.
        end: End of the window (UTC).
        state: State in force; nothing before ``evidence_since`` counts.
    """
    policy = home.settings.weight
    evidence = _evidence(home, end, state.evidence_since, policy.window, policy.window_max_days)
    return replace(evidence, lifetime=life_evidence(home, end, state))


def phase_evidence(
    home: Home, end: datetime, state: State, lifetime: Skill | None = None
) -> Evidence:
    """Return the evidence of the current phase.

    The rolling window is extended back until it has the settled predictions the gate needs, at most
    to the begin of the phase or to the last cut.

    Args:
        home: Opened home.
        end: End of the window (UTC).
        state: State in force.
        lifetime: Evidence of the life until ``end`` if it is known; None: it is measured.
    """
    policy = home.settings.weight
    needed = policy.gates.shadow_settled if state.phase == "shadow" else policy.min_settled
    since = state.judged_since
    window = WindowPolicy(policy.window_days, needed)
    days = max((end - since).days + 1, policy.window_days)
    evidence = _evidence(home, end, since, window, days)
    return replace(evidence, lifetime=lifetime or life_evidence(home, end, state))


def life_evidence(home: Home, end: datetime, state: State) -> Skill:
    """Return the evidence of the lineage's life, since its evidence of skill began.

    Args:
        home: Opened home.
        end: End of the evidence (UTC).
        state: State in force.
    """
    origin, settings = state.origin, home.settings
    opinions = home.ledger.opinions(origin.since, end)
    held = take_positions(opinions, settings.books, settings.risk, ("baseline", "ml"))
    return measure_skill(held, end, origin, settings.weight.sequential.bets)


def _evidence(
    home: Home, end: datetime, since: datetime, window: WindowPolicy, days: int
) -> Evidence:
    held = held_predictions(home, end - timedelta(days=days), end, COLUMNS)
    return gather_evidence(held, end, since, window)


def shadow_window(home: Home, state: State, as_of: datetime) -> tuple[str, ...]:
    """Return what is missing before the champion in shadow may be replaced.

    Args:
        home: Opened home.
        state: State in force.
        as_of: Check as of this time (UTC).

    Returns:
        One sentence per missing criterion; empty if nothing protects the champion.
    """
    if state.phase != "shadow" or state.champion is None:
        return ()
    champion = home.registry.version(state.champion)
    since = champion.serving_since or champion.as_of
    columns = ("symbol", "decided_at", "settled_at", "model_version")
    settled = home.ledger.settled_predictions(since, as_of, columns)
    own = settled[(settled["model_version"] == champion.number).to_numpy(dtype=bool)]
    count = SignalCount.of(signal_uniqueness(own))
    return window_left(state, since, count, home.settings.weight, as_of)
