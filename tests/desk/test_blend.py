"""Blending and arms."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.desk.blend import BlendTerms, assign_arm, blend, blend_predictions

confidences = st.lists(st.floats(0, 100), min_size=1, max_size=30)


@given(existing=confidences, ml=st.one_of(st.floats(0, 100), st.just(float("nan"))))
def test_weight_0_is_the_existing_system_bit_for_bit(existing: list[float], ml: float) -> None:
    """At weight 0 no prediction changes a decision."""
    before = np.array(existing)

    assert blend(0.0, before, np.full(len(existing), ml)).tobytes() == before.tobytes()


@given(existing=confidences, weight=st.floats(0.01, 0.70))
def test_no_opinion_is_the_existing_system_bit_for_bit(
    existing: list[float], weight: float
) -> None:
    """A NaN prediction has no influence at any weight."""
    before = np.array(existing)

    assert blend(weight, before, np.full(len(existing), np.nan)).tobytes() == before.tobytes()


def test_the_blend_is_the_weighted_mean() -> None:
    """At 20 %, 60 and 90 give 66."""
    assert blend(0.20, np.array([60.0]), np.array([90.0])) == pytest.approx([66.0])


def test_arms_split_the_pilot_in_halves_and_never_change() -> None:
    """About half of 4,000 ids are control, the same ones every time.

    Outside pilot all are treated alike.
    """
    ids = [f"AAPL:{number}:buy" for number in range(4000)]
    arms = [assign_arm(signal_id, "pilot", "a key of mine") for signal_id in ids]

    assert arms == [assign_arm(signal_id, "pilot", "a key of mine") for signal_id in ids]
    assert 0.46 < arms.count("control") / len(arms) < 0.54
    assert {assign_arm(signal_id, "expansion", "a key of mine") for signal_id in ids} == {"all"}


def test_another_key_gives_another_split() -> None:
    """The split cannot be known without the key."""
    ids = [f"AAPL:{number}:buy" for number in range(200)]

    assert [assign_arm(i, "pilot", "key number 1") for i in ids] != [
        assign_arm(i, "pilot", "key number 2") for i in ids
    ]


def test_control_follows_the_existing_system_and_pivotal_marks_disagreement() -> None:
    """In pilot the existing confidence decides a control signal, the blend a treated one.

    Both note a difference.
    """
    ids = [f"AAPL:{number}:buy" for number in range(50)]
    signals = pd.DataFrame(
        {
            "signal_id": ids,
            "symbol": "AAPL",
            "side": "buy",
            "decided_at": pd.Timestamp("2026-01-01", tz="UTC"),
            "confidence_existing": 69.0,
        }
    )
    terms = BlendTerms(0.20, "pilot", 70.0, "a key of mine", "3", 0.1)
    rows = blend_predictions(signals, np.full(50, 0.6), np.full(50, 90.0), terms)

    assert rows["pivotal"].all()
    assert (rows["decision"] == (rows["arm"] == "treatment")).all()
    assert set(rows["arm"]) == {"control", "treatment"}
