"""Sources: every unusable file is one clear line, every usable one gives the same columns."""

import gzip
import json
import re
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from pydantic import ValidationError

from steelyard.errors import FixConfiguration, FixData
from steelyard.gateways.sources import SourceSettings, from_argument, paths, read, tables
from steelyard.market.bars import COLUMNS

HEADER = "date,open,high,low,close,volume\n"
ROWS = "2026-01-01,1,2,0.5,1.5,10\n2026-01-02,1.5,2,1,1.8,20\n"


def files(path: Path, **changes: object) -> SourceSettings:
    return SourceSettings.model_validate({"kind": "files", "path": str(path), **changes})


def write(folder: Path, content: str, name: str = "AAA.csv") -> Path:
    file = folder / name
    file.write_text(content)
    return file


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param("", "the file is empty (0 bytes)", id="zero bytes"),
        pytest.param(HEADER, "a header but no rows", id="header only"),
        pytest.param(
            "date,open,high,low\n2026-01-01,1,2,0.5\n",
            "no column for close among date, open, high, low",
            id="a column too few",
        ),
        pytest.param(
            HEADER + "2026-01-01,1,2,0.5,1.5,10,99\n",
            "Expected 6 columns, got 7",
            id="a header that does not fit its rows",
        ),
        pytest.param(
            HEADER + ROWS + "2026-01-03,1,2\n",
            "Row #4: Expected 6 columns, got 3",
            id="a row too short",
        ),
        pytest.param(
            HEADER + "2026-01-01,1,2,0.5,abc,10\n",
            "row 1 has 'abc' in column close; a number is needed",
            id="a price that is no number",
        ),
        pytest.param(
            HEADER + "yesterday,1,2,0.5,1.5,10\n",
            "date holds no times",
            id="a stamp that is no time",
        ),
    ],
)
def test_a_broken_csv_is_one_clear_line(tmp_path: Path, content: str, message: str) -> None:
    """File, place and what is wrong."""
    file = write(tmp_path, content)

    with pytest.raises(FixData) as refused:
        read(files(file))
    assert message in str(refused.value)
    assert str(file) in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("AAA.xlsx", "[]", "unknown kind of file; convert it to one of"),
        ("AAA.parquet", "not parquet", "AAA.parquet: cannot be read"),
        ("AAA.feather", "not feather", "AAA.feather: cannot be read"),
        ("AAA.feather", "", "the file is empty"),
        ("AAA.json", "[", "AAA.json: cannot be read"),
        ("AAA.json", "[]", "a header but no rows"),
        ("AAA.zip", "not zip", "AAA.zip: cannot be read"),
        ("AAA.csv.gz", "not gzip", "AAA.csv.gz: cannot be read"),
    ],
    ids=[
        "an unknown kind",
        "a parquet file that is none",
        "a feather file that is none",
        "a feather file of zero bytes",
        "half a JSON document",
        "JSON without rows",
        "an archive that is none",
        "a gzip file that is none",
    ],
)
def test_a_file_of_the_wrong_kind_is_one_clear_line(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    """What can be read is said."""
    with pytest.raises(FixData, match=message):
        read(files(write(tmp_path, content, name)))


def test_a_missing_file_and_an_empty_folder_are_one_clear_line(tmp_path: Path) -> None:
    """The path stands in the message."""
    with pytest.raises(FixData, match="no such file or folder"):
        read(files(tmp_path / "nowhere.csv"))
    with pytest.raises(FixData, match=r"no \.csv"):
        read(files(tmp_path))


@pytest.mark.parametrize(
    ("stamp", "zone", "expected"),
    [
        pytest.param("2026-01-01", "UTC", "2026-01-01T00:00", id="a date"),
        pytest.param("2026-01-01", "America/New_York", "2026-01-01T05:00", id="a date in New York"),
        pytest.param(
            "2026-07-01 09:30:00", "America/New_York", "2026-07-01T13:30", id="summer time"
        ),
        pytest.param(
            "2026-01-01T09:00:00Z", "America/New_York", "2026-01-01T09:00", id="a zone of its own"
        ),
        pytest.param("2026-01-01T09:00:00+01:00", "UTC", "2026-01-01T08:00", id="an offset"),
        pytest.param("20260101", "UTC", "2026-01-01T00:00", id="a date without hyphens"),
        pytest.param("20260101", "America/New_York", "2026-01-01T05:00", id="the same in New York"),
        pytest.param("1767225600", "UTC", "2026-01-01T00:00", id="epoch seconds"),
        pytest.param("1767225600000", "UTC", "2026-01-01T00:00", id="epoch milliseconds"),
        pytest.param("1767225600000000000", "UTC", "2026-01-01T00:00", id="epoch nanoseconds"),
    ],
)
def test_stamps_become_utc(tmp_path: Path, stamp: str, zone: str, expected: str) -> None:
    """Whatever they are written as."""
    file = write(tmp_path, f"{HEADER}{stamp},1,2,0.5,1.5,10\n")
    raw = read(files(file, timezone=zone, bar_size="1h"))

    assert raw.frame["timestamp"].iloc[0] == pd.Timestamp(expected, tz="UTC")


def test_mixed_offsets_are_told_apart(tmp_path: Path) -> None:
    """The hour that happens twice in autumn."""
    rows = "2026-10-25 01:30:00+01:00,1,2,1,1,1\n2026-10-25 01:30:00+00:00,1,2,1,1,1\n"

    assert read(files(write(tmp_path, HEADER + rows))).bar_size == pd.Timedelta("1h")


def test_a_folder_gives_one_symbol_per_file_and_columns_may_be_renamed(tmp_path: Path) -> None:
    """CSV, gzip and Parquet side by side; a column under another name is mapped.

    No volume is NaN.
    """
    write(tmp_path, HEADER + ROWS)
    with gzip.open(tmp_path / "BBB.csv.gz", "wt") as stream:
        stream.write(HEADER + ROWS)
    pd.DataFrame(
        {"Date": ["2026-01-01"], "Open": [1.0], "High": [2.0], "Low": [0.5], "Close": [1.5]}
    ).to_parquet(tmp_path / "CCC.parquet")
    raw = read(files(tmp_path))

    assert raw.frame["symbol"].unique().tolist() == ["AAA", "BBB", "CCC"]
    assert list(raw.frame.columns) == list(COLUMNS)
    assert np.isnan(raw.frame["volume"].iloc[-1])
    renamed = write(tmp_path, HEADER.replace("close", "last") + ROWS, "DDD.csv")
    assert read(files(renamed, columns={"close": "last"})).frame["close"].tolist() == [1.5, 1.8]


def test_a_file_without_a_header_is_mapped_by_position(tmp_path: Path) -> None:
    """Time, open, close, low, high, volume."""
    file = write(tmp_path, "1767225600,1,1.5,0.5,2,10,7\n1767229200,1.5,1.8,1,2,20,7\n")
    order = {
        "timestamp": "f0",
        "open": "f1",
        "close": "f2",
        "low": "f3",
        "high": "f4",
        "volume": "f5",
    }
    raw = read(files(file, header=False, columns=order))

    assert raw.frame[["open", "high", "low", "close"]].iloc[0].tolist() == [1.0, 2.0, 0.5, 1.5]
    assert raw.bar_size == pd.Timedelta("1h")


@pytest.mark.parametrize("heading", ["symbol", "Symbol", "TICKER"])
def test_a_symbol_is_kept_as_it_is_written(tmp_path: Path, heading: str) -> None:
    """Leading zeros, TRUE and NA are symbols like any other; blanks around one are not part of it.

    None is missing.
    """
    rows = "".join(
        f"{name},2026-01-01,1,2,0.5,1.5,10\n" for name in ("000001", "TRUE", "NA", " IBM ", "")
    )
    raw = read(files(write(tmp_path, f"{heading},{HEADER}{rows}"), bar_size="1D"))

    assert raw.frame["symbol"].tolist()[:4] == ["000001", "TRUE", "NA", "IBM"]
    assert raw.frame["symbol"].isna().tolist() == [False] * 4 + [True]


@pytest.mark.parametrize(
    ("content", "changes"),
    [
        pytest.param(HEADER + ROWS, {}, id="plain"),
        pytest.param(
            f"symbol,{HEADER}000001,2026-01-01,1,2,.5,1.5,10\nNA,2026-01-01,1,2,.5,1.5,NA\n\n",
            {"bar_size": "1D"},
            id="symbols and gaps",
        ),
        pytest.param(
            (HEADER + ROWS).replace(".", "·").replace(",", ";").replace("·", ","),
            {"separator": ";", "decimal": ","},
            id="decimal commas",
        ),
    ],
)
def test_without_pyarrow_a_csv_is_read_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, changes: dict[str, object]
) -> None:
    """A light installation has pandas alone; a short row is an error there, too."""
    file = write(tmp_path, content)
    expected = read(files(file, **changes))

    monkeypatch.setattr(tables, "HAS_ARROW", False)
    assert_frame_equal(read(files(file, **changes)).frame, expected.frame)
    with pytest.raises(FixData, match=r"Row #2: Expected 6 columns, got 3"):
        read(files(write(tmp_path, HEADER + "2026-01-03,1,2\n")))


