"""The moment a flow speaks for: its ``as_of``, by default the scheduled time of the run."""

from datetime import UTC, datetime
from pathlib import Path

from prefect.runtime import flow_run

from steelyard.tasks.stores import Stores, open_stores


def moment(as_of: datetime | None) -> datetime:
    """Return ``as_of`` in UTC (a naive value is taken as UTC); without one the scheduled time, or now."""
    if as_of is None:
        as_of = datetime.fromisoformat(str(flow_run.scheduled_start_time))  # now, when nothing was scheduled
    return as_of.replace(tzinfo=UTC) if as_of.tzinfo is None else as_of.astimezone(UTC)


def opened(home: str, conf: str | None) -> Stores:
    """Return the stores of the home folder ``home`` under the settings in the folder ``conf``."""
    return open_stores(Path(home), Path(conf) if conf else None)
