"""The tables of the ledger as SQLAlchemy models, and which columns a reader gets."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Index,
    MetaData,
)
from sqlalchemy.exc import DontWrapMixin
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

from steelyard.errors import FixData

OUTCOME = (
    "settled_at",
    "net_return",
    "won",
    "exit_reason",
    "hold_minutes",
    "slippage_bps",
    "stop_distance",
)
SETTLED = (
    "signal_id",
    "symbol",
    "side",
    "decided_at",
    "model_version",
    "p_win",
    "confidence_existing",
    "confidence_ml",
    "blended",
    "weight",
    "arm",
    "decision",
    "pivotal",
    "latency_ms",
    "fallback_reason",
    *OUTCOME,
)
OPINIONS = (
    "decided_at",
    "settled_at",
    "p_win",
    "confidence_existing",
    "confidence_ml",
    "net_return",
    "stop_distance",
    "won",
)
FLOATS = (
    "p_win",
    "confidence_existing",
    "confidence_ml",
    "blended",
    "weight",
    "latency_ms",
    "net_return",
    "hold_minutes",
    "slippage_bps",
    "stop_distance",
    "quantity",
    "stop_price",
    "target_price",
    "entry_price",
    "exit_price",
    "fees",
    "stop_offset",
    "target_offset",
)
MOMENTS = (
    "decided_at",
    "settled_at",
    "trained_through",
    "timestamp",
    "submitted_at",
    "entry_at",
    "exit_at",
)
DTYPES = dict.fromkeys(FLOATS, "float64") | {
    "won": "boolean",
    "decision": "bool",
    "pivotal": "bool",
}


class NaiveMoment(DontWrapMixin, FixData):
    """A moment without a zone; SQLAlchemy hands it on as it is."""


class UtcTime(TypeDecorator[datetime]):
    """A UTC moment; SQLite home no zone, so it is put back on reading."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:
        """Refuse naive moments; store UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise NaiveMoment(f"{value} names no zone; moments in the ledger are UTC")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:
        """Return the moment in UTC, whatever zone the server's session has."""
        if value is None:
            return None
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


class Base(DeclarativeBase):
    """All tables, with constraint names that migrations can refer to."""

    metadata = MetaData(
        naming_convention={"ix": "ix_%(table_name)s_%(column_0_N_name)s", "pk": "pk_%(table_name)s"}
    )


class TradeFeature(Base):
    """A signal and its features, frozen when it was decided."""

    __tablename__ = "ml_trade_features"
    signal_id: Mapped[str] = mapped_column(primary_key=True)
    symbol: Mapped[str]
    timestamp: Mapped[datetime] = mapped_column(UtcTime)
    decided_at: Mapped[datetime] = mapped_column(UtcTime, index=True)
    side: Mapped[str]
    confidence_existing: Mapped[float]
    features: Mapped[dict[str, float]] = mapped_column(JSON)
    feature_set_hash: Mapped[str]


class RegisteredModel(Base):
    """A registered version, as the ledger knows it; MLflow is the source."""

    __tablename__ = "ml_models"
    version: Mapped[str] = mapped_column(primary_key=True)
    run_id: Mapped[str]
    family: Mapped[str]
    metrics: Mapped[dict[str, float | None]] = mapped_column(JSON)
    trained_through: Mapped[datetime | None] = mapped_column(UtcTime)
    stage: Mapped[str]


class Prediction(Base):
    """What was thought of a signal when it was decided, and later how it ended."""

    __tablename__ = "ml_predictions"
    signal_id: Mapped[str] = mapped_column(primary_key=True)
    symbol: Mapped[str]
    side: Mapped[str]
    decided_at: Mapped[datetime] = mapped_column(UtcTime, index=True)
    model_version: Mapped[str]
    p_win: Mapped[float | None]
    confidence_existing: Mapped[float]
    confidence_ml: Mapped[float | None]
    weight: Mapped[float]
    blended: Mapped[float]
    arm: Mapped[str]
    decision: Mapped[bool]
    pivotal: Mapped[bool]
    latency_ms: Mapped[float]
    fallback_reason: Mapped[str | None]
    settled_at: Mapped[datetime | None] = mapped_column(UtcTime, index=True)
    net_return: Mapped[float | None]
    won: Mapped[bool | None]
    exit_reason: Mapped[str | None]
    hold_minutes: Mapped[float | None]
    slippage_bps: Mapped[float | None]
    stop_distance: Mapped[float | None]

    __table_args__ = (
        Index("ix_ml_predictions_model_version_settled_at", "model_version", "settled_at"),
    )


class Trade(Base):
    """An order and its fills, or why risk left it; the order's id is the signal's.

    Status: vetoed (never ordered), submitted, open (entered), closed, rejected or canceled.
    """

    __tablename__ = "trades"
    signal_id: Mapped[str] = mapped_column(primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger, index=True)
    broker: Mapped[str]
    broker_order_id: Mapped[str | None]
    symbol: Mapped[str]
    side: Mapped[str]
    quantity: Mapped[float]
    stop_price: Mapped[float]
    target_price: Mapped[float]
    status: Mapped[str] = mapped_column(index=True)
    submitted_at: Mapped[datetime] = mapped_column(UtcTime)
    entry_at: Mapped[datetime | None] = mapped_column(UtcTime)
    entry_price: Mapped[float | None]
    exit_at: Mapped[datetime | None] = mapped_column(UtcTime)
    exit_price: Mapped[float | None]
    exit_reason: Mapped[str | None]
    fees: Mapped[float | None]
    timestamp: Mapped[datetime | None] = mapped_column(UtcTime)
    stop_offset: Mapped[float | None]
    target_offset: Mapped[float | None]
    veto: Mapped[str | None]


class DriftCheck(Base):
    """How far the market was from the champion's training rows, and what that asked for; one a day and version."""

    __tablename__ = "ml_drift"
    key: Mapped[str] = mapped_column(primary_key=True)
    as_of: Mapped[datetime] = mapped_column(UtcTime, index=True)
    model_version: Mapped[str]
    verdict: Mapped[str]
    share: Mapped[float | None]
    reasons: Mapped[list[str]] = mapped_column(JSON)
    columns: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    run_id: Mapped[str]
    asked: Mapped[bool]


class TrialCount(Base):
    """What was tried to find a good system: the trials of a search, or settings nobody had used before, counted once."""

    __tablename__ = "ml_trials"
    key: Mapped[str] = mapped_column(primary_key=True)
    as_of: Mapped[datetime] = mapped_column(UtcTime, index=True)
    kind: Mapped[str]
    count: Mapped[int]
