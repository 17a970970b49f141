"""Guard: the daily check of the limits, which renews the lease."""

from datetime import datetime

from steelyard.flows.common import resolve_as_of
from steelyard.flows.operation import operation
from steelyard.flows.prefect_pages import publish_decisions
from steelyard.home import open_home
from steelyard.queries.health import health_alerts, proposed_lately, silence_alerts
from steelyard.queries.records import decision_records
from steelyard.queries.state import current_state
from steelyard.tasks.alerts import announce, announce_health, announce_silences, notice_lapse
from steelyard.tasks.handover import hand_over
from steelyard.tasks.illustrations import illustrate
from steelyard.tasks.retraining import replace_model
from steelyard.tasks.weight import guard_weight
from steelyard.views.records import SingleDecision


@operation("guard")
def guard(
    as_of: datetime | None = None,
    home: str = ".",
    conf: str | None = None,
    lineage: str | None = None,
) -> SingleDecision:
    """Lower the weight if a limit is breached, renew the lease, and alert about bad health.

    Args:
        as_of: Check as of this time (ISO 8601, UTC); None for the scheduled time.
        home: Folder of all state.
        conf: Folder of the settings; None for the default.
        lineage: Name of the lineage; None for the only one.
    """
    opened_home, at = open_home(home, conf, lineage), resolve_as_of(as_of)
    notice_lapse(opened_home, opened_home.journal.state(), at)
    entry = guard_weight(opened_home, at)
    hand_over(opened_home)
    proposed = proposed_lately(opened_home, at)
    announce_silences(opened_home, silence_alerts(opened_home, at, proposed), at)
    announce_health(opened_home, health_alerts(opened_home, at, proposed), at)
    announce(opened_home, [entry])
    replace_model(opened_home, at)
    decisions = decision_records(opened_home, [entry])
    state = current_state(opened_home, at)
    publish_decisions("guard", decisions, state)
    illustrate(opened_home)
    return SingleDecision(decisions[0] if decisions else None, state)
