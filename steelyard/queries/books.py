"""Settled predictions as the books hold them, read from the ledger."""

from collections.abc import Sequence
from datetime import datetime

import pandas as pd

from steelyard.evaluation.books import rows_where
from steelyard.evaluation.positions import COLUMNS, LEAD, take_positions
from steelyard.gateways.ledger.tables import SETTLED
from steelyard.home import Home


def held_predictions(
    home: Home, since: datetime, until: datetime, columns: Sequence[str] = SETTLED
) -> pd.DataFrame:
    """Return the predictions settled in (since, until] with what each book made of them.

    Args:
        home: Opened home; its ``books`` and ``risk`` settings size and limit the positions.
        since: Start (UTC), exclusive.
        until: End (UTC), inclusive.
        columns: Columns needed beside those of the position rules: a whole life with all of them is
            large.

    Returns:
        These columns and those of ``positions.take_positions``, ordered by ``settled_at``.
    """
    names = tuple(dict.fromkeys((*COLUMNS, *columns)))
    settled = home.ledger.settled_predictions(since - LEAD, until, names)
    held = take_positions(settled, home.settings.books, home.settings.risk)
    inside = (held["settled_at"] > since).to_numpy(dtype=bool)
    return rows_where(held, inside).reset_index(drop=True)
