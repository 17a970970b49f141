"""Bars of venues, asked from local servers that speak their documented endpoints."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import numpy as np
import pandas as pd
import pytest
import yaml
import yfinance
from curl_cffi.requests import Session
from exchange_calendars import get_calendar

from factories.guides import classes_of
from factories.registry import LINEAGE
from factories.venue_server import Venue, alpaca, binance, running_venue, tape, yahoo
from steelyard.errors import FixConfiguration, FixData, RestoreService
from steelyard.flows.collect import collect
from steelyard.gateways.brokers import BrokerSettings, PaperBroker
from steelyard.gateways.ledger import Ledger
from steelyard.gateways.quality import Checked
from steelyard.gateways.sources import RawBars, SourceSettings
from steelyard.gateways.venues import Stretch, open_venue, read_venue, requests
from steelyard.home import open_broker, open_home, open_source
from steelyard.market.bars import COLUMNS, PRICES
from steelyard.market.brackets import BracketPolicy
from steelyard.ops.doctor.configuration import broker as doctor_broker
from steelyard.ops.doctor.configuration import source as doctor_source
from steelyard.settings import Settings
from steelyard.tasks.bars import store_bars

HOUR = pd.Timedelta("1h")
START = pd.Timestamp("2024-03-01", tz="UTC")
SYMBOLS = ("BTC/USDT", "ETH/USDT")


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "PAUSES", (0.0, 0.0, 0.0))
    monkeypatch.setattr(requests, "LONGEST_PAUSE", 0.0)


@pytest.fixture
def exchange() -> Iterator[tuple[Venue, str]]:
    """A Binance with 30 days of hourly candles of two symbols, in pages of 100."""
    opens = pd.date_range(START, periods=720, freq=HOUR)
    bars = {symbol: tape(symbol, opens) for symbol in SYMBOLS}
    with running_venue(binance, bars, page=100) as running:
        yield running


def ccxt_settings(address: str, **changes: object) -> SourceSettings:
    options = {
        "exchange": "binance",
        "rateLimit": 1,
        "urls": {"api": {"public": f"{address}/api/v3"}},
        "options": {"fetchMarkets": {"types": ["spot"]}, "fetchMargins": False},
    }
    values = {"kind": "ccxt", "symbols": SYMBOLS, "since": "2024-03-01", "bar_size": "1h"}
    return SourceSettings.model_validate(values | {"options": options} | changes)


def read(settings: SourceSettings, until: pd.Timestamp, since: pd.Timestamp = START) -> RawBars:
    stretch = Stretch(dict.fromkeys(settings.symbols, since), until)
    return read_venue(open_venue(settings), settings, stretch)


def test_candles_are_read_page_by_page_until_the_last_closed_one(
    exchange: tuple[Venue, str],
) -> None:
    """Short pages are not the end; a candle that closes after the time asked for is left out."""
    venue, address = exchange
    until = START + 250 * HOUR + pd.Timedelta("59min")
    raw = read(ccxt_settings(address), until)
    expected = pd.concat([venue.bars[symbol].head(250) for symbol in SYMBOLS], ignore_index=True)
    pd.testing.assert_frame_equal(raw.frame[list(expected.columns)], expected, check_dtype=False)
    assert len(venue.asked) == 6


def test_the_candle_that_forms_now_is_left_out_whatever_time_is_asked_for() -> None:
    """A time in the future does not make the last candle closed."""
    now = pd.Timestamp.now("UTC")
    opens = pd.date_range(now.floor("h") - 10 * HOUR, now.floor("h"), freq=HOUR)
    with running_venue(binance, {"BTC/USDT": tape("BTC/USDT", opens)}) as (_, address):
        settings = ccxt_settings(address, symbols=("BTC/USDT",), since=str(opens[0].date()))
        raw = read(settings, now + pd.Timedelta("2D"), opens[0])
    assert list(raw.frame["timestamp"]) == list(opens[:-1])


def test_requests_are_repeated_after_limits_faults_and_half_answers(
    exchange: tuple[Venue, str],
) -> None:
    """One request that fails costs a repetition, not the pages before it."""
    venue, address = exchange
    venue.faults = [None, 429, 503, None, "half", 418, None, "html"]
    raw = read(ccxt_settings(address, symbols=("BTC/USDT",)), START + 400 * HOUR)
    assert len(raw.frame) == 400
    assert len(venue.asked) == 4


def test_an_exchange_that_stays_away_ends_in_one_clear_line(exchange: tuple[Venue, str]) -> None:
    """After the last repetition the error says that nothing is asked again."""
    venue, address = exchange
    venue.faults = [503] * 4
    with pytest.raises(RestoreService, match=r"binance does not answer after 4 requests .* later"):
        read(ccxt_settings(address), START + 400 * HOUR)


def test_a_pause_before_the_first_candle_is_stepped_over(exchange: tuple[Venue, str]) -> None:
    """A symbol that was listed later begins later, and is said to."""
    venue, address = exchange
    late = venue.bars["BTC/USDT"].tail(100).reset_index(drop=True)
    venue.bars["BTC/USDT"] = late
    raw = read(ccxt_settings(address, symbols=("BTC/USDT",)), START + 720 * HOUR)
    assert list(raw.frame["timestamp"]) == list(late["timestamp"])
    assert raw.findings == (
        "BTC/USDT: the bars of ccxt begin at 2024-03-26 20:00, asked since 2024-03-01",
    )


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"options": {"exchange": "binanse"}}, "'binanse' is unknown to ccxt; .* such as binance"),
        ({"bar_size": "7min"}, r"has no candles of 0 days 00:07:00; set bar_size to one of 1s, 1m"),
        ({"calendar": "XNYS"}, "before they have closed; set calendar: 24/7"),
        ({"symbols": ("XXX/USDT",)}, "does not know the symbol XXX/USDT; correct 'symbols'"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_the_exchange_does_not_have_is_one_clear_line(
    exchange: tuple[Venue, str], changes: dict[str, Any], complaint: str
) -> None:
    """Exchange, bar size, calendar and symbol are named, and what to use instead."""
    with pytest.raises(FixConfiguration, match=complaint):
        read(ccxt_settings(exchange[1], **changes), START + 100 * HOUR)


@pytest.mark.parametrize("missing", ["symbols", "since", "bar_size"])
def test_a_venue_asks_for_what_it_needs(missing: str) -> None:
    """Symbols, the first day and the size of bars have no usual value."""
    values: dict[str, object] = {"kind": "ccxt", "symbols": ["BTC/USDT"]}
    values |= {"since": "2024-03-01", "bar_size": "1h"}
    del values[missing]
    with pytest.raises(ValueError, match=f"ccxt needs '{missing}'"):
        SourceSettings.model_validate(values)


def test_an_unknown_kind_is_told_what_is_known() -> None:
    """A misspelt kind is no plug-in."""
    with pytest.raises(ValueError, match=r"use one of sample, .* yfinance, or MODULE:CLASS"):
        SourceSettings.model_validate({"kind": "cctx"})


class Own:
    """A venue of the user's own, with bars after the time it is asked for."""

    distance = HOUR
    frames = 1

    def __init__(self, settings: SourceSettings) -> None:
        self.options = settings.options

    def read(self, since: Any, bar_size: pd.Timedelta, until: pd.Timestamp) -> Any:
        for symbol, first in since.items():
            yield tape(symbol, pd.date_range(first - 3 * HOUR, periods=60, freq=self.distance))


