"""Replay: the whole loop over past bars, day by day, in a home of its own."""

from datetime import datetime
from pathlib import Path
from typing import Any

from prefect import flow

from steelyard.flows.common import resolve_as_of
from steelyard.tasks.bars import read_history, read_source, store_bars, validate_bars
from steelyard.tasks.prefect_pages import documented
from steelyard.tasks.replay import (
    Schedule,
    claim_home,
    live_through,
    replay_document,
    replay_stores,
)


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
    schedule = Schedule(resolve_as_of(start), resolve_as_of(end), retrain_days)
    opened_home = replay_stores(bars, strategy, trials, evidence, Path(home), conf)
    with documented("replay", opened_home.quality):
        checked = validate_bars(opened_home, read_source(opened_home), schedule.end)
    asked = {
        "bars": bars,
        "strategy": strategy,
        "trials": trials,
        "retrain_days": retrain_days,
        "start": str(schedule.start),
    }
    claim_home(opened_home, **asked, **({"evidence": evidence} if evidence else {}))
    store_bars(opened_home, checked)
    history = read_history(opened_home, schedule.end)
    seconds = live_through(opened_home, history, schedule)
    return replay_document(opened_home, schedule, seconds)
