"""The monthly evaluation, walked along its edges."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factories.evidence import NOW, POLICY, evidence, state
from steelyard.weight.case import Case
from steelyard.weight.ladder import evaluate, period_end

NAN = float("nan")


@pytest.mark.parametrize(
    ("figures", "verdict", "weight"),
    [
        pytest.param({}, "RAISE", 0.20, id="healthy month steps up"),
        pytest.param(
            {"accuracy": 0.55}, "HOLD", 0.15, id="accuracy exactly at the bound does not step up"
        ),
        pytest.param({"ml__sharpe": 1.0}, "HOLD", 0.15, id="equal Sharpe does not step up"),
        pytest.param(
            {"ml__sharpe": 0.90}, "HOLD", 0.15, id="10 % under the baseline exactly holds"
        ),
        pytest.param({"ml__sharpe": 0.89}, "CUT", 0.10, id="more than 10 % under steps down"),
        pytest.param({"ml__sharpe": 0.80}, "CUT", 0.10, id="20 % under exactly still steps down"),
        pytest.param(
            {"ml__sharpe": 0.79}, "CUT", 0.105, id="more than 20 % under multiplies by 0.7"
        ),
        pytest.param({"accuracy": 0.50}, "HOLD", 0.15, id="accuracy of exactly 50 % holds"),
        pytest.param({"accuracy": 0.499}, "CUT", 0.075, id="accuracy under 50 % halves"),
        pytest.param({"accuracy": 0.45}, "CUT", 0.075, id="accuracy of exactly 45 % is no breaker"),
        pytest.param({"accuracy": 0.449}, "DISABLE", 0.0, id="accuracy under 45 % disables"),
        pytest.param({"streak": 10}, "RAISE", 0.20, id="ten losses are allowed"),
        pytest.param({"streak": 11}, "DISABLE", 0.0, id="eleven losses disable"),
        pytest.param(
            {"ml__max_drawdown": 0.03},
            "RAISE",
            0.20,
            id="drawdown at 1.5 times the baseline's is allowed",
        ),
        pytest.param(
            {"ml__max_drawdown": 0.031}, "CUT", 0.075, id="drawdown over 1.5 times halves"
        ),
        pytest.param(
            {"accuracy": 0.49, "ml__max_drawdown": 0.05, "ml__sharpe": 0.5},
            "CUT",
            0.02625,
            id="all cuts multiply",
        ),
        pytest.param(
            {"baseline__sharpe": -1.0, "ml__sharpe": -1.05},
            "HOLD",
            0.15,
            id="negative Sharpe: 5 % under holds",
        ),
        pytest.param(
            {"baseline__sharpe": -1.0, "ml__sharpe": -1.15},
            "CUT",
            0.10,
            id="negative Sharpe: 15 % under",
        ),
        pytest.param(
            {"baseline__sharpe": -1.0, "ml__sharpe": -1.21},
            "CUT",
            0.105,
            id="negative Sharpe: 21 % under",
        ),
        pytest.param(
            {"baseline__sharpe": -1.0, "ml__sharpe": -0.9},
            "RAISE",
            0.20,
            id="negative Sharpe, but better",
        ),
        pytest.param({"accuracy": NAN}, "DISABLE", 0.0, id="NaN accuracy disables"),
        pytest.param({"ml__sharpe": NAN}, "CUT", 0.105, id="NaN Sharpe cuts"),
        pytest.param({"baseline__sharpe": NAN}, "CUT", 0.105, id="NaN baseline Sharpe cuts"),
        pytest.param({"ml__max_drawdown": NAN}, "CUT", 0.075, id="NaN drawdown cuts"),
        pytest.param({"settled": 0, "accuracy": NAN}, "HOLD", 0.15, id="an empty window holds"),
        pytest.param(
            {"settled": 19, "accuracy": 0.30}, "HOLD", 0.15, id="19 settled are no evidence"
        ),
        pytest.param(
            {"settled": 19, "streak": 11}, "DISABLE", 0.0, id="the streak needs no minimum"
        ),
        pytest.param(
            {"settled": 20, "accuracy": 0.30}, "DISABLE", 0.0, id="20 settled are evidence"
        ),
    ],
)
def test_an_evaluation_follows_the_ladder(
    figures: dict[str, float],
    verdict: str,
    weight: float,
) -> None:
    """From 15 % in pilot, each month leads to the verdict and weight of SPEC §6, to the digit."""
    decision = evaluate(Case(state(weight=0.15), evidence(**figures), POLICY, NOW, NOW))

    assert (decision.verdict, decision.after.weight) == (verdict, weight)
    assert decision.reasons
    assert decision.rules


@pytest.mark.parametrize(
    ("phase", "weight", "figures", "after", "phase_after"),
    [
        pytest.param("pilot", 0.20, {}, 0.20, "pilot", id="the band caps a step up"),
        pytest.param(
            "expansion",
            0.20,
            {"ml__sharpe": 0.85},
            0.15,
            "pilot",
            id="a step under the floor demotes",
        ),
        pytest.param(
            "expansion", 0.40, {"accuracy": 0.49}, 0.20, "expansion", id="a cut to the floor stays"
        ),
        pytest.param(
            "expansion", 0.30, {"accuracy": 0.49}, 0.15, "pilot", id="a cut under the floor demotes"
        ),
        pytest.param(
            "optimization",
            0.40,
            {"accuracy": 0.49},
            0.20,
            "expansion",
            id="demoted to the band that holds it",
        ),
        pytest.param("optimization", 0.70, {}, 0.70, "optimization", id="70 % is the end"),
        pytest.param(
            "pilot", 0.10, {"accuracy": 0.49}, 0.05, "pilot", id="under 10 % is still pilot"
        ),
        pytest.param(
            "pilot", 0.05, {"ml__sharpe": 0.85}, 0.0, "shadow", id="nothing left is shadow"
        ),
        pytest.param(
            "pilot",
            0.012,
            {"accuracy": 0.49},
            0.0,
            "shadow",
            id="a weight too small to matter is 0",
        ),
        pytest.param("shadow", 0.0, {}, 0.0, "shadow", id="shadow earns its weight at the gate"),
        pytest.param(
            "shadow", 0.0, {"accuracy": 0.49}, 0.0, "shadow", id="shadow has nothing to cut"
        ),
    ],
)
def test_the_weight_stays_in_its_band_and_a_cut_demotes(
    phase: str,
    weight: float,
    figures: dict[str, float],
    after: float,
    phase_after: str,
) -> None:
    """The band caps the weight, below its floor the phase falls; base + bonus is the weight."""
    decided = evaluate(Case(state(phase, weight), evidence(**figures), POLICY, NOW, NOW)).after

    assert (decided.weight, decided.phase) == (after, phase_after)
    assert decided.base + decided.bonus == pytest.approx(decided.weight, abs=1e-12)


def test_insufficient_evidence_says_how_much_is_missing() -> None:
    """A window of 13 settled predictions holds and asks for 7 more."""
    decision = evaluate(Case(state(), evidence(settled=13), POLICY, NOW, NOW))

    assert decision.reasons == ("insufficient evidence: 7 more settled predictions needed",)


def test_a_disabled_lineage_must_retrain_and_starts_its_evidence_afresh() -> None:
    """A breaker requires a retraining and does not fire again on the same model."""
    bad = evidence(accuracy=0.40)
    after = evaluate(Case(state(), bad, POLICY, NOW, NOW)).after
    again = evaluate(Case(after, bad, POLICY, NOW + timedelta(days=30), NOW + timedelta(days=30)))

    assert (after.phase, after.retrain_required, after.evidence_since) == ("shadow", True, NOW)
    assert again.verdict == "HOLD"


def test_a_held_weight_does_not_rise_but_still_falls() -> None:
    """An operator's hold stops steps up, never cuts."""
    held = state(weight=0.15, held=True)

    assert evaluate(Case(held, evidence(), POLICY, NOW, NOW)).after.weight == 0.15
    assert evaluate(Case(held, evidence(accuracy=0.49), POLICY, NOW, NOW)).after.weight == 0.075


