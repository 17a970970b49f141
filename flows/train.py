"""Train: settled signals to a registered challenger, the challenger against the champion."""

from datetime import datetime

from steelyard.environment import operator_name
from steelyard.flows.common import resolve_as_of
from steelyard.flows.operation import operation
from steelyard.flows.prefect_pages import documented, progress, publish
from steelyard.gateways.registry import Version
from steelyard.home import Home, open_home
from steelyard.learning.policy import Retraining
from steelyard.queries.records import version_record
from steelyard.queries.versions import waiting_challenger
from steelyard.tasks.alerts import announce_waiting
from steelyard.tasks.approval import approve_version
from steelyard.tasks.bars import read_history
from steelyard.tasks.handover import hand_over
from steelyard.tasks.illustrations import illustrate
from steelyard.tasks.training import (
    AS_CONFIGURED,
    compare_with_champion,
    settled_samples,
    trained_version,
)
from steelyard.views import markdown
from steelyard.views.records import VersionRecord


@operation("train")
def train(
    request: Retraining = AS_CONFIGURED,
    as_of: datetime | None = None,
    home: str = ".",
    conf: str | None = None,
    lineage: str | None = None,
) -> VersionRecord:
    """Train on what had settled by ``as_of``; the same data and settings return the same version.

    Args:
        request: How this training differs from the configured one, and why.
        as_of: Train as of this time (ISO 8601, UTC); None for the scheduled time.
        home: Folder of all state.
        conf: Folder of the settings; None for the default.
        lineage: Name of the lineage; None for the only one.
    """
    opened_home, at = open_home(home, conf, lineage), resolve_as_of(as_of)
    history = read_history(opened_home, at)
    with documented("train", opened_home.quality):
        samples = settled_samples(opened_home, history)
        chosen = (
            settled_samples(opened_home, history, request.symbols) if request.symbols else samples
        )
    with progress("train"):
        trained = trained_version(opened_home, history, chosen, at, request, in_full=True)
    compared = compare_with_champion(opened_home, samples, trained, at)
    return _publish_version(opened_home, compared, "train")


@operation("compare")
def compare(
    as_of: datetime | None = None,
    home: str = ".",
    conf: str | None = None,
    lineage: str | None = None,
) -> VersionRecord:
    """Compare the waiting challenger with the champion on what had settled by ``as_of``.

    Args:
        as_of: Compare as of this time (ISO 8601, UTC); None for the scheduled time.
        home: Folder of all state.
        conf: Folder of the settings; None for the default.
        lineage: Name of the lineage; None for the only one.
    """
    opened_home, at = open_home(home, conf, lineage), resolve_as_of(as_of)
    with documented("compare", opened_home.quality):
        samples = settled_samples(opened_home, read_history(opened_home, at))
    challenger = waiting_challenger(opened_home)
    compared = compare_with_champion(opened_home, samples, challenger, at)
    return _publish_version(opened_home, compared, "compare")


@operation("approve")
def approve(
    version: str,
    reason: str,
    operator: str | None = None,
    as_of: datetime | None = None,
    home: str = ".",
    conf: str | None = None,
    lineage: str | None = None,
) -> VersionRecord:
    """Approve a version that is too good to be true, and compare it as any other.

    Args:
        version: Number of the version.
        reason: Why it is right, in the operator's words.
        operator: Name of the operator; None for the user of this machine.
        as_of: Time of the approval (ISO 8601, UTC); None for the scheduled time.
        home: Folder of all state.
        conf: Folder of the settings; None for the default.
        lineage: Name of the lineage; None for the only one.
    """
    opened_home, at = open_home(home, conf, lineage), resolve_as_of(as_of)
    approved = approve_version(opened_home, version, reason, operator or operator_name(), at)
    with documented("approve", opened_home.quality):
        samples = settled_samples(opened_home, read_history(opened_home, at))
    compared = compare_with_champion(opened_home, samples, approved, at)
    return _publish_version(opened_home, compared, "approve")


def _publish_version(opened_home: Home, version: Version, flow_name: str) -> VersionRecord:
    hand_over(opened_home)
    announce_waiting(opened_home)
    record, pages = version_record(version), opened_home.training_urls(version)
    publish(flow_name, markdown.training_summary(record, pages), next(iter(pages.values())))
    illustrate(opened_home)
    return record
