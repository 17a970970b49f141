"""The compiled lives are the policy: step for step what guard, evaluation and gates decide."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from factories.settled import UNLIMITED, settled
from steelyard.evaluation.books import SizingPolicy
from steelyard.evaluation.evidence import (
    Evidence,
    WindowPolicy,
    current_losing_days,
    current_losing_streak,
    gather_evidence,
)
from steelyard.evaluation.positions import take_positions
from steelyard.evaluation.skill import BetPolicy, Origin, Skill, measure_skill
from steelyard.market.overlap import SignalCount
from steelyard.simulation.bounds import MAX_ARM_SIGNALS, compile_bounds
from steelyard.simulation.characteristics import Design, Scenario, simulate_signals
from steelyard.simulation.lives import Beginning, Signals, live
from steelyard.weight.case import Case
from steelyard.weight.gates import GateInputs, review
from steelyard.weight.ladder import ANCHOR, evaluate
from steelyard.weight.limits import Streaks, guard, streak_breaker
from steelyard.weight.policy import PHASES, SequentialPolicy, WeightPolicy
from steelyard.weight.rules import is_pivotal
from steelyard.weight.sequential import allowed_streak
from steelyard.weight.state import State
from steelyard.weight.transitions import install_champion

SIZING = SizingPolicy()
DAY = timedelta(days=1)
BEGAN = ANCHOR + 9450 * DAY  # a day on which periods of 14 and of 30 days both end
READY = GateInputs(
    settled_signals=SignalCount(1000, 1000), features_validated=True, has_champion=True
)


def frame_of(signals: Signals) -> pd.DataFrame:
    """The signals as the ledger would give them, the blend left to be filled in."""
    count = np.arange(len(signals.day))
    day = BEGAN + pd.to_timedelta(signals.day - 1, unit="D")
    within = pd.to_timedelta(count - signals.starts[signals.day], unit="min")
    return settled(
        len(count),
        symbol=[f"S{number}" for number in count],  # of lives without symbols, every signal fits
        decided_at=(day + within).astype("datetime64[ns, UTC]"),
        settled_at=(day + pd.Timedelta("12h") + within).astype("datetime64[ns, UTC]"),
        p_win=signals.p_win,
        confidence_existing=signals.existing,
        confidence_ml=signals.ml,
        blended=signals.existing,
        decision=signals.existing > SIZING.threshold,
        net_return=signals.returns
        * 4,  # a stop 2 % away and 0.5 % of risk make a position of a quarter
        won=pd.array(signals.won, dtype="boolean"),
        arm="all",
    )


SETTLED = list(settled(0).columns)
BLENDED = ["blended", "decision", "arm"] + [
    f"{book}_{what}" for book in ("blended", "decision") for what in ("wanted", "taken", "return")
]
"""Columns that depend on the weight."""


class ReadableLife:
    """A life under guard, evaluation and gates as they are called in production."""

    def __init__(self, signals: Signals, policy: WeightPolicy) -> None:
        self.signals, self.policy = signals, policy
        self.frame = take_positions(frame_of(signals), SIZING, UNLIMITED)
        self.state = State(
            lineage="l", phase="shadow", champion="1", began=BEGAN, as_of=BEGAN, phase_since=BEGAN,
            evidence_since=BEGAN, lease_until=BEGAN, hold_days=1,
        )  # fmt: skip

    def live(self, number: int) -> bool:
        """Live one day; returns whether a breaker fired."""
        day, disabled = BEGAN + number * DAY, False
        disabled |= self._settle(number)
        if self.state.retrain_required and number % 7 == 0 and day > self.state.evidence_since:
            self.state = install_champion(self.state, "2", day, day, Origin(day, 1.0, 1))
        disabled |= self._decide(
            guard(Case(self.state, self._month(number), self.policy, day, day))
        )
        if number % self.policy.evaluation_days == 0:
            disabled |= self._decide(
                evaluate(Case(self.state, self._month(number), self.policy, day, day))
            )
        if number % self.policy.review_days == 0:
            self._decide(
                review(
                    Case(self.state, self._phase(number), self.policy, day, day),
                    replace(READY, pivotal=self._pivotal(number)),
                )
            )
        return disabled

    def _decide(self, decision) -> bool:  # type: ignore[no-untyped-def]
        self.state = decision.after
        return decision.verdict == "DISABLE"

    def _settle(self, number: int) -> bool:
        rows = slice(self.signals.starts[number], self.signals.starts[number + 1])
        if self.state.weight:
            self._blend(rows)
        ends = [row + 1 for row in self._find_losses(rows)]
        return any(self._trips(end, number) for end in [*ends, rows.stop])

    def _blend(self, rows: slice) -> None:
        weight, pilot, treated = (
            self.state.weight,
            self.state.phase == "pilot",
            self.signals.treated[rows],
        )
        blended = (1 - weight) * self.signals.existing[rows] + weight * self.signals.ml[rows]
        decision = (
            np.where(pilot & ~treated, self.signals.existing[rows], blended) > SIZING.threshold
        )
        arm = np.where(treated, "treatment", "control") if pilot else np.full(len(treated), "all")
        changed = self.frame[rows][SETTLED].assign(blended=blended, decision=decision, arm=arm)
        held = take_positions(changed, SIZING, UNLIMITED)  # without limits, each row by itself
        self.frame.loc[held.index, BLENDED] = held[BLENDED]

    def _find_losses(self, rows: slice) -> list[int]:
        """Rows that lengthen a losing streak."""
        lost = ~self.signals.won[rows] & (self.signals.ml[rows] > SIZING.threshold)
        return list(rows.start + np.flatnonzero(lost))

    def _trips(self, last: int, number: int) -> bool:
        """Whether the streaks among the rows before ``last`` disable the model."""
        end = BEGAN + number * DAY
        since = self.signals.starts[(self.state.evidence_since - BEGAN).days + 1]
        recent = self.frame[since:last]
        losses, most = current_losing_streak(recent), self.policy.limits.breaker_streak
        if losses > most:  # as the trading process does: only then is the life read
            most = allowed_streak(self._life(self.frame[:last], end), self.policy)
        over = last == self.signals.starts[number + 1]
        days = current_losing_days(recent, end) if over else 0
        streaks = Streaks(losses, days, most)
        tripped = streak_breaker(self.state, streaks, self.policy, end)
        return tripped is not None and self._decide(tripped)

    def _life(self, frame: pd.DataFrame, end) -> Skill:  # type: ignore[no-untyped-def]
        return measure_skill(frame, end, self.state.origin, self.policy.sequential.bets)

    def _month(self, number: int) -> Evidence:
        window = WindowPolicy(
            self.policy.window_days, self.policy.min_settled, self.policy.window_max_days
        )
        return self._evidence(number, self.state.evidence_since, window)

    def _phase(self, number: int) -> Evidence:
        needed = (
            self.policy.gates.shadow_settled
            if self.state.phase == "shadow"
            else self.policy.min_settled
        )
        since = self.state.judged_since
        return self._evidence(number, since, WindowPolicy(self.policy.window_days, needed))

    def _pivotal(self, number: int) -> int:
        since = self.signals.starts[(self.state.judged_since - BEGAN).days + 1]
        rows = slice(since, self.signals.starts[number + 1])
        existing, ml = self.signals.existing[rows], self.signals.ml[rows]
        return int(is_pivotal(existing, ml, 0.20, SIZING.threshold).sum())

    def _evidence(self, number: int, since, window: WindowPolicy) -> Evidence:  # type: ignore[no-untyped-def]
        settled_frame, end = self.frame[: self.signals.starts[number + 1]], BEGAN + number * DAY
        life = self._life(settled_frame, end)
        return replace(gather_evidence(settled_frame, end, since, window), lifetime=life)


@pytest.mark.parametrize("mode", ["ladder", "sequential"])
@pytest.mark.parametrize(
    ("scenario", "signals", "dependence"),
    [
        pytest.param(Scenario("bold", 0.68), 60, 0.0, id="strong"),
        pytest.param(Scenario("fair", 0.60), 25, 0.5, id="sparse"),
        pytest.param(Scenario("turns", 0.70, 1.0, -1.0), 60, 0.3, id="inverts"),
        pytest.param(Scenario("none", 0.55, 0.0), 90, 0.0, id="no skill"),
    ],
)
def test_a_compiled_life_is_the_policy_step_for_step(
    scenario: Scenario, signals: int, dependence: float, mode: str
) -> None:
    """Weight, phase and breakers agree on every day of lives that rise, fall and come back."""
    bets = BetPolicy(days=3 if scenario.changes else 1)
    policy = WeightPolicy(evidence=mode, sequential=SequentialPolicy(bets=bets))  # type: ignore[arg-type]
    design = Design(2, 7, signals, dependence)
    simulated = simulate_signals(
        scenario, design, design.lives, np.random.default_rng(5), SIZING.risk_per_trade
    )
    for life in range(design.lives):
        rows = slice(simulated.first[life], simulated.first[life + 1])
        life_signals = Signals(
            simulated.starts[life], *(column[rows] for column in simulated.signals[1:])
        )
        weights, phases, breakers = (
            np.zeros(design.days + 1),
            *np.zeros((2, design.days + 1), np.int64),
        )
        live(
            life_signals,
            design.days,
            Beginning(0, 0, first_gate=False, head_start=False),
            compile_bounds(policy, SIZING.threshold),
            weights,
            phases,
            breakers,
        )
        readable = ReadableLife(life_signals, policy)
        for day in range(1, design.days + 1):
            disabled = readable.live(day)
            compiled = (round(weights[day], 9), PHASES[phases[day]], bool(breakers[day]))
            assert compiled == (round(readable.state.weight, 9), readable.state.phase, disabled), (
                f"life {life}, day {day}"
            )


@pytest.mark.parametrize("lowest", [0.001, 0.01, 0.2])
def test_the_smallest_fair_arm_is_the_quantile_of_the_binomial(lowest: float) -> None:
    """The table is made with the gate's own rule; scipy's quantile function agrees with it."""
    gates = WeightPolicy().gates.model_copy(update={"pilot_sample_ratio_p": lowest})
    bounds = compile_bounds(WeightPolicy().model_copy(update={"gates": gates}), 70.0)
    quantiles = binom.ppf(lowest / 2, np.arange(MAX_ARM_SIGNALS), 0.5).clip(0)

    assert np.array_equal(bounds.smaller_arm_min, quantiles)
