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
    """Store every signal a log gave by ``as_of``, and every bar closed by then in the lake.

    Bad bars and rows go to quarantine. The log comes first: a source of bars that fails must not
    cost a signal its evidence, which it earns only if it is taken in before its outcome.

    Args:
        as_of: Collect as of this time (ISO 8601, UTC); None for the scheduled time.
        home: Folder of all state.
        conf: Folder of the settings; None for the default.
    """
    opened_home, at = open_home(home, conf), resolve_as_of(as_of)
    opened_home.require_stores()
    log = None
    if opened_home.reads_log:
        log = take_in_log(opened_home, read_signal_log(opened_home), at)
    collected = NO_BARS
    for stretch in stretches(opened_home, at) if opened_home.has_source else ():
        collected += _collect_bars(opened_home, stretch, at)
    return replace(collected, log=log)


def _collect_bars(opened_home: Home, stretch: Stretch | None, at: datetime) -> Collection:
    raw = read_source(opened_home, stretch)
    with documented("collect", opened_home.quality):
        checked = validate_bars(opened_home, raw, at)
    announce_quarantine(opened_home, checked, at)
    return collection_record(checked, store_bars(opened_home, checked))
