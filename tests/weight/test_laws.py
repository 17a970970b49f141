"""Laws of the weight: whatever the evidence, the schedule and the operator bring (SPEC §5, §6)."""

from datetime import datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from factories.evidence import NOW, POLICY, evidence, state
from steelyard.evaluation.evidence import Evidence
from steelyard.evaluation.skill import Origin
from steelyard.market.overlap import SignalCount
from steelyard.weight.case import Case
from steelyard.weight.decision import Decision
from steelyard.weight.gates import GateInputs, review
from steelyard.weight.ladder import evaluate, period_end
from steelyard.weight.limits import Streaks, guard, measure_limits, streak_breaker
from steelyard.weight.policy import PHASES
from steelyard.weight.rollback import hold, resume, roll_back
from steelyard.weight.state import State
from steelyard.weight.transitions import install_champion

NAN, INFINITE = float("nan"), float("inf")
DAY = timedelta(days=1)
READY = GateInputs(
    settled_signals=SignalCount(1000, 1000), features_validated=True, has_champion=True
)

good_or_odd = st.sampled_from([0.9, 1.5, 3.0, -2.0, 0.0, NAN, INFINITE, -INFINITE])
figures = st.fixed_dictionaries(
    {
        "settled": st.sampled_from([0, 19, 20, 60, 200]),
        "accuracy": st.sampled_from([0.3, 0.449, 0.49, 0.52, 0.56, 0.7, 1.0, NAN]),
        "streak": st.sampled_from([0, 5, 10, 11]),
        "rate": st.sampled_from([0.5, 0.56, NAN]),
        "ml__sharpe": good_or_odd,
        "baseline__sharpe": good_or_odd,
        "blended__sharpe": good_or_odd,
        "ml__max_drawdown": st.sampled_from([0.0, 0.02, 0.1, NAN]),
        "baseline__max_drawdown": st.sampled_from([0.0, 0.02, 0.1, NAN]),
        "blended__max_drawdown": st.sampled_from([0.0, 0.02, 0.1, NAN]),
        "blended__mean_return": st.sampled_from([0.002, -0.1, NAN]),
        "blended__win_rate": st.sampled_from([0.6, 0.1, NAN]),
        "improvement_blended": st.sampled_from([0.5, 0.0, NAN, INFINITE]),
        "coverage": st.sampled_from([1.0, 0.5, NAN]),
        "fallback_rate": st.sampled_from([0.0, 0.5, NAN]),
        "latency_p99_ms": st.sampled_from([0.1, 80.0, NAN]),
    }
)
healthy = st.just(
    {"settled": 60, "accuracy": 0.7, "improvement_blended": 0.5, "blended__sharpe": 1.2}
)
stretches = st.lists(
    st.tuples(
        st.one_of(healthy, figures),
        st.integers(1, 40),
        st.sampled_from(["", "", "", "hold", "resume", "rollback", "train"]),
    ),
    min_size=1,
    max_size=14,
)


class Life:
    """A lineage under its schedules: guard, gates and evaluation, each run twice a day."""

    def __init__(self, first: State) -> None:
        self.state = first
        self.recorded: dict[str, Decision] = {}
        self.rises: list[tuple[str, datetime]] = []

    def decide(self, decision: Decision, month_evidence: Evidence) -> None:
        """Take effect once for each key, as the journal does, and hold every law."""
        if decision.key in self.recorded:
            return
        self.recorded[decision.key] = decision
        before, after = self.state.weight, decision.after.weight
        assert 0.0 <= after <= POLICY.ceiling <= 0.70
        assert after <= POLICY.band(decision.after.phase).ceiling
        if after > before:
            self._may_rise(decision, month_evidence)
        self.state = decision.after

    def _may_rise(self, decision: Decision, month_evidence: Evidence) -> None:
        assert decision.kind in ("weight", "gates")
        assert decision.verdict == "RAISE"
        assert not self.state.held
        if decision.kind == "gates":  # no gate undoes a cut
            assert decision.before.weight >= POLICY.band(decision.before.phase).floor
        limits = measure_limits(
            Case(self.state, month_evidence, POLICY, decision.as_of, decision.as_of)
        )
        assert not any(rule.fired for rule in limits.breakers)
        assert all(cut.status == "within" for cut in limits.cuts)
        assert all(rule.figure is not None for rule in decision.rules if rule.fired)
        assert (decision.kind, decision.period_end) not in self.rises
        self.rises.append((decision.kind, decision.period_end))

    def live(self, day: datetime, month_evidence: Evidence, operation: str) -> None:
        """What the schedules and the operator do on one day."""
        policy: Any = POLICY
        if operation == "rollback":
            self.decide(
                roll_back(self.state, "why", "who", policy, day, evidence=month_evidence),
                month_evidence,
            )
        elif operation in ("hold", "resume"):
            self.decide(
                {"hold": hold, "resume": resume}[operation](self.state, "why", "who", policy, day),
                month_evidence,
            )
        elif operation == "train":
            self.state = install_champion(self.state, "2", day, day, Origin(day))
        for _ in range(2):
            self.decide(guard(Case(self.state, month_evidence, policy, day, day)), month_evidence)
            month, fortnight = (
                period_end(day, policy.evaluation_days),
                period_end(day, policy.review_days),
            )
            self.decide(
                evaluate(Case(self.state, month_evidence, policy, month, day)), month_evidence
            )
            self.decide(
                review(Case(self.state, month_evidence, policy, fortnight, day), READY),
                month_evidence,
            )
        streaks = Streaks(month_evidence.losing_streak, 0, policy.limits.breaker_streak)
        tripped = streak_breaker(self.state, streaks, policy, day)
        if tripped is not None:
            self.decide(
                tripped.model_copy(update={"as_of": day + DAY / 2, "period_end": day + DAY / 2}),
                month_evidence,
            )


@settings(max_examples=60)
@given(stretches=stretches, phase=st.sampled_from(PHASES))
def test_no_life_breaks_a_law(
    stretches: list[tuple[dict[str, float], int, str]], phase: str
) -> None:
    """The weight keeps to its band; it rises once a period, on no breached limit and on no NaN."""
    life = Life(state(phase, POLICY.band(phase).floor, champion="1"))  # type: ignore[arg-type]
    day = NOW
    for month_figures, days, operation in stretches:
        month_evidence = evidence(**month_figures)
        for number in range(days):
            life.live(day, month_evidence, operation if number == 0 else "")
            day += DAY


def test_a_healthy_life_reaches_the_ceiling() -> None:
    """The laws are not kept by never rising: two good years end at 70 %."""
    life, month_evidence = (
        Life(state("shadow", 0.0, champion="1")),
        evidence(accuracy=0.7, improvement_blended=0.5, blended__sharpe=1.2),
    )
    for number in range(730):
        life.live(NOW + number * DAY, month_evidence, "")

    assert life.state.weight == 0.70
    assert life.state.phase == "optimization"