def test_a_file_that_is_no_utf8_is_one_clear_line(tmp_path: Path) -> None:
    """A heading from another code page."""
    file = tmp_path / "AAA.csv"
    file.write_bytes(
        HEADER.replace("volume", "volume,n\xf6te").encode("latin-1")
        + b"2026-01-01,1,2,0.5,1.5,10,x\n"
    )

    with pytest.raises(FixData, match=r"AAA\.csv: cannot be read \('utf-8' codec can't decode"):
        read(files(file))
    file.write_bytes(HEADER.encode() + b"2026-01-01,1,2,0.5,\xf6,10\n")
    with pytest.raises(FixData, match="column close is not in UTF-8"):
        read(files(file))


def test_the_sample_is_seven_real_stocks() -> None:
    """Daily, 2000-03 to 2013-03, with an adjusted close."""
    raw = read(SourceSettings())

    assert sorted(raw.frame["symbol"].unique()) == [
        "AAPL",
        "AMZN",
        "FB",
        "GOOG",
        "IBM",
        "MSFT",
        "NVDA",
    ]
    assert str(raw.frame["timestamp"].min().date()) == "2000-03-01"
    assert str(raw.frame["timestamp"].max().date()) == "2013-03-01"
    assert raw.frame["adj_close"].notna().all()


