"""Counting of what was tried: every trial of a search, and every new setting."""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from steelyard.home import Home


def count_search(
    home: Home, key: str, as_of: datetime, params: Mapping[str, Any], trials: int
) -> None:
    """Count the trials of a training, and its settings if they are new.

    Args:
        home: Opened home.
        key: Key of the training; counting it twice changes nothing.
        as_of: Time of the training (UTC).
        params: Settings of the training; the ``reason`` is no setting.
        trials: Number of trials.
    """
    lineage = home.settings.services.lineage
    home.ledger.record_trial_count(f"{lineage}/search/{key}", as_of, "search", trials)
    settings = {
        name: getattr(home.settings, name).model_dump(mode="json")
        for name in ("strategy", "brackets", "books")
    }
    settings |= {name: value for name, value in params.items() if name != "reason"}
    count_settings(home, "training", settings, as_of)


def count_settings(home: Home, subject: str, settings: Mapping[str, Any], as_of: datetime) -> None:
    """Count settings as one trial the first time they are used.

    Args:
        home: Opened home.
        subject: What the settings are for (``training``, ``weight``).
        settings: JSON-serialisable values.
        as_of: Time of their use (UTC).
    """
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
    key = f"{home.settings.services.lineage}/{subject}/{digest}"
    home.ledger.record_trial_count(key, as_of, "settings", 1)
