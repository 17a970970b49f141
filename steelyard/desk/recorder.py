"""Records evaluations off the hot path: queue → writer thread → spool on disk → ledger.

A record is on disk after ``POLL_SECONDS`` and one disk write, even if the process dies then. It
reaches the ledger as soon as the database is available: in order, exactly once.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pandas as pd

from steelyard.desk.background import Alarm, Background
from steelyard.desk.signals import Evaluation, LoggedSignal, Outcome
from steelyard.errors import FixData, RestoreService
from steelyard.gateways.spool import Spool
from steelyard.market.features import feature_set_hash, may_be_missing, row_names

if TYPE_CHECKING:
    from steelyard.gateways.ledger import Ledger

POLL_SECONDS = 0.05
RETRY_SECONDS = 5.0
STOP_SECONDS = 60.0
QUIET_SECONDS, LONGEST_SECONDS = 0.25, 5.0
"""The ledger is written after ``QUIET_SECONDS`` without an evaluation, after ``LONGEST_SECONDS`` at
the latest: SQL would take the processor from the trade being decided."""
BATCH, BUSY_BATCH = 500, 50
"""Records written at once; the smaller number, once per poll, while trades are being decided."""
MAX_QUEUED = 1_000_000
"""Evaluations kept in memory while the disk is not writable; beyond it the oldest are lost."""


class SpooledEvaluation(msgspec.Struct, frozen=True):
    """One evaluation in the spool; fields as in ``Evaluation``, None for NaN."""

    signal_id: str
    symbol: str
    side: str
    timestamp: datetime
    decided_at: datetime
    model_version: str
    p_win: float | None
    confidence_existing: float
    confidence_ml: float | None
    weight: float
    blended: float
    arm: str
    decision: bool
    pivotal: bool
    latency_ms: float
    fallback_reason: str | None
    features: list[float | None]


Spooled = SpooledEvaluation | LoggedSignal | Outcome
_KINDS: dict[str, type[Spooled]] = {"outcome": Outcome, "signal": LoggedSignal}


class Recorder:
    """Stores evaluations and outcomes of the trading thread in the ledger.

    Args:
        ledger: Destination of the records.
        spool: Queue on disk until the ledger is available.
        score_names: Names of the existing system's sub-scores; they complete the feature names.
        after_outcomes: Called by the writer once outcomes are in the ledger; retried until it
            succeeds.
        alarm: Called with one line if records cannot be written to disk, or the writer fails.
        own_names: Names of the user's own features, which complete them too and may be missing.
        freezes_features: Whether the features of an evaluation are stored with it; of a log, which
            may bring new ones at any time, ``settle`` stores them.

    Attributes:
        lost: Evaluations that neither disk nor memory could keep.
        set_aside: Refused outcomes: of an unknown signal, or different from the recorded one.
    """

    def __init__(
        self,
        ledger: "Ledger",
        spool: Spool,
        score_names: tuple[str, ...],
        after_outcomes: Callable[[], None] = lambda: None,
        alarm: Alarm = lambda _: None,
        own_names: tuple[str, ...] = (),
        *,
        freezes_features: bool = True,
    ) -> None:
        self._ledger = ledger
        self._spool = spool
        self._feature_names = row_names(score_names, own_names)
        self._required = np.flatnonzero(~may_be_missing(self._feature_names))
        self._feature_hash = feature_set_hash(self._feature_names)
        self._freezes_features = freezes_features
        self._after_outcomes = after_outcomes
        self._queue: deque[Evaluation | LoggedSignal | Outcome] = deque(maxlen=MAX_QUEUED)
        self._spooling = threading.Lock()
        self._writer = Background("steelyard-recorder", self.flush, POLL_SECONDS, alarm)
        self._migrated = self._urgent = self._settled = False
        self._wait = 0.0
        self._recorded_at = self._stored_at = 0.0
        self.lost = self.set_aside = 0
        self._waiting_for: str | None = None

    @property
    def trouble(self) -> str | None:
        """Why records wait, or what is wrong with the writer; None if nothing is."""
        return self._waiting_for or self._writer.trouble

    def start(self) -> "Recorder":
        """Open the spool and start the writer.

        Raises:
            RestoreService: If another process records in this home.
        """
        self._spool.open()
        self._stored_at = time.monotonic()
        self._writer.start()
        return self

    def record(self, record: Evaluation | LoggedSignal) -> None:
        """Queue an evaluation or the signal of a log; takes a microsecond."""
        if len(self._queue) == MAX_QUEUED:
            self.lost += 1
        self._queue.append(record)
        self._recorded_at = time.monotonic()

    def settle(self, outcome: Outcome) -> None:
        """Queue an outcome; it reaches the ledger without delay, as a breaker may depend on it."""
        self._queue.append(outcome)
        self._urgent = True

    def stop(self) -> None:
        """Write all waiting records and close the spool."""
        if self._writer.stop(STOP_SECONDS):
            self._wait = self._recorded_at = 0.0
            self._writer.attempt()
        self._spool.close()

    def flush(self) -> None:
        """Move the queue to disk and, if no trade is busy, the spool to the ledger.

        A failure is kept in ``trouble`` and retried.
        """
        # Read first: an outcome that arrives meanwhile belongs to the next round.
        urgent, self._urgent = self._urgent, False
        try:
            self._write_spool()
            self._wait -= POLL_SECONDS
            if self._wait <= 0 and (urgent or self._is_due(time.monotonic())):
                if self._write_ledger(urgent=urgent):
                    self._stored_at = time.monotonic()
                self._waiting_for = None
                self._report_outcomes()
        except RestoreService as error:
            self._waiting_for, self._wait = str(error), RETRY_SECONDS
            self._urgent |= urgent

    def _is_due(self, now: float) -> bool:
        return self._is_quiet(now) or now - self._stored_at > LONGEST_SECONDS

    def _is_quiet(self, now: float) -> bool:
        return now - self._recorded_at > QUIET_SECONDS

    def _report_outcomes(self) -> None:
        if not self._settled:
            return
        try:
            self._after_outcomes()
            self._settled = False
        except Exception as error:  # the writer must live on
            raise RestoreService(f"after an outcome: {type(error).__name__}: {error}") from error

    def persist(self) -> None:
        """Return once everything recorded so far is on disk (fsync).

        Raises:
            RestoreService: If the disk cannot be written; the records stay in memory.
        """
        self._write_spool()

    def _write_spool(self) -> None:
        with self._spooling:
            self._write_batches()

    def _write_batches(self) -> None:
        while self._queue:
            batch = [self._queue.popleft() for _ in range(min(len(self._queue), BATCH))]
            try:
                self._spool.append([_spooled(record) for record in batch])
            except BaseException as error:
                self._queue.extendleft(reversed(batch))
                self._writer.report(f"{len(self._queue)} records are only in memory: {error}")
                raise

    def _write_ledger(self, *, urgent: bool) -> bool:
        """Move the spool to the ledger, one small batch if trades are being decided.

        Args:
            urgent: An outcome waits, so all of it is moved at once.

        Returns:
            Whether the spool is empty.
        """
        while True:
            busy = not (urgent or self._is_quiet(time.monotonic()))
            lines, position = self._spool.waiting(BUSY_BATCH if busy else BATCH)
            if not lines:
                return True
            records = list(self._decode(lines))
            try:
                self._store(records)
            except _REFUSED:
                for record in records:
                    self._store_or_set_aside(record)
            self._spool.drained(position)
            if busy:
                return len(lines) < BUSY_BATCH

    def _store_or_set_aside(self, record: Spooled) -> None:
        """Store one record; one that the ledger refuses must not keep the others waiting."""
        try:
            self._store([record])
        except _REFUSED:
            self.set_aside += 1
            self._spool.set_aside(msgspec.json.encode(record) + b"\n")

    def _decode(self, lines: Iterable[bytes]) -> Iterable[Spooled]:
        for line in lines:
            try:
                tag = msgspec.json.decode(line, type=_Tagged).type
                yield msgspec.json.decode(line, type=_KINDS.get(tag, SpooledEvaluation))
            except (msgspec.DecodeError, msgspec.ValidationError):
                self._spool.set_aside(line)

    def _store(self, records: Sequence[Spooled]) -> None:
        if not self._migrated:
            self._ledger.migrate()
            self._migrated = True
        self._store_evaluations(
            [record for record in records if isinstance(record, SpooledEvaluation)]
        )
        self._store_logged([record for record in records if isinstance(record, LoggedSignal)])
        for record in records:
            if isinstance(record, Outcome):
                self._store_outcome(record)

    def _store_logged(self, signals: list[LoggedSignal]) -> None:
        if signals:
            rows = [msgspec.structs.asdict(signal) for signal in signals]
            frame = pd.DataFrame(rows).assign(traded=False, source="http")
            self._ledger.record_log_signals(frame)

    def _store_outcome(self, outcome: Outcome) -> None:
        """Write an outcome once; set it aside if its signal is unknown or another is recorded.

        One that was known before its signal was sent is history for trainings, and no evidence.
        """
        with suppress(FixData):
            if self._ledger.signal(outcome.signal_id) is not None:
                frame = pd.DataFrame([msgspec.structs.asdict(outcome)])
                seen_at = self._ledger.taken_in_at(outcome.signal_id)
                if seen_at is None or outcome.settled_at > seen_at:
                    self._settled |= self._ledger.record_outcomes(frame, reported=True) > 0
                self._ledger.fill_in_outcomes(frame)
                return
        self.set_aside += 1
        self._spool.set_aside(msgspec.json.encode(outcome) + b"\n")

    def _store_evaluations(self, evaluations: list[SpooledEvaluation]) -> None:
        if not evaluations:
            return
        rows = [msgspec.structs.asdict(evaluation) for evaluation in evaluations]
        frozen = [
            row
            | {
                "features": dict(zip(self._feature_names, row["features"], strict=True)),
                "feature_set_hash": self._feature_hash,
            }
            for row in rows
            # Only complete features are frozen, as in the batch.
            if self._freezes_features and self._is_complete(row["features"])
        ]
        self._ledger.record_evaluations(rows, frozen)

    def _is_complete(self, features: list[float | None]) -> bool:
        return len(features) == len(self._feature_names) and not any(
            features[position] is None for position in self._required
        )


class _Tagged(msgspec.Struct):
    """Kind of a line in the spool; evaluations carry none."""

    type: str = "evaluation"


def _spooled(record: Evaluation | LoggedSignal | Outcome) -> Spooled:
    """Return the spooled form of a record; NaN is written as null."""
    if isinstance(record, Outcome | LoggedSignal):
        return record
    scalars = {name: getattr(record, name) for name in _SCALAR_FIELDS}
    return SpooledEvaluation(**scalars, features=record.features.tolist())


_REFUSED = (FixData, ValueError, TypeError, KeyError)
_SCALAR_FIELDS = tuple(name for name in SpooledEvaluation.__struct_fields__ if name != "features")
