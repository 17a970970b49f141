"""When the bars of a home become known, and when the source has them."""

from dataclasses import dataclass
from datetime import datetime

import pandas as pd

from steelyard.errors import CollectMoreData
from steelyard.gateways.calendars import CONTINUOUS, known_after, known_times
from steelyard.home import Home

DAY = pd.Timedelta("1D")
LOOK_BACK_DAYS = 14
"""Days within which every market has a bar."""


@dataclass(frozen=True, slots=True)
class Rhythm:
    """Times of the bars of a home.

    Attributes:
        bar_size: Time from a bar's open to the next.
        known_after: Time from a bar's open until it is known.
        delay: Time from then until the source has it.
        calendar: "24/7", "auto" or the code of an exchange calendar.
        timezone: Zone in which days of bars begin.
        begin: Time from midnight there to the first bar of the day.
    """

    bar_size: pd.Timedelta
    known_after: pd.Timedelta
    delay: pd.Timedelta
    calendar: str
    timezone: str
    begin: pd.Timedelta

    def known(self, since: datetime, days: int = LOOK_BACK_DAYS) -> list[pd.Timestamp]:
        """Return when the bars of some days are known (UTC), oldest first.

        Args:
            since: First time (UTC), excluded.
            days: Number of days.
        """
        return known_times(
            pd.Timestamp(since),
            days,
            self.bar_size,
            self.known_after,
            self.calendar,
            self.timezone,
            self.begin,
        )

    def last_known(self, at: datetime) -> pd.Timestamp | None:
        """Return when the newest bar became known that is known at a time; None without one."""
        moment = pd.Timestamp(at)
        if self._never_rests:
            return self._following(moment) - self.bar_size
        since = moment - pd.Timedelta(days=LOOK_BACK_DAYS)
        times = [time for time in self.known(since, LOOK_BACK_DAYS) if time <= moment]
        return times[-1] if times else None

    def next_known(self, at: datetime) -> pd.Timestamp | None:
        """Return when the next bar after a time is known; None if the calendar ends."""
        if self._never_rests:
            return self._following(pd.Timestamp(at))
        for days in (1, LOOK_BACK_DAYS):
            if times := self.known(at, days):
                return times[0]
        return None

    @property
    def _never_rests(self) -> bool:
        return self.calendar in CONTINUOUS and self.bar_size < DAY

    def _following(self, moment: pd.Timestamp) -> pd.Timestamp:
        midnight = moment.tz_convert(self.timezone).normalize().tz_convert("UTC")
        first = midnight - DAY + self.begin + self.known_after
        return first + ((moment - first) // self.bar_size + 1) * self.bar_size


def rhythm(home: Home) -> Rhythm:
    """Return when the bars of a home become known.

    Args:
        home: Opened home, or what its lineages share.

    Raises:
        CollectMoreData: If nothing was collected yet and the source does not say its bar size.
        FixConfiguration: If the calendar is unknown.
    """
    source, lake = home.settings.source.resolved(), home.lake
    zone = source.timezone
    try:
        size, after = lake.bar_size, lake.known_after
        begin = _begin(max(lake.newest().values(), default=None), size, zone)
    except CollectMoreData:
        if source.bar_size == "auto":
            raise
        size = pd.Timedelta(source.bar_size)
        today = pd.Series([pd.Timestamp.now(zone).normalize().tz_convert("UTC")])
        after, begin = known_after(today, size, source.calendar, zone), pd.Timedelta(0)
    return Rhythm(size, after, source.delay_of(size), source.calendar, zone, begin)


def _begin(stamp: pd.Timestamp | None, size: pd.Timedelta, zone: str) -> pd.Timedelta:
    """Return the time from midnight to the first bar of the day, of bars that begin at a stamp."""
    if stamp is None:
        return pd.Timedelta(0)
    local = stamp.tz_convert(zone)
    return (local - local.normalize()) % min(size, DAY)
