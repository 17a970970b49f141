"""Drift: compare the market with the champion's training data; start a training if needed."""

from dataclasses import replace
from datetime import datetime

from steelyard.flows.common import resolve_as_of
from steelyard.flows.operation import operation
from steelyard.flows.prefect_pages import publish
from steelyard.home import open_home
from steelyard.tasks.alerts import announce_drift
from steelyard.tasks.drift import ask_for_training, judge_drift
from steelyard.views import markdown
from steelyard.views.drift import JudgedDrift


@operation("drift")
def drift(
    as_of: datetime | None = None,
    home: str = ".",
    conf: str | None = None,
    lineage: str | None = None,
) -> JudgedDrift | None:
    """Check inputs, predictions and performance once a day; never trade, never change the weight.

    Args:
        as_of: Check as of this time (ISO 8601, UTC); None for the scheduled time.
        home: Folder of all state.
        conf: Folder of the settings; None for the default.
        lineage: Name of the lineage; None for the only one.

    Returns:
        The check and what followed from it; None without a champion.
    """
    opened_home, at = open_home(home, conf, lineage), resolve_as_of(as_of)
    judged = judge_drift(opened_home, at)
    if judged is None:
        return None
    judged = replace(judged, training=ask_for_training(opened_home, judged))
    announce_drift(opened_home, judged)
    publish("drift", markdown.drift_summary(judged), judged.page)
    return judged
