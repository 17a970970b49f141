"""Samples with a known truth."""

import numpy as np

from steelyard.learning.samples import Samples

NAMES = tuple(f"f{n}" for n in range(6))


def make_samples(n: int, signal: float = 0.0, hold_hours: int = 20, seed: int = 0) -> Samples:
    """``n`` signals six hours apart; the log odds of a win are ``signal`` times the first feature."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, len(NAMES)))
    decided = np.datetime64("2020-01-01", "ns") + np.arange(n) * np.timedelta64(6, "h")
    won = rng.random(n) < 1 / (1 + np.exp(-signal * x[:, 0]))
    return Samples(
        signal_id=np.array([f"S:{i}:buy" for i in range(n)]),
        decided_at=decided,
        settled_at=decided + (rng.integers(1, hold_hours + 1, n) * np.timedelta64(1, "h")),
        x=x,
        won=won,
        confidence_existing=rng.uniform(30, 100, n),
        feature_names=NAMES,
    )
