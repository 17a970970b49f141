"""Operating characteristics: what the configured policy does to thousands of lives of known truth.

How a life is simulated:

- **Signals** come as a Poisson process with a given number per month.
- **Claims.** The model claims ``p_win`` ~ N(½, s²), clipped to [0.02, 0.98]; s is such that an
  honest model is right as often as stated: E|p − ½| = accuracy − ½.
- **Truth.** A signal is won with probability ½ + k·(p_win − ½). The retention k is 1 for an honest
  model, 0 for one without skill, −1 for an inverted one, and may change half-way through the life.
- **Dependence.** Signals of one day are right or wrong together: their luck is normal with the
  correlation ``dependence`` (a Gaussian copula), the worst way for them to depend on each other.
- **Returns.** The bracket is symmetric and free of costs: a win adds and a loss takes
  risk_per_trade · U(0.8, 1.2) of the account, the spread of gaps and time limits.
- **The existing system** has no skill: its confidence is uniform on 0 to 100, whatever the outcome.
  The model's is ``p_win`` on the same scale (``matched``), so both books take equally many signals.
- **Champions.** Each week a training has the latest signals, those before the life begins included,
  as its holdout until the first gate lets a version in; its evidence is the head start. A training
  that a breaker asks for yields one of the same true skill within a week, without a head start.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from steelyard.evaluation.books import Floats, SizingPolicy
from steelyard.evaluation.chances import normal_shares
from steelyard.evaluation.figures import MONTH_DAYS
from steelyard.simulation.bounds import Bounds, compile_bounds
from steelyard.simulation.lives import (
    BY_ACCURACY,
    BY_DECAY,
    BY_STREAK,
    Beginning,
    Ints,
    Signals,
    live_all,
)
from steelyard.values import OrderedMap
from steelyard.weight.policy import WeightPolicy

SIGNALS = (50, 30, 100, 300)
DEPENDENCE = (0.0, 0.5)
LEVELS = (0.20, 0.40, 0.70)
MODES = ("ladder", "sequential")
HOLDOUT = 500
"""Signals of the holdout of a training: a fifth of 2,500 settled ones."""
BREAKERS = {"accuracy": BY_ACCURACY, "streak": BY_STREAK, "decay": BY_DECAY}
BATCH_SIGNALS = 150_000  # drawn at a time, which bounds the memory


@dataclass(frozen=True, slots=True)
class Scenario:
    """True skill of the model in a life.

    Attributes:
        name: Name in tables.
        accuracy: Accuracy the model claims on average, in (0.5, 1).
        claim_retention: Share of its claims that is true, in [−1, 1].
        later_retention: The same in the second half of the life; None if it does not change.
    """

    name: str
    accuracy: float
    claim_retention: float = 1.0
    later_retention: float | None = None

    @property
    def changes(self) -> bool:
        """Whether the true skill changes half-way."""
        return self.later_retention is not None and self.later_retention != self.claim_retention


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
    """Number, length and pace of the lives.

    Attributes:
        lives: Lives per scenario.
        months: Length of a life, months of 30 days.
        signals: Settled signals a month.
        dependence: Correlation of the luck of signals of one day, in [0, 1).
        seed: Random seed.
        holdout: Signals of the holdout of a training; 0: none, a champion serves from the begin.
        first_gate: The first champion has to pass the first gate on its holdout.
        head_start: The evidence of skill begins with that of the champion's holdout.
        variant: What is different from the policy and the courses of the other designs.
    """

    lives: int = 2000
    months: int = 24
    signals: int = 50
    dependence: float = 0.0
    seed: int = 1
    holdout: int = 0
    first_gate: bool = True
    head_start: bool = True
    variant: str = ""

    @property
    def lead(self) -> int:
        """Days before the begin of a life, whose signals are the first holdout."""
        return math.ceil(self.holdout / self.signals * MONTH_DAYS)

    @property
    def days(self) -> int:
        """Length of a life and the days before it."""
        return self.lead + self.months * MONTH_DAYS

    @property
    def change_day(self) -> int:
        """Last day of the first half of a life."""
        return self.lead + self.months // 2 * MONTH_DAYS


def designs(
    lives: int,
    months: int,
    signals: Sequence[int] | None,
    dependence: Sequence[float] | None,
    seed: int,
    holdout: int = HOLDOUT,
) -> list[Design]:
    """Return the designs to simulate.

    Args:
        lives: Lives per scenario; by default all designs but the first have a quarter of them.
        months: Length of a life, months of 30 days.
        signals: Settled signals a month, one design for each; None for ``SIGNALS``.
        dependence: Correlations within a day, each with every pace; None for ``DEPENDENCE``, but
            independent signals alone if ``signals`` is given.
        seed: Random seed.
        holdout: Signals of the holdout of a training; 0: a champion serves from the begin.
    """
    correlations = dependence or (DEPENDENCE[:1] if signals else DEPENDENCE)
    paces = [(pace, correlation) for correlation in correlations for pace in signals or SIGNALS]
    return [
        Design(lives if number == 0 or signals else lives // 4, months, *pace, seed, holdout)
        for number, pace in enumerate(paces)
    ]


class SimulatedSignals(NamedTuple):
    """Signals of many lives, as ``live_all`` takes them.

    Attributes:
        signals: Signals of all lives, one life after the other, shape (n,).
        first: First signal of each life, and their number last, shape (lives + 1,).
        starts: ``Signals.starts`` of each life, shape (lives, days + 2).
    """

    signals: Signals
    first: Ints
    starts: Ints


class LifePaths(NamedTuple):
    """Course of many lives.

    Attributes:
        weights: Weight at the end of each day, shape (lives, days + 1).
        breakers: Sum of the flags of the breakers that fired, shape (lives, days + 1).
    """

    weights: Floats
    breakers: Ints


@dataclass(frozen=True, slots=True)
class AfterTurn:
    """How fast the weight fell in the lives that had any when the true skill changed.

    Attributes:
        lives: Share of all lives.
        months_to_half: Median months until it was halved; None if fewer than half got there.
        months_to_zero: The same until it was 0.
        half_within_6_months: Share halved within 6 months; None without such a life.
        zero_within_4_months: Share at 0 within 4 months; likewise.
    """

    lives: float
    months_to_half: float | None
    months_to_zero: float | None
    half_within_6_months: float | None
    zero_within_4_months: float | None


@dataclass(frozen=True, slots=True)
class Characteristics:
    """What a policy did to simulated lives: mean weights, shares of lives and months.

    A number of months is the median over the lives, None if fewer than half of them got there.

    Attributes:
        held: Mean weight over all days and lives.
        held_at_end: Mean weight on the last day.
        path: Mean weight at the begin of each month.
        reached: Level, e.g. ``20%`` → share of lives that ever reached it.
        months_to: Level → months until it was reached.
        disabled: Share of lives in which any breaker fired.
        disabled_by: Breaker → share of lives in which it fired.
        after_turn: The course after the true skill changed; None if it does not.
    """

    held: float
    held_at_end: float
    path: tuple[float, ...]
    reached: Mapping[str, float]
    months_to: Mapping[str, float | None]
    disabled: float
    disabled_by: Mapping[str, float]
    after_turn: AfterTurn | None


@dataclass(frozen=True, slots=True)
class Cell:
    """Lives of one scenario and design under both modes of evidence.

    Attributes:
        world: Name of the scenario.
        lives: Number of lives.
        signals: Settled signals a month.
        dependence: Correlation of the luck of signals of one day.
        variant: What is different from the other courses; empty for nothing.
        information_limit_months: Months a proof takes at best; None for a model without skill.
        modes: Mode of evidence → characteristics.
    """

    world: str
    lives: int
    signals: int
    dependence: float
    variant: str
    information_limit_months: float | None
    modes: Mapping[str, Characteristics]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; each mode is a key of its own."""
        document = asdict(self)
        modes = document.pop("modes")
        return document | {mode: {**row, "path": list(row["path"])} for mode, row in modes.items()}


