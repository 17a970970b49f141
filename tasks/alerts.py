"""Steps that tell the operator; what is told, and in which words, is in ``steelyard/views/alerts.py``."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from steelyard.gateways.quality import Checked
from steelyard.home import Home
from steelyard.monitoring.health import Figure, Silence
from steelyard.tasks.step import step
from steelyard.views import alerts
from steelyard.weight.decision import Entry
from steelyard.weight.ladder import period_end
from steelyard.weight.state import State


@step()
def announce(home: Home, entries: Iterable[Entry | None]) -> int:
    """Tell what was decided against the model, and try what is still undelivered; returns how many alerts stay open."""
    for entry in entries:
        for alert in alerts.of_decision(entry, home.page(entry.run_id)) if entry else ():
            home.alerts.post(alert)
    return home.alerts.deliver()


@step()
def notice_lapse(home: Home, state: State | None, as_of: datetime) -> None:
    """Tell that the weight was out of force because nobody renewed the lease."""
    alert = alerts.lapse(state, as_of, home.page(state.decision_run_id)) if state else None
    if alert:
        home.alerts.post(alert)


@step()
def announce_quarantine(home: Home, checked: Checked, as_of: datetime) -> None:
    """Tell which symbols are held back, and that bars went to quarantine."""
    alert = alerts.quarantine(home.settings.services.lineage, checked, as_of)
    if alert:
        home.alerts.post(alert)
    home.alerts.deliver()


@step()
def announce_silences(home: Home, found: Iterable[Silence], as_of: datetime) -> None:
    """Tell what fell silent, once a day for each kind."""
    for silence in found:
        home.alerts.post(alerts.silence(home.settings.services.lineage, silence, as_of))


@step()
def announce_health(home: Home, found: Iterable[Figure], as_of: datetime) -> None:
    """Tell which figures miss their target for certain, once in a latch period for each."""
    period = period_end(as_of, home.settings.weight.limits.latch_days)
    for figure in found:
        home.alerts.post(alerts.health(home.settings.services.lineage, figure, as_of, period))


@step()
def announce_drift(home: Home, found: dict[str, Any], training: str | None) -> None:
    """Tell that drift asks for a training, and what was done about it."""
    if training:
        home.alerts.post(alerts.drift(home.settings.services.lineage, found, training))
    home.alerts.deliver()


def announce_failure(home: Home, flow: str, words: str) -> None:
    """Tell that a flow failed. Not a step: there may be no run to take one in."""
    home.alerts.post(alerts.failure(home.settings.services.lineage, flow, words, datetime.now(UTC)))
