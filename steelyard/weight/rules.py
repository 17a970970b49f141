"""Scalar rules of limits, ladder and gates, each written once for Python and compiled code.

Python callers run them as plain Python; the kernels of ``steelyard.simulation.lives`` inline them.
Comparisons are written so that NaN falls on the safe side: it breaches every limit, meets no
criterion and becomes weight 0.
"""

import math
from typing import Any

from steelyard.compiled import shared

SHADOW, PILOT, EXPANSION, OPTIMIZATION = 1, 2, 3, 4
"""Positions in ``policy.PHASES``."""
TOLERANCE = 1e-12
"""Rounding that a comparison of two sums over the same signals may show."""
SMALLEST_ROOM = 1e-9
"""Room under a ceiling below which a step would only be rounding."""
WEIGHT_DIGITS = 10
"""Digits a weight is rounded to, so that steps of 0.05 stay exact in the record."""

NO_CUT, LATCHED, CUTS = range(3)
"""Effects of a cut: none, and it is released; it stays latched; it cuts now."""


@shared
def blend_confidence(weight: Any, existing: Any, ml: Any) -> Any:
    """Return the blended confidence, ``(1 − weight)·existing + weight·ml`` (SPEC §4).

    Args:
        weight: Share of the model, in [0, 0.70].
        existing: Confidence of the existing system, 0 to 100; a number or an array of shape (n,).
        ml: Confidence of the model on the same scale and of the same shape; NaN gives NaN, so the
            caller decides what a missing opinion means.
    """
    return (1 - weight) * existing + weight * ml


@shared
def is_pivotal(existing: Any, ml: Any, weight: Any, threshold: Any) -> Any:
    """Return whether the blend decides a signal differently from the existing system.

    Args:
        existing: Confidence of the existing system, 0 to 100; a number or an array of shape (n,).
        ml: Confidence of the model on the same scale and of the same shape, without NaN.
        weight: Share of the model, in [0, 0.70].
        threshold: Confidence above which a signal is taken.
    """
    return (existing > threshold) != (blend_confidence(weight, existing, ml) > threshold)


@shared
def under(figure: float, lowest: float) -> bool:
    """Return whether ``figure`` breaches a lower limit.

    Args:
        figure: Measured value; NaN breaches.
        lowest: Smallest value allowed; NaN is breached by everything.
    """
    return not figure >= lowest


@shared
def over(figure: float, highest: float) -> bool:
    """Return whether ``figure`` breaches an upper limit.

    Args:
        figure: Measured value; NaN breaches.
        highest: Largest value allowed; NaN is breached by everything.
    """
    return not figure <= highest


@shared
def exceeds(figure: float, bound: float) -> bool:
    """Return whether a criterion "more than ``bound``" is met.

    Args:
        figure: Measured value; NaN and infinity do not meet it.
        bound: Value to beat; NaN is beaten by nothing.
    """
    return math.isfinite(figure) and figure > bound


@shared
def at_least(figure: float, bound: float) -> bool:
    """Return whether a criterion "not less than ``bound``" is met, but for ``TOLERANCE``.

    Args:
        figure: Measured value; NaN and infinity do not meet it.
        bound: Value to reach; NaN is reached by nothing.
    """
    return math.isfinite(figure) and figure >= bound - TOLERANCE


@shared
def at_most(figure: float, bound: float) -> bool:
    """Return whether a criterion "not more than ``bound``" is met, but for ``TOLERANCE``.

    Args:
        figure: Measured value; NaN and infinity do not meet it.
        bound: Value not to pass; NaN admits nothing.
    """
    return math.isfinite(figure) and figure <= bound + TOLERANCE


@shared
def shortfall_bound(baseline: float, share: float) -> float:
    """Return the value ``share`` below ``baseline``, also below a negative one (SPEC §6).

    Args:
        baseline: Figure of the baseline book, e.g. its Sharpe ratio; NaN gives NaN.
        share: Shortfall relative to the baseline's size, in [0, 1].
    """
    return baseline - share * abs(baseline)


@shared
def drawdown_bound(baseline: float, ratio: float) -> float:
    """Return the deepest drawdown allowed beside the baseline's.

    Args:
        baseline: Drawdown of the baseline book, share of the account; NaN gives NaN.
        ratio: Multiple of it that is allowed, at least 1.
    """
    return ratio * baseline


@shared
def decay_reaches(decay: float, bound: float) -> bool:
    """Return whether the evidence that the model's claims no longer hold reaches ``bound``.

    Args:
        decay: Evidence of decay, months; NaN (nothing known) reaches every bound.
        bound: Months at which it counts.
    """
    return not decay < bound


@shared
def breach_confirmed(binding: bool, decay: float, bound: float, unknown: bool) -> bool:
    """Return whether a breached limit takes effect.

    Args:
        binding: Lifetime evidence binds (sequential mode); else every breach takes effect.
        decay: Evidence of decay, months; NaN (no lifetime evidence) confirms.
        bound: Months of decay that confirm the breach.
        unknown: A figure of the limit is NaN, which needs no confirmation.
    """
    return not binding or unknown or decay_reaches(decay, bound)


@shared
def decay_fires(binding: bool, decay: float, bound: float) -> bool:
    """Return whether the limit on decay itself is breached; in ladder mode it never is.

    Args:
        binding: Lifetime evidence binds (sequential mode).
        decay: Evidence of decay, months; NaN breaches.
        bound: Months of decay that breach it.
    """
    return binding and decay_reaches(decay, bound)


