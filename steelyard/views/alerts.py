"""What an operator is told, in words: what happened, the figure and its bound, what to do, where to look."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from steelyard.gateways.alerts import Alert
from steelyard.gateways.quality import Checked
from steelyard.monitoring.health import Figure, Silence
from steelyard.weight.decision import Decision, Entry
from steelyard.weight.policy import PHASES
from steelyard.weight.state import State

ADVICE = {
    "rollback": "Retrain (steelyard train); the next champion must pass the first gate. The run has the incident report.",
    "disable": "The champion must be retrained and requalify from shadow; look at the run for what went wrong.",
    "demotion": "Nothing has to be done; look at the run if it comes as a surprise. steelyard rollback takes the rest.",
    "cut": "Nothing has to be done; look at the run if it comes as a surprise. steelyard rollback takes the rest.",
    "sample ratio": "Look for signals that get no prediction or no outcome in one arm; the pilot's gate stays shut.",
    "lease": "Look why the daily guard did not run; it renews the lease once it does.",
}

SILENCES = {
    "unpredicted": "signals get no prediction",
    "unsettled": "predictions are never settled",
    "quiet": "there are no signals any more",
}


def of_decision(entry: Entry, link: str) -> list[Alert]:
    """Return the alerts of a decision, most important first; most decisions have none."""
    return [_told(entry.decision, kind, link) for kind in kinds(entry.decision)]


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


def _told(made: Decision, kind: str, link: str) -> Alert:
    moved = f"{made.before.weight:.1%} → {made.after.weight:.1%}, {made.before.phase} → {made.after.phase}"
    words = "the split of the pilot's arms is off" if kind == "sample ratio" else f"weight {moved}"
    split = [rule.reason for rule in made.rules if rule.name == "sample_ratio"]
    return Alert(
        key=f"{made.key}/{kind}",
        at=made.as_of,
        kind=kind,
        title=f"{kind}: {made.lineage}: {words}",
        figure="; ".join(split if kind == "sample ratio" else made.reasons),
        advice=ADVICE[kind],
        link=link,
    )


def lapse(state: State, at: datetime, link: str) -> Alert | None:
    """Return the alert of a weight that is out of force because nobody renewed the lease; None where none is."""
    if not state.weight or at <= state.lease_until:
        return None
    return Alert(
        key=f"{state.lineage}/lease/{state.lease_until.isoformat()}",
        at=at,
        kind="lease",
        title=f"lease expired: {state.lineage}: trading has used weight 0 since {state.lease_until:%Y-%m-%d %H:%M} UTC",
        figure=f"lease over for {(at - state.lease_until).days} days, the weight of {state.weight:.1%} out of force",
        advice=ADVICE["lease"],
        link=link,
    )


def quarantine(lineage: str, checked: Checked, at: datetime) -> Alert | None:
    """Return the alert of symbols held back and bars in quarantine, one for each day; None where there are neither."""
    held = sorted(checked.held_back)
    symbols = sorted({str(symbol) for symbol in checked.quarantined["symbol"]})
    parts = [f"held back: {', '.join(held)}"] if held else []
    parts += (
        [f"{len(checked.quarantined)} bars of {', '.join(symbols[:10])} in quarantine"]
        if symbols
        else []
    )
    if not parts:
        return None
    return Alert(
        key=f"{lineage}/quarantine/{at:%Y-%m-%d}/{','.join((*held, *symbols))}",
        at=at,
        kind="quarantine",
        title=f"quarantine: {'; '.join(parts)}",
        figure="; ".join(checked.findings[:5]),
        advice="Symbols held back wait for a decision in conf/source.yaml; the page says which rules broke.",
        link=str(checked.docs),
    )


def drift(lineage: str, found: Mapping[str, Any], training: str) -> Alert:
    """Return the alert of a market that has left the champion's training rows."""
    return Alert(
        key=str(found["key"]),
        at=datetime.fromisoformat(found["as_of"]),
        kind="drift",
        title=f"drift: {lineage}: version {found['model_version']} should be retrained",
        figure="; ".join(found["reasons"])[:500],
        advice=f"{training[:1].upper()}{training[1:]}. The weight stays until a limit or a gate moves it.",
        link=str(found["page"]),
    )


def silence(lineage: str, found: Silence, at: datetime) -> Alert:
    """Return the alert of something that fell silent, one for each kind and day."""
    return Alert(
        key=f"{lineage}/silence/{found.code}/{at:%Y-%m-%d}",
        at=at,
        kind="silence",
        title=f"silence: {lineage}: {SILENCES[found.code]}",
        figure=found.words,
        advice="Look whether collect, trade and settle still run and what they say; each may be run again by hand.",
    )


def health(lineage: str, found: Figure, at: datetime, period: datetime) -> Alert:
    """Return the alert of a figure that misses its target by more than chance explains, one for each figure and period."""
    return Alert(
        key=f"{lineage}/health/{found.name}/{period:%Y-%m-%d}",
        at=at,
        kind="health",
        title=f"health: {lineage}: {found.name} misses its target",
        figure=f"{found.value:.4g} against {found.target:.4g}: {found.words}",
        advice="Look at the health of the model in steelyard report; limits and gates lower the weight where it is due.",
    )


def failure(lineage: str, flow: str, words: str, at: datetime) -> Alert:
    """Return the alert of a flow that failed, one for each flow and day."""
    return Alert(
        key=f"{lineage}/flow/{flow}/{at:%Y-%m-%d}",
        at=at,
        kind="flow",
        title=f"flow failed: {flow}",
        figure=" ".join(words.split())[:500],
        advice=f"Put right what it says, then run steelyard {flow} again; what it did so far stays.",
    )