def test_an_argument_names_a_source() -> None:
    """sample, simulated:EDGE or a path.

    The sample's bar size and calendar are not carried over to a user's file.
    """
    base = SourceSettings(bar_size="1D", calendar="XNYS")

    assert from_argument("sample", base).kind == "sample"
    assert from_argument("simulated:none", base).edge == "none"
    assert from_argument("x.csv", base).model_dump(
        include={"kind", "path", "bar_size", "calendar"}
    ) == {
        "kind": "files",
        "path": "x.csv",
        "bar_size": "auto",
        "calendar": "auto",
    }
    with pytest.raises(FixConfiguration, match="none, hidden or dying"):
        from_argument("simulated:rising", base)


def test_an_unknown_symbol_is_refused() -> None:
    """The message names it."""
    with pytest.raises(FixData, match="no bars of ZZZ"):
        read(SourceSettings(symbols=("AAPL", "ZZZ")))


@pytest.mark.parametrize("zone", ["Mars/Base", " ", "/etc/passwd"])
def test_an_unknown_time_zone_is_refused(zone: str) -> None:
    """Before any file is read."""
    with pytest.raises(ValidationError, match="a time zone such as UTC"):
        SourceSettings(timezone=zone)


BARS_HEADER = "timestamp,open,high,low,close,volume"


def write_bars(file: Path, stamps: Iterable[object], header: str = BARS_HEADER) -> Path:
    """Write bars of a flat market, one per stamp."""
    rows = (f"{stamp},100,101,99,100,1000" for stamp in stamps)
    file.write_text("\n".join([header, *rows]))
    return file


def hours(count: int = 30, start: str = "2023-01-02") -> list[str]:
    return [
        f"{stamp:%Y-%m-%dT%H:%M:%SZ}" for stamp in pd.date_range(start, periods=count, freq="1h")
    ]


def days(count: int = 30) -> list[str]:
    return [f"{stamp:%Y-%m-%d}" for stamp in pd.date_range("2023-01-02", periods=count)]


