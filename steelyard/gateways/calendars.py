"""Missing bars: a session calendar knows holidays, a round-the-clock market has none."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from steelyard.errors import FixConfiguration

QUIET = pd.Timedelta("5D")
"""Without a calendar, longer pauses are reported; weekends and the longest holidays are shorter."""


def holes(bars: pd.DataFrame, bar_size: pd.Timedelta, calendar: str, timezone: str) -> list[str]:
    """Return one line for each run of missing bars, symbol by symbol.

    Args:
        bars: One row per bar, sorted by symbol and timestamp; columns ``symbol`` and ``timestamp``
            (UTC).
        bar_size: Time from one bar to the next.
        calendar: "24/7", the code of an exchange calendar (daily bars), or "auto": round the clock
            if there are bars on Saturdays, no calendar otherwise.
        timezone: Zone in which daily bars begin at midnight; a bar's date there is its session.

    Raises:
        FixConfiguration: If the calendar is unknown.
    """
    if calendar == "auto":
        calendar = "24/7" if (bars["timestamp"].dt.dayofweek == 5).any() else ""
    if calendar in ("", "24/7") or bar_size < pd.Timedelta("1D"):
        longest = bar_size if calendar == "24/7" else max(QUIET, 5 * bar_size)
        return list(_pauses(bars, bar_size, longest))
    return list(_missing_sessions(bars, calendar, timezone))


def _pauses(bars: pd.DataFrame, bar_size: pd.Timedelta, longest: pd.Timedelta) -> Iterator[str]:
    pause = bars.groupby("symbol")["timestamp"].diff()
    for row in np.flatnonzero((pause > longest).to_numpy()):
        missing = int(pause.iloc[row] / bar_size) - 1
        symbol, until = bars["symbol"].iloc[row], bars["timestamp"].iloc[row]
        yield f"{symbol}: hole of {pause.iloc[row] - bar_size} before {until} ({missing} bars)"


def _missing_sessions(bars: pd.DataFrame, code: str, timezone: str) -> Iterator[str]:
    days = bars["timestamp"].dt.tz_convert(timezone).dt.tz_localize(None).dt.normalize()
    sessions = _sessions(code, days.min(), days.max())
    if sessions.empty or sessions[0] > days.min() + QUIET:
        begins = f"{sessions[0]:%Y-%m-%d}" if len(sessions) else "a later day"
        yield f"calendar {code} begins on {begins}: earlier holes are not reported"
    for symbol, present in days.groupby(bars["symbol"]):
        expected = sessions[(sessions >= present.iloc[0]) & (sessions <= present.iloc[-1])]
        missing = expected.difference(pd.DatetimeIndex(present))
        if len(missing):
            span = f"first {missing[0].date()}, last {missing[-1].date()}"
            yield f"{symbol}: {len(missing)} sessions of {code} missing, {span}"


def _sessions(code: str, first: pd.Timestamp, last: pd.Timestamp) -> pd.DatetimeIndex:
    """Return an exchange's sessions from ``first`` to ``last``, as far as they are recorded."""
    import exchange_calendars

    end = last + pd.Timedelta("1D")
    try:
        calendar = exchange_calendars.get_calendar(code, start=first, end=end)
    except exchange_calendars.errors.InvalidCalendarName as error:
        raise FixConfiguration(
            f"conf/source.yaml: unknown calendar {code}; use 24/7, auto or a code such as XNYS"
        ) from error
    except ValueError:  # outside the recorded range
        recorded = type(exchange_calendars.get_calendar(code))
        earliest, latest = recorded.bound_min(), recorded.bound_max()
        first = first if earliest is None else max(first, earliest)
        end = end if latest is None else min(end, latest)
        if first >= end:
            return pd.DatetimeIndex([])
        calendar = exchange_calendars.get_calendar(code, start=first, end=end)
    return pd.DatetimeIndex(calendar.sessions)
