"""Collect: the source's bars, validated, into the lake."""

from datetime import datetime
from typing import Any

from prefect import flow

from steelyard.flows.failure import failed
from steelyard.flows.moment import moment, opened
from steelyard.tasks.alerts import announce_quarantine
from steelyard.tasks.bars import collected, read_source, store_bars, validate_bars
from steelyard.tasks.summaries import documented


@flow(name="collect", on_failure=[failed], on_crashed=[failed])
def collect(as_of: datetime | None = None, home: str = ".", conf: str | None = None) -> dict[str, Any]:
    """Bring every bar closed by ``as_of`` into the lake; bad rows are quarantined, bars already there stay."""
    stores, at = opened(home, conf), moment(as_of)
    raw = read_source(stores)
    with documented("collect", stores.quality):
        checked = validate_bars(stores, raw, at)
    announce_quarantine(stores, checked, at)
    appended = store_bars(stores, checked)
    return collected(checked, appended)
