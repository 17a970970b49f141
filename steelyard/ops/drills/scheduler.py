"""The guard stops: the weight must run out by itself, somebody must say so, and its return must put things right."""

from datetime import datetime

from steelyard.ops.drills.desk import days, trading
from steelyard.ops.drills.findings import Found, Notice, changes, days_until
from steelyard.ops.drills.ground import BEGAN, DAY, DrillHome
from steelyard.queries.status import status
from steelyard.weight.policy import WeightPolicy

STORY = "No flow runs any more after two days, while a trading process goes on; two weeks later the guard comes back."
STOPPED = BEGAN + 2 * DAY
BACK = STOPPED + 14 * DAY
BOUND = WeightPolicy().lease_days + 1.0
"""Days: the lease as delivered and one more; a lease that was made longer is no excuse."""


def dead_scheduler(place: DrillHome) -> Found:
    """Stop every flow at ``STOPPED``; only the guard comes back, at ``BACK``."""
    weights = [(BEGAN, place.weight(BEGAN))]
    without: list[datetime] = []
    said: list[datetime] = []
    with trading(place, BEGAN) as desk:
        for day in days(BEGAN, BACK):
            for one in desk.live(day):
                weights.append((one.decided_at, one.weight))
                without += [one.decided_at] if one.fallback_reason == "lease_expired" else []
            if day <= STOPPED:
                place.flow("guard", day)
            elif not said and _said_so(place, day):
                said.append(day)
    told = place.alerts("lease")
    place.flow("guard", BACK)
    unsettled = place.alerts("silence", "never settled")
    return Found(
        (
            Notice(
                "signals are decided without the model",
                "lease",
                BOUND,
                days_until(STOPPED, without),
            ),
            Notice(
                "the operator is told that the lease ran out",
                "trading process",
                BOUND,
                days_until(STOPPED, told),
            ),
            Notice(
                "status says since when no guard has run",
                "status",
                BOUND,
                days_until(STOPPED, said),
            ),
            Notice(
                "predictions are never settled",
                "guard, once back",
                14.0,
                days_until(STOPPED, unsettled),
            ),
        ),
        (*changes(weights), (BACK, place.weight(BACK))),
        ("the guard that comes back renews the lease, and the weight is in force again",),
    )


def _said_so(place: DrillHome, day: datetime) -> bool:
    document = status(place.home(), day)
    return "the lease ended on" in document["answer"] and not document["weight_in_force"]