def claim_spread(accuracy: float) -> float:
    """Return the standard deviation of honest claims right with ``accuracy``, in [0.5, 1)."""
    return (accuracy - 0.5) * math.sqrt(math.pi / 2)


def information_per_signal(accuracy: float) -> float:
    """Return the evidence in one signal of an honest model against "no skill", nats.

    It is the mean Kullback-Leibler divergence of p from ½.
    """
    score = np.linspace(-5, 5, 2001)
    p_win = np.clip(0.5 + claim_spread(accuracy) * score, 0.02, 0.98)
    divergence = p_win * np.log(2 * p_win) + (1 - p_win) * np.log(2 * (1 - p_win))
    return float(np.average(divergence, weights=np.exp(-(score**2) / 2)))


def information_limit(accuracy: float, signals: int, rise: float) -> float:
    """Return the months until the evidence reaches ``rise`` on average, ln(rise)/KL.

    No test is faster.

    Args:
        accuracy: Accuracy of an honest model, in (0.5, 1).
        signals: Settled signals a month.
        rise: e-value to reach.
    """
    return math.log(rise) / (information_per_signal(accuracy) * signals)


def simulate_signals(
    scenario: Scenario, design: Design, lives: int, rng: np.random.Generator, risk: float
) -> SimulatedSignals:
    """Return the signals of many lives.

    Args:
        scenario: True skill of the model.
        design: Length of a life, pace and dependence of its signals.
        lives: Number of lives.
        rng: Source of randomness; advanced.
        risk: Share of the account lost at the stop.
    """
    counts = rng.poisson(design.signals / MONTH_DAYS, (lives, design.days + 1))
    counts[:, 0] = 0
    starts = np.zeros((lives, design.days + 2), dtype=np.int64)
    np.cumsum(counts, axis=1, out=starts[:, 1:])
    first = np.concatenate(([0], np.cumsum(starts[:, -1])))
    day = np.repeat(np.tile(np.arange(design.days + 1), lives), counts.ravel())
    score, luck = rng.standard_normal(len(day)), rng.standard_normal(len(day))
    common = np.repeat(rng.standard_normal(counts.size), counts.ravel())
    luck = math.sqrt(design.dependence) * common + math.sqrt(1 - design.dependence) * luck
    p_win = np.clip(0.5 + claim_spread(scenario.accuracy) * score, 0.02, 0.98)
    claim_retention = np.where(
        day > design.change_day,
        scenario.claim_retention if scenario.later_retention is None else scenario.later_retention,
        scenario.claim_retention,
    )
    right = normal_shares(luck) < 0.5 + claim_retention * np.abs(p_win - 0.5)
    won = right == (p_win > 0.5)
    returns = np.where(won, risk, -risk) * rng.uniform(0.8, 1.2, len(day))
    existing, treated = rng.uniform(0, 100, len(day)), rng.random(len(day)) < 0.5
    return SimulatedSignals(
        Signals(starts[0], day, p_win, existing, 100 * normal_shares(score), won, returns, treated),
        first,
        starts,
    )


