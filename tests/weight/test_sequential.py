"""Lifetime evidence: what it grants and confirms, and that in ladder mode it decides nothing."""

from dataclasses import replace
from datetime import timedelta

import pytest

from factories.evidence import NOW, POLICY, state
from factories.evidence import evidence as month
from steelyard.evaluation.evidence import Evidence
from steelyard.evaluation.skill import Origin, Skill
from steelyard.market.overlap import SignalCount
from steelyard.monitoring.false_alarms import false_alarms
from steelyard.weight.case import Case
from steelyard.weight.decision import Decision
from steelyard.weight.gates import GateInputs, review
from steelyard.weight.ladder import evaluate
from steelyard.weight.limits import guard, measure_limits, warnings
from steelyard.weight.policy import SequentialPolicy, WeightPolicy
from steelyard.weight.sequential import proof
from steelyard.weight.transitions import install_champion

BINDING = WeightPolicy(evidence="sequential")
READY = GateInputs(SignalCount(1000, 1000), features_validated=True, has_champion=True, pivotal=5)
NAN = float("nan")
DAY = timedelta(days=1)


def evidence(
    skill: float = 200.0, decay: float = 1.0, life: dict[str, float] | None = None, **figures: float
) -> Evidence:
    """A healthy month within a life of so much evidence."""
    grown = Skill(400, skill, decay, 0.01, 0.56, 0.51, 0.10, 0.02)
    return replace(month(**figures), lifetime=replace(grown, **(life or {})))


def rule(decision: Decision, name: str):  # type: ignore[no-untyped-def]
    return next(rule for rule in decision.rules if rule.name == name)


@pytest.mark.parametrize(
    ("figures", "verdict", "weight"),
    [
        pytest.param({}, "RAISE", 0.20, id="a good month and evidence"),
        pytest.param({"skill": 20.0}, "RAISE", 0.20, id="evidence exactly at the bound"),
        pytest.param({"skill": 19.9}, "HOLD", 0.15, id="a good month without evidence"),
        pytest.param({"skill": NAN}, "HOLD", 0.15, id="evidence nobody knows"),
        pytest.param({"accuracy": 0.53}, "RAISE", 0.20, id="a dull month in a good life"),
        pytest.param(
            {"accuracy": 0.53, "life": {"accuracy": 0.50}},
            "HOLD",
            0.15,
            id="a dull month in a dull life",
        ),
        pytest.param(
            {"accuracy": 0.53, "life": {"ml_return": 0.01}},
            "HOLD",
            0.15,
            id="a life that earned less",
        ),
        pytest.param({"decay": 6.0}, "HOLD", 0.15, id="a good month, but the claims decay"),
        pytest.param(
            {"accuracy": 0.49}, "HOLD", 0.15, id="a bad month the evidence does not confirm"
        ),
        pytest.param(
            {"accuracy": 0.49, "decay": 6.0}, "CUT", 0.075, id="a bad month the evidence confirms"
        ),
        pytest.param({"accuracy": 0.49, "decay": NAN}, "DISABLE", 0.0, id="decay nobody knows"),
        pytest.param(
            {"accuracy": 0.44, "decay": 6.0},
            "CUT",
            0.075,
            id="a breaker the evidence does not confirm yet",
        ),
        pytest.param(
            {"accuracy": 0.44, "decay": 30.0}, "DISABLE", 0.0, id="a breaker the evidence confirms"
        ),
        pytest.param({"decay": 30.0}, "CUT", 0.075, id="decay cuts by itself"),
        pytest.param({"decay": 150.0}, "DISABLE", 0.0, id="and disables by itself"),
        pytest.param({"streak": 11}, "DISABLE", 0.0, id="a streak needs nobody's word"),
        pytest.param(
            {"streak": 11, "life": {"ml_trades": 300, "days": 100.0}},
            "RAISE",
            0.20,
            id="a streak that chance explains at this pace",
        ),
        pytest.param({"losing_days": 11}, "DISABLE", 0.0, id="eleven losing days"),
        pytest.param(
            {"ml__max_drawdown": 0.031}, "HOLD", 0.15, id="a breach that nothing confirms"
        ),
        pytest.param(
            {"life": {"ml_return": -0.001, "baseline_return": -0.1}},
            "HOLD",
            0.15,
            id="a life that lost money, if less than the baseline",
        ),
        pytest.param(
            {"accuracy": NAN}, "DISABLE", 0.0, id="accuracy nobody knows needs no confirmation"
        ),
        pytest.param({"ml__sharpe": NAN}, "CUT", 0.105, id="nor does a Sharpe nobody knows"),
        pytest.param(
            {"ml__sharpe": 0.85, "skill": 5.0}, "HOLD", 0.15, id="a step down that is not confirmed"
        ),
        pytest.param(
            {"ml__sharpe": 0.85, "skill": 5.0, "decay": 6.0},
            "CUT",
            0.10,
            id="a step down that is confirmed",
        ),
    ],
)
def test_evidence_over_the_life_decides_where_it_binds(
    figures: dict[str, float], verdict: str, weight: float
) -> None:
    """From 15 % in pilot, sequential mode."""
    decision = evaluate(Case(state(weight=0.15), evidence(**figures), BINDING, NOW, NOW))

    assert (decision.verdict, decision.after.weight) == (verdict, weight)


