"""Weight: the monthly evaluation and the fortnightly gate review, each once per period."""

from datetime import datetime

from steelyard.flows.common import resolve_as_of
from steelyard.flows.operation import operation
from steelyard.flows.prefect_pages import publish_decisions
from steelyard.home import open_home
from steelyard.queries.history import count_settled
from steelyard.queries.records import decision_records
from steelyard.queries.state import current_state
from steelyard.tasks.alerts import announce
from steelyard.tasks.bars import read_history
from steelyard.tasks.handover import hand_over
from steelyard.tasks.illustrations import illustrate
from steelyard.tasks.retraining import replace_model
from steelyard.tasks.weight import evaluate_weight, review_gates
from steelyard.views.records import PeriodDecisions


@operation("weight")
def weight(
    as_of: datetime | None = None,
    home: str = ".",
    conf: str | None = None,
    lineage: str | None = None,
) -> PeriodDecisions:
    """Decide about the last periods closed by ``as_of``: limits before rewards, then the gate.

    Args:
        as_of: Evaluate as of this time (ISO 8601, UTC); None for the scheduled time.
        home: Folder of all state.
        conf: Folder of the settings; None for the default.
        lineage: Name of the lineage; None for the only one.
    """
    opened_home, at = open_home(home, conf, lineage), resolve_as_of(as_of)
    settled_signals = count_settled(read_history(opened_home, at))
    entries = [evaluate_weight(opened_home, at), review_gates(opened_home, at, settled_signals)]
    hand_over(opened_home)
    announce(opened_home, entries)
    replace_model(opened_home, at)
    decisions = decision_records(opened_home, entries)
    state = current_state(opened_home, at)
    publish_decisions("weight", decisions, state)
    illustrate(opened_home)
    return PeriodDecisions(decisions, state)
