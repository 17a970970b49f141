"""Signals that a log, an import or a request gave, each with the outcome told there."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pandas as pd
from sqlalchemy import ColumnElement, Connection, bindparam, func, select, true, update

from steelyard.gateways.ledger.tables import (
    LOG_OUTCOME,
    LOG_SIGNAL,
    Base,
    LogSignal,
    id_chunks,
    plain_rows,
)

_DECISION = ("decided_at", "confidence", "own", "levels")
_FILLED_IN = ("traded", *LOG_OUTCOME, "outcome_taken_in_at", "faults")


@dataclass(frozen=True, slots=True)
class LogIntake:
    """What became of signals given to the ledger.

    Attributes:
        added: Number of new signals.
        settled: Number of stored signals that got the outcome they lacked.
        differing: Ids of stored signals that were given with another confidence, feature, level or
            outcome; they stay as they are.
    """

    added: int
    settled: int
    differing: tuple[str, ...]


class LogSignals(ABC):
    """The ledger's methods for the signals of a log.

    Attributes:
        lineage: Name of the lineage whose log it is.
    """

    lineage: str

    @abstractmethod
    def transaction(self) -> AbstractContextManager[Connection]:
        """Yield a connection whose changes are made together or not at all."""

    @abstractmethod
    def _insert(self, table: type[Base], rows: list[dict[str, Any]]) -> int: ...

    @abstractmethod
    def _is_own(self, table: type[Base]) -> ColumnElement[bool]: ...

    @abstractmethod
    def _read_frame(self, statement: Any, names: Sequence[str]) -> pd.DataFrame: ...

    def record_log_signals(self, given: pd.DataFrame) -> LogIntake:
        """Record signals of a log; a stored signal stays as it is, a missing outcome is filled in.

        Args:
            given: One row per signal, any of the columns ``LOG_SIGNAL``; a missing column, NaN and
                NaT are NULL, a missing ``own`` or ``faults`` is empty. ``own`` maps a name to a
                number, ``faults`` is a list of texts.
        """
        rows = [_row(values) for values in plain_rows(given)]
        first = {row["signal_id"]: row for row in reversed(rows)}
        recorded = self._recorded(list(first))
        added = self._insert(LogSignal, [row for key, row in first.items() if key not in recorded])
        known = first | recorded
        late = [
            first[key] | {"faults": [*known[key]["faults"], *first[key]["faults"]]}
            for key in recorded
            if recorded[key]["settled_at"] is None and first[key]["settled_at"] is not None
        ]
        differing = {row["signal_id"] for row in rows if _differs(row, known[row["signal_id"]])}
        return LogIntake(added, self._fill_in(late), tuple(sorted(differing)))

    def _fill_in(self, rows: list[dict[str, Any]]) -> int:
        if not rows:
            return 0
        table = Base.metadata.tables[LogSignal.__tablename__]
        write = update(table).where(
            self._is_own(LogSignal),
            table.c.signal_id == bindparam("of"),
            table.c.settled_at.is_(None),
        )
        values = [
            {"of": row["signal_id"]} | {name: row[name] for name in _FILLED_IN} for row in rows
        ]
        with self.transaction() as connection:
            return connection.execute(write, values).rowcount

    def fill_in_outcomes(self, told: pd.DataFrame) -> int:
        """Record outcomes of signals that have none, and return how many were written.

        Args:
            told: One row per signal: ``signal_id`` and any of the columns ``LOG_OUTCOME``; others
                are ignored, and so are signals that no log gave.
        """
        outcome = told[[name for name in told if name in ("signal_id", *LOG_OUTCOME)]]
        recorded = self._recorded(told["signal_id"].tolist())
        now = datetime.now(UTC)
        rows = [
            recorded[row["signal_id"]] | row | {"outcome_taken_in_at": now}
            for row in plain_rows(outcome)
            if row["signal_id"] in recorded
        ]
        return self._fill_in(rows)

    def _recorded(self, signal_ids: list[str]) -> dict[str, dict[str, Any]]:
        """Return the stored rows of these signals by id."""
        columns = [getattr(LogSignal, name) for name in LOG_SIGNAL]
        recorded: dict[str, dict[str, Any]] = {}
        with self.transaction() as connection:
            for ids in id_chunks(signal_ids):
                own = self._is_own(LogSignal), LogSignal.signal_id.in_(ids)
                rows = connection.execute(select(*columns).where(*own))
                recorded |= {row.signal_id: dict(row._mapping) for row in rows}
        return recorded

    def log_signals(self, until: datetime) -> pd.DataFrame:
        """Return the signals of the log decided by ``until``, ordered by decision, as known then.

        Args:
            until: Time of the knowledge, inclusive, UTC; an outcome of later is blank.

        Returns:
            Columns ``LOG_SIGNAL``; the dtypes do not depend on the rows.
        """
        columns = [getattr(LogSignal, name) for name in LOG_SIGNAL]
        order = (LogSignal.decided_at, LogSignal.signal_id)
        own = self._is_own(LogSignal), LogSignal.decided_at <= until
        statement = select(*columns).where(*own).order_by(*order)
        frame = self._read_frame(statement, LOG_SIGNAL)
        open_then = ~(frame["settled_at"] <= until)
        for name in (*LOG_OUTCOME, "outcome_taken_in_at"):
            frame[name] = frame[name].mask(open_then, None if name == "exit_reason" else pd.NA)
        return frame

    def taken_in_at(self, signal_id: str) -> datetime | None:
        """Return when a signal of a log was first seen (UTC); None if no log gave it."""
        own = self._is_own(LogSignal), LogSignal.signal_id == signal_id
        statement = select(LogSignal.taken_in_at).where(*own)
        with self.transaction() as connection:
            return connection.execute(statement).scalar()

    def own_names(self) -> tuple[str, ...]:
        """Return the name of every feature that any signal of a log came with, sorted."""
        entries = func.json_each(LogSignal.own).table_valued("key")
        keys = select(entries.c.key).select_from(LogSignal).join(entries, true())
        statement = keys.where(self._is_own(LogSignal)).distinct()
        with self.transaction() as connection:
            return tuple(sorted(connection.execute(statement).scalars()))

    def log_signal_count(self) -> int:
        """Return the number of signals that logs gave."""
        with self.transaction() as connection:
            count = select(func.count()).select_from(LogSignal).where(self._is_own(LogSignal))
            return connection.execute(count).scalar_one()


def _row(values: dict[str, Any]) -> dict[str, Any]:
    """Return all columns of a signal; a feature that is no finite number is null."""
    row = dict.fromkeys(LOG_SIGNAL) | values
    own = {name: _finite_or_none(value) for name, value in (row["own"] or {}).items()}
    return row | {"own": own, "faults": list(row["faults"] or ())}


def _finite_or_none(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def _differs(given: dict[str, Any], known: dict[str, Any]) -> bool:
    """Whether a signal is given otherwise than it is stored; a missing outcome says nothing."""
    both_settled = given["settled_at"] is not None and known["settled_at"] is not None
    names = (*_DECISION, *LOG_OUTCOME) if both_settled else _DECISION
    return any(given[name] != known[name] for name in names)
