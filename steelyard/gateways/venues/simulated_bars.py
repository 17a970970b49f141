"""A simulated market that goes on in real time, for ``steelyard demo --live``.

Before it goes live it trades for a minute a day, so that it has a past of many days; from then
on a bar ends every few seconds. A model can see its edge in the candles (``market/simulated.py``).
"""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from functools import lru_cache

import pandas as pd

from steelyard.errors import FixConfiguration
from steelyard.gateways.sources import SourceSettings
from steelyard.market.simulated import SimulatedMarket, simulate

PAST_DAYS, BARS_A_DAY = 540, 6
LASTS = timedelta(hours=24)
"""Time for which the market goes on."""
MARKET = SimulatedMarket(edge="hidden")


class SimulatedBars:
    """Bars of the market; the same ones whoever asks, and whenever.

    Args:
        settings: ``options`` has ``live_from``, the time at which it goes live (ISO 8601, UTC).

    Attributes:
        live_from: That time.

    Raises:
        FixConfiguration: If ``live_from`` is missing or no time.
    """

    def __init__(self, settings: SourceSettings) -> None:
        try:
            self.live_from = datetime.fromisoformat(str(settings.options["live_from"]))
        except (KeyError, ValueError) as error:
            raise FixConfiguration(
                "conf/source.yaml: options needs live_from, a time such as "
                "2026-01-31T12:00:00+00:00"
            ) from error

    @property
    def end(self) -> datetime:
        """Time at which the market ends (UTC)."""
        return self.live_from + LASTS

    def read(
        self, since: Mapping[str, pd.Timestamp], bar_size: pd.Timedelta, until: pd.Timestamp
    ) -> Iterator[pd.DataFrame]:
        """Yield the bars, symbol by symbol.

        Args:
            since: Symbol → open of the first bar to read (UTC).
            bar_size: Time from a bar's open to the next.
            until: Time by which a bar must have ended (UTC).
        """
        bars = _bars(self.live_from, bar_size)
        closed = bars["timestamp"] <= until - bar_size
        for symbol, first in since.items():
            yield bars[closed & (bars["symbol"] == symbol) & (bars["timestamp"] >= first)]


@lru_cache(maxsize=1)
def _bars(live_from: datetime, bar_size: pd.Timedelta) -> pd.DataFrame:
    """Return all bars of the market, those of its future too."""
    first = pd.Timestamp(live_from)
    days = pd.date_range(end=first, periods=PAST_DAYS + 1, freq="D")[:-1]
    past = [day + number * bar_size for day in days for number in range(BARS_A_DAY)]
    live = pd.date_range(first, first + LASTS, freq=bar_size, inclusive="left")
    stamps = pd.DatetimeIndex([*past, *live]).as_unit("ns")
    return simulate(MARKET, stamps)
