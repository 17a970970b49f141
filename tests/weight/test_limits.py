"""The daily guard: what it cuts, what it latches, and what it lets go."""

from datetime import timedelta

import pytest

from factories.evidence import NOW, POLICY, evidence, state
from steelyard.weight.case import Case
from steelyard.weight.limits import guard
from steelyard.weight.rules import shortfall_bound
from steelyard.weight.state import State

DAY = timedelta(days=1)


def test_a_healthy_day_changes_nothing_but_the_moment() -> None:
    """Within all limits the guard holds and the state differs in ``as_of`` only."""
    before = state(weight=0.15)
    decision = guard(Case(before, evidence(), POLICY, NOW, NOW))

    assert decision.verdict == "HOLD"
    assert decision.after == before.model_copy(update={"as_of": NOW})


def test_the_guard_gives_no_rewards() -> None:
    """Figures that would earn a step up at the evaluation leave the weight alone."""
    assert (
        guard(
            Case(state(weight=0.10), evidence(accuracy=0.70, ml__sharpe=5.0), POLICY, NOW, NOW)
        ).after.weight
        == 0.10
    )


def test_sixty_days_of_one_breach_give_one_cut_per_latch() -> None:
    """A drawdown too deep for 60 days halves the weight on day 0 and when the latch expires."""
    current, cuts = state("expansion", 0.40), []
    breached = evidence(ml__max_drawdown=0.05)
    for day in range(60):
        decision = guard(Case(current, breached, POLICY, NOW + day * DAY, NOW + day * DAY))
        cuts += [day] if decision.verdict == "CUT" else []
        current = decision.after

    assert cuts == [0, 30]
    assert current.weight == pytest.approx(0.10)


def test_a_latch_is_released_when_its_condition_clears_and_the_next_breach_cuts_again() -> None:
    """Ten clear days in a row release it; a day's recovery, or ten with a relapse, do not."""
    current, deep = state("expansion", 0.40), {"ml__max_drawdown": 0.05}
    course = []
    for day, figures in enumerate([deep, {}, deep, *[{}] * 11, deep]):
        now = NOW + day * DAY
        decision = guard(Case(current, evidence(**figures), POLICY, now, now))
        current = decision.after
        course.append((decision.verdict, current.weight, sorted(current.latches)))

    assert course[0] == ("CUT", 0.20, ["cut_drawdown"])
    assert course[1:13] == [("HOLD", 0.20, ["cut_drawdown"])] * 12
    assert course[13:] == [("HOLD", 0.20, []), ("CUT", 0.10, ["cut_drawdown"])]
    assert current.cut_at == NOW + 14 * DAY


def test_too_little_evidence_releases_no_latch() -> None:
    """With 5 settled predictions nobody knows whether the condition cleared, so the latch stays."""
    latched = state(weight=0.15, latches={"cut_drawdown": NOW})

    assert (
        guard(Case(latched, evidence(settled=5), POLICY, NOW + DAY, NOW + DAY)).after.latches
        == latched.latches
    )


def test_one_limit_latched_does_not_shield_from_another() -> None:
    """While the drawdown is latched, an accuracy under 50 % still halves the weight and latches."""
    latched = state("expansion", 0.40, latches={"cut_drawdown": NOW})
    after = guard(
        Case(latched, evidence(ml__max_drawdown=0.05, accuracy=0.49), POLICY, NOW + DAY, NOW + DAY)
    ).after

    assert after.weight == 0.20
    assert after.latches == {"cut_drawdown": NOW, "cut_accuracy": NOW + DAY}


@pytest.mark.parametrize(
    ("before", "figures", "verdict"),
    [
        pytest.param(
            state(weight=0.15),
            {"streak": 11, "settled": 3},
            "DISABLE",
            id="streak, hardly any evidence",
        ),
        pytest.param(
            state("shadow", 0.0),
            {"accuracy": 0.40},
            "DISABLE",
            id="a bad model in shadow must retrain too",
        ),
        pytest.param(
            state("shadow", 0.0, retrain_required=True),
            {"accuracy": 0.40},
            "HOLD",
            id="already disabled",
        ),
        pytest.param(
            state("foundation", 0.0), {"streak": 99}, "HOLD", id="nothing to disable before shadow"
        ),
    ],
)
def test_a_breaker_fires_once_and_only_where_there_is_a_model(
    before: State, figures: dict[str, float], verdict: str
) -> None:
    """A breaker leads to weight 0 in shadow, unless the lineage is disabled or has no model yet."""
    decision = guard(Case(before, evidence(**figures), POLICY, NOW, NOW))

    assert decision.verdict == verdict
    if verdict == "DISABLE":
        assert (decision.after.weight, decision.after.phase, decision.after.retrain_required) == (
            0.0,
            "shadow",
            True,
        )


@pytest.mark.parametrize(("baseline", "bound"), [(1.0, 0.8), (0.0, 0.0), (-1.0, -1.2)])
def test_a_shortfall_lies_under_the_baseline_whatever_its_sign(
    baseline: float, bound: float
) -> None:
    """20 % under −1 is −1.2, not −0.8."""
    assert shortfall_bound(baseline, 0.2) == pytest.approx(bound)
