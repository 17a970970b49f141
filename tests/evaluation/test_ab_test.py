"""The arms of the pilot: what each earned per assigned signal, and whether the split is one that halves explain."""

import math

import numpy as np
import pytest

from factories.evidence import EARLIER
from factories.settled import settled
from steelyard.desk.blend import assign_arm
from steelyard.evaluation.ab_test import compare_arms
from steelyard.evaluation.books import SizingPolicy
from steelyard.evaluation.evidence import WindowPolicy, gather_evidence

SIZING = SizingPolicy()


def arms_of(control: int, treatment: int) -> list[str]:
    return ["control"] * control + ["treatment"] * treatment


def test_an_arm_earns_per_signal_assigned_whether_taken_or_not() -> None:
    """Two control signals taken with 1 % at a stop 2 % away, four treatment signals of which two were left."""
    frame = settled(6, arm=arms_of(2, 4), decision=[True, True, True, True, False, False])
    found = compare_arms(frame, SIZING)

    assert (found.control, found.treatment) == (2, 4)
    assert found.control_return == pytest.approx(0.01 * 0.005 / 0.02)
    assert found.treatment_return == pytest.approx(found.control_return / 2)
    assert found.difference == pytest.approx(-found.control_return / 2)


def test_the_standard_error_is_welchs() -> None:
    """As by hand from the variances of both arms."""
    rng = np.random.default_rng(0)
    frame = settled(300, arm=arms_of(100, 200), net_return=rng.normal(0, 0.02, 300))
    earned = frame["net_return"].to_numpy() * 0.25
    by_hand = math.sqrt(earned[:100].var(ddof=1) / 100 + earned[100:].var(ddof=1) / 200)

    assert compare_arms(frame, SIZING).standard_error == pytest.approx(by_hand)


@pytest.mark.parametrize(
    ("control", "treatment", "odd"),
    [(50, 50, False), (40, 60, False), (30, 70, True), (0, 12, True)],
)
def test_a_split_that_halves_do_not_explain_has_a_tiny_probability(
    control: int, treatment: int, odd: bool
) -> None:
    """40 to 60 happens, 30 to 70 does not."""
    assert (
        compare_arms(
            settled(control + treatment, arm=arms_of(control, treatment)), SIZING
        ).sample_ratio_p
        < 0.001
    ) is odd


def test_no_signals_in_the_arms_are_no_figures() -> None:
    """Outside pilot every signal is treated: nothing to compare, and nothing speaks against the split."""
    found = compare_arms(settled(5), SIZING)

    assert (found.control, found.treatment) == (0, 0)
    assert all(
        math.isnan(figure)
        for figure in (found.difference, found.standard_error, found.sample_ratio_p)
    )


def test_the_hash_splits_in_halves_and_always_the_same_way() -> None:
    """10,000 ids: a split chance explains, and no id changes its arm."""
    ids = [f"AAPL:{n}:buy" for n in range(10_000)]
    first = [assign_arm(signal_id, "pilot", "steelyard-pilot") for signal_id in ids]

    assert first == [assign_arm(signal_id, "pilot", "steelyard-pilot") for signal_id in ids]
    assert compare_arms(settled(10_000, arm=first), SIZING).sample_ratio_p > 0.001
    assert first != [assign_arm(signal_id, "pilot", "another-key") for signal_id in ids]


def test_a_month_of_several_versions_can_be_read_apart() -> None:
    """Each version's own count, accuracy and return, also among the flat figures of the record."""
    frame = settled(10, model_version=["1"] * 4 + ["2"] * 6, p_win=[0.6] * 4 + [0.4] * 6)
    end = EARLIER + (frame["settled_at"].iloc[-1].to_pydatetime() - EARLIER)
    seen = gather_evidence(frame, end, EARLIER, WindowPolicy(30, 5, 120), SIZING)

    assert {name: (part.settled, part.accuracy) for name, part in seen.versions.items()} == {
        "1": (4, 1.0),
        "2": (6, 0.0),
    }
    assert seen.versions["1"].ml_return == pytest.approx(4 * 0.01 * 0.25)
    assert seen.figures()["version_2_settled"] == 6
