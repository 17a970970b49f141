"""Lives under the configured policy, compiled: guard, evaluation and gates, day by day.

The rules are those of ``weight.rules`` and the figures those of ``evaluation.figures``, which the
readable code calls too. Formed here are only sums over signals, in one pass and without a frame. A
test holds compiled and readable lives against each other, day by day.

A life begins in shadow with a champion, or with trainings that the first gate judges. Each day its
signals settle, the losing streaks are checked, a retraining that is due brings a new champion, and
guard, evaluation and gate follow. Latency, coverage and fallbacks are in order; no operator holds
the weight.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from steelyard.compiled import compiled, shared
from steelyard.evaluation.books import Bools, Floats
from steelyard.evaluation.figures import (
    annual_sharpe,
    base_rate_loss,
    called_right,
    clustered_error,
    first_needed,
    improvement,
    larger_share,
    neighbour_correlation,
    share,
    streak_by_chance,
    trades_a_year,
    window_short,
)
from steelyard.evaluation.skill import (
    BASE_RATES,
    PAIRS,
    ROWS,
    STAKES,
    Games,
    copy_games,
    decay_value,
    head_start,
    play_bet,
    reset_games,
    skill_value,
)
from steelyard.simulation.bounds import Bounds
from steelyard.weight.rules import (
    CUTS,
    EXPANSION,
    NO_CUT,
    OPTIMIZATION,
    PILOT,
    SHADOW,
    at_least,
    at_most,
    blend_confidence,
    blend_keeps_up,
    bounded_weight,
    breach_confirmed,
    chance_shortfall,
    cut_effect,
    decay_fires,
    drawdown_bound,
    exceeds,
    is_pivotal,
    month_healthy,
    over,
    phase_of_weight,
    recorded_weight,
    shortfall_bound,
    skill_proven,
    step_down,
    step_up,
    time_passed,
    treatment_not_worse,
    under,
    weight_on_entry,
)

Ints = NDArray[np.int64]

ACCURACY, DRAWDOWN, SHARPE, DECAY = range(4)
"""Positions of the cuts among the latches."""
CUT_COUNT = 4
NOTHING, BY_ACCURACY, BY_STREAK, BY_DECAY = 0, 1, 2, 4
"""Flags of the breakers."""
CUT_FIRED = -1
(
    PHASE,
    PHASE_SINCE,
    EVIDENCE_SINCE,
    RETRAIN,
    STREAK,
    BET,
    SKILL_SINCE,
    CUT_SINCE,
    LOSING_DAYS,
) = range(9)
"""Positions among ``LifeState.marks``."""
SETTLED, RIGHT, WON, ML_RETURN, BASELINE_RETURN, TRADES, TRADES_WON, FIRST_WON, LAST_WON, BOTH = (
    range(10)
)
"""Positions among ``LifeState.sums``."""
UNLIMITED_DAYS = 1_000_000


class Signals(NamedTuple):
    """The settled signals of a life, in the order they were decided.

    Attributes:
        starts: First signal of each day, shape (days + 2,); day 0 has none.
        day: Day each was decided and settled, from 1, shape (n,).
        p_win: Calibrated probability of a win, in (0, 1), shape (n,).
        existing: Confidence of the existing system, 0 to 100, shape (n,).
        ml: Confidence of the model, 0 to 100, shape (n,).
        won: Whether it was won, shape (n,).
        returns: Return on the account if it is taken, shape (n,).
        treated: Whether the blend decides it in a pilot, shape (n,).
    """

    starts: Ints
    day: Ints
    p_win: Floats
    existing: Floats
    ml: Floats
    won: Bools
    returns: Floats
    treated: Bools


class Beginning(NamedTuple):
    """How a life begins.

    Attributes:
        lead: Days before its begin, whose signals are history.
        holdout: Signals of the holdout of a training; 0: none.
        first_gate: Trainings go on until the first gate lets a version in; otherwise a champion
            serves from the begin.
        head_start: The holdout's evidence is the capital the evidence of skill begins with.
    """

    lead: int
    holdout: int
    first_gate: bool
    head_start: bool


class Begun(NamedTuple):
    """Day on which the first champion serves, and the capital its holdout gives the evidence."""

    day: int
    capital: float


class LifeState(NamedTuple):
    """State of a life; its arrays are changed in place.

    Attributes:
        weight: Weight in force, shape (1,).
        marks: Phase, day it began, day the figures began, retraining required (0 or 1),
            consecutive ML losses, first signal of the running bet, day the evidence of skill began,
            day of the last cut, consecutive losing days of the ml book; shape (9,).
        latches: Day each cut fired, −1 if it is not latched; shape (4,).
        clear: Day since which the limit of a latched cut is clear, −1 if it is not; shape (4,).
        sums: Settled signals, right ones, won ones, return of the ml and of the baseline book;
            trades of the ml book, those won, whether the first and the last were won, and pairs of
            neighbours both won; all since the evidence of skill began; shape (10,).
        daily: Scratch space for daily returns, shape (days + 2,).
        games: Games of the evidence with the running bet; ``closed_games`` without it.
    """

    weight: Floats
    marks: Ints
    latches: Ints
    clear: Ints
    sums: Floats
    daily: Floats
    games: Games
    closed_games: Games


class Window(NamedTuple):
    """Window that is judged on one day.

    Attributes:
        first: First signal; ``last`` is the one after its last.
        begins: Day it begins after.
        settled: Number of signals.
        accuracy: Share of them where ``p_win > 0.5`` was right; NaN without any.
    """

    first: int
    last: int
    begins: int
    settled: int
    accuracy: float


class BookFigures(NamedTuple):
    """Measures of one book in a window, named as in ``evaluation.books.Book``.

    Attributes:
        total_return: Return on the account, summed.
        mean_return: The same per signal taken; NaN without any.
        win_rate: Share of the signals taken that gained; NaN without any.
        sharpe: Annualised Sharpe ratio of daily returns; NaN if they do not vary.
        max_drawdown: Maximum drawdown, share of the account.
    """

    total_return: float
    mean_return: float
    win_rate: float
    sharpe: float
    max_drawdown: float


@shared
def _find_window(
    signals: Signals, day: int, since: int, days: int, needed: int, max_days: int
) -> Window:
    last, oldest = signals.starts[day + 1], signals.starts[since + 1]
    begins = max(day - days, since)
    first = signals.starts[begins + 1]
    if window_short(last - first, needed, last - oldest):
        reaching = oldest + first_needed(last - oldest, needed)
        if reaching < first:
            first, begins = reaching, signals.day[reaching] - 1
    if begins < day - max_days:
        begins = day - max_days
        first = signals.starts[begins + 1]
    right = 0
    for i in range(first, last):
        right += called_right(signals.p_win[i], signals.won[i])
    settled = last - first
    return Window(first, last, begins, settled, share(right, settled))


@shared
def _find_month(life: LifeState, signals: Signals, day: int, bounds: Bounds) -> Window:
    since, days, max_days = life.marks[EVIDENCE_SINCE], bounds.window_days, bounds.window_max_days
    return _find_window(signals, day, since, days, bounds.min_settled, max_days)


@shared
def _judge_book(
    signals: Signals, confidence: Floats, window: Window, day: int, daily: Floats, threshold: float
) -> BookFigures:
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
    sharpe = _sharpe(daily, days, total)
    return BookFigures(total, share(total, trades), share(wins, trades), sharpe, drawdown)


@shared
def _sharpe(daily: Floats, days: int, total: float) -> float:
    """Return ``metrics.sharpe`` of the first ``days`` entries, which sum to ``total``."""
    if days < 2:
        return math.nan
    mean, squares = total / days, 0.0
    for day in range(days):
        squares += (daily[day] - mean) ** 2
    return annual_sharpe(mean, math.sqrt(squares / (days - 1)))


@shared
def _disable(life: LifeState, day: int, bounds: Bounds, by_streak: bool) -> None:
    """Take the weight to 0; a streak keeps the evidence of skill (SPEC §6)."""
    life.weight[0] = 0.0
    life.latches[:], life.clear[:] = -1, -1
    life.marks[PHASE], life.marks[RETRAIN] = SHADOW, 1
    _judge_from(life, day)
    if not by_streak:
        _reset_skill(life, day, bounds, 1.0)


@shared
def _judge_from(life: LifeState, day: int) -> None:
    """Begin phase and figures on ``day``."""
    life.marks[PHASE_SINCE], life.marks[EVIDENCE_SINCE] = day, day
    life.marks[STREAK], life.marks[LOSING_DAYS] = 0, 0


@shared
def _reset_skill(life: LifeState, day: int, bounds: Bounds, capital: float) -> None:
    """Begin the evidence of skill on ``day`` with the capital a holdout gives it."""
    life.marks[SKILL_SINCE] = day
    life.sums[:] = 0.0
    reset_games(life.games, bounds.initial_share, capital)


@shared
def _set_weight(life: LifeState, weight: float, day: int, bounds: Bounds) -> None:
    highest = life.marks[PHASE]
    bounded = bounded_weight(weight, bounds.ceilings[highest], bounds.min_weight)
    _enter_phase(life, phase_of_weight(bounded, highest, bounds.floors), bounded, day)


@shared
def _enter_phase(life: LifeState, phase: int, weight: float, day: int) -> None:
    life.weight[0] = recorded_weight(weight)
    if phase != life.marks[PHASE]:
        life.marks[PHASE_SINCE] = day
    life.marks[PHASE] = phase


@shared
def _fire_breakers(life: LifeState, window: Window, decay: float, bounds: Bounds) -> int:
    """Return the flags of the breakers that fire; streaks are checked as signals settle."""
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


@shared
def _measure_cuts(
    ml: BookFigures,
    baseline: BookFigures,
    window: Window,
    decay: float,
    bounds: Bounds,
    breached: Bools,
) -> None:
    """Write which cuts are breached and confirmed into ``breached``, shape (4,)."""
    accuracy, drawdown, sharpe = _breaches(ml, baseline, window, bounds)
    unknown_sharpe = math.isnan(ml.sharpe) or math.isnan(baseline.sharpe)
    breached[ACCURACY] = accuracy and _confirmed(decay, math.isnan(window.accuracy), bounds)
    breached[DRAWDOWN] = drawdown and _confirmed(decay, False, bounds)
    breached[SHARPE] = sharpe and _confirmed(decay, unknown_sharpe, bounds)
    breached[DECAY] = decay_fires(bounds.sequential, decay, bounds.cut)


@shared
def _breaches(
    ml: BookFigures, baseline: BookFigures, window: Window, bounds: Bounds
) -> tuple[bool, bool, bool]:
    """Return whether accuracy, drawdown and Sharpe breach their limits, confirmed or not."""
    deepest = drawdown_bound(baseline.max_drawdown, bounds.drawdown_ratio)
    lowest = shortfall_bound(baseline.sharpe, bounds.sharpe_shortfall)
    return (
        under(window.accuracy, bounds.cut_accuracy),
        over(ml.max_drawdown, deepest),
        under(ml.sharpe, lowest),
    )


@shared
def _warned(ml: BookFigures, baseline: BookFigures, window: Window, bounds: Bounds) -> bool:
    """Return whether a limit is breached that holds the weight though nothing confirms it."""
    if not bounds.sequential:
        return False
    accuracy, drawdown, sharpe = _breaches(ml, baseline, window, bounds)
    return accuracy or drawdown or sharpe


@shared
def _confirmed(decay: float, unknown: bool, bounds: Bounds) -> bool:
    return breach_confirmed(bounds.sequential, decay, bounds.confirm, unknown)


@shared
def _apply_cuts(life: LifeState, breached: Bools, day: int, bounds: Bounds) -> bool:
    """Apply the breached cuts that are not latched, settle the latches; return if a cut fired."""
    weight, fired = life.weight[0], False
    for limit in range(CUT_COUNT):
        if breached[limit]:
            life.clear[limit] = -1
        elif life.clear[limit] < 0:
            life.clear[limit] = day
        latched = life.latches[limit] >= 0
        expired = time_passed(day, life.latches[limit], bounds.latch_days)
        cleared = life.clear[limit] >= 0 and time_passed(day, life.clear[limit], bounds.clear_days)
        effect = cut_effect(breached[limit], life.weight[0], latched, expired, cleared)
        if effect == NO_CUT:
            life.latches[limit] = -1
        elif effect == CUTS:
            life.latches[limit], weight, fired = day, weight * bounds.factors[limit], True
    if fired:
        life.marks[CUT_SINCE] = day
        _set_weight(life, weight, day, bounds)
    return fired


@shared
def _enforce_limits(
    life: LifeState, signals: Signals, day: int, bounds: Bounds, breached: Bools
) -> int:
    """Apply breakers and cuts; return the flags of breakers, ``CUT_FIRED`` or ``NOTHING``."""
    window = _find_month(life, signals, day, bounds)
    decay = decay_value(life.games)
    fired = _fire_breakers(life, window, decay, bounds)
    if fired:
        _disable(life, day, bounds, False)
        return fired
    if window.settled < bounds.min_settled:
        return NOTHING
    if life.weight[0] > 0 or (life.latches >= 0).any():
        ml, baseline = _judge_books(signals, window, day, life.daily, bounds.threshold)
        _measure_cuts(ml, baseline, window, decay, bounds, breached)
    return CUT_FIRED if _apply_cuts(life, breached, day, bounds) else NOTHING


@shared
def _judge_books(
    signals: Signals, window: Window, day: int, daily: Floats, threshold: float
) -> tuple[BookFigures, BookFigures]:
    ml = _judge_book(signals, signals.ml, window, day, daily, threshold)
    return ml, _judge_book(signals, signals.existing, window, day, daily, threshold)


@shared
def _evaluate(life: LifeState, signals: Signals, day: int, bounds: Bounds) -> None:
    """Take the monthly step."""
    window = _find_month(life, signals, day, bounds)
    if (
        window.settled < bounds.min_settled
        or life.marks[PHASE] == SHADOW
        or (life.latches >= 0).any()
    ):
        return
    ml, baseline = _judge_books(signals, window, day, life.daily, bounds.threshold)
    if _step_earned(life, ml, baseline, window, bounds):
        if _warned(ml, baseline, window, bounds):
            return
        step = step_up(life.weight[0], bounds.step, bounds.ceilings[life.marks[PHASE]])
        if step > 0:
            _set_weight(life, life.weight[0] + step, day, bounds)
        return
    unknown = math.isnan(window.accuracy) or math.isnan(ml.sharpe) or math.isnan(baseline.sharpe)
    confirmed = _confirmed(decay_value(life.games), unknown, bounds)
    if confirmed and not _is_healthy(ml, baseline, window, bounds):
        life.marks[CUT_SINCE] = day
        _set_weight(life, life.weight[0] - step_down(life.weight[0], bounds.step), day, bounds)


@shared
def _step_earned(
    life: LifeState, ml: BookFigures, baseline: BookFigures, window: Window, bounds: Bounds
) -> bool:
    month = exceeds(window.accuracy, bounds.raise_accuracy) and exceeds(ml.sharpe, baseline.sharpe)
    if not bounds.sequential:
        return month
    settled = life.sums[SETTLED]
    rate = larger_share(life.sums[WON], settled)
    lifetime = exceeds(share(life.sums[RIGHT], settled), rate) and exceeds(
        life.sums[ML_RETURN], life.sums[BASELINE_RETURN]
    )
    earned = month or (lifetime and _is_healthy(ml, baseline, window, bounds))
    return earned and _may_rise(life, bounds.rise, bounds)


@shared
def _is_healthy(ml: BookFigures, baseline: BookFigures, window: Window, bounds: Bounds) -> bool:
    lowest = shortfall_bound(baseline.sharpe, bounds.step_shortfall)
    return month_healthy(window.accuracy, bounds.lower_accuracy, ml.sharpe, lowest)


@shared
def _may_rise(life: LifeState, needed: float, bounds: Bounds) -> bool:
    """Return whether the evidence reaches ``needed`` and the ml book has not lost over its life."""
    return _is_proven(life, needed, bounds) and at_least(life.sums[ML_RETURN], 0.0)


@shared
def _is_proven(life: LifeState, needed: float, bounds: Bounds) -> bool:
    skill, decay = skill_value(life.games), decay_value(life.games)
    return skill_proven(skill, decay, needed, bounds.confirm)


@shared
def _review_gate(
    life: LifeState, signals: Signals, blended: Floats, day: int, bounds: Bounds, breached: Bools
) -> None:
    """Open the gate if every criterion of the phase is met."""
    phase = life.marks[PHASE]
    if phase == OPTIMIZATION or life.marks[RETRAIN]:
        return
    since = _judged_since(life)
    needed = bounds.shadow_settled if phase == SHADOW else bounds.min_settled
    window = _find_window(signals, day, since, bounds.window_days, needed, UNLIMITED_DAYS)
    ml, baseline = _judge_books(signals, window, day, life.daily, bounds.threshold)
    if not _within_limits(life, ml, baseline, window, bounds, breached):
        return
    blended_book = _judge_book(signals, blended, window, day, life.daily, bounds.threshold)
    opens = False
    if phase == SHADOW:
        opens = _leaves_shadow(life, signals, window, day, bounds)
    elif phase == PILOT:
        opens = _leaves_pilot(life, signals, blended_book, baseline, window, blended, day, bounds)
    else:
        opens = _leaves_expansion(life, blended_book, baseline, window, day, bounds)
    if opens:
        _enter_phase(
            life, phase + 1, weight_on_entry(life.weight[0], bounds.floors[phase + 1]), day
        )


@shared
def _within_limits(
    life: LifeState,
    ml: BookFigures,
    baseline: BookFigures,
    window: Window,
    bounds: Bounds,
    breached: Bools,
) -> bool:
    decay = decay_value(life.games)
    if (life.latches >= 0).any() or _fire_breakers(life, window, decay, bounds):
        return False
    if window.settled < bounds.min_settled:
        return True
    _measure_cuts(ml, baseline, window, decay, bounds, breached)
    return not (breached.any() or _warned(ml, baseline, window, bounds))


@shared
def _judged_since(life: LifeState) -> int:
    """Return the day from which a gate counts: begin of phase or figures, or the last cut."""
    return int(max(life.marks[EVIDENCE_SINCE], life.marks[PHASE_SINCE], life.marks[CUT_SINCE]))


@shared
def _enough_pivotal(
    life: LifeState, signals: Signals, blended: Floats, window: Window, day: int, bounds: Bounds
) -> bool:
    """Return whether the blend decided enough signals differently to be judged (SPEC §5)."""
    first, last = window.first, window.last
    weight = bounds.floors[life.marks[PHASE] + 1]
    if bounds.sequential:
        first = signals.starts[_judged_since(life) + 1]
    pivotal, threshold = 0, bounds.threshold
    for i in range(first, last):
        existing = signals.existing[i]
        if bounds.sequential:
            pivotal += int(is_pivotal(existing, signals.ml[i], weight, threshold))
        else:
            pivotal += int((existing > threshold) != (blended[i] > threshold))
    return bool(pivotal >= bounds.pilot_pivotal)


@shared
def _leaves_shadow(
    life: LifeState, signals: Signals, window: Window, day: int, bounds: Bounds
) -> bool:
    won = signals.won[window.first : window.last].sum()
    accurate = exceeds(window.accuracy, bounds.shadow_accuracy)
    if bounds.sequential:
        if not _may_rise(life, bounds.leave_shadow, bounds):
            return False
        accurate = accurate or _is_proven(life, bounds.rise, bounds)
    informed = exceeds(window.accuracy, larger_share(won, window.settled))
    waited = day - _judged_since(life) >= bounds.shadow_days
    return bool(waited and window.settled >= bounds.shadow_settled and accurate and informed)


@shared
def _may_be_promoted(life: LifeState, window: Window, day: int, days: int, bounds: Bounds) -> bool:
    """Return whether a phase with a weight lasted long enough, is at its floor and proven."""
    if day - _judged_since(life) < days or window.settled < bounds.min_settled:
        return False
    if not at_least(life.weight[0], bounds.floors[life.marks[PHASE]]):
        return False
    return not bounds.sequential or _may_rise(life, bounds.rise, bounds)


@shared
def _leaves_pilot(
    life: LifeState,
    signals: Signals,
    blended_book: BookFigures,
    baseline: BookFigures,
    window: Window,
    blended: Floats,
    day: int,
    bounds: Bounds,
) -> bool:
    if not _may_be_promoted(life, window, day, bounds.pilot_days, bounds):
        return False
    if not _enough_pivotal(life, signals, blended, window, day, bounds):
        return False
    richer, surer, smoother, shallower = blend_keeps_up(blended_book, baseline)
    keeps_up = richer and surer and smoother and shallower
    return bool(keeps_up and _arms_allow(signals, blended, window, bounds))


@shared
def _arms_allow(signals: Signals, blended: Floats, window: Window, bounds: Bounds) -> bool:
    sums, gains = np.zeros((2, 2)), np.zeros(window.last - window.first)
    for i in range(window.first, window.last):
        arm = int(signals.treated[i])
        taken = blended[i] > bounds.threshold if arm else signals.existing[i] > bounds.threshold
        gains[i - window.first] = signals.returns[i] if taken else 0.0
        sums[arm, 0] += 1
        sums[arm, 1] += gains[i - window.first]
    fewest = min(sums[0, 0], sums[1, 0])
    if (
        fewest < max(bounds.arm_signals, 2)
        or fewest < bounds.smaller_arm_min[min(window.settled, len(bounds.smaller_arm_min) - 1)]
    ):
        return False
    means = sums[:, 1] / sums[:, 0]
    squares, days, of_day = 0.0, 1, 0.0
    for i in range(window.first, window.last):
        if i > window.first and signals.day[i] != signals.day[i - 1]:
            squares, days, of_day = squares + of_day**2, days + 1, 0.0
        arm = int(signals.treated[i])
        deviation = (gains[i - window.first] - means[arm]) / sums[arm, 0]
        of_day += deviation if arm else -deviation
    error = clustered_error(squares + of_day**2, days)
    bound = chance_shortfall(bounds.arm_errors, error)
    return treatment_not_worse(means[1] - means[0], bound)


@shared
def _leaves_expansion(
    life: LifeState,
    blended_book: BookFigures,
    baseline: BookFigures,
    window: Window,
    day: int,
    bounds: Bounds,
) -> bool:
    if not _may_be_promoted(life, window, day, bounds.expansion_days, bounds):
        return False
    at_top = at_least(life.weight[0], bounds.ceilings[EXPANSION])
    days = max(day - window.begins, 1)
    gain = improvement(blended_book.total_return, baseline.total_return, days)
    improved = exceeds(gain, bounds.expansion_improvement)
    return at_top and improved and at_most(blended_book.max_drawdown, bounds.expansion_drawdown)


@shared
def _settle_day(
    life: LifeState, signals: Signals, blended: Floats, day: int, bounds: Bounds
) -> bool:
    """Settle the signals of ``day``; returns whether the losing streak disables the model."""
    first, last = signals.starts[day], signals.starts[day + 1]
    weight = life.weight[0]
    for i in range(first, last):
        blended[i] = blend_confidence(weight, signals.existing[i], signals.ml[i])
    broken = _count_settled(life, signals, first, last, day, bounds)
    _play_bet(life, signals, first, last, day, bounds)
    return bool(broken and not life.marks[RETRAIN])


@shared
def _play_bet(
    life: LifeState, signals: Signals, first: int, last: int, day: int, bounds: Bounds
) -> None:
    """Play the running bet as far as it has settled; bets begin with the evidence."""
    if (day - 1 - life.marks[SKILL_SINCE]) % bounds.bets.days == 0:
        life.marks[BET] = first
        copy_games(life.games, life.closed_games)
    else:
        copy_games(life.closed_games, life.games)
    rows = slice(life.marks[BET], last)
    if last > life.marks[BET]:
        classes = (signals.existing[rows] > bounds.threshold).astype(np.int64)
        play_bet(life.games, bounds.bets, signals.p_win[rows], classes, signals.won[rows])


@shared
def _count_settled(
    life: LifeState, signals: Signals, first: int, last: int, day: int, bounds: Bounds
) -> bool:
    """Add signals [first, last) to the sums; return if a losing streak exceeded its bound."""
    broken, trades, day_return = False, 0, 0.0
    for i in range(first, last):
        won, gain = signals.won[i], signals.returns[i]
        life.sums[SETTLED] += 1
        life.sums[RIGHT] += called_right(signals.p_win[i], won)
        life.sums[WON] += won
        if signals.ml[i] > bounds.threshold:
            trades, day_return = trades + 1, day_return + gain
            life.sums[ML_RETURN] += gain
            _count_trade(life, won)
            broken = broken or _streak_too_long(life, day, bounds)
        if signals.existing[i] > bounds.threshold:
            life.sums[BASELINE_RETURN] += gain
    if trades:
        life.marks[LOSING_DAYS] = life.marks[LOSING_DAYS] + 1 if day_return < 0 else 0
    too_many_days = over(life.marks[LOSING_DAYS], bounds.breaker_losing_days)
    broken = broken or _streak_too_long(life, day, bounds)  # the bound may have fallen meanwhile
    return broken or (bounds.sequential and too_many_days)


@shared
def _count_trade(life: LifeState, won: bool) -> None:
    life.marks[STREAK] = 0 if won else life.marks[STREAK] + 1
    if life.sums[TRADES]:
        life.sums[BOTH] += won and life.sums[LAST_WON] > 0
    else:
        life.sums[FIRST_WON] = won
    life.sums[TRADES] += 1
    life.sums[TRADES_WON] += won
    life.sums[LAST_WON] = won


@shared
def _streak_too_long(life: LifeState, day: int, bounds: Bounds) -> bool:
    if not over(life.marks[STREAK], bounds.breaker_streak):
        return False
    return not bounds.sequential or over(life.marks[STREAK], _streak_by_chance(life, day, bounds))


@shared
def _streak_by_chance(life: LifeState, day: int, bounds: Bounds) -> float:
    trades, won = life.sums[TRADES], life.sums[TRADES_WON]
    correlation = math.nan
    if trades >= PAIRS:
        correlation = neighbour_correlation(
            trades - 1, won - life.sums[LAST_WON], won - life.sums[FIRST_WON], life.sums[BOTH]
        )
    pace = trades_a_year(trades, day - life.marks[SKILL_SINCE])
    return streak_by_chance(pace, bounds.cut_accuracy, correlation, bounds.streak_years)


@shared
def _empty_games() -> Games:
    return Games(
        skill=np.zeros((len(BASE_RATES), len(BASE_RATES), len(STAKES))),
        reserve=np.zeros(1),
        decay=np.zeros((len(BASE_RATES), len(BASE_RATES))),
        centre=np.zeros((2, 5)),
        growth=np.zeros(1),
        scores=np.zeros(3),
        rows=np.zeros((len(ROWS), 3)),
    )


@shared
def _begin_life(bounds: Bounds, days: int, day: int, capital: float) -> LifeState:
    """Return a life in shadow on ``day``, its evidence with the capital a holdout gives it."""
    life = LifeState(
        np.zeros(1),
        np.array([SHADOW, 0, 0, 0, 0, 0, 0, 0, 0]),
        np.full(CUT_COUNT, -1),
        np.full(CUT_COUNT, -1),
        np.zeros(10),
        np.zeros(days + 2),
        _empty_games(),
        _empty_games(),
    )
    _judge_from(life, day)
    _reset_skill(life, day, bounds, capital)
    return life


@shared
def _train_first(signals: Signals, beginning: Beginning, days: int, bounds: Bounds) -> Begun:
    """Return when the first champion is admitted, and the capital its holdout gives the evidence.

    A training a week has the latest signals as its holdout until the first gate lets one in.
    """
    for day in range(beginning.lead, days + 1, bounds.retrain_days):
        training = (day - beginning.lead) // bounds.retrain_days + 1
        last = signals.starts[day + 1]
        first = max(last - beginning.holdout, 0)
        admitted, skill = _judge_holdout(signals, first, last, bounds)
        if admitted or not beginning.first_gate:
            capital = head_start(skill, training) if beginning.head_start else 1.0
            return Begun(day, capital)
    return Begun(days + 1, 1.0)


@shared
def _judge_holdout(signals: Signals, first: int, last: int, bounds: Bounds) -> tuple[bool, float]:
    """Return whether the first gate lets a version in, and the evidence of its holdout."""
    games, right, won, loss = _empty_games(), 0, 0, 0.0
    reset_games(games, bounds.initial_share, 1.0)
    begun = first
    for i in range(first, last):
        right += called_right(signals.p_win[i], signals.won[i])
        won += signals.won[i]
        loss -= math.log(signals.p_win[i] if signals.won[i] else 1 - signals.p_win[i])
        bet = (signals.day[i] - signals.day[first]) // bounds.bets.days
        if i + 1 == last or (signals.day[i + 1] - signals.day[first]) // bounds.bets.days > bet:
            rows = slice(begun, i + 1)
            classes = (signals.existing[rows] > bounds.threshold).astype(np.int64)
            play_bet(games, bounds.bets, signals.p_win[rows], classes, signals.won[rows])
            begun = i + 1
    settled, skill = last - first, skill_value(games)
    accuracy, rate = share(right, settled), larger_share(won, settled)
    accurate = exceeds(accuracy, bounds.first_accuracy) and exceeds(accuracy, rate)
    lost = loss / max(settled, 1)
    proven = (
        bounds.sequential and at_least(skill, bounds.rise) and lost < base_rate_loss(won, settled)
    )
    return accurate or proven, skill


@compiled
def live(
    signals: Signals,
    days: int,
    beginning: Beginning,
    bounds: Bounds,
    weights: Floats,
    phases: Ints,
    breakers: Ints,
) -> None:
    """Live one life.

    Args:
        signals: Settled signals of the life, those before its begin included.
        days: Length of the life, the days before its begin included.
        beginning: How it begins.
        bounds: The policy.
        weights: Filled in with the weight at the end of each day, shape (days + 1,); the days
            before a champion serves stay as they are.
        phases: Filled in with the position of the phase, shape (days + 1,).
        breakers: Filled in with the sum of the flags of fired breakers, shape (days + 1,).
    """
    begun = _train_first(signals, beginning, days, bounds)
    life = _begin_life(bounds, days, begun.day, begun.capital)
    blended, breached = np.zeros(len(signals.p_win)), np.zeros(CUT_COUNT, np.bool_)
    for day in range(begun.day + 1, days + 1):
        if _settle_day(life, signals, blended, day, bounds):
            breakers[day] += BY_STREAK
            _disable(life, day, bounds, True)
        if (
            life.marks[RETRAIN]
            and day % bounds.retrain_days == 0
            and day > life.marks[EVIDENCE_SINCE]
        ):
            life.marks[RETRAIN] = 0
            if life.marks[SKILL_SINCE] == life.marks[EVIDENCE_SINCE]:
                _reset_skill(life, day, bounds, 1.0)
            _judge_from(life, day)
        breakers[day] += max(_enforce_limits(life, signals, day, bounds, breached), 0)
        if day % bounds.evaluation_days == 0:
            fired = _enforce_limits(life, signals, day, bounds, breached)
            breakers[day] += max(fired, 0)
            if fired == NOTHING:
                _evaluate(life, signals, day, bounds)
        if day % bounds.review_days == 0:
            _review_gate(life, signals, blended, day, bounds, breached)
        weights[day], phases[day] = life.weight[0], life.marks[PHASE]


@compiled
def live_all(
    signals: Signals,
    first: Ints,
    starts: Ints,
    days: int,
    beginning: Beginning,
    bounds: Bounds,
    weights: Floats,
    phases: Ints,
    breakers: Ints,
) -> None:
    """Live many lives, whose signals lie one life after the other.

    Args:
        signals: Signals of all lives, shape (n,); its own ``starts`` is ignored.
        first: First signal of each life, and the number of signals last, shape (lives + 1,).
        starts: ``Signals.starts`` of each life, shape (lives, days + 2).
        days: Length of a life, the days before its begin included.
        beginning: How each life begins.
        bounds: The policy.
        weights: Filled in with the weight at the end of each day, shape (lives, days + 1).
        phases: Filled in with the position of the phase, shape (lives, days + 1).
        breakers: Filled in with the sum of the flags of fired breakers, shape (lives, days + 1).
    """
    for life in range(len(first) - 1):
        rows = slice(first[life], first[life + 1])
        own_signals = Signals(
            starts[life],
            signals.day[rows],
            signals.p_win[rows],
            signals.existing[rows],
            signals.ml[rows],
            signals.won[rows],
            signals.returns[rows],
            signals.treated[rows],
        )
        live(own_signals, days, beginning, bounds, weights[life], phases[life], breakers[life])
