"""What a run of collect, settle or trade did, as values that the commands print."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class LogCollection:
    """Signals taken in from a log.

    Attributes:
        added: New signals.
        settled: Signals taken in before whose outcome the log now tells.
        differing: Signals the log now gives otherwise; they stay as they were taken in.
        quarantined: Rows that are no signals.
        findings: What is worth knowing, one line each.
        quarantine: File of those rows; empty without any.
    """

    added: int
    settled: int
    differing: int
    quarantined: int
    findings: tuple[str, ...]
    quarantine: str = ""

    def __add__(self, other: "LogCollection") -> "LogCollection":
        """Return both together; the file is that of the later one."""
        return LogCollection(
            self.added + other.added,
            self.settled + other.settled,
            self.differing + other.differing,
            self.quarantined + other.quarantined,
            (*self.findings, *other.findings),
            other.quarantine or self.quarantine,
        )


@dataclass(frozen=True, slots=True)
class Collection:
    """Bars of a collection, and signals if the existing system is a log.

    Attributes:
        added: New bars in the lake.
        already_there: Bars the lake had.
        conflicting: Bars the lake has with other figures; they stay as they are.
        quarantined: Bars that broke a rule.
        held_back: Symbols that wait for a decision of the operator.
        findings: What is worth knowing, one line each.
        docs: File of the data docs; empty without bars.
        log: Signals taken in; None if the existing system is no log that is read.
    """

    added: int
    already_there: int
    conflicting: int
    quarantined: int
    held_back: tuple[str, ...]
    findings: tuple[str, ...]
    docs: str
    log: LogCollection | None = None

    def __add__(self, other: "Collection") -> "Collection":
        """Return both together; the file is that of the later one."""
        return Collection(
            self.added + other.added,
            self.already_there + other.already_there,
            self.conflicting + other.conflicting,
            self.quarantined + other.quarantined,
            (*self.held_back, *other.held_back),
            (*self.findings, *other.findings),
            other.docs or self.docs,
            other.log or self.log,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        lists = {"held_back": list(self.held_back), "findings": list(self.findings)}
        log = asdict(self.log) | {"findings": list(self.log.findings)} if self.log else None
        return asdict(self) | lists | {"log": log}


NO_BARS = Collection(0, 0, 0, 0, (), (), "")
"""The collection of a home without a source of bars."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """Number of new predictions and outcomes, and the time they were settled as of (UTC)."""

    as_of: datetime
    predictions: int
    outcomes: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "as_of": self.as_of.isoformat(),
            "predictions": self.predictions,
            "outcomes": self.outcomes,
        }


ANSWERED = "answered"
"""Veto of a signal that is not ordered here, because the program that logged it trades itself."""


@dataclass(frozen=True, slots=True)
class TradedSignal:
    """A signal that was evaluated and ordered or vetoed.

    Attributes:
        signal_id: ``SYMBOL:TIMESTAMP:side``.
        side: ``buy`` or ``sell``.
        confidence_existing: Confidence of the existing system, 0-100.
        blended: Blended confidence, 0-100.
        weight: Weight of the model, as a share.
        arm: Arm of the pilot.
        fallback_reason: Why the existing system decided alone; None if it did not.
        decision: Whether the blend would trade it.
        size: Position as a share of the account.
        regime: Regime of the market.
        veto: Why it was not ordered; None if it was.
        words: The size or the veto in words.
    """

    signal_id: str
    side: str
    confidence_existing: float
    blended: float
    weight: float
    arm: str
    fallback_reason: str | None
    decision: bool
    size: float
    regime: str
    veto: str | None
    words: str


@dataclass(frozen=True, slots=True)
class TradingRun:
    """What a trading run did.

    Attributes:
        as_of: Time of the run (UTC).
        filled: Trades changed by fills.
        signals: New signals that were evaluated.
        stale: New signals whose entry had passed.
    """

    as_of: datetime
    filled: int
    signals: tuple[TradedSignal, ...]
    stale: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "as_of": self.as_of.isoformat(),
            "filled": self.filled,
            "signals": [asdict(signal) for signal in self.signals],
            "stale": self.stale,
        }


@dataclass(frozen=True, slots=True)
class BarRun:
    """What a run per bar did.

    Attributes:
        as_of: Time of the run (UTC).
        collected: The bars collected.
        traded: Lineage → its trading run.
        settled: Lineage → its settlement.
    """

    as_of: datetime
    collected: Collection
    traded: Mapping[str, TradingRun]
    settled: Mapping[str, Settlement]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "as_of": self.as_of.isoformat(),
            "collected": self.collected.to_dict(),
            "traded": {name: run.to_dict() for name, run in self.traded.items()},
            "settled": {name: run.to_dict() for name, run in self.settled.items()},
        }
