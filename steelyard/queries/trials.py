"""The number of trials, and Sharpe ratios deflated by it."""

from datetime import datetime

import pandas as pd

from steelyard.evaluation.books import equity_curves
from steelyard.evaluation.sharpe import deflated_sharpe
from steelyard.home import Home
from steelyard.views.worth import LifetimeWorth


def trials_so_far(home: Home, as_of: datetime) -> int:
    """Return the number of trials and settings the lineage has used.

    Args:
        home: Opened home.
        as_of: Count what was used by this time (UTC).
    """
    return sum(home.ledger.trial_counts(as_of).values())


def life_worth(home: Home, held: pd.DataFrame, end: datetime) -> LifetimeWorth | None:
    """Return what the books are worth after all trials, since the first settled prediction.

    Args:
        home: Opened home.
        held: Settled predictions of the lineage's life, one row each, from ``held_predictions``.
        end: End of the books (UTC).

    Returns:
        Deflated Sharpe ratios; None before the first settled prediction.
    """
    predicted = held["p_win"].notna().to_numpy(dtype=bool)
    if not predicted.any():
        return None
    since = held["decided_at"][predicted].min()
    life = held[(held["decided_at"] >= since).to_numpy(dtype=bool)]
    equity = equity_curves(life, since.to_pydatetime(), end)
    tried = home.ledger.trial_counts(end)
    return LifetimeWorth(
        since.to_pydatetime(), tried, deflated_sharpe(equity, trials_so_far(home, end))
    )
