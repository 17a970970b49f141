"""The texts of alerts: what happened, figure and bound, what to do, where to look."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from steelyard.gateways.alerts import Alert
from steelyard.gateways.quality import Checked
from steelyard.monitoring.health import Figure, Silence
from steelyard.views.drift import JudgedDrift
from steelyard.views.records import VersionRecord
from steelyard.views.runs import LogCollection
from steelyard.weight.decision import Decision, Entry
from steelyard.weight.policy import PHASES
from steelyard.weight.state import State

NEW_TRAINING = "A Prefect server starts a training by itself; without one run steelyard train."
ADVICE = {
    "rollback": f"{NEW_TRAINING} The next champion must pass the first gate. "
    "The incident report is in the run.",
    "disable": f"{NEW_TRAINING} The next champion must requalify from shadow. "
    "Find out why in the run.",
    "demotion": "No action is needed. If it is unexpected, look at the run; "
    "steelyard rollback takes the rest of the weight.",
    "cut": "No action is needed. If it is unexpected, look at the run; "
    "steelyard rollback takes the rest of the weight.",
    "warning": "No action is needed: chance breaches a limit now and then. steelyard status "
    "shows the evidence; steelyard rollback takes the weight if you know better.",
    "sample ratio": "Find out why one arm has signals without prediction or outcome; "
    "the pilot's gate stays shut.",
    "long lease": "Set the clocks of all machines by one time server; the next guard shortens the "
    "lease.",
    "state": "Run steelyard verify: it names what is wrong. If a backup was put back on purpose, "
    "steelyard rollback --accept-loss goes on from it at weight 0.",
    "approval": "Find out how it knows: later prices, outcomes or labels that the system can read. "
    "If it is right all the same, steelyard approve {version} --reason TEXT lets it be compared; "
    "it does not serve before, and the next version takes its place.",
    "lease": "Find out why the daily guard did not run; it renews the lease when it runs again.",
}

SILENCES = {
    "unpredicted": "signals get no prediction",
    "unsettled": "predictions are never settled",
    "quiet": "there are no signals any more",
}


def of_decision(entry: Entry, link: str) -> list[Alert]:
    """Return the alerts of a decision, most important first; most decisions have none.

    Args:
        entry: Journal entry of the decision.
        link: Address of its run in MLflow; empty for none.
    """
    return [_alert(entry.decision, kind, link) for kind in kinds(entry.decision)]


def kinds(decision: Decision) -> list[str]:
    """Return the kinds of alert a decision causes, most important first."""
    causes = []
    if decision.kind == "rollback":
        causes = ["rollback"]
    elif decision.verdict == "DISABLE":
        causes = ["disable"]
    elif PHASES.index(decision.after.phase) < PHASES.index(decision.before.phase):
        causes = ["demotion"]
    elif decision.after.weight < decision.before.weight:
        causes = ["cut"]
    if any(rule.name == "sample_ratio" and not rule.fired for rule in decision.rules):
        causes.append("sample ratio")
    return causes


def _alert(decision: Decision, kind: str, link: str) -> Alert:
    before, after = decision.before, decision.after
    weight = f"{before.weight:.1%} → {after.weight:.1%}, {before.phase} → {after.phase}"
    is_split = kind == "sample ratio"
    subject = "the split of the pilot's arms is off" if is_split else f"weight {weight}"
    split = [rule.reason for rule in decision.rules if rule.name == "sample_ratio"]
    return Alert(
        key=f"{decision.key}/{kind}",
        at=decision.as_of,
        kind=kind,
        title=f"{kind}: {decision.lineage}: {subject}",
        figure="; ".join(split if is_split else decision.reasons),
        advice=ADVICE[kind],
        link=link,
    )


def lapse(state: State, at: datetime, lease_days: int, link: str) -> Alert | None:
    """Return the alert of a weight that is out of force: the lease is over, or cannot be.

    Args:
        state: State in force.
        at: Time of the check (UTC).
        lease_days: Length of a lease, days.
        link: Address of the last decision's run; empty for none.

    Returns:
        The alert; None if the lease runs or the weight is 0 anyway.
    """
    if not state.weight:
        return None
    if state.lease_is_too_long(at, lease_days):
        return _long_lease(state, at, lease_days, link)
    if at <= state.lease_until:
        return None
    return Alert(
        key=f"{state.lineage}/lease/{state.lease_until.isoformat()}",
        at=at,
        kind="lease",
        title=f"lease expired: {state.lineage}: trading has used weight 0 since "
        f"{state.lease_until:%Y-%m-%d %H:%M} UTC",
        figure=f"lease over for {(at - state.lease_until).days} days, the weight of "
        f"{state.weight:.1%} out of force",
        advice=ADVICE["lease"],
        link=link,
    )


def _long_lease(state: State, at: datetime, lease_days: int, link: str) -> Alert:
    return Alert(
        key=f"{state.lineage}/long lease/{state.lease_until.isoformat()}",
        at=at,
        kind="lease",
        title=f"lease too long: {state.lineage}: it ends on {state.lease_until:%Y-%m-%d %H:%M} "
        "UTC; trading uses weight 0 until a guard shortens it",
        figure=f"{(state.lease_until - at).days} days, a guard sets {lease_days}: a clock was "
        "ahead when it was renewed",
        advice=ADVICE["long lease"],
        link=link,
    )


def warning(state: State, words: str, name: str, period: datetime, at: datetime) -> Alert:
    """Return the alert of a limit that is breached and not confirmed, one for each period.

    Args:
        state: State in force.
        words: Figure, bound and what would confirm the breach.
        name: Name of the limit.
        period: Begin of the period.
        at: Time of the check (UTC).
    """
    return Alert(
        key=f"{state.lineage}/warning/{name}/{period.isoformat()}",
        at=at,
        kind="warning",
        title=f"warning: {state.lineage}: the weight of {state.weight:.1%} stays, nothing rises",
        figure=words,
        advice=ADVICE["warning"],
        link="",
    )


def distrust(lineage: str, fault: str, at: datetime, link: str) -> Alert:
    """Return the alert of a state that cannot be believed, one for each fault.

    Args:
        lineage: Name of the lineage.
        fault: What is wrong, to follow "the state".
        at: Time of the check (UTC).
        link: MLflow's page; empty for none.
    """
    return Alert(
        key=f"{lineage}/state/{fault}",
        at=at,
        kind="state",
        title=f"state not believed: {lineage}: trading goes by the last decision it trusts, "
        "or by the existing system alone",
        figure=f"the state {fault}",
        advice=ADVICE["state"],
        link=link,
    )


def bad_log_rows(lineage: str, taken: LogCollection, at: datetime) -> Alert | None:
    """Return the alert of rows of a log that are no signals; the same rows are told once.

    Args:
        lineage: Name of the lineage.
        taken: What was taken in.
        at: Time of the run (UTC).

    Returns:
        The alert; None if there are none.
    """
    if not taken.quarantined:
        return None
    return Alert(
        key=f"{lineage}/quarantine/{taken.quarantine}",
        at=at,
        kind="quarantine",
        title=f"quarantine: {taken.quarantined} rows of the log are no signals",
        figure="; ".join(taken.findings[:5]),
        advice="Correct the program that writes the log; the file has every row with its reason.",
        link=taken.quarantine,
    )


def quarantine(lineage: str, checked: Checked, at: datetime) -> Alert | None:
    """Return the alert of symbols held back and of bars in quarantine, one for each day.

    Args:
        lineage: Name of the lineage.
        checked: Result of the data check.
        at: Time of the check (UTC).

    Returns:
        The alert; None if there are neither.
    """
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
        advice="Decide about symbols that are held back in conf/source.yaml (jumps); "
        "the page says which rules broke.",
        link=str(checked.docs),
    )


def approval(lineage: str, version: VersionRecord, link: str) -> Alert:
    """Return the alert of a version that seems to know its future, one for each version.

    Args:
        lineage: Name of the lineage.
        version: The version that an operator may approve.
        link: Address of its training's run in MLflow; empty for none.
    """
    return Alert(
        key=f"{lineage}/approval/{version.version}",
        at=version.as_of,
        kind="approval",
        title=f"approval: {lineage}: version {version.version} serves only if you approve it",
        figure=f"{'; '.join(version.reasons)}: how does it know?",
        advice=ADVICE["approval"].format(version=version.version),
        link=link,
    )


def drift(lineage: str, judged: JudgedDrift, training: str) -> Alert:
    """Return the alert of a market that differs from the champion's training rows.

    Args:
        lineage: Name of the lineage.
        judged: The check for drift.
        training: What was done about a retraining, in words.
    """
    check = judged.check
    return Alert(
        key=check.key,
        at=check.as_of,
        kind="drift",
        title=f"drift: {lineage}: version {check.model_version} should be retrained",
        figure="; ".join(check.reasons)[:500],
        advice=f"{training[:1].upper()}{training[1:]}. "
        "The weight stays until a limit or a gate changes it.",
        link=judged.page,
    )


def silence(lineage: str, missing: Silence, at: datetime) -> Alert:
    """Return the alert of records that stopped coming, one for each kind and day.

    Args:
        lineage: Name of the lineage.
        missing: What stopped, and since when.
        at: Time of the check (UTC).
    """
    return Alert(
        key=f"{lineage}/silence/{missing.code}/{at:%Y-%m-%d}",
        at=at,
        kind="silence",
        title=f"silence: {lineage}: {SILENCES[missing.code]}",
        figure=missing.words,
        advice="Find out which of collect, trade and settle stopped, and run it; "
        "each may be run again by hand.",
    )


def all_stale(lineage: str, count: int, at: datetime) -> Alert:
    """Return the alert of a trading run whose signals all came too late, one for each day.

    Args:
        lineage: Name of the lineage.
        count: Number of signals of the run.
        at: Time of the run (UTC).
    """
    return Alert(
        key=f"{lineage}/stale/{at:%Y-%m-%d}",
        at=at,
        kind="stale",
        title=f"stale: {lineage}: no signal was traded, the entry of each had passed",
        figure=f"{count} of {count} signals at {at:%Y-%m-%d %H:%M} UTC",
        advice="After a pause this is normal. Otherwise collect and trade run too late after the "
        "bars: steelyard doctor, row 'entries', says when they must run.",
    )


def health(lineage: str, figure: Figure, at: datetime, period: datetime) -> Alert:
    """Return the alert of a figure that misses its target by more than chance explains.

    Args:
        lineage: Name of the lineage.
        figure: The figure, with its target.
        at: Time of the check (UTC).
        period: End of the last latch period; one alert for each figure and period.
    """
    return Alert(
        key=f"{lineage}/health/{figure.name}/{period:%Y-%m-%d}",
        at=at,
        kind="health",
        title=f"health: {lineage}: {figure.name} misses its target",
        figure=f"{figure.value:.4g} against {figure.target:.4g}: {figure.words}",
        advice="Open steelyard report, Health of the model; limits and gates go on deciding.",
    )


def failure(lineage: str, flow: str, words: str, at: datetime) -> Alert:
    """Return the alert of a flow that failed, one for each flow and day.

    Args:
        lineage: Name of the lineage.
        flow: Name of the flow.
        words: The error, in one line or several.
        at: Time of the failure (UTC).
    """
    return Alert(
        key=f"{lineage}/flow/{flow}/{at:%Y-%m-%d}",
        at=at,
        kind="flow",
        title=f"flow failed: {flow}",
        figure=" ".join(words.split())[:500],
        advice=f"Fix the reported problem, then run steelyard {flow} again; "
        "what it did so far stays.",
    )


def trading_trouble(lineage: str, words: str, at: datetime) -> Alert:
    """Return the alert of a trading process whose background work fails, one for each day.

    Args:
        lineage: Name of the lineage.
        words: What fails, in one line.
        at: Time of the failure (UTC).
    """
    return Alert(
        key=f"{lineage}/trading/{at:%Y-%m-%d}/{words[:40]}",
        at=at,
        kind="trading",
        title=f"trading process: {lineage}: {words[:120]}",
        figure=words,
        advice="Trading goes on. Free disk space or restore the service it names; records wait in "
        "the spool or, if that cannot be written, in memory: do not stop the process before.",
    )


def unprotected(lineage: str, trade: Mapping[Any, Any]) -> Alert:
    """Return the alert of a position that has neither stop nor target at the broker.

    Args:
        lineage: Name of the lineage.
        trade: Row of ``trades``.
    """
    since = trade["unprotected_since"]
    return Alert(
        key=f"{lineage}/unprotected/{trade['signal_id']}/{since.isoformat()}",
        at=since,
        kind="unprotected",
        title=f"no stop: {lineage}: {trade['quantity']:g} {trade['symbol']} ({trade['side']})",
        figure=f"{trade['signal_id']} has neither stop nor target at {trade['broker']} since "
        f"{since:%Y-%m-%d %H:%M} UTC",
        advice="The next run of trade closes it before anything else. If that is far away, run "
        "steelyard trade now, or close the position on the broker's page.",
    )