class HalfHours(Own):
    distance = pd.Timedelta("30min")


class TwoHours(Own):
    distance = pd.Timedelta("2h")


class EveryDay(Own):
    def read(self, since: Any, bar_size: pd.Timedelta, until: pd.Timestamp) -> Any:
        for symbol, first in since.items():
            yield tape(symbol, pd.date_range(first, periods=60, freq="1D"))


class Naive(Own):
    def read(self, since: Any, bar_size: pd.Timedelta, until: pd.Timestamp) -> Any:
        for page in super().read(since, bar_size, until):
            yield page.assign(timestamp=page["timestamp"].dt.tz_localize(None))


class Short(Own):
    def read(self, since: Any, bar_size: pd.Timedelta, until: pd.Timestamp) -> Any:
        for page in super().read(since, bar_size, until):
            yield page.drop(columns="volume")


def own_settings(name: str, **changes: object) -> SourceSettings:
    values = {"kind": f"{__name__}:{name}", "symbols": ("A",), "since": "2024-03-01"}
    return SourceSettings.model_validate(values | {"bar_size": "1h"} | changes)


def test_a_class_of_ones_own_is_a_venue() -> None:
    """What it gives before the first bar asked for, or before it has closed, is dropped."""
    raw = read(own_settings("Own"), START + 20 * HOUR + pd.Timedelta("1min"))
    assert (raw.frame["timestamp"].min(), raw.frame["timestamp"].max()) == (
        START,
        START + 19 * HOUR,
    )


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("HalfHours", "the bars of A are 0 days 00:30:00 apart, bar_size .* says 0 days 01:00:00"),
        ("TwoHours", "the bars of A are 0 days 02:00:00 apart"),
        ("Naive", "timestamps without a zone"),
        ("Short", "without volume"),
    ],
)
def test_a_class_of_ones_own_is_held_to_the_contract(name: str, complaint: str) -> None:
    """Bars of another size would be known too early; columns and zone are asked for."""
    with pytest.raises(FixData, match=complaint):
        read(own_settings(name), START + 48 * HOUR)


