"""A trading process in the simulated time of a drill."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, cast

from steelyard.desk.session import Session
from steelyard.desk.signals import Evaluation
from steelyard.home import Home
from steelyard.ops.drills.ground import DAY, DrillHome, Past, past
from steelyard.tasks.trading import signal_of
from steelyard.trading import open_session


class DrillDesk:
    """The session of a home, its signals, and the moment it is there.

    Args:
        drill_home: The home.
        at: Simulated time (UTC) at which it is opened.
        market: What it trades.
    """

    def __init__(self, drill_home: DrillHome, at: datetime, market: Past) -> None:
        self.at = at
        self._market = market
        self._stores: Home = drill_home.home()
        self.session: Session = open_session(drill_home.folder, drill_home.conf, lambda: self.at)
        self.session.warm(market.until(at))

    def live(self, day: datetime) -> list[Evaluation]:
        """Evaluate the signals decided since the last call up to ``day``."""
        self.session.refresh()
        rows = cast(list[dict[str, Any]], self._market.decided(self.at, day).to_dict("records"))
        evaluated = []
        for row in rows:
            self.at = row["decided_at"].to_pydatetime()
            signal = signal_of(row, self._stores.feature_names)
            evaluated.append(self.session.evaluate(signal, self._market.until(self.at)))
        self.at = day
        self.session.refresh()
        return evaluated

    def weight(self) -> float:
        """Return the weight in force now."""
        return self.session.status(self.at).weight


@contextmanager
def trading(drill_home: DrillHome, at: datetime) -> Iterator[DrillDesk]:
    """Yield a trading process and close it, with all its records in ledger or spool.

    Args:
        drill_home: The home it trades for.
        at: Simulated time (UTC) of its start.
    """
    desk = DrillDesk(drill_home, at, past())
    try:
        yield desk
    finally:
        desk.session.close()


def days(first: datetime, last: datetime) -> Iterator[datetime]:
    """Yield the days after ``first`` up to ``last``.

    Args:
        first: Start (UTC), exclusive.
        last: End (UTC), inclusive.
    """
    while first < last:
        first += DAY
        yield first
