"""What the weight was worth: only decisions it changed, and days for draws."""

import math

import numpy as np
import pytest

from factories.settled import settled
from steelyard.evaluation.books import SizingPolicy
from steelyard.evaluation.influence import measure_pivotal

SIZING = SizingPolicy()  # a stop 2 % away: a quarter of the account


def test_a_loser_left_and_a_winner_taken_are_gains() -> None:
    """Four signals under a weight, three changed: +1 %, +1 % and −1 % of a quarter of the account."""
    frame = settled(
        5,
        weight=[0.2, 0.2, 0.2, 0.2, 0.0],
        pivotal=[True, True, True, False, True],
        decision=[True, False, False, True, True],
        net_return=[0.01, -0.01, 0.01, 0.01, 0.01],
    )
    found = measure_pivotal(frame, SIZING)

    assert (found.weighed, found.changed, found.influence) == (4, 3, 0.75)
    assert found.gained == pytest.approx(0.0025)
    assert found.mean == pytest.approx(0.0025 / 3)
    assert found.low < found.mean < found.high


def test_control_signals_are_not_the_weights_doing() -> None:
    """In control the existing system decided, whatever the blend said."""
    found = measure_pivotal(
        settled(4, weight=0.2, pivotal=True, arm=["control", "treatment"] * 2), SIZING
    )

    assert (found.weighed, found.changed) == (2, 2)


def test_the_interval_is_wider_where_a_day_moves_as_one() -> None:
    """The same forty gains on forty days, or in four days that each went one way."""
    gains = np.repeat([0.01, -0.01, 0.01, 0.01], 10)
    apart = settled(40, weight=0.2, pivotal=True, net_return=gains)
    together = apart.assign(
        settled_at=np.repeat(apart["settled_at"].to_numpy()[[0, 10, 20, 30]], 10)
    )
    together["settled_at"] = together["settled_at"].astype("datetime64[ns, UTC]")
    narrow, wide = measure_pivotal(apart, SIZING), measure_pivotal(together, SIZING)

    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)
    assert wide.mean == pytest.approx(narrow.mean)


def test_without_changed_signals_there_is_nothing_to_say() -> None:
    """NaN, no error; one day alone has a mean and no interval."""
    nothing, one = (
        measure_pivotal(settled(3), SIZING),
        measure_pivotal(settled(1, weight=0.2, pivotal=True), SIZING),
    )

    assert (nothing.changed, math.isnan(nothing.mean), math.isnan(nothing.influence)) == (
        0,
        True,
        True,
    )
    assert one.mean == pytest.approx(0.0025)
    assert math.isnan(one.low)