def test_an_exchange_does_not_trade_on_saturdays() -> None:
    """With its calendar, days around the clock would be known hours before they end."""
    settings = own_settings("EveryDay", bar_size="1D", calendar="XNYS", timezone="UTC")
    with pytest.raises(FixConfiguration, match="set calendar: 24/7"):
        read(settings, START + pd.Timedelta("40D"))


@pytest.mark.parametrize(
    ("kind", "complaint"),
    [
        ("no_such_module:Venue", "No module named 'no_such_module'"),
        (f"{__name__}:Nobody", "has no attribute 'Nobody'"),
        (f"{__name__}:Stretch", "its class must take the settings alone"),
        (f"{__name__}:yaml", "must take the settings alone"),
    ],
    ids=["module", "class", "arguments", "no class"],
)
def test_a_class_that_cannot_be_a_venue_is_one_clear_line(kind: str, complaint: str) -> None:
    """The file, the name and what to correct."""
    settings = own_settings("Own").model_copy(update={"kind": kind})
    with pytest.raises(FixConfiguration, match=f"conf/source.yaml names {kind}.*{complaint}"):
        open_venue(settings)


def collect_from(settings: SourceSettings, home: Path, at: pd.Timestamp) -> Any:
    conf = home / "conf"
    conf.mkdir(exist_ok=True)
    (conf / "source.yaml").write_text(yaml.safe_dump(settings.model_dump(mode="json")))
    return collect.fn(at.to_pydatetime(), str(home), str(conf))


