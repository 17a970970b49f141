"""Status and report of a lineage, as values: what ``steelyard status`` and ``report`` show."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from steelyard.evaluation.books import Books, finite_or_none
from steelyard.evaluation.evidence import Evidence
from steelyard.evaluation.influence import Pivotal
from steelyard.monitoring.drift_record import DriftRecord
from steelyard.monitoring.health import ModelHealth
from steelyard.views.account import Account
from steelyard.views.history import WeightHistory
from steelyard.views.records import DecisionRecord, VersionRecord, decision_documents
from steelyard.views.worth import LifetimeWorth
from steelyard.weight.decision import Rule
from steelyard.weight.policy import WeightPolicy
from steelyard.weight.rollout import RolloutItem
from steelyard.weight.state import State


@dataclass(frozen=True, slots=True)
class ScheduleStatus:
    """Last run of a schedule, and whether it is dead; times in UTC.

    Attributes:
        name: Name in ``conf/up.yaml``.
        cron: When it runs.
        last_seen: Time of the last trace; None without one.
        expected_by: Time of the next run after it; None if none is due.
        dead_since: Time of the run that was missed; None if the schedule is alive.
    """

    name: str
    cron: str
    last_seen: datetime | None
    expected_by: datetime | None
    dead_since: datetime | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return _flat_record(self)


@dataclass(frozen=True, slots=True)
class Lease:
    """End of the lease (UTC), days left (negative once it ran out), and both in words."""

    until: datetime
    days_left: float
    words: str


@dataclass(frozen=True, slots=True)
class UpcomingReview:
    """Next review of its kind, and the end of its period (UTC)."""

    kind: str
    period_end: datetime


@dataclass(frozen=True, slots=True)
class Improvement:
    """Improvement over the baseline, achieved (None if unknown) and expected (None if none is)."""

    achieved: float | None
    expected: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class PostedAlert:
    """An alert with the number of attempts to deliver it, and the trouble of the last."""

    at: datetime
    kind: str
    title: str
    attempts: int
    trouble: str


@dataclass(frozen=True, slots=True)
class LineageStatus:
    """Status of a lineage that has a state.

    Attributes:
        state: State in force.
        weight_in_force: Weight trading may use, as a share; 0 after the lease or with the brake
            pulled.
        lease: Lease of the weight.
        champion: Version that serves; None before the first.
        challenger: Version that is compared next; None without one.
        queued: Numbers of the challengers behind it.
        shadow_window: Conditions that still keep a challenger from replacing a champion in shadow.
        decisions: The last decisions, latest first.
        reviews: Next reviews.
        schedules: Last run of every schedule.
        limits: Limits as measured.
        false_alarms: Breaker → how often it fires on a healthy model.
        proof: Evidence of skill over the lifetime.
        proof_binds: Whether a rise needs it.
        influence: Decisions the weight changed, and their return.
        gate: Criteria of the gate out of the phase.
        evidence: Evidence of the monthly window.
        improvement: Improvement over the baseline.
        worth: Sharpe ratios after all trials; None before the first settled opinion.
        drift: Latest check for drift; None before the first.
        rollout: Phases of the rollout.
        milestones: Measures of month 2, 4 and 6.
    """

    state: State
    weight_in_force: float
    lease: Lease
    champion: VersionRecord | None
    challenger: VersionRecord | None
    queued: tuple[str, ...]
    shadow_window: tuple[str, ...]
    decisions: tuple[DecisionRecord, ...]
    reviews: tuple[UpcomingReview, ...]
    schedules: tuple[ScheduleStatus, ...]
    limits: tuple[Rule, ...]
    false_alarms: Mapping[str, str]
    proof: Rule
    proof_binds: bool
    influence: Pivotal
    gate: tuple[Rule, ...]
    evidence: Evidence
    improvement: Improvement
    worth: LifetimeWorth | None
    drift: DriftRecord | None
    rollout: tuple[RolloutItem, ...]
    milestones: tuple[RolloutItem, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        expected = self.improvement.expected
        return {
            "state": self.state.model_dump(mode="json"),
            "weight_in_force": self.weight_in_force,
            "lease": _flat_record(self.lease),
            "champion": self.champion.to_dict() if self.champion else None,
            "challenger": self.challenger.to_dict() if self.challenger else None,
            "queued": list(self.queued),
            "shadow_window": list(self.shadow_window),
            "decisions": decision_documents(self.decisions, "operator", "page"),
            "reviews": [_flat_record(review) for review in self.reviews],
            "schedules": [schedule.to_dict() for schedule in self.schedules],
            "limits": [rule.model_dump() for rule in self.limits],
            "false_alarms": self.false_alarms,
            "proof": self.proof.model_dump() | {"binding": self.proof_binds},
            "influence": _influence_record(self.influence),
            "gate": [rule.model_dump() for rule in self.gate],
            "evidence": self.evidence.figures(),
            "improvement": {
                "achieved": self.improvement.achieved,
                "expected": list(expected) if expected else None,
            },
            "worth": self.worth.to_dict() if self.worth else None,
            "drift": self.drift.to_dict() if self.drift else None,
            "rollout": [_rollout_record(item) for item in self.rollout],
            "milestones": [_rollout_record(item) for item in self.milestones],
        }


@dataclass(frozen=True, slots=True)
class Status:
    """Status of a home.

    Attributes:
        lineage: Name of the lineage.
        as_of: Time of the status (UTC).
        fault: Why the state tag is not believed; None if it is.
        brake: Who pulled the brake and why; None if it is not pulled.
        replay: That the home holds a replay, and its last day; None if it does not.
        run: Last sign of life of ``steelyard run``; None if it never ran here.
        warnings: What keeps the model or every trade without effect, one sentence each.
        alerts: Undelivered alerts.
        answer: The status in one sentence.
        current: Everything else; None if nothing was decided yet.
    """

    lineage: str
    as_of: datetime
    fault: str | None
    brake: str | None
    replay: str | None
    run: str | None
    warnings: tuple[str, ...]
    alerts: tuple[PostedAlert, ...]
    answer: str
    current: LineageStatus | None

    @property
    def notices(self) -> tuple[str, ...]:
        """Whether this is a replay, and every warning."""
        return (*((self.replay,) if self.replay else ()), *self.warnings)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        document: dict[str, Any] = {
            "lineage": self.lineage,
            "as_of": self.as_of.isoformat(),
            "fault": self.fault,
            "brake": self.brake,
            "run": self.run,
            "warnings": list(self.notices),
            "alerts": [_flat_record(alert) for alert in self.alerts],
            "state": None,
            "answer": self.answer,
        }
        return document | (self.current.to_dict() if self.current else {})


@dataclass(frozen=True, slots=True, eq=False)
class LineageReport:
    """Status of a lineage and its whole lifetime.

    Attributes:
        status: Status of the home.
        current: Status of the lineage.
        start: Begin of the lineage (UTC).
        end: End of the report (UTC).
        signals: Predictions in this time.
        signals_settled: Settled predictions among them.
        decisions: All decisions, oldest first.
        trainings: All versions.
        books: Measures of the three books.
        recent_alerts: Latest alerts.
        health: Health of the model in the last window.
        account: The three accounts, their months, symbols and trades.
        policy: Policy in force, whose bands and steps are shown.
    """

    status: Status
    current: LineageStatus
    start: datetime
    end: datetime
    signals: int
    signals_settled: int
    decisions: tuple[DecisionRecord, ...]
    trainings: tuple[VersionRecord, ...]
    books: Books
    recent_alerts: tuple[PostedAlert, ...]
    health: ModelHealth
    account: Account
    policy: WeightPolicy

    @property
    def history(self) -> WeightHistory[DecisionRecord]:
        """The course of the weight."""
        return WeightHistory.of(self.start, self.end, self.decisions)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        alerts = [_flat_record(alert) for alert in self.recent_alerts]
        return self.status.to_dict() | {
            "start": self.start.isoformat(),
            "end": self.end.isoformat(),
            "signals": self.signals,
            "signals_settled": self.signals_settled,
            "decisions": decision_documents(self.decisions, "page"),
            "promotions": decision_documents(self.history.promotions),
            "trainings": [training.to_dict() for training in self.trainings],
            "books": self.books.as_dict(),
            "recent_alerts": [
                {name: value for name, value in alert.items() if name != "attempts"}
                for alert in alerts
            ],
            "health": self.health.to_dict(),
            "account": self.account.to_dict(),
        }


@dataclass(frozen=True, slots=True, eq=False)
class PerformanceReview:
    """Report of the last whole period, kept in the home and in MLflow.

    Attributes:
        report: The report.
        because: Why the weight is what it is, in one sentence.
        file: The page in the home.
        run_id: Its MLflow run.
        run_page: Address of the run.
    """

    report: LineageReport
    because: str
    file: str
    run_id: str
    run_page: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return self.report.to_dict() | {
            "because": self.because,
            "page": self.file,
            "run_id": self.run_id,
            "run_page": self.run_page,
        }


def _flat_record(value: Any) -> dict[str, Any]:
    """Return the fields of a flat dataclass; times as ISO 8601.

    ``dataclasses.asdict`` would copy the times, and a copy of Prefect's loses its zone.
    """
    values = {field.name: getattr(value, field.name) for field in fields(value)}
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in values.items()
    }


def _influence_record(influence: Pivotal) -> dict[str, float | None]:
    figures = {name: finite_or_none(figure) for name, figure in _flat_record(influence).items()}
    return figures | {"influence": finite_or_none(influence.influence)}


def _rollout_record(item: RolloutItem) -> dict[str, str | None]:
    return {
        "name": item.name,
        "begins": item.begins.isoformat(),
        "due": item.due.isoformat(),
        "earliest": item.earliest.isoformat() if item.earliest else None,
        "standing": item.status,
        "words": item.detail,
    }