def test_a_symbol_with_bars_of_another_size_is_refused(tmp_path: Path) -> None:
    """Read with one size for all, its daily bars would be known an hour after midnight."""
    write_bars(tmp_path / "AAPL.csv", hours())
    write_bars(tmp_path / "MSFT.csv", days())

    with pytest.raises(
        FixData, match=r"MSFT.csv: the bars of MSFT are 1 day apart, most are 1 hour"
    ):
        read(files(tmp_path))
    with pytest.raises(FixData, match=r"1 day apart, bar_size in conf/source.yaml says 1 hour"):
        read(files(tmp_path / "MSFT.csv", bar_size="1h"))


def test_holes_do_not_make_another_bar_size(tmp_path: Path) -> None:
    """A symbol that trades seldom has bars of the same size, further apart."""
    write_bars(tmp_path / "OFTEN.csv", hours(48))
    write_bars(tmp_path / "SELDOM.csv", [*hours(48)[::3], hours(48)[1]])

    assert read(files(tmp_path)).bar_size == pd.Timedelta("1h")


def test_bars_of_less_than_a_second_are_refused(tmp_path: Path) -> None:
    """Steelyard has no use for ticks, and stamps read in a wrong unit look like them."""
    stamps = [f"2023-01-02T00:00:00.{ms:03}Z" for ms in range(0, 100, 10)]

    with pytest.raises(FixData, match="bars of 10 ms are not supported, 1 second at least"):
        read(files(write_bars(tmp_path / "X.csv", stamps)))


def test_files_that_look_like_months_of_one_symbol_are_refused(tmp_path: Path) -> None:
    """Each would become a symbol; a pattern says which part of the name is the symbol."""
    write_bars(tmp_path / "BTCUSDT-1h-2023-01.csv", hours(48, "2023-01-02"))
    write_bars(tmp_path / "BTCUSDT-1h-2023-02.csv", hours(48, "2023-02-02"))

    with pytest.raises(FixData, match="parts of one symbol"):
        read(files(tmp_path))
    named = read(files(tmp_path, symbol_pattern="^([A-Z]+)-"))
    assert named.frame["symbol"].value_counts().to_dict() == {"BTCUSDT": 96}
    with pytest.raises(FixData, match="finds no symbol in BTCUSDT-1h-2023-01"):
        read(files(tmp_path, symbol_pattern="^([a-z]+)-"))


def test_symbols_of_digits_over_the_same_time_stay_apart(tmp_path: Path) -> None:
    """Tokyo's symbols differ in digits only, too."""
    for name in ("7203", "6758"):
        write_bars(tmp_path / f"{name}.csv", days())

    assert set(read(files(tmp_path)).frame["symbol"]) == {"7203", "6758"}


def test_dots_belong_to_symbols_and_capitals_to_suffixes(tmp_path: Path) -> None:
    """Two classes of one share are two symbols; no file is left out."""
    for name in ("BRK.A.csv", "BRK.B.CSV"):
        write_bars(tmp_path / name, days())

    assert set(read(files(tmp_path)).frame["symbol"]) == {"BRK.A", "BRK.B"}


def test_a_file_that_names_no_symbol_is_refused(tmp_path: Path) -> None:
    """An empty name is no symbol."""
    with pytest.raises(FixData, match="no symbol in the file's name"):
        read(files(write_bars(tmp_path / ".csv", days())))


@pytest.mark.parametrize("column", ["volume", "adj_close", "symbol", "timestamp"])
def test_a_mapped_column_that_is_not_there_is_refused(tmp_path: Path, column: str) -> None:
    """A slip of the pen must not make volume unknown."""
    file = write_bars(tmp_path / "X.csv", days())

    with pytest.raises(FixData, match=f"maps {column} to nowhere, the file has timestamp, open"):
        read(files(file, columns={column: "nowhere"}))


def test_volume_under_another_name_is_a_finding(tmp_path: Path) -> None:
    """Without volume three features say nothing.

    A market may have none, so it is said and not refused.
    """
    file = write_bars(tmp_path / "X.csv", days(), "timestamp,open,high,low,close,Volume BTC")

    [finding] = read(files(file)).findings

    assert "no column for volume among timestamp, open, high, low, close, Volume BTC" in finding


