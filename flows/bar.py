"""Bar: collect, trade and settle, once a bar is known and its source has it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from steelyard.errors import CollectMoreData, SteelyardError
from steelyard.flows.collect import collect
from steelyard.flows.common import resolve_as_of
from steelyard.flows.operation import MINUTE, operation
from steelyard.flows.settle import settle
from steelyard.flows.trade import trade
from steelyard.flows.waiting import waiting
from steelyard.home import Home, open_readable, open_shared
from steelyard.queries.rhythm import Rhythm, rhythm
from steelyard.views.runs import BarRun, Collection

LONGEST_PATIENCE = timedelta(minutes=30)
LONGEST_POLL_SECONDS = 60.0


@operation("bar", per=MINUTE)
def bar(as_of: datetime | None = None, home: str = ".", conf: str | None = None) -> BarRun:
    """Collect the newest bar, trade its signals and settle outcomes, of every lineage.

    A part that fails keeps no other from its work: open positions are protected whatever the source
    answers, and trading, which needs no MLflow, comes before settling, which does.

    Args:
        as_of: Act as of this time (ISO 8601, UTC); None for the scheduled time, and then a bar
            that is late is waited for.
        home: Folder of all state.
        conf: Folder of the settings; None for the default.
    """
    at, errors = resolve_as_of(as_of), list[Exception]()
    collected = _attempt(errors, _collect_due, as_of, home, conf)
    opened, faults = open_readable(home, conf)
    errors += faults
    names = {one.settings.services.lineage: one.lineage for one in opened}
    traded = {
        name: _attempt(errors, trade.fn, as_of, home, conf, lineage)
        for name, lineage in names.items()
    }
    settled = {
        name: _attempt(errors, settle.fn, as_of, home, conf, lineage)
        for name, lineage in names.items()
    }
    if errors and isinstance(errors[0], SteelyardError):
        raise type(errors[0])("; ".join(dict.fromkeys(map(str, errors))))
    if errors:
        raise errors[0]
    return BarRun(at, collected, traded, settled)


def _attempt(errors: list[Exception], act: Callable[..., Any], *parameters: Any) -> Any:
    """Return what a part returns; None if it fails, and its error is kept for later."""
    try:
        return act(*parameters)
    except Exception as error:  # noqa: BLE001  # raised when every part had its turn
        errors.append(error)
        return None


def _collect_due(as_of: datetime | None, home: str, conf: str | None) -> Collection:
    """Collect once the source has the newest bar; a late one is asked for until it is there.

    It is given up when none of its signals could be traded any more.
    """
    shared, at = open_shared(home, conf), resolve_as_of(as_of)
    if as_of is not None:
        return collect.fn(as_of, home, conf)
    waiting.wait((_ready_at(shared, at) - datetime.now(UTC)) / timedelta(seconds=1))
    collected = collect.fn(None, home, conf)
    while (seconds := _patience(shared, at)) and _is_missing(shared, at):
        if waiting.wait(seconds):
            break
        collected += collect.fn(None, home, conf)
    return collected


def _ready_at(home: Home, at: datetime) -> datetime:
    times = _rhythm(home)
    known = times.last_known(at) if times else None
    return known + times.delay if times and known is not None else at


def _is_missing(home: Home, at: datetime) -> bool:
    """Return whether the bar that is known at a time is not in the lake."""
    times = _rhythm(home)
    known, newest = times and times.last_known(at), max(home.lake.newest().values(), default=None)
    return bool(times and known and (newest is None or newest + times.known_after < known))


def _patience(home: Home, at: datetime) -> float:
    """Return the seconds until a late bar is asked for again; 0 if it is given up."""
    times = _rhythm(home)
    if times is None:
        return 0.0
    share = home.settings.risk.entry_delay
    until = at + min(LONGEST_PATIENCE, times.bar_size.to_pytimedelta() * share)
    poll = min(LONGEST_POLL_SECONDS, max(times.bar_size.total_seconds() / 60, 1.0))
    return poll if datetime.now(UTC) < until else 0.0


def _rhythm(home: Home) -> Rhythm | None:
    """Return when bars become known; None before the first, or in a home without any."""
    try:
        return rhythm(home) if home.has_source else None
    except CollectMoreData:
        return None
