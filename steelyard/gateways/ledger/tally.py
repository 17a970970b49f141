"""Counts of the ledger's rows: cheap to read, and different once a row came or changed."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select

from steelyard.gateways.ledger.ledger import Ledger
from steelyard.gateways.ledger.packed import unpacked_parts
from steelyard.gateways.ledger.tables import (
    PackedPredictions,
    Prediction,
    RegisteredModel,
    Trade,
)


@dataclass(frozen=True, slots=True)
class SignalTally:
    """Number of recorded signals that were decided alike.

    Attributes:
        decision: Whether they were to be traded.
        fallback_reason: Why the existing system decided alone; None if it did not.
        recorded: Number of signals.
        settled: Number of them with an outcome.
        pivotal: Number of them on which the weight decided.
    """

    decision: bool
    fallback_reason: str | None
    recorded: int
    settled: int
    pivotal: int


@dataclass(frozen=True, slots=True)
class LedgerTally:
    """Counts of a lineage in the ledger.

    Attributes:
        signals: Recorded signals by decision and fallback.
        newest_decided: Time of the newest signal (UTC); None without one.
        newest_settled: Time of the newest outcome (UTC); None without one.
        trades: Number of orders by status.
        stages: Stage of every registered version.
    """

    signals: tuple[SignalTally, ...]
    newest_decided: datetime | None
    newest_settled: datetime | None
    trades: Mapping[str, int]
    stages: Mapping[str, str]

    @property
    def settled(self) -> int:
        """Number of settled signals."""
        return sum(part.settled for part in self.signals)

    @property
    def pivotal(self) -> int:
        """Number of signals on which the weight decided."""
        return sum(part.pivotal for part in self.signals)

    @property
    def fallbacks(self) -> dict[str, int]:
        """Reason → number of signals that the existing system decided alone for it."""
        counts = Counter[str]()
        for part in self.signals:
            if part.fallback_reason is not None:
                counts[part.fallback_reason] += part.recorded
        return dict(counts)


def tally(ledger: Ledger) -> LedgerTally:
    """Count the rows of a ledger's lineage.

    Raises:
        RestoreService: If the database cannot be reached or is locked.
    """
    lineage = ledger.lineage
    newest = [
        select(func.max(stamp)).where(Prediction.lineage == lineage)  # each is one step in an index
        for stamp in (Prediction.decided_at, Prediction.settled_at)
    ]
    orders = select(Trade.status, func.count()).where(Trade.lineage == lineage)
    orders = orders.group_by(Trade.status).order_by(Trade.status)
    stages = select(RegisteredModel.version, RegisteredModel.stage)
    stages = stages.where(RegisteredModel.lineage == lineage).order_by(RegisteredModel.version)
    with ledger.snapshot() as connection:
        newest_decided, newest_settled = (connection.execute(one).scalar() for one in newest)
        return LedgerTally(
            _signals(connection, lineage),
            newest_decided,
            newest_settled,
            dict(connection.execute(orders).tuples().all()),
            dict(connection.execute(stages).tuples().all()),
        )


def _signals(connection: Connection, lineage: str) -> tuple[SignalTally, ...]:
    """Add the tallies of the blocks to counts of the rows without one."""
    of = Prediction.decision, Prediction.fallback_reason
    settled, pivotal = Prediction.settled_at.is_not(None), Prediction.pivotal
    counts = func.count(), func.count().filter(settled), func.count().filter(pivotal)
    alike_rows = select(*of, *counts).group_by(*of)
    blocks = select(PackedPredictions.tally).where(PackedPredictions.lineage == lineage)
    sums: dict[tuple[bool, str | None], list[int]] = {}
    for alike in connection.execute(blocks).scalars():
        for decision, reason, count, changed in alike:
            _add(sums, (decision, reason), (count, count, changed))
    for part in unpacked_parts(connection, lineage):
        for decision, reason, *figures in connection.execute(alike_rows.where(part)):
            _add(sums, (decision, reason), figures)
    ordered = sorted(sums.items(), key=lambda item: (item[0][0], item[0][1] or ""))
    return tuple(SignalTally(*key, *figures) for key, figures in ordered)


def _add(
    sums: dict[tuple[bool, str | None], list[int]],
    key: tuple[bool, str | None],
    figures: Sequence[int],
) -> None:
    before = sums.get(key, [0] * len(figures))
    sums[key] = [one + other for one, other in zip(before, figures, strict=True)]
