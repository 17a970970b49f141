"""How much was tried, and what is left of a Sharpe ratio after so many trials."""

from datetime import datetime
from typing import Any

import pandas as pd

from steelyard.evaluation.books import equity_curves
from steelyard.evaluation.sharpe import deflated_sharpe
from steelyard.home import Home
from steelyard.views.format import worth_words


def trials_so_far(home: Home, as_of: datetime) -> int:
    """Return how many trials and settings the lineage has used up by ``as_of``."""
    return sum(home.ledger.trial_counts(home.settings.services.lineage, as_of).values())


def life_worth(home: Home, settled: pd.DataFrame, end: datetime) -> dict[str, Any] | None:
    """Return what the books are worth after all trials, from the first settled opinion to ``end``; None before it."""
    judged = settled["p_win"].notna().to_numpy(dtype=bool)
    if not judged.any():
        return None
    since = settled["decided_at"][judged].min()
    lived = settled[(settled["decided_at"] >= since).to_numpy(dtype=bool)]
    equity = equity_curves(lived, since.to_pydatetime(), end, home.settings.books)
    found = deflated_sharpe(equity, trials_so_far(home, end))
    tried = home.ledger.trial_counts(home.settings.services.lineage, end)
    return {"since": since.isoformat(), "tried": tried, **found, "words": worth_words(found)}
