"""Steps from a source to validated bars in the lake, and from the lake to the known history."""

from datetime import UTC, datetime
from typing import Any

import pandas as pd

from steelyard.gateways.lake import Appended
from steelyard.gateways.quality import Checked
from steelyard.gateways.sources import RawBars, read
from steelyard.home import Home
from steelyard.queries.history import known_history
from steelyard.tasks.step import step


@step(retries=2, retry_delay_seconds=5)
def read_source(home: Home) -> RawBars:
    """Read the configured source as it is; nothing is filled or dropped."""
    return read(home.settings.source)


@step()
def validate_bars(home: Home, raw: RawBars, as_of: datetime) -> Checked:
    """Hold the bars against their contract; bad rows are quarantined, a broken table rule stops the run."""
    return home.quality.check_bars(raw, pd.Timestamp(as_of), now=pd.Timestamp(datetime.now(UTC)))


@step(retries=2, retry_delay_seconds=5)
def store_bars(home: Home, checked: Checked) -> Appended:
    """Append the good bars to the lake; what is there already stays as it is."""
    return home.lake.append(checked.good, checked.bar_size)


@step()
def read_history(home: Home, as_of: datetime) -> pd.DataFrame:
    """Read every signal with its features and its outcome, as far as they were known at ``as_of``."""
    return known_history(home, as_of)


def collected(checked: Checked, appended: Appended) -> dict[str, Any]:
    """Return what a collection did, for people and machines."""
    return {
        "added": appended.added,
        "already_there": appended.already_there,
        "conflicting": appended.conflicting,
        "quarantined": len(checked.quarantined),
        "held_back": list(checked.held_back),
        "findings": list(checked.findings),
        "docs": str(checked.docs),
    }