def run_lives(
    scenario: Scenario, design: Design, policies: Sequence[Bounds], risk: float
) -> list[LifePaths]:
    """Return the course of the same lives under each policy.

    Args:
        scenario: True skill of the model.
        design: Number, length and pace of the lives.
        policies: Compiled policies.
        risk: Share of the account lost at the stop.
    """
    rng = np.random.default_rng((design.seed, design.signals, round(1000 * design.dependence)))
    batch = max(1, BATCH_SIGNALS // (design.signals * design.months))
    parts: list[list[LifePaths]] = [[] for _ in policies]
    for done in range(0, design.lives, batch):
        simulated = simulate_signals(scenario, design, min(batch, design.lives - done), rng, risk)
        for part, bounds in zip(parts, policies, strict=True):
            part.append(_run_batch(simulated, design, bounds))
    return [
        LifePaths(*(np.concatenate(arrays) for arrays in zip(*part, strict=True))) for part in parts
    ]


def _run_batch(simulated: SimulatedSignals, design: Design, bounds: Bounds) -> LifePaths:
    shape = (len(simulated.starts), design.days + 1)
    weights, phases, breakers = (
        np.zeros(shape),
        np.zeros(shape, np.int64),
        np.zeros(shape, np.int64),
    )
    live_all(
        simulated.signals,
        simulated.first,
        simulated.starts,
        design.days,
        Beginning(
            design.lead,
            design.holdout,
            design.first_gate and design.holdout > 0,
            design.head_start and design.holdout > 0,
        ),
        bounds,
        weights,
        phases,
        breakers,
    )
    return LifePaths(weights[:, design.lead :], breakers[:, design.lead :])


def measure_characteristics(
    scenario: Scenario, design: Design, paths: LifePaths
) -> Characteristics:
    """Return the characteristics of simulated lives.

    Args:
        scenario: True skill of the model.
        design: Number, length and pace of the lives.
        paths: Course of the lives.
    """
    weights, fired = paths
    return Characteristics(
        held=float(weights.mean()),
        held_at_end=float(weights[:, -1].mean()),
        path=tuple(round(float(mean), 4) for mean in weights[:, ::MONTH_DAYS].mean(axis=0)),
        reached={
            f"{level:.0%}": float((weights >= level - 1e-9).any(axis=1).mean()) for level in LEVELS
        },
        months_to={f"{level:.0%}": _median_months(weights >= level - 1e-9) for level in LEVELS},
        disabled=float((fired > 0).any(axis=1).mean()),
        disabled_by={
            name: float(((fired & flag) > 0).any(axis=1).mean()) for name, flag in BREAKERS.items()
        },
        after_turn=_after_turn(weights, design) if scenario.changes else None,
    )


def _after_turn(weights: Floats, design: Design) -> AfterTurn:
    turn = design.change_day - design.lead
    had = weights[:, turn] > 0
    initial, following = weights[had, turn][:, None], weights[had, turn + 1 :]
    halved, gone = following <= initial / 2 + 1e-9, following == 0
    return AfterTurn(
        lives=float(had.mean()),
        months_to_half=_median_months(halved, start=1),
        months_to_zero=_median_months(gone, start=1),
        half_within_6_months=_share_within(halved, 6),
        zero_within_4_months=_share_within(gone, 4),
    )


def _share_within(happened: NDArray[np.bool_], months: int) -> float | None:
    return float(happened[:, : months * MONTH_DAYS].any(axis=1).mean()) if len(happened) else None


def _median_months(happened: NDArray[np.bool_], start: int = 0) -> float | None:
    """Return the median of the first day it happened, months.

    None if it happened in fewer than half of the lives. ``happened`` has shape (lives, days); its
    first column is day ``start``.
    """
    if not len(happened):
        return None
    day = np.where(happened.any(axis=1), happened.argmax(axis=1) + start, np.inf)
    median = float(np.median(day)) / MONTH_DAYS
    return round(median, 1) if math.isfinite(median) else None


def one_by_one(policy: WeightPolicy, design: Design) -> list[tuple[WeightPolicy, Design]]:
    """Return courses that each lack one ingredient of the policy, with a quarter of the lives.

    Args:
        policy: The policy of the weight.
        design: The course that has them all; with a holdout.
    """
    fewer = replace(design, lives=max(design.lives // 4, 10))
    gates, sequential = policy.gates, policy.sequential
    policies: dict[str, dict[str, Any]] = {
        "rise 100": {"sequential": sequential.model_copy(update={"rise": 100.0})},
        "no pivotal decisions asked for": {"gates": gates.model_copy(update={"pilot_pivotal": 0})},
        "no evidence asked for to leave shadow": {
            "sequential": sequential.model_copy(update={"leave_shadow": 1.0})
        },
        "bets of 7 days": {
            "sequential": sequential.model_copy(
                update={"bets": sequential.bets.model_copy(update={"days": 7})}
            )
        },
    }
    return [
        (policy, replace(fewer, head_start=False, variant="no head start from the holdout")),
        (policy, replace(fewer, first_gate=False, variant="no first gate")),
        *(
            (policy.model_copy(update=change), replace(fewer, variant=name))
            for name, change in policies.items()
        ),
    ]


def simulate(
    policy: WeightPolicy,
    sizing: SizingPolicy,
    designs: Iterable[Design],
    scenarios: Sequence[Scenario] = SCENARIOS,
    *,
    first_accuracy: float = 0.55,
    ingredients: bool = False,
    apply: OrderedMap | None = None,
) -> Iterator[Cell]:
    """Yield what both modes of ``policy`` do for each design and scenario.

    Designs and scenarios are independent of each other and are simulated in parallel.

    Args:
        policy: The policy of the weight; its ``evidence`` mode is ignored.
        sizing: Threshold of the books and risk per trade.
        designs: Number, length and pace of the lives.
        scenarios: True skills of the model.
        first_accuracy: Accuracy a first champion's holdout must exceed.
        ingredients: Add courses of the first design that each lack one ingredient.
        apply: Ordered map of the workers; None for threads of this process.
    """
    courses = [(policy, design) for design in designs]
    if ingredients:
        courses += one_by_one(*courses[0])
    cells = [(*course, scenario) for course in courses for scenario in scenarios]
    simulate_cell = partial(_simulate_cell, sizing=sizing, first_accuracy=first_accuracy)
    if apply is not None:
        yield from apply(simulate_cell, cells)
        return
    with ThreadPoolExecutor() as pool:
        yield from pool.map(simulate_cell, cells)


def _simulate_cell(
    cell: tuple[WeightPolicy, Design, Scenario], sizing: SizingPolicy, first_accuracy: float
) -> Cell:
    policy, design, scenario = cell
    bounds = [
        compile_bounds(
            policy.model_copy(update={"evidence": mode}), sizing.threshold, first_accuracy
        )
        for mode in MODES
    ]
    mode_paths = run_lives(scenario, design, bounds, sizing.risk_per_trade)
    limit = None
    if scenario.claim_retention > 0:
        limit = information_limit(scenario.accuracy, design.signals, policy.sequential.rise)
    return Cell(
        world=scenario.name,
        lives=design.lives,
        signals=design.signals,
        dependence=design.dependence,
        variant=design.variant,
        information_limit_months=None if limit is None else round(limit, 1),
        modes={
            mode: measure_characteristics(scenario, design, paths)
            for mode, paths in zip(MODES, mode_paths, strict=True)
        },
    )
