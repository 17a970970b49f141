"""The operator's hand: always allowed, and for the record."""

from datetime import timedelta

import pytest

from factories.evidence import NOW, POLICY, evidence, state
from steelyard.market.overlap import SignalCount
from steelyard.weight.case import Case
from steelyard.weight.gates import GateInputs, review
from steelyard.weight.limits import Streaks, guard, streak_breaker
from steelyard.weight.rollback import approve, hold, resume, roll_back

READY = GateInputs(
    settled_signals=SignalCount(1000, 1000), features_validated=True, has_champion=True
)


@pytest.mark.parametrize(
    ("phase", "weight"), [("pilot", 0.15), ("optimization", 0.7), ("shadow", 0.0)]
)
def test_a_rollback_takes_everything_and_asks_for_a_retraining(phase: str, weight: float) -> None:
    """Weight 0, shadow, evidence afresh, a retraining; reason and name are in the decision."""
    decision = roll_back(state(phase, weight), "fills look odd", "anna", POLICY, NOW)  # type: ignore[arg-type]

    assert (
        decision.verdict,
        decision.after.weight,
        decision.after.phase,
        decision.after.retrain_required,
    ) == (
        "DISABLE",
        0.0,
        "shadow",
        True,
    )
    assert decision.after.evidence_since == decision.after.phase_since == NOW
    assert (decision.operator, decision.reasons) == (
        "anna",
        ("rolled back by anna: fills look odd",),
    )


def test_a_rollback_before_any_champion_stays_in_foundation() -> None:
    """There is nothing that could requalify."""
    decision = roll_back(state("foundation", 0.0), "careful", "anna", POLICY, NOW)

    assert (decision.after.phase, decision.after.retrain_required) == ("foundation", False)


def test_after_a_rollback_no_gate_opens_before_a_retraining() -> None:
    """Healthy evidence is not enough."""
    rolled_back = roll_back(state("pilot", 0.15), "why", "anna", POLICY, NOW).after
    later = NOW + timedelta(days=30)
    decision = review(Case(rolled_back, evidence(), POLICY, later, later), READY)

    assert decision.after.phase == "shadow"
    assert "missing: a champion trained after the breaker" in decision.reasons


def test_a_held_weight_is_lowered_but_not_raised_until_it_is_resumed() -> None:
    """Hold, a cut, resume: the cut happened, and nothing missed is made up for."""
    held = hold(state("expansion", 0.30), "earnings", "anna", POLICY, NOW).after
    cut = guard(
        Case(
            held, evidence(accuracy=0.49), POLICY, NOW + timedelta(days=1), NOW + timedelta(days=1)
        )
    ).after
    resumed = resume(cut, "over", "anna", POLICY, NOW + timedelta(days=2)).after

    assert (held.held, held.weight) == (True, 0.30)
    assert (cut.held, cut.weight) == (True, 0.15)
    assert (resumed.held, resumed.weight) == (False, 0.15)


@pytest.mark.parametrize(
    ("phase", "streak", "trips"),
    [("pilot", 10, False), ("pilot", 11, True), ("shadow", 11, True), ("foundation", 99, False)],
)
def test_the_streak_breaker_needs_nothing_but_the_streak(
    phase: str, streak: int, trips: bool
) -> None:
    """More than ten losses in a row and the weight is 0, without waiting for a guard."""
    streaks = Streaks(losses=streak, losing_days=0, allowed_losses=10)
    decision = streak_breaker(state(phase, POLICY.band(phase).floor), streaks, POLICY, NOW)  # type: ignore[arg-type]

    assert (decision is not None) is trips
    if decision is not None:
        assert (decision.verdict, decision.after.weight, decision.after.retrain_required) == (
            "DISABLE",
            0.0,
            True,
        )


def test_an_approval_changes_nothing_and_is_recorded_once_for_each_version() -> None:
    """Weight and phase stay; its key names the version, so a second time is the first."""
    before, later = state("pilot", 0.15), NOW + timedelta(days=1)
    first = approve(before, "7", ("too good",), "exits far apart", "anna", POLICY, NOW)
    second = approve(before, "7", ("too good",), "again", "ben", POLICY, later)
    other = approve(before, "8", ("too good",), "exits far apart", "anna", POLICY, NOW)

    assert first.after == before.model_copy(update={"as_of": NOW})
    assert (first.verdict, first.operator) == ("HOLD", "anna")
    assert first.reasons == ("version 7 approved by anna: exits far apart", "too good")
    assert first.key == second.key
    assert first.key != other.key