def test_a_second_collection_asks_for_what_is_new(
    exchange: tuple[Venue, str], tmp_path: Path
) -> None:
    """One request per symbol, from 50 bars before the end of the lake; a break needs nothing more.

    A revised bar that the lake holds is told and stays, a hole after the last bar is named.
    """
    venue, address = exchange
    settings, first, later = ccxt_settings(address), START + 300 * HOUR, START + 340 * HOUR
    assert collect_from(settings, tmp_path, first).added == 600
    venue.asked.clear()
    btc = venue.bars["BTC/USDT"]
    btc.loc[290, "volume"] += 1
    venue.bars["BTC/USDT"] = btc.drop(index=range(300, 306))
    venue.faults = [503] * 4
    with pytest.raises(RestoreService):
        collect_from(settings, tmp_path, later)
    venue.asked.clear()
    collection = collect_from(settings, tmp_path, later)
    overlap = str((START + 250 * HOUR).value // 1_000_000)
    assert [query["startTime"] for query in venue.asked] == [overlap, overlap]
    assert (collection.added, collection.already_there, collection.conflicting) == (74, 99, 1)
    assert any(line.startswith("BTC/USDT: hole of 0 days 06:00:00") for line in collection.findings)
    lake = open_home(tmp_path, tmp_path / "conf").lake.read()
    revised = lake[(lake["timestamp"] == START + 290 * HOUR) & (lake["symbol"] == "BTC/USDT")]
    assert float(revised["volume"].iloc[0]) == btc.loc[290, "volume"] - 1
    assert collect_from(settings, tmp_path, later).added == 0
    assert collect_from(settings, tmp_path, first).added == 0  # again, for a time in the past


def test_a_long_history_is_stored_in_parts(
    exchange: tuple[Venue, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A break loses the part that was being read; the next collection goes on behind the others."""
    monkeypatch.setattr("steelyard.tasks.bars.PART_BARS", 300)
    venue, address = exchange
    venue.faults = [None, None, None, *([503] * 40)]  # three pages of the first symbol
    with pytest.raises(RestoreService):
        collect_from(ccxt_settings(address), tmp_path, START + 300 * HOUR)
    venue.faults, venue.asked = [], []
    collection = collect_from(ccxt_settings(address), tmp_path, START + 300 * HOUR)
    assert (collection.added, collection.already_there) == (300, 50)
    assert [query["symbol"] for query in venue.asked].count("BTCUSDT") == 1


KEYS = {"APCA_API_KEY_ID": "key", "APCA_API_SECRET_KEY": "secret"}
STOCKS = ("AAPL", "MSFT")


@pytest.fixture
def market(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Venue, str]]:
    """A market of two stocks, 120 sessions of XNYS, as Alpaca stamps its days, in pages of 70."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    sessions = get_calendar("XNYS", start="2024-01-02", end="2024-12-31").sessions[:120]
    opens = pd.DatetimeIndex(sessions.tz_localize("America/New_York").tz_convert("UTC"))
    with running_venue(alpaca, {name: tape(name, opens) for name in STOCKS}, page=70) as running:
        yield running


def alpaca_settings(address: str, **changes: object) -> SourceSettings:
    values = {"kind": "alpaca", "symbols": STOCKS, "since": "2024-01-02", "bar_size": "1D"}
    options = {"address": address}
    return SourceSettings.model_validate(
        values | {"calendar": "XNYS", "options": options} | changes
    )


def test_daily_bars_of_stocks_are_known_when_their_session_closes(
    market: tuple[Venue, str],
) -> None:
    """The bar of the day is there at 16:00 in New York and not a minute before, page by page."""
    venue, address = market
    venue.faults, venue.headers = [None, 429, "half", 500], {"Retry-After": "0"}
    raw = read_alpaca(alpaca_settings(address), "2024-06-03 16:00")
    assert raw.timezone == "America/New_York"
    newest = raw.frame.groupby("symbol")["timestamp"].max().dt.tz_convert("America/New_York")
    assert list(newest) == [pd.Timestamp("2024-06-03", tz="America/New_York")] * 2
    assert [query["adjustment"] for query in venue.asked] == ["split"] * 4
    before = read_alpaca(alpaca_settings(address), "2024-06-03 15:59")
    assert len(before.frame) == len(raw.frame) - 2


VENUE = {"kind": "alpaca", "symbols": ["AAPL"], "bar_size": "1D", "since": "2024-01-01"}


def test_a_stretch_never_makes_stored_bars_known_earlier(tmp_path: Path) -> None:
    """An exchange that closed later once: its old bars stay known as late as they were."""
    conf = tmp_path / "conf"
    conf.mkdir()
    (conf / "source.yaml").write_text(yaml.safe_dump(VENUE))
    home, stamp = open_home(tmp_path, conf), pd.Timestamp("2024-06-03 04:00", tz="UTC")
    prices = dict.fromkeys(PRICES, 100.0)
    for day, hours in enumerate((13, 12)):
        opened = stamp + pd.Timedelta(days=day)
        good = pd.DataFrame([{"symbol": "AAPL", "timestamp": opened, **prices, "volume": 1.0}])
        known_after = pd.Timedelta(hours=hours)
        store_bars(home, Checked(good, pd.Timedelta("1D"), known_after, good[:0], (), (), tmp_path))

    assert home.lake.known_after == pd.Timedelta(hours=13)


def read_alpaca(settings: SourceSettings, until: str) -> RawBars:
    stretch = Stretch(
        dict.fromkeys(settings.symbols, settings.first_open),
        pd.Timestamp(until, tz="America/New_York").tz_convert("UTC"),
    )
    return read_venue(open_source(settings), settings, stretch)


def test_a_split_puts_the_lake_on_the_scale_of_the_venue(
    market: tuple[Venue, str], tmp_path: Path
) -> None:
    """Only the overlap is asked again; bars before it are multiplied, so that no step remains."""
    venue, address = market
    settings = alpaca_settings(address)
    collect_from(settings, tmp_path, pd.Timestamp("2024-05-17 21:00", tz="UTC"))
    before = venue.bars["AAPL"].copy()
    venue.bars["AAPL"][list(PRICES)] /= 4
    venue.bars["AAPL"]["volume"] *= 4
    venue.asked.clear()
    collection = collect_from(settings, tmp_path, pd.Timestamp("2024-05-24 21:00", tz="UTC"))
    assert len(venue.asked) == 2
    assert any("AAPL: the source has put its history on" in line for line in collection.findings)
    bars = open_home(tmp_path, tmp_path / "conf").lake.bars()["AAPL"]
    assert bars.close == pytest.approx(before["close"].head(len(bars)).to_numpy() / 4)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"options": {"feed": "sip"}}, r"SIP data.* set options: \{feed: iex\}"),
        ({"options": {"fed": "iex"}}, "alpaca has no fed; use adjustment, feed, address"),
        ({"symbols": ("AAPL", "ZZZ")}, "refuses the request for AAPL,ZZZ .*invalid symbol: ZZZ"),
        ({"symbols": ("AAPL", "BTC/USD")}, "stocks and crypto have other calendars"),
        ({"symbols": ("BTC/USD",)}, "before they have closed; set calendar: 24/7"),
        ({"bar_size": "90min"}, "alpaca has no bars of 0 days 01:30:00"),
    ],
    ids=["feed", "option", "symbol", "mixed", "calendar", "size"],
)
def test_what_alpaca_refuses_is_one_clear_line(
    market: tuple[Venue, str], changes: dict[str, Any], complaint: str
) -> None:
    """The line names what to correct."""
    options = {"address": market[1]} | changes.get("options", {})
    settings = alpaca_settings(market[1], **changes | {"options": options})
    with pytest.raises(FixConfiguration, match=complaint):
        read_alpaca(settings, "2024-06-03 16:00")


