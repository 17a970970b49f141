"""Blends the model's confidence with the existing system's by the weight (SPEC §4)."""

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from steelyard.weight.policy import Phase
from steelyard.weight.rules import blend_confidence

Arm = Literal["all", "control", "treatment"]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class BlendTerms:
    """Weight, phase and threshold in force, and the origin of the opinion.

    Attributes:
        weight: Weight in force at the decision, 0 to 0.70.
        phase: Phase in force; in pilot half of the signals are control.
        threshold: Trade if the confidence exceeds this, 0 to 100.
        ab_key: Key of the assignment hash.
        model_version: Version that gave the opinion; empty without one.
        latency_ms: Time of the opinion per signal, milliseconds.
        fallback_reason: Why there is no opinion; None if there is one.
    """

    weight: float
    phase: Phase
    threshold: float
    ab_key: str
    model_version: str
    latency_ms: float
    fallback_reason: str | None = None


def blend(weight: float, existing: Floats, ml: Floats) -> Floats:
    """Return ``(1 − weight)·existing + weight·ml``, shape (n,), confidences 0 to 100.

    At weight 0, and wherever ``ml`` is NaN, the result is ``existing`` bit for bit.

    Args:
        weight: Weight in force, 0 to 0.70.
        existing: Confidences of the existing system, shape (n,), 0 to 100.
        ml: Confidences of the model on the same scale, shape (n,); NaN without an opinion.
    """
    if weight == 0:
        return existing.copy()
    return np.where(np.isnan(ml), existing, blend_confidence(weight, existing, ml))


def assign_arm(signal_id: str, phase: Phase, key: str) -> Arm:
    """Return the arm of a signal; only in pilot are there two, of equal size.

    Args:
        signal_id: Id of the signal; with ``key`` it alone decides, so the arm never changes.
        phase: Phase in force.
        key: Key of the hash (``ab_key``), at most 64 bytes count.
    """
    if phase != "pilot":
        return "all"
    digest = hashlib.blake2b(signal_id.encode(), key=key.encode()[:64], digest_size=1).digest()
    return "treatment" if digest[0] & 1 else "control"


def blend_predictions(
    signals: pd.DataFrame, p_win: Floats, confidence_ml: Floats, terms: BlendTerms
) -> pd.DataFrame:
    """Return the prediction rows of ``signals``, in their order, one row per signal.

    Args:
        signals: n rows with columns ``signal_id``, ``symbol``, ``side``, ``decided_at`` and
            ``confidence_existing``.
        p_win: Calibrated probabilities, shape (n,); NaN without an opinion.
        confidence_ml: The same on the existing system's scale, shape (n,); NaN without an opinion.
        terms: Weight, phase and threshold in force.
    """
    existing = signals["confidence_existing"].to_numpy(dtype=np.float64)
    blended = blend(terms.weight, existing, confidence_ml)
    arms = [assign_arm(signal_id, terms.phase, terms.ab_key) for signal_id in signals["signal_id"]]
    baseline, treated = existing > terms.threshold, blended > terms.threshold
    return pd.DataFrame(
        {
            "signal_id": signals["signal_id"],
            "symbol": signals["symbol"],
            "side": signals["side"],
            "decided_at": signals["decided_at"],
            "model_version": terms.model_version,
            "p_win": p_win,
            "confidence_existing": existing,
            "confidence_ml": confidence_ml,
            "weight": terms.weight,
            "blended": blended,
            "arm": arms,
            "decision": np.where(np.asarray(arms) == "control", baseline, treated),
            "pivotal": baseline != treated,
            "latency_ms": terms.latency_ms,
            "fallback_reason": terms.fallback_reason,
        }
    )
