"""The rollout: what is done, due, late or ahead."""

from datetime import timedelta

import pytest
from pydantic import ValidationError

from factories.evidence import EARLIER, POLICY, evidence, state
from steelyard.simulation.bounds import compile_bounds
from steelyard.simulation.characteristics import Design, Scenario, run_lives
from steelyard.weight.ladder import ANCHOR
from steelyard.weight.policy import Phase, RolloutPolicy
from steelyard.weight.rollout import (
    checklist,
    expected_improvement,
    fastest_course,
    milestones,
)

ROLLOUT = POLICY.rollout


def at(weeks: float) -> dict[str, str]:
    """Standing of each phase in a pilot, so many weeks after the lineage began."""
    items = checklist(state("pilot"), {}, POLICY, EARLIER + timedelta(weeks=weeks))
    return {item.name: item.status for item in items}


@pytest.mark.parametrize(
    ("weeks", "pilot", "expansion", "optimization"),
    [
        pytest.param(1, "ahead", "ahead", "ahead", id="earlier than planned"),
        pytest.param(5, "due", "ahead", "ahead", id="in its weeks"),
        pytest.param(6, "late", "due", "ahead", id="its weeks are over"),
        pytest.param(8, "late", "due", "ahead", id="nobody leaves expansion in eight weeks"),
        pytest.param(60 / 7, "late", "due", "due", id="month 3 begins"),
        pytest.param(90 / 7, "late", "due", "due", id="month 3 is over, 40 % take 150 days"),
        pytest.param(22, "late", "late", "late", id="all over"),
    ],
)
def test_a_phase_is_due_in_its_weeks_and_late_after_them(
    weeks: float, pilot: str, expansion: str, optimization: str
) -> None:
    """Two weeks each, the last in month 3; what the policy makes impossible is not late."""
    items = at(weeks)

    assert (items["foundation"], items["shadow"]) == ("done", "done")
    assert (items["pilot"], items["expansion"], items["optimization"]) == (
        pilot,
        expansion,
        optimization,
    )


def test_the_last_phase_is_done_when_it_is_reached() -> None:
    """There is nothing to leave it for."""
    items = checklist(state("optimization", 0.4), {}, POLICY, EARLIER)

    assert {item.status for item in items} == {"done"}


@pytest.mark.parametrize(
    ("phase", "entered", "statuses", "detail"),
    [
        pytest.param(
            "foundation",
            (),
            ("due", "ahead", "ahead", "ahead", "ahead"),
            "not entered",
            id="the first day",
        ),
        pytest.param(
            "pilot",
            ("shadow", "pilot", "expansion"),
            ("done", "done", "done", "ahead", "ahead"),
            "entered 2025-01-01, now in pilot",
            id="fallen out of expansion",
        ),
        pytest.param(
            "shadow",
            ("shadow", "pilot", "expansion", "optimization"),
            ("done", "done", "done", "done", "done"),
            "entered 2025-01-01, now in shadow",
            id="disabled at the top",
        ),
        pytest.param(
            "optimization",
            ("shadow", "pilot", "expansion", "optimization"),
            ("done", "done", "done", "done", "done"),
            "entered 2025-01-01",
            id="at the top",
        ),
    ],
)
def test_a_fall_back_does_not_undo_what_was_reached(
    phase: Phase, entered: tuple[Phase, ...], statuses: tuple[str, ...], detail: str
) -> None:
    """A phase left upward stays done; the detail of expansion says where the lineage stands now."""
    items = checklist(state(phase, 0.0), dict.fromkeys(entered, EARLIER), POLICY, EARLIER)

    assert tuple(item.status for item in items) == statuses
    assert items[3].detail == detail


def test_month_2_asks_for_shadow_and_accuracy() -> None:
    """In foundation, or without evidence, it is not done."""
    now = EARLIER + timedelta(days=40)
    statuses = [
        milestones(state("shadow", 0.0), evidence(accuracy=0.56), POLICY, now)[0].status,
        milestones(state("foundation", 0.0), evidence(accuracy=0.56), POLICY, now)[0].status,
        milestones(state("shadow", 0.0), evidence(accuracy=float("nan")), POLICY, now)[0].status,
        milestones(state("shadow", 0.0), None, POLICY, now + timedelta(days=20))[0].status,
    ]

    assert statuses == ["done", "due", "due", "late"]


def test_month_2_says_which_phase_is_missing() -> None:
    """Good accuracy in foundation is not enough, and the detail says so."""
    detail = [
        milestones(state(phase, 0.0), evidence(accuracy=0.56), POLICY, EARLIER)[0].detail
        for phase in ("foundation", "shadow")
    ]

    assert detail == [
        "phase foundation (target shadow), accuracy 56.0% (target 55.0%)",
        "phase shadow, accuracy 56.0% (target 55.0%)",
    ]


