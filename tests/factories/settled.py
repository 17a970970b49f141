"""Settled predictions made to measure."""

import numpy as np
import pandas as pd

from factories.evidence import EARLIER


def settled(n: int, **columns: object) -> pd.DataFrame:
    """``n`` signals a day apart, all won with 1 % at a stop 2 % away, confidence 80, no difference between the books."""
    decided = pd.Timestamp(EARLIER) + pd.to_timedelta(np.arange(n), unit="D")
    frame = pd.DataFrame(
        {
            "signal_id": [f"S:{i}:buy" for i in range(n)],
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
            "won": pd.array([True] * n, dtype="boolean"),
            "exit_reason": "target",
            "hold_minutes": 60.0,
            "slippage_bps": 4.0,
            "stop_distance": 0.02,
        }
    )
    return frame.assign(**columns)
