"""Collect: the source's bars, validated, into the lake."""

from datetime import datetime
from typing import Any

from prefect import flow

from flows.moment import moment, opened
from tasks.bars import collected, read_source, store_bars, validate_bars


@flow(name="collect")
def collect(as_of: datetime | None = None, home: str = ".", conf: str | None = None) -> dict[str, Any]:
    """Bring every bar closed by ``as_of`` into the lake; bad rows are quarantined, bars already there stay."""
    stores = opened(home, conf)
    raw = read_source(stores)
    checked = validate_bars(stores, raw, moment(as_of))
    appended = store_bars(stores, checked)
    return collected(checked, appended)
