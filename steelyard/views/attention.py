"""What a lineage needs from its operator: each thing in one line, and what to do about it."""

from collections.abc import Iterator
from dataclasses import dataclass

from steelyard.views.alerts import ADVICE
from steelyard.views.lineage import LineageReport, LineageStatus, Status
from steelyard.weight.limits import NOT_CONFIRMED


@dataclass(frozen=True, slots=True)
class Attention:
    """One thing to look at, and what to do about it."""

    words: str
    advice: str


def attention(report: LineageReport) -> tuple[Attention, ...]:
    """Return what needs attention, the most urgent first; empty if nothing does."""
    status, current = report.status, report.current
    return (
        *_out_of_force(status, current),
        *_limits(current),
        *_waiting(current),
        *_silent(status, current),
        *_model(report),
    )


def _out_of_force(status: Status, current: LineageStatus) -> Iterator[Attention]:
    """Yield what takes the weight out of force."""
    if status.fault:
        yield Attention(status.fault, ADVICE["state"])
    if status.brake:
        advice = "Trading uses weight 0. steelyard rollback records why and releases the brake."
        yield Attention(f"The brake is pulled ({status.brake})", advice)
    if current.lease.days_left < 0:
        yield Attention(f"The lease {current.lease.words}", ADVICE["lease"])
    if current.state.retrain_required:
        yield Attention("A retraining is required before the model may rise", ADVICE["disable"])
    if current.state.held:
        yield Attention("An operator holds the weight", "steelyard resume lets it rise again.")


def _limits(current: LineageStatus) -> Iterator[Attention]:
    for rule in current.limits:
        if rule.fired:
            yield Attention(rule.reason, "The next guard lowers the weight by itself.")
        elif NOT_CONFIRMED in rule.reason:
            yield Attention(rule.reason, ADVICE["warning"])


def _waiting(current: LineageStatus) -> Iterator[Attention]:
    waiting = current.challenger
    if waiting and waiting.waits_for_operator:
        words = f"Version {waiting.version} waits for you: {'; '.join(waiting.reasons)}"
        yield Attention(words, ADVICE["approval"].format(version=waiting.version))


def _silent(status: Status, current: LineageStatus) -> Iterator[Attention]:
    """Yield signals nobody traded, alerts nobody got and schedules that do not run."""
    for warning in status.warnings:
        yield Attention(warning, "steelyard doctor says what to change.")
    for alert in status.alerts:
        words = f"An alert was not delivered: {alert.title} ({alert.trouble or 'not sent yet'})"
        yield Attention(words, "Check STEELYARD_ALERTS; the next guard sends it again.")
    for schedule in () if status.replay else current.schedules:
        if schedule.dead_since:
            words = f"{schedule.name} has not run since {schedule.dead_since:%Y-%m-%d %H:%M} UTC"
            yield Attention(words, "Start steelyard up, or look at the run in Prefect.")


def _model(report: LineageReport) -> Iterator[Attention]:
    for figure in report.health.figures:
        if figure.alarming:
            words = f"The model's health: {figure.name.replace('_', ' ')} misses its target"
            yield Attention(words, "Every figure stands with its target under Health of the model.")
    drift = report.current.drift
    if drift and drift.verdict == "retrain":
        words = f"Drift asks for a training: {'; '.join(drift.reasons)}"
        yield Attention(words, "A Prefect server starts it by itself; else run steelyard train.")
