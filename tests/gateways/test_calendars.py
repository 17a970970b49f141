"""When bars are known and when a market opens next, by the exchange's calendar."""

import pandas as pd
import pytest

from steelyard.errors import FixConfiguration
from steelyard.gateways.calendars import known_after, known_times, next_open

DAY, HOUR = pd.Timedelta("1D"), pd.Timedelta("1h")


@pytest.mark.parametrize(
    ("calendar", "timezone", "bar_size", "hours"),
    [
        ("XNYS", "UTC", DAY, 21),  # 16:00 in New York in winter; the summer's close is an hour ago
        ("XNYS", "America/New_York", DAY, 16),
        ("XTKS", "Asia/Tokyo", DAY, 15),
        ("24/7", "UTC", DAY, 24),
        ("auto", "UTC", DAY, 24),
        ("XNYS", "UTC", HOUR, 1),
    ],
)
def test_daily_bars_are_known_when_their_session_has_closed(
    calendar: str, timezone: str, bar_size: pd.Timedelta, hours: int
) -> None:
    """Never before any close of the year, even if the bars are of one summer."""
    stamps = pd.Series(pd.date_range("2023-06-01", "2023-07-01", tz=timezone)).dt.tz_convert("UTC")

    assert known_after(stamps, bar_size, calendar, timezone) == hours * HOUR


@pytest.mark.parametrize(
    ("calendar", "begin", "timezone"),
    [
        pytest.param("XTKS", "00:00+09:00", "UTC", id="midnights of Tokyo read as UTC"),
        pytest.param("XNYS", "17:00-05:00", "America/New_York", id="days that begin at 17:00"),
    ],
)
def test_daily_bars_that_begin_after_a_session_has_closed_are_refused(
    calendar: str, begin: str, timezone: str
) -> None:
    """They hold the next session, which would be known before it has closed."""
    stamps = pd.Series(
        pd.to_datetime([f"2023-01-{day}T{begin}" for day in range(10, 14)], utc=True)
    )

    with pytest.raises(FixConfiguration, match=f"when the session of {calendar} has closed"):
        known_after(stamps, DAY, calendar, timezone)


@pytest.mark.parametrize(
    ("calendar", "after", "opens"),
    [
        ("XNYS", "2023-05-05 21:00", "2023-05-08 13:30"),  # a Friday
        ("XNYS", "2023-07-03 17:00", "2023-07-05 13:30"),  # half a day before a holiday
        ("XNYS", "2023-05-05 18:00", "2023-05-05 18:00"),
        ("24/7", "2023-05-06 00:00", "2023-05-06 00:00"),
        ("auto", "2023-05-06 00:00", "2023-05-06 00:00"),
    ],
)
def test_a_closed_market_opens_with_its_next_session(calendar: str, after: str, opens: str) -> None:
    """An open market is open at once."""
    assert next_open(calendar, pd.Timestamp(after, tz="UTC")) == pd.Timestamp(opens, tz="UTC")


def test_the_bars_to_come_are_those_of_the_sessions() -> None:
    """Daily: one per session; by the hour: only while the exchange is open."""
    friday = pd.Timestamp("2023-05-05 12:00", tz="UTC")
    daily = known_times(friday, 4, DAY, 21 * HOUR, "XNYS", "UTC")
    hourly = known_times(friday, 1, HOUR, HOUR, "XNYS", "UTC")

    assert [f"{stamp:%a %H}" for stamp in daily] == ["Fri 21", "Mon 21", "Tue 21"]
    assert [f"{stamp:%a %H}" for stamp in hourly] == [f"Fri {hour}" for hour in range(14, 21)]
