"""Tables of the ledger as SQLAlchemy models, and the columns that readers get."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pandas as pd
from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Index,
    LargeBinary,
    MetaData,
)
from sqlalchemy.exc import DontWrapMixin
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

from steelyard.errors import FixData

IDS_PER_QUERY = 500
ROWS_AT_ONCE = 5_000
"""Predictions in memory at once while rows become columns or digests."""
STALE = "stale"
"""Veto of a signal whose entry had passed when it was to be traded."""
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
PREDICTED = tuple(name for name in SETTLED if name not in OUTCOME)
"""Columns of a prediction before its outcome."""
FROZEN = (
    "signal_id",
    "symbol",
    "timestamp",
    "decided_at",
    "side",
    "confidence_existing",
    "features",
    "feature_set_hash",
)
"""Columns of a signal and its features at the decision."""
OPINIONS = (
    "symbol",
    "side",
    "decided_at",
    "settled_at",
    "p_win",
    "confidence_existing",
    "confidence_ml",
    "net_return",
    "stop_distance",
    "won",
)
LOG_OUTCOME = (
    "entry_at",
    "entry_price",
    "exit_at",
    "exit_price",
    "settled_at",
    "net_return",
    "won",
    "exit_reason",
    "hold_minutes",
    "stop_distance",
    "quantity",
    "fees",
)
"""What a log says about how a signal of its own ended."""
LOG_SIGNAL = (
    "signal_id",
    "symbol",
    "timestamp",
    "decided_at",
    "taken_in_at",
    "side",
    "confidence",
    "own",
    "levels",
    "traded",
    *LOG_OUTCOME,
    "outcome_taken_in_at",
    "faults",
    "source",
)
FLOAT_COLUMNS = (
    "confidence",
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
    "level_stop",
    "level_target",
    "level_bars",
    "level_trail",
)
TIME_COLUMNS = (
    "taken_in_at",
    "outcome_taken_in_at",
    "decided_at",
    "settled_at",
    "trained_through",
    "timestamp",
    "submitted_at",
    "entry_at",
    "exit_at",
    "unprotected_since",
)
COLUMN_DTYPES = dict.fromkeys(FLOAT_COLUMNS, "float64") | {
    "won": "boolean",
    "decision": "bool",
    "pivotal": "bool",
    "traded": "bool",
}


class NaiveMoment(DontWrapMixin, FixData):
    """A time without a zone; SQLAlchemy passes this error on unchanged."""


class UtcTime(TypeDecorator[datetime]):
    """A time in UTC; SQLite stores no zone, so reading adds it."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:
        """Return the time to store, in UTC.

        Args:
            value: Time with a zone; None for NULL.
            dialect: Not used.

        Raises:
            NaiveMoment: If ``value`` has no zone.
        """
        if value is None:
            return None
        if value.tzinfo is None:
            raise NaiveMoment(
                f"{value} names no zone; times in the ledger are UTC, pass one with a zone"
            )
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:
        """Return the stored time in UTC, whatever zone the server's session has.

        Args:
            value: Time as the driver returns it, naive from SQLite; None for NULL.
            dialect: Not used.
        """
        if value is None:
            return None
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


class Base(DeclarativeBase):
    """Base of all tables, with constraint names that migrations can refer to."""

    metadata = MetaData(
        naming_convention={"ix": "ix_%(table_name)s_%(column_0_N_name)s", "pk": "pk_%(table_name)s"}
    )


class TradeFeature(Base):
    """A signal and its features as they were at the decision."""

    __tablename__ = "ml_trade_features"
    lineage: Mapped[str] = mapped_column(primary_key=True)
    signal_id: Mapped[str] = mapped_column(primary_key=True)
    symbol: Mapped[str]
    timestamp: Mapped[datetime] = mapped_column(UtcTime)
    decided_at: Mapped[datetime] = mapped_column(UtcTime)
    side: Mapped[str]
    confidence_existing: Mapped[float]
    features: Mapped[dict[str, float]] = mapped_column(JSON)
    feature_set_hash: Mapped[str]

    __table_args__ = (Index(None, "lineage", "decided_at"),)


