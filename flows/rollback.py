"""Rollback, hold, resume: the operator changes the weight, with name and reason in the journal."""

from datetime import datetime
from functools import partial
from pathlib import Path

from steelyard.environment import operator_name
from steelyard.flows.common import resolve_as_of
from steelyard.flows.operation import operation
from steelyard.flows.prefect_pages import publish_decisions
from steelyard.home import Home, open_home, open_shared
from steelyard.queries.records import decision_records
from steelyard.queries.state import current_state
from steelyard.settings import lineage_names
from steelyard.tasks.alerts import announce
from steelyard.tasks.handover import hand_over
from steelyard.tasks.retraining import replace_model
from steelyard.tasks.rollback import (
    attempt_rollback,
    hold_weight,
    pull_brakes,
    release_brake_of_all,
    resume_weight,
    roll_back_weight,
)
from steelyard.views.records import Rollback, RollbackOfAll, SingleDecision
from steelyard.weight.decision import Entry


@operation("rollback")
def rollback(
    reason: str,
    operator: str | None = None,
    as_of: datetime | None = None,
    accept_loss: bool = False,
    home: str = ".",
    conf: str | None = None,
    lineage: str | None = None,
) -> Rollback:
    """Set the weight to 0 now, by every way; the model must be retrained and requalify.

    Args:
        reason: Why, in the operator's words.
        operator: Name of the operator; None for the user of this machine.
        as_of: Time of the rollback (ISO 8601, UTC); None for the scheduled time.
        accept_loss: Accept decisions and settled rows that are lost, after an older backup was put
            back.
        home: Folder of all state.
        conf: Folder of the settings; None for the default.
        lineage: Name of the lineage; None for the only one.
    """
    opened_home, at = open_home(home, conf, lineage), resolve_as_of(as_of)
    by = operator or operator_name()
    rolled_back = roll_back_weight(opened_home, reason, by, at, accept_loss=accept_loss)
    published = _tell_and_retrain(opened_home, rolled_back.entry, at)
    return Rollback(published.decision, published.state, rolled_back.ways)


@operation("rollback-all")
def rollback_all(
    reason: str,
    operator: str | None = None,
    as_of: datetime | None = None,
    home: str = ".",
    conf: str | None = None,
) -> RollbackOfAll:
    """Set the weight of every lineage to 0 now: all brakes first, then each decision.

    One that cannot be reached keeps none of the others from being braked and rolled back.

    Args:
        reason: Why, in the operator's words.
        operator: Name of the operator; None for the user of this machine.
        as_of: Time of the rollback (ISO 8601, UTC); None for the scheduled time.
        home: Folder of all state.
        conf: Folder of the settings; None for the default.
    """
    shared, at, by = open_shared(home, conf), resolve_as_of(as_of), operator or operator_name()
    names = lineage_names(Path(conf) if conf else None)
    ways = pull_brakes(shared, names, by, reason)

    def roll_back(lineage: str | None) -> Entry:
        opened_home = open_home(home, conf, lineage)
        entry = roll_back_weight(opened_home, reason, by, at).entry
        _tell_and_retrain(opened_home, entry, at)
        return entry

    alone = (shared.settings.services.lineage,)
    results = tuple(attempt_rollback(name, partial(roll_back, name)) for name in names or alone)
    release_brake_of_all(shared, ways)
    return RollbackOfAll(ways, results)


def _tell_and_retrain(opened_home: Home, entry: Entry, at: datetime) -> SingleDecision:
    announce(opened_home, [entry])
    published = _publish_entry(opened_home, entry, at)
    replace_model(opened_home, at)
    return published


@operation("hold")
def hold(
    reason: str,
    operator: str | None = None,
    as_of: datetime | None = None,
    home: str = ".",
    conf: str | None = None,
    lineage: str | None = None,
) -> SingleDecision:
    """Hold the weight; a breached limit still lowers it.

    Args:
        reason: Why, in the operator's words.
        operator: Name of the operator; None for the user of this machine.
        as_of: Time of the hold (ISO 8601, UTC); None for the scheduled time.
        home: Folder of all state.
        conf: Folder of the settings; None for the default.
        lineage: Name of the lineage; None for the only one.
    """
    opened_home, at = open_home(home, conf, lineage), resolve_as_of(as_of)
    entry = hold_weight(opened_home, reason, operator or operator_name(), at)
    return _publish_entry(opened_home, entry, at)


@operation("resume")
def resume(
    reason: str,
    operator: str | None = None,
    as_of: datetime | None = None,
    home: str = ".",
    conf: str | None = None,
    lineage: str | None = None,
) -> SingleDecision:
    """Let the weight move again after a hold.

    Args:
        reason: Why, in the operator's words.
        operator: Name of the operator; None for the user of this machine.
        as_of: Time of the resume (ISO 8601, UTC); None for the scheduled time.
        home: Folder of all state.
        conf: Folder of the settings; None for the default.
        lineage: Name of the lineage; None for the only one.
    """
    opened_home, at = open_home(home, conf, lineage), resolve_as_of(as_of)
    entry = resume_weight(opened_home, reason, operator or operator_name(), at)
    return _publish_entry(opened_home, entry, at)


def _publish_entry(opened_home: Home, entry: Entry, at: datetime) -> SingleDecision:
    hand_over(opened_home)
    decisions = decision_records(opened_home, [entry])
    state = current_state(opened_home, max(at, entry.decision.as_of))
    publish_decisions(entry.decision.kind, decisions, state)
    return SingleDecision(decisions[0], state)