def test_date_and_time_in_two_columns_are_one_stamp(tmp_path: Path) -> None:
    """The date alone would be the same stamp for a whole day."""
    stamps = [f"2023-01-02,{hour:02}:00:00" for hour in range(24)]
    file = write_bars(tmp_path / "X.csv", stamps, "Date,Time,Open,High,Low,Close,Volume")

    assert read(files(file)).bar_size == pd.Timedelta("1h")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        pytest.param(
            "timestamp,open,high,low,close,volume,Volume", "2 columns are called volume", id="twice"
        ),
        pytest.param(
            "timestamp;open;high;low;close;volume", "separated by semicolons", id="semicolons"
        ),
        pytest.param("timestamp\topen\thigh\tlow\tclose\tvolume", "separated by tabs", id="tabs"),
    ],
)
def test_files_that_cannot_be_read_say_what_they_are(
    tmp_path: Path, header: str, message: str
) -> None:
    """One line each."""
    (tmp_path / "X.csv").write_text(f"{header}\n2023-01-02,1,1,1,1,1,1")

    with pytest.raises(FixData, match=message):
        read(files(tmp_path / "X.csv"))


def test_stamps_in_the_index_of_a_parquet_file_are_found(tmp_path: Path) -> None:
    """Pandas stores an index beside the columns."""
    index = pd.date_range("2023-01-02", periods=30, freq="1h", tz="UTC", name="date")
    prices = dict.fromkeys(("open", "high", "low", "close", "volume"), 100.0)
    pd.DataFrame(prices, index=index).to_parquet(tmp_path / "BTC.parquet")

    assert len(read(files(tmp_path / "BTC.parquet", columns={"timestamp": "date"})).frame) == 30
    pd.DataFrame(prices, index=index.rename(None)).to_parquet(tmp_path / "ETH.parquet")
    assert read(files(tmp_path / "ETH.parquet")).frame["timestamp"].tolist() == list(index)


def test_one_jump_is_decided_once() -> None:
    """Twice it would be applied twice."""
    decision = {"symbol": "7203", "date": "2022-10-10", "ratio": 5}

    with pytest.raises(ValidationError, match="7203 2022-10-10 is decided 2 times"):
        SourceSettings.model_validate({"jumps": [decision, decision]})


@pytest.mark.parametrize(
    ("text", "layout"),
    [
        pytest.param(
            "timestamp;open;high;low;close;volume\n2023-01-02;1.000,5;1.002;999,25;1.001;7\n",
            {"separator": ";", "decimal": ",", "thousands": "."},
            id="semicolons, decimal commas and points between thousands",
        ),
        pytest.param(
            "timestamp\topen\thigh\tlow\tclose\tvolume\n2023-01-02\t1000.5\t1002\t999.25\t1001\t7\n",
            {"separator": "tab"},
            id="tabs",
        ),
        pytest.param(
            "Bars of X\n\nday,open,high,low,close,volume\n02.01.2023,1000.5,1002,999.25,1001,7\n"
            "Source: somewhere\n\n",
            {
                "skip_rows": 2,
                "skip_footer": 1,
                "date_format": "%d.%m.%Y",
                "columns": {"timestamp": "day"},
            },
            id="lines above and below, another order of day and month",
        ),
        pytest.param(
            "# X\ntimestamp,open,high,low,close,volume\n#\n2023-01-02,1000.5,1002,999.25,1001,7",
            {"comment": "#"},
            id="comments",
        ),
        pytest.param(
            "Day,Hour,open,high,low,close,volume\n20230102,000000,1000.5,1002,999.25,1001,7\n",
            {"columns": {"timestamp": "Day", "time": "Hour"}, "date_format": "%Y%m%d %H%M%S"},
            id="date and time in two columns without colons",
        ),
        pytest.param(
            "20230102,7,1000.5,1002,999.25,1001\n",
            {"names": ["timestamp", "volume", "open", "high", "low", "close"]},
            id="names for columns without a header",
        ),
        pytest.param(
            "timestamp,open,high,low,close,volume\n2023-01-02,100050,100200,99925,100100,7\n",
            {"price_factor": 100},
            id="prices in cents",
        ),
        pytest.param(
            "timestamp,open,high,low,close,volume\n2023-01-02,$1000.5,€1002,£999.25,1001,0.007K\n",
            {},
            id="currencies and a short volume",
        ),
        pytest.param(
            ",open,high,low,close,volume\n2023-01-02,1000.5,1002,999.25,1001,7\n",
            {},
            id="stamps in an index without a name",
        ),
        pytest.param(
            ",date,open,high,low,close,volume\n0,2023-01-02,1000.5,1002,999.25,1001,7\n",
            {},
            id="an index that counts rows",
        ),
    ],
)
def test_files_are_read_as_they_are_written(
    tmp_path: Path, text: str, layout: dict[str, object]
) -> None:
    """Settings of conf/source.yaml say how; the bar is the same."""
    raw = read(files(write(tmp_path, text), bar_size="1D", **layout))

    [bar] = raw.frame.to_dict("records")
    assert bar["timestamp"] == pd.Timestamp("2023-01-02", tz="UTC")
    assert [bar[name] for name in ("open", "high", "low", "close", "volume")] == [
        1000.5,
        1002.0,
        999.25,
        1001.0,
        7.0,
    ]