def test_without_lifetime_evidence_every_breach_takes_effect_and_nothing_is_granted() -> None:
    """A breach still cuts, and no month is good enough."""
    assert (
        evaluate(Case(state(weight=0.15), month(accuracy=0.49), BINDING, NOW, NOW)).after.weight
        == 0.075
    )
    assert evaluate(Case(state(weight=0.15), month(), BINDING, NOW, NOW)).verdict == "HOLD"


def test_luck_that_outlasts_the_bets_is_said_beside_the_evidence() -> None:
    """Whether or not the evidence suffices; the bet's length is what to change."""
    for skill in (500.0, 2.0):
        lasting = evidence(skill, life={"luck_outlasts_bets": True})
        reason = proof(Case(state(), lasting, BINDING, NOW, NOW)).reason

        assert "luck lasts longer than a bet of 2 days" in reason
        assert "raise sequential.bets.days" in reason


def test_a_hold_says_how_many_more_signals_a_rise_would_take() -> None:
    """ln(20/10)/0.01 per signal: 70 more."""
    held = evaluate(Case(state(weight=0.15), evidence(skill=10.0), BINDING, NOW, NOW))

    assert "70 more settled signals" in held.reasons[0]


@pytest.mark.parametrize(
    ("figures", "before", "binds"),
    [
        pytest.param({}, {"weight": 0.10}, "ladder", id="one step at a time"),
        pytest.param({}, {"weight": 0.20}, "phase", id="the band ends"),
        pytest.param({"skill": 5.0}, {"weight": 0.10}, "evidence", id="not proven"),
        pytest.param({}, {"weight": 0.10, "held": True}, "guard", id="an operator holds it"),
    ],
)
def test_the_record_says_which_ceiling_binds(
    figures: dict[str, float], before: dict[str, float], binds: str
) -> None:
    """The lowest of phase, ladder, evidence and guard."""
    decision = evaluate(Case(state(**before), evidence(**figures), BINDING, NOW, NOW))

    assert rule(decision, "bound_by").reason.endswith(f"{binds} binds")
    assert rule(decision, "bound_by").figure == decision.after.weight


