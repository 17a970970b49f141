"""Drift: are the latest signals still of the world the champion was trained in? Asks for a training where they are not."""

from datetime import datetime
from typing import Any

from prefect import flow

from steelyard import summaries
from steelyard.flows.failure import failed
from steelyard.flows.moment import moment, opened
from steelyard.tasks.alerts import announce_drift
from steelyard.tasks.drift import ask_for_training, judge_drift
from steelyard.tasks.summaries import publish


@flow(name="drift", on_failure=[failed], on_crashed=[failed])
def drift(as_of: datetime | None = None, home: str = ".", conf: str | None = None) -> dict[str, Any] | None:
    """Judge inputs, predictions and performance once a day; None without a champion. It never trades and never decides."""
    stores, at = opened(home, conf), moment(as_of)
    found = judge_drift(stores, at)
    if found is None:
        return None
    training = ask_for_training(stores, found)
    announce_drift(stores, found, training)
    publish("drift", summaries.drifted(found), found["page"])
    return found | {"training": training}