def test_keys_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that is not set is named, of Alpaca and of an option."""
    monkeypatch.delenv("APCA_API_KEY_ID", raising=False)
    with pytest.raises(FixConfiguration, match=r"APCA_API_KEY_ID is not set; conf/source.yaml"):
        open_source(alpaca_settings("http://127.0.0.1:1"))
    settings = own_settings("Own", options={"nested": [{"key": "${VENUE_KEY}"}]})
    with pytest.raises(FixConfiguration, match="environment variable VENUE_KEY is not set"):
        open_source(settings)
    monkeypatch.setenv("VENUE_KEY", "secret")
    assert open_source(settings).options == {"nested": [{"key": "secret"}]}  # type: ignore[attr-defined]


def test_crypto_of_alpaca_is_asked_from_its_own_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pairs trade around the clock; nothing is adjusted."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    opens = pd.date_range(START, periods=60, freq=HOUR)
    with running_venue(alpaca, {"BTC/USD": tape("BTC/USD", opens)}) as (venue, address):
        settings = alpaca_settings(
            address, symbols=("BTC/USD",), bar_size="1h", calendar="auto", since="2024-03-01"
        )
        raw = read_alpaca(settings, "2024-03-02 19:00")
    assert (len(raw.frame), raw.calendar) == (48, "24/7")
    assert "adjustment" not in venue.asked[0]


def desk(venue: Venue, path: str, query: dict[str, str]) -> tuple[int, Any] | None:
    """The server of the guide's example."""
    first = pd.Timestamp(int(query["from"]), unit="s", tz="UTC")
    bars = venue.between(query["symbol"], first, first + 100 * HOUR)
    rows = bars[list(COLUMNS[1:])].itertuples(index=False)
    return 200, [[int(stamp.timestamp()), *values] for stamp, *values in rows]


