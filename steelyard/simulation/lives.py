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
    Table,
    bets,
    copy_table,
    decay_value,
    play,
    reset_table,
    skill_value,
)
from steelyard.weight.policy import PHASES, WeightPolicy

Ints = NDArray[np.int64]

SHADOW, PILOT, EXPANSION, OPTIMIZATION = 1, 2, 3, 4
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
    smallest: float
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
    at_once: float
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


class Now(NamedTuple):
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
    table: Table
    closed: Table


PHASE, PHASE_SINCE, EVIDENCE_SINCE, RETRAIN, STREAK, BET = range(6)


class Seen(NamedTuple):
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
def _seen(signals: Signals, day: int, since: int, days: int, wanted: int, longest: int) -> Seen:
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
    return Seen(first, last, begins, settled, right / settled if settled else math.nan)


@njit(cache=True, nogil=True)
def _book(
    signals: Signals, confidence: Floats, seen: Seen, day: int, daily: Floats, threshold: float
) -> Book:
    days = max(day - seen.begins, 1)
    daily[:days] = 0.0
    trades, wins, total, peak, drawdown = 0, 0, 0.0, 0.0, 0.0
    for i in range(seen.first, seen.last):
        if confidence[i] > threshold:
            gain = signals.returns[i]
            trades, wins, total = trades + 1, wins + (gain > 0), total + gain
            daily[signals.day[i] - 1 - seen.begins] += gain
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
def _disable(now: Now, day: int, bounds: Bounds) -> None:
    now.weight[0] = 0.0
    now.marks[PHASE], now.marks[PHASE_SINCE], now.marks[EVIDENCE_SINCE], now.marks[RETRAIN] = (
        SHADOW,
        day,
        day,
        1,
    )
    _forget(now, bounds)
    now.latches[:] = -1


@njit(cache=True, nogil=True)
def _forget(now: Now, bounds: Bounds) -> None:
    now.marks[STREAK] = 0
    now.sums[:] = 0.0
    reset_table(now.table, bounds.at_once)


@njit(cache=True, nogil=True)
def _put(now: Now, weight: float, day: int, bounds: Bounds) -> None:
    highest = now.marks[PHASE]
    weight = min(weight, bounds.ceilings[highest])
    phase = SHADOW
    if weight >= bounds.smallest:
        phase = PILOT
        for higher in range(PILOT, highest + 1):
            if weight >= bounds.floors[higher]:
                phase = higher
    _enter(now, phase, weight if phase > SHADOW else 0.0, day)


@njit(cache=True, nogil=True)
def _enter(now: Now, phase: int, weight: float, day: int) -> None:
    now.weight[0] = round(weight, 10)
    if phase != now.marks[PHASE]:
        now.marks[PHASE_SINCE] = day
    now.marks[PHASE] = phase


@njit(cache=True, nogil=True)
def _breaker(now: Now, seen: Seen, decay: float, bounds: Bounds) -> int:
    """Return which breakers fire, as a sum of flags; the streak is looked at when a signal settles."""
    if now.marks[RETRAIN]:
        return NOTHING
    found = NOTHING
    confirmed = not bounds.sequential or decay >= bounds.cut
    if (
        seen.settled >= bounds.min_settled
        and not seen.accuracy >= bounds.breaker_accuracy
        and confirmed
    ):
        found += BY_ACCURACY
    if bounds.sequential and decay >= bounds.disable:
        found += BY_DECAY
    return found


@njit(cache=True, nogil=True)
def _breached(
    ml: Book, base: Book, seen: Seen, decay: float, bounds: Bounds, breached: Bools
) -> None:
    """Fill in which cuts are breached, shape (4,)."""
    confirmed = not bounds.sequential or decay >= bounds.confirm
    breached[ACCURACY] = confirmed and not seen.accuracy >= bounds.cut_accuracy
    breached[DRAWDOWN] = confirmed and not ml.drawdown <= bounds.drawdown_ratio * base.drawdown
    unknown = math.isnan(ml.sharpe) or math.isnan(base.sharpe)
    breached[SHARPE] = (
        confirmed or unknown
    ) and not ml.sharpe >= base.sharpe - bounds.sharpe_shortfall * abs(base.sharpe)
    breached[DECAY] = bounds.sequential and decay >= bounds.cut


