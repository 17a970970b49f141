"""Weight: the monthly evaluation and the fortnightly gate, each once per period."""

from datetime import datetime
from typing import Any

from prefect import flow

from steelyard.flows.common import announce_failed_run, resolve_as_of
from steelyard.home import open_home
from steelyard.queries.records import decision_records, state_record
from steelyard.tasks.alerts import announce
from steelyard.tasks.bars import read_history
from steelyard.tasks.illustrations import illustrate
from steelyard.tasks.prefect_pages import page_of, publish
from steelyard.tasks.weight import current_state, evaluate_weight, review_gates
from steelyard.views import markdown


@flow(name="weight", on_failure=[announce_failed_run], on_crashed=[announce_failed_run])
def weight(
    as_of: datetime | None = None, home: str = ".", conf: str | None = None
) -> dict[str, Any]:
    """Decide about the last whole periods that closed by ``as_of``: limits before rewards, then the gate."""
    opened_home, at = open_home(home, conf), resolve_as_of(as_of)
    settled_signals = int(read_history(opened_home, at)["won"].notna().sum())
    entries = [evaluate_weight(opened_home, at), review_gates(opened_home, at, settled_signals)]
    announce(opened_home, entries)
    made, state = (
        decision_records(opened_home, entries),
        state_record(current_state(opened_home, at)),
    )
    publish("weight", markdown.decided(made, state), page_of(made))
    illustrate(opened_home)
    return {"decisions": made, "state": state}
