"""Collect: the source's bars, validated, into the lake."""

from datetime import datetime
from typing import Any

from prefect import flow

from steelyard.flows.common import announce_failed_run, resolve_as_of
from steelyard.home import open_home
from steelyard.tasks.alerts import announce_quarantine
from steelyard.tasks.bars import collected, read_source, store_bars, validate_bars
from steelyard.tasks.prefect_pages import documented


@flow(name="collect", on_failure=[announce_failed_run], on_crashed=[announce_failed_run])
def collect(
    as_of: datetime | None = None, home: str = ".", conf: str | None = None
) -> dict[str, Any]:
    """Bring every bar closed by ``as_of`` into the lake; bad rows are quarantined, bars already there stay."""
    opened_home, at = open_home(home, conf), resolve_as_of(as_of)
    raw = read_source(opened_home)
    with documented("collect", opened_home.quality):
        checked = validate_bars(opened_home, raw, at)
    announce_quarantine(opened_home, checked, at)
    appended = store_bars(opened_home, checked)
    return collected(checked, appended)
