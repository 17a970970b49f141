"""Rollback, hold, resume: the operator's hand on the weight, with name and reason in the journal."""

from datetime import datetime
from typing import Any

from prefect import flow

from steelyard.flows.common import announce_failed_run, resolve_as_of
from steelyard.home import Home, open_home
from steelyard.queries.records import decision_records, state_record
from steelyard.settings import operator_name
from steelyard.tasks.alerts import announce
from steelyard.tasks.prefect_pages import page_of, publish
from steelyard.tasks.rollback import hold_weight, resume_weight, roll_back_weight
from steelyard.tasks.weight import current_state
from steelyard.views import markdown


@flow(name="rollback", on_failure=[announce_failed_run], on_crashed=[announce_failed_run])
def rollback(
    reason: str,
    operator: str | None = None,
    as_of: datetime | None = None,
    home: str = ".",
    conf: str | None = None,
) -> dict[str, Any]:
    """Take the weight to 0 now; the model must be retrained and requalify from shadow."""
    opened_home, at = open_home(home, conf), resolve_as_of(as_of)
    entry = roll_back_weight(opened_home, reason, operator or operator_name(), at)
    announce(opened_home, [entry])
    return _outcome(opened_home, entry, at)


@flow(name="hold", on_failure=[announce_failed_run], on_crashed=[announce_failed_run])
def hold(
    reason: str,
    operator: str | None = None,
    as_of: datetime | None = None,
    home: str = ".",
    conf: str | None = None,
) -> dict[str, Any]:
    """Freeze the weight; limits still lower it."""
    opened_home, at = open_home(home, conf), resolve_as_of(as_of)
    entry = hold_weight(opened_home, reason, operator or operator_name(), at)
    return _outcome(opened_home, entry, at)


@flow(name="resume", on_failure=[announce_failed_run], on_crashed=[announce_failed_run])
def resume(
    reason: str,
    operator: str | None = None,
    as_of: datetime | None = None,
    home: str = ".",
    conf: str | None = None,
) -> dict[str, Any]:
    """Let the weight move again."""
    opened_home, at = open_home(home, conf), resolve_as_of(as_of)
    entry = resume_weight(opened_home, reason, operator or operator_name(), at)
    return _outcome(opened_home, entry, at)


def _outcome(opened_home: Home, entry: Any, at: datetime) -> dict[str, Any]:
    made, state = (
        decision_records(opened_home, [entry]),
        state_record(current_state(opened_home, max(at, entry.decision.as_of))),
    )
    publish(entry.decision.kind, markdown.decided(made, state), page_of(made))
    return {"decision": made[0], "state": state}
