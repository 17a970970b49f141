"""The guard stops: the lease must end the weight, this must be reported, its return repairs it."""

from datetime import datetime

from steelyard.ops.drills.desk import days, trading
from steelyard.ops.drills.findings import changes, days_until
from steelyard.ops.drills.ground import DAY, STARTED_AT, DrillHome
from steelyard.queries.status import status
from steelyard.views.drills import DrillResult, Notice
from steelyard.weight.policy import WeightPolicy

STORY = (
    "After two days no flow runs any more while a process trades; "
    "two weeks later the guard runs again."
)
STOPPED_AT = STARTED_AT + 2 * DAY
RESUMED_AT = STOPPED_AT + 14 * DAY
BOUND = WeightPolicy().lease_days + 1.0
"""Days: the default lease and one more; a longer lease in ``conf/`` does not change it."""


def dead_scheduler(drill_home: DrillHome) -> DrillResult:
    """Stop every flow at ``STOPPED_AT``; only the guard comes back, at ``RESUMED_AT``."""
    weights = [(STARTED_AT, drill_home.weight(STARTED_AT))]
    without_model: list[datetime] = []
    reported: list[datetime] = []
    with trading(drill_home, STARTED_AT) as desk:
        for day in days(STARTED_AT, RESUMED_AT):
            for signal in desk.live(day):
                weights.append((signal.decided_at, signal.weight))
                if signal.fallback_reason == "lease_expired":
                    without_model.append(signal.decided_at)
            if day <= STOPPED_AT:
                drill_home.flow("guard", day)
            elif not reported and _reports_lease(drill_home, day):
                reported.append(day)
    alerted = drill_home.alerts("lease")
    drill_home.flow("guard", RESUMED_AT)
    unsettled = drill_home.alerts("silence", "never settled")
    return DrillResult(
        (
            Notice(
                "signals are decided without the model",
                "lease",
                BOUND,
                days_until(STOPPED_AT, without_model),
            ),
            Notice(
                "the operator is told that the lease ran out",
                "trading process",
                BOUND,
                days_until(STOPPED_AT, alerted),
            ),
            Notice(
                "status reports since when no guard has run",
                "status",
                BOUND,
                days_until(STOPPED_AT, reported),
            ),
            Notice(
                "predictions are never settled",
                "guard, once back",
                14.0,
                days_until(STOPPED_AT, unsettled),
            ),
        ),
        (*changes(weights), (RESUMED_AT, drill_home.weight(RESUMED_AT))),
        ("the guard that comes back renews the lease, and the weight is in force again",),
    )


def _reports_lease(drill_home: DrillHome, day: datetime) -> bool:
    shown = status(drill_home.home(), day)
    in_force = shown.current.weight_in_force if shown.current else 0.0
    return "the lease ended on" in shown.answer and not in_force
