"""The ledger, on real SQLite and PostgreSQL."""

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from alembic import op
from sqlalchemy import create_engine, inspect, select, text

from factories.digests import ledger_digest
from factories.evidence import EARLIER
from factories.registry import LINEAGE
from factories.settled import settled
from steelyard.errors import FixConfiguration, FixData, RestoreService
from steelyard.gateways.ledger import OUTCOME, Base, Ledger
from steelyard.gateways.ledger.tables import RegisteredModel

MIGRATE_SLOWLY = """
import sys, time
from alembic import op
from steelyard.gateways.ledger import Ledger
create = op.create_table
op.create_table = lambda *args: (time.sleep(0.1), create(*args))
print("ready", flush=True)
sys.stdin.readline()
Ledger(sys.argv[1], "signal-confidence").migrate()
"""
LONG_AGO, FAR_AHEAD = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


@pytest.fixture
def ledger(ledger_url: str) -> Ledger:
    ledger = Ledger(ledger_url, LINEAGE)
    ledger.migrate()
    return ledger


def signals(count: int) -> pd.DataFrame:
    frame = settled(count)
    return frame.assign(
        timestamp=frame["decided_at"] - pd.Timedelta("1D"),
        ema_spread=0.5,
        rsi=np.arange(count, dtype=float),
    )


def test_migrations_make_the_tables_the_models_describe(ledger: Ledger, ledger_url: str) -> None:
    """All tables, columns and indexes of the models exist; migrating again changes nothing."""
    ledger.migrate()
    inspector = inspect(create_engine(ledger_url))
    for table in Base.metadata.sorted_tables:
        assert {column["name"] for column in inspector.get_columns(table.name)} == set(
            table.columns.keys()
        )
        assert {index["name"] for index in inspector.get_indexes(table.name)} == {
            index.name for index in table.indexes
        }


def test_a_signals_life_is_written_once(ledger: Ledger) -> None:
    """Features, prediction and outcome are read as written; writing them again changes nothing."""
    frame = signals(5)

    def write() -> tuple[int, int, int]:
        features = ledger.record_features(frame, ["ema_spread", "rsi"], "hash")
        return features, ledger.record_predictions(frame), ledger.record_outcomes(frame.head(3))

    assert write() == (5, 5, 3)
    digest_before = ledger_digest(ledger)
    assert write() == (0, 0, 0)
    assert ledger_digest(ledger) == digest_before
    assert ledger.unsettled()["signal_id"].tolist() == ["S:3:buy", "S:4:buy"]
    predictions = ledger.settled_predictions(LONG_AGO, FAR_AHEAD)
    pd.testing.assert_frame_equal(
        predictions, settled(5).head(3)[predictions.columns], check_dtype=False
    )


def test_a_frozen_prediction_is_never_changed(ledger: Ledger) -> None:
    """A second opinion on the same signal is not recorded."""
    ledger.record_predictions(settled(1, p_win=0.6))
    ledger.record_predictions(settled(1, p_win=0.9))

    assert ledger.predictions(LONG_AGO, FAR_AHEAD)["p_win"].tolist() == [0.6]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"net_return": [0.02, 0.01]},
            "S:0:buy settled with net_return 0.01, now it would be 0.02",
        ),
        (
            {"exit_reason": ["time", "target"]},
            "S:0:buy settled with exit_reason target, now it would be time",
        ),
    ],
    ids=["return", "reason"],
)
def test_a_different_outcome_is_refused_and_nothing_is_written(
    ledger: Ledger, change: dict[str, object], message: str
) -> None:
    """One signal of two would change: neither does, and the message names signal and difference."""
    ledger.record_predictions(settled(2))
    ledger.record_outcomes(settled(1))
    digest_before = ledger_digest(ledger)

    with pytest.raises(FixData, match=message):
        ledger.record_outcomes(settled(2, **change))
    assert ledger_digest(ledger) == digest_before


def test_an_outcome_written_twice_in_one_go_counts_once(ledger: Ledger) -> None:
    """The first of two rows for a signal is kept, whatever the second says."""
    ledger.record_predictions(settled(1))
    twice = pd.concat([settled(1), settled(1, net_return=0.5)])

    assert ledger.record_outcomes(twice) == 1
    assert ledger.settled_predictions(LONG_AGO, FAR_AHEAD)["net_return"].tolist() == [0.01]


def test_thousands_of_rows_are_counted_as_new_or_known(ledger: Ledger) -> None:
    """A year's signals in one go, then once more with a few new ones among them."""
    ledger.record_predictions(settled(2500))

    assert ledger.record_predictions(settled(2510)) == 10
    assert ledger.record_outcomes(settled(2510)) == 2510
    assert ledger.unsettled().empty


