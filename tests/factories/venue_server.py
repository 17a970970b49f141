"""A local server with the documented bar endpoints of Binance, Alpaca and Yahoo, and their faults.

Its bars are a function of symbol and time, so that each answer can be checked.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlparse

import numpy as np
import pandas as pd

from steelyard.market.bars import COLUMNS, PRICES


def tape(symbol: str, opens: pd.DatetimeIndex) -> pd.DataFrame:
    """Bars of a symbol at these opens (UTC); the same open always has the same bar."""
    hours = opens.as_unit("ns").asi8 / 3.6e12
    level = 100 + len(symbol) + 5 * np.sin(hours / 37) + np.sin(hours / 5)
    close = 100 + len(symbol) + 5 * np.sin((hours + 1) / 37) + np.sin((hours + 1) / 5)
    values = {
        "timestamp": opens,
        "open": level,
        "high": np.maximum(level, close) + 0.1,
        "low": np.minimum(level, close) - 0.1,
        "close": close,
        "volume": 1000 + np.round(hours) % 7,
    }
    frame = pd.DataFrame(values).assign(symbol=symbol)
    frame[list(PRICES)] = frame[list(PRICES)].round(4)
    return frame


@dataclass
class Venue:
    """Bars by symbol, and the requests for them.

    Attributes:
        page: Bars of one answer, at most.
        faults: Faults of the next requests for bars, one each, in order: a status, or "half" for a
            body that breaks off, "html" for a page instead of an answer, None for none.
        headers: Headers of an answer with a fault.
        asked: Query of each request for bars that was answered.
    """

    bars: dict[str, pd.DataFrame]
    page: int = 1000
    faults: list[int | str | None] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    asked: list[dict[str, str]] = field(default_factory=list)

    def between(self, symbol: str, first: pd.Timestamp, last: pd.Timestamp) -> pd.DataFrame:
        bars = self.bars[symbol]
        return bars[bars["timestamp"].between(first, last).array]


def binance(venue: Venue, path: str, query: dict[str, str]) -> tuple[int, Any] | None:
    """Spot endpoints: exchangeInfo and klines (open time, O, H, L, C, volume, …)."""
    if path == "/api/v3/exchangeInfo":
        return 200, {"symbols": [_market(symbol) for symbol in venue.bars]}
    if path != "/api/v3/klines":
        return None
    symbol = next(name for name in venue.bars if name.replace("/", "") == query["symbol"])
    first = pd.Timestamp(int(query["startTime"]), unit="ms", tz="UTC")
    bars = venue.between(symbol, first, pd.Timestamp.max.tz_localize("UTC"))
    rows = bars.head(min(venue.page, int(query["limit"])))
    return 200, [
        [
            row["timestamp"].value // 1_000_000,
            *map(str, row[list(COLUMNS[2:])]),
            0,
            "0",
            1,
            "0",
            "0",
            "0",
        ]
        for _, row in rows.iterrows()
    ]


def _market(symbol: str) -> dict[str, Any]:
    base, quote = symbol.split("/")
    return {
        "symbol": base + quote,
        "status": "TRADING",
        "baseAsset": base,
        "quoteAsset": quote,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "isSpotTradingAllowed": True,
        "permissions": ["SPOT"],
        "filters": [],
        "orderTypes": ["LIMIT"],
    }


def alpaca(venue: Venue, path: str, query: dict[str, str]) -> tuple[int, Any] | None:
    """Historical bars of stocks and crypto, oldest first, symbol after symbol, with page tokens."""
    if path not in ("/v2/stocks/bars", "/v1beta3/crypto/us/bars"):
        return None
    if query.get("feed") == "sip":
        return 403, {"message": "subscription does not permit querying recent SIP data"}
    symbols = query["symbols"].split(",")
    if unknown := set(symbols) - set(venue.bars):
        return 400, {"message": f"invalid symbol: {unknown.pop()}"}
    first, last = pd.Timestamp(query["start"]), pd.Timestamp(query["end"])
    bars = pd.concat([venue.between(symbol, first, last) for symbol in sorted(symbols)])
    begin = int(query.get("page_token", 0))
    end = begin + min(venue.page, int(query["limit"]))
    answer: dict[str, list[Any]] = {}
    for symbol, stamp, *values in bars[list(COLUMNS)].iloc[begin:end].itertuples(index=False):
        row = {"t": f"{stamp:%Y-%m-%dT%H:%M:%SZ}", **dict(zip("ohlcv", values, strict=True))}
        answer.setdefault(symbol, []).append(row | {"n": 1, "vw": values[0]})
    return 200, {"bars": answer, "next_page_token": str(end) if end < len(bars) else None}


def yahoo(venue: Venue, path: str, query: dict[str, str]) -> tuple[int, Any] | None:
    """The chart of a symbol (seconds, one list per column), and the crumb asked before it."""
    if path.endswith("/getcrumb"):
        return 200, "crumb"
    if not path.startswith("/v8/finance/chart/"):
        return None
    symbol = path.rsplit("/", 1)[1]
    if symbol not in venue.bars:
        return 404, _no_chart("No data found, symbol may be delisted")
    meta = {
        "symbol": symbol,
        "currency": "USD",
        "instrumentType": "EQUITY",
        "exchangeTimezoneName": "America/New_York",
        "validRanges": ["1d", "max"],
    }
    first, last = (
        pd.Timestamp(int(query.get(name, 0)), unit="s", tz="UTC") for name in ("period1", "period2")
    )
    if query["interval"] == "1h" and first.year < 2023:
        return 422, _no_chart("The requested range must be within the last 730 days.")
    bars = venue.between(symbol, first, last)
    if bars.empty and "range" not in query:
        return 400, _no_chart(f"Data doesn't exist for startDate = {first}, endDate = {last}")
    quote: dict[str, list[Any]] = {name: list(bars[name]) for name in COLUMNS[2:]}
    adjusted = list(bars["adj_close"] if "adj_close" in bars else bars["close"])
    # Daily bars are stamped at the opening bell, 9:30.
    stamps = [int(stamp.timestamp()) + 34_200 for stamp in bars["timestamp"]]
    indicators = {"quote": [quote], "adjclose": [{"adjclose": adjusted}]}
    return 200, {
        "chart": {
            "result": [{"meta": meta, "timestamp": stamps, "indicators": indicators}],
            "error": None,
        }
    }


def _no_chart(reason: str) -> dict[str, Any]:
    return {"chart": {"result": None, "error": {"code": "Not Found", "description": reason}}}


Routes = Callable[[Venue, str, dict[str, str]], tuple[int, Any] | None]


class Handler(BaseHTTPRequestHandler):
    """Answers requests to the venue of its server."""

    venue: Venue
    routes: Routes
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        """Log nothing."""

    def do_GET(self) -> None:
        url = urlparse(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        is_for_bars = bool(query) and "range" not in query
        fault = self.venue.faults.pop(0) if is_for_bars and self.venue.faults else None
        if isinstance(fault, int):
            self.answer(fault, {"code": -1, "message": "as told", "msg": "as told"})
            return
        if fault == "html":
            self.send(200, b"<html>maintenance</html>")
            return
        found = type(self).routes(self.venue, url.path, query)
        if found is None:
            self.answer(404, {"message": f"no such path {url.path}"})
            return
        if is_for_bars and found[0] == 200 and fault is None:
            self.venue.asked.append(query)
        self.answer(*found, breaks_off=fault == "half")

    def answer(self, status: int, content: Any, breaks_off: bool = False) -> None:
        self.send(status, json.dumps(content).encode(), breaks_off)

    def send(self, status: int, body: bytes, breaks_off: bool = False) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in self.venue.headers.items() if status >= 400 else ():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if breaks_off else body)
        if breaks_off:
            self.close_connection = True


@contextmanager
def running_venue(
    routes: Routes, bars: dict[str, pd.DataFrame], page: int = 1000
) -> Iterator[tuple[Venue, str]]:
    """Yield a venue and the address of its server."""
    venue = Venue(bars, page)
    bound = type("Bound", (Handler,), {"venue": venue, "routes": staticmethod(routes)})
    server = ThreadingHTTPServer(("127.0.0.1", 0), bound)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield venue, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
