"""Steps that tell the operator: what happened, the figure and its bound, what to do, and where to look."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from steelyard.gateways.alerts import Alert
from steelyard.gateways.quality import Checked
from steelyard.weight.journal import Decision, Entry
from steelyard.weight.policy import PHASES
from steelyard.weight.state import State
from tasks.step import step
from tasks.stores import Stores

ADVICE = {
    "rollback": "Retrain (steelyard train); the next champion must pass the first gate. The run has the incident report.",
    "disable": "The champion must be retrained and requalify from shadow; look at the run for what went wrong.",
    "demotion": "Nothing has to be done; look at the run if it comes as a surprise. steelyard rollback takes the rest.",
    "cut": "Nothing has to be done; look at the run if it comes as a surprise. steelyard rollback takes the rest.",
    "sample ratio": "Look for signals that get no prediction or no outcome in one arm; the pilot's gate stays shut.",
    "lease": "Look why the daily guard did not run; it renews the lease once it does.",
}


@step()
def announce(stores: Stores, entries: Iterable[Entry | None]) -> int:
    """Tell what was decided against the model, and try what is still undelivered; returns how many alerts stay open."""
    for entry in entries:
        for kind in kinds(entry.decision) if entry else ():
            stores.alerts.post(_alert(stores, entry, kind))  # type: ignore[arg-type]  # there are no kinds without an entry
    return stores.alerts.deliver()


def kinds(made: Decision) -> list[str]:
    """Return what about a decision an operator must be told, most important first."""
    found = []
    if made.kind == "rollback":
        found = ["rollback"]
    elif made.verdict == "DISABLE":
        found = ["disable"]
    elif PHASES.index(made.after.phase) < PHASES.index(made.before.phase):
        found = ["demotion"]
    elif made.after.weight < made.before.weight:
        found = ["cut"]
    if any(rule.name == "sample_ratio" and not rule.fired for rule in made.rules):
        found.append("sample ratio")
    return found


def _alert(stores: Stores, entry: Entry, kind: str) -> Alert:
    made = entry.decision
    moved = f"{made.before.weight:.1%} → {made.after.weight:.1%}, {made.before.phase} → {made.after.phase}"
    words = "the split of the pilot's arms is off" if kind == "sample ratio" else f"weight {moved}"
    figures = [rule.reason for rule in made.rules if rule.name == "sample_ratio"] if kind == "sample ratio" else made.reasons
    return Alert(
        key=f"{made.key}/{kind}",
        at=made.as_of,
        kind=kind,
        title=f"{kind}: {made.lineage}: {words}",
        figure="; ".join(figures),
        advice=ADVICE[kind],
        link=page(stores, entry.run_id),
    )


def page(stores: Stores, run_id: str | None) -> str:
    """Return the address of a decision's run; empty without one."""
    return f"{stores.settings.services.pages.rstrip('/')}{stores.journal.page(run_id)}" if run_id else ""


@step()
def notice_lapse(stores: Stores, state: State | None, as_of: datetime) -> None:
    """Tell that the weight was out of force because nobody renewed the lease."""
    if state is None or not state.weight or as_of <= state.lease_until:
        return
    days = (as_of - state.lease_until).days
    stores.alerts.post(
        Alert(
            key=f"{state.lineage}/lease/{state.lease_until.isoformat()}",
            at=as_of,
            kind="lease",
            title=f"lease expired: {state.lineage}: trading has used weight 0 since {state.lease_until:%Y-%m-%d %H:%M} UTC",
            figure=f"lease over for {days} days, the weight of {state.weight:.1%} out of force",
            advice=ADVICE["lease"],
            link=page(stores, state.decision_run_id),
        )
    )


@step()
def announce_quarantine(stores: Stores, checked: Checked, as_of: datetime) -> None:
    """Tell which symbols are held back, and that bars went to quarantine; once for each day."""
    held = sorted(checked.held_back)
    if held or len(checked.quarantined):
        stores.alerts.post(_quarantine(stores, checked, held, as_of))
    stores.alerts.deliver()


def _quarantine(stores: Stores, checked: Checked, held: Sequence[str], as_of: datetime) -> Alert:
    symbols = sorted({str(symbol) for symbol in checked.quarantined["symbol"]})
    parts = [f"held back: {', '.join(held)}"] if held else []
    parts += [f"{len(checked.quarantined)} bars of {', '.join(symbols[:10])} in quarantine"] if symbols else []
    return Alert(
        key=f"{stores.settings.services.lineage}/quarantine/{as_of:%Y-%m-%d}/{','.join((*held, *symbols))}",
        at=as_of,
        kind="quarantine",
        title=f"quarantine: {'; '.join(parts)}",
        figure="; ".join(checked.findings[:5]),
        advice="Symbols held back wait for a decision in conf/source.yaml; the page says which rules broke.",
        link=str(checked.docs),
    )


def failure(stores: Stores, flow: str, words: str) -> None:
    """Tell that a flow failed; once for each flow and day. Not a step: there may be no run to take one in."""
    at = datetime.now(UTC)
    stores.alerts.post(
        Alert(
            key=f"{stores.settings.services.lineage}/flow/{flow}/{at:%Y-%m-%d}",
            at=at,
            kind="flow",
            title=f"flow failed: {flow}",
            figure=" ".join(words.split())[:500],
            advice=f"Put right what it says, then run steelyard {flow} again; what it did so far stays.",
        )
    )
