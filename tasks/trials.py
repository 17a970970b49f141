"""Counts what was tried: every trial of a search, and every new setting."""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from steelyard.home import Home


def count_search(
    home: Home, key: str, as_of: datetime, params: Mapping[str, Any], trials: int
) -> None:
    """Count the trials of the training ``key``, and its settings where nobody used them before."""
    home.ledger.record_trial_count(f"{_lineage(home)}/search/{key}", as_of, "search", trials)
    settings = {
        name: getattr(home.settings, name).model_dump(mode="json")
        for name in ("strategy", "brackets", "books")
    }
    asked = {name: value for name, value in params.items() if name != "reason"}
    count_settings(home, "training", settings | asked, as_of)


def count_settings(home: Home, subject: str, settings: Mapping[str, Any], as_of: datetime) -> None:
    """Count ``settings`` as one trial, the first time they are used: going back to them is no new one."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
    home.ledger.record_trial_count(f"{_lineage(home)}/{subject}/{digest}", as_of, "settings", 1)


def _lineage(home: Home) -> str:
    return home.settings.services.lineage
