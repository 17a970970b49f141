"""How tools write bars, as settings of ``conf/source.yaml``; docs/guide/files.md cites each layout.

A preset states what the tool's layout fixes. What depends on the user's account, terminal or
edition is asked for, never assumed: a wrong zone or stamp makes bars known too early.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_OHLCV = ("timestamp", "open", "high", "low", "close", "volume")
_KLINE = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,"
    "taker_buy_quote_volume,ignore"
)
"""Header of Binance's files of futures; those of the spot market have the columns without it."""
_SERVER = (
    "the zone of your broker's server; America/New_York with hours_ahead: 7 if its day begins at "
    "17:00 in New York"
)


@dataclass(frozen=True, slots=True)
class Preset:
    """The layout of one tool's files.

    Attributes:
        signature: Regular expression that the first two lines of such a file match.
        settings: Settings of ``conf/source.yaml`` that read it; the user's own win over them.
        columns: Our name of a column → the tool's, where ``*`` stands for any characters; looked
            for before the common names, and allowed to be missing.
        asks: Setting the user must give → what to say.
        symbol_column: Whether a file without a symbol column holds bars of several symbols.
        plain: Whether files are read without the preset, too, so that naming it would not help.
    """

    signature: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    asks: Mapping[str, str] = field(default_factory=dict)
    symbol_column: bool = False
    plain: bool = False


