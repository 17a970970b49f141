"""Guard: the daily look at the limits; having looked, it renews the lease."""

from datetime import datetime
from typing import Any

from prefect import flow

from steelyard import summaries
from steelyard.flows.failure import failed
from steelyard.flows.moment import moment, opened
from steelyard.tasks.alerts import announce, announce_health, announce_silences, notice_lapse
from steelyard.tasks.health import alarming_figures, fell_silent
from steelyard.tasks.illustrations import illustrate
from steelyard.tasks.records import decision_records, state_record
from steelyard.tasks.summaries import page_of, publish
from steelyard.tasks.weight import current_state, guard_weight


@flow(name="guard", on_failure=[failed], on_crashed=[failed])
def guard(as_of: datetime | None = None, home: str = ".", conf: str | None = None) -> dict[str, Any]:
    """Cut or disable where a limit is breached at ``as_of``; renew the lease either way; tell what is ill or fell silent."""
    stores, at = opened(home, conf), moment(as_of)
    notice_lapse(stores, stores.journal.state(), at)
    entry = guard_weight(stores, at)
    announce_silences(stores, fell_silent(stores, at), at)
    announce_health(stores, alarming_figures(stores, at), at)
    announce(stores, [entry])
    made, state = decision_records(stores, [entry]), state_record(current_state(stores, at))
    publish("guard", summaries.decided(made, state), page_of(made))
    illustrate(stores)
    return {"decision": made[0] if made else None, "state": state}
