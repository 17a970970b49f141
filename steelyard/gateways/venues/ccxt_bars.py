"""Candles of the exchanges ccxt knows, in pages of the size each exchange allows.

Candles are public, so no key is needed. Crypto trades around the clock: a daily candle is known at
the end of its day.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import pandas as pd
from requests import RequestException

from steelyard.errors import FixConfiguration
from steelyard.gateways.calendars import CONTINUOUS
from steelyard.gateways.exchanges import open_exchange
from steelyard.gateways.sources import SourceSettings
from steelyard.gateways.venues.requests import (
    UNREADABLE,
    Interrupted,
    one_line,
    persistently,
    seconds_asked,
)
from steelyard.market.bars import COLUMNS

USUAL_PAGE = 500
"""Candles of a request to an exchange that does not say how many it gives."""


class CcxtBars:
    """Candles of one exchange.

    Args:
        settings: ``options`` holds ``exchange``, ccxt's name of it; the others go to ccxt as they
            are.

    Raises:
        FixConfiguration: If ccxt is missing or does not know the exchange or the bar size, or the
            calendar is that of an exchange that closes.
    """

    def __init__(self, settings: SourceSettings) -> None:
        self._exchange = open_exchange(settings.options, "conf/source.yaml")
        self._name = str(self._exchange.id)
        if settings.calendar not in CONTINUOUS:
            raise FixConfiguration(
                f"conf/source.yaml: calendar {settings.calendar} would have the daily candles of "
                f"{self._name} known before they have closed; set calendar: 24/7"
            )
        self._timeframe = self._timeframe_of(pd.Timedelta(settings.bar_size))

    def _timeframe_of(self, bar_size: pd.Timedelta) -> str:
        """Return the exchange's name of a bar size."""
        offered = list(self._exchange.timeframes or {})
        for timeframe in offered:
            if self._exchange.parse_timeframe(timeframe) == bar_size.total_seconds():
                return str(timeframe)
        raise FixConfiguration(
            f"conf/source.yaml: {self._name} has no candles of {bar_size}; set bar_size to one of "
            f"{', '.join(offered)}"
        )

    def read(
        self, since: Mapping[str, pd.Timestamp], bar_size: pd.Timedelta, until: pd.Timestamp
    ) -> Iterator[pd.DataFrame]:
        """Yield the candles, one page after the other.

        Args:
            since: Symbol in ccxt's notation (BTC/USDT) → open of the first candle to read (UTC).
            bar_size: Time from a candle's open to the next.
            until: Candles that close later are not asked for (UTC).

        Raises:
            FixConfiguration: If the exchange refuses a symbol or the options.
            RestoreService: If it does not answer.
        """
        for symbol, first in since.items():
            yield from self._pages(symbol, first, bar_size, until)

    def _pages(
        self, symbol: str, first: pd.Timestamp, bar_size: pd.Timedelta, until: pd.Timestamp
    ) -> Iterator[pd.DataFrame]:
        """Yield pages until the next candle has not closed yet, however short each is.

        Some exchanges answer with the candles of a stretch of time, which may be empty before a
        listing or in a pause: the next page then begins after it.
        """
        while first + bar_size <= until:
            rows, stretch = persistently(partial(self._page, symbol, first), self._name)
            page = _frame(symbol, rows)
            page = page[(page["timestamp"] >= first).array]
            yield page
            first = page["timestamp"].max() + bar_size if len(page) else first + stretch * bar_size

    def _page(self, symbol: str, first: pd.Timestamp) -> tuple[list[Any], int]:
        """Return the candles of one request, and the number that was asked for."""
        import ccxt

        exchange = self._exchange
        try:
            exchange.load_markets()
            count = int(exchange.feature_value(symbol, "fetchOHLCV", "limit") or USUAL_PAGE)
            since = first.value // 1_000_000
            rows = exchange.fetch_ohlcv(symbol, self._timeframe, since, count)
            if not rows and not str(exchange.last_http_response).lstrip().startswith(("[", "{")):
                raise Interrupted("the answer is no JSON")  # ccxt takes a page for no candles
            return rows, count
        except ccxt.BadSymbol as error:
            raise FixConfiguration(
                f"{self._name} does not know the symbol {symbol}; correct 'symbols' in "
                "conf/source.yaml to its name in ccxt, such as BTC/USDT"
            ) from error
        except (ccxt.BadRequest, ccxt.NotSupported, ccxt.AuthenticationError) as error:
            raise FixConfiguration(
                f"{self._name} refuses the request for {symbol} ({one_line(error)}); correct "
                "'options' in conf/source.yaml"
            ) from error
        except (ccxt.BaseError, RequestException, *UNREADABLE) as error:
            headers = exchange.last_response_headers or {}
            raise Interrupted(error, seconds_asked(headers.get("Retry-After"))) from error


def _frame(symbol: str, rows: list[Any]) -> pd.DataFrame:
    page = pd.DataFrame(rows, columns=list(COLUMNS[1:])).astype(dict.fromkeys(COLUMNS[2:], float))
    page["timestamp"] = pd.to_datetime(page["timestamp"], unit="ms", utc=True)
    return page.assign(symbol=symbol)
