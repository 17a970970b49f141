"""Events on the bus of Prefect, for its automations; only runs that operate a home send them.

An alert is the channel that must not fail; an event is a convenience and never an error.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from steelyard.gateways.alerts import Alert
from steelyard.gateways.registry import Version
from steelyard.home import Home
from steelyard.weight.decision import Decision, Entry

_CHANGES = {"CUT": "weight.cut", "DISABLE": "weight.disabled"}
_sending = ContextVar("sending", default=False)


@contextmanager
def events_sent() -> Iterator[None]:
    """Send the events of the run inside; without this, as in a replay, none is sent."""
    token = _sending.set(True)
    try:
        yield
    finally:
        _sending.reset(token)


def emit_decision(home: Home, entry: Entry) -> None:
    """Send the event of a decision that was just made; one that changed nothing has none.

    Args:
        home: Opened home.
        entry: Its journal entry.
    """
    decision, name = entry.decision, _name(entry.decision)
    if name is not None:
        emit(
            home,
            name,
            kind=decision.kind,
            verdict=decision.verdict,
            phase=decision.after.phase,
            weight_before=decision.before.weight,
            weight_after=decision.after.weight,
            champion=decision.after.champion,
            as_of=decision.as_of.isoformat(),
            reasons=list(decision.reasons),
            page=home.run_url(entry.run_id),
        )


def _name(decision: Decision) -> str | None:
    if decision.kind == "promotion":
        return "model.promoted"
    if decision.after.weight > decision.before.weight:
        return "weight.raised"
    return _CHANGES.get(decision.verdict)


def emit_refusal(home: Home, version: Version) -> None:
    """Send the event of a version that was just refused.

    Args:
        home: Opened home.
        version: The version, with the reasons.
    """
    emit(home, "model.refused", version=version.number, reasons=list(version.reasons))


def emit_quarantine(home: Home, alert: Alert) -> None:
    """Send the event of bars or rows that were put into quarantine.

    Args:
        home: Opened home.
        alert: The alert about them.
    """
    emit(home, "data.quarantined", title=alert.title, findings=alert.figure, page=alert.link)


def emit(home: Home, name: str, **payload: Any) -> None:
    """Send an event about the lineage, ``steelyard.NAME``.

    Args:
        home: Opened home.
        name: Name of the event, such as ``weight.cut``.
        **payload: Its figures, plain JSON values.
    """
    if not _sending.get():
        return
    from prefect.events import emit_event  # commands that read import this module, too

    lineage = home.settings.services.lineage
    resource = {
        "prefect.resource.id": f"steelyard.lineage.{lineage}",
        "prefect.resource.name": lineage,
    }
    emit_event(f"steelyard.{name}", resource, payload={"home": str(home.folder), **payload})
