"""Weight: the monthly evaluation and the fortnightly gate, each once per period."""

from datetime import datetime
from typing import Any

from prefect import flow

from steelyard import summaries
from steelyard.flows.failure import failed
from steelyard.flows.moment import moment, opened
from steelyard.tasks.alerts import announce
from steelyard.tasks.bars import known_history
from steelyard.tasks.illustrations import illustrate
from steelyard.tasks.records import decision_records, state_record
from steelyard.tasks.summaries import page_of, publish
from steelyard.tasks.weight import current_state, evaluate_weight, review_gates


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
