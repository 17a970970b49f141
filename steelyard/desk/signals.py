"""Values of a trading process: a signal, its evaluation and its outcome."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from steelyard.desk.blend import Arm
from steelyard.market.bars import Floats
from steelyard.market.strategy import Side


@dataclass(frozen=True, slots=True)
class Signal:
    """A trade that the existing system proposes at a bar's close.

    Attributes:
        signal_id: ``SYMBOL:TIMESTAMP:side``, unique for ever.
        timestamp: Open time of the decision bar, aware.
        decided_at: Close time of the decision bar, aware.
        confidence: Confidence of the existing system, 0 to 100.
        scores: Sub-scores of the existing system by name, 0 to 100.
        own: The user's own features by name, any scale; NaN, or left out, if not known.
    """

    signal_id: str
    symbol: str
    side: Side
    timestamp: datetime
    decided_at: datetime
    confidence: float
    scores: Mapping[str, float]
    own: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The decision about a signal and everything it was based on.

    Attributes:
        timestamp: Open time of the decision bar, aware.
        decided_at: Close time of the decision bar, aware.
        model_version: Version that gave the opinion; empty without one.
        p_win: Calibrated probability of a net gain, 0 to 1; NaN without an opinion.
        confidence_existing: Confidence of the existing system, 0 to 100.
        confidence_ml: ``p_win`` on the existing system's scale, 0 to 100; NaN without an opinion.
        weight: Weight in force for this signal, 0 to 0.70.
        blended: Blended confidence, 0 to 100; bit for bit ``confidence_existing`` at weight 0.
        decision: Whether to trade.
        pivotal: Whether baseline and blended disagree.
        latency_ms: Duration of the whole evaluation, milliseconds.
        fallback_reason: Why the existing system decided alone; None if it did not.
        features: Features at the decision in the model's order, shape (n_features,); empty if
            they could not be computed.
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


class LoggedSignal(msgspec.Struct, frozen=True, tag="signal"):
    """A signal that another program sent, for the ledger's signals of a log.

    Attributes:
        timestamp: Time the program gave, aware.
        decided_at: Time of the decision, aware.
        taken_in_at: When it arrived, aware.
        confidence: 0 to 100.
        own: The program's own features by name.
        levels: Any of ``stop``, ``target``, ``bars`` and ``trail``; None without any.
    """

    signal_id: str
    symbol: str
    side: Side
    timestamp: datetime
    decided_at: datetime
    taken_in_at: datetime
    confidence: float
    own: dict[str, float]
    levels: dict[str, float] | None


class Outcome(msgspec.Struct, frozen=True, tag="outcome"):
    """The outcome of a signal, as its trader reports it.

    Attributes:
        settled_at: Time of the exit, aware.
        net_return: Fraction of the entry notional, after fees and slippage.
        won: Whether ``net_return`` is a gain.
        exit_reason: How the signal ended, for example ``target``.
        hold_minutes: Time from entry to exit, minutes.
        slippage_bps: Slippage of entry and exit together, basis points.
        stop_distance: Distance of the stop, a fraction of the entry price.
    """

    signal_id: str
    settled_at: datetime
    net_return: float
    won: bool
    exit_reason: str
    hold_minutes: float
    slippage_bps: float
    stop_distance: float