@njit(cache=True, nogil=True)
def _cut(now: Now, breached: Bools, day: int, bounds: Bounds) -> bool:
    """Multiply what breached and is not latched, set and release latches; returns whether anything was cut."""
    weight, fired = now.weight[0], False
    for limit in range(LATCHES):
        latched = now.latches[limit] >= 0 and day < now.latches[limit] + bounds.latch_days
        if not breached[limit] or now.weight[0] == 0:
            now.latches[limit] = -1
        elif not latched:
            now.latches[limit], weight, fired = day, weight * bounds.factors[limit], True
    if fired:
        _put(now, weight, day, bounds)
    return fired


@njit(cache=True, nogil=True)
def _limited(now: Now, signals: Signals, day: int, bounds: Bounds, breached: Bools) -> int:
    """Look at breakers and cuts as guard and evaluation do; returns breakers that fired, −1 for a cut, 0 for nothing."""
    seen = _seen(
        signals,
        day,
        now.marks[EVIDENCE_SINCE],
        bounds.window_days,
        bounds.min_settled,
        bounds.window_max_days,
    )
    decay = decay_value(now.table)
    found = _breaker(now, seen, decay, bounds)
    if found:
        _disable(now, day, bounds)
        return found
    if seen.settled < bounds.min_settled:
        return NOTHING
    if now.weight[0] > 0:
        ml, base = _pair(signals, seen, day, now.daily, bounds.threshold)
        _breached(ml, base, seen, decay, bounds, breached)
    return -1 if _cut(now, breached, day, bounds) else NOTHING


@njit(cache=True, nogil=True)
def _pair(
    signals: Signals, seen: Seen, day: int, daily: Floats, threshold: float
) -> tuple[Book, Book]:
    ml = _book(signals, signals.ml, seen, day, daily, threshold)
    return ml, _book(signals, signals.existing, seen, day, daily, threshold)


@njit(cache=True, nogil=True)
def _evaluate(now: Now, signals: Signals, day: int, bounds: Bounds) -> None:
    """Take the monthly step."""
    seen = _seen(
        signals,
        day,
        now.marks[EVIDENCE_SINCE],
        bounds.window_days,
        bounds.min_settled,
        bounds.window_max_days,
    )
    if seen.settled < bounds.min_settled or now.marks[PHASE] == SHADOW or (now.latches >= 0).any():
        return
    ml, base = _pair(signals, seen, day, now.daily, bounds.threshold)
    if _earned(now, ml, base, seen, bounds):
        room = bounds.ceilings[now.marks[PHASE]] - now.weight[0]
        if room > 1e-9:
            _put(now, now.weight[0] + min(bounds.step, room), day, bounds)
        return
    unknown = math.isnan(ml.sharpe) or math.isnan(base.sharpe)
    confirmed = not bounds.sequential or unknown or decay_value(now.table) >= bounds.confirm
    if confirmed and not _healthy(ml, base, seen, bounds):
        _put(now, now.weight[0] - min(bounds.step, now.weight[0]), day, bounds)


@njit(cache=True, nogil=True)
def _earned(now: Now, ml: Book, base: Book, seen: Seen, bounds: Bounds) -> bool:
    month = seen.accuracy > bounds.raise_accuracy and ml.sharpe > base.sharpe
    if not bounds.sequential:
        return bool(month)
    life = now.sums[1] > max(now.sums[2], now.sums[0] - now.sums[2]) and now.sums[3] > now.sums[4]
    return bool((month or (life and _healthy(ml, base, seen, bounds))) and _proven(now, bounds))


@njit(cache=True, nogil=True)
def _healthy(ml: Book, base: Book, seen: Seen, bounds: Bounds) -> bool:
    least = base.sharpe - bounds.step_shortfall * abs(base.sharpe)
    return bool(seen.accuracy >= bounds.lower_accuracy and ml.sharpe >= least)


@njit(cache=True, nogil=True)
def _proven(now: Now, bounds: Bounds) -> bool:
    return skill_value(now.table) >= bounds.rise and decay_value(now.table) < bounds.confirm