PRESETS: Mapping[str, Preset] = {
    "alpaca": Preset(
        signature=r'\{\s*"(bars|next_page_token|symbol)"|symbol,timestamp,.*,trade_count,vwap',
        settings={"timezone": "America/New_York", "records": "bars"},
        columns={
            "timestamp": "t",
            "open": "o",
            "high": "h",
            "low": "l",
            "close": "c",
            "volume": "v",
        },
    ),
    "binance": Preset(
        signature=r"\d{13,16}(,[\d.]+){5},\d{13,16},|open_time,open,|\[\[\s*\d{13,16},\s*\"",
        settings={
            "names": tuple(_KLINE.split(",")),
            "symbol_pattern": r"^(.+?)-\d+[A-Za-z]+(?:-\d{4}(?:-\d\d){0,2})?$",
        },
    ),
    "cryptodatadownload": Preset(
        signature=r"https?://www\.cryptodatadownload\.com|unix( timestamp)?,date,symbol,",
        settings={"comment": "http"},
        columns={"timestamp": "unix*", "volume": "volume *"},
    ),
    "databento": Preset(
        signature=r"ts_event,rtype,|rtype,publisher_id,",
        settings={
            "price_factor": 1_000_000_000,
            "ignore": ("*symbology.*", "*manifest.*", "*metadata.*", "*condition.*"),
        },
        columns={"timestamp": "ts_event"},
        symbol_column=True,
    ),
    "freqtrade": Preset(
        signature=r"\[\[\s*\d{13},\s*[\d.]+,",
        settings={
            "names": ("date", "open", "high", "low", "close", "volume"),
            "symbol_pattern": r"^(.+)-\d+[A-Za-z]+(?:-futures|-spot)?$",
            "ignore": (
                "*-mark.*",
                "*-index.*",
                "*-premiumIndex.*",
                "*-funding_rate.*",
                "*-open_interest.*",
                "*-trades.*",
            ),
        },
    ),
    "ibkr": Preset(
        signature=r",?date,open,high,low,close,volume,(average|wap),(barcount|count)|\d{8}  \d\d:",
        asks={"timezone": "the zone chosen at the login of TWS, of daily bars the exchange's"},
        plain=True,
    ),
    "investing": Preset(
        signature=r'"?date"?,"?price"?,"?open"?,"?high"?,"?low"?,',
        settings={
            "thousands": ",",
            "symbol_pattern": (
                r"^(.+?)(?: Historical (?:Data|Prices)| Stock Price History)?(?: ?\(\d+\))?$"
            ),
        },
        columns={"close": "price", "volume": "vol."},
        asks={
            "date_format": "the order of day and month in your edition of the site, "
            '"%m/%d/%Y" in the US one, "%d/%m/%Y" or "%d.%m.%Y" in others'
        },
    ),
    "kraken": Preset(
        signature=r"\d{10}(,[\d.]+){5},\d+$",
        settings={"names": (*_OHLCV, "trades"), "symbol_pattern": r"^(.+)_\d+$"},
    ),
    "lean": Preset(
        signature=r"\d{8} \d\d:\d\d(,[\d.]+){5}$|\d{1,8}(,\d+){5}$",
        settings={
            "names": _OHLCV,
            "date_format": "%Y%m%d %H:%M",
            "date_pattern": r"^(\d{8})_",
            "symbol_pattern": r"^(?:\d{8}_)?([^_]+)(?:_(?:minute|second))?(?:_trade)?$",
            "ignore": ("*_quote.*", "*_openinterest.*"),
        },
        asks={
            "timezone": "the data zone of the market, America/New_York for US equities, UTC for "
            "crypto",
            "price_factor": "10000 for US equities and options, 1 for crypto, forex and indices",
        },
    ),
    "metatrader4": Preset(
        signature=r"\d{4}\.\d\d\.\d\d,\d\d:\d\d,",
        settings={
            "names": ("date", "time", "open", "high", "low", "close", "volume"),
            "date_format": "%Y.%m.%d %H:%M",
            "symbol_pattern": r"^(.+?)(?:1|5|15|30|60|240|1440|10080|43200)$",
        },
        columns={"timestamp": "date", "time": "time"},
        asks={"timezone": _SERVER},
    ),
    "metatrader5": Preset(
        signature=r"<date>\t",
        settings={
            "separator": "\t",
            "date_format": "%Y.%m.%d %H:%M:%S",
            "symbol_pattern": r"^(.+?)(?:_(?:M\d+|H\d+|Daily|Weekly|Monthly)(?:_\d+)*)?$",
        },
        columns={
            "timestamp": "<date>",
            "time": "<time>",
            "open": "<open>",
            "high": "<high>",
            "low": "<low>",
            "close": "<close>",
            "volume": "<tickvol>",
        },
        asks={"timezone": _SERVER},
    ),
    "nasdaq": Preset(
        signature=r"date,close/last,",
        settings={
            "date_format": "%m/%d/%Y",
            "thousands": ",",
            "symbol_pattern": r"^(?!HistoricalData)(.+)$",
        },
        columns={"close": "close/last"},
    ),
    "ninjatrader": Preset(
        signature=r"\d{8}( \d{6})?;",
        settings={
            "names": _OHLCV,
            "separator": ";",
            "date_format": "%Y%m%d %H%M%S",
            "stamps": "close",
            "symbol_pattern": r"^(.+?)(?:\.Last)?$",
        },
        asks={"timezone": "UTC for exports of NinjaTrader 8, your computer's zone for older ones"},
    ),
    "stooq": Preset(
        signature=r"<ticker>,<per>,",
        settings={"date_format": "%Y%m%d %H%M%S"},
        columns={
            "symbol": "<ticker>",
            "timestamp": "<date>",
            "time": "<time>",
            "open": "<open>",
            "high": "<high>",
            "low": "<low>",
            "close": "<close>",
            "volume": "<vol>",
        },
        asks={
            "timezone": "the zone of its times, of daily bars the exchange's",
            "stamps": "open for daily bars; intraday, whether a session's first bar is stamped at "
            "its open or close",
        },
    ),
    "tradingview": Preset(
        signature=r"time,open,high,low,close\b",
        settings={"symbol_pattern": r"^(?:[A-Z0-9]+_(?=.+, ))?([^,]+)(?:, .*)?$"},
        asks={"timezone": "the zone of the chart, UTC or the exchange's"},
        plain=True,
    ),
    "yahoo": Preset(
        signature=r"(price|ticker),.*\n(ticker|price),|date,.*,adj close,",
        plain=True,
    ),
}


def preset_for(begin: str, tried: str) -> str:
    """Return the preset that would read a refused text file; empty if none is known.

    Args:
        begin: The first two lines of the file.
        tried: The preset with which it was refused; empty: none.
    """
    begin = begin.lstrip()
    for name, preset in PRESETS.items():
        fits = re.match(preset.signature, begin, re.IGNORECASE | re.MULTILINE)
        if fits and _prices_fit(begin, preset.settings.get("names", ())):
            return "" if name == tried or (preset.plain and not tried) else name
    return ""


def _prices_fit(begin: str, names: Sequence[str]) -> bool:
    """Return whether the first row of a file without header has its prices in this order."""
    cells = [cell.strip(' []"') for cell in re.split(r"[,;\t\n]", begin)]
    row = dict(zip(names, cells, strict=False))
    try:
        opened, high, low, close = (float(row[name]) for name in ("open", "high", "low", "close"))
    except (KeyError, ValueError):
        return True
    return low <= min(opened, close) and max(opened, close) <= high
