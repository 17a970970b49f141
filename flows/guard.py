"""Guard: the daily look at the limits; having looked, it renews the lease."""

from datetime import datetime
from typing import Any

from prefect import flow

from flows.moment import moment, opened
from tasks.records import decision_record, state_record
from tasks.weight import current_state, guard_weight


@flow(name="guard")
def guard(as_of: datetime | None = None, home: str = ".", conf: str | None = None) -> dict[str, Any]:
    """Cut or disable where a limit is breached at ``as_of``; renew the lease either way."""
    stores, at = opened(home, conf), moment(as_of)
    entry = guard_weight(stores, at)
    state = current_state(stores, at)
    return {"decision": decision_record(entry) if entry else None, "state": state_record(state)}
