"""Training samples whose true relation to the outcome is known."""

import numpy as np

from steelyard.learning.samples import Samples, WeightedRows
from steelyard.market.overlap import uniqueness

NAMES = tuple(f"f{number}" for number in range(6))


def make_samples(count: int, signal: float = 0.0, hold_hours: int = 20, seed: int = 0) -> Samples:
    """``count`` samples, one every six hours; log odds of a win: ``signal`` times feature 0."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, len(NAMES)))
    decided = np.datetime64("2020-01-01", "ns") + np.arange(count) * np.timedelta64(6, "h")
    won = rng.random(count) < 1 / (1 + np.exp(-signal * x[:, 0]))
    settled = decided + (rng.integers(1, hold_hours + 1, count) * np.timedelta64(1, "h"))
    return Samples(
        signal_id=np.array([f"S:{i}:buy" for i in range(count)]),
        decided_at=decided,
        settled_at=settled,
        x=x,
        won=won,
        confidence_existing=rng.uniform(30, 100, count),
        uniqueness=uniqueness(np.zeros(count, dtype=np.int64), decided, settled),
        feature_names=NAMES,
    )


def weighted(samples: Samples) -> WeightedRows:
    """Return all samples, each with the weight of its uniqueness."""
    return samples.rows(np.arange(len(samples)), samples.uniqueness)
