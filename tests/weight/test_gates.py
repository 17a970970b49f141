"""The gates: what opens them, what keeps them shut, and how they say what is missing."""

from datetime import timedelta
from typing import Any

import pytest

from factories.evidence import NOW, POLICY, evidence, state
from steelyard.evaluation.ab_test import ArmComparison
from steelyard.market.overlap import SignalCount
from steelyard.weight.case import Case
from steelyard.weight.gates import GateInputs, pilot_failed, review, window_left
from steelyard.weight.state import State

READY = GateInputs(
    settled_signals=SignalCount(100, 100), features_validated=True, has_champion=True
)
NAN = float("nan")


def since(days: int) -> dict[str, object]:
    return {"phase_since": NOW - timedelta(days=days)}


@pytest.mark.parametrize(
    ("inputs", "missing"),
    [
        pytest.param(
            GateInputs(SignalCount(99, 99), True, True),
            "1 more settled signals needed",
            id="one signal short",
        ),
        pytest.param(
            GateInputs(SignalCount(173, 91.25), True, True),
            "9 more independent settled signals needed, the 173 so far are worth 91.25",
            id="enough, but they overlap",
        ),
        pytest.param(
            GateInputs(SignalCount(100, 100), False, True),
            "missing: validated features",
            id="no validated features",
        ),
        pytest.param(
            GateInputs(SignalCount(100, 100), True, False), "missing: a champion", id="no champion"
        ),
    ],
)
def test_foundation_says_what_is_missing(inputs: GateInputs, missing: str) -> None:
    """Each missing thing keeps the gate shut and is the one reason given."""
    decision = review(Case(state("foundation", 0.0), evidence(), POLICY, NOW, NOW), inputs)

    assert (decision.verdict, decision.after.phase, decision.reasons) == (
        "HOLD",
        "foundation",
        (missing,),
    )


@pytest.mark.parametrize(
    ("phase", "weight", "following", "floor", "figures"),
    [
        pytest.param("foundation", 0.0, "shadow", 0.0, {}, id="foundation to shadow"),
        pytest.param("shadow", 0.0, "pilot", 0.10, {"settled": 50}, id="shadow to pilot"),
        pytest.param(
            "pilot", 0.10, "expansion", 0.20, {}, id="pilot to expansion lifts to the floor"
        ),
        pytest.param(
            "expansion",
            0.40,
            "optimization",
            0.40,
            {"improvement_blended": 0.11},
            id="to optimization",
        ),
    ],
)
def test_a_gate_opens_when_all_hold(
    phase: str, weight: float, following: str, floor: float, figures: dict[str, float]
) -> None:
    """With every criterion met the phase rises and starts now, the weight is at least its floor."""
    after = review(
        Case(state(phase, weight, **since(30)), evidence(**figures), POLICY, NOW, NOW), READY
    ).after

    assert (after.phase, after.weight, after.phase_since) == (following, floor, NOW)


@pytest.mark.parametrize(
    ("before", "figures", "reason_part"),
    [
        pytest.param(
            state("shadow", 0.0, **since(8)), {}, "6 more days in shadow", id="6 days short"
        ),
        pytest.param(
            state("shadow", 0.0), {"settled": 39}, "11 more settled predictions", id="11 short"
        ),
        pytest.param(
            state("shadow", 0.0),
            {"accuracy": 0.55},
            "over 55% needed",
            id="exactly 55 % is not over",
        ),
        pytest.param(
            state("shadow", 0.0),
            {"rate": 0.60},
            "over 60% needed",
            id="under the no-information rate",
        ),
        pytest.param(state("shadow", 0.0), {"coverage": 0.98}, "coverage", id="coverage"),
        pytest.param(
            state("shadow", 0.0), {"latency_p99_ms": 50.0}, "under 50 ms needed", id="latency"
        ),
        pytest.param(
            state("shadow", 0.0), {"latency_p99_ms": NAN}, "under 50 ms needed", id="NaN latency"
        ),
        pytest.param(
            state("shadow", 0.0, retrain_required=True),
            {},
            "trained after the breaker",
            id="not retrained",
        ),
        pytest.param(
            state(), {"blended__mean_return": 0.0005}, "blended mean return", id="pilot mean return"
        ),
        pytest.param(state(), {"blended__win_rate": 0.5}, "blended win rate", id="pilot win rate"),
        pytest.param(state(), {"blended__sharpe": NAN}, "blended Sharpe", id="pilot NaN Sharpe"),
        pytest.param(
            state(), {"blended__max_drawdown": 0.03}, "blended drawdown", id="pilot drawdown"
        ),
        pytest.param(state(), {"fallback_rate": 0.02}, "fallback rate", id="pilot fallbacks"),
        pytest.param(
            state(),
            {"arms": ArmComparison(30, 4, 0, 0, 1, 1)},
            "6 more settled signals in the smaller arm",
            id="few",
        ),
        pytest.param(
            state(),
            {"arms": ArmComparison(30, 30, 0.01, 0, 0.001, 1)},
            "treatment earned -1.0000%",
            id="treatment worse",
        ),
        pytest.param(
            state(),
            {"arms": ArmComparison(30, 30, NAN, 0, 0.001, 1)},
            "treatment earned",
            id="NaN in an arm",
        ),
        pytest.param(
            state(),
            {"arms": ArmComparison(20, 80, 0, 0, 1, 1e-9)},
            "uneven split (p = 1e-09)",
            id="split off",
        ),
        pytest.param(
            state("shadow", 0.0),
            {"ml__max_drawdown": 0.9},
            "limits breached: cut_drawdown",
            id="limit breached",
        ),
        pytest.param(
            state(latches={"cut_sharpe": NOW}),
            {},
            "limits breached: cut_sharpe",
            id="limit latched",
        ),
        pytest.param(
            state("expansion", 0.35),
            {"improvement_blended": 0.2},
            "weight 35%",
            id="not at the top",
        ),
        pytest.param(
            state("expansion", 0.40),
            {"improvement_blended": 0.1},
            "over 10% needed",
            id="improvement",
        ),
        pytest.param(
            state("expansion", 0.40),
            {"improvement_blended": NAN},
            "improvement unknown",
            id="NaN improvement",
        ),
        pytest.param(
            state("expansion", 0.40),
            {"improvement_blended": 0.2, "blended__max_drawdown": 0.051},
            "at most 5% allowed",
            id="drawdown over 5 %",
        ),
    ],
)
def test_one_unmet_criterion_keeps_the_gate_shut(
    before: State, figures: dict[str, Any], reason_part: str
) -> None:
    """The phase stays, and the first reason names the criterion, its figure and its bound."""
    decision = review(Case(before, evidence(**figures), POLICY, NOW, NOW), READY)

    assert (decision.verdict, decision.after.phase, decision.after.weight) == (
        "HOLD",
        before.phase,
        before.weight,
    )
    assert any(reason_part in reason for reason in decision.reasons)


