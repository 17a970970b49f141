"""Collect: the source's bars, validated, into the lake, and a log's new signals into the ledger."""

from dataclasses import replace
from datetime import datetime

from prefect import flow

from steelyard.flows.common import announce_failed_run, resolve_as_of
from steelyard.flows.prefect_pages import documented
from steelyard.gateways.venues import Stretch
from steelyard.home import Home, open_home
from steelyard.queries.records import collection_record
from steelyard.tasks.alerts import announce_quarantine
from steelyard.tasks.bars import read_source, store_bars, stretches, validate_bars
from steelyard.tasks.signal_log import read_signal_log, take_in_log
from steelyard.views.runs import NO_BARS, Collection


@flow(name="collect", on_failure=[announce_failed_run], on_crashed=[announce_failed_run])
def collect(as_of: datetime | None = None, home: str = ".", conf: str | None = None) -> Collection:
    """Store every bar closed by ``as_of`` in the lake, and every signal a log gave by then.

    Bad bars and rows go to quarantine.

    Args:
        as_of: Collect as of this time (ISO 8601, UTC); None for the scheduled time.
        home: Folder of all state.
        conf: Folder of the settings; None for the default.
    """
    opened_home, at = open_home(home, conf), resolve_as_of(as_of)
    opened_home.require_stores()
    collected = NO_BARS
    for stretch in stretches(opened_home, at) if opened_home.has_source else ():
        collected += _collect_bars(opened_home, stretch, at)
    if not opened_home.reads_log:
        return collected
    return replace(collected, log=take_in_log(opened_home, read_signal_log(opened_home), at))


def _collect_bars(opened_home: Home, stretch: Stretch | None, at: datetime) -> Collection:
    raw = read_source(opened_home, stretch)
    with documented("collect", opened_home.quality):
        checked = validate_bars(opened_home, raw, at)
    announce_quarantine(opened_home, checked, at)
    return collection_record(checked, store_bars(opened_home, checked))
