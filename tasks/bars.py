"""Steps from a source to validated bars in the lake, and from the lake to the known history."""

from datetime import UTC, datetime

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
    """Check the bars against their data contract; bad rows go to quarantine.

    Args:
        home: Opened home.
        raw: Bars as the source gave them.
        as_of: Only bars closed by this time (UTC) are kept.

    Raises:
        FixData: If a rule about the whole table is broken, too many rows are bad, or every symbol
            is held back.
    """
    return home.quality.check_bars(raw, pd.Timestamp(as_of), now=pd.Timestamp(datetime.now(UTC)))


@step(retries=2, retry_delay_seconds=5)
def store_bars(home: Home, checked: Checked) -> Appended:
    """Append the good bars to the lake; bars already stored stay as they are.

    Args:
        home: Opened home.
        checked: Bars after their data contract.
    """
    return home.lake.append(checked.good, checked.bar_size, checked.known_after)


@step()
def read_history(home: Home, as_of: datetime) -> pd.DataFrame:
    """Return every signal with features and outcome, as far as known at ``as_of``.

    Args:
        home: Opened home.
        as_of: Time of the knowledge (UTC).

    Raises:
        CollectMoreData: If there are no bars yet.
    """
    return known_history(home, as_of)