@pytest.mark.parametrize(
    ("days", "improvement", "reason_part"),
    [
        (60, 0.21, "stable"),
        (59, 0.21, "not stable yet: 1 more days"),
        (60, 0.20, "not stable yet: improvement"),
    ],
)
def test_optimization_reports_when_it_is_stable(
    days: int, improvement: float, reason_part: str
) -> None:
    """The last phase has no gate upward, only the word stable."""
    before = state("optimization", 0.40, **since(days))
    decision = review(
        Case(before, evidence(improvement_blended=improvement), POLICY, NOW, NOW), READY
    )

    assert decision.after.phase == "optimization"
    assert decision.reasons[0].startswith(reason_part)


@pytest.mark.parametrize(
    ("days", "figures", "failed"),
    [
        pytest.param(14, {"blended__sharpe": 0.5}, True, id="the blend is worse"),
        pytest.param(14, {}, False, id="the gate opens"),
        pytest.param(13, {"blended__sharpe": 0.5}, False, id="a day early"),
        pytest.param(14, {"settled": 19, "blended__sharpe": 0.5}, False, id="too few signals"),
    ],
)
def test_a_pilot_fails_by_its_blend_not_by_waiting(
    days: int, figures: dict[str, Any], failed: bool
) -> None:
    """A review of an earlier pilot does not count."""
    pilot = state("pilot", 0.10, **since(days))
    decision = review(Case(pilot, evidence(**figures), POLICY, NOW, NOW), READY)

    assert pilot_failed(decision, pilot) is failed
    assert not pilot_failed(decision, state("pilot", 0.10, **since(days - 1)))


def test_a_held_lineage_does_not_move_up() -> None:
    """With everything met, an operator's hold keeps the phase."""
    decision = review(
        Case(state("foundation", 0.0, held=True), evidence(), POLICY, NOW, NOW), READY
    )

    assert (decision.verdict, decision.after.phase) == ("HOLD", "foundation")


@pytest.mark.parametrize(
    ("before", "days", "settled", "left"),
    [
        pytest.param(
            state("shadow", 0.0, **since(30)),
            8,
            39,
            ("6 more days", "11 more settled predictions"),
            id="neither",
        ),
        pytest.param(state("shadow", 0.0, **since(30)), 14, 50, (), id="both met"),
        pytest.param(
            state("shadow", 0.0, **since(3)),
            20,
            50,
            ("11 more days",),
            id="served before shadow began",
        ),
        pytest.param(
            state("shadow", 0.0, **since(300)), 120, 3, (), id="too few signals: not for ever"
        ),
        pytest.param(
            state("shadow", 0.0, retrain_required=True, **since(3)),
            3,
            3,
            (),
            id="a disabled one is not shielded",
        ),
        pytest.param(state("pilot", 0.1, **since(3)), 3, 3, (), id="out of shadow"),
    ],
)
def test_a_champion_in_shadow_keeps_its_place_until_its_window_is_over(
    before: State, days: int, settled: int, left: tuple[str, ...]
) -> None:
    """Days and settled predictions of its own, as its gate counts them; what is missing is said."""
    own = SignalCount(settled, settled)

    assert window_left(before, NOW - timedelta(days=days), own, POLICY, NOW) == left
