"""The weight policy as compiled code reads it."""

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from steelyard.evaluation.ab_test import split_probability
from steelyard.evaluation.skill import Bets, compile_bets
from steelyard.weight.policy import PHASES, WeightPolicy
from steelyard.weight.rules import split_fair

G = 9
MAX_ARM_SIGNALS = 4000  # more than a pilot holds


class Bounds(NamedTuple):
    """``WeightPolicy`` for compiled code.

    Attributes:
        sequential: Lifetime evidence binds.
        threshold: Confidence above which a book takes a signal, 0 to 100.
        floors: Lowest weight of each phase, by position in ``PHASES``; ``ceilings`` the highest.
        factors: What each cut multiplies the weight by: accuracy, drawdown, Sharpe, decay.
        smaller_arm_min: Signals the smaller arm needs for the split to count as fair, by the
            signals in both arms, shape (``MAX_ARM_SIGNALS``,).
        retrain_days: Days between two trainings; each yields a champion if one is required.
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
    breaker_losing_days: int
    streak_years: float
    cut_accuracy: float
    drawdown_ratio: float
    sharpe_shortfall: float
    factors: tuple[float, ...]
    latch_days: int
    clear_days: int
    step: float
    raise_accuracy: float
    lower_accuracy: float
    step_shortfall: float
    shadow_days: int
    shadow_settled: int
    shadow_accuracy: float
    pilot_days: int
    pilot_pivotal: int
    gatewin: int
    arm_signals: int
    arm_errors: float
    smaller_arm_min: NDArray[np.int64]
    expansion_days: int
    expansion_improvement: float
    expansion_drawdown: float
    retrain_days: int
    first_accuracy: float
    leave_shadow: float
    rise: float
    confirm: float
    cut: float
    disable: float
    initial_share: float
    bets: Bets


def compile_bounds(
    policy: WeightPolicy, threshold: float, first_accuracy: float = 0.55, retrain_days: int = 7
) -> Bounds:
    """Return ``policy`` for compiled code.

    Args:
        policy: The policy of the weight.
        threshold: Confidence above which a book takes a signal, 0 to 100.
        first_accuracy: Accuracy a first champion's holdout must exceed (``gate_accuracy``).
        retrain_days: Days between two trainings.
    """
    limits, steps, gates, sequential = policy.limits, policy.steps, policy.gates, policy.sequential
    bands = [policy.band(phase) for phase in PHASES]
    factors = (
        limits.cut_accuracy_factor,
        limits.drawdown_factor,
        limits.sharpe_factor,
        sequential.cut_factor,
    )
    return Bounds(
        sequential=policy.evidence_binds,
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
        breaker_losing_days=limits.breaker_losing_days,
        streak_years=limits.streak_years,
        cut_accuracy=limits.cut_accuracy,
        drawdown_ratio=limits.drawdown_ratio,
        sharpe_shortfall=limits.sharpe_shortfall,
        factors=factors,
        latch_days=limits.latch_days,
        clear_days=limits.clear_days,
        step=steps.size,
        raise_accuracy=steps.raise_accuracy,
        lower_accuracy=steps.lower_accuracy,
        step_shortfall=steps.sharpe_shortfall,
        shadow_days=gates.shadow_days,
        shadow_settled=gates.shadow_settled,
        shadow_accuracy=gates.shadow_accuracy,
        pilot_days=gates.pilot_days,
        pilot_pivotal=gates.pilot_pivotal,
        gatewin=G,
        arm_signals=gates.pilot_arm_signals,
        arm_errors=gates.pilot_arm_errors,
        smaller_arm_min=_smallest_fair_arms(gates.pilot_sample_ratio_p),
        expansion_days=gates.expansion_days,
        expansion_improvement=gates.expansion_improvement,
        expansion_drawdown=gates.expansion_drawdown,
        retrain_days=retrain_days,
        first_accuracy=first_accuracy,
        leave_shadow=sequential.leave_shadow,
        rise=sequential.rise,
        confirm=sequential.confirm,
        cut=sequential.cut,
        disable=sequential.disable,
        initial_share=sequential.bets.initial_share,
        bets=compile_bets(sequential.bets),
    )


@cache
def _smallest_fair_arms(lowest_probability: float) -> NDArray[np.int64]:
    """Return ``Bounds.smaller_arm_min``; one more signal raises the bound by one at most."""
    fewer, smallest = 0, np.zeros(MAX_ARM_SIGNALS, dtype=np.int64)
    for assigned in range(MAX_ARM_SIGNALS):
        while not split_fair(split_probability(fewer, assigned), lowest_probability):
            fewer += 1
        smallest[assigned] = fewer
    return smallest
