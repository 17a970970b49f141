"""The rollout: what is done, due, late or ahead."""

from datetime import timedelta

import pytest

from made import EARLIER, POLICY, evidence, state
from steelyard.weight.rollout import checklist, expected_improvement, milestones

ROLLOUT = POLICY.rollout


def at(weeks: float) -> dict[str, str]:
    """Standing of each phase in a pilot, so many weeks after the lineage began."""
    items = checklist(state("pilot"), {}, ROLLOUT, EARLIER + timedelta(weeks=weeks))
    return {item.name: item.standing for item in items}


@pytest.mark.parametrize(
    ("weeks", "pilot", "expansion", "optimization"),
    [
        pytest.param(1, "ahead", "ahead", "ahead", id="earlier than planned"),
        pytest.param(5, "due", "ahead", "ahead", id="in its weeks"),
        pytest.param(6, "late", "due", "ahead", id="its weeks are over"),
        pytest.param(20, "late", "late", "late", id="all over"),
    ],
)
def test_a_phase_is_due_in_its_weeks_and_late_after_them(
    weeks: float, pilot: str, expansion: str, optimization: str
) -> None:
    """Two weeks for each; what was left upward is done."""
    found = at(weeks)

    assert (found["foundation"], found["shadow"]) == ("done", "done")
    assert (found["pilot"], found["expansion"], found["optimization"]) == (pilot, expansion, optimization)


def test_the_last_phase_is_done_when_it_is_reached() -> None:
    """There is nothing to leave it for."""
    found = checklist(state("optimization", 0.4), {}, ROLLOUT, EARLIER)

    assert {item.standing for item in found} == {"done"}


def test_month_2_asks_for_shadow_and_accuracy() -> None:
    """In foundation, or without evidence, it is not done."""
    now = EARLIER + timedelta(days=40)
    standings = [
        milestones(state("shadow", 0.0), evidence(accuracy=0.56), ROLLOUT, now)[0].standing,
        milestones(state("foundation", 0.0), evidence(accuracy=0.56), ROLLOUT, now)[0].standing,
        milestones(state("shadow", 0.0), evidence(accuracy=float("nan")), ROLLOUT, now)[0].standing,
        milestones(state("shadow", 0.0), None, ROLLOUT, now + timedelta(days=20))[0].standing,
    ]

    assert standings == ["done", "due", "due", "late"]


def test_month_6_asks_for_all_of_it() -> None:
    """One figure short and it is not done; the words give each figure beside its bound."""
    now = EARLIER + timedelta(days=170)
    good = {"blended__sharpe": 1.9, "blended__win_rate": 0.56, "improvement_blended": 0.25, "blended__profit_factor": 2.1}
    met = milestones(state("optimization", 0.50), evidence(**good), ROLLOUT, now)[2]
    short = milestones(state("optimization", 0.50), evidence(**good | {"blended__sharpe": 1.8}), ROLLOUT, now)[2]

    assert (met.standing, short.standing) == ("done", "due")
    assert short.words.startswith("weight 50.0% of 50.0%, improvement 25.0% of 20.0%, Sharpe 1.80 of 1.80")


def test_the_expected_improvement_is_that_of_the_phase() -> None:
    """Before pilot none is expected."""
    assert expected_improvement("pilot", ROLLOUT) == (0.02, 0.05)
    assert expected_improvement("shadow", ROLLOUT) is None
