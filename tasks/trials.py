"""Steps that count what was tried, and say what is left of a Sharpe ratio after so many trials."""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pandas as pd

from steelyard.judging.books import equity_curves
from steelyard.judging.sharpe import worth
from steelyard.tasks.stores import Stores
from steelyard.wording import worth_words


def count_search(stores: Stores, key: str, as_of: datetime, params: Mapping[str, Any], trials: int) -> None:
    """Count the trials of the training ``key``, and its settings where nobody used them before."""
    stores.ledger.record_tried(f"{_lineage(stores)}/search/{key}", as_of, "search", trials)
    settings = {name: getattr(stores.settings, name).model_dump(mode="json") for name in ("strategy", "brackets", "books")}
    asked = {name: value for name, value in params.items() if name != "reason"}
    count_settings(stores, "training", settings | asked, as_of)


def count_settings(stores: Stores, subject: str, settings: Mapping[str, Any], as_of: datetime) -> None:
    """Count ``settings`` as one trial, the first time they are used: going back to them is no new one."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
    stores.ledger.record_tried(f"{_lineage(stores)}/{subject}/{digest}", as_of, "settings", 1)


def trials_so_far(stores: Stores, as_of: datetime) -> int:
    """Return how many trials and settings the lineage has used up by ``as_of``."""
    return sum(stores.ledger.tried(_lineage(stores), as_of).values())


def life_worth(stores: Stores, settled: pd.DataFrame, end: datetime) -> dict[str, Any] | None:
    """Return what the books are worth after all trials, from the first settled opinion to ``end``; None before it."""
    judged = settled["p_win"].notna().to_numpy(dtype=bool)
    if not judged.any():
        return None
    since = settled["decided_at"][judged].min()
    lived = settled[(settled["decided_at"] >= since).to_numpy(dtype=bool)]
    equity = equity_curves(lived, since.to_pydatetime(), end, stores.settings.books)
    found = worth(equity, trials_so_far(stores, end))
    tried = stores.ledger.tried(_lineage(stores), end)
    return {"since": since.isoformat(), "tried": tried, **found, "words": worth_words(found)}


def _lineage(stores: Stores) -> str:
    return stores.settings.services.lineage
