"""Arms of the pilot: earnings per assigned signal, and a check of the split."""

import math

import numpy as np
import pandas as pd
import pytest

from factories.evidence import EARLIER
from factories.settled import UNLIMITED, held, settled
from steelyard.desk.blend import assign_arm
from steelyard.evaluation.ab_test import compare_arms
from steelyard.evaluation.books import SizingPolicy
from steelyard.evaluation.evidence import WindowPolicy, gather_evidence
from steelyard.evaluation.positions import take_positions


def arms_of(control: int, treatment: int) -> list[str]:
    return ["control"] * control + ["treatment"] * treatment


def test_an_arm_earns_per_assigned_signal_traded_or_not() -> None:
    """Two control signals, both traded; four treatment signals, two of them traded."""
    frame = held(6, arm=arms_of(2, 4), decision=[True, True, True, True, False, False])
    arms = compare_arms(frame)

    assert (arms.control, arms.treatment) == (2, 4)
    assert arms.control_return == pytest.approx(0.01 * 0.005 / 0.02)
    assert arms.treatment_return == pytest.approx(arms.control_return / 2)
    assert arms.difference == pytest.approx(-arms.control_return / 2)


def test_on_days_of_one_signal_the_standard_error_is_welchs() -> None:
    """It equals the formula over the variances of both arms."""
    rng = np.random.default_rng(0)
    frame = held(300, arm=arms_of(100, 200), net_return=rng.normal(0, 0.02, 300))
    earned = frame["net_return"].to_numpy() * 0.25
    by_hand = math.sqrt(earned[:100].var() / 100 + earned[100:].var() / 200)

    assert compare_arms(frame).standard_error == pytest.approx(by_hand * math.sqrt(300 / 299))


def test_signals_of_a_day_that_share_their_luck_count_as_one() -> None:
    """Ten equal signals a day: the error of thirty days; both arms on a day share what moves it."""
    luck = np.random.default_rng(0).normal(0, 0.02, 30)
    days = pd.Timestamp(EARLIER) + pd.to_timedelta(np.repeat(np.arange(30), 10), unit="D")
    frame = settled(300, net_return=np.repeat(luck, 10), symbol=[f"S{i % 10}" for i in range(300)])
    frame = frame.assign(decided_at=days, settled_at=days + pd.Timedelta("1h"))
    apart, mixed = (
        compare_arms(take_positions(frame.assign(arm=arm), SizingPolicy(), UNLIMITED))
        for arm in (np.repeat(arms_of(15, 15), 10), ["control", "treatment"] * 150)
    )
    by_hand = math.sqrt((luck[:15].var() / 15 + luck[15:].var() / 15) * 30 / 29) * 0.25

    assert apart.standard_error == pytest.approx(by_hand)
    assert mixed.standard_error == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(
    ("control", "treatment", "uneven"),
    [(50, 50, False), (40, 60, False), (30, 70, True), (0, 12, True)],
)
def test_an_uneven_split_has_a_tiny_probability(control: int, treatment: int, uneven: bool) -> None:
    """40 to 60 is plausible, 30 to 70 is not."""
    assert (
        compare_arms(held(control + treatment, arm=arms_of(control, treatment))).sample_ratio_p
        < 0.001
    ) is uneven


def test_empty_arms_give_nan() -> None:
    """Outside pilot every signal is treated: nothing to compare."""
    arms = compare_arms(held(5))

    assert (arms.control, arms.treatment) == (0, 0)
    assert all(
        math.isnan(figure) for figure in (arms.difference, arms.standard_error, arms.sample_ratio_p)
    )


def test_the_hash_splits_in_halves_and_never_changes() -> None:
    """10,000 ids: a plausible split, and no id changes its arm."""
    ids = [f"AAPL:{number}:buy" for number in range(10_000)]
    first = [assign_arm(signal_id, "pilot", "steelyard-pilot") for signal_id in ids]

    assert first == [assign_arm(signal_id, "pilot", "steelyard-pilot") for signal_id in ids]
    assert compare_arms(held(10_000, arm=first)).sample_ratio_p > 0.001
    assert first != [assign_arm(signal_id, "pilot", "another-key") for signal_id in ids]


def test_several_versions_in_a_month_have_results_of_their_own() -> None:
    """Count, accuracy and return of each version, also in the flat figures."""
    frame = held(10, model_version=["1"] * 4 + ["2"] * 6, p_win=[0.6] * 4 + [0.4] * 6)
    end = EARLIER + (frame["settled_at"].iloc[-1].to_pydatetime() - EARLIER)
    evidence = gather_evidence(frame, end, EARLIER, WindowPolicy(30, 5, 120))

    assert {
        name: (results.settled, results.accuracy) for name, results in evidence.versions.items()
    } == {
        "1": (4, 1.0),
        "2": (6, 0.0),
    }
    assert evidence.versions["1"].ml_return == pytest.approx(4 * 0.01 * 0.25)
    assert evidence.figures()["version_2_settled"] == 6
