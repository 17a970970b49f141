"""Settled predictions with chosen columns."""

import numpy as np
import pandas as pd

from factories.evidence import EARLIER
from steelyard.evaluation.books import SizingPolicy
from steelyard.evaluation.positions import PositionLimits, take_positions

UNLIMITED = PositionLimits(max_positions=1_000_000, max_exposure=1e9)


def settled(count: int, **columns: object) -> pd.DataFrame:
    """``count`` daily signals, all won with 1 % at a stop of 2 %; confidence 80 in every book."""
    decided = pd.Timestamp(EARLIER) + pd.to_timedelta(np.arange(count), unit="D")
    frame = pd.DataFrame(
        {
            "signal_id": [f"S:{i}:buy" for i in range(count)],
            "symbol": "S",
            "side": "buy",
            "decided_at": decided.astype("datetime64[ns, UTC]"),
            "settled_at": (decided + pd.Timedelta("12h")).astype("datetime64[ns, UTC]"),
            "model_version": "1",
            "p_win": 0.6,
            "confidence_existing": 80.0,
            "confidence_ml": 80.0,
            "blended": 80.0,
            "weight": 0.0,
            "arm": "all",
            "decision": True,
            "pivotal": False,
            "latency_ms": 0.1,
            "fallback_reason": None,
            "net_return": 0.01,
            "won": pd.array([True] * count, dtype="boolean"),
            "exit_reason": "target",
            "hold_minutes": 60.0,
            "slippage_bps": 4.0,
            "stop_distance": 0.02,
        }
    )
    return frame.assign(**columns)


def held(count: int, limits: PositionLimits = UNLIMITED, **columns: object) -> pd.DataFrame:
    """The same signals as the books hold them."""
    return take_positions(settled(count, **columns), SizingPolicy(), limits)