def test_a_latched_cut_neither_fires_again_nor_lets_the_weight_rise() -> None:
    """A drawdown cut ten days ago does not cut again, and while it lasts there is no step up."""
    cut_before = state(weight=0.15, latches={"cut_drawdown": NOW - timedelta(days=10)})
    decision = evaluate(Case(cut_before, evidence(ml__max_drawdown=0.05), POLICY, NOW, NOW))

    assert (decision.verdict, decision.after.weight) == ("HOLD", 0.15)
    assert "cut_drawdown" in decision.reasons[0]


def test_an_evaluation_before_its_period_ended_is_refused() -> None:
    """A period that is not over cannot be decided about."""
    with pytest.raises(ValueError, match="before the end of the period"):
        evaluate(Case(state(), evidence(), POLICY, NOW, NOW - timedelta(days=1)))


@pytest.mark.parametrize("days", [14, 30])
@given(minutes=st.integers(0, 30 * 365 * 24 * 60))
def test_periods_tile_time(days: int, minutes: int) -> None:
    """Every moment lies less than one period after exactly one period end."""
    as_of = datetime(2000, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
    end = period_end(as_of, days)

    assert timedelta(0) <= as_of - end < timedelta(days=days)
    assert period_end(end, days) == end


any_figure = st.one_of(st.floats(-5, 5), st.just(NAN), st.just(float("inf")))
months = st.fixed_dictionaries(
    {
        "settled": st.integers(0, 200),
        "accuracy": st.one_of(st.floats(0, 1), st.just(NAN)),
        "streak": st.integers(0, 15),
        "ml__sharpe": any_figure,
        "baseline__sharpe": any_figure,
        "ml__max_drawdown": st.one_of(st.floats(0, 1), st.just(NAN)),
        "baseline__max_drawdown": st.one_of(st.floats(0, 1), st.just(NAN)),
    }
)


@settings(max_examples=100)
@given(
    life=st.lists(months, min_size=1, max_size=12),
    phase=st.sampled_from(["pilot", "expansion", "optimization"]),
)
def test_no_life_moves_the_weight_out_of_bounds_or_up_on_a_breach(
    life: list[dict[str, float]], phase: str
) -> None:
    """The weight stays in [0, 0.70] and rises by at most one step, only on good figures."""
    current = state(phase, POLICY.band(phase).floor)
    for number, figures in enumerate(life):
        at = NOW + timedelta(days=30 * number)
        decision = evaluate(Case(current, evidence(**figures), POLICY, at, at))
        rise = decision.after.weight - current.weight
        assert 0 <= decision.after.weight <= 0.70
        if rise > 0:
            assert rise <= 0.05 + 1e-9
            assert figures["accuracy"] > 0.55
            assert figures["ml__sharpe"] > figures["baseline__sharpe"]
            assert figures["streak"] <= 10
        current = decision.after
