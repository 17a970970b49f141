"""Blocks of settled predictions, on real SQLite and PostgreSQL: copies that nobody can tell."""

import logging
import re
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import event, text

from factories.evidence import EARLIER
from factories.registry import LINEAGE
from factories.settled import settled
from steelyard.gateways.ledger import Ledger, digests
from steelyard.gateways.ledger.digests import Digests
from steelyard.gateways.ledger.tables import OPINIONS, SETTLED
from steelyard.gateways.ledger.tally import tally

SIGNALS = 120
END = EARLIER + timedelta(days=SIGNALS)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of two or three digests each."""
    monkeypatch.setattr(digests, "BLOCK_ROWS", 30)


@pytest.fixture
def ledger(ledger_url: str) -> Ledger:
    ledger = Ledger(ledger_url, LINEAGE)
    ledger.migrate()
    return ledger


def lived(seed: int = 1) -> pd.DataFrame:
    """Signals of three symbols with late outcomes, outcomes at the same time, missing opinions."""
    random, frame = np.random.default_rng(seed), settled(SIGNALS)
    symbols = random.choice(["A", "A1", "Ä"], SIGNALS)
    holds = pd.to_timedelta(random.choice([1, 2, 30], SIGNALS), unit="D")
    no_opinion, fallback = random.random(SIGNALS) < 0.1, random.random(SIGNALS) < 0.1
    return frame.assign(
        signal_id=[f"{a}:{b}:buy" for a, b in zip(symbols, range(SIGNALS), strict=True)],
        symbol=symbols,
        side=random.choice(["buy", "sell"], SIGNALS),
        settled_at=(frame["decided_at"] + holds).dt.ceil("2D"),
        p_win=np.where(no_opinion, np.nan, random.random(SIGNALS)),
        confidence_ml=np.where(no_opinion, np.nan, random.uniform(0, 100, SIGNALS)),
        decision=random.random(SIGNALS) < 0.5,
        pivotal=random.random(SIGNALS) < 0.2,
        fallback_reason=pd.Series(np.where(fallback, "deadline", None), dtype=object),
        net_return=random.normal(0, 0.01, SIGNALS),
        won=pd.array(random.random(SIGNALS) < 0.5, dtype="boolean"),
    )


def live(ledger: Ledger, frame: pd.DataFrame) -> tuple[int, str]:
    """Record every signal; the outcomes of each ten days get a digest, the last ones none."""
    ledger.record_predictions(frame)
    covered = Digests(ledger).extend()
    for day in range(10, SIGNALS, 10):
        known = frame["settled_at"] <= EARLIER + timedelta(days=day)
        ledger.record_outcomes(frame[known])
        if day < SIGNALS - 10:
            covered = Digests(ledger).extend()
    return covered


def change(ledger: Ledger, statement: str) -> None:
    with ledger.transaction() as connection:
        assert connection.execute(text(statement)).rowcount


def seen(ledger: Ledger) -> list[object]:
    """Every way to read predictions, over all of the life and over parts of it."""
    windows = [
        (EARLIER - timedelta(days=1), END + timedelta(days=90)),
        (EARLIER + timedelta(days=17), EARLIER + timedelta(days=60)),
        (EARLIER + timedelta(days=60, microseconds=1), END),
        (END + timedelta(days=300), END + timedelta(days=301)),
    ]
    reads = (ledger.settled_predictions, ledger.opinions, ledger.predictions)
    return [tally(ledger), *(read(*window) for window in windows for read in reads)]


def assert_same(left: list[object], right: list[object]) -> None:
    assert left[0] == right[0]
    for one, other in zip(left[1:], right[1:], strict=True):
        pd.testing.assert_frame_equal(one, other)


def without_blocks(ledger: Ledger) -> list[object]:
    """What is read while the ledger has no blocks, as after an upgrade."""
    change(ledger, "DELETE FROM ml_packed")
    return seen(ledger)


@pytest.mark.parametrize("seed", [1, 2])
def test_blocks_and_rows_are_read_alike(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Values, order and dtypes are those of the rows; so they are while some blocks are missing.

    Without pyarrow only the rows are read.
    """
    frame = lived(seed)
    live(ledger, frame)
    packed = seen(ledger)

    change(ledger, "DELETE FROM ml_packed WHERE first IN (1, 8)")
    assert_same(seen(ledger), packed)
    assert_same(without_blocks(ledger), packed)

    whole = packed[1]
    assert isinstance(whole, pd.DataFrame)
    expected = frame[(frame["settled_at"] <= EARLIER + timedelta(days=110)).to_numpy()]
    expected = expected.sort_values(["settled_at", "signal_id"], ignore_index=True)
    pd.testing.assert_frame_equal(whole, expected[whole.columns], check_dtype=False)
    Digests(ledger).extend()
    assert_same(seen(ledger), packed)
    monkeypatch.setattr("steelyard.gateways.ledger.ledger.HAS_ARROW", False)
    assert_same(seen(ledger), packed)


