"""Rollback, hold, resume: the operator's hand on the weight, with name and reason in the journal."""

from datetime import datetime
from typing import Any

from prefect import flow

from steelyard import summaries
from steelyard.flows.failure import failed
from steelyard.flows.moment import moment, opened
from steelyard.settings import operator_name
from steelyard.tasks.alerts import announce
from steelyard.tasks.records import decision_records, state_record
from steelyard.tasks.rollback import hold_weight, resume_weight, roll_back_weight
from steelyard.tasks.stores import Stores
from steelyard.tasks.summaries import page_of, publish
from steelyard.tasks.weight import current_state


@flow(name="rollback", on_failure=[failed], on_crashed=[failed])
def rollback(
    reason: str, operator: str | None = None, as_of: datetime | None = None, home: str = ".", conf: str | None = None
) -> dict[str, Any]:
    """Take the weight to 0 now; the model must be retrained and requalify from shadow."""
    stores, at = opened(home, conf), moment(as_of)
    entry = roll_back_weight(stores, reason, operator or operator_name(), at)
    announce(stores, [entry])
    return _outcome(stores, entry, at)


@flow(name="hold", on_failure=[failed], on_crashed=[failed])
def hold(
    reason: str, operator: str | None = None, as_of: datetime | None = None, home: str = ".", conf: str | None = None
) -> dict[str, Any]:
    """Freeze the weight; limits still lower it."""
    stores, at = opened(home, conf), moment(as_of)
    entry = hold_weight(stores, reason, operator or operator_name(), at)
    return _outcome(stores, entry, at)


@flow(name="resume", on_failure=[failed], on_crashed=[failed])
def resume(
    reason: str, operator: str | None = None, as_of: datetime | None = None, home: str = ".", conf: str | None = None
) -> dict[str, Any]:
    """Let the weight move again."""
    stores, at = opened(home, conf), moment(as_of)
    entry = resume_weight(stores, reason, operator or operator_name(), at)
    return _outcome(stores, entry, at)


def _outcome(stores: Stores, entry: Any, at: datetime) -> dict[str, Any]:
    made, state = decision_records(stores, [entry]), state_record(current_state(stores, max(at, entry.decision.as_of)))
    publish(entry.decision.kind, summaries.decided(made, state), page_of(made))
    return {"decision": made[0], "state": state}