@shared
def time_passed(now: Any, since: Any, duration: Any) -> bool:
    """Return whether ``duration`` has passed.

    Args:
        now: Moment looked at, a datetime; in the simulator the number of a day.
        since: Moment it began, likewise.
        duration: A timedelta; in the simulator a number of days.
    """
    return bool(now >= since + duration)


@shared
def cut_effect(breached: bool, weight: float, latched: bool, expired: bool, cleared: bool) -> int:
    """Return what a cut does: ``NO_CUT``, ``LATCHED`` or ``CUTS``.

    Args:
        breached: Its limit is breached, and the breach is confirmed.
        weight: Weight in force; at 0 there is nothing to cut.
        latched: It fired before and is not released yet.
        expired: So long ago that it may fire again though its limit stayed breached.
        cleared: Its limit has been clear for so long that the latch is released.
    """
    if breached and weight > 0:
        return LATCHED if latched and not expired else CUTS
    return LATCHED if latched and not (expired or cleared) else NO_CUT


@shared
def month_healthy(
    accuracy: float, lowest_accuracy: float, ml_sharpe: float, lowest_sharpe: float
) -> bool:
    """Return whether the month asks for no step down (SPEC §6.4).

    Args:
        accuracy: Accuracy of the window, in [0, 1]; NaN is not healthy.
        lowest_accuracy: Smallest accuracy without a step down.
        ml_sharpe: Sharpe ratio of the ml book; NaN is not healthy.
        lowest_sharpe: ``shortfall_bound`` of the baseline's Sharpe ratio; NaN: nothing is healthy.
    """
    return accuracy >= lowest_accuracy and ml_sharpe >= lowest_sharpe


@shared
def skill_proven(skill: float, decay: float, rise: float, confirm: float) -> bool:
    """Return whether the lifetime evidence lets the weight rise.

    Args:
        skill: e-value of the model's skill; NaN proves nothing.
        decay: Evidence of decay, months; NaN proves nothing.
        rise: e-value needed.
        confirm: Months of decay from which the claims are doubted.
    """
    return not decay_reaches(decay, confirm) and skill >= rise


@shared
def step_up(weight: float, size: float, ceiling: float) -> float:
    """Return the step up that fits under the ceiling of the phase; 0 without room.

    Args:
        weight: Weight in force.
        size: Size of a whole step.
        ceiling: Highest weight of the phase.
    """
    room = ceiling - weight
    return min(size, room) if room > SMALLEST_ROOM else 0.0


@shared
def step_down(weight: float, size: float) -> float:
    """Return by how much a step down lowers the weight, which ends at 0.

    Args:
        weight: Weight in force.
        size: Size of a whole step.
    """
    return min(size, weight)


@shared
def bounded_weight(weight: float, ceiling: float, smallest: float) -> float:
    """Return ``weight`` within its ceiling; 0 if it is too small to matter.

    Args:
        weight: Weight asked for; NaN becomes 0.
        ceiling: Highest weight of the phase.
        smallest: Weight below which the model has no influence at all.
    """
    bounded = min(weight, ceiling)
    return bounded if bounded >= smallest else 0.0


@shared
def phase_of_weight(weight: float, highest: int, floors: tuple[float, ...]) -> int:
    """Return the position of the phase that holds ``weight``: shadow at 0, else pilot or higher.

    Args:
        weight: Weight in force from now on.
        highest: Position of the phase in force; no weight promotes beyond it.
        floors: Lowest weight of each phase, by position in ``policy.PHASES``.
    """
    if weight <= 0:
        return SHADOW
    phase = PILOT
    for higher in range(PILOT, highest + 1):
        if weight >= floors[higher]:
            phase = higher
    return phase


@shared
def weight_on_entry(weight: float, floor: float) -> float:
    """Return the weight after a promotion: at least the floor of the new phase.

    Args:
        weight: Weight before.
        floor: Lowest weight of the new phase.
    """
    return max(weight, floor)


@shared
def recorded_weight(weight: float) -> float:
    """Return ``weight`` rounded as the state records it."""
    return round(weight, WEIGHT_DIGITS)


@shared
def blend_keeps_up(blended: Any, baseline: Any) -> tuple[bool, bool, bool, bool]:
    """Return whether the blended book keeps up with the baseline (SPEC §5, pilot).

    Args:
        blended: Book with ``mean_return``, ``win_rate``, ``sharpe`` and ``max_drawdown``; NaN,
            for example without a trade, does not keep up.
        baseline: The same of the baseline.

    Returns:
        One answer for each of these measures, in this order.
    """
    return (
        at_least(blended.mean_return, baseline.mean_return),
        at_least(blended.win_rate, baseline.win_rate),
        at_least(blended.sharpe, baseline.sharpe),
        at_most(blended.max_drawdown, baseline.max_drawdown),
    )


@shared
def split_fair(probability: float, lowest: float) -> bool:
    """Return whether chance explains the split of the arms.

    Args:
        probability: Of a split at least as uneven; NaN, without any signal, speaks for nothing.
        lowest: Smallest probability that passes.
    """
    return not probability < lowest


@shared
def chance_shortfall(errors: float, standard_error: float) -> float:
    """Return how far below control treatment may lie by chance, a negative number.

    Args:
        errors: Standard errors allowed.
        standard_error: Of the difference of the arms, share of the account; NaN gives NaN.
    """
    return -errors * standard_error


@shared
def treatment_not_worse(difference: float, bound: float) -> bool:
    """Return whether treatment earned no less than control, but for what chance explains.

    Args:
        difference: Mean account return per signal, treatment minus control; NaN fails.
        bound: ``chance_shortfall`` of the two arms; NaN fails.
    """
    return difference >= bound - TOLERANCE
