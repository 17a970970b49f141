"""Settle: opinions on the signals since the last run, and the outcomes of brackets that have ended."""

from datetime import datetime
from typing import Any

from prefect import flow

from steelyard.flows.common import announce_failed_run, resolve_as_of
from steelyard.home import open_home
from steelyard.tasks.alerts import announce
from steelyard.tasks.bars import read_history
from steelyard.tasks.predictions import record_opinions, record_outcomes, watch_streak
from steelyard.tasks.weight import current_state


@flow(name="settle", on_failure=[announce_failed_run], on_crashed=[announce_failed_run])
def settle(
    as_of: datetime | None = None, home: str = ".", conf: str | None = None
) -> dict[str, Any]:
    """Record the champion's opinion on every signal decided by ``as_of``, and every outcome known by then."""
    opened_home, at = open_home(home, conf), resolve_as_of(as_of)
    known = read_history(opened_home, at)
    predictions = record_opinions(opened_home, known, current_state(opened_home, at))
    outcomes = record_outcomes(opened_home, known)
    announce(opened_home, [watch_streak(opened_home, at)])
    return {"as_of": at.isoformat(), "predictions": predictions, "outcomes": outcomes}