def test_a_moment_without_a_zone_is_refused(ledger: Ledger) -> None:
    """A time without a zone is ambiguous."""
    with pytest.raises(FixData, match="2026-01-01 00:00:00 names no zone"):
        ledger.settled_predictions(datetime(2026, 1, 1), FAR_AHEAD)


def test_an_outcome_of_an_unknown_signal_is_left_out(ledger: Ledger) -> None:
    """Signals from before the lineage have outcomes but no prediction."""
    assert ledger.record_outcomes(settled(2)) == 0


def test_a_missing_opinion_is_nan(ledger: Ledger) -> None:
    """NULL is read as NaN, a missing reason as None; an empty frame has the same dtypes."""
    empty = ledger.settled_predictions(LONG_AGO, FAR_AHEAD)
    frame = settled(2, p_win=[np.nan, 0.5], fallback_reason=["no_model", None])
    ledger.record_predictions(frame)
    ledger.record_outcomes(frame)
    predictions = ledger.settled_predictions(LONG_AGO, FAR_AHEAD)

    assert np.isnan(predictions["p_win"].iloc[0])
    assert predictions["fallback_reason"].tolist() == ["no_model", None]
    assert predictions.dtypes.to_dict() == empty.dtypes.to_dict()


def test_a_window_is_open_at_its_start_and_closed_at_its_end(ledger: Ledger) -> None:
    """Settled at the start does not count, settled at the end does."""
    frame = settled(3)
    ledger.record_predictions(frame)
    ledger.record_outcomes(frame)
    moments = [stamp.to_pydatetime() for stamp in frame["settled_at"]]

    assert ledger.settled_predictions(moments[0], moments[1])["signal_id"].tolist() == ["S:1:buy"]


def test_a_models_stage_follows_the_registry(ledger: Ledger) -> None:
    """Recorded as challenger, later champion: one row, the new stage."""
    row = {
        "version": "1",
        "run_id": "r",
        "family": "xgboost",
        "metrics": {"a": 1.0},
        "trained_through": EARLIER,
    }
    ledger.record_model({**row, "stage": "challenger"})
    digest_before = ledger_digest(ledger)
    ledger.record_model({**row, "stage": "challenger"})
    assert ledger_digest(ledger) == digest_before
    ledger.record_model({**row, "stage": "champion"})
    with ledger._engine.connect() as connection:
        rows = connection.execute(select(RegisteredModel.__table__)).mappings().all()
    assert [dict(stored) for stored in rows] == [{**row, "lineage": LINEAGE, "stage": "champion"}]


def test_what_was_tried_is_counted_once_for_each_lineage(ledger: Ledger, ledger_url: str) -> None:
    """A repeated search and another lineage change no count; later trials do not count yet."""
    other = Ledger(ledger_url, "other")
    for ledger_of, key, kind, count in (
        (ledger, "a/1", "search", 30),
        (ledger, "a/2", "search", 12),
        (ledger, "a/x", "settings", 1),
        (other, "ab/1", "search", 99),
    ):
        assert ledger_of.record_trial_count(key, EARLIER, kind, count) == 1
    digest_before = ledger_digest(ledger)

    assert ledger.record_trial_count("a/1", FAR_AHEAD, "search", 77) == 0
    assert ledger_digest(ledger) == digest_before
    assert ledger.trial_counts(EARLIER) == {"search": 42, "settings": 1}
    assert ledger.trial_counts(LONG_AGO) == {}


@pytest.mark.parametrize("column", ["settled_at", "decided_at"])
def test_the_last_month_is_found_by_an_index(tmp_path: Path, column: str) -> None:
    """SQLite's own plan names the index on the time asked for."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    Ledger(url, LINEAGE).migrate()
    with create_engine(url).connect() as connection:
        query = (
            f"EXPLAIN QUERY PLAN SELECT * FROM ml_predictions WHERE lineage = 'trend' AND "  # noqa: S608
            f"{column} > '2026' ORDER BY {column}"
        )
        plan = str(connection.execute(text(query)).all())
    assert f"USING INDEX ix_ml_predictions_lineage_{column}" in plan


def test_several_migrate_at_once(ledger_url: str) -> None:
    """Three processes migrate a new database slowly enough to meet: all succeed."""
    command = [sys.executable, "-c", MIGRATE_SLOWLY, ledger_url]
    running = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for process in running:
        process.stdout.readline()
    for process in running:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in running:
        process.communicate(timeout=60)
    assert [process.returncode for process in running] == [0, 0, 0]
    assert Ledger(ledger_url, LINEAGE).unsettled().empty


def test_a_migration_that_is_cut_off_leaves_nothing(
    ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted after the first table: no table stays, and the next migration succeeds."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(op, "create_index", interrupted)
        with pytest.raises(KeyboardInterrupt):
            Ledger(ledger_url, LINEAGE).migrate()
    assert inspect(create_engine(ledger_url)).get_table_names() == []
    Ledger(ledger_url, LINEAGE).migrate()
    assert Ledger(ledger_url, LINEAGE).unsettled().empty


def test_a_locked_database_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process holds the file: the message names it, and nothing was written."""
    monkeypatch.setattr("steelyard.gateways.ledger.ledger.BUSY_SECONDS", 0.2)
    ledger = Ledger(f"sqlite:///{tmp_path}/ledger.db", LINEAGE)
    ledger.migrate()
    blocker = sqlite3.connect(tmp_path / "ledger.db")
    blocker.execute("BEGIN IMMEDIATE")

    with pytest.raises(
        RestoreService, match=r"ledger\.db cannot be used: database is locked; nothing was changed"
    ):
        ledger.record_predictions(settled(1))
    blocker.rollback()
    assert ledger.record_predictions(settled(1)) == 1


