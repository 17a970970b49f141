"""Collect: the source's bars, validated, into the lake."""

from datetime import datetime

from prefect import flow

from steelyard.flows.common import announce_failed_run, resolve_as_of
from steelyard.flows.prefect_pages import documented
from steelyard.home import open_home
from steelyard.queries.records import collection_record
from steelyard.tasks.alerts import announce_quarantine
from steelyard.tasks.bars import read_source, store_bars, validate_bars
from steelyard.views.runs import Collection


@flow(name="collect", on_failure=[announce_failed_run], on_crashed=[announce_failed_run])
def collect(as_of: datetime | None = None, home: str = ".", conf: str | None = None) -> Collection:
    """Store every bar closed by ``as_of`` in the lake; bad rows go to quarantine.

    Args:
        as_of: Collect as of this time (ISO 8601, UTC); None for the scheduled time.
        home: Folder of all state.
        conf: Folder of the settings; None for the default.
    """
    opened_home, at = open_home(home, conf), resolve_as_of(as_of)
    opened_home.require_stores()
    raw = read_source(opened_home)
    with documented("collect", opened_home.quality):
        checked = validate_bars(opened_home, raw, at)
    announce_quarantine(opened_home, checked, at)
    return collection_record(checked, store_bars(opened_home, checked))
