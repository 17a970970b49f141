"""Replay: the whole loop over past bars, day by day, in a home of its own."""

from datetime import datetime
from pathlib import Path
from typing import Any

from prefect import flow

from steelyard.flows.moment import moment
from steelyard.tasks.bars import known_history, read_source, store_bars, validate_bars
from steelyard.tasks.replay import Course, claim_home, live_through, replay_document, replay_stores
from steelyard.tasks.summaries import documented


@flow(name="replay")
def replay(
    bars: str,
    start: datetime,
    end: datetime,
    strategy: str | None = None,
    trials: int | None = None,
    retrain_days: int = 7,
    evidence: str | None = None,
    home: str = ".",
    conf: str | None = None,
) -> dict[str, Any]:
    """Collect ``bars``, live through every day from ``start`` to ``end``, and return what happened."""
    course = Course(moment(start), moment(end), retrain_days)
    stores = replay_stores(bars, strategy, trials, evidence, Path(home), conf)
    with documented("replay", stores.quality):
        checked = validate_bars(stores, read_source(stores), course.end)
    asked = {"bars": bars, "strategy": strategy, "trials": trials, "retrain_days": retrain_days, "start": str(course.start)}
    claim_home(stores, **asked, **({"evidence": evidence} if evidence else {}))
    store_bars(stores, checked)
    history = known_history(stores, course.end)
    seconds = live_through(stores, history, course)
    return replay_document(stores, course, seconds)
