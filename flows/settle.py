"""Settle: opinions on the signals since the last run, and the outcomes of brackets that have ended."""

from datetime import datetime
from typing import Any

from prefect import flow

from steelyard.flows.failure import failed
from steelyard.flows.moment import moment, opened
from steelyard.tasks.alerts import announce
from steelyard.tasks.bars import known_history
from steelyard.tasks.predictions import record_opinions, record_outcomes, watch_streak
from steelyard.tasks.weight import current_state


@flow(name="settle", on_failure=[failed], on_crashed=[failed])
def settle(as_of: datetime | None = None, home: str = ".", conf: str | None = None) -> dict[str, Any]:
    """Record the champion's opinion on every signal decided by ``as_of``, and every outcome known by then."""
    stores, at = opened(home, conf), moment(as_of)
    known = known_history(stores, at)
    predictions = record_opinions(stores, known, current_state(stores, at))
    outcomes = record_outcomes(stores, known)
    announce(stores, [watch_streak(stores, at)])
    return {"as_of": at.isoformat(), "predictions": predictions, "outcomes": outcomes}
