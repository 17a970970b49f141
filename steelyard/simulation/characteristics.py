"""Operating characteristics: what the configured policy does to thousands of lives whose truth is known.

The world of a life. Signals come as a Poisson process of so many a month. The model claims ``p_win`` ~ N(½, s²), with s such
that an honest model is right as often as stated (E|p − ½| = accuracy − ½), kept within [0.02, 0.98]. A signal is won with
probability ½ + k·(p_win − ½): k is 1 for an honest model, 0 for one without skill, −1 for an inverted one, and may turn
half-way through the life. Signals of one day are right or wrong together: their luck is normal with the correlation
``dependence`` (a Gaussian copula), the worst way for them to hang together. The bracket is symmetric and free of costs: a
win adds and a loss takes risk_per_trade times U(0.8, 1.2) of the account, the spread of gaps and time limits. The existing
system has no skill: its confidence is uniform on 0 to 100 and knows nothing of the outcome; the model's is ``p_win`` on the
same scale (``matched``), so both books take the same share of the signals. A champion serves from the first day, and a
training that a breaker asks for yields, within a week, one of the same true skill.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from steelyard.evaluation.books import Floats, SizingPolicy
from steelyard.simulation.bounds import Bounds, bounds_of
from steelyard.simulation.lives import (
    BY_ACCURACY,
    BY_DECAY,
    BY_STREAK,
    Ints,
    Signals,
    live_all,
)
from steelyard.weight.policy import WeightPolicy

MONTH_DAYS = 30
SIGNALS = (50, 30, 100, 300)
DEPENDENCE = (0.0, 0.5)
LEVELS = (0.20, 0.40, 0.70)
BREAKERS = {"accuracy": BY_ACCURACY, "streak": BY_STREAK, "decay": BY_DECAY}
AT_ONCE = 150_000  # signals drawn at a time, which bounds the memory


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is true of the model in a life.

    Attributes:
        accuracy: What the model claims on average.
        kept: Share of the claim that is true in the first half of the life, ``later`` in the second.
    """

    name: str
    accuracy: float
    claim_retention: float = 1.0
    later: float | None = None

    @property
    def turns(self) -> bool:
        """Whether the truth changes half-way."""
        return self.later is not None and self.later != self.claim_retention


SCENARIOS = (
    Scenario("no skill", 0.55, 0.0),
    Scenario("52 %", 0.52),
    Scenario("55 %", 0.55),
    Scenario("58 %", 0.58),
    Scenario("60 %", 0.60),
    Scenario("58 % dying", 0.58, 1.0, 0.0),
    Scenario("58 % inverted", 0.58, 1.0, -1.0),
)


@dataclass(frozen=True, slots=True)
class Design:
    """How long and how often is lived.

    Attributes:
        signals: Settled signals a month.
        dependence: Correlation of the luck of signals of one day.
    """

    lives: int = 2000
    months: int = 24
    signals: int = 50
    dependence: float = 0.0
    seed: int = 1

    @property
    def days(self) -> int:
        """Length of a life."""
        return self.months * MONTH_DAYS

    @property
    def turn(self) -> int:
        """Day on which a world turns."""
        return self.months // 2 * MONTH_DAYS


