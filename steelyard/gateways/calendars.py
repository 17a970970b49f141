"""Calendars of exchanges: missing sessions, when a daily bar is known, when the next one opens."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from steelyard.errors import FixConfiguration
from steelyard.market.bars import before, first_bars, naive

CONTINUOUS = ("", "24/7", "auto")
YEAR = pd.Timedelta("366D")
NO_TIME = pd.Timedelta(0)
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
    stamps = naive(bars["timestamp"])
    pauses = stamps - before(stamps, first_bars(bars))
    for row in np.flatnonzero(pauses > longest.to_timedelta64()):
        pause = pd.Timedelta(pauses[row])
        missing = int(pause / bar_size) - 1
        symbol, until = bars["symbol"].iloc[row], bars["timestamp"].iloc[row]
        yield f"{symbol}: hole of {pause - bar_size} before {until} ({missing} bars)"


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


def known_after(
    stamps: "pd.Series[Any]", bar_size: pd.Timedelta, calendar: str, timezone: str
) -> pd.Timedelta:
    """Return the time from a bar's open until it is known.

    Daily bars of an exchange are known when their session closes: the latest close of the day over
    their whole time and at least a year is taken for all of them, so that none is known too early.
    All other bars are known when the next one opens.

    Args:
        stamps: Opens of the bars (UTC), in any order, shape (n,); NaT is ignored.
        bar_size: Time from a bar's open to the next.
        calendar: "24/7", "auto" or the code of an exchange calendar.
        timezone: Zone in which daily bars begin at midnight.

    Raises:
        FixConfiguration: If the calendar is unknown, or daily bars begin after the session of their
            day has closed: those of the next session would be known before it.
    """
    if calendar in CONTINUOUS or bar_size != pd.Timedelta("1D") or stamps.isna().all():
        return bar_size
    first, last = (day.tz_localize(None).normalize() for day in (stamps.min(), stamps.max()))
    exchange = _exchange(calendar, min(first, last - YEAR), last)
    if exchange is None:
        return bar_size
    opens = exchange.sessions.tz_localize(timezone, ambiguous="NaT", nonexistent="shift_forward")
    latest: pd.Timedelta = (pd.DatetimeIndex(exchange.closes) - opens).max()
    if not latest > pd.Timedelta(0):
        return bar_size
    local = stamps.dropna().dt.tz_convert(timezone).dt.tz_localize(None)
    begin = (local - local.dt.normalize()).mode().iloc[0]
    if begin >= latest:
        raise FixConfiguration(
            f"conf/source.yaml: daily bars begin at {pd.Timestamp(0) + begin:%H:%M} {timezone}, "
            f"when the session of {calendar} has closed: the next session would be known before "
            "it; set timezone to the zone of their midnights, or calendar: auto"
        )
    return latest


def known_times(
    since: pd.Timestamp,
    days: int,
    bar_size: pd.Timedelta,
    delay: pd.Timedelta,
    calendar: str,
    timezone: str,
    begin: pd.Timedelta = NO_TIME,
) -> list[pd.Timestamp]:
    """Return when the bars of the coming days are known (UTC), as far as the calendar tells.

    Args:
        since: First time (UTC), excluded.
        days: Number of days.
        bar_size: Time from a bar's open to the next.
        delay: Time from a bar's open until it is known.
        calendar: "24/7", "auto" (taken as always open) or the code of an exchange calendar.
        timezone: Zone in which daily bars begin at midnight.
        begin: Time from midnight there to the first bar of the day, shorter than a bar.

    Raises:
        FixConfiguration: If the calendar is unknown.
    """
    first = since.tz_convert(timezone).normalize() - pd.Timedelta("1D") + begin
    is_daily = bar_size >= pd.Timedelta("1D")  # a day is as long as the clocks of the zone make it
    periods = (days + 2) * (1 if is_daily else pd.Timedelta("1D") // bar_size)
    opens = pd.date_range(first, periods=periods, freq="D" if is_daily else bar_size)
    start, end = (day.tz_localize(None).normalize() for day in (opens[0], opens[-1]))
    exchange = None if calendar in CONTINUOUS else _exchange(calendar, start - QUIET, end + QUIET)
    if exchange is not None and is_daily:
        opens = opens[opens.tz_localize(None).normalize().isin(exchange.sessions)]
    known = [stamp for stamp in opens.tz_convert("UTC") + delay if stamp > since]
    if exchange is None or is_daily:
        return known
    return [stamp for stamp in known if exchange.is_open_on_minute(stamp - pd.Timedelta("1min"))]


def zone_of(calendar: str) -> str:
    """Return the zone of an exchange, UTC without one.

    Raises:
        FixConfiguration: If the calendar is unknown.
    """
    today = pd.Timestamp.now("UTC").tz_localize(None).normalize()
    exchange = None if calendar in CONTINUOUS else _exchange(calendar, today - QUIET, today)
    return "UTC" if exchange is None else str(exchange.tz)


@lru_cache(maxsize=1024)
def next_open(calendar: str, after: pd.Timestamp) -> pd.Timestamp:
    """Return when a market opens next: at once if it is open, or never closes.

    Args:
        calendar: "24/7", "auto" (taken as open) or the code of an exchange calendar.
        after: Time (UTC).

    Raises:
        FixConfiguration: If the calendar is unknown.
    """
    day = after.tz_localize(None).normalize()
    exchange = None if calendar in CONTINUOUS else _exchange(calendar, day - QUIET, day + 3 * QUIET)
    if exchange is None or exchange.is_open_on_minute(after, ignore_breaks=True):
        return after
    opens = pd.DatetimeIndex(exchange.opens)
    coming = opens[opens >= after]
    return coming[0] if len(coming) else after


def _sessions(code: str, first: pd.Timestamp, last: pd.Timestamp) -> pd.DatetimeIndex:
    """Return an exchange's sessions from ``first`` to ``last``, as far as they are recorded."""
    exchange = _exchange(code, first, last)
    return pd.DatetimeIndex([] if exchange is None else exchange.sessions)


def _exchange(code: str, first: pd.Timestamp, last: pd.Timestamp) -> Any:
    """Return the calendar of an exchange from ``first`` to ``last``; None if nothing is recorded.

    Args:
        code: Code of the calendar, such as XNYS.
        first: First day, without a zone.
        last: Last day, without a zone.

    Raises:
        FixConfiguration: If the calendar is unknown.
    """
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
            return None
        calendar = exchange_calendars.get_calendar(code, start=first, end=end)
    return calendar