@njit(cache=True, nogil=True)
def _review(
    now: Now, signals: Signals, blended: Floats, day: int, bounds: Bounds, breached: Bools
) -> None:
    """Open the gate where every criterion of the phase is met."""
    phase = now.marks[PHASE]
    if phase == OPTIMIZATION or now.marks[RETRAIN]:
        return
    since = max(now.marks[EVIDENCE_SINCE], now.marks[PHASE_SINCE])
    wanted = bounds.shadow_settled if phase == SHADOW else bounds.min_settled
    seen = _seen(signals, day, since, bounds.window_days, wanted, 1_000_000)
    ml, base = _pair(signals, seen, day, now.daily, bounds.threshold)
    if not _unlimited(now, ml, base, seen, bounds, breached):
        return
    mixed = _book(signals, blended, seen, day, now.daily, bounds.threshold)
    met = False
    if phase == SHADOW:
        met = _leaves_shadow(now, signals, seen, day, bounds)
    elif phase == PILOT:
        met = _leaves_pilot(now, signals, mixed, base, seen, blended, day, bounds)
    else:
        met = _leaves_expansion(now, mixed, base, seen, day, bounds)
    if met:
        _enter(now, phase + 1, max(now.weight[0], bounds.floors[phase + 1]), day)


@njit(cache=True, nogil=True)
def _unlimited(now: Now, ml: Book, base: Book, seen: Seen, bounds: Bounds, breached: Bools) -> bool:
    decay = decay_value(now.table)
    if (now.latches >= 0).any() or _breaker(now, seen, decay, bounds):
        return False
    if seen.settled < bounds.min_settled:
        return True
    _breached(ml, base, seen, decay, bounds, breached)
    return not breached.any()


@njit(cache=True, nogil=True)
def _leaves_shadow(now: Now, signals: Signals, seen: Seen, day: int, bounds: Bounds) -> bool:
    won = signals.won[seen.first : seen.last].sum()
    rate = max(won, seen.settled - won) / max(seen.settled, 1)
    accurate = seen.accuracy > bounds.shadow_accuracy and seen.accuracy > rate
    waited = day - now.marks[PHASE_SINCE] >= bounds.shadow_days
    return bool(waited and seen.settled >= bounds.shadow_settled and accurate)


@njit(cache=True, nogil=True)
def _leaves_pilot(
    now: Now,
    signals: Signals,
    mixed: Book,
    base: Book,
    seen: Seen,
    blended: Floats,
    day: int,
    bounds: Bounds,
) -> bool:
    if day - now.marks[PHASE_SINCE] < bounds.pilot_days or seen.settled < bounds.min_settled:
        return False
    if bounds.sequential and not _proven(now, bounds):
        return False
    better = mixed.drawdown <= base.drawdown + 1e-12 and mixed.sharpe >= base.sharpe - 1e-12
    if mixed.trades == 0 or base.trades == 0 or not better:
        return False
    richer = mixed.total / mixed.trades >= base.total / base.trades - 1e-12
    surer = mixed.wins / mixed.trades >= base.wins / base.trades - 1e-12
    return bool(richer and surer and _arms(signals, blended, seen, bounds))


@njit(cache=True, nogil=True)
def _arms(signals: Signals, blended: Floats, seen: Seen, bounds: Bounds) -> bool:
    sums = np.zeros((2, 3))
    for i in range(seen.first, seen.last):
        arm = int(signals.treated[i])
        taken = blended[i] > bounds.threshold if arm else signals.existing[i] > bounds.threshold
        gain = signals.returns[i] if taken else 0.0
        sums[arm, 0] += 1
        sums[arm, 1] += gain
        sums[arm, 2] += gain * gain
    fewest = min(sums[0, 0], sums[1, 0])
    if (
        fewest < max(bounds.arm_signals, 2)
        or fewest < bounds.fewest[min(seen.settled, len(bounds.fewest) - 1)]
    ):
        return False
    means = sums[:, 1] / sums[:, 0]
    errors = (sums[:, 2] / sums[:, 0] - means**2) / (sums[:, 0] - 1)
    return bool(
        means[1] - means[0] >= -bounds.arm_errors * math.sqrt(max(errors.sum(), 0.0)) - 1e-12
    )


@njit(cache=True, nogil=True)
def _leaves_expansion(
    now: Now, mixed: Book, base: Book, seen: Seen, day: int, bounds: Bounds
) -> bool:
    if day - now.marks[PHASE_SINCE] < bounds.expansion_days or seen.settled < bounds.min_settled:
        return False
    if bounds.sequential and not _proven(now, bounds):
        return False
    at_top = now.weight[0] >= bounds.ceilings[EXPANSION] - 1e-12
    size = abs(base.total)
    improved = size > 0 and (mixed.total - base.total) / size > bounds.expansion_improvement
    return bool(at_top and improved and mixed.drawdown <= bounds.expansion_drawdown + 1e-12)