@pytest.mark.parametrize(
    ("document", "layout"),
    [
        pytest.param([{"date": "2023-01-02", "open": 1, "high": 2, "low": "0.5"}], {}, id="rows"),
        pytest.param(
            {"date": ["2023-01-02"], "open": [1], "high": [2], "low": [0.5]}, {}, id="columns"
        ),
        pytest.param(
            {"data": [["2023-01-02", 1, 2, 0.5]]},
            {"records": "data", "names": ["date", "open", "high", "low"]},
            id="arrays under a key",
        ),
    ],
)
def test_json_is_read_as_rows_arrays_or_columns(
    tmp_path: Path, document: object, layout: dict[str, object]
) -> None:
    """The low stands for the close here."""
    file = write(tmp_path, json.dumps(document), "X.json")
    raw = read(files(file, bar_size="1D", columns={"close": "low"}, **layout))

    assert raw.frame[["symbol", "open", "low"]].to_numpy().tolist() == [["X", 1.0, 0.5]]


@pytest.mark.parametrize(
    ("content", "layout", "message"),
    [
        ("2023-01-02,1,2,0.5,1.5,10", {"price_factor": 100}, "have decimals, so they are not 100"),
        ("2023-01-02,1.0,2.0,1.0,1.0,10", {"price_factor": 100}, "set price_factor: 1"),
        ("2023-01-02,10.25,11,10,10,1", {"thousands": ".", "decimal": ","}, "row 1 has '10.25'"),
        ("2023-01-02,1,2,1,1K,10", {}, "row 1 has '1K' in column close"),
        ("2023-01-02,1,2,1,1,-", {"names": ["a", "b"]}, "Expected 2 columns, got 6"),
        ("13/01/2023,1,2,1,1,1", {"date_format": "%m/%d/%Y"}, "holds no times"),
        ("2023-01-02,1,2,1,1,1", {"date_pattern": r"(A+)"}, "does not count milliseconds since"),
        ("1000,1,2,1,1,1", {"date_pattern": r"(A+)"}, "finds AAA, which is no date"),
        ("1,1,2,1,1,1", {"columns": {"time": "hour"}}, "maps time to hour, the file has date"),
        (
            "2023-01-02 09:00 Asia/Tokyo,1,2,1,1,1\n2023-01-02 10:00 UTC,1,2,1,1,1",
            {},
            "several zones",
        ),
    ],
)
def test_a_layout_that_does_not_fit_is_refused(
    tmp_path: Path, content: str, layout: dict[str, object], message: str
) -> None:
    """A wrong setting must not give plausible bars."""
    with pytest.raises(FixData, match=re.escape(message)):
        read(files(write(tmp_path, HEADER + content), bar_size="1D", **layout))


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ({"separator": "ab"}, "use one sign, or tab"),
        ({"date_format": "dd.mm"}, "use a format such as"),
        ({"names": ["open", "open"]}, "names a column twice"),
        ({"price_factor": 0}, "greater than 0"),
        ({"date_pattern": "("}, "is not a regular expression"),
        ({"thousands": "."}, "'thousands' and 'decimal' are both ."),
        ({"decimal": ",", "preset": "nasdaq"}, "'thousands' and 'decimal' are both ,"),
        ({"preset": "metastock"}, "unknown preset; use one of alpaca, binance"),
    ],
)
def test_a_layout_that_cannot_be_is_refused(layout: dict[str, object], message: str) -> None:
    """Before any file is read."""
    with pytest.raises(ValidationError, match=message):
        SourceSettings.model_validate(layout)


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Europe/London"])
@pytest.mark.parametrize("size", ["1min", "1h", "4h"])
def test_bars_stamped_at_their_close_are_known_at_that_stamp(
    tmp_path: Path, zone: str, size: str
) -> None:
    """Neither earlier nor later, over the change of the clock, too."""
    closes = pd.date_range("2024-03-30 03:00", periods=40, freq=size, tz="UTC")
    file = write_bars(tmp_path / "X.csv", closes.tz_convert(zone).strftime("%Y-%m-%dT%H:%M:%S%z"))
    raw = read(files(file, stamps="close", timezone=zone))

    assert (raw.frame["timestamp"] + raw.bar_size).tolist() == closes.tolist()


