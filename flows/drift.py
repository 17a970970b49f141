"""Drift: are the latest signals still of the world the champion was trained in? Asks for a training where they are not."""

from datetime import datetime
from typing import Any

from prefect import flow

from steelyard.flows.common import announce_failed_run, resolve_as_of
from steelyard.home import open_home
from steelyard.tasks.alerts import announce_drift
from steelyard.tasks.drift import ask_for_training, judge_drift
from steelyard.tasks.prefect_pages import publish
from steelyard.views import markdown


@flow(name="drift", on_failure=[announce_failed_run], on_crashed=[announce_failed_run])
def drift(
    as_of: datetime | None = None, home: str = ".", conf: str | None = None
) -> dict[str, Any] | None:
    """Judge inputs, predictions and performance once a day; None without a champion. It never trades and never decides."""
    opened_home, at = open_home(home, conf), resolve_as_of(as_of)
    found = judge_drift(opened_home, at)
    if found is None:
        return None
    training = ask_for_training(opened_home, found)
    announce_drift(opened_home, found, training)
    publish("drift", markdown.drifted(found), found["page"])
    return found | {"training": training}
