"""Results of a fire drill, and whether faults were noticed in time."""

from datetime import timedelta

import pytest

from factories.evidence import EARLIER
from steelyard.ops.drills.findings import NEVER, changes, days_until, must_hold
from steelyard.views.drills import DrillResult, Notice


@pytest.mark.parametrize(
    ("after", "in_time"),
    [(3.9, True), (4.0, True), (4.1, False), (NEVER, False)],
    ids=["sooner", "on the bound", "later", "never"],
)
def test_a_notice_counts_within_its_bound(after: float, in_time: bool) -> None:
    """Never noticed is NaN and not in time."""
    notice = Notice("something", "somebody", 4.0, after)

    assert notice.in_time is in_time
    assert notice.to_dict()["after"] == (None if after != after else after)  # NaN


def test_a_drill_with_a_missed_notice_or_none_has_failed() -> None:
    """Every notice must be in time, and there must be at least one."""
    good, missed = must_hold("kept", "seal", True), must_hold("kept", "seal", False)

    assert DrillResult((good, good), ()).to_dict()["noticed"]
    assert not DrillResult((good, missed), ()).to_dict()["noticed"]
    assert not DrillResult((), ()).to_dict()["noticed"]


def test_days_count_to_the_first_moment_and_weights_to_their_changes() -> None:
    """Without a time the count is NaN; an unchanged weight is listed once."""
    moments = [EARLIER + timedelta(days=day) for day in (4, 2)]

    assert days_until(EARLIER, moments) == 2.0
    assert days_until(EARLIER, []) != days_until(EARLIER, [])
    assert changes([(EARLIER, 0.2), (moments[1], 0.2), (moments[0], 0.0)]) == (
        (EARLIER, 0.2),
        (moments[0], 0.0),
    )
