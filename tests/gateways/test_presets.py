"""Presets: files as tools write them give the same bars, and a refused file names its preset.

Each layout is written here as the tool documents it; docs/guide/files.md says where.
"""

import gzip
import io
import json
import re
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import yaml
from pandas.testing import assert_frame_equal
from pydantic import ValidationError

from factories.guides import GUIDE
from steelyard.errors import FixData
from steelyard.gateways.sources import SourceSettings, read
from steelyard.gateways.sources.presets import PRESETS

PRICES = ["open", "high", "low", "close", "volume"]
MARKET = pd.DataFrame(
    [
        (100.5, 102.0, 99.25, 101.75, 1200.0),
        (101.75, 1103.5, 101.0, 102.5, 3400.0),
        (102.5, 103.0, 98.0, 99.0, 560.0),
    ],
    columns=PRICES,
)
"""Three bars, one with a price of four digits."""
HOURS = pd.date_range("2024-01-02 14:30", periods=3, freq="1h", tz="UTC")
DAYS = pd.date_range("2024-01-02", periods=3, freq="1D", tz="UTC")


def rows(
    stamps: Sequence[object], form: Callable[[Any], str], header: str = "", end: str = ""
) -> str:
    """One line per bar: ``form`` gets the bar with its stamp as text."""
    bars = MARKET.assign(stamp=list(stamps)).itertuples()
    return "\n".join([*([header] if header else []), *(form(bar) for bar in bars)]) + "\n" + end


def local(zone: str, form: str, stamps: pd.DatetimeIndex = HOURS) -> list[str]:
    return list(stamps.tz_convert(zone).strftime(form))


def epochs(unit: str, stamps: pd.DatetimeIndex = HOURS) -> list[int]:
    return list(stamps.as_unit(unit).astype("int64"))


def plain(bar: Any) -> str:
    return f"{bar.stamp},{bar.open},{bar.high},{bar.low},{bar.close},{bar.volume:.0f}"


def arrays(stamps: Sequence[object]) -> list[list[Any]]:
    """One array per bar, its stamp first."""
    return [[stamp, *bar] for stamp, bar in zip(stamps, MARKET.to_numpy().tolist(), strict=True)]


