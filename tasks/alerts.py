"""Steps that alert the operator; the wording of every alert is in ``steelyard/views/alerts.py``."""

from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime

from steelyard.errors import RestoreService
from steelyard.gateways.brokers import WORKING
from steelyard.gateways.quality import Checked
from steelyard.home import Home
from steelyard.monitoring.health import Figure, Silence
from steelyard.queries.records import version_record
from steelyard.queries.versions import doubted_version
from steelyard.tasks.events import emit_quarantine
from steelyard.tasks.step import step
from steelyard.views import alerts
from steelyard.views.drift import JudgedDrift
from steelyard.weight.decision import Entry
from steelyard.weight.ladder import period_end
from steelyard.weight.limits import Limits, warnings
from steelyard.weight.state import State


@step()
def announce(home: Home, entries: Iterable[Entry | None]) -> int:
    """Post alerts about decisions against the model, then deliver every open alert.

    Args:
        home: Opened home.
        entries: Journal entries; None for no decision.

    Returns:
        Number of alerts that could not be delivered.
    """
    for entry in entries:
        for alert in alerts.of_decision(entry, home.run_url(entry.run_id)) if entry else ():
            home.alerts.post(alert)
    return home.alerts.deliver()


@step()
def notice_lapse(home: Home, state: State | None, as_of: datetime) -> None:
    """Post an alert if the lease has expired, or is longer than any guard can have set it.

    Args:
        home: Opened home.
        state: State before the guard renews the lease; None before the first decision.
        as_of: Check as of this time (UTC).
    """
    if state is None:
        return
    at, lease_days = max(as_of, datetime.now(UTC)), home.settings.weight.lease_days
    moment = at if state.lease_is_too_long(at, lease_days) else as_of
    alert = alerts.lapse(state, moment, lease_days, home.run_url(state.decision_run_id))
    if alert:
        home.alerts.post(alert)


@step()
def announce_quarantine(home: Home, checked: Checked, as_of: datetime) -> None:
    """Post an alert about symbols held back and bars in quarantine, then deliver.

    Args:
        home: Opened home.
        checked: Bars after their data contract.
        as_of: Time of the collection (UTC).
    """
    alert = alerts.quarantine(home.settings.services.lineage, checked, as_of)
    if alert:
        home.alerts.post(alert)
        emit_quarantine(home, alert)
    home.alerts.deliver()


@step()
def announce_silences(home: Home, silences: Iterable[Silence], as_of: datetime) -> None:
    """Post alerts about missing records, once a day for each kind.

    Args:
        home: Opened home.
        silences: What should have been recorded and was not.
        as_of: Time of the check (UTC).
    """
    for silence in silences:
        home.alerts.post(alerts.silence(home.settings.services.lineage, silence, as_of))


@step()
def announce_health(home: Home, figures: Iterable[Figure], as_of: datetime) -> None:
    """Post alerts about health figures, once per latch period for each.

    Args:
        home: Opened home.
        figures: Figures that miss their target by more than chance explains.
        as_of: Time of the check (UTC).
    """
    period = period_end(as_of, home.settings.weight.limits.latch_days)
    for figure in figures:
        home.alerts.post(alerts.health(home.settings.services.lineage, figure, as_of, period))


@step()
def announce_drift(home: Home, judged: JudgedDrift) -> None:
    """Post an alert if drift asks for a training, then deliver.

    Args:
        home: Opened home.
        judged: The check and the training it asked for.
    """
    if judged.training:
        home.alerts.post(alerts.drift(home.settings.services.lineage, judged, judged.training))
    home.alerts.deliver()


@step()
def announce_waiting(home: Home) -> None:
    """Post an alert about a version that an operator may approve, once for each, then deliver.

    Args:
        home: Opened home.
    """
    version = doubted_version(home)
    if version:
        lineage, link = home.settings.services.lineage, home.run_url(version.run_id)
        home.alerts.post(alerts.approval(lineage, version_record(version), link))
    home.alerts.deliver()


def announce_warnings(home: Home, state: State, limits: Limits, as_of: datetime) -> None:
    """Post an alert about each breached limit that is not confirmed, once per latch period.

    Args:
        home: Opened home.
        state: State in force; without a weight there is nothing to warn about.
        limits: Limits as they stand.
        as_of: Time of the check (UTC).
    """
    if not state.weight:
        return
    policy = home.settings.weight
    period = period_end(as_of, policy.limits.latch_days)
    for name, words in warnings(limits, policy).items():
        home.alerts.post(alerts.warning(state, words, name, period, as_of))


def announce_unprotected(home: Home) -> None:
    """Post an alert about every position without stop and target, once for each; never raises."""
    with suppress(RestoreService):  # the ledger's failure stops the run by itself
        working = home.ledger.trades(WORKING)
        unprotected = working[working["unprotected_since"].notna()]
        for row in unprotected.to_dict("records"):
            home.alerts.post(alerts.unprotected(home.settings.services.lineage, row))


def announce_stale(home: Home, count: int, as_of: datetime) -> None:
    """Post an alert that a run found signals and all of them too late; not a step of its own.

    Args:
        home: Opened home.
        count: Number of signals of the run.
        as_of: Time of the run (UTC).
    """
    home.alerts.post(alerts.all_stale(home.settings.services.lineage, count, as_of))


def announce_failure(home: Home, flow: str, cause: str) -> None:
    """Post an alert about a failed flow; not a step, because there may be no run.

    Args:
        home: Opened home.
        flow: Name of the flow.
        cause: Message of the error.
    """
    alert = alerts.failure(home.settings.services.lineage, flow, cause, datetime.now(UTC))
    home.alerts.post(alert)