@njit(cache=True, nogil=True)
def _settle_day(now: Now, signals: Signals, blended: Floats, day: int, bounds: Bounds) -> bool:
    """Settle what ends on ``day``; returns whether the losing streak breaks it."""
    first, last = signals.starts[day], signals.starts[day + 1]
    weight = now.weight[0]
    for i in range(first, last):
        blended[i] = (1 - weight) * signals.existing[i] + weight * signals.ml[i]
    broken = _count(now, signals, first, last, bounds)
    _bet(now, signals, first, last, day, bounds)
    return bool(broken and not now.marks[RETRAIN])


@njit(cache=True, nogil=True)
def _bet(now: Now, signals: Signals, first: int, last: int, day: int, bounds: Bounds) -> None:
    """Play the bet that runs, as far as it has settled; the days of a bet are counted from the begin of the evidence."""
    if (day - 1 - now.marks[EVIDENCE_SINCE]) % bounds.bets.days == 0:
        now.marks[BET] = first
        copy_table(now.table, now.closed)
    else:
        copy_table(now.closed, now.table)
    rows = slice(now.marks[BET], last)
    if last > now.marks[BET]:
        classes = (signals.existing[rows] > bounds.threshold).astype(np.int64)
        play(now.table, bounds.bets, signals.p_win[rows], classes, signals.won[rows])


@njit(cache=True, nogil=True)
def _count(now: Now, signals: Signals, first: int, last: int, bounds: Bounds) -> bool:
    """Add signals [first, last) to the sums of the life; returns whether a losing streak went over its bound."""
    broken = False
    for i in range(first, last):
        won, gain = signals.won[i], signals.returns[i]
        now.sums[0] += 1
        now.sums[1] += (signals.p_win[i] > 0.5) == won
        now.sums[2] += won
        if signals.ml[i] > bounds.threshold:
            now.marks[STREAK] = 0 if won else now.marks[STREAK] + 1
            now.sums[3] += gain
            broken = broken or now.marks[STREAK] > bounds.breaker_streak
        if signals.existing[i] > bounds.threshold:
            now.sums[4] += gain
    return broken


@njit(cache=True, nogil=True)
def _fresh(bounds: Bounds, days: int) -> Now:
    now = Now(
        np.zeros(1),
        np.array([SHADOW, 0, 0, 0, 0, 0]),
        np.full(LATCHES, -1),
        np.zeros(5),
        np.zeros(days + 2),
        Table(
            np.zeros((5, 5)),
            np.zeros(1),
            np.zeros((5, 5)),
            np.zeros((2, 2)),
            np.zeros(1),
            np.zeros(5),
        ),
        Table(
            np.zeros((5, 5)),
            np.zeros(1),
            np.zeros((5, 5)),
            np.zeros((2, 2)),
            np.zeros(1),
            np.zeros(5),
        ),
    )
    _forget(now, bounds)
    return now


@njit(cache=True, nogil=True)
def live(
    signals: Signals, days: int, bounds: Bounds, weights: Floats, phases: Ints, breakers: Ints
) -> None:
    """Live one life; fills weight, phase and breakers that fired for each day, shape (days + 1,)."""
    now, blended = _fresh(bounds, days), np.zeros(len(signals.p_win))
    breached = np.zeros(LATCHES, np.bool_)
    for day in range(1, days + 1):
        if _settle_day(now, signals, blended, day, bounds):
            breakers[day] += BY_STREAK
            _disable(now, day, bounds)
        if (
            now.marks[RETRAIN]
            and day % bounds.retrain_days == 0
            and day > now.marks[EVIDENCE_SINCE]
        ):
            now.marks[RETRAIN], now.marks[EVIDENCE_SINCE], now.marks[PHASE_SINCE] = 0, day, day
            _forget(now, bounds)
        breakers[day] += max(_limited(now, signals, day, bounds, breached), 0)
        if day % bounds.evaluation_days == 0:
            found = _limited(now, signals, day, bounds, breached)
            breakers[day] += max(found, 0)
            if found == NOTHING:
                _evaluate(now, signals, day, bounds)
        if day % bounds.review_days == 0:
            _review(now, signals, blended, day, bounds, breached)
        weights[day], phases[day] = now.weight[0], now.marks[PHASE]


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
        smallest=policy.smallest,
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
        at_once=sequential.bets.at_once,
        bets=bets(sequential.bets),
    )
