"""Returns of the decisions the weight changed, with days as clusters."""

import math

import numpy as np
import pandas as pd
import pytest

from factories.settled import held
from steelyard.evaluation.influence import measure_pivotal


def pivotal_signals(count: int, **columns: object) -> pd.DataFrame:
    """Weighed signals the weight decided, on a quarter of the account each."""
    decision = np.broadcast_to(columns.setdefault("decision", True), count)
    existing = np.where(decision, 60.0, 80.0)
    return held(
        count, **{"weight": 0.2, "pivotal": True, "confidence_existing": existing} | columns
    )


def test_an_avoided_loser_and_an_added_winner_are_gains() -> None:
    """Four weighed signals, three changed: +1 %, +1 % and −1 % of a quarter of the account."""
    frame = pivotal_signals(
        5,
        weight=[0.2, 0.2, 0.2, 0.2, 0.0],
        pivotal=[True, True, True, False, True],
        decision=[True, False, False, True, True],
        net_return=[0.01, -0.01, 0.01, 0.01, 0.01],
    )
    pivotal = measure_pivotal(frame)

    assert (pivotal.weighed, pivotal.changed, pivotal.influence) == (4, 3, 0.75)
    assert pivotal.gained == pytest.approx(0.0025)
    assert pivotal.mean == pytest.approx(0.0025 / 3)
    assert pivotal.low < pivotal.mean < pivotal.high


def test_control_signals_do_not_count() -> None:
    """In control the existing system decides, whatever the blend is."""
    pivotal = measure_pivotal(pivotal_signals(4, arm=["control", "treatment"] * 2))

    assert (pivotal.weighed, pivotal.changed) == (2, 2)


def test_the_interval_is_wider_if_days_are_correlated() -> None:
    """The same forty gains on forty days, or on four days of one sign each."""
    gains = np.repeat([0.01, -0.01, 0.01, 0.01], 10)
    independent = pivotal_signals(40, net_return=gains)
    clustered = independent.assign(
        settled_at=np.repeat(independent["settled_at"].to_numpy()[[0, 10, 20, 30]], 10)
    )
    clustered["settled_at"] = clustered["settled_at"].astype("datetime64[ns, UTC]")
    narrow, wide = measure_pivotal(independent), measure_pivotal(clustered)

    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)
    assert wide.mean == pytest.approx(narrow.mean)


def test_without_changed_signals_every_figure_is_nan() -> None:
    """NaN, no error; a single day has a mean and no interval."""
    none_changed, single = (
        measure_pivotal(held(3)),
        measure_pivotal(pivotal_signals(1)),
    )

    assert (
        none_changed.changed,
        math.isnan(none_changed.mean),
        math.isnan(none_changed.influence),
    ) == (
        0,
        True,
        True,
    )
    assert single.mean == pytest.approx(0.0025)
    assert math.isnan(single.low)
