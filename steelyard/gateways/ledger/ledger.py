"""The ledger: signals, models, predictions with their outcomes, and trades, in SQL (SPEC §7).

SQLite (write-ahead log) by default, PostgreSQL by URL. Every write is safe to repeat: a stored row
stays as it is, an outcome is written once.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, fields
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout
from sqlalchemy import (
    URL,
    Connection,
    Engine,
    and_,
    bindparam,
    create_engine,
    delete,
    event,
    func,
    inspect,
    make_url,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from steelyard.errors import FixConfiguration, FixData, RestoreService, lacking
from steelyard.gateways.arrow import HAS_ARROW
from steelyard.gateways.files import private_file, private_folder
from steelyard.gateways.ledger.log_signals import LogSignals
from steelyard.gateways.ledger.tables import (
    COLUMN_DTYPES,
    FROZEN,
    OPINIONS,
    OUTCOME,
    PREDICTED,
    SETTLED,
    TIME_COLUMNS,
    Base,
    DriftCheck,
    LineageMark,
    Mark,
    Prediction,
    PulledBrake,
    RegisteredModel,
    Trade,
    TradeFeature,
    TrialCount,
    id_chunks,
    plain_rows,
)
from steelyard.gateways.ledger.window import Window
from steelyard.monitoring.drift_record import DriftRecord

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

MIGRATIONS = Path(__file__).parent / "migrations"
DRIVERS = ("sqlite", "sqlite+pysqlite", "postgresql+psycopg")
BUSY_SECONDS = 5
LOCK_SECONDS = 60
_SAME_SIGNAL = and_(
    Prediction.signal_id == TradeFeature.signal_id, Prediction.lineage == TradeFeature.lineage
)


class Ledger(LogSignals):
    """Signals, predictions, outcomes and trades of one lineage in a SQL database.

    Rows of other lineages are neither read nor written, but for ``account_trades``. Every method
    raises ``RestoreService`` if the database cannot be reached or is locked.

    Args:
        url: ``sqlite:///FILE`` or ``postgresql+psycopg://…``.
        lineage: Name of the lineage.
        first_lineage: Lineage of the rows from before a database held several; None for
            ``lineage``.

    Raises:
        FixConfiguration: If ``url`` is neither.
    """

    def __init__(self, url: str, lineage: str, first_lineage: str | None = None) -> None:
        self.lineage = lineage
        self._first_lineage = first_lineage or lineage
        expected = "conf/services.yaml: ledger must be sqlite:///FILE or postgresql+psycopg://…"
        try:
            self._url = _parsed(url)
        except (ArgumentError, ValueError) as error:
            raise FixConfiguration(expected) from error
        self._address = self._url.render_as_string(hide_password=True)
        if self._url.drivername not in DRIVERS or not self._url.database:
            raise FixConfiguration(f"{expected}, not {self._address}")
        self._on_server = self._url.get_backend_name() == "postgresql"

    @cached_property
    def _engine(self) -> Engine:
        if self._on_server:
            timeouts = {
                "connect_timeout": BUSY_SECONDS,
                "options": f"-c lock_timeout={BUSY_SECONDS}s",
            }
            return create_engine(self._url, pool_pre_ping=True, connect_args=timeouts)
        engine = create_engine(self._url, connect_args={"timeout": BUSY_SECONDS})
        event.listen(engine, "connect", _write_ahead)
        return engine

    @property
    def is_missing(self) -> bool:
        """Whether it is a SQLite file that is missing or empty; reading must not make one."""
        file = Path(self._url.database or "")
        return not self._on_server and (not file.exists() or file.stat().st_size == 0)

    def migrate(self) -> None:
        """Upgrade the tables to the current version in one transaction.

        Safe to repeat, and safe if several processes do it at once.
        """
        from alembic import command  # a fifth of what a trading process loads
        from alembic.config import Config
        from alembic.util import CommandError

        settings = Config()
        settings.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        try:
            with self._reached(), self._migrating() as connection:
                settings.attributes["connection"] = connection
                settings.attributes["first_lineage"] = self._first_lineage
                command.upgrade(settings, "head")
        except CommandError as error:
            raise RestoreService(
                f"ledger {self._address} has tables of another version of Steelyard "
                f"({_line(error)}); install that version"
            ) from error

    def revisions(self) -> tuple[str | None, str]:
        """Return the version of the tables (None: no tables) and the current version.

        Nothing is created.
        """
        from alembic.runtime.migration import MigrationContext
        from alembic.script import ScriptDirectory

        head = str(ScriptDirectory(str(MIGRATIONS)).get_current_head())
        if self.is_missing:
            return None, head
        with self._reading() as connection:
            return MigrationContext.configure(connection).get_current_revision(), head

    @contextmanager
    def exclusive(self, task: str) -> Iterator[None]:
        """Let one process at a time do ``task``, on all machines that share this ledger.

        The lock ends with its process.

        Raises:
            RestoreService: If the ledger cannot be reached, another process does not finish, or the
                server goes away meanwhile, and the lock with it.
        """
        try:
            with ExitStack() as locks:
                self._acquire(locks, task)
                yield
        except DBAPIError as error:
            raise RestoreService(
                f"ledger {self._address}: the connection that locks the {task} was lost "
                f"({_line(error.orig)}); run the same command again"
            ) from error

    def _acquire(self, locks: ExitStack, task: str) -> None:
        if self._on_server:
            lock = select(func.pg_advisory_xact_lock(func.hashtext(f"steelyard.{task}")))
            with self._reached():
                connection = locks.enter_context(self._engine.begin())
                connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'")
                connection.execute(lock)
            return
        file = Path(self._url.database or "").with_name(f"{task}.lock")
        try:
            private_folder(file.parent)
            locks.enter_context(FileLock(file, timeout=LOCK_SECONDS))
        except (Timeout, OSError) as error:
            raise RestoreService(
                f"{file}: another process holds it or it cannot be written"
            ) from error

    @contextmanager
    def _migrating(self) -> Iterator[Connection]:
        """Yield a transaction beside which no other migration runs."""
        if self._on_server:
            with self._engine.begin() as connection:
                connection.exec_driver_sql(
                    "SELECT pg_advisory_xact_lock(hashtext('steelyard.ledger'))"
                )
                yield connection
            return
        file = Path(self._url.database or "")
        private_file(file)
        lock = FileLock(file.with_suffix(".lock"), timeout=LOCK_SECONDS)
        with lock, self._engine.begin() as connection:
            connection.exec_driver_sql("BEGIN")  # the driver begins none before CREATE TABLE
            yield connection

    def record_features(
        self, signals: pd.DataFrame, names: Sequence[str], feature_set_hash: str
    ) -> int:
        """Store the features of each signal as they were at the decision.

        Args:
            signals: One row per signal, columns signal_id, symbol, timestamp, decided_at, side,
                confidence_existing and ``names``.
            names: Columns of the features; NaN, for one of the user's own, becomes null.
            feature_set_hash: Hash of the feature set they belong to.

        Returns:
            Number of new rows; a signal that has features keeps them.
        """
        rows = plain_rows(signals[list(FROZEN[:-2])])
        for row, values in zip(rows, plain_rows(signals[list(names)]), strict=True):
            row |= {"features": values, "feature_set_hash": feature_set_hash}
        return self._insert(TradeFeature, rows)

    def record_predictions(self, predictions: pd.DataFrame) -> int:
        """Record predictions, each signal once, and return the number of new rows.

        Args:
            predictions: One row per signal, columns ``SETTLED`` without ``OUTCOME``; NaN becomes
                NULL.
        """
        return self._insert(Prediction, plain_rows(predictions[list(PREDICTED)]))

    def record_evaluations(
        self, predictions: Sequence[Mapping[str, Any]], frozen: Sequence[Mapping[str, Any]]
    ) -> None:
        """Record what a trading process decided, each signal once; no frame is built beside it.

        Args:
            predictions: Rows with ``PREDICTED`` and more, plain values; None for NULL.
            frozen: Rows with ``FROZEN`` and more; ``features`` maps a name to a number or None.
        """
        self._insert(TradeFeature, [{name: row[name] for name in FROZEN} for row in frozen])
        self._insert(Prediction, [{name: row[name] for name in PREDICTED} for row in predictions])

    def record_outcomes(self, settled: pd.DataFrame, *, reported: bool = False) -> int:
        """Record the outcome of each predicted signal that has none; return the number written.

        Args:
            settled: One row per signal, columns ``signal_id`` and ``OUTCOME``, without NaN.
            reported: A trading process reports what happened to it; bars or fills say nothing.

        Raises:
            FixData: If a signal already has a different outcome; nothing is written then.
        """
        rows = plain_rows(settled[["signal_id", *OUTCOME]])
        if not rows:
            return 0
        table = Base.metadata.tables[Prediction.__tablename__]
        write = update(table).where(
            self._is_own(Prediction),
            table.c.signal_id == bindparam("of"),
            table.c.settled_at.is_(None),
        )
        with self._reached(), self._engine.begin() as connection:
            recorded = self._recorded_outcomes(connection, [row["signal_id"] for row in rows])
            for row in rows:
                _require_same(row, recorded.get(row["signal_id"]))
            new_rows = [  # a bound name may not be that of a column, so the signal is "of"
                {"of": row["signal_id"], "reported": reported}
                | {name: row[name] for name in OUTCOME}
                for row in rows
                if row["signal_id"] not in recorded
            ]
            return connection.execute(write, new_rows).rowcount if new_rows else 0

    def _recorded_outcomes(
        self, connection: Connection, signal_ids: list[str]
    ) -> dict[str, dict[str, Any]]:
        """Return the recorded outcomes of these signals by id."""
        recorded: dict[str, dict[str, Any]] = {}
        columns = [getattr(Prediction, name) for name in ("signal_id", *OUTCOME)]
        settled = self._is_own(Prediction), Prediction.settled_at.is_not(None)
        statement = select(*columns).where(*settled)
        for ids in id_chunks(signal_ids):
            rows = connection.execute(statement.where(Prediction.signal_id.in_(ids)))
            recorded |= {row.signal_id: dict(row._mapping) for row in rows}
        return recorded

    def unsettled(self) -> pd.DataFrame:
        """Return the predictions without an outcome: columns signal_id, symbol, decided_at."""
        columns = (Prediction.signal_id, Prediction.symbol, Prediction.decided_at)
        unsettled = self._is_own(Prediction), Prediction.settled_at.is_(None)
        names = ("signal_id", "symbol", "decided_at")
        rows = self._read_frame(select(*columns).where(*unsettled), names)
        return rows.sort_values(["decided_at", "signal_id"], ignore_index=True)

    def real_outcomes(self, until: datetime) -> pd.DataFrame:
        """Return the outcomes that a trading process reported or a broker's fills gave.

        Args:
            until: Latest settlement, inclusive, UTC.

        Returns:
            Columns ``signal_id`` and ``OUTCOME``, ordered by ``settled_at``.
        """
        filled = select(Trade.signal_id).where(self._is_own(Trade), Trade.status == "closed")
        is_real = Prediction.reported.is_(True) | Prediction.signal_id.in_(filled)
        names = ("signal_id", *OUTCOME)
        settled = (self._is_own(Prediction), Prediction.settled_at <= until, is_real)
        statement = select(*(getattr(Prediction, name) for name in names)).where(*settled)
        ordered = statement.order_by(Prediction.settled_at, Prediction.signal_id)
        return self._read_frame(ordered, names)

    def settled_predictions(
        self, since: datetime, until: datetime, names: Sequence[str] = SETTLED
    ) -> pd.DataFrame:
        """Return the predictions settled in (since, until], ordered by ``settled_at``.

        Args:
            since: Start, exclusive, UTC.
            until: End, inclusive, UTC.
            names: Columns, of ``SETTLED``.

        Returns:
            Columns ``names``; a missing opinion is NaN. Dtypes do not depend on the rows.
        """
        window = Window(settled_after=since, settled_until=until)
        return self._predictions(names, "settled_at", window)

    def opinions(self, since: datetime, until: datetime) -> pd.DataFrame:
        """Return the settled predictions with an opinion of the model, ordered by ``settled_at``.

        Narrow, because the whole life of a lineage is read every day.

        Args:
            since: Earliest decision, inclusive, UTC.
            until: Latest settlement, inclusive, UTC.

        Returns:
            Columns ``OPINIONS``.
        """
        window = Window(
            decided_after=since - timedelta(microseconds=1), settled_until=until, with_opinion=True
        )
        return self._predictions(OPINIONS, "settled_at", window)

    def predictions(
        self, since: datetime, until: datetime, names: Sequence[str] = SETTLED
    ) -> pd.DataFrame:
        """Return the predictions decided in (since, until], ordered by ``decided_at``.

        Args:
            since: Start, exclusive, UTC.
            until: End, inclusive, UTC.
            names: Columns, of ``SETTLED``.

        Returns:
            Columns ``names``; the outcome of an unsettled one is NaN, NaT or NA.
        """
        window = Window(decided_after=since, decided_until=until)
        return self._predictions(names, "decided_at", window)

    def _predictions(self, names: Sequence[str], order: str, window: Window) -> pd.DataFrame:
        if not HAS_ARROW:  # the rows, of which the blocks are copies
            needed = tuple(dict.fromkeys((*names, order, "signal_id")))
            columns = [getattr(Prediction, name) for name in needed]
            rows = select(*columns).where(self._is_own(Prediction), *window.conditions())
            frame = self._read_frame(rows, needed)
            return frame.sort_values([order, "signal_id"], ignore_index=True)[list(names)]
        from steelyard.gateways.ledger import packed

        with self.snapshot() as connection:
            return packed.read(connection, self.lineage, names, order, window)

    def signal(self, signal_id: str) -> dict[str, Any] | None:
        """Return a predicted signal: ``SETTLED``, ``features`` and ``feature_set_hash``.

        None if there is no such prediction; the last two are None without stored features.
        """
        columns = [getattr(Prediction, name) for name in SETTLED]
        frozen = (TradeFeature.features, TradeFeature.feature_set_hash)
        statement = (
            select(*columns, *frozen)
            .join(TradeFeature, _SAME_SIGNAL, isouter=True)
            .where(self._is_own(Prediction), Prediction.signal_id == signal_id)
        )
        with self._reading() as connection:
            row = connection.execute(statement).mappings().first()
        return dict(row) if row else None

    def ids_starting_with(self, text: str, limit: int = 5) -> list[str]:
        """Return the ids of predicted signals that start with ``text``, newest first.

        Args:
            text: Start of the id, in either case.
            limit: Maximum number of ids.
        """
        return self._newest_ids(limit, Prediction.signal_id.istartswith(text, autoescape=True))

    def latest_ids(self, limit: int) -> list[str]:
        """Return up to ``limit`` ids of the latest predicted signals, newest first."""
        return self._newest_ids(limit)

    def _newest_ids(self, limit: int, *conditions: Any) -> list[str]:
        order = (Prediction.decided_at.desc(), Prediction.signal_id)
        own = select(Prediction.signal_id).where(self._is_own(Prediction), *conditions)
        statement = own.order_by(*order).limit(limit)
        with self._reading() as connection:
            return list(connection.execute(statement).scalars())

    def record_trades(self, rows: list[dict[str, Any]]) -> int:
        """Record orders and vetoes, one per signal, and return the number of new rows.

        Args:
            rows: Values by column of ``trades``; missing columns are NULL.
        """
        empty = dict.fromkeys(Trade.__table__.columns.keys()) | {"lineage": self.lineage}
        return self._insert(Trade, [empty | row for row in rows])

    def fill_trades(self, changes: list[dict[str, Any]]) -> None:
        """Update trades: each change has ``signal_id`` and the new values by column."""
        with self._reached(), self._engine.begin() as connection:
            for change in changes:
                values = {name: value for name, value in change.items() if name != "signal_id"}
                trade = self._is_own(Trade), Trade.signal_id == change["signal_id"]
                connection.execute(update(Trade).where(*trade).values(values))

    def trades(self, status: Sequence[str] = (), broker: str | None = None) -> pd.DataFrame:
        """Return the lineage's trades (columns of ``trades``) in the order of their decisions.

        Args:
            status: Statuses to include; empty for all.
            broker: Broker to include; None for all.
        """
        return self._trades(status, broker, self._is_own(Trade))

    def newest_trades(self, until: datetime) -> pd.DataFrame:
        """Return the lineage's trades that were submitted last: one run's, at the same time.

        Args:
            until: Latest submission, inclusive, UTC.
        """
        own = self._is_own(Trade), Trade.submitted_at <= until
        newest = select(func.max(Trade.submitted_at)).where(*own).scalar_subquery()
        return self._trades((), None, self._is_own(Trade), Trade.submitted_at == newest)

    def account_trades(self, status: Sequence[str] = (), broker: str | None = None) -> pd.DataFrame:
        """Return the trades of all lineages, which share the account, in the same way.

        Args:
            status: Statuses to include; empty for all.
            broker: Broker to include; None for all.
        """
        return self._trades(status, broker)

    def order_ids(self, broker: str) -> frozenset[str]:
        """Return our ids of all orders that a broker was ever sent, of all lineages."""
        ids = select(Trade.order_id).where(Trade.broker == broker)
        with self._reading() as connection:
            return frozenset(order_id for order_id in connection.execute(ids).scalars() if order_id)

    def _trades(self, status: Sequence[str], broker: str | None, *conditions: Any) -> pd.DataFrame:
        columns = Trade.__table__.columns
        order = Trade.sequence, Trade.lineage, Trade.signal_id
        statement = select(*columns).where(*conditions).order_by(*order)
        if status:
            statement = statement.where(Trade.status.in_(list(status)))
        if broker:
            statement = statement.where(Trade.broker == broker)
        return self._read_frame(statement, columns.keys())

    def pull_brake(self, lineage: str, operator: str, reason: str) -> None:
        """Set the weight of a lineage's trading processes to 0, wherever they run.

        Args:
            lineage: Name of the lineage.
            operator: Who pulls it.
            reason: Why, in one line.
        """
        self._insert(PulledBrake, [{"lineage": lineage, "operator": operator, "reason": reason}])

    def brake(self, lineage: str) -> str | None:
        """Return who pulled the brake of a lineage, and why; None if it is not pulled."""
        if self.is_missing:
            return None
        columns = (PulledBrake.operator, PulledBrake.reason)
        statement = select(*columns).where(PulledBrake.lineage == lineage)
        with self._reading() as connection:
            row = connection.execute(statement).first()
        return f"{row.operator}: {row.reason}" if row else None

    def release_brake(self, lineage: str) -> None:
        """Release the brake of a lineage; safe to repeat."""
        with self._reached(), self._engine.begin() as connection:
            connection.execute(delete(PulledBrake).where(PulledBrake.lineage == lineage))

    def frozen_features(self, since: datetime, until: datetime) -> pd.DataFrame:
        """Return the stored features of the signals decided in (since, until].

        Args:
            since: Start, exclusive, UTC.
            until: End, inclusive, UTC.

        Returns:
            One row per signal (index ``signal_id``, ordered by decision), one column per feature.
        """
        columns = (TradeFeature.signal_id, TradeFeature.features)
        decided_at = TradeFeature.decided_at
        window = (self._is_own(TradeFeature), decided_at > since, decided_at <= until)
        order = (TradeFeature.decided_at, TradeFeature.signal_id)
        with self._reading() as connection:
            rows = connection.execute(select(*columns).where(*window).order_by(*order)).all()
        features, signal_ids = [row.features for row in rows], [row.signal_id for row in rows]
        return pd.DataFrame(features, index=signal_ids, dtype=np.float64)

    def record_drift(self, check: DriftRecord) -> int:
        """Record a drift check once per key; return the rows added."""
        return self._insert(DriftCheck, [check.to_row()])

    def drift_checks(self, limit: int) -> list[DriftRecord]:
        """Return up to ``limit`` drift checks, newest first."""
        names, order = fields(DriftRecord), (DriftCheck.as_of.desc(), DriftCheck.key)
        columns = [getattr(DriftCheck, field.name) for field in names]
        own = select(*columns).where(self._is_own(DriftCheck))
        with self._reading() as connection:
            rows = connection.execute(own.order_by(*order).limit(limit)).mappings().all()
        return [DriftRecord.from_row(dict(row)) for row in rows]

    def record_trial_count(self, key: str, as_of: datetime, kind: str, count: int) -> int:
        """Record a number of trials once per key, and return the number of new rows.

        Args:
            key: Key that begins with the lineage and a slash.
            as_of: Time of the trials, UTC.
            kind: search or settings.
            count: Number of trials.
        """
        row = {"key": key, "as_of": as_of, "kind": kind, "count": count}
        return self._insert(TrialCount, [row])

    def trial_counts(self, until: datetime) -> dict[str, int]:
        """Return the number of trials by kind, up to a time, inclusive, UTC."""
        own = (self._is_own(TrialCount), TrialCount.as_of <= until)
        statement = (
            select(TrialCount.kind, func.sum(TrialCount.count))
            .where(*own)
            .group_by(TrialCount.kind)
            .order_by(TrialCount.kind)
        )
        with self._reading() as connection:
            return {kind: int(count) for kind, count in connection.execute(statement)}

    def mark(self, lineage: str) -> Mark | None:
        """Return the highest decision of a lineage that was seen, None without one.

        Nothing is created: a ledger that is gone or has older tables has seen nothing.
        """
        if self.is_missing:
            return None
        columns = (LineageMark.sequence, LineageMark.decision_hash, LineageMark.key_id)
        with self._reached(), self._engine.connect() as connection:
            if not inspect(connection).has_table(LineageMark.__tablename__):
                return None
            row = connection.execute(select(*columns).where(LineageMark.lineage == lineage)).first()
        return Mark(*row) if row else None

    def lineages(self) -> list[str]:
        """Return the names of all lineages that have begun, sorted; nothing is created."""
        if self.is_missing:
            return []
        with self._reached(), self._engine.connect() as connection:
            if not inspect(connection).has_table(LineageMark.__tablename__):
                return []
            names = select(LineageMark.lineage).order_by(LineageMark.lineage)
            return list(connection.execute(names).scalars())

    def raise_mark(self, lineage: str, mark: Mark) -> None:
        """Remember a decision, unless a later one or another of its number was seen.

        Args:
            lineage: Name of the lineage.
            mark: The decision.
        """
        if self.mark(lineage) is None:
            self.migrate()
        dialect = postgresql if self._on_server else sqlite
        values = asdict(mark)
        statement = dialect.insert(LineageMark).values(lineage=lineage, **values)
        same = (LineageMark.sequence == mark.sequence) & (
            func.coalesce(LineageMark.decision_hash, "") == (mark.decision_hash or "")
        )
        raised = statement.on_conflict_do_update(
            index_elements=["lineage"],
            set_=values,
            where=(LineageMark.sequence < mark.sequence) | same,
        )
        with self._reached(), self._engine.begin() as connection:
            connection.execute(raised)

    def record_model(self, row: dict[str, Any]) -> None:
        """Record a registered version (columns of ``ml_models``), or update its stage."""
        self._insert(RegisteredModel, [row])
        stage = (
            update(RegisteredModel)
            .where(self._is_own(RegisteredModel), RegisteredModel.version == row["version"])
            .values(stage=row["stage"])
        )
        with self._reached(), self._engine.begin() as connection:
            connection.execute(stage.where(RegisteredModel.stage != row["stage"]))

    def _insert(self, table: type[Base], rows: list[dict[str, Any]]) -> int:
        if not rows:
            return 0
        dialect = postgresql if self._on_server else sqlite
        statement = (
            dialect.insert(table).on_conflict_do_nothing().returning(*table.__table__.primary_key)
        )
        named = [{"lineage": self.lineage} | row for row in rows]
        with self._reached(), self._engine.begin() as connection:
            return len(connection.execute(statement, named).all())

    def _is_own(self, table: type[Base]) -> "ColumnElement[bool]":
        """Return the condition that a row is the lineage's, of every query but the account's."""
        return table.__table__.c["lineage"] == self.lineage

    def _read_frame(self, statement: Any, names: Sequence[str]) -> pd.DataFrame:
        with self._reading() as connection:
            rows = connection.execute(statement).all()
            columns = zip(*rows, strict=True) if rows else ((),) * len(names)
            frame: dict[str, Any] = {}
            for name, values in zip(names, columns, strict=True):
                if name in TIME_COLUMNS:
                    frame[name] = pd.DatetimeIndex(list(values), dtype="datetime64[ns, UTC]")
                else:
                    frame[name] = pd.Series(values, dtype=COLUMN_DTYPES.get(name, "object"))
            return pd.DataFrame(frame)

    def settled_for_proof(self) -> pd.DataFrame:
        """Return every settled prediction: its id, symbol, bar, side, ``OUTCOME`` and ``reported``.

        Columns signal_id, symbol, timestamp, decided_at, side, ``OUTCOME`` and reported; the bar is
        NaT where no features were recorded.
        """
        names = ("signal_id", "symbol", "side", "decided_at", *OUTCOME, "reported")
        columns = [getattr(Prediction, name) for name in names]
        statement = (
            select(*columns, TradeFeature.timestamp)
            .join(TradeFeature, _SAME_SIGNAL, isouter=True)
            .where(self._is_own(Prediction), Prediction.settled_at.is_not(None))
            .order_by(Prediction.signal_id)
        )
        return self._read_frame(statement, (*names, "timestamp"))

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Yield a connection whose changes are made together or not at all."""
        with self._reached(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Turn failures of the database and its driver into ``RestoreService``."""
        try:
            yield
        except DBAPIError as error:
            raise RestoreService(
                f"ledger {self._address} cannot be used: {_line(error.orig)}; nothing was changed"
            ) from error
        except ModuleNotFoundError as error:  # the driver of the database
            user = f"ledger {self._address}"
            raise RestoreService(lacking(user, str(error.name), "postgres")) from error
        except (SQLAlchemyError, OSError) as error:
            raise RestoreService(f"ledger {self._address}: {_line(error)}") from error

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """Yield a connection whose reads all see the same moment."""
        with self._reading() as connection:
            if self._on_server:
                connection.execution_options(isolation_level="REPEATABLE READ")
            else:
                connection.exec_driver_sql("BEGIN")  # the driver begins none before SELECT
            yield connection

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        """Yield a connection; a damaged value in the database is ``RestoreService``."""
        with self._reached(), self._engine.connect() as connection:
            try:
                yield connection
            except (ValueError, TypeError) as error:
                raise RestoreService(
                    f"ledger {self._address} holds a value that cannot be read ({_line(error)}); "
                    "restore it from a backup"
                ) from error


def _line(error: object) -> str:
    return " ".join(str(error).split())[:160]


def _parsed(url: str) -> URL:
    """Return a database URL; a question mark in the path of a SQLite file begins no options."""
    driver, colon, file = url.partition(":///")
    if colon and driver in DRIVERS[:2]:
        return URL.create(driver, database=file)
    return make_url(url)


def _write_ahead(connection: Any, _record: Any) -> None:
    """Switch a SQLite connection to the write-ahead log: readers and one writer at a time."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()


def _require_same(row: dict[str, Any], recorded: dict[str, Any] | None) -> None:
    """Refuse an outcome that differs from the recorded one."""
    if recorded is None or recorded == row:
        return
    name = next(name for name in OUTCOME if recorded[name] != row[name])
    raise FixData(
        f"{row['signal_id']} settled with {name} {recorded[name]}, now it would be {row[name]}; "
        "an outcome is written once: look for bars or conf/brackets.yaml that changed"
    )
