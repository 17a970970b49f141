"""Guard: the daily look at the limits; having looked, it renews the lease."""

from datetime import datetime
from typing import Any

from prefect import flow

from steelyard.flows.common import announce_failed_run, resolve_as_of
from steelyard.home import open_home
from steelyard.queries.records import decision_records, state_record
from steelyard.tasks.alerts import announce, announce_health, announce_silences, notice_lapse
from steelyard.tasks.health import health_alerts, silence_alerts
from steelyard.tasks.illustrations import illustrate
from steelyard.tasks.prefect_pages import page_of, publish
from steelyard.tasks.weight import current_state, guard_weight
from steelyard.views import markdown


@flow(name="guard", on_failure=[announce_failed_run], on_crashed=[announce_failed_run])
def guard(
    as_of: datetime | None = None, home: str = ".", conf: str | None = None
) -> dict[str, Any]:
    """Cut or disable where a limit is breached at ``as_of``; renew the lease either way; tell what is ill or fell silent."""
    opened_home, at = open_home(home, conf), resolve_as_of(as_of)
    notice_lapse(opened_home, opened_home.journal.state(), at)
    entry = guard_weight(opened_home, at)
    announce_silences(opened_home, silence_alerts(opened_home, at), at)
    announce_health(opened_home, health_alerts(opened_home, at), at)
    announce(opened_home, [entry])
    made, state = (
        decision_records(opened_home, [entry]),
        state_record(current_state(opened_home, at)),
    )
    publish("guard", markdown.decided(made, state), page_of(made))
    illustrate(opened_home)
    return {"decision": made[0] if made else None, "state": state}