class RegisteredModel(Base):
    """Copy of a registered model version; MLflow holds the original."""

    __tablename__ = "ml_models"
    lineage: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[str] = mapped_column(primary_key=True)
    run_id: Mapped[str]
    family: Mapped[str]
    metrics: Mapped[dict[str, float | None]] = mapped_column(JSON)
    trained_through: Mapped[datetime | None] = mapped_column(UtcTime)
    stage: Mapped[str]


class Prediction(Base):
    """The model's opinion and the decision about a signal, and later its outcome.

    ``reported``: whether the outcome is what a trading process reported, not what bars or fills
    give; NULL in rows of earlier versions.
    """

    __tablename__ = "ml_predictions"
    lineage: Mapped[str] = mapped_column(primary_key=True)
    signal_id: Mapped[str] = mapped_column(primary_key=True)
    symbol: Mapped[str]
    side: Mapped[str]
    decided_at: Mapped[datetime] = mapped_column(UtcTime)
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
    settled_at: Mapped[datetime | None] = mapped_column(UtcTime)
    net_return: Mapped[float | None]
    won: Mapped[bool | None]
    exit_reason: Mapped[str | None]
    hold_minutes: Mapped[float | None]
    slippage_bps: Mapped[float | None]
    stop_distance: Mapped[float | None]
    digest_number: Mapped[int | None]
    reported: Mapped[bool | None]

    __table_args__ = (
        Index(None, "lineage", "decided_at"),
        Index(None, "lineage", "settled_at"),
        Index(None, "lineage", "digest_number"),
        Index(None, "lineage", "model_version", "settled_at"),
    )


class Trade(Base):
    """An order and its fills, or the veto of the risk limits.

    ``order_id`` is our id of the order at the broker, ``broker_order_id`` the broker's own.
    Status: vetoed (never ordered), submitted, open (entered), closed, rejected or canceled. An open
    trade with ``unprotected_since`` has neither stop nor target at the broker since then. The
    levels are those of the signal's own (``strategy.LEVELS``); without target there is no price.
    """

    __tablename__ = "trades"
    lineage: Mapped[str] = mapped_column(primary_key=True)
    signal_id: Mapped[str] = mapped_column(primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger)
    broker: Mapped[str]
    broker_order_id: Mapped[str | None]
    symbol: Mapped[str]
    side: Mapped[str]
    quantity: Mapped[float]
    stop_price: Mapped[float]
    target_price: Mapped[float | None]
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
    level_stop: Mapped[float | None]
    level_target: Mapped[float | None]
    level_bars: Mapped[float | None]
    level_trail: Mapped[float | None]
    veto: Mapped[str | None]
    unprotected_since: Mapped[datetime | None] = mapped_column(UtcTime)
    order_id: Mapped[str | None]

    __table_args__ = (
        Index(None, "lineage", "sequence"),
        Index(None, "lineage", "submitted_at"),
        Index(None, "lineage", "status"),
    )


class LogSignal(Base):
    """A signal that a log gave, and how it ended there; the outcome is NULL until it is known.

    ``timestamp`` is the open of the decision bar (without bars the time in the log), ``own`` holds
    the log's features, ``levels`` any of ``stop``, ``target``, ``bars`` and ``trail``;
    ``net_return`` and ``stop_distance`` are fractions of the entry.
    """

    __tablename__ = "log_signals"
    lineage: Mapped[str] = mapped_column(primary_key=True)
    signal_id: Mapped[str] = mapped_column(primary_key=True)
    symbol: Mapped[str]
    timestamp: Mapped[datetime] = mapped_column(UtcTime)
    decided_at: Mapped[datetime] = mapped_column(UtcTime)
    taken_in_at: Mapped[datetime] = mapped_column(UtcTime)
    side: Mapped[str]
    confidence: Mapped[float]
    own: Mapped[dict[str, float | None]] = mapped_column(JSON)
    levels: Mapped[dict[str, float] | None] = mapped_column(JSON(none_as_null=True))
    traded: Mapped[bool]
    entry_at: Mapped[datetime | None] = mapped_column(UtcTime)
    entry_price: Mapped[float | None]
    exit_at: Mapped[datetime | None] = mapped_column(UtcTime)
    exit_price: Mapped[float | None]
    settled_at: Mapped[datetime | None] = mapped_column(UtcTime)
    net_return: Mapped[float | None]
    won: Mapped[bool | None]
    exit_reason: Mapped[str | None]
    hold_minutes: Mapped[float | None]
    stop_distance: Mapped[float | None]
    quantity: Mapped[float | None]
    fees: Mapped[float | None]
    outcome_taken_in_at: Mapped[datetime | None] = mapped_column(UtcTime)
    faults: Mapped[list[str]] = mapped_column(JSON)
    source: Mapped[str]

    __table_args__ = (Index(None, "lineage", "decided_at"),)


