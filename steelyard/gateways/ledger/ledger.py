"""The ledger: signals, models, predictions with their outcomes, and trades, in SQL (SPEC §7).

SQLite (write-ahead log) by default, PostgreSQL by URL. Every write is safe to repeat: a row that is there stays as it is,
an outcome is written once.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from filelock import FileLock, Timeout
from sqlalchemy import (
    Connection,
    Engine,
    bindparam,
    create_engine,
    event,
    func,
    make_url,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from steelyard.errors import FixConfiguration, FixData, RestoreService
from steelyard.gateways.ledger.tables import (
    DTYPES,
    MOMENTS,
    OPINIONS,
    OUTCOME,
    SETTLED,
    Base,
    DriftCheck,
    Prediction,
    RegisteredModel,
    Trade,
    TradeFeature,
    TrialCount,
)

MIGRATIONS = Path(__file__).parent / "migrations"
DRIVERS = ("sqlite", "sqlite+pysqlite", "postgresql+psycopg")
BUSY_SECONDS = 5
ALONE_SECONDS = 60
BATCH = 500


class Ledger:
    """Signals and what became of them, at a database URL.

    Every method raises ``RestoreService`` where the database cannot be reached or is locked.
    """

    def __init__(self, url: str) -> None:
        wanted = "conf/services.yaml: ledger must be sqlite:///FILE or postgresql+psycopg://…"
        try:
            self._url = make_url(url)
        except (ArgumentError, ValueError) as error:
            raise FixConfiguration(wanted) from error
        if self._url.drivername not in DRIVERS or not self._url.database:
            raise FixConfiguration(
                f"{wanted}, not {self._url.render_as_string(hide_password=True)}"
            )
        self._on_server = self._url.get_backend_name() == "postgresql"
        self._address = self._url.render_as_string(hide_password=True)

    @cached_property
    def _engine(self) -> Engine:
        if self._on_server:
            patience = {
                "connect_timeout": BUSY_SECONDS,
                "options": f"-c lock_timeout={BUSY_SECONDS}s",
            }
            return create_engine(self._url, pool_pre_ping=True, connect_args=patience)
        engine = create_engine(self._url, connect_args={"timeout": BUSY_SECONDS})
        event.listen(engine, "connect", _write_ahead)
        return engine

    def migrate(self) -> None:
        """Bring the tables to the current version, wholly or not at all; safe to repeat, and for several at once."""
        settings = Config()
        settings.set_main_option("script_location", str(MIGRATIONS))
        with self._reached(), self._alone() as connection:
            settings.attributes["connection"] = connection
            command.upgrade(settings, "head")

    def revisions(self) -> tuple[str | None, str]:
        """Return the version of the tables, None where there are none, and the current one; nothing is made."""
        head = str(ScriptDirectory(str(MIGRATIONS)).get_current_head())
        if not self._on_server and not Path(self._url.database or "").exists():
            return None, head
        with self._reached(), self._engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision(), head

    @contextmanager
    def alone(self, task: str) -> Iterator[None]:
        """Let one process at a time do ``task``, on every machine that shares this ledger; the lock dies with its process.

        Raises:
            RestoreService: If the ledger cannot be reached, or another process does not finish.
        """
        with ExitStack() as held:
            self._take(held, task)
            yield

    def _take(self, held: ExitStack, task: str) -> None:
        if self._on_server:
            with self._reached():
                connection = held.enter_context(self._engine.begin())
                connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{ALONE_SECONDS}s'")
                connection.execute(
                    select(func.pg_advisory_xact_lock(func.hashtext(f"steelyard.{task}")))
                )
            return
        file = Path(self._url.database or "")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            held.enter_context(FileLock(file.with_name(f"{task}.lock"), timeout=ALONE_SECONDS))
        except (Timeout, OSError) as error:
            raise RestoreService(
                f"{file.with_name(f'{task}.lock')}: another process holds it or it cannot be written"
            ) from error

    @contextmanager
    def _alone(self) -> Iterator[Connection]:
        """Give a transaction that no other migration runs beside."""
        if self._on_server:
            with self._engine.begin() as connection:
                connection.exec_driver_sql(
                    "SELECT pg_advisory_xact_lock(hashtext('steelyard.ledger'))"
                )
                yield connection
            return
        file = Path(self._url.database or "")
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(file.with_suffix(".lock"), timeout=60), self._engine.begin() as connection:
            connection.exec_driver_sql("BEGIN")  # the driver itself begins none before CREATE TABLE
            yield connection

    def record_features(
        self, signals: pd.DataFrame, names: Sequence[str], feature_set_hash: str
    ) -> int:
        """Freeze the features ``names`` of each signal; returns how many were new."""
        columns = ["signal_id", "symbol", "timestamp", "decided_at", "side", "confidence_existing"]
        rows = _rows(signals[columns])
        for row, values in zip(rows, signals[list(names)].to_dict("records"), strict=True):
            row |= {"features": values, "feature_set_hash": feature_set_hash}
        return self._insert(TradeFeature, rows)

    def record_predictions(self, predictions: pd.DataFrame) -> int:
        """Record predictions (columns as in ``SETTLED`` up to the outcome); returns how many were new."""
        columns = [name for name in SETTLED if name not in OUTCOME]
        return self._insert(Prediction, _rows(predictions[columns]))

    def record_outcomes(self, settled: pd.DataFrame) -> int:
        """Write the outcome of each signal that has none yet; returns how many were written.

        Args:
            settled: ``signal_id`` and the columns of ``OUTCOME``, every outcome known.

        Raises:
            FixData: If a signal already has a different outcome; nothing is written then.
        """
        rows = _rows(settled[["signal_id", *OUTCOME]])
        if not rows:
            return 0
        table = Base.metadata.tables[Prediction.__tablename__]
        write = update(table).where(
            table.c.signal_id == bindparam("of"), table.c.settled_at.is_(None)
        )
        with self._reached(), self._engine.begin() as connection:
            known = self._outcomes(connection, [row["signal_id"] for row in rows])
            for row in rows:
                _require_same(row, known.get(row["signal_id"]))
            new = [_renamed(row) for row in rows if row["signal_id"] not in known]
            return connection.execute(write, new).rowcount if new else 0

    @staticmethod
    def _outcomes(connection: Connection, ids: list[str]) -> dict[str, dict[str, Any]]:
        """Return the outcomes written so far of the signals in ``ids``."""
        known: dict[str, dict[str, Any]] = {}
        columns = [getattr(Prediction, name) for name in ("signal_id", *OUTCOME)]
        statement = select(*columns).where(Prediction.settled_at.is_not(None))
        for start in range(0, len(ids), BATCH):
            rows = connection.execute(
                statement.where(Prediction.signal_id.in_(ids[start : start + BATCH]))
            )
            known |= {row.signal_id: dict(row._mapping) for row in rows}
        return known

    def unsettled(self) -> pd.DataFrame:
        """Return ``signal_id``, ``symbol`` and ``decided_at`` of predictions without an outcome."""
        columns = (Prediction.signal_id, Prediction.symbol, Prediction.decided_at)
        statement = (
            select(*columns).where(Prediction.settled_at.is_(None)).order_by(Prediction.decided_at)
        )
        return self._frame(statement, ("signal_id", "symbol", "decided_at"))

    def settled_predictions(self, since: datetime, until: datetime) -> pd.DataFrame:
        """Return predictions settled in (since, until], ordered by ``settled_at`` (columns ``SETTLED``).

        A missing opinion is NaN. Dtypes are the same with and without rows.
        """
        columns = [getattr(Prediction, name) for name in SETTLED]
        inside = (Prediction.settled_at > since, Prediction.settled_at <= until)
        statement = (
            select(*columns).where(*inside).order_by(Prediction.settled_at, Prediction.signal_id)
        )
        return self._frame(statement, SETTLED)

    def opinions(self, since: datetime, until: datetime) -> pd.DataFrame:
        """Return settled predictions with an opinion, decided from ``since`` on and settled by ``until``.

        Ordered by ``settled_at``, and narrow (columns ``OPINIONS``): a whole life is read every day.
        """
        columns = [getattr(Prediction, name) for name in OPINIONS]
        inside = (
            Prediction.decided_at >= since,
            Prediction.settled_at <= until,
            Prediction.p_win.is_not(None),
        )
        statement = (
            select(*columns).where(*inside).order_by(Prediction.settled_at, Prediction.signal_id)
        )
        return self._frame(statement, OPINIONS)

    def predictions(self, since: datetime, until: datetime) -> pd.DataFrame:
        """Return predictions decided in (since, until], settled or not, ordered by ``decided_at``."""
        columns = [getattr(Prediction, name) for name in SETTLED]
        inside = (Prediction.decided_at > since, Prediction.decided_at <= until)
        statement = (
            select(*columns).where(*inside).order_by(Prediction.decided_at, Prediction.signal_id)
        )
        return self._frame(statement, SETTLED)

    def signal(self, signal_id: str) -> dict[str, Any] | None:
        """Return everything known of a predicted signal: columns ``SETTLED``, ``features`` and ``feature_set_hash``.

        None when there is no such prediction; features are None where they could not be computed when it was made.
        """
        columns = [getattr(Prediction, name) for name in SETTLED]
        frozen = (TradeFeature.features, TradeFeature.feature_set_hash)
        same = Prediction.signal_id == TradeFeature.signal_id
        statement = (
            select(*columns, *frozen)
            .join(TradeFeature, same, isouter=True)
            .where(Prediction.signal_id == signal_id)
        )
        with self._reached(), self._engine.connect() as connection:
            row = connection.execute(statement).mappings().first()
        return dict(row) if row else None

    def ids_starting_with(self, text: str, most: int = 5) -> list[str]:
        """Return up to ``most`` ids of predicted signals that start with ``text``, newest first; case does not matter."""
        starts = Prediction.signal_id.istartswith(text, autoescape=True)
        newest = (Prediction.decided_at.desc(), Prediction.signal_id)
        with self._reached(), self._engine.connect() as connection:
            return list(
                connection.execute(
                    select(Prediction.signal_id).where(starts).order_by(*newest).limit(most)
                ).scalars()
            )

    def latest_ids(self, most: int) -> list[str]:
        """Return the ids of the latest predicted signals, newest first."""
        statement = (
            select(Prediction.signal_id)
            .order_by(Prediction.decided_at.desc(), Prediction.signal_id)
            .limit(most)
        )
        with self._reached(), self._engine.connect() as connection:
            return list(connection.execute(statement).scalars())

    def record_trades(self, rows: list[dict[str, Any]]) -> int:
        """Record orders and vetoes (columns of ``trades``), each signal's once; returns how many were new."""
        empty = dict.fromkeys(Trade.__table__.columns.keys())
        return self._insert(Trade, [empty | row for row in rows])

    def fill_trades(self, changes: list[dict[str, Any]]) -> None:
        """Write what changed about trades: ``signal_id`` and the new values."""
        with self._reached(), self._engine.begin() as connection:
            for change in changes:
                values = {name: value for name, value in change.items() if name != "signal_id"}
                connection.execute(
                    update(Trade).where(Trade.signal_id == change["signal_id"]).values(values)
                )

    def trades(self, status: Sequence[str] = (), broker: str | None = None) -> pd.DataFrame:
        """Return trades (columns of ``trades``) of these statuses and this broker, in the order they were decided.

        Without a status or a broker, those of all.
        """
        columns = Trade.__table__.columns
        statement = select(*columns).order_by(Trade.sequence, Trade.signal_id)
        if status:
            statement = statement.where(Trade.status.in_(list(status)))
        if broker:
            statement = statement.where(Trade.broker == broker)
        return self._frame(statement, columns.keys())

    def frozen_features(self, since: datetime, until: datetime) -> pd.DataFrame:
        """Return the features frozen for the signals decided in (since, until], one column each, index ``signal_id``."""
        inside = (TradeFeature.decided_at > since, TradeFeature.decided_at <= until)
        order = (TradeFeature.decided_at, TradeFeature.signal_id)
        statement = (
            select(TradeFeature.signal_id, TradeFeature.features).where(*inside).order_by(*order)
        )
        with self._reached(), self._engine.connect() as connection:
            rows = connection.execute(statement).all()
        return pd.DataFrame(
            [row.features for row in rows], index=[row.signal_id for row in rows], dtype=np.float64
        )

    def record_drift(self, row: dict[str, Any]) -> int:
        """Record a check (columns of ``ml_drift``) once for each key; returns how many were new."""
        return self._insert(DriftCheck, [row])

    def drift_checks(self, most: int) -> list[dict[str, Any]]:
        """Return the latest checks (columns of ``ml_drift``), newest first."""
        columns = DriftCheck.__table__.columns
        statement = select(*columns).order_by(DriftCheck.as_of.desc(), DriftCheck.key).limit(most)
        with self._reached(), self._engine.connect() as connection:
            return [dict(row) for row in connection.execute(statement).mappings()]

    def record_trial_count(self, key: str, as_of: datetime, kind: str, count: int) -> int:
        """Count what was tried (columns of ``ml_trials``) once for each key; returns how many rows were new."""
        return self._insert(
            TrialCount, [{"key": key, "as_of": as_of, "kind": kind, "count": count}]
        )

    def trial_counts(self, lineage: str, until: datetime) -> dict[str, int]:
        """Return how much a lineage had tried by ``until``, by kind; the key begins with the lineage."""
        own = (TrialCount.key.startswith(f"{lineage}/", autoescape=True), TrialCount.as_of <= until)
        statement = (
            select(TrialCount.kind, func.sum(TrialCount.count))
            .where(*own)
            .group_by(TrialCount.kind)
            .order_by(TrialCount.kind)
        )
        with self._reached(), self._engine.connect() as connection:
            return {kind: int(count) for kind, count in connection.execute(statement)}

    def record_model(self, row: dict[str, Any]) -> None:
        """Record a registered version (columns of ``ml_models``), or bring its stage up to date."""
        self._insert(RegisteredModel, [row])
        stage = (
            update(RegisteredModel)
            .where(RegisteredModel.version == row["version"])
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
        with self._reached(), self._engine.begin() as connection:
            return len(connection.execute(statement, rows).all())

    def _frame(self, statement: Any, names: Sequence[str]) -> pd.DataFrame:
        with self._reached(), self._engine.connect() as connection:
            rows = connection.execute(statement).all()
        columns = zip(*rows, strict=True) if rows else ((),) * len(names)
        return pd.DataFrame(
            {name: _column(name, values) for name, values in zip(names, columns, strict=True)}
        )

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            reason = " ".join(str(error.orig).split())[:160]
            raise RestoreService(
                f"ledger {self._address} cannot be used: {reason}; nothing was changed"
            ) from error
        except (SQLAlchemyError, ModuleNotFoundError, OSError) as error:
            raise RestoreService(
                f"ledger {self._address}: {' '.join(str(error).split())[:160]}"
            ) from error


def _write_ahead(connection: Any, _record: Any) -> None:
    """Let readers and one writer work at the same time."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return rows of plain Python values; NaN, NaT and NA become None."""
    columns = {name: _plain(frame[name]) for name in frame.columns}
    return [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]


def _plain(column: pd.Series) -> list[Any]:
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        return [None if pd.isna(value) else value.to_pydatetime(warn=False) for value in column]
    return column.astype(object).where(column.notna(), None).tolist()


def _column(name: str, values: Sequence[Any]) -> Any:
    """Return values of the column ``name`` in its dtype; NULL becomes NaN, NaT or NA, in text None."""
    if name in MOMENTS:
        return pd.DatetimeIndex(list(values), dtype="datetime64[ns, UTC]")
    return pd.Series(values, dtype=DTYPES.get(name, "object"))


def _renamed(row: dict[str, Any]) -> dict[str, Any]:
    """Name the signal ``of``: a bound name may not be that of a column."""
    return {name: row[name] for name in OUTCOME} | {"of": row["signal_id"]}


def _require_same(row: dict[str, Any], known: dict[str, Any] | None) -> None:
    """Refuse an outcome that differs from the one written before."""
    if known is None or known == row:
        return
    name = next(name for name in OUTCOME if known[name] != row[name])
    raise FixData(
        f"{row['signal_id']} settled with {name} {known[name]}, now it would be {row[name]}; "
        "an outcome is written once: look for bars or conf/brackets.yaml that changed"
    )
