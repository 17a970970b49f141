"""Settled predictions as the books hold them, read from the ledger."""

from datetime import datetime

import pandas as pd

from steelyard.evaluation.positions import LEAD, take_positions
from steelyard.home import Home


def held_predictions(home: Home, since: datetime, until: datetime) -> pd.DataFrame:
    """Return the predictions settled in (since, until] with what each book made of them.

    Args:
        home: Opened home; its ``books`` and ``risk`` settings size and limit the positions.
        since: Start (UTC), exclusive.
        until: End (UTC), inclusive.

    Returns:
        Columns of the ledger's ``settled_predictions`` and of ``positions.take_positions``, ordered
        by ``settled_at``.
    """
    settled = home.ledger.settled_predictions(since - LEAD, until)
    held = take_positions(settled, home.settings.books, home.settings.risk)
    return held[(held["settled_at"] > since).to_numpy(dtype=bool)].reset_index(drop=True)
