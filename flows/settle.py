"""Settle: predictions on new signals, outcomes of signals that have ended."""

from datetime import datetime

from steelyard.flows.common import resolve_as_of
from steelyard.flows.operation import MINUTE, operation
from steelyard.home import open_home
from steelyard.tasks.alerts import announce
from steelyard.tasks.answers import write_answers
from steelyard.tasks.bars import read_history
from steelyard.tasks.predictions import (
    note_coverage,
    record_opinions,
    record_outcomes,
    require_one_system,
    watch_streak,
)
from steelyard.tasks.retraining import replace_model
from steelyard.tasks.weight import ensure_lineage
from steelyard.views.runs import Settlement


@operation("settle", per=MINUTE)
def settle(
    as_of: datetime | None = None,
    home: str = ".",
    conf: str | None = None,
    lineage: str | None = None,
) -> Settlement:
    """Record a prediction for every signal decided, and every outcome known, by ``as_of``.

    Args:
        as_of: Settle as of this time (ISO 8601, UTC); None for the scheduled time.
        home: Folder of all state.
        conf: Folder of the settings; None for the default.
        lineage: Name of the lineage; None for the only one.
    """
    opened_home, at = open_home(home, conf, lineage), resolve_as_of(as_of)
    history = read_history(opened_home, at)
    state = ensure_lineage(opened_home, at)
    require_one_system(opened_home, history, state, at)
    predictions = record_opinions(opened_home, history, state)
    outcomes = record_outcomes(opened_home, history)
    note_coverage(opened_home, history, at)
    write_answers(opened_home, at)
    announce(opened_home, [watch_streak(opened_home, at)])
    replace_model(opened_home, at)
    return Settlement(at, predictions, outcomes)