def test_a_locked_table_on_a_server_is_one_clear_line(
    postgres: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wait ends, as it does on SQLite, and nothing was written."""
    monkeypatch.setattr("steelyard.gateways.ledger.ledger.BUSY_SECONDS", 2)
    url = postgres()
    ledger = Ledger(url, LINEAGE)
    ledger.migrate()
    with create_engine(url).begin() as blocker:
        blocker.execute(text("LOCK TABLE ml_predictions"))
        with pytest.raises(
            RestoreService, match="cannot be used: canceling statement due to lock timeout"
        ):
            ledger.record_predictions(settled(1))
    assert ledger.record_predictions(settled(1)) == 1


def test_a_lock_that_is_lost_with_its_server_is_one_clear_line(
    postgres: Callable[[], str],
) -> None:
    """The work under it may be done; the same command again finds out."""
    url = postgres()
    ledger = Ledger(url, LINEAGE)
    ledger.migrate()
    holders = (
        "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' "
        "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )

    with (
        pytest.raises(RestoreService, match=r"that locks the journal was lost .* again"),
        ledger.exclusive("journal"),
        create_engine(url).connect() as server,
    ):
        assert server.execute(text(holders)).scalar_one()
    with ledger.exclusive("journal"):
        pass


def test_an_unreachable_server_is_one_clear_line_without_its_password() -> None:
    """Nothing listens there."""
    with pytest.raises(RestoreService) as refused:
        Ledger("postgresql+psycopg://trader:secret@127.0.0.1:1/x", LINEAGE).migrate()
    assert "127.0.0.1" in str(refused.value)
    assert "secret" not in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "url", ["nonsense", "nosuch://x", "sqlite://", "mysql://trader:secret@h/d", "postgresql://h/d"]
)
def test_an_address_that_is_none_of_a_ledger_is_refused(url: str) -> None:
    """The message says what it must look like, and tells no password."""
    with pytest.raises(FixConfiguration, match="ledger must be") as refused:
        Ledger(url, LINEAGE)
    assert "secret" not in str(refused.value)


def test_the_outcome_columns_are_those_of_the_bracket() -> None:
    """What settles a signal is what the bracket kernel gives."""
    from steelyard.market.brackets import OUTCOMES

    assert set(OUTCOME) <= set(OUTCOMES)


def test_a_signal_comes_back_with_its_frozen_features(ledger: Ledger) -> None:
    """One row has prediction, outcome, features; None for an open outcome or an unknown signal."""
    frame = signals(2)
    frame["p_win"] = [0.6, np.nan]
    ledger.record_features(frame, ["ema_spread", "rsi"], "hash")
    ledger.record_predictions(frame)
    ledger.record_outcomes(frame.head(1))
    settled_signal, open_signal = ledger.signal("S:0:buy"), ledger.signal("S:1:buy")

    assert settled_signal is not None
    assert open_signal is not None
    assert settled_signal["features"] == {"ema_spread": 0.5, "rsi": 0.0}
    assert (settled_signal["feature_set_hash"], settled_signal["p_win"], settled_signal["won"]) == (
        "hash",
        0.6,
        True,
    )
    assert settled_signal["decided_at"] == EARLIER
    assert [open_signal[name] for name in ("p_win", *OUTCOME)] == [None] * (1 + len(OUTCOME))
    assert ledger.signal("S:2:buy") is None


def test_ids_are_found_by_how_they_start(ledger: Ledger) -> None:
    """At most five, newest first, in either case; a percent sign stands for itself."""
    ledger.record_predictions(signals(8))

    assert ledger.ids_starting_with("s:") == [f"S:{count}:buy" for count in (7, 6, 5, 4, 3)]
    assert ledger.ids_starting_with("S:2") == ["S:2:buy"]
    assert (
        ledger.ids_starting_with("%")
        == ledger.ids_starting_with("S_")
        == ledger.ids_starting_with("buy")
        == []
    )
    assert ledger.latest_ids(2) == ["S:7:buy", "S:6:buy"]