@pytest.mark.parametrize(
    ("figures", "weight", "status"),
    [
        pytest.param({}, 0.30, "done", id="all met, the weight exactly"),
        pytest.param({}, 0.29, "due", id="weight"),
        pytest.param(
            {"improvement_blended": 0.10},
            0.30,
            "due",
            id="an improvement of exactly 10 % is not over",
        ),
        pytest.param({"blended__sharpe": 1.5}, 0.30, "due", id="Sharpe"),
        pytest.param({"blended__win_rate": 0.52}, 0.30, "due", id="win rate"),
        *(
            pytest.param({name: float("nan")}, 0.30, "due", id=f"NaN {name}")
            for name in ("improvement_blended", "blended__sharpe", "blended__win_rate")
        ),
    ],
)
def test_month_4_asks_for_all_of_it(figures: dict[str, float], weight: float, status: str) -> None:
    """Each bound for itself; NaN meets none and is called unknown."""
    good = {"blended__sharpe": 1.6, "blended__win_rate": 0.53, "improvement_blended": 0.11}
    item = milestones(
        state("expansion", weight),
        evidence(**good | figures),
        POLICY,
        EARLIER + timedelta(days=100),
    )[1]

    assert item.status == status
    assert ("unknown" in item.detail) == any(figure != figure for figure in figures.values())


@pytest.mark.parametrize(
    ("days", "statuses"),
    [
        pytest.param(0, ("ahead", "ahead", "ahead"), id="the first day"),
        pytest.param(30, ("due", "ahead", "ahead"), id="month 2 begins"),
        pytest.param(60, ("late", "ahead", "ahead"), id="month 2 is over"),
        pytest.param(90, ("late", "due", "ahead"), id="month 4 begins"),
        pytest.param(179, ("late", "late", "due"), id="the last day of month 6"),
        pytest.param(180, ("late", "late", "due"), id="50 % take 198 days"),
        pytest.param(198, ("late", "late", "late"), id="month 6 is over"),
    ],
)
def test_without_evidence_nothing_is_done(days: int, statuses: tuple[str, ...]) -> None:
    """Not even at the highest weight; each is due in its month of 30 days, and late after it."""
    items = milestones(state("optimization", 0.70), None, POLICY, EARLIER + timedelta(days=days))

    assert tuple(item.status for item in items) == statuses


def test_month_6_asks_for_all_of_it() -> None:
    """One figure short and it is not done; the detail gives each figure beside its target."""
    now = EARLIER + timedelta(days=170)
    good = {
        "blended__sharpe": 1.9,
        "blended__win_rate": 0.56,
        "improvement_blended": 0.25,
        "blended__profit_factor": 2.1,
    }
    met = milestones(state("optimization", 0.50), evidence(**good), POLICY, now)[2]
    short = milestones(
        state("optimization", 0.50), evidence(**good | {"blended__sharpe": 1.8}), POLICY, now
    )[2]

    assert (met.status, short.status) == ("done", "due")
    assert short.detail.startswith(
        "weight 50.0% (target 50.0%), improvement 25.0% (target 20.0%), Sharpe 1.80 (target 1.80)"
    )


@pytest.mark.parametrize(
    ("phase", "expected"),
    [
        ("foundation", None),
        ("shadow", None),
        ("pilot", (0.02, 0.05)),
        ("expansion", (0.05, 0.10)),
        ("optimization", (0.15, 0.25)),
    ],
)
def test_the_expected_improvement_is_that_of_the_phase(
    phase: Phase, expected: tuple[float, float] | None
) -> None:
    """Before pilot none is expected."""
    assert expected_improvement(phase, ROLLOUT) == expected


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ({"expected_pilot": (0.05, 0.02)}, "expected_pilot must rise"),
        ({"month_6_sharpe": -1.0}, "greater than or equal to 0"),
        ({"optimization_month": 0}, "greater than or equal to 1"),
    ],
    ids=["a range turned round", "a negative Sharpe", "month 0"],
)
def test_a_plan_out_of_bounds_is_refused(change: dict[str, object], detail: str) -> None:
    """With the key and the bound."""
    with pytest.raises(ValidationError, match=detail):
        RolloutPolicy.model_validate(change)


def test_the_fastest_course_takes_every_gate_and_step_at_its_moment() -> None:
    """Gates every 14 days, steps every 30, counted from 2000-01-01; expansion waits for 40 %."""
    course = fastest_course(EARLIER, POLICY)

    assert {phase: f"{moment:%Y-%m-%d}" for phase, moment in course.entered.items()} == {
        "foundation": "2025-01-01",
        "shadow": "2025-01-11",
        "pilot": "2025-01-25",
        "expansion": "2025-02-08",
        "optimization": "2025-05-31",
    }
    assert course.reaches(0.50) == EARLIER + timedelta(days=198)
    assert course.reaches(0.71) is None


def test_the_fastest_course_is_the_simulated_life_of_a_perfect_model() -> None:
    """Compiled lives with a model that is never wrong get nowhere sooner."""
    design, perfect = Design(1, 12, 300), Scenario("perfect", 0.9)
    [paths] = run_lives(perfect, design, [compile_bounds(POLICY, 70.0)], 0.005)
    weights = paths.weights[0]
    course = fastest_course(ANCHOR - timedelta(days=1), POLICY)  # such a life begins in shadow

    for level in (0.10, 0.20, 0.40, 0.50, 0.70):
        reached = course.reaches(level)
        assert reached is not None
        assert int((weights >= level - 1e-9).argmax()) >= (reached - ANCHOR).days
