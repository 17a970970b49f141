"""Steps that count what was tried, and say what is left of a Sharpe ratio after so many trials."""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pandas as pd

from steelyard.evaluation.books import equity_curves
from steelyard.evaluation.sharpe import worth
from steelyard.home import Home
from steelyard.wording import worth_words


def count_search(home: Home, key: str, as_of: datetime, params: Mapping[str, Any], trials: int) -> None:
    """Count the trials of the training ``key``, and its settings where nobody used them before."""
    home.ledger.record_tried(f"{_lineage(home)}/search/{key}", as_of, "search", trials)
    settings = {name: getattr(home.settings, name).model_dump(mode="json") for name in ("strategy", "brackets", "books")}
    asked = {name: value for name, value in params.items() if name != "reason"}
    count_settings(home, "training", settings | asked, as_of)


def count_settings(home: Home, subject: str, settings: Mapping[str, Any], as_of: datetime) -> None:
    """Count ``settings`` as one trial, the first time they are used: going back to them is no new one."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
    home.ledger.record_tried(f"{_lineage(home)}/{subject}/{digest}", as_of, "settings", 1)


def trials_so_far(home: Home, as_of: datetime) -> int:
    """Return how many trials and settings the lineage has used up by ``as_of``."""
    return sum(home.ledger.tried(_lineage(home), as_of).values())


def life_worth(home: Home, settled: pd.DataFrame, end: datetime) -> dict[str, Any] | None:
    """Return what the books are worth after all trials, from the first settled opinion to ``end``; None before it."""
    judged = settled["p_win"].notna().to_numpy(dtype=bool)
    if not judged.any():
        return None
    since = settled["decided_at"][judged].min()
    lived = settled[(settled["decided_at"] >= since).to_numpy(dtype=bool)]
    equity = equity_curves(lived, since.to_pydatetime(), end, home.settings.books)
    found = worth(equity, trials_so_far(home, end))
    tried = home.ledger.tried(_lineage(home), end)
    return {"since": since.isoformat(), "tried": tried, **found, "words": worth_words(found)}


def _lineage(home: Home) -> str:
    return home.settings.services.lineage