class DriftCheck(Base):
    """A drift check of the champion: figures and verdict, one per day and version."""

    __tablename__ = "ml_drift"
    key: Mapped[str] = mapped_column(primary_key=True)
    lineage: Mapped[str]
    as_of: Mapped[datetime] = mapped_column(UtcTime)
    model_version: Mapped[str]
    verdict: Mapped[str]
    share: Mapped[float | None]
    reasons: Mapped[list[str]] = mapped_column(JSON)
    columns: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    run_id: Mapped[str]
    asked: Mapped[bool]

    __table_args__ = (Index(None, "lineage", "as_of"),)


class TrialCount(Base):
    """Number of trials: of a search, or of settings used for the first time; counted once."""

    __tablename__ = "ml_trials"
    key: Mapped[str] = mapped_column(primary_key=True)
    lineage: Mapped[str]
    as_of: Mapped[datetime] = mapped_column(UtcTime)
    kind: Mapped[str]
    count: Mapped[int]

    __table_args__ = (Index(None, "lineage", "as_of"),)


class PulledBrake(Base):
    """The brake of a lineage: while its row is there, every trading process uses weight 0."""

    __tablename__ = "ml_brakes"
    lineage: Mapped[str] = mapped_column(primary_key=True)
    operator: Mapped[str]
    reason: Mapped[str]


class LineageMark(Base):
    """The highest decision of a lineage that was seen, and the key its state is sealed with."""

    __tablename__ = "ml_lineages"
    lineage: Mapped[str] = mapped_column(primary_key=True)
    sequence: Mapped[int]
    decision_hash: Mapped[str | None]
    key_id: Mapped[str]


class LedgerDigest(Base):
    """Digest of the predictions that a guard found newly settled, chained to the one before."""

    __tablename__ = "ml_digests"
    lineage: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    rows: Mapped[int]
    digest: Mapped[str]
    head: Mapped[str]


class PackedPredictions(Base):
    """The predictions of digests ``first`` to ``number`` by column (``packed``): a copy.

    ``tally`` counts the rows that were decided alike: decision, reason of the fallback, number,
    pivotal number. The times are the first and the last; NULL without rows.
    """

    __tablename__ = "ml_packed"
    lineage: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    first: Mapped[int]
    rows: Mapped[int]
    decided_from: Mapped[datetime | None] = mapped_column(UtcTime)
    decided_until: Mapped[datetime | None] = mapped_column(UtcTime)
    settled_from: Mapped[datetime | None] = mapped_column(UtcTime)
    settled_until: Mapped[datetime | None] = mapped_column(UtcTime)
    tally: Mapped[list[list[Any]]] = mapped_column(JSON)
    content: Mapped[bytes] = mapped_column(LargeBinary)


@dataclass(frozen=True, slots=True)
class Mark:
    """A decision that was seen.

    Attributes:
        sequence: Its number; 0 for the begin of the lineage.
        decision_hash: Its hash; None at the begin.
        key_id: Key that sealed the state.
    """

    sequence: int
    decision_hash: str | None
    key_id: str


def plain_rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return rows of plain Python values; NaN, NaT and NA become None."""
    columns: dict[str, list[Any]] = {}
    for name, column in frame.items():
        present, values = column.notna(), column.tolist()
        if isinstance(column.dtype, pd.DatetimeTZDtype):
            values = [moment.to_pydatetime(warn=False) for moment in values]
        columns[str(name)] = [
            value if there else None for value, there in zip(values, present, strict=True)
        ]
    return [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]


def id_chunks(ids: list[str]) -> Iterator[list[str]]:
    """Yield ids in lists short enough for one query."""
    for start in range(0, len(ids), IDS_PER_QUERY):
        yield ids[start : start + IDS_PER_QUERY]
