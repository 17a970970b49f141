"""Calibration and scale."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steelyard.learning.calibration import (
    Calibration,
    calibrated_losses,
    fit_calibration,
    fit_scale,
    logit,
)
from steelyard.learning.folds import ScoredRows

RNG = np.random.default_rng(3)
RAW = RNG.uniform(0.3, 0.7, 2000)
CONFIDENCE = RNG.uniform(20, 100, 2000)


def scored(
    won: np.ndarray, fold: np.ndarray | None = None, weight: np.ndarray | None = None
) -> ScoredRows:
    return ScoredRows(
        index=np.arange(len(won)),
        fold=np.zeros(len(won), dtype=np.int64) if fold is None else fold,
        won=won,
        weight=np.ones(len(won)) if weight is None else weight,
    )


def test_an_overconfident_score_is_corrected() -> None:
    """Scores of 20 % and 80 % with outcomes at 40 % and 60 % are calibrated to 40 % and 60 %."""
    raw = np.repeat([0.2, 0.8], 5000)
    won = np.concatenate([np.arange(5000) < 2000, np.arange(5000) < 3000])
    calibration = fit_calibration(raw, scored(won))

    assert isinstance(calibration, Calibration)
    assert calibration.apply(np.array([0.2, 0.8])) == pytest.approx([0.4, 0.6], abs=1e-3)


@pytest.mark.parametrize(
    ("won", "reason"),
    [
        pytest.param(RAW < 0.5, "not monotone-calibratable", id="a higher score wins less often"),
        pytest.param(
            np.ones(2000, dtype=bool), "every out-of-fold outcome is the same", id="only wins"
        ),
    ],
)
def test_scores_that_cannot_be_calibrated_are_refused_with_a_reason(
    won: np.ndarray, reason: str
) -> None:
    """The result is a sentence, not a calibration."""
    refused = fit_calibration(RAW, scored(won))

    assert isinstance(refused, str)
    assert reason in refused


def test_base_rates_that_differ_between_folds_hide_no_skill() -> None:
    """Scores right within each fold: pooled they fall with the share won, as they are they rise.

    The first fold was scored low and won often, the second was scored high and won rarely. The one
    intercept that serves makes the mean ``p_win`` the share of both folds that won.
    """
    fold = np.repeat([0, 1], 2000)
    raw = np.repeat([0.40, 0.44, 0.56, 0.60], 1000)
    won = np.tile(np.arange(1000) / 1000, 4) < np.repeat([0.55, 0.60, 0.40, 0.45], 1000)
    calibration = fit_calibration(raw, scored(won, fold))

    assert isinstance(fit_calibration(raw, scored(won)), str)
    assert isinstance(calibration, Calibration)
    odds = logit(np.array([0.40, 0.44, 0.55, 0.60]))
    assert calibration.slope == pytest.approx((odds[3] - odds[2]) / (odds[1] - odds[0]), rel=1e-4)
    assert calibration.apply(raw).mean() == pytest.approx(won.mean(), abs=1e-9)


def test_scores_that_hardly_differ_get_the_slope_they_deserve() -> None:
    """A weak model's scores, squeezed a hundredfold, need a slope a hundred times as steep."""
    won = np.random.default_rng(1).random(2000) < RAW
    squeezed = 1 / (1 + np.exp(-logit(RAW) / 100))
    wide, narrow = (fit_calibration(scores, scored(won)) for scores in (RAW, squeezed))

    assert isinstance(wide, Calibration)
    assert isinstance(narrow, Calibration)
    assert narrow.slope == pytest.approx(100 * wide.slope, rel=1e-3)
    assert narrow.apply(squeezed) == pytest.approx(wide.apply(RAW), abs=1e-5)


def test_a_row_of_weight_two_counts_as_two_rows() -> None:
    """In slope, intercept, and the losses that compare trials."""
    won = np.random.default_rng(2).random(2000) < RAW
    weight = np.random.default_rng(3).integers(1, 4, 2000)
    fold = np.arange(2000) // 500
    repeated = np.repeat(np.arange(2000), weight)
    weighted = scored(won, fold, weight.astype(float))
    doubled = scored(won[repeated], fold[repeated])
    by_weight, by_rows = fit_calibration(RAW, weighted), fit_calibration(RAW[repeated], doubled)

    assert isinstance(by_weight, Calibration)
    assert isinstance(by_rows, Calibration)
    assert by_weight.slope == pytest.approx(by_rows.slope, rel=1e-6)
    assert by_weight.intercept == pytest.approx(by_rows.intercept, abs=1e-6)
    losses = calibrated_losses(RAW, weighted)[1]
    assert losses[repeated] == pytest.approx(calibrated_losses(RAW[repeated], doubled)[1], abs=1e-6)


def test_scores_without_skill_lose_what_the_base_rate_of_their_fold_does() -> None:
    """Scores that fall with the share won are worth no more than no scores at all."""
    fold = np.repeat([0, 1], 1000)
    won = np.concatenate([np.arange(1000) < 500, np.arange(1000) < 250])
    falling = np.where(won, 0.4, 0.6)
    expected = -np.mean([np.log(0.5), 0.25 * np.log(0.25) + 0.75 * np.log(0.75)])
    slope, losses = calibrated_losses(falling, scored(won, fold))

    assert slope < 0
    assert losses.mean() == pytest.approx(expected)
    assert calibrated_losses(1 - falling, scored(won, fold))[1].mean() < 0.01


def test_matched_scale_trades_equally_often() -> None:
    """On the reference, ml exceeds any confidence as often as the existing system."""
    scale = fit_scale("matched", RAW, CONFIDENCE)
    for threshold in (30, 50, 70, 90):
        assert (scale.apply(RAW) > threshold).mean() == pytest.approx(
            (threshold < CONFIDENCE).mean(), abs=0.005
        )


@settings(max_examples=50)
@given(
    p_win=st.lists(st.floats(0, 1), min_size=2, max_size=20),
    kind=st.sampled_from(["matched", "probability"]),
)
def test_a_scale_rises_and_stays_within_0_and_100(p_win: list[float], kind: str) -> None:
    """A higher ``p_win`` never has a lower confidence, also beyond the reference."""
    scale = fit_scale(kind, RAW, CONFIDENCE)  # type: ignore[arg-type]
    confidence = scale.apply(np.sort(np.array(p_win)))

    assert (np.diff(confidence) >= 0).all()
    assert ((confidence >= 0) & (confidence <= 100)).all()


def test_tied_predictions_share_one_confidence() -> None:
    """A model with two values has two confidences, each in the middle of its half."""
    scale = fit_scale("matched", np.repeat([0.4, 0.6], 1000), np.linspace(0, 100, 2000))

    assert scale.apply(np.array([0.4, 0.6])) == pytest.approx([25, 75], abs=0.5)


def test_single_rows_equal_a_batch_bit_for_bit() -> None:
    """Calibration and scale, applied row by row or to all rows."""
    calibration, scale = (
        Calibration(slope=0.7, intercept=0.1),
        fit_scale("matched", RAW, CONFIDENCE),
    )
    combined = scale.apply(calibration.apply(RAW))
    single = np.array([scale.apply(calibration.apply(np.array([raw])))[0] for raw in RAW])

    assert combined.tobytes() == single.tobytes()
