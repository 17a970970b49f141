"""Records evaluations off the hot path: a queue, a writer thread, the spool on disk, and from there the ledger.

What was handed over is on disk ``POLL_SECONDS`` and one disk write later, whatever happens to the process then; it is in the
ledger as soon as the database is there, in order, once.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pandas as pd

from steelyard.desk.signals import Evaluation, Outcome
from steelyard.errors import FixData, RestoreService
from steelyard.gateways.spool import Spool
from steelyard.market.features import feature_set_hash, row_names

if TYPE_CHECKING:
    from steelyard.gateways.ledger import Ledger

POLL_SECONDS = 0.05
RETRY_SECONDS = 5.0
QUIET_SECONDS, LONGEST_SECONDS = 0.25, 5.0
"""The ledger is written to once nothing was evaluated for so long, or after so long at the latest: pandas and SQL would take
the processor from the trade that is being decided."""
BATCH = 500
MAX_QUEUED = 1_000_000
"""Evaluations kept in memory while the disk cannot be written; beyond it the oldest are lost, and counted."""


class Line(msgspec.Struct, frozen=True):
    """One evaluation in the spool; None stands for NaN."""

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


class Recorder:
    """Takes evaluations and outcomes from the trading thread and sees them into the ledger.

    Args:
        ledger: Where they belong.
        spool: Where they wait.
        score_names: The existing system's sub-scores, which complete the names of the features.
        after_outcomes: Is called by the writer once outcomes are in the ledger, again until it goes through.

    Attributes:
        lost: Evaluations that neither disk nor memory could keep.
        set_aside: Outcomes that were refused: of a signal nobody predicted, or other than the one recorded.
        trouble: Why something waits; None when nothing does.
    """

    def __init__(
        self,
        ledger: "Ledger",
        spool: Spool,
        score_names: tuple[str, ...],
        after_outcomes: Callable[[], None] = lambda: None,
    ) -> None:
        self._ledger = ledger
        self._spool = spool
        self._names = row_names(score_names)
        self._hash = feature_set_hash(self._names)
        self._after_outcomes = after_outcomes
        self._queue: deque[Evaluation | Outcome] = deque(maxlen=MAX_QUEUED)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._write, name="steelyard-recorder", daemon=True)
        self._migrated = self._urgent = self._settled = False
        self._wait = 0.0
        self._recorded_at = self._stored_at = 0.0
        self.lost = self.set_aside = 0
        self.trouble: str | None = None

    def start(self) -> "Recorder":
        """Open the spool and start the writer.

        Raises:
            RestoreService: If another process records in this home, or its disk cannot be written.
        """
        self._spool.open()
        self._stored_at = time.monotonic()
        self._thread.start()
        return self

    def record(self, evaluation: Evaluation) -> None:
        """Hand over an evaluation; a microsecond."""
        if len(self._queue) == MAX_QUEUED:
            self.lost += 1
        self._queue.append(evaluation)
        self._recorded_at = time.monotonic()

    def settle(self, outcome: Outcome) -> None:
        """Hand over an outcome, which goes to the ledger without waiting for quiet: a breaker may hang on it."""
        self._queue.append(outcome)
        self._urgent = True

    def stop(self) -> None:
        """Write what is left and leave the spool."""
        self._stopping.set()
        self._thread.join(60)
        self._spool.close()

    def _write(self) -> None:
        while not self._stopping.wait(POLL_SECONDS):
            self.flush()
        self._wait = self._recorded_at = 0.0
        self.flush()

    def flush(self) -> None:
        """Bring the queue to disk and, when it is quiet, the disk to the ledger; what cannot be done now is tried again."""
        urgent, self._urgent = (
            self._urgent,
            False,
        )  # first: an outcome that comes meanwhile is of the next round
        try:
            self._to_disk()
            self._wait -= POLL_SECONDS
            if self._wait <= 0 and (urgent or self._due()):
                self._to_ledger()
                self._stored_at, self.trouble = time.monotonic(), None
                self._tell()
        except RestoreService as error:
            self.trouble = str(error)
            self._wait = RETRY_SECONDS

    def _due(self) -> bool:
        now = time.monotonic()
        return now - self._recorded_at > QUIET_SECONDS or now - self._stored_at > LONGEST_SECONDS

    def _tell(self) -> None:
        if not self._settled:
            return
        try:
            self._after_outcomes()
            self._settled = False
        except Exception as error:  # the border of the writer, which must live on
            raise RestoreService(f"after an outcome: {type(error).__name__}: {error}") from error

    def _to_disk(self) -> None:
        while self._queue:
            taken = [self._queue.popleft() for _ in range(min(len(self._queue), BATCH))]
            try:
                self._spool.append([_line(evaluation) for evaluation in taken])
            except RestoreService:
                self._queue.extendleft(reversed(taken))
                raise

    def _to_ledger(self) -> None:
        while True:
            lines, place = self._spool.waiting(BATCH)
            if not lines:
                return
            self._store(list(self._read(lines)))
            self._spool.drained(place)

    def _read(self, lines: Iterable[bytes]) -> Iterable[Line | Outcome]:
        for line in lines:
            kind: type[Line | Outcome] = Outcome if line.startswith(_OUTCOME) else Line
            try:
                yield msgspec.json.decode(line, type=kind)
            except (msgspec.DecodeError, msgspec.ValidationError):
                self._spool.set_aside(line)

    def _store(self, lines: Sequence[Line | Outcome]) -> None:
        if not self._migrated:
            self._ledger.migrate()
            self._migrated = True
        self._store_evaluations([line for line in lines if isinstance(line, Line)])
        for line in lines:
            if isinstance(line, Outcome):
                self._store_outcome(line)

    def _store_outcome(self, outcome: Outcome) -> None:
        """Write an outcome once; what nobody predicted, or differs from what is recorded, is set aside."""
        try:
            require_predicted(self._ledger, outcome.signal_id)
            self._settled |= (
                self._ledger.record_outcomes(pd.DataFrame([msgspec.structs.asdict(outcome)])) > 0
            )
        except FixData:
            self.set_aside += 1
            self._spool.set_aside(msgspec.json.encode(outcome) + b"\n")

    def _store_evaluations(self, lines: list[Line]) -> None:
        if not lines:
            return
        frame = pd.DataFrame([msgspec.structs.asdict(line) for line in lines])
        for name in ("p_win", "confidence_ml"):
            frame[name] = frame[name].astype("float64")
        known = frame[[self._complete(line) for line in lines]]
        if len(known):
            values = np.array(known["features"].tolist(), dtype=np.float64)
            signals = known.drop(columns=["features", "confidence_existing"]).reset_index(drop=True)
            columns = pd.DataFrame(values, columns=list(self._names))
            self._ledger.record_features(
                pd.concat([signals, columns], axis=1), self._names, self._hash
            )
        self._ledger.record_predictions(frame)

    def _complete(self, line: Line) -> bool:
        """Whether every feature is known: only then are they frozen, as the batch freezes them."""
        return len(line.features) == len(self._names) and None not in line.features


def require_predicted(ledger: "Ledger", signal_id: str) -> None:
    """Refuse an outcome of a signal that was never evaluated.

    Raises:
        FixData: If there is no prediction of it.
    """
    if ledger.signal(signal_id) is None:
        raise FixData(
            f"{signal_id}: no such signal was evaluated here; its outcome belongs to nothing"
        )


def _line(taken: Evaluation | Outcome) -> Line | Outcome:
    """Return what is written of an evaluation or an outcome; NaN is written as null."""
    return taken if isinstance(taken, Outcome) else _line_of(taken)


def _line_of(evaluation: Evaluation) -> Line:
    return Line(
        **{name: getattr(evaluation, name) for name in _PLAIN},
        features=evaluation.features.tolist(),
    )


_PLAIN = tuple(name for name in Line.__struct_fields__ if name != "features")
_OUTCOME = b'{"type":"outcome"'