def test_the_venue_of_the_guide_works_as_it_is_written() -> None:
    """The class in docs/guide/from-a-venue.md reads what its server has, and asks again."""
    [feed] = classes_of("from-a-venue.md")
    bars = {"ES": tape("ES", pd.date_range(START, periods=80, freq=HOUR))}
    with running_venue(desk, bars) as (venue, address):
        venue.faults = [503, "half"]
        options = {"address": address, "token": "t"}
        settings = own_settings("Own", symbols=("ES",), options=options)
        stretch = Stretch({"ES": START}, START + 50 * HOUR)
        raw = read_venue(feed(settings), settings, stretch)
    assert len(raw.frame) == 50


def test_doctor_looks_at_a_venue_without_asking_it() -> None:
    """The row names the venue, or what is missing."""
    [row] = doctor_source(Settings(source=ccxt_settings("http://127.0.0.1:1")))
    assert row.found == "ccxt, 2 symbols since 2024-03-01, not contacted"
    with pytest.raises(FixConfiguration, match="unknown to ccxt"):
        list(doctor_source(Settings(source=ccxt_settings("", options={"exchange": "x"}))))


class Rerouted(Session):  # type: ignore[type-arg]
    """Requests of yfinance, sent to a local server instead of Yahoo's hosts."""

    address = ""

    def request(self, method: Any, url: str, *args: Any, **options: Any) -> Any:
        return super().request(method, self.address + urlparse(url).path, *args, **options)


@pytest.fixture
def rerouted(tmp_path: Path) -> Iterator[tuple[Venue, Rerouted]]:
    """Yahoo with 120 daily bars of AAPL and a dividend of 2 % before the 100th."""
    yfinance.cache.set_cache_location(str(tmp_path))
    sessions = get_calendar("XNYS", start="2024-01-02", end="2024-12-31").sessions[:120]
    opens = pd.DatetimeIndex(sessions.tz_localize("America/New_York").tz_convert("UTC"))
    bars = tape("AAPL", opens)
    factor = np.where(np.arange(len(bars)) < 99, 0.98, 1.0)
    with running_venue(yahoo, {"AAPL": bars.assign(adj_close=bars["close"] * factor)}) as running:
        session = Rerouted()
        session.address = running[1]
        yield running[0], session


def read_yahoo(session: Rerouted, until: str, **changes: object) -> RawBars:
    values = {"kind": "yfinance", "symbols": ("AAPL",), "since": "2024-01-02", "bar_size": "1D"}
    settings = SourceSettings.model_validate(values | {"calendar": "XNYS"} | changes)
    source = open_venue(settings)
    source.session = session  # type: ignore[attr-defined]
    at = pd.Timestamp(until, tz="America/New_York").tz_convert("UTC")
    stretch = Stretch(dict.fromkeys(settings.symbols, settings.first_open), at)
    return read_venue(source, settings, stretch)


