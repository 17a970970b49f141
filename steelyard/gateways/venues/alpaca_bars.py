"""Bars of stocks and crypto from Alpaca's market data, through alpaca-py.

Pages are asked one by one, so that a limit or a fault repeats one page and not all before it.
Prices are adjusted for splits unless ``adjustment`` says otherwise: after a split the bars that are
asked again lie on another scale, and the lake follows.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
from requests import RequestException

from steelyard.errors import FixConfiguration, needing
from steelyard.gateways.calendars import CONTINUOUS
from steelyard.gateways.sources import SourceSettings
from steelyard.gateways.venues.requests import (
    UNREADABLE,
    Interrupted,
    one_line,
    persistently,
    seconds_asked,
)
from steelyard.market.bars import COLUMNS

PAGE = 10_000
"""Bars of a request, at most."""
SYMBOLS_PER_REQUEST = 100
TIMEOUT_SECONDS = 20.0
OPTIONS = ("adjustment", "feed", "address")
UNITS = (("1D", "Day", 1), ("1h", "Hour", 23), ("1min", "Min", 59))
"""Units of Alpaca's bar sizes, and the largest number of each."""
FIELDS = dict(zip(("t", "o", "h", "l", "c", "v"), COLUMNS[1:], strict=True))


class AlpacaBars:
    """Bars of Alpaca: stocks, or crypto pairs such as BTC/USD.

    Args:
        settings: ``options`` may hold ``adjustment`` (split, raw, dividend or all), ``feed`` (such
            as iex or sip) and ``address`` instead of Alpaca's, such as a proxy's.
        key: Key of the account.
        secret: Its secret.

    Raises:
        FixConfiguration: If alpaca-py is missing, an option is unknown, Alpaca has no bars of this
            size, stocks and crypto are mixed, or crypto has the calendar of an exchange.
    """

    def __init__(self, settings: SourceSettings, key: str, secret: str) -> None:
        with needing("conf/source.yaml: kind: alpaca"):
            from alpaca.data.historical import StockHistoricalDataClient

            from steelyard.gateways.brokers.alpaca import TimeoutAdapter
        unknown = sorted(set(settings.options) - set(OPTIONS))
        if unknown:
            raise FixConfiguration(
                f"conf/source.yaml: options: alpaca has no {unknown[0]}; use {', '.join(OPTIONS)}"
            )
        crypto = {"/" in symbol for symbol in settings.symbols}
        if len(crypto) > 1:
            raise FixConfiguration(
                "conf/source.yaml: symbols: stocks and crypto have other calendars; give each a "
                "home of its own"
            )
        self._is_crypto = crypto == {True}
        if self._is_crypto and settings.calendar not in CONTINUOUS:
            raise FixConfiguration(
                f"conf/source.yaml: calendar {settings.calendar} would have the daily bars of "
                "crypto known before they have closed; set calendar: 24/7"
            )
        self._options = settings.options
        self._timeframe = _timeframe(pd.Timedelta(settings.bar_size))
        self._client = StockHistoricalDataClient(
            key, secret, url_override=settings.options.get("address")
        )
        self._client._retry = 0  # its own retries leave out what a venue says about waiting
        for scheme in ("https://", "http://"):
            self._client._session.mount(scheme, TimeoutAdapter(TIMEOUT_SECONDS))

    def read(
        self, since: Mapping[str, pd.Timestamp], bar_size: pd.Timedelta, until: pd.Timestamp
    ) -> Iterator[pd.DataFrame]:
        """Yield the bars, page by page; symbols that begin together are asked together.

        Args:
            since: Symbol → open of the first bar to read (UTC).
            bar_size: Time from a bar's open to the next.
            until: Bars that begin later are not asked for (UTC).

        Raises:
            FixConfiguration: If Alpaca refuses keys, symbols, feed or another option.
            RestoreService: If it does not answer.
        """
        together: dict[pd.Timestamp, list[str]] = {}
        for symbol, first in since.items():
            together.setdefault(first, []).append(symbol)
        for first, symbols in together.items():
            for begin in range(0, len(symbols), SYMBOLS_PER_REQUEST):
                yield from self._pages(symbols[begin : begin + SYMBOLS_PER_REQUEST], first, until)

    def _pages(
        self, symbols: Sequence[str], first: pd.Timestamp, until: pd.Timestamp
    ) -> Iterator[pd.DataFrame]:
        query: dict[str, Any] = {
            "symbols": ",".join(symbols),
            "timeframe": self._timeframe,
            "start": first.isoformat(),
            "end": until.isoformat(),
            "limit": PAGE,
            "sort": "asc",
        }
        if not self._is_crypto:
            query["adjustment"] = self._options.get("adjustment", "split")
            query |= {"feed": self._options["feed"]} if "feed" in self._options else {}
        while True:
            bars, token = persistently(lambda: self._page(query), "alpaca")
            yield from (_frame(symbol, rows) for symbol, rows in bars.items() if rows)
            if not token:
                return
            query["page_token"] = token

    def _page(self, query: Mapping[str, Any]) -> tuple[dict[str, list[Any]], str | None]:
        """Return the bars of one request by symbol, and the token of the next page."""
        from alpaca.common.exceptions import APIError

        path, version = (
            ("/crypto/us/bars", "v1beta3") if self._is_crypto else ("/stocks/bars", "v2")
        )
        try:
            answer: Any = self._client.get(path, dict(query), api_version=version)
            return dict(answer["bars"] or {}), answer.get("next_page_token")
        except APIError as error:
            raise _translated(error, query) from error
        except (RequestException, *UNREADABLE) as error:
            raise Interrupted(error) from error


def _timeframe(bar_size: pd.Timedelta) -> str:
    """Return Alpaca's name of a bar size."""
    for unit, name, most in UNITS:
        count, rest = divmod(bar_size, pd.Timedelta(unit))
        if not rest and 1 <= count <= most:
            return f"{count}{name}"
    raise FixConfiguration(
        f"conf/source.yaml: alpaca has no bars of {bar_size}; set bar_size to 1min to 59min, 1h to "
        "23h or 1D"
    )


def _frame(symbol: str, rows: list[Any]) -> pd.DataFrame:
    page = pd.DataFrame(rows)[list(FIELDS)].rename(columns=FIELDS)
    page = page.astype(dict.fromkeys(COLUMNS[2:], float))
    page["timestamp"] = pd.to_datetime(page["timestamp"], utc=True, format="ISO8601")
    return page.assign(symbol=symbol)


def _translated(error: Any, query: Mapping[str, Any]) -> Exception:
    """Return what an answer with a status of 400 or more means."""
    response = error.response
    status, reason = int(error.status_code or 0), one_line(error)
    if status in (408, 429) or status >= 500 or not status:
        headers = {} if response is None else response.headers
        reset = seconds_asked(headers.get("X-RateLimit-Reset")) - time.time()
        wait = seconds_asked(headers.get("Retry-After")) or max(reset, 0.0)
        return Interrupted(f"{status}: {reason}", wait)
    if status == 401:
        return FixConfiguration("alpaca refuses APCA_API_KEY_ID and APCA_API_SECRET_KEY; set both")
    if status == 403:
        return FixConfiguration(
            f"alpaca refuses the request ({reason}); if your subscription lacks the feed, set "
            "options: {feed: iex} in conf/source.yaml"
        )
    return FixConfiguration(
        f"alpaca refuses the request for {query['symbols']} ({reason}); correct 'symbols' or "
        "'options' in conf/source.yaml"
    )