def test_in_ladder_mode_the_evidence_is_recorded_and_decides_nothing() -> None:
    """The weight is the same as without it; figures and doubt are in the record."""
    for figures in ({}, {"accuracy": 0.49}, {"accuracy": 0.44}, {"ml__sharpe": 0.85}):
        with_it = evaluate(
            Case(state(weight=0.15), evidence(2.0, 500.0, **figures), POLICY, NOW, NOW)
        )
        without = evaluate(Case(state(weight=0.15), month(**figures), POLICY, NOW, NOW))
        assert (with_it.after, with_it.verdict) == (without.after, without.verdict)
        assert with_it.evidence["life_skill"] == 2.0
        assert not rule(with_it, "breaker_decay").fired

    assert (
        "would not have stood"
        in evaluate(Case(state(weight=0.15), evidence(2.0), POLICY, NOW, NOW)).reasons[0]
    )
    assert (
        "would not have stood"
        not in evaluate(Case(state(weight=0.15), evidence(200.0), POLICY, NOW, NOW)).reasons[0]
    )


def test_a_decay_cut_latches_like_any_other() -> None:
    """Sixty days over the bound halve the weight twice; the latch goes once the claims hold."""
    current, cuts = state("expansion", 0.40), []
    for day in range(60):
        decision = guard(
            Case(
                current,
                evidence(decay=30.0),
                BINDING,
                NOW + timedelta(days=day),
                NOW + timedelta(days=day),
            )
        )
        cuts += [day] if decision.verdict == "CUT" else []
        current = decision.after

    assert cuts == [0, 30]
    assert (
        guard(
            Case(current, evidence(), BINDING, NOW + timedelta(days=60), NOW + timedelta(days=60))
        ).after.latches
        == {}
    )


def test_a_lineage_that_waits_for_its_retraining_is_not_disabled_again() -> None:
    """Decay of a model that is disabled already fires nothing."""
    waiting = state("shadow", 0.0, retrain_required=True)
    limits = measure_limits(Case(waiting, evidence(decay=1000.0), BINDING, NOW, NOW))

    assert not any(breaker.fired for breaker in limits.breakers)


def test_gates_beyond_the_pilot_ask_for_evidence() -> None:
    """In ladder mode pilot opens with doubt, else only with evidence."""
    pilot = state("pilot", 0.10)
    doubtful, proven = (
        evidence(2.0, blended__win_rate=0.53),
        evidence(200.0, blended__win_rate=0.53),
    )

    assert (
        "would not have stood" in review(Case(pilot, doubtful, POLICY, NOW, NOW), READY).reasons[0]
    )
    assert review(Case(pilot, doubtful, BINDING, NOW, NOW), READY).verdict == "HOLD"
    assert review(Case(pilot, proven, BINDING, NOW, NOW), READY).after.phase == "expansion"


@pytest.mark.parametrize("bounds", [{"confirm": 40.0}, {"cut": 200.0}, {"rise": 3e3}], ids=str)
def test_bounds_that_contradict_each_other_are_refused(bounds: dict[str, float]) -> None:
    """Decay must rise from confirm over cut to disable; the cap may not be under rise."""
    with pytest.raises(ValueError, match=r"must rise|no weight could ever rise"):
        SequentialPolicy.model_validate(bounds)


def test_each_breaker_says_how_often_chance_fires_it() -> None:
    """Two by the ladder, also decay if evidence binds; at the pace of the books or 2,500 trades."""
    plain, bound = false_alarms(month(settled=50), POLICY), false_alarms(month(settled=50), BINDING)
    paced = false_alarms(month(settled=50, ml__trades_per_day=0.5), POLICY)

    assert plain["breaker_streak"] == (
        "a healthy 55% model has 11 losses in a row with probability 19.0% in 2,500 trades "
        "(if independent); breaker_streak 12 would fire in at most 5%"
    )
    assert "with probability 1.4% in 182 trades" in paced["breaker_streak"]
    assert "of windows of 50 signals" in plain["breaker_accuracy"]
    assert set(bound) - set(plain) == {"breaker_decay"}
    assert "30 months" in bound["breaker_accuracy"]


