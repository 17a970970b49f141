"""Which bars are missing: a session calendar knows holidays, a round-the-clock market has none."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from steelyard.errors import FixConfiguration

QUIET = pd.Timedelta("5D")
"""Without a calendar a pause longer than this is reported: it covers weekends and the longest holidays."""


def holes(bars: pd.DataFrame, bar_size: pd.Timedelta, calendar: str, timezone: str) -> list[str]:
    """Return one line for each run of missing bars, symbol by symbol.

    Args:
        bars: Bars sorted by symbol and timestamp.
        bar_size: Time from one bar to the next.
        calendar: "24/7", the code of an exchange calendar (daily bars), or "auto": round the clock when there are bars
            on Saturdays, no calendar otherwise.
        timezone: Zone in which daily bars begin at midnight; there a bar's date is its session.

    Raises:
        FixConfiguration: If the calendar is unknown.
    """
    if calendar == "auto":
        calendar = "24/7" if (bars["timestamp"].dt.dayofweek == 5).any() else ""
    if calendar in ("", "24/7") or bar_size < pd.Timedelta("1D"):
        return list(
            _pauses(bars, bar_size, bar_size if calendar == "24/7" else max(QUIET, 5 * bar_size))
        )
    return list(_missing_sessions(bars, calendar, timezone))


def _pauses(bars: pd.DataFrame, bar_size: pd.Timedelta, longest: pd.Timedelta) -> Iterator[str]:
    pause = bars.groupby("symbol")["timestamp"].diff()
    for row in np.flatnonzero((pause > longest).to_numpy()):
        missing = int(pause.iloc[row] / bar_size) - 1
        symbol, until = bars["symbol"].iloc[row], bars["timestamp"].iloc[row]
        yield f"{symbol}: hole of {pause.iloc[row] - bar_size} before {until} ({missing} bars)"


def _missing_sessions(bars: pd.DataFrame, code: str, timezone: str) -> Iterator[str]:
    import exchange_calendars

    days = bars["timestamp"].dt.tz_convert(timezone).dt.tz_localize(None).dt.normalize()
    start, end = days.min().date(), days.max().date()
    try:
        market = exchange_calendars.get_calendar(
            code, start=str(start), end=str(end + pd.Timedelta("1D"))
        )
    except exchange_calendars.errors.InvalidCalendarName as error:
        raise FixConfiguration(
            f"conf/source.yaml: calendar {code} is unknown; 24/7, auto or a code such as XNYS"
        ) from error
    for symbol, present in days.groupby(bars["symbol"]):
        expected = market.sessions[
            (market.sessions >= present.iloc[0]) & (market.sessions <= present.iloc[-1])
        ]
        missing = expected.difference(pd.DatetimeIndex(present))
        if len(missing):
            span = f"first {missing[0].date()}, last {missing[-1].date()}"
            yield f"{symbol}: {len(missing)} sessions of {code} missing, {span}"
