"""The explanation of one decision, from what was recorded when it was made."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from steelyard.errors import FixConfiguration, RestoreService
from steelyard.home import Home
from steelyard.learning.model import Model
from steelyard.market.features import SCORE, feature_set_hash

TOP = 8
AGREES = 1e-9
NEAREST = 3


def explained(home: Home, signal_id: str) -> dict[str, Any]:
    """Return why a signal was traded or not, as plain JSON values; unknown values are None.

    Args:
        home: Opened home.
        signal_id: ``symbol:timestamp:side``.

    Raises:
        FixConfiguration: If no prediction has this id.
    """
    row = home.ledger.signal(signal_id)
    if row is None:
        raise FixConfiguration(
            f"no signal {signal_id} was predicted here; {_nearest(home, signal_id)}"
        )
    row = {name: _plain(value) for name, value in row.items()}
    threshold = home.settings.books.threshold
    return {
        "signal": {name: row[name] for name in ("signal_id", "symbol", "side", "decided_at")},
        "answer": answer(row, threshold),
        "existing": {
            "confidence": row["confidence_existing"],
            "scores": _scores(row["features"] or {}),
        },
        "model": _model(home, row),
        "blend": {name: row[name] for name in ("weight", "blended", "arm", "decision", "pivotal")}
        | {"threshold": threshold},
        "outcome": _outcome(row),
    }


def _nearest(home: Home, signal_id: str) -> str:
    """Return ids that begin with ``signal_id``, else with its symbol, else the latest."""
    for start in (signal_id, f"{signal_id.partition(':')[0]}:"):
        similar = home.ledger.ids_starting_with(start) if start.strip(":") else []
        if similar:
            return f"known are {', '.join(similar)}"
    latest = ", ".join(home.ledger.latest_ids(NEAREST)) or "none"
    return f"an id is SYMBOL:TIMESTAMP:side, the latest: {latest}"


def answer(row: Mapping[str, Any], threshold: float) -> str:
    """Return the decision and the formula behind it in one sentence.

    Args:
        row: Recorded prediction by column.
        threshold: Confidence above which a signal is traded, 0-100.
    """
    weight, existing = row["weight"], row["confidence_existing"]
    if row["confidence_ml"] is None:
        formula = f"the existing system decided alone ({row['fallback_reason']}): {existing:.1f}"
    elif row["arm"] == "control":
        formula = f"control arm of the pilot, the existing system decided: {existing:.1f}"
    else:
        parts = f"{1 - weight:.0%} × {existing:.1f} + {weight:.0%} × {row['confidence_ml']:.1f}"
        formula = f"{parts} = {row['blended']:.1f}"
    verdict = "traded" if row["decision"] else "left"
    pivotal = "; pivotal: without the model it would have ended otherwise"
    changed = bool(row["pivotal"]) and row["arm"] != "control"
    return f"{verdict}: {formula} against {threshold:g}{pivotal if changed else ''}"


def _scores(features: Mapping[str, float]) -> dict[str, float | None]:
    return {
        name.removeprefix(SCORE): _plain(value)
        for name, value in features.items()
        if name.startswith(SCORE)
    }


def _model(home: Home, row: Mapping[str, Any]) -> dict[str, Any]:
    names = ("p_win", "confidence_ml", "latency_ms", "fallback_reason")
    recorded = {name: row[name] for name in names}
    version = row["model_version"] or None
    if version is None:
        return {"version": None, "family": None, **recorded, **_unexplained("no model was asked")}
    try:
        model = home.model(version)
    except RestoreService as error:
        return {"version": version, "family": None, **recorded, **_unexplained(str(error))}
    return {"version": version, "family": model.family, **recorded, **_reproduced(model, row)}


def _unexplained(note: str) -> dict[str, Any]:
    return {"top_features": [], "replayed": None, "note": note}


def _reproduced(model: Model, row: Mapping[str, Any]) -> dict[str, Any]:
    """Predict again from the recorded features; the prediction must be the recorded one."""
    if feature_set_hash(model.feature_names) != row["feature_set_hash"]:
        return _unexplained(
            "the frozen features are not those of this version, so it cannot be asked again"
        )
    x = np.array([[row["features"][name] for name in model.feature_names]], dtype=np.float64)
    p_win = float(model.predict(x)[0][0])
    contributions = model.contributions(x)[0][:-1]
    order = np.argsort(-np.abs(contributions), kind="stable")[:TOP]
    top = [
        {
            "name": model.feature_names[feature],
            "value": _plain(float(x[0, feature])),
            "log_odds": float(contributions[feature]),
        }
        for feature in order
    ]
    agrees = row["p_win"] is not None and abs(p_win - row["p_win"]) < AGREES
    return {"top_features": top, "replayed": {"p_win": p_win, "agrees": agrees}, "note": None}


def _outcome(row: Mapping[str, Any]) -> dict[str, Any] | None:
    if row["settled_at"] is None:
        return None
    names = ("settled_at", "exit_reason", "net_return", "won", "hold_minutes", "slippage_bps")
    return {name: row[name] for name in names}


def _plain(value: Any) -> Any:
    """Return a JSON value: times as text, NaN as None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value.isoformat() if hasattr(value, "isoformat") else value