def test_what_hangs_together_breaks_more_often() -> None:
    """Symbols that win and lose together count as fewer signals; a limit that helps is named."""
    tied = evidence(life={"right_autocorrelation": 0.3, "win_autocorrelation": 0.3}, settled=50)
    alone = evidence(life={"right_autocorrelation": 0.04, "win_autocorrelation": -0.2}, settled=50)

    alarms = false_alarms(tied, POLICY)

    assert (
        "in 14.8% of windows of 50 signals (neighbours correlate by 0.30)"
        in alarms["breaker_accuracy"]
    )
    assert "96.6% in 2,500 trades (neighbours correlate by 0.30)" in alarms["breaker_streak"]
    assert alarms["breaker_streak"].endswith("; breaker_streak 19 would fire in at most 5%")
    assert (
        "19.0% in 2,500 trades; breaker_streak 12" in false_alarms(alone, POLICY)["breaker_streak"]
    )


def test_a_warning_shuts_the_gate_and_says_what_would_confirm_it() -> None:
    """A drawdown over its limit that decay does not confirm cuts nothing and lets nothing rise."""
    case = Case(state(weight=0.10), evidence(ml__max_drawdown=0.031), BINDING, NOW, NOW)
    decision = review(case, READY)
    [warning] = warnings(measure_limits(case), BINDING).values()

    assert guard(case).verdict == "HOLD"
    assert decision.verdict == "HOLD"
    assert warning in decision.reasons[0]
    assert (
        "takes effect when the evidence that the claims no longer hold reaches 6 months" in warning
    )


def test_a_streak_keeps_the_evidence_of_skill_and_other_breakers_end_it() -> None:
    """What is requalified from after a streak is what was gathered (SPEC §6)."""
    before = state(weight=0.15, champion="1")
    by_streak = guard(Case(before, evidence(streak=11), BINDING, NOW, NOW)).after
    by_decay = guard(Case(before, evidence(decay=150.0), BINDING, NOW, NOW)).after
    fresh = Origin(NOW + DAY, 1.5, 3)

    assert (by_streak.skill_since, by_decay.skill_since) == (before.skill_since, NOW)
    assert install_champion(by_streak, "2", NOW + DAY, NOW + DAY, fresh).origin == before.origin
    assert install_champion(by_decay, "2", NOW + DAY, NOW + DAY, fresh).origin == fresh


def test_proven_skill_replaces_the_accuracy_of_shadow() -> None:
    """Between 2 and 20 the gate asks for 55 %; from 20 on accuracy above chance suffices."""
    shadow = state("shadow", 0.0)
    verdicts = [
        review(Case(shadow, evidence(skill, accuracy=accuracy), BINDING, NOW, NOW), READY).verdict
        for skill, accuracy in ((1.9, 0.58), (2.0, 0.58), (19.0, 0.54), (20.0, 0.54), (20.0, 0.51))
    ]

    assert verdicts == ["HOLD", "RAISE", "HOLD", "RAISE", "HOLD"]


@pytest.mark.parametrize(
    ("pivotal", "weight", "verdict"),
    [(5, 0.10, "RAISE"), (4, 0.10, "HOLD"), (5, 0.09, "HOLD")],
)
def test_a_pilot_that_changed_nothing_or_was_cut_stays(
    pivotal: int, weight: float, verdict: str
) -> None:
    """Five pivotal decisions at the next floor, and a weight that is at least at its own."""
    ready = replace(READY, pivotal=pivotal)

    assert (
        review(Case(state(weight=weight), evidence(), BINDING, NOW, NOW), ready).verdict == verdict
    )


def test_a_gate_counts_from_the_last_cut() -> None:
    """Thirteen days after a cut the pilot's fortnight is not over, however old the pilot is."""
    reasons = [
        review(Case(state(cut_at=NOW - days * DAY), evidence(), BINDING, NOW, NOW), READY).reasons[
            0
        ]
        for days in (13, 14)
    ]

    assert reasons[0] == "1 more days in pilot since the last cut needed"
    assert reasons[1].startswith("pilot → expansion")