def designs(
    lives: int,
    months: int,
    signals: Sequence[int] | None,
    dependence: Sequence[float] | None,
    seed: int,
) -> list[Design]:
    """Return what is lived: ``signals`` with each dependence, or by default all of both, the others with fewer lives."""
    ties = dependence or (DEPENDENCE[:1] if signals else DEPENDENCE)
    paces = [(pace, tie) for tie in ties for pace in signals or SIGNALS]
    return [
        Design(lives if n == 0 or signals else lives // 4, months, *pace, seed)
        for n, pace in enumerate(paces)
    ]


class SimulatedSignals(NamedTuple):
    """Signals of many lives, as ``live_all`` takes them."""

    signals: Signals
    first: Ints
    starts: Ints


class LifePaths(NamedTuple):
    """Weight and breakers by day, shape (lives, days + 1)."""

    weights: Floats
    breakers: Ints


def spread(accuracy: float) -> float:
    """Return the standard deviation of honest claims that are right with ``accuracy``."""
    return (accuracy - 0.5) * math.sqrt(math.pi / 2)


def information(accuracy: float) -> float:
    """Return what one signal of an honest model tells against "no skill": the mean KL divergence of p from ½, nats."""
    z = np.linspace(-5, 5, 2001)
    p = np.clip(0.5 + spread(accuracy) * z, 0.02, 0.98)
    divergence = p * np.log(2 * p) + (1 - p) * np.log(2 * (1 - p))
    return float(np.average(divergence, weights=np.exp(-(z**2) / 2)))


def information_limit(accuracy: float, signals: int, rise: float) -> float:
    """Return after how many months the evidence can reach ``rise`` on average, ln(rise)/KL; no test is faster."""
    return math.log(rise) / (information(accuracy) * signals)


def simulate_signals(
    scenario: Scenario, design: Design, lives: int, rng: np.random.Generator, risk: float
) -> SimulatedSignals:
    """Return the signals of ``lives`` lives; ``risk`` is the share of the account lost at the stop."""
    counts = rng.poisson(design.signals / MONTH_DAYS, (lives, design.days + 1))
    counts[:, 0] = 0
    starts = np.zeros((lives, design.days + 2), dtype=np.int64)
    np.cumsum(counts, axis=1, out=starts[:, 1:])
    first = np.concatenate(([0], np.cumsum(starts[:, -1])))
    day = np.repeat(np.tile(np.arange(design.days + 1), lives), counts.ravel())
    z, luck = rng.standard_normal(len(day)), rng.standard_normal(len(day))
    common = np.repeat(rng.standard_normal(counts.size), counts.ravel())
    luck = math.sqrt(design.dependence) * common + math.sqrt(1 - design.dependence) * luck
    p_win = np.clip(0.5 + spread(scenario.accuracy) * z, 0.02, 0.98)
    claim_retention = np.where(
        day > design.turn,
        scenario.claim_retention if scenario.later is None else scenario.later,
        scenario.claim_retention,
    )
    right = luck < ndtri(0.5 + claim_retention * np.abs(p_win - 0.5))
    won = right == (p_win > 0.5)
    returns = np.where(won, risk, -risk) * rng.uniform(0.8, 1.2, len(day))
    existing, treated = rng.uniform(0, 100, len(day)), rng.random(len(day)) < 0.5
    return SimulatedSignals(
        Signals(starts[0], day, p_win, existing, 100 * ndtr(z), won, returns, treated),
        first,
        starts,
    )


def run_lives(
    scenario: Scenario, design: Design, policies: Sequence[Bounds], risk: float
) -> list[LifePaths]:
    """Return what each policy makes of the same lives."""
    rng = np.random.default_rng((design.seed, design.signals, round(1000 * design.dependence)))
    batch = max(1, AT_ONCE // (design.signals * design.months))
    parts: list[list[LifePaths]] = [[] for _ in policies]
    for done in range(0, design.lives, batch):
        simulated = simulate_signals(scenario, design, min(batch, design.lives - done), rng, risk)
        for part, bounds in zip(parts, policies, strict=True):
            part.append(_run_batch(simulated, design.days, bounds))
    return [
        LifePaths(*(np.concatenate(arrays) for arrays in zip(*part, strict=True))) for part in parts
    ]


def _run_batch(simulated: SimulatedSignals, days: int, bounds: Bounds) -> LifePaths:
    shape = (len(simulated.starts), days + 1)
    weights, phases, breakers = (
        np.zeros(shape),
        np.zeros(shape, np.int64),
        np.zeros(shape, np.int64),
    )
    live_all(
        simulated.signals,
        simulated.first,
        simulated.starts,
        days,
        bounds,
        weights,
        phases,
        breakers,
    )
    return LifePaths(weights, breakers)


def characteristics(scenario: Scenario, design: Design, found: LifePaths) -> dict[str, Any]:
    """Return what happened to the lives, shares of lives and months; a month is None where fewer than half got there."""
    weights, fired = found
    return {
        "held": float(weights.mean()),
        "held_at_end": float(weights[:, -1].mean()),
        "path": [round(float(mean), 4) for mean in weights[:, ::MONTH_DAYS].mean(axis=0)],
        "reached": {
            f"{level:.0%}": float((weights >= level - 1e-9).any(axis=1).mean()) for level in LEVELS
        },
        "months_to": {f"{level:.0%}": _median_months(weights >= level - 1e-9) for level in LEVELS},
        "disabled": float((fired > 0).any(axis=1).mean()),
        "disabled_by": {
            name: float(((fired & flag) > 0).any(axis=1).mean()) for name, flag in BREAKERS.items()
        },
        "after_turn": _after_turn(weights, design) if scenario.turns else None,
    }


def _after_turn(weights: Floats, design: Design) -> dict[str, Any]:
    """Return how fast the weight came down in the lives that had any when the truth turned."""
    had = weights[:, design.turn] > 0
    before, after = weights[had, design.turn][:, None], weights[had, design.turn + 1 :]
    halved, gone = after <= before / 2 + 1e-9, after == 0
    return {
        "lives": float(had.mean()),
        "months_to_half": _median_months(halved, start=1),
        "months_to_zero": _median_months(gone, start=1),
        "half_within_6_months": _share_within(halved, 6),
        "zero_within_4_months": _share_within(gone, 4),
    }


def _share_within(happened: NDArray[np.bool_], months: int) -> float | None:
    return float(happened[:, : months * MONTH_DAYS].any(axis=1).mean()) if len(happened) else None


def _median_months(happened: NDArray[np.bool_], start: int = 0) -> float | None:
    """Return the median of the first day it happened, months; None where fewer than half of the lives got there."""
    if not len(happened):
        return None
    day = np.where(happened.any(axis=1), happened.argmax(axis=1) + start, np.inf)
    median = float(np.median(day)) / MONTH_DAYS
    return round(median, 1) if math.isfinite(median) else None


def simulate(
    policy: WeightPolicy,
    sizing: SizingPolicy,
    designs: Iterable[Design],
    scenarios: Sequence[Scenario] = SCENARIOS,
) -> Iterator[dict[str, Any]]:
    """Yield for each course and world what both modes of ``policy`` do, in the order given.

    Courses and worlds are independent of each other and are lived through side by side.
    """
    modes = {
        mode: policy.model_copy(update={"evidence": mode}) for mode in ("ladder", "sequential")
    }
    bounds = [bounds_of(one, sizing.threshold) for one in modes.values()]

    def cell(asked: tuple[Design, Scenario]) -> dict[str, Any]:
        design, scenario = asked
        found = run_lives(scenario, design, bounds, sizing.risk_per_trade)
        return {
            "world": scenario.name,
            "lives": design.lives,
            "signals": design.signals,
            "dependence": design.dependence,
            "information_limit_months": _limit(scenario, design, policy),
            **{
                mode: characteristics(scenario, design, one)
                for mode, one in zip(modes, found, strict=True)
            },
        }

    with ThreadPoolExecutor() as pool:
        yield from pool.map(
            cell, [(design, scenario) for design in designs for scenario in scenarios]
        )


def _limit(scenario: Scenario, design: Design, policy: WeightPolicy) -> float | None:
    if scenario.claim_retention <= 0:
        return None
    return round(information_limit(scenario.accuracy, design.signals, policy.sequential.rise), 1)
