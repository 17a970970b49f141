"""Whether the recorded signals are the existing system's: a lineage holds one system's only."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from steelyard.errors import CollectMoreData
from steelyard.home import Home
from steelyard.market.strategy import signals
from steelyard.queries.history import known_bars

RECENT = 20
"""Latest recorded signals that are looked at."""
FEWEST = 5
"""Recorded signals from which they say anything."""


@dataclass(frozen=True, slots=True)
class Ownership:
    """The latest recorded signals, and those that the existing system did not give.

    Attributes:
        recorded: Number of signals looked at.
        strange: Ids of another system's signals among them, newest first.
    """

    recorded: int
    strange: tuple[str, ...]

    @property
    def is_another_system(self) -> bool:
        """Whether most of them are another system's; a few may come of bars that were restated."""
        return self.recorded >= FEWEST and 2 * len(self.strange) > self.recorded


def latest_ownership(
    home: Home, began: datetime, as_of: datetime, given: Iterable[str]
) -> Ownership:
    """Return whose the latest recorded signals are.

    Args:
        home: Opened home.
        began: Begin of the lineage (UTC); what was decided before is not its own.
        as_of: Signals decided by this time (UTC) are looked at.
        given: Ids of all signals that the existing system gave by then.
    """
    since = max(began, as_of - timedelta(days=home.settings.weight.window_max_days))
    latest = home.ledger.predictions(since, as_of)["signal_id"].tail(RECENT)
    strange = latest[~latest.isin(list(given))]
    return Ownership(len(latest), tuple(reversed(strange.tolist())))


def given_ids(home: Home, as_of: datetime) -> list[str]:
    """Return the ids of all signals that the existing system gave by ``as_of``; empty without bars.

    Args:
        home: Opened home.
        as_of: Time of the knowledge (UTC).
    """
    if home.settings.strategy.is_log:
        return list(home.ledger.log_signals(as_of)["signal_id"])
    try:
        return list(signals(known_bars(home, as_of) or {}, home.strategy)["signal_id"])
    except CollectMoreData:
        return []
