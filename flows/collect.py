"""Collect: the source's bars, validated, into the lake, and a log's new signals into the ledger."""

from dataclasses import replace
from datetime import datetime

from steelyard.flows.common import resolve_as_of
from steelyard.flows.operation import MINUTE, operation
from steelyard.flows.prefect_pages import documented
from steelyard.gateways.venues import Stretch
from steelyard.home import Home, open_readable, open_shared
from steelyard.queries.records import collection_record
from steelyard.tasks.alerts import announce_quarantine
from steelyard.tasks.bars import read_source, store_bars, stretches, validate_bars
from steelyard.tasks.signal_log import require_all, take_in_logs
from steelyard.views.runs import NO_BARS, Collection


@operation("collect", per=MINUTE)
def collect(
    as_of: datetime | None = None,
    home: str = ".",
    conf: str | None = None,
    lineage: str | None = None,
) -> Collection:
    """Store every signal the logs gave by ``as_of``, and every bar closed by then in the lake.

    Bad bars and rows go to quarantine. The logs come first: a source of bars that fails must not
    cost a signal its evidence, which it earns only if it is taken in before its outcome. A log that
    fails, or settings of a lineage that cannot be read, keep neither other logs nor bars waiting.

    Args:
        as_of: Collect as of this time (ISO 8601, UTC); None for the scheduled time.
        home: Folder of all state.
        conf: Folder of the settings; None for the default.
        lineage: Name of the lineage whose log is read; None for all.
    """
    (opened, faults), at = open_readable(home, conf, lineage), resolve_as_of(as_of)
    opened[0].require_stores()
    log, failures = take_in_logs(opened, at)
    shared, collected = open_shared(home, conf), NO_BARS
    has_source = any(one.has_source for one in opened)
    for stretch in stretches(shared, at) if has_source else ():
        collected += _collect_bars(shared, stretch, at)
    require_all([*faults, *failures])
    return replace(collected, log=log)


def _collect_bars(shared: Home, stretch: Stretch | None, at: datetime) -> Collection:
    raw = read_source(shared, stretch)
    with documented("collect", shared.quality):
        checked = validate_bars(shared, raw, at)
    announce_quarantine(shared, checked, at)
    return collection_record(checked, store_bars(shared, checked))
