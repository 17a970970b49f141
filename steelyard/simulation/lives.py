"""Whole lives under the configured policy, compiled: what guard, evaluation and gates would do, day by day.

The figures are those of ``evaluation``, the rules those of ``guards``, ``ladder``, ``phases``, ``sequential``; a test holds
them against each other, step for step. A life begins in shadow with a champion. Each day its signals settle, the streak is
looked at, a retraining that is due brings a new champion, and guard, evaluation and gate follow, as in a replay. Latency,
coverage and fallbacks are in order; no operator holds the weight.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.stats import binom

from steelyard.evaluation.books import Bools, Floats
from steelyard.evaluation.skill import (
    Bets,
    Games,
    compile_bets,
    copy_games,
    decay_value,
    play_bet,
    reset_games,
    skill_value,
)
from steelyard.weight.policy import PHASES, WeightPolicy
from steelyard.weight.rules import (
    EXPANSION,
    OPTIMIZATION,
    PILOT,
    SHADOW,
    at_least,
    at_most,
    blend_confidence,
    bounded_weight,
    breach_confirmed,
    chance_shortfall,
    decay_fires,
    drawdown_bound,
    exceeds,
    latch_active,
    month_healthy,
    over,
    phase_of_weight,
    recorded_weight,
    shortfall_bound,
    skill_proven,
    step_down,
    step_up,
    treatment_not_worse,
    under,
    weight_on_entry,
)

Ints = NDArray[np.int64]

ACCURACY, DRAWDOWN, SHARPE, DECAY = 0, 1, 2, 3
NOTHING, BY_ACCURACY, BY_STREAK, BY_DECAY = 0, 1, 2, 4
LATCHES = 4
ARM_SIGNALS = 4000  # more than a pilot holds
DAYS_A_YEAR = 365.0


class Bounds(NamedTuple):
    """``WeightPolicy`` for compiled code; bands by phase, shape (5,), factors by limit, shape (4,).

    Attributes:
        threshold: Confidence over which a book takes a signal.
        fewest: Signals the smaller arm needs for the split to count as fair, by the signals in both.
        retrain_days: Days between two trainings; each yields a champion where one is required.
    """

    sequential: bool
    threshold: float
    floors: tuple[float, ...]
    ceilings: tuple[float, ...]
    min_weight: float
    window_days: int
    window_max_days: int
    min_settled: int
    evaluation_days: int
    review_days: int
    breaker_accuracy: float
    breaker_streak: int
    cut_accuracy: float
    drawdown_ratio: float
    sharpe_shortfall: float
    factors: tuple[float, ...]
    latch_days: int
    step: float
    raise_accuracy: float
    lower_accuracy: float
    step_shortfall: float
    shadow_days: int
    shadow_settled: int
    shadow_accuracy: float
    pilot_days: int
    arm_signals: int
    arm_errors: float
    fewest: Ints
    expansion_days: int
    expansion_improvement: float
    expansion_drawdown: float
    retrain_days: int
    rise: float
    confirm: float
    cut: float
    disable: float
    initial_share: float
    bets: Bets


class Signals(NamedTuple):
    """The settled signals of one life in their order.

    Attributes:
        starts: First signal of each day, shape (days + 2,); day 0 has none.
        day: Day each was decided and settled, from 1.
        existing: Confidence of the existing system, 0 to 100; ``ml`` that of the model.
        returns: What each would add to the account.
        treated: The blend would decide it in a pilot.
    """

    starts: Ints
    day: Ints
    p_win: Floats
    existing: Floats
    ml: Floats
    won: Bools
    returns: Floats
    treated: Bools


class LifeState(NamedTuple):
    """Where a life stands; arrays are changed in place.

    Attributes:
        weight: Shape (1,).
        marks: Phase, phase since, evidence since, retraining required, losses in a row, first signal of the bet that runs;
            shape (6,).
        latches: Day each cut fired, −1 for none; shape (4,).
        sums: Signals, right, won, return of ml and baseline book since the evidence began; shape (5,).
        daily: Room for daily returns.
        table: The games with the bet that runs; ``closed`` without it.
    """

    weight: Floats
    marks: Ints
    latches: Ints
    sums: Floats
    daily: Floats
    table: Games
    closed: Games


PHASE, PHASE_SINCE, EVIDENCE_SINCE, RETRAIN, STREAK, BET = range(6)


class Window(NamedTuple):
    """Window of one day: [first, last) among the signals, the day it begins, settled, accuracy."""

    first: int
    last: int
    begins: int
    settled: int
    accuracy: float


class Book(NamedTuple):
    """What one book earned in a window."""

    trades: int
    total: float
    wins: int
    sharpe: float
    drawdown: float


@njit(cache=True, nogil=True)
def _window_of(
    signals: Signals, day: int, since: int, days: int, wanted: int, longest: int
) -> Window:
    last, oldest = signals.starts[day + 1], signals.starts[since + 1]
    begins = max(day - days, since)
    first = signals.starts[begins + 1]
    if last - first < wanted and last > oldest:
        reach = last - wanted if last - oldest >= wanted else oldest
        if reach < first:
            first, begins = reach, signals.day[reach] - 1
    if begins < day - longest:
        begins = day - longest
        first = signals.starts[begins + 1]
    right = 0
    for i in range(first, last):
        right += (signals.p_win[i] > 0.5) == signals.won[i]
    settled = last - first
    return Window(first, last, begins, settled, right / settled if settled else math.nan)


@njit(cache=True, nogil=True)
def _book(
    signals: Signals, confidence: Floats, window: Window, day: int, daily: Floats, threshold: float
) -> Book:
    days = max(day - window.begins, 1)
    daily[:days] = 0.0
    trades, wins, total, peak, drawdown = 0, 0, 0.0, 0.0, 0.0
    for i in range(window.first, window.last):
        if confidence[i] > threshold:
            gain = signals.returns[i]
            trades, wins, total = trades + 1, wins + (gain > 0), total + gain
            daily[signals.day[i] - 1 - window.begins] += gain
            peak = max(peak, total)
            drawdown = max(drawdown, peak - total)
    return Book(trades, total, wins, _sharpe(daily, days, total, trades), drawdown)


@njit(cache=True, nogil=True)
def _sharpe(daily: Floats, days: int, total: float, trades: int) -> float:
    """Return ``metrics.sharpe`` of the first ``days`` entries, which sum to ``total``."""
    if days < 2:
        return math.nan
    if trades == 0:
        return 0.0
    mean, squares = total / days, 0.0
    for day in range(days):
        squares += (daily[day] - mean) ** 2
    deviation = math.sqrt(squares / (days - 1))
    return mean / deviation * math.sqrt(DAYS_A_YEAR) if deviation > 1e-12 * abs(mean) else math.nan


@njit(cache=True, nogil=True)
def _disable(life: LifeState, day: int, bounds: Bounds) -> None:
    life.weight[0] = 0.0
    life.marks[PHASE], life.marks[PHASE_SINCE], life.marks[EVIDENCE_SINCE], life.marks[RETRAIN] = (
        SHADOW,
        day,
        day,
        1,
    )
    _forget(life, bounds)
    life.latches[:] = -1


@njit(cache=True, nogil=True)
def _forget(life: LifeState, bounds: Bounds) -> None:
    life.marks[STREAK] = 0
    life.sums[:] = 0.0
    reset_games(life.table, bounds.initial_share)


@njit(cache=True, nogil=True)
def _put(life: LifeState, weight: float, day: int, bounds: Bounds) -> None:
    highest = life.marks[PHASE]
    bounded = bounded_weight(weight, bounds.ceilings[highest], bounds.min_weight)
    _enter(life, phase_of_weight(bounded, highest, bounds.floors), bounded, day)


@njit(cache=True, nogil=True)
def _enter(life: LifeState, phase: int, weight: float, day: int) -> None:
    life.weight[0] = recorded_weight(weight)
    if phase != life.marks[PHASE]:
        life.marks[PHASE_SINCE] = day
    life.marks[PHASE] = phase


@njit(cache=True, nogil=True)
def _breaker(life: LifeState, window: Window, decay: float, bounds: Bounds) -> int:
    """Return which breakers fire, as a sum of flags; the streak is looked at when a signal settles."""
    if life.marks[RETRAIN]:
        return NOTHING
    fired = NOTHING
    if window.settled >= bounds.min_settled and under(window.accuracy, bounds.breaker_accuracy):
        unknown = math.isnan(window.accuracy)
        if breach_confirmed(bounds.sequential, decay, bounds.cut, unknown):
            fired += BY_ACCURACY
    if decay_fires(bounds.sequential, decay, bounds.disable):
        fired += BY_DECAY
    return fired


@njit(cache=True, nogil=True)
def _breached(
    ml: Book, base: Book, window: Window, decay: float, bounds: Bounds, breached: Bools
) -> None:
    """Fill in which cuts are breached, shape (4,)."""
    deepest = drawdown_bound(base.drawdown, bounds.drawdown_ratio)
    lowest = shortfall_bound(base.sharpe, bounds.sharpe_shortfall)
    breached[ACCURACY] = under(window.accuracy, bounds.cut_accuracy) and _confirmed(
        decay, math.isnan(window.accuracy), bounds
    )
    breached[DRAWDOWN] = over(ml.drawdown, deepest) and _confirmed(decay, False, bounds)
    breached[SHARPE] = under(ml.sharpe, lowest) and _confirmed(
        decay, math.isnan(ml.sharpe) or math.isnan(lowest), bounds
    )
    breached[DECAY] = decay_fires(bounds.sequential, decay, bounds.cut)


@njit(cache=True, nogil=True)
def _confirmed(decay: float, unknown: bool, bounds: Bounds) -> bool:
    return breach_confirmed(bounds.sequential, decay, bounds.confirm, unknown)


@njit(cache=True, nogil=True)
def _cut(life: LifeState, breached: Bools, day: int, bounds: Bounds) -> bool:
    """Multiply what breached and is not latched, set and release latches; returns whether anything was cut."""
    weight, fired = life.weight[0], False
    for limit in range(LATCHES):
        latched = life.latches[limit] >= 0 and latch_active(
            day, life.latches[limit], bounds.latch_days
        )
        if not breached[limit] or life.weight[0] == 0:
            life.latches[limit] = -1
        elif not latched:
            life.latches[limit], weight, fired = day, weight * bounds.factors[limit], True
    if fired:
        _put(life, weight, day, bounds)
    return fired


@njit(cache=True, nogil=True)
def _limited(life: LifeState, signals: Signals, day: int, bounds: Bounds, breached: Bools) -> int:
    """Look at breakers and cuts as guard and evaluation do; returns breakers that fired, −1 for a cut, 0 for nothing."""
    window = _window_of(
        signals,
        day,
        life.marks[EVIDENCE_SINCE],
        bounds.window_days,
        bounds.min_settled,
        bounds.window_max_days,
    )
    decay = decay_value(life.table)
    found = _breaker(life, window, decay, bounds)
    if found:
        _disable(life, day, bounds)
        return found
    if window.settled < bounds.min_settled:
        return NOTHING
    if life.weight[0] > 0:
        ml, base = _pair(signals, window, day, life.daily, bounds.threshold)
        _breached(ml, base, window, decay, bounds, breached)
    return -1 if _cut(life, breached, day, bounds) else NOTHING


@njit(cache=True, nogil=True)
def _pair(
    signals: Signals, window: Window, day: int, daily: Floats, threshold: float
) -> tuple[Book, Book]:
    ml = _book(signals, signals.ml, window, day, daily, threshold)
    return ml, _book(signals, signals.existing, window, day, daily, threshold)


@njit(cache=True, nogil=True)
def _evaluate(life: LifeState, signals: Signals, day: int, bounds: Bounds) -> None:
    """Take the monthly step."""
    window = _window_of(
        signals,
        day,
        life.marks[EVIDENCE_SINCE],
        bounds.window_days,
        bounds.min_settled,
        bounds.window_max_days,
    )
    if (
        window.settled < bounds.min_settled
        or life.marks[PHASE] == SHADOW
        or (life.latches >= 0).any()
    ):
        return
    ml, base = _pair(signals, window, day, life.daily, bounds.threshold)
    if _earned(life, ml, base, window, bounds):
        step = step_up(life.weight[0], bounds.step, bounds.ceilings[life.marks[PHASE]])
        if step > 0:
            _put(life, life.weight[0] + step, day, bounds)
        return
    unknown = math.isnan(window.accuracy) or math.isnan(ml.sharpe) or math.isnan(base.sharpe)
    confirmed = _confirmed(decay_value(life.table), unknown, bounds)
    if confirmed and not _healthy(ml, base, window, bounds):
        _put(life, life.weight[0] - step_down(life.weight[0], bounds.step), day, bounds)


@njit(cache=True, nogil=True)
def _earned(life: LifeState, ml: Book, base: Book, window: Window, bounds: Bounds) -> bool:
    month = exceeds(window.accuracy, bounds.raise_accuracy) and exceeds(ml.sharpe, base.sharpe)
    if not bounds.sequential:
        return month
    larger_class = max(life.sums[2], life.sums[0] - life.sums[2])
    lifetime = exceeds(life.sums[1], larger_class) and exceeds(life.sums[3], life.sums[4])
    return (month or (lifetime and _healthy(ml, base, window, bounds))) and _proven(life, bounds)


@njit(cache=True, nogil=True)
def _healthy(ml: Book, base: Book, window: Window, bounds: Bounds) -> bool:
    lowest = shortfall_bound(base.sharpe, bounds.step_shortfall)
    return month_healthy(window.accuracy, bounds.lower_accuracy, ml.sharpe, lowest)


@njit(cache=True, nogil=True)
def _proven(life: LifeState, bounds: Bounds) -> bool:
    skill, decay = skill_value(life.table), decay_value(life.table)
    return skill_proven(skill, decay, bounds.rise, bounds.confirm)


@njit(cache=True, nogil=True)
def _review(
    life: LifeState, signals: Signals, blended: Floats, day: int, bounds: Bounds, breached: Bools
) -> None:
    """Open the gate where every criterion of the phase is met."""
    phase = life.marks[PHASE]
    if phase == OPTIMIZATION or life.marks[RETRAIN]:
        return
    since = max(life.marks[EVIDENCE_SINCE], life.marks[PHASE_SINCE])
    wanted = bounds.shadow_settled if phase == SHADOW else bounds.min_settled
    window = _window_of(signals, day, since, bounds.window_days, wanted, 1_000_000)
    ml, base = _pair(signals, window, day, life.daily, bounds.threshold)
    if not _unlimited(life, ml, base, window, bounds, breached):
        return
    mixed = _book(signals, blended, window, day, life.daily, bounds.threshold)
    met = False
    if phase == SHADOW:
        met = _leaves_shadow(life, signals, window, day, bounds)
    elif phase == PILOT:
        met = _leaves_pilot(life, signals, mixed, base, window, blended, day, bounds)
    else:
        met = _leaves_expansion(life, mixed, base, window, day, bounds)
    if met:
        _enter(life, phase + 1, weight_on_entry(life.weight[0], bounds.floors[phase + 1]), day)


@njit(cache=True, nogil=True)
def _unlimited(
    life: LifeState, ml: Book, base: Book, window: Window, bounds: Bounds, breached: Bools
) -> bool:
    decay = decay_value(life.table)
    if (life.latches >= 0).any() or _breaker(life, window, decay, bounds):
        return False
    if window.settled < bounds.min_settled:
        return True
    _breached(ml, base, window, decay, bounds, breached)
    return not breached.any()


@njit(cache=True, nogil=True)
def _leaves_shadow(
    life: LifeState, signals: Signals, window: Window, day: int, bounds: Bounds
) -> bool:
    won = signals.won[window.first : window.last].sum()
    rate = max(won, window.settled - won) / max(window.settled, 1)
    accurate = exceeds(window.accuracy, bounds.shadow_accuracy) and exceeds(window.accuracy, rate)
    waited = day - life.marks[PHASE_SINCE] >= bounds.shadow_days
    return bool(waited and window.settled >= bounds.shadow_settled and accurate)


@njit(cache=True, nogil=True)
def _leaves_pilot(
    life: LifeState,
    signals: Signals,
    mixed: Book,
    base: Book,
    window: Window,
    blended: Floats,
    day: int,
    bounds: Bounds,
) -> bool:
    if day - life.marks[PHASE_SINCE] < bounds.pilot_days or window.settled < bounds.min_settled:
        return False
    if bounds.sequential and not _proven(life, bounds):
        return False
    better = at_most(mixed.drawdown, base.drawdown) and at_least(mixed.sharpe, base.sharpe)
    if mixed.trades == 0 or base.trades == 0 or not better:
        return False
    richer = at_least(mixed.total / mixed.trades, base.total / base.trades)
    surer = at_least(mixed.wins / mixed.trades, base.wins / base.trades)
    return bool(richer and surer and _arms(signals, blended, window, bounds))


@njit(cache=True, nogil=True)
def _arms(signals: Signals, blended: Floats, window: Window, bounds: Bounds) -> bool:
    sums = np.zeros((2, 3))
    for i in range(window.first, window.last):
        arm = int(signals.treated[i])
        taken = blended[i] > bounds.threshold if arm else signals.existing[i] > bounds.threshold
        gain = signals.returns[i] if taken else 0.0
        sums[arm, 0] += 1
        sums[arm, 1] += gain
        sums[arm, 2] += gain * gain
    fewest = min(sums[0, 0], sums[1, 0])
    if (
        fewest < max(bounds.arm_signals, 2)
        or fewest < bounds.fewest[min(window.settled, len(bounds.fewest) - 1)]
    ):
        return False
    means = sums[:, 1] / sums[:, 0]
    errors = (sums[:, 2] / sums[:, 0] - means**2) / (sums[:, 0] - 1)
    bound = chance_shortfall(bounds.arm_errors, math.sqrt(max(errors.sum(), 0.0)))
    return treatment_not_worse(means[1] - means[0], bound)


@njit(cache=True, nogil=True)
def _leaves_expansion(
    life: LifeState, mixed: Book, base: Book, window: Window, day: int, bounds: Bounds
) -> bool:
    if day - life.marks[PHASE_SINCE] < bounds.expansion_days or window.settled < bounds.min_settled:
        return False
    if bounds.sequential and not _proven(life, bounds):
        return False
    at_top = at_least(life.weight[0], bounds.ceilings[EXPANSION])
    size = abs(base.total)
    improvement = (mixed.total - base.total) / size if size > 0 else math.nan
    improved = exceeds(improvement, bounds.expansion_improvement)
    return at_top and improved and at_most(mixed.drawdown, bounds.expansion_drawdown)


@njit(cache=True, nogil=True)
def _settle_day(
    life: LifeState, signals: Signals, blended: Floats, day: int, bounds: Bounds
) -> bool:
    """Settle what ends on ``day``; returns whether the losing streak breaks it."""
    first, last = signals.starts[day], signals.starts[day + 1]
    weight = life.weight[0]
    for i in range(first, last):
        blended[i] = blend_confidence(weight, signals.existing[i], signals.ml[i])
    broken = _count(life, signals, first, last, bounds)
    _bet(life, signals, first, last, day, bounds)
    return bool(broken and not life.marks[RETRAIN])


@njit(cache=True, nogil=True)
def _bet(
    life: LifeState, signals: Signals, first: int, last: int, day: int, bounds: Bounds
) -> None:
    """Play the bet that runs, as far as it has settled; the days of a bet are counted from the begin of the evidence."""
    if (day - 1 - life.marks[EVIDENCE_SINCE]) % bounds.bets.days == 0:
        life.marks[BET] = first
        copy_games(life.table, life.closed)
    else:
        copy_games(life.closed, life.table)
    rows = slice(life.marks[BET], last)
    if last > life.marks[BET]:
        classes = (signals.existing[rows] > bounds.threshold).astype(np.int64)
        play_bet(life.table, bounds.bets, signals.p_win[rows], classes, signals.won[rows])


@njit(cache=True, nogil=True)
def _count(life: LifeState, signals: Signals, first: int, last: int, bounds: Bounds) -> bool:
    """Add signals [first, last) to the sums of the life; returns whether a losing streak went over its bound."""
    broken = False
    for i in range(first, last):
        won, gain = signals.won[i], signals.returns[i]
        life.sums[0] += 1
        life.sums[1] += (signals.p_win[i] > 0.5) == won
        life.sums[2] += won
        if signals.ml[i] > bounds.threshold:
            life.marks[STREAK] = 0 if won else life.marks[STREAK] + 1
            life.sums[3] += gain
            broken = broken or over(life.marks[STREAK], bounds.breaker_streak)
        if signals.existing[i] > bounds.threshold:
            life.sums[4] += gain
    return broken


@njit(cache=True, nogil=True)
def _new_life(bounds: Bounds, days: int) -> LifeState:
    life = LifeState(
        np.zeros(1),
        np.array([SHADOW, 0, 0, 0, 0, 0]),
        np.full(LATCHES, -1),
        np.zeros(5),
        np.zeros(days + 2),
        Games(
            np.zeros((5, 5)),
            np.zeros(1),
            np.zeros((5, 5)),
            np.zeros((2, 2)),
            np.zeros(1),
            np.zeros(5),
        ),
        Games(
            np.zeros((5, 5)),
            np.zeros(1),
            np.zeros((5, 5)),
            np.zeros((2, 2)),
            np.zeros(1),
            np.zeros(5),
        ),
    )
    _forget(life, bounds)
    return life


@njit(cache=True, nogil=True)
def live(
    signals: Signals, days: int, bounds: Bounds, weights: Floats, phases: Ints, breakers: Ints
) -> None:
    """Live one life; fills weight, phase and breakers that fired for each day, shape (days + 1,)."""
    life, blended = _new_life(bounds, days), np.zeros(len(signals.p_win))
    breached = np.zeros(LATCHES, np.bool_)
    for day in range(1, days + 1):
        if _settle_day(life, signals, blended, day, bounds):
            breakers[day] += BY_STREAK
            _disable(life, day, bounds)
        if (
            life.marks[RETRAIN]
            and day % bounds.retrain_days == 0
            and day > life.marks[EVIDENCE_SINCE]
        ):
            life.marks[RETRAIN], life.marks[EVIDENCE_SINCE], life.marks[PHASE_SINCE] = 0, day, day
            _forget(life, bounds)
        breakers[day] += max(_limited(life, signals, day, bounds, breached), 0)
        if day % bounds.evaluation_days == 0:
            found = _limited(life, signals, day, bounds, breached)
            breakers[day] += max(found, 0)
            if found == NOTHING:
                _evaluate(life, signals, day, bounds)
        if day % bounds.review_days == 0:
            _review(life, signals, blended, day, bounds, breached)
        weights[day], phases[day] = life.weight[0], life.marks[PHASE]


@njit(cache=True, nogil=True)
def live_all(
    signals: Signals,
    first: Ints,
    starts: Ints,
    days: int,
    bounds: Bounds,
    weights: Floats,
    phases: Ints,
    breakers: Ints,
) -> None:
    """Live many lives, whose signals lie one life after the other.

    Args:
        signals: Of all lives; its ``starts`` is not looked at.
        first: First signal of each life, and their number last, shape (lives + 1,).
        starts: ``Signals.starts`` of each life, shape (lives, days + 2).
        days: Length of a life.
        bounds: The policy.
        weights: Filled in, like ``phases`` and ``breakers``: shape (lives, days + 1).
        phases: Number of the phase.
        breakers: Sum of the flags of those that fired.
    """
    for life in range(len(first) - 1):
        rows = slice(first[life], first[life + 1])
        one = Signals(
            starts[life],
            signals.day[rows],
            signals.p_win[rows],
            signals.existing[rows],
            signals.ml[rows],
            signals.won[rows],
            signals.returns[rows],
            signals.treated[rows],
        )
        live(one, days, bounds, weights[life], phases[life], breakers[life])


def bounds_of(policy: WeightPolicy, threshold: float, retrain_days: int = 7) -> Bounds:
    """Return ``policy`` for compiled code; ``threshold`` is the confidence over which a book takes a signal."""
    limits, steps, gates, sequential = policy.limits, policy.steps, policy.gates, policy.sequential
    bands = [policy.band(phase) for phase in PHASES]
    factors = (
        limits.cut_accuracy_factor,
        limits.drawdown_factor,
        limits.sharpe_factor,
        sequential.cut_factor,
    )
    return Bounds(
        sequential=policy.evidence == "sequential",
        threshold=threshold,
        floors=tuple(band.floor for band in bands),
        ceilings=tuple(band.ceiling for band in bands),
        min_weight=policy.min_weight,
        window_days=policy.window_days,
        window_max_days=policy.window_max_days,
        min_settled=policy.min_settled,
        evaluation_days=policy.evaluation_days,
        review_days=policy.review_days,
        breaker_accuracy=limits.breaker_accuracy,
        breaker_streak=limits.breaker_streak,
        cut_accuracy=limits.cut_accuracy,
        drawdown_ratio=limits.drawdown_ratio,
        sharpe_shortfall=limits.sharpe_shortfall,
        factors=factors,
        latch_days=limits.latch_days,
        step=steps.size,
        raise_accuracy=steps.raise_accuracy,
        lower_accuracy=steps.lower_accuracy,
        step_shortfall=steps.sharpe_shortfall,
        shadow_days=gates.shadow_days,
        shadow_settled=gates.shadow_settled,
        shadow_accuracy=gates.shadow_accuracy,
        pilot_days=gates.pilot_days,
        arm_signals=gates.pilot_arm_signals,
        arm_errors=gates.pilot_arm_errors,
        fewest=binom.ppf(gates.pilot_sample_ratio_p / 2, np.arange(ARM_SIGNALS), 0.5)
        .astype(np.int64)
        .clip(0),
        expansion_days=gates.expansion_days,
        expansion_improvement=gates.expansion_improvement,
        expansion_drawdown=gates.expansion_drawdown,
        retrain_days=retrain_days,
        rise=sequential.rise,
        confirm=sequential.confirm,
        cut=sequential.cut,
        disable=sequential.disable,
        initial_share=sequential.bets.initial_share,
        bets=compile_bets(sequential.bets),
    )
