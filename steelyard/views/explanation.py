"""An explanation of one signal, as a value: what ``steelyard why`` returns and prints."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ExplainedSignal:
    """The signal; ``decided_at`` is ISO 8601, UTC."""

    signal_id: str
    symbol: str
    side: str
    decided_at: str


@dataclass(frozen=True, slots=True)
class ExistingOpinion:
    """Confidence of the existing system, 0-100, and its sub-scores by name; None if not finite."""

    confidence: float
    scores: Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class Contribution:
    """Shapley value of one feature, in log odds, and the feature's value; None if it was NaN."""

    name: str
    value: float | None
    log_odds: float


@dataclass(frozen=True, slots=True)
class Reproduction:
    """Prediction of the stored model today, and whether it agrees with the recorded one."""

    p_win: float
    agrees: bool


@dataclass(frozen=True, slots=True)
class ModelOpinion:
    """Opinion of the model as it was recorded, and what the stored model says today.

    Attributes:
        version: Version that was asked; None if no model was.
        family: Its family; None if the version cannot be loaded.
        p_win: Recorded probability of a gain; None without an opinion.
        confidence_ml: The same on the existing system's scale, 0-100; None without an opinion.
        latency_ms: Duration of the prediction; None without one.
        fallback_reason: Reason why the existing system decided alone; None if it did not.
        top_features: Largest contributions first; empty if the model cannot be asked again.
        replayed: Today's prediction; None likewise.
        note: Reason why the model cannot be asked again; None if it can.
        approved: Who approved the version and why, in a sentence; None if no operator did.
    """

    version: str | None
    family: str | None
    p_win: float | None
    confidence_ml: float | None
    latency_ms: float | None
    fallback_reason: str | None
    top_features: tuple[Contribution, ...] = ()
    replayed: Reproduction | None = None
    note: str | None = None
    approved: str | None = None


@dataclass(frozen=True, slots=True)
class BlendedDecision:
    """The blend: weight as a share, blended confidence and threshold 0-100, arm and decision."""

    weight: float
    blended: float
    arm: str
    decision: bool
    pivotal: bool
    threshold: float


@dataclass(frozen=True, slots=True)
class SettledOutcome:
    """End of the signal: time (ISO 8601, UTC), reason, net return as a share, slippage in bps."""

    settled_at: str
    exit_reason: str
    net_return: float
    won: bool
    hold_minutes: float
    slippage_bps: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a signal was traded or left.

    Attributes:
        signal: The signal.
        answer: Decision and calculation in one sentence.
        existing: Opinion of the existing system.
        model: Opinion of the model.
        blend: Both in one decision.
        outcome: None before the signal has settled.
    """

    signal: ExplainedSignal
    answer: str
    existing: ExistingOpinion
    model: ModelOpinion
    blend: BlendedDecision
    outcome: SettledOutcome | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        document = asdict(self)
        document["model"]["top_features"] = list(document["model"]["top_features"])
        return document
