"""What passes through a trading process: a signal, what was decided about it, and how it ended."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import msgspec

from steelyard.desk.blend import Arm
from steelyard.market.bars import Floats
from steelyard.market.strategy import Side


@dataclass(frozen=True, slots=True)
class Signal:
    """A trade the existing system proposes at a bar's close.

    Attributes:
        timestamp: Open time of the decision bar, aware; ``decided_at`` its close.
        confidence: The existing system's, 0 to 100.
        scores: Its sub-scores, 0 to 100.
    """

    signal_id: str
    symbol: str
    side: Side
    timestamp: datetime
    decided_at: datetime
    confidence: float
    scores: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What was decided about a signal, and from what.

    Attributes:
        blended: Confidence after blending; the existing system's, bit for bit, at weight 0 and without an opinion.
        decision: Whether to trade.
        p_win: The model's calibrated probability; NaN without an opinion, and so ``confidence_ml``.
        weight: Weight in force for this signal.
        pivotal: Baseline and blended disagree.
        fallback_reason: Why the existing system decided alone; None where it did not.
        latency_ms: What the whole evaluation took.
        features: The features at the decision, in the model's order; empty where they could not be computed.
    """

    signal_id: str
    symbol: str
    side: Side
    timestamp: datetime
    decided_at: datetime
    model_version: str
    p_win: float
    confidence_existing: float
    confidence_ml: float
    weight: float
    blended: float
    arm: Arm
    decision: bool
    pivotal: bool
    latency_ms: float
    fallback_reason: str | None
    features: Floats


class Outcome(msgspec.Struct, frozen=True, tag="outcome"):
    """How a signal ended, as its trader tells it.

    Attributes:
        settled_at: When its bracket ended, aware.
        net_return: Fraction of the entry notional, after fees and slippage.
        stop_distance: Distance of the stop, a fraction of the entry price.
        slippage_bps: Of entry and exit together, basis points.
    """

    signal_id: str
    settled_at: datetime
    net_return: float
    won: bool
    exit_reason: str
    hold_minutes: float
    slippage_bps: float
    stop_distance: float
