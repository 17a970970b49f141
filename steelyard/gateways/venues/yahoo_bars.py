"""Bars of Yahoo's chart pages, through yfinance.

Daily bars carry the adjusted close, so that splits and dividends are told from crashes. Yahoo's
terms allow personal use, and it gives bars within the day for some days or months only.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import pandas as pd

from steelyard.errors import FixConfiguration, needing
from steelyard.gateways.sources import SourceSettings
from steelyard.gateways.venues.requests import UNREADABLE, Interrupted, one_line, persistently

TIMEOUT_SECONDS = 20
INTERVALS = {
    **{f"{minutes}min": f"{minutes}m" for minutes in (1, 2, 5, 15, 30, 90)},
    "1h": "1h",
    "1D": "1d",
}
"""Bar sizes that Yahoo has, and its names for them."""
MINUTES_AT_ONCE = pd.Timedelta("7D")
"""Stretch of bars of one minute that Yahoo gives in one answer."""
NO_BARS = "Data doesn't exist"
"""Begin of Yahoo's reason if it has nothing in a stretch of time."""


class YahooBars:
    """Bars of Yahoo, symbols as Yahoo writes them (AAPL, VOD.L, EURUSD=X, BTC-USD).

    Args:
        settings: ``options`` is empty.

    Attributes:
        session: Session of curl_cffi to use for requests; None for yfinance's own.

    Raises:
        FixConfiguration: If yfinance is missing, an option is given, or Yahoo has no bars of this
            size.
    """

    def __init__(self, settings: SourceSettings) -> None:
        with needing("conf/source.yaml: kind: yfinance"):
            import yfinance
        if settings.options:
            raise FixConfiguration(
                f"conf/source.yaml: options: yfinance has no {next(iter(settings.options))}; "
                "remove it"
            )
        sizes = {pd.Timedelta(size): name for size, name in INTERVALS.items()}
        size = pd.Timedelta(settings.bar_size)
        if size not in sizes:
            raise FixConfiguration(
                f"conf/source.yaml: yfinance has no bars of {size}; set bar_size to one of "
                f"{', '.join(INTERVALS)}"
            )
        self._yfinance = yfinance
        self._interval = sizes[size]
        self.session: Any = None

    def read(
        self, since: Mapping[str, pd.Timestamp], bar_size: pd.Timedelta, until: pd.Timestamp
    ) -> Iterator[pd.DataFrame]:
        """Yield the bars, symbol by symbol.

        Args:
            since: Symbol → open of the first bar to read (UTC).
            bar_size: Time from a bar's open to the next.
            until: Bars that begin later are not asked for (UTC).

        Raises:
            FixConfiguration: If Yahoo does not know a symbol, or has no bars so far back.
            RestoreService: If it does not answer.
        """
        for symbol, begin in since.items():
            while begin < until:
                end = min(begin + MINUTES_AT_ONCE, until) if self._interval == "1m" else until
                yield persistently(partial(self._page, symbol, begin, end), "yfinance")
                begin = end

    def _page(self, symbol: str, begin: pd.Timestamp, end: pd.Timestamp) -> pd.DataFrame:
        """Return the bars of one request; empty if Yahoo has none."""
        yfinance, missing = self._yfinance, self._yfinance.exceptions
        yfinance.config.debug.hide_exceptions = False
        yfinance.data.YfData.cache_get.cache_clear()  # it keeps answers that were errors
        try:
            ticker = yfinance.Ticker(symbol, session=self.session)
            bars = ticker.history(
                interval=self._interval,
                start=begin,
                end=end,
                auto_adjust=False,
                actions=False,
                timeout=TIMEOUT_SECONDS,
            )
            return _frame(symbol, bars, self._interval)
        except missing.YFTzMissingError as error:
            raise FixConfiguration(
                f"yfinance does not know the symbol {symbol}; correct 'symbols' in conf/source.yaml"
            ) from error
        except missing.YFPricesMissingError as error:
            if not error.yahoo_reason:
                raise Interrupted(error) from error
            if error.yahoo_reason.startswith(NO_BARS):
                return _frame(symbol, pd.DataFrame(), self._interval)
            raise FixConfiguration(
                f"yfinance has no bars of {symbol} ({one_line(error.yahoo_reason)}); correct "
                "'symbols' or 'since' in conf/source.yaml"
            ) from error
        except (missing.YFException, *UNREADABLE, OSError) as error:
            raise Interrupted(error) from error


def _frame(symbol: str, bars: pd.DataFrame, interval: str) -> pd.DataFrame:
    if bars.empty:
        return pd.DataFrame()
    columns = {name: bars[name.capitalize()] for name in ("open", "high", "low", "close", "volume")}
    if interval == "1d":
        columns["adj_close"] = bars["Adj Close"]
    page = pd.DataFrame(columns).astype(float)
    return page.assign(symbol=symbol, timestamp=pd.DatetimeIndex(page.index).tz_convert("UTC"))