def test_daily_bars_of_yahoo_carry_the_adjusted_close(rerouted: tuple[Venue, Rerouted]) -> None:
    """Days begin at midnight in New York and are known at 16:00; faults are asked again."""
    venue, session = rerouted
    venue.faults = [429, 429, 503, 503, "half"]  # yfinance asks twice on a bad status
    raw = read_yahoo(session, "2024-06-03 16:00")
    expected = venue.bars["AAPL"]
    expected = expected[(expected["timestamp"] <= raw.frame["timestamp"].max()).array]
    columns = [*COLUMNS, "adj_close"]
    pd.testing.assert_frame_equal(raw.frame[columns], expected[columns], check_dtype=False)
    assert raw.frame["timestamp"].max() == pd.Timestamp("2024-06-03 04:00", tz="UTC")
    assert len(read_yahoo(session, "2024-06-03 15:59").frame) == len(raw.frame) - 1


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"symbols": ("ZZZZ",)}, "does not know the symbol ZZZZ"),
        ({"since": "2020-01-01", "bar_size": "1h"}, "within the last 730 days.*'since'"),
        ({"bar_size": "7min"}, r"set bar_size to one of 1min, 2min"),
        ({"options": {"key": "x"}}, "yfinance has no key; remove it"),
        ({"since": "2025-01-01"}, "has no bars of AAPL at all"),
    ],
    ids=["symbol", "past", "size", "option", "nothing"],
)
def test_what_yahoo_does_not_have_is_one_clear_line(
    rerouted: tuple[Venue, Rerouted], changes: dict[str, Any], complaint: str
) -> None:
    """The line names what to correct."""
    with pytest.raises((FixConfiguration, RestoreService), match=complaint):
        read_yahoo(rerouted[1], "2025-02-03 16:00", **changes)


def test_an_installed_package_offers_a_venue_and_a_broker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are named by their entry points; the broker keeps its trades under its own name."""
    (tmp_path / "desk-1.0.dist-info").mkdir()
    (tmp_path / "desk-1.0.dist-info" / "METADATA").write_text("Name: desk\nVersion: 1.0\n")
    (tmp_path / "desk-1.0.dist-info" / "entry_points.txt").write_text(
        f"[steelyard.sources]\nfeed = {__name__}:Own\n[steelyard.brokers]\nfloor = desk:Floor\n"
    )
    (tmp_path / "desk.py").write_text(
        "from steelyard.gateways.brokers import PaperBroker\n\n\n"
        "class Floor(PaperBroker):\n"
        "    name = 'floor'\n\n"
        "    def __init__(self, ledger, policy, settings, rule=None):\n"
        "        super().__init__(ledger, policy, settings.options['equity'], rule)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    settings = own_settings("Own").model_copy(update={"kind": "feed"})
    assert isinstance(open_source(SourceSettings.model_validate(settings.model_dump())), Own)
    floor = BrokerSettings.model_validate({"name": "floor", "options": {"equity": 5.0}})
    ledger = Ledger(f"sqlite:///{tmp_path}/ledger.db", LINEAGE)
    ledger.migrate()
    broker = open_broker(floor, BracketPolicy(), ledger)
    assert (broker.name, broker.equity({})) == ("floor", 5.0)
    [row] = doctor_broker(Settings(broker=floor))
    assert row.found == "floor, a plug-in, not contacted"


class Nameless(PaperBroker):
    name = "paper"


class Bare(PaperBroker):
    name = "bare"

    def __init__(self) -> None:
        """Take nothing of what a broker is given."""


class Half:
    name = "half"

    def __init__(self, *arguments: object) -> None:
        """Take what a broker is given."""


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("Half", "lacks submit, advance, protect, cancel_entries, tradable, equity; add them"),
        ("Nameless", "has the name 'paper'; give it one of its own"),
        ("Nobody", "has no attribute 'Nobody'"),
        ("Bare", "must take ledger, policy, settings and rule"),
    ],
)
def test_a_class_that_cannot_be_a_broker_is_one_clear_line(
    name: str, complaint: str, tmp_path: Path
) -> None:
    """A broker without all of its methods would fail with an order in the market."""
    settings = BrokerSettings.model_validate({"name": f"{__name__}:{name}"})
    with pytest.raises(FixConfiguration, match=f"conf/broker.yaml names {__name__}.*{complaint}"):
        open_broker(settings, BracketPolicy(), Ledger(f"sqlite:///{tmp_path}/ledger.db", LINEAGE))


def test_an_unknown_broker_is_told_what_is_known() -> None:
    """A misspelt name is no plug-in."""
    with pytest.raises(ValueError, match="use one of paper, alpaca, ccxt, or MODULE:CLASS"):
        BrokerSettings.model_validate({"name": "papre"})
