"""A log as another program writes it: files, folders and tables, whole rows only."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import create_engine, text

from steelyard.errors import FixConfiguration, FixData, RestoreService
from steelyard.gateways.log_rows import LogRows, LogTerms, log_rows
from steelyard.gateways.signal_log import RawLog, RawRow, read_log
from steelyard.market.logged import LogSettings
from steelyard.market.yes_or_no import PLAIN_YES

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SIGNAL = {"symbol": "X", "timestamp": "2026-01-05T10:00:00Z", "side": "buy", "confidence": "80"}
ENDED = {"settled_at": "2026-01-06T10:00:00Z", "net_return": "-0.01"}


def parsed(*rows: dict[str, Any], as_of: datetime = NOW, **settings: Any) -> LogRows:
    """Rows of a log as signals, read at ``NOW``."""
    raw = RawLog([RawRow(f"log.csv:{n}", row) for n, row in enumerate(rows, start=2)])
    return log_rows(raw, LogTerms(LogSettings(**settings), NOW, as_of, None, 1.0), "log.csv")


def written(folder: Path, kind: str) -> LogSettings:
    """The same two signals as a file of a kind, a folder or a table."""
    rows = [SIGNAL, SIGNAL | {"side": "sell", "confidence": "60.5"}]
    file = folder / f"log{kind}"
    if kind == ".csv":
        lines = [";".join(rows[0]), *(";".join(row.values()) for row in rows)]
        file.write_text("\ufeff" + "".join(f"{line}\n" for line in lines))
    elif kind == ".jsonl":
        file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    elif kind == ".parquet":
        frame = pd.DataFrame(rows)
        frame.assign(timestamp=pd.to_datetime(frame["timestamp"])).to_parquet(file)
    else:
        for number, row in enumerate(rows):
            (folder / f"{number}.jsonl").write_text(f"{json.dumps(row)}\n")
        (folder / ".hidden.csv").write_text("no\nlog\n")
        return LogSettings(path=str(folder))
    return LogSettings(path=str(file))


@pytest.mark.parametrize("kind", [".csv", ".jsonl", ".parquet", "folder"])
def test_a_log_is_read_as_it_is_written(tmp_path: Path, kind: str) -> None:
    """Any separator of a CSV, lines of JSON, Parquet, and a folder of files give the same."""
    raw = read_log(written(tmp_path, kind))
    rows = log_rows(raw, LogTerms(LogSettings(), NOW, NOW, None, 1.0), "log")

    assert not rows.bad
    assert [(row["signal_id"], row["confidence"]) for row in rows.signals] == [
        ("X:2026-01-05T10:00:00Z:buy", 80.0),
        ("X:2026-01-05T10:00:00Z:sell", 60.5),
    ]


def test_a_table_is_read_in_the_order_of_its_key(ledger_url: str, tmp_path: Path) -> None:
    """On SQLite and PostgreSQL; no such table and no such server say what to do."""
    (tmp_path / "state").mkdir()
    engine = create_engine(ledger_url)
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE IF EXISTS my_signals"))
        connection.execute(
            text(
                "CREATE TABLE my_signals (n INTEGER PRIMARY KEY, symbol TEXT, timestamp TIMESTAMP,"
                " side TEXT, confidence NUMERIC(5,2))"
            )
        )
        connection.execute(
            text(
                "INSERT INTO my_signals VALUES (2, 'X', '2026-01-05 11:00:00', 'short', 60.25),"
                " (1, 'X', '2026-01-05 10:00:00', 'long', 80)"
            )
        )
    engine.dispose()
    settings = LogSettings(url=ledger_url, table="my_signals", features=("n",))
    rows = log_rows(read_log(settings), LogTerms(settings, NOW, NOW, None, 1.0), "my_signals")

    assert [(row["signal_id"], row["confidence"], row["own"]) for row in rows.signals] == [
        ("X:2026-01-05T10:00:00Z:buy", 80.0, {"n": 1.0}),
        ("X:2026-01-05T11:00:00Z:sell", 60.25, {"n": 2.0}),
    ]
    with pytest.raises(FixConfiguration, match="no table other in the database"):
        read_log(LogSettings(url=ledger_url, table="other"))
    with pytest.raises(RestoreService, match="cannot be read"):
        read_log(LogSettings(url=f"sqlite:///{tmp_path}/none/x.db", table="t"))
    with pytest.raises(FixConfiguration, match=r"log\.url is no database address"):
        read_log(LogSettings(url="what", table="t"))


def test_a_half_written_line_waits(tmp_path: Path) -> None:
    """Until its end is there it is no row; then it is."""
    settings = written(tmp_path, ".csv")
    with open(settings.path, "a") as file:
        file.write("X;2026-01-05T12:00:00Z;b")
    half = read_log(settings)
    with open(settings.path, "a") as file:
        file.write("uy;70\n")

    assert len(half.rows) == 2
    assert half.findings == ["log.csv: the last line has no end yet; it waits"]
    assert len(read_log(settings).rows) == 3


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"symbol": " "}, "symbol is ' '"),
        ({"side": "hold"}, "side is 'hold'; write buy or sell"),
        ({"timestamp": "soon"}, "timestamp is 'soon', no time"),
        ({"timestamp": ""}, "no timestamp"),
        ({"timestamp": "2026-03-02T00:00:00Z"}, "decided at 2026-03-02 00:00:00, ahead of this"),
        ({"confidence": "high"}, "confidence is 'high', no number"),
        ({"confidence": "101"}, "confidence is 101, not within 0 to 100"),
        ({"confidence": ""}, "no confidence; a system without any leaves the whole column out"),
        ({"stop": "-1"}, "stop is -1, not above 0"),
        ({"settled_at": "2026-01-06"}, "an outcome without net_return, or entry_price and exit_"),
        ({"net_return": "0.1"}, "an outcome without settled_at or exit_at"),
        (ENDED | {"settled_at": "2026-01-05T09:00Z"}, "settled at 2026-01-05 09:00:00, not after"),
        (ENDED | {"net_return": "500"}, "net_return is 500; it is a fraction, 0.01 for 1 %"),
        (ENDED | {"stop_distance": "2"}, "stop_distance is 2, no fraction of the entry"),
        (ENDED | {"traded": "maybe"}, "traded is 'maybe'; write true or false"),
    ],
)
def test_a_row_that_is_no_signal_is_named_and_the_rest_goes_on(
    change: dict[str, str], reason: str
) -> None:
    """Its place, one reason, and the row as it is written."""
    rows = parsed(SIGNAL | {"timestamp": "2026-01-01T00:00:00Z"}, SIGNAL | change)

    assert len(rows.signals) == 1
    assert [row.where for row in rows.bad] == ["log.csv:3"]
    assert rows.bad[0].reason.startswith(reason)
    assert json.loads(rows.bad[0].text) == SIGNAL | change


@pytest.mark.parametrize(
    ("outcome", "net_return"),
    [
        ({"net_return": "0.02"}, 0.02),
        ({"entry_price": "100", "exit_price": "90"}, 0.1 - 1e-4 * 1.9),
        ({"entry_price": "100", "exit_price": "90", "fees": "3", "quantity": "2"}, 0.1 - 0.015),
    ],
    ids=["told", "from prices, with our fees", "from prices and fees"],
)
def test_an_outcome_comes_from_what_the_log_says(
    outcome: dict[str, str], net_return: float
) -> None:
    """In the row of the signal, or in a later row of the same signal."""
    sell, ended = SIGNAL | {"side": "sell"}, {"exit_at": "2026-01-05T12:00:00Z"} | outcome
    in_one = parsed(sell | ended | {"exit_reason": "Stop Loss!", "stop": "105"})
    later = parsed(sell, sell | {"confidence": ""} | ended)

    [row] = in_one.signals
    assert row["net_return"] == pytest.approx(net_return)
    assert (row["won"], row["hold_minutes"], row["exit_reason"]) == (True, 120.0, "stop_loss")
    assert later.signals[0]["net_return"] == row["net_return"]
    assert later.signals[0]["confidence"] == 80.0
    assert (
        parsed(sell | ended, as_of=datetime(2026, 1, 5, 11, tzinfo=UTC)).signals[0]["settled_at"]
        is None
    )


def test_numbers_without_a_meaning_are_features() -> None:
    """Text is none; columns that are named in the settings are the only ones."""
    row = SIGNAL | {"Funding rate": "0.01", "note": "hello", "blank": ""}

    assert parsed(row).signals[0]["own"] == {"Funding_rate": 0.01}
    assert parsed(row, features=("blank",)).signals[0]["own"] == {}
    with pytest.raises(FixData, match=r"no column other, which log\.features names"):
        parsed(row, features=("other",))


def test_a_system_that_says_only_yes_and_one_on_another_scale() -> None:
    """Without the column the confidence is the plain yes; 0 to 1 is refused with the factor."""
    plain = {name: value for name, value in SIGNAL.items() if name != "confidence"}

    assert parsed(plain).signals[0]["confidence"] == PLAIN_YES
    shares = [SIGNAL | {"symbol": name, "confidence": "0.8"} for name in "ABCDE"]
    with pytest.raises(FixConfiguration, match=r"within 0 to 1.* log.confidence_factor to 100"):
        parsed(*shares)
    scaled = parsed(SIGNAL | {"confidence": "0.8"}, confidence_factor=100)
    assert scaled.signals[0]["confidence"] == 80.0


def test_a_signal_given_again_otherwise_is_told() -> None:
    """The first decision counts."""
    rows = parsed(SIGNAL, SIGNAL | {"confidence": "50"})

    assert [row["confidence"] for row in rows.signals] == [80.0]
    assert "log.csv:3: X:2026-01-05T10:00:00Z:buy again with another confidence" in rows.findings[0]


def test_a_missing_column_says_how_to_map_it() -> None:
    """The names of the log are mapped under log.columns."""
    row = {**SIGNAL, "at": SIGNAL["timestamp"]}
    del row["timestamp"]

    with pytest.raises(FixData, match=r"no column timestamp; .* under log.columns"):
        parsed(row)
    assert parsed(row, columns={"timestamp": "at"}).signals[0]["own"] == {}