@pytest.mark.parametrize(
    ("calendar", "stamp", "opens"),
    [
        pytest.param("24/7", "2024-03-31 00:00", "2024-03-30 00:00", id="midnight ends a day"),
        pytest.param("XLON", "2024-04-02", "2024-04-02 00:00", id="a date names a session"),
        pytest.param("XLON", "2024-04-02 16:30", "2024-04-02 00:00", id="a session's close"),
    ],
)
def test_daily_bars_stamped_at_their_close(
    tmp_path: Path, calendar: str, stamp: str, opens: str
) -> None:
    """The calendar says whether a date ends a day or names a session.

    Taken for the end of the day before, a session would be known a day early; without a calendar
    the file is refused.
    """
    file = write_bars(tmp_path / "X.csv", [stamp])
    layout = {"stamps": "close", "timezone": "Europe/London", "bar_size": "1D"}

    bars = read(files(file, calendar=calendar, **layout)).frame
    assert bars["timestamp"].tolist() == [pd.Timestamp(opens, tz="Europe/London")]
    with pytest.raises(FixData, match="daily bars with stamps: close need calendar"):
        read(files(file, **layout))


def test_the_clock_of_a_server_is_ahead_of_new_york_all_year(tmp_path: Path) -> None:
    """Its day begins at 17:00 in New York, in summer and in winter."""
    write_bars(tmp_path / "WINTER.csv", ["2024-01-02 00:00"])
    write_bars(tmp_path / "SUMMER.csv", ["2024-07-02 00:00"])
    layout = {"timezone": "America/New_York", "hours_ahead": 7, "bar_size": "1D"}

    stamps = read(files(tmp_path, **layout)).frame["timestamp"]

    assert stamps.dt.strftime("%d %H:%M").tolist() == ["01 21:00", "01 22:00"]


def test_a_pattern_with_a_slash_is_searched_in_the_path(tmp_path: Path) -> None:
    """Folders, and members of archives, may name the symbol."""
    (tmp_path / "BTC" / "2024").mkdir(parents=True)
    write_bars(tmp_path / "BTC" / "2024" / "bars-01.csv", hours())
    write_bars(tmp_path / "BTC" / "2024" / "bars-02.csv", hours(start="2023-02-02"))
    assert set(read(files(tmp_path, symbol_pattern="/([A-Z]+)/")).frame["symbol"]) == {"BTC"}

    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for symbol in ("ETH", "SOL"):
            archive.write(tmp_path / "BTC" / "2024" / "bars-01.csv", f"{symbol}/bars.csv")
    zipped = read(files(tmp_path / "all.zip", symbol_pattern="/([A-Z]+)/"))
    assert zipped.frame["symbol"].value_counts().to_dict() == {"ETH": 30, "SOL": 30}


def test_an_archive_of_several_files_gives_each_of_them(tmp_path: Path) -> None:
    """One symbol per member; what a Mac packs beside them is left out."""
    with zipfile.ZipFile(tmp_path / "bars.zip", "w") as archive:
        for name in ("AAA.csv", "deep/BBB.csv", "__MACOSX/._AAA.csv", "deep/.hidden.csv"):
            archive.writestr(name, HEADER + ROWS)

    assert set(read(files(tmp_path)).frame["symbol"]) == {"AAA", "BBB"}


