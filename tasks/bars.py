"""Steps from a source to validated bars in the lake, and from the lake to the known history."""

import math
from contextlib import suppress
from datetime import UTC, datetime

import pandas as pd

from steelyard.errors import CollectMoreData
from steelyard.gateways.lake import Appended
from steelyard.gateways.quality import Checked
from steelyard.gateways.sources import RawBars, read
from steelyard.gateways.venues import Stretch, read_venue
from steelyard.home import Home, open_source
from steelyard.queries.history import known_history
from steelyard.tasks.step import step

OVERLAP_BARS = 50
"""Bars of a symbol that a venue is asked for again.

They show revised bars, holes after the last bar and a history on another scale, and keep one bad
bar within the share of the data contract.
"""
PART_BARS = 500_000
"""Bars that are read and stored together, unless one symbol has more."""


def stretches(home: Home, as_of: datetime) -> list[Stretch | None]:
    """Return what a venue is asked for, in parts; None for any other source, which is read whole.

    A symbol begins ``OVERLAP_BARS`` before the end of what the lake has, a new one with ``since``.
    Each part is stored before the next one is asked, so that a break loses one part at most.

    Args:
        home: Opened home.
        as_of: Time of the collection (UTC).
    """
    source, until = home.settings.source, pd.Timestamp(as_of)
    if not source.is_venue:
        return [None]
    stored = home.lake.opens(OVERLAP_BARS, source.symbols, until)
    size = pd.Timedelta(source.bar_size)
    parts: list[dict[str, pd.Timestamp]] = []
    bars_in_part = math.inf
    for symbol in source.symbols:
        first = stored.get(symbol, source.first_open)
        expected = (until - first) / size
        if bars_in_part + expected > PART_BARS:
            parts.append({})
            bars_in_part = 0.0
        parts[-1][symbol] = first
        bars_in_part += expected
    return [Stretch(part, until) for part in parts]


@step(retries=2, retry_delay_seconds=5)
def read_source(home: Home, stretch: Stretch | None = None) -> RawBars:
    """Read the configured source as it is; nothing is filled or dropped.

    Args:
        home: Opened home.
        stretch: What a venue is asked for; None for any other source.
    """
    source = home.settings.source
    if stretch is None:
        return read(source)
    return read_venue(open_source(source), source, stretch)


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
    known_after = checked.known_after
    if home.settings.source.is_venue:  # a stretch does not tell of closes that were later before
        with suppress(CollectMoreData):
            known_after = max(known_after, home.lake.known_after)
    return home.lake.append(checked.good, checked.bar_size, known_after)


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
