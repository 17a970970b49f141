"""Weight: the monthly evaluation and the fortnightly gate, each once per period."""

from datetime import datetime
from typing import Any

from prefect import flow

from flows.failure import failed
from flows.moment import moment, opened
from steelyard import summaries
from tasks.alerts import announce
from tasks.bars import known_history
from tasks.illustrations import illustrate
from tasks.records import decision_records, state_record
from tasks.summaries import page_of, publish
from tasks.weight import current_state, evaluate_weight, review_gates


@flow(name="weight", on_failure=[failed], on_crashed=[failed])
def weight(as_of: datetime | None = None, home: str = ".", conf: str | None = None) -> dict[str, Any]:
    """Decide about the last whole periods that closed by ``as_of``: limits before rewards, then the gate."""
    stores, at = opened(home, conf), moment(as_of)
    settled_signals = int(known_history(stores, at)["won"].notna().sum())
    entries = [evaluate_weight(stores, at), review_gates(stores, at, settled_signals)]
    announce(stores, entries)
    made, state = decision_records(stores, entries), state_record(current_state(stores, at))
    publish("weight", summaries.decided(made, state), page_of(made))
    illustrate(stores)
    return {"decisions": made, "state": state}
