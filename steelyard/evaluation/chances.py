"""Chances under the normal and the binomial distribution, without SciPy's hundred megabytes."""

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from steelyard.compiled import compiled, shared

Floats = NDArray[np.float64]


@shared
def normal_share(bound: float) -> float:
    """Return the share of a standard normal distribution under ``bound``; NaN for NaN."""
    return 0.5 * math.erfc(-bound / math.sqrt(2.0))


@compiled
def normal_shares(bounds: Floats) -> Floats:
    """Return ``normal_share`` of each bound, shape (n,)."""
    shares = np.empty_like(bounds)
    for position in range(len(bounds)):
        shares[position] = normal_share(bounds[position])
    return shares


def normal_bound(share: float) -> float:
    """Return the bound under which a share of a standard normal distribution lies.

    Raises:
        ValueError: If ``share`` is not in (0, 1).
    """
    return NormalDist().inv_cdf(share)


def chance_of_at_most(hits: int, trials: int, share: float) -> float:
    """Return the binomial probability of at most this many hits, to ten digits.

    Args:
        hits: Hits, 0 to ``trials``.
        trials: Independent trials.
        share: Probability of a hit, in [0, 1].
    """
    if hits < 0:
        return 0.0
    if hits >= trials or share <= 0:
        return 1.0
    if share >= 1:
        return 0.0
    log_factorials = np.concatenate(([0.0], np.cumsum(np.log(np.arange(1, trials + 1)))))
    some = np.arange(hits + 1)
    ways = log_factorials[trials] - log_factorials[some] - log_factorials[trials - some]
    logs = ways + some * math.log(share) + (trials - some) * math.log1p(-share)
    return min(1.0, math.fsum(np.exp(logs)))