def zipped(members: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def feather(stamps: pd.DatetimeIndex) -> bytes:
    buffer = io.BytesIO()
    MARKET.assign(date=stamps).to_feather(buffer)
    return buffer.getvalue()


def klines(stamps: list[int]) -> str:
    return rows(stamps, lambda b: f"{plain(b)},{b.stamp + 3599999},5,7,1,2,0")


@dataclass(frozen=True)
class Layout:
    """A file in a tool's layout, and what it must be read as."""

    preset: str
    name: str
    content: str | bytes
    symbol: str
    stamps: pd.DatetimeIndex = field(default_factory=lambda: HOURS)
    given: dict[str, Any] = field(default_factory=dict)
    read_without: bool = False
    """Whether the layout is read without the preset."""

    def write(self, folder: Path) -> Path:
        file = folder / self.name
        file.parent.mkdir(parents=True, exist_ok=True)
        content = self.content
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return file


NEW_YORK = {"timezone": "America/New_York"}
LEAN = NEW_YORK | {"price_factor": 10_000}
SERVER = NEW_YORK | {"hours_ahead": 7}
LAYOUTS = {
    "alpaca, a table of alpaca-py": Layout(
        "alpaca",
        "bars.csv",
        rows(
            [f"SPY,{stamp}" for stamp in local("UTC", "%Y-%m-%d %H:%M:%S+00:00")],
            lambda b: f"{plain(b)},14.0,382.8",
            "symbol,timestamp,open,high,low,close,volume,trade_count,vwap",
        ),
        "SPY",
        read_without=True,
    ),
    "alpaca, an answer of its API": Layout(
        "alpaca",
        "SPY.json",
        json.dumps(
            {
                "bars": {
                    "SPY": [
                        {"t": stamp, "n": 14, "vw": 382.8, **dict(zip("ohlcv", bar, strict=True))}
                        for stamp, bar in zip(
                            local("UTC", "%Y-%m-%dT%H:%M:%SZ"),
                            MARKET.to_numpy().tolist(),
                            strict=True,
                        )
                    ]
                },
                "next_page_token": None,
            }
        ),
        "SPY",
    ),
    "alpaca, an answer about one symbol": Layout(
        "alpaca",
        "answer.json",
        json.dumps(
            {
                "symbol": "SPY",
                "bars": [
                    dict(zip("tohlcv", bar, strict=True))
                    for bar in arrays(local("UTC", "%Y-%m-%dT%H:%M:%SZ"))
                ],
            }
        ),
        "SPY",
    ),
    "binance, a month in milliseconds": Layout(
        "binance",
        "BTCUSDT-1h-2024-01.zip",
        zipped({"BTCUSDT-1h-2024-01.csv": klines(epochs("ms"))}),
        "BTCUSDT",
    ),
    "binance, a month in microseconds": Layout(
        "binance",
        "BTCUSDT-1h-2025-01.csv",
        klines(epochs("us")),
        "BTCUSDT",
    ),
    "binance, futures with a header": Layout(
        "binance",
        "BTCUSDT-1h-2024-01-02.csv",
        "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,"
        "taker_buy_quote_volume,ignore\n" + klines(epochs("ms")),
        "BTCUSDT",
        read_without=True,
    ),
    "binance, an answer of its API": Layout(
        "binance",
        "BTCUSDT-1h.json",
        json.dumps(
            [
                [stamp, *map(str, bar), stamp + 3599999, "5", 7, "1", "2", "0"]
                for stamp, *bar in arrays(epochs("ms"))
            ]
        ),
        "BTCUSDT",
    ),
    "cryptodatadownload": Layout(
        "cryptodatadownload",
        "Binance_BTCUSDT_1h.csv",
        rows(
            [f"{stamp},2024-01-02,BTC/USDT" for stamp in epochs("ms")],
            lambda b: f"{plain(b)},{b.volume * 100},77",
            "https://www.CryptoDataDownload.com\nUnix,Date,Symbol,Open,High,Low,Close,Volume BTC,"
            "Volume USDT,tradecount",
        ),
        "BTC/USDT",
    ),
    "databento, whole numbers": Layout(
        "databento",
        "xnas-itch-20240102.ohlcv-1h.csv",
        rows(
            epochs("ns"),
            lambda b: ",".join(
                [
                    f"{b.stamp},34,2,523",
                    *(f"{p * 1_000_000_000:.0f}" for p in (b.open, b.high, b.low, b.close)),
                    f"{b.volume:.0f},AMZN",
                ]
            ),
            "ts_event,rtype,publisher_id,instrument_id,open,high,low,close,volume,symbol",
        ),
        "AMZN",
    ),
    "databento, decimal prices, packed": Layout(
        "databento",
        "xnas-itch-20240102.ohlcv-1h.csv.zst",
        pa.compress(
            rows(
                [f"{s},34,2,523" for s in local("UTC", "%Y-%m-%dT%H:%M:%S.000000000Z")],
                lambda b: f"{plain(b)},AMZN",
                "ts_event,rtype,publisher_id,instrument_id,open,high,low,close,volume,symbol",
            ).encode(),
            codec="zstd",
            asbytes=True,
        ),
        "AMZN",
        given={"price_factor": 1},
    ),
    "freqtrade, JSON": Layout(
        "freqtrade",
        "BTC_USDT-1h.json",
        json.dumps(arrays(epochs("ms"))),
        "BTC_USDT",
    ),
    "freqtrade, packed JSON": Layout(
        "freqtrade",
        "futures/BTC_USDT_USDT-1h-futures.json.gz",
        gzip.compress(json.dumps(arrays(epochs("ms"))).encode()),
        "BTC_USDT_USDT",
    ),
    "freqtrade, feather": Layout(
        "freqtrade", "BTC_USDT-1h.feather", feather(HOURS), "BTC_USDT", read_without=True
    ),
    "ibkr, a table of ib_async": Layout(
        "ibkr",
        "AAPL.csv",
        rows(
            local("America/New_York", "0,%Y-%m-%d %H:%M:%S-05:00"),
            lambda b: f"{plain(b)},100.2,7",
            ",date,open,high,low,close,volume,average,barCount",
        ),
        "AAPL",
        given=NEW_YORK,
        read_without=True,
    ),
    "ibkr, times as the API writes them": Layout(
        "ibkr",
        "AAPL.csv",
        rows(
            local("America/New_York", "%Y%m%d  %H:%M:%S"),
            lambda b: f"{plain(b)},100.2,7",
            "date,open,high,low,close,volume,average,barCount",
        ),
        "AAPL",
        given=NEW_YORK,
        read_without=True,
    ),
    "ibkr, times with the name of their zone": Layout(
        "ibkr",
        "AAPL.csv",
        rows(
            local("America/New_York", "%Y%m%d %H:%M:%S US/Eastern"),
            lambda b: f"{plain(b)},100.2,7",
            "date,open,high,low,close,volume,average,barCount",
        ),
        "AAPL",
        given={"timezone": "Europe/London"},
        read_without=True,
    ),
    "investing, US edition": Layout(
        "investing",
        "S&P 500 Historical Data.csv",
        rows(
            local("UTC", "%m/%d/%Y", DAYS),
            lambda b: (
                f'"{b.stamp}","{b.close:,}","{b.open:,}","{b.high:,}","{b.low:,}",'
                f'"{b.volume / 1000:.2f}K","-0.5%"'
            ),
            '"Date","Price","Open","High","Low","Vol.","Change %"',
        ),
        "S&P 500",
        DAYS,
        given={"date_format": "%m/%d/%Y"},
    ),
    "investing, with decimal commas": Layout(
        "investing",
        "DAX Historical Data (1).csv",
        rows(
            local("UTC", "%d.%m.%Y", DAYS),
            lambda b: ",".join(
                f'"{cell}"'
                for cell in (
                    b.stamp,
                    *(f"{p:,.2f}".translate({44: 46, 46: 44}) for p in b[4:5] + b[1:4]),
                    f"{b.volume / 1000:.2f}K".replace(".", ","),
                    "-0,5%",
                )
            ),
            '"Date","Price","Open","High","Low","Vol.","Change %"',
        ),
        "DAX",
        DAYS,
        given={"date_format": "%d.%m.%Y", "decimal": ",", "thousands": "."},
    ),
    "kraken": Layout(
        "kraken",
        "Kraken_OHLCVT.zip",
        zipped({"XBTUSD_60.csv": rows(epochs("s"), lambda b: f"{plain(b)},12")}),
        "XBTUSD",
    ),
    "lean, hours": Layout(
        "lean",
        "equity/usa/hour/aapl.zip",
        zipped(
            {
                "aapl.csv": rows(
                    local("America/New_York", "%Y%m%d %H:%M"),
                    lambda b: (
                        f"{b.stamp},{b.open * 10000:.0f},{b.high * 10000:.0f},"
                        f"{b.low * 10000:.0f},{b.close * 10000:.0f},{b.volume:.0f}"
                    ),
                )
            }
        ),
        "aapl",
        given=LEAN,
    ),
    "lean, minutes of a day": Layout(
        "lean",
        "equity/usa/minute/aapl/20240102_trade.zip",
        zipped(
            {
                "20240102_aapl_minute_trade.csv": rows(
                    [34_200_000, 34_260_000, 34_320_000],
                    lambda b: (
                        f"{b.stamp},{b.open * 10000:.0f},{b.high * 10000:.0f},"
                        f"{b.low * 10000:.0f},{b.close * 10000:.0f},{b.volume:.0f}"
                    ),
                )
            }
        ),
        "aapl",
        pd.date_range("2024-01-02 14:30", periods=3, freq="1min", tz="UTC"),
        given=LEAN,
    ),
    "lean, crypto": Layout(
        "lean",
        "crypto/gdax/hour/btcusd_trade.zip",
        zipped({"btcusd.csv": rows(local("UTC", "%Y%m%d %H:%M"), plain)}),
        "btcusd",
        given={"timezone": "UTC", "price_factor": 1},
    ),
    "metatrader4": Layout(
        "metatrader4",
        "US3060.csv",
        rows(local("Etc/GMT-2", "%Y.%m.%d,%H:%M"), plain),
        "US30",
        given=SERVER,
    ),
    "metatrader5": Layout(
        "metatrader5",
        "EURUSD_H1_202401020000_202401022300.csv",
        rows(
            local("Etc/GMT-2", "%Y.%m.%d\t%H:%M:%S"),
            lambda b: "\t".join([*plain(b).split(","), "0", "5"]),
            "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>",
        ).replace("\n", "\r\n"),
        "EURUSD",
        given=SERVER,
    ),
    "metatrader5, days": Layout(
        "metatrader5",
        "EURUSD_Daily_202401020000_202401040000.csv",
        rows(
            local("UTC", "%Y.%m.%d", DAYS),
            lambda b: "\t".join([*plain(b).split(","), "0", "5"]),
            "<DATE>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>",
        ).encode("utf-16"),
        "EURUSD",
        DAYS - pd.Timedelta("2h"),
        given={"timezone": "Etc/GMT-2"},
    ),
    "nasdaq": Layout(
        "nasdaq",
        "AAPL.csv",
        rows(
            local("UTC", "%m/%d/%Y", DAYS),
            lambda b: f"{b.stamp},${b.close},{b.volume:.0f},${b.open},${b.high},${b.low}",
            "Date,Close/Last,Volume,Open,High,Low",
        ),
        "AAPL",
        DAYS,
    ),
    "ninjatrader, stamped at the close": Layout(
        "ninjatrader",
        "ES 03-24.Last.txt",
        rows(
            local("UTC", "%Y%m%d %H%M%S", HOURS + pd.Timedelta("1h")),
            lambda b: plain(b).replace(",", ";"),
        ),
        "ES 03-24",
        given={"timezone": "UTC"},
    ),
    "ninjatrader, days": Layout(
        "ninjatrader",
        "ES 03-24.txt",
        rows(local("UTC", "%Y%m%d", DAYS), lambda b: plain(b).replace(",", ";")),
        "ES 03-24",
        DAYS,
        given={"timezone": "UTC", "calendar": "CMES"},
    ),
    "stooq": Layout(
        "stooq",
        "data/5 min/us/aapl.us.txt",
        rows(
            [f"AAPL.US,60,{stamp}" for stamp in local("Europe/Warsaw", "%Y%m%d,%H%M%S")],
            lambda b: f"{plain(b)},0",
            "<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>",
        ),
        "AAPL.US",
        given={"timezone": "Europe/Warsaw", "stamps": "open"},
    ),
    "tradingview, ISO": Layout(
        "tradingview",
        "NASDAQ_AAPL, 60.csv",
        rows(
            local("America/New_York", "%Y-%m-%dT%H:%M:%S-05:00"),
            lambda b: f"{plain(b)},NaN,NaN",
            "time,open,high,low,close,Volume,MA,MA",
        ),
        "AAPL",
        given=NEW_YORK,
        read_without=True,
    ),
    "tradingview, seconds": Layout(
        "tradingview",
        "BTC_USD.csv",
        rows(epochs("s"), plain, "time,open,high,low,close,Volume"),
        "BTC_USD",
        given=NEW_YORK,
        read_without=True,
    ),
    "yahoo, its page": Layout(
        "yahoo",
        "MSFT.csv",
        rows(
            local("UTC", "%Y-%m-%d", DAYS),
            lambda b: f"{b.stamp},{b.open},{b.high},{b.low},{b.close},{b.close},{b.volume:.0f}",
            "Date,Open,High,Low,Close,Adj Close,Volume",
        ),
        "MSFT",
        DAYS,
        read_without=True,
    ),
    "yahoo, a download of yfinance": Layout(
        "yahoo",
        "download.csv",
        rows(
            local("UTC", "%Y-%m-%d", DAYS),
            lambda b: f"{b.stamp},{b.close},{b.high},{b.low},{b.open},{b.volume:.0f}",
            "Price,Close,High,Low,Open,Volume\nTicker,MSFT,MSFT,MSFT,MSFT,MSFT\nDate,,,,,",
        ),
        "MSFT",
        DAYS,
        read_without=True,
    ),
}


def settings(layout: Layout, file: Path, preset: str | None = None) -> SourceSettings:
    values = {"kind": "files", "path": str(file), **layout.given}
    chosen = layout.preset if preset is None else preset
    return SourceSettings.model_validate(values | ({"preset": chosen} if chosen else {}))


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_a_preset_reads_files_as_the_tool_writes_them(layout: Layout, tmp_path: Path) -> None:
    """The same three bars from each of them: prices, volume, symbol, opens."""
    raw = read(settings(layout, layout.write(tmp_path)))

    expected = MARKET.assign(timestamp=layout.stamps, symbol=layout.symbol)
    assert_frame_equal(
        raw.frame[["symbol", "timestamp", *PRICES]],
        expected[["symbol", "timestamp", *PRICES]],
        check_dtype=False,
        rtol=1e-12,
    )
    assert raw.bar_size == layout.stamps[1] - layout.stamps[0]
    assert raw.findings == ()


@pytest.mark.parametrize(
    "layout", [c for c in LAYOUTS.values() if not c.read_without], ids=lambda c: c.name
)
def test_a_refused_file_names_the_preset_of_its_layout(layout: Layout, tmp_path: Path) -> None:
    """Without a preset, or with another tool's."""
    file = layout.write(tmp_path)
    other = "nasdaq" if layout.preset != "nasdaq" else "kraken"

    for preset in ("", other):
        with pytest.raises(FixData, match=f"preset: {layout.preset} reads files of this layout"):
            read(settings(layout, file, preset))


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_a_damaged_file_is_read_or_refused_in_one_line(layout: Layout, tmp_path: Path) -> None:
    """Cut, or with other bytes, with the preset and without: never a library's own error."""
    dice = np.random.default_rng(len(layout.name))
    content = layout.content if isinstance(layout.content, bytes) else layout.content.encode()
    messages = []
    for _ in range(4):
        damaged = bytearray(content[: dice.integers(len(content) // 2, len(content))])
        damaged[dice.integers(len(damaged))] = dice.integers(256)
        file = replace(layout, content=bytes(damaged)).write(tmp_path)
        for preset in ("", layout.preset):
            try:
                read(settings(layout, file, preset))
            except FixData as refused:
                messages.append(str(refused))

    assert not [message for message in messages if "\n" in message]


def test_what_the_user_sets_wins_over_the_preset(tmp_path: Path) -> None:
    """Stamps at the open, another column for volume, another symbol."""
    ninja = LAYOUTS["ninjatrader, stamped at the close"]
    opens = replace(ninja, given=ninja.given | {"stamps": "open", "symbol_pattern": "^([A-Z]+) "})
    frame = read(settings(opens, opens.write(tmp_path))).frame
    assert frame["timestamp"].tolist() == list(HOURS + pd.Timedelta("1h"))
    assert set(frame["symbol"]) == {"ES"}

    meta = LAYOUTS["metatrader5"]
    real = replace(meta, given=meta.given | {"columns": {"volume": "<VOL>"}})
    assert read(settings(real, real.write(tmp_path))).frame["volume"].tolist() == [0, 0, 0]


def test_every_preset_is_read_here() -> None:
    """A tool without a file in its layout is a promise."""
    assert {layout.preset for layout in LAYOUTS.values()} == set(PRESETS)


@pytest.mark.parametrize("preset", [name for name, preset in PRESETS.items() if preset.asks])
def test_a_preset_asks_for_what_the_files_do_not_tell(preset: str) -> None:
    """One line that says what to say; no zone and no order of day and month is assumed."""
    asked = next(iter(PRESETS[preset].asks))

    with pytest.raises(ValidationError, match=f"{preset} needs '{asked}' beside it"):
        SourceSettings(preset=preset)


def test_a_file_of_several_instruments_needs_their_symbols(tmp_path: Path) -> None:
    """Instruments told apart by a number only would become one symbol."""
    header = "ts_event,rtype,publisher_id,instrument_id,open,high,low,close,volume"
    file = tmp_path / "ES.csv"
    file.write_text(f"{header}\n1704205800000000000,34,2,523,1,1,1,1,1\n")

    with pytest.raises(FixData, match=r"no symbol column.*have databento write one"):
        read(SourceSettings(kind="files", path=str(file), preset="databento"))


def test_the_guide_says_what_each_preset_asks() -> None:
    """docs/guide/files.md lists them all; its example is one that can be read."""
    guide = (GUIDE / "files.md").read_text("utf-8")
    asked = {
        row.split("`")[1]: set(re.findall(r"`(\w+)", row.split("|")[3]))
        for row in guide.splitlines()
        if row.startswith("| `")
    }

    assert set(asked) == set(PRESETS)
    for name, preset in PRESETS.items():
        assert set(preset.asks) <= asked[name], name
    example = yaml.safe_load(guide.split("```yaml")[1].split("```")[0])
    assert SourceSettings.model_validate(example).preset == "metatrader5"


def test_a_preset_is_not_named_where_the_columns_have_another_order(tmp_path: Path) -> None:
    """Seconds, open, close, low, high, volume, trades look like Kraken's files."""
    file = tmp_path / "BTC.csv"
    file.write_text("1605571200,16713.08,16806.09,16683.63,16830.0,2861.4,51506\n" * 2)

    with pytest.raises(FixData, match="no row of names of columns") as refused:
        read(SourceSettings(kind="files", path=str(file)))
    assert "preset:" not in str(refused.value)