def test_hidden_files_and_locks_are_left_out(tmp_path: Path) -> None:
    """Tools keep them beside the user's files."""
    write(tmp_path, HEADER + ROWS)
    (tmp_path / ".sync").mkdir()
    for name in (".DS_Store", "~$AAA.csv", "._AAA.csv", ".sync/AAA.csv"):
        write(tmp_path, "nothing to read", name)
    write(tmp_path, "nothing to read", "AAA-mark.csv")

    assert set(read(files(tmp_path, ignore=["*-mark.csv"])).frame["symbol"]) == {"AAA"}


def test_notes_beside_bars_are_left_out_and_said(tmp_path: Path) -> None:
    """A folder of CSV or Parquet files is read as before; without them, the other kinds are."""
    write(tmp_path, HEADER + ROWS)
    write(tmp_path, "not bars", "README.txt")
    raw = read(files(tmp_path))

    assert set(raw.frame["symbol"]) == {"AAA"}
    assert "1 of other kinds are left out, the first README.txt" in raw.findings[0]
    (tmp_path / "AAA.csv").rename(tmp_path / "README.txt")
    assert set(read(files(tmp_path)).frame["symbol"]) == {"README"}


@pytest.mark.parametrize("name", ["X.zip", "X.csv.gz"])
def test_a_bomb_is_refused(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small file that is huge when unpacked."""
    content = (HEADER + ROWS + "\n" * 100_000).encode()
    monkeypatch.setattr(paths, "LARGEST", 50_000)
    if name.endswith(".gz"):
        (tmp_path / name).write_bytes(gzip.compress(content))
    else:
        with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("X.csv", content)

    with pytest.raises(FixData, match="when unpacked"):
        read(files(tmp_path / name))


def test_files_of_one_symbol_with_bars_of_two_sizes_are_refused(tmp_path: Path) -> None:
    """Daily bars among hourly ones would be known at one in the morning."""
    write_bars(tmp_path / "XBTUSD_60.csv", hours(200))
    write_bars(tmp_path / "XBTUSD_1440.csv", days())

    with pytest.raises(FixData, match=r"XBTUSD_1440.csv: the bars of XBTUSD are 1 day apart"):
        read(files(tmp_path, symbol_pattern=r"^(.+)_\d+$"))


def test_one_of_yfinance_s_symbols_may_have_no_bar(tmp_path: Path) -> None:
    """Two symbols in the header; the day one did not trade is no bar of it."""
    text = (
        "Ticker,AAPL,AAPL,AAPL,AAPL,7203.T,7203.T,7203.T,7203.T\n"
        "Price,Open,High,Low,Close,Open,High,Low,Close\nDate,,,,,,,,\n"
        "2024-01-02,1,2,0.5,1.5,10,20,5,15\n2024-01-03,1,2,0.5,1.5,,,,\n"
    )
    frame = read(files(write(tmp_path, text), bar_size="1D")).frame

    assert frame["symbol"].value_counts().to_dict() == {"AAPL": 2, "7203.T": 1}


def test_volume_of_minus_one_throughout_is_unknown(tmp_path: Path) -> None:
    """A broker's midpoints have none; -1 in one row is a defect like any other."""
    text = HEADER + "2026-01-01,1,2,0.5,1.5,-1\n2026-01-02,1.5,2,1,1.8,{}\n"

    known = [
        read(files(write(tmp_path, text.format(last)))).frame["volume"].notna().tolist()
        for last in (-1, 7)
    ]

    assert known == [[False, False], [True, True]]


def test_metatrader_s_numbers_are_on_the_clock_of_its_server(tmp_path: Path) -> None:
    """A finding says so where they are read as UTC."""
    header = "time,open,high,low,close,tick_volume,spread,real_volume"
    file = write(tmp_path, f"{header}\n1704153600,1,2,0.5,1.5,10,3,0\n")
    layout = {"bar_size": "1D", "columns": {"volume": "tick_volume"}}
    server = {"timezone": "America/New_York", "hours_ahead": 7, "epoch_zone": True}

    [finding] = read(files(file, **layout)).findings
    assert "whose times are on the clock of the broker's server" in finding
    raw = read(files(file, **layout, **server))
    assert raw.findings == ()
    assert raw.frame["timestamp"].tolist() == [pd.Timestamp("2024-01-01 17:00-05:00")]