def test_dtypes_do_not_depend_on_the_rows(ledger: Ledger) -> None:
    """A window without rows has the columns and dtypes of one with rows, packed or not."""
    live(ledger, lived())
    whole, none = seen(ledger)[1], seen(ledger)[-3]
    assert isinstance(whole, pd.DataFrame)
    assert isinstance(none, pd.DataFrame)
    assert none.empty
    assert none.dtypes.to_dict() == whole.dtypes.to_dict()
    narrow = ledger.settled_predictions(EARLIER, END, OPINIONS)
    assert narrow.columns.tolist() == list(OPINIONS)
    assert narrow.dtypes.to_dict() == whole[list(OPINIONS)].dtypes.to_dict()
    assert whole.columns.tolist() == list(SETTLED)


@pytest.mark.parametrize(
    "harm",
    [
        "UPDATE ml_packed SET content = 'nonsense' WHERE number = 5",
        "UPDATE ml_packed SET tally = '[[true, null, 9, 9]]' WHERE number = 5",
        "UPDATE ml_packed SET content = (SELECT content FROM ml_packed WHERE number = 7) "
        "WHERE number = 5",
    ],
    ids=["damaged", "another tally", "another block"],
)
def test_a_block_that_is_no_copy_is_made_anew(
    ledger: Ledger, harm: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The check against the digests finds it, makes it of the rows and says so in one line."""
    covered = live(ledger, lived())
    before = seen(ledger)
    change(ledger, harm)

    with caplog.at_level(logging.WARNING, "steelyard"):
        assert not Digests(ledger).faults(*covered)
    assert [record.getMessage() for record in caplog.records] == [
        "block 5 of the ledger was not a copy of its rows and was made anew"
    ]
    assert_same(seen(ledger), before)


def test_a_check_of_the_last_digests_reads_no_block_it_knows(
    ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    """A long process guards each day; what it made or checked itself it only holds side by side."""
    covered, fresh = live(ledger, lived()), Digests(ledger)
    fresh.faults(*covered)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fresh, "_mend_block", pytest.fail)
        assert not fresh.faults(*covered, last=2)
        record_more(ledger)
        covered = fresh.extend()
        assert not fresh.faults(*covered, last=2)

    change(ledger, "UPDATE ml_packed SET tally = '[[true, null, 9, 9]]'")
    with caplog.at_level(logging.WARNING, "steelyard"):
        assert not fresh.faults(*covered, last=2)
    assert "was not a copy of its rows" in caplog.text


def record_more(ledger: Ledger) -> None:
    """Record outcomes that no digest covers yet."""
    frame = lived()
    ledger.record_outcomes(frame[frame["settled_at"] <= END])


def test_a_damaged_block_is_read_from_its_rows(ledger: Ledger) -> None:
    """Nothing is missing until it is made anew."""
    live(ledger, lived())
    before = seen(ledger)
    change(ledger, "UPDATE ml_packed SET content = 'nonsense' WHERE number = 5")
    assert_same(seen(ledger), before)


@pytest.mark.parametrize(
    "harm",
    [
        "UPDATE ml_predictions SET net_return = 9 WHERE digest_number = 3",
        "DELETE FROM ml_predictions WHERE digest_number = 3",
    ],
    ids=["changed", "deleted"],
)
def test_no_block_hides_or_takes_over_changed_rows(ledger: Ledger, harm: str) -> None:
    """The digests find the change, and the block stays what they covered."""
    covered = live(ledger, lived())
    before = ledger.opinions(EARLIER, END)
    change(ledger, harm)

    [fault] = Digests(ledger).faults(*covered)
    assert "digest 3" in fault
    pd.testing.assert_frame_equal(ledger.opinions(EARLIER, END), before)


def test_forgotten_digests_leave_no_block(ledger: Ledger) -> None:
    """After ``rollback --accept-loss`` all that is read are the rows that are left."""
    live(ledger, lived())
    change(ledger, "DELETE FROM ml_predictions WHERE digest_number = 3")
    Digests(ledger).reset()
    left = seen(ledger)
    Digests(ledger).extend()
    assert_same(seen(ledger), left)


def test_the_cost_of_a_look_does_not_grow(ledger: Ledger) -> None:
    """Of a life with digests, the live page's mark and an outcome to come read no settled row."""
    frame = lived()
    live(ledger, frame)
    Digests(ledger).extend()
    statements: list[tuple[str, object]] = []
    event.listen(
        ledger._engine,
        "before_cursor_execute",
        lambda _c, _u, statement, parameters, *_: statements.append((statement, parameters)),
    )
    tally(ledger)
    ledger.unsettled()
    ledger.predictions(EARLIER, END)
    explain = "EXPLAIN" if ledger._on_server else "EXPLAIN QUERY PLAN"
    with ledger.transaction() as connection:
        if ledger._on_server:  # it would scan so few rows
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        plans = [
            " ".join(
                str(step[-1])
                for step in connection.exec_driver_sql(f"{explain} {statement}", parameters)
            )
            for statement, parameters in tuple(statements)
            if "ml_predictions" in statement and "max(" not in statement
        ]
    assert len(plans) == 3
    for plan in plans:
        assert "digest_number" in plan or "settled_at" in plan, plan
        assert not re.search("seq scan on ml_predictions|^scan ml_predictions", plan.lower()), plan


def test_a_bound_without_a_zone_is_refused(ledger: Ledger) -> None:
    """As it is where rows are read."""
    live(ledger, lived())
    with pytest.raises(Exception, match="names no zone"):
        ledger.predictions(datetime(2026, 1, 1), END)
