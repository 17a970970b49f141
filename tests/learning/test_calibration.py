"""Calibration and scale."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steelyard.learning.calibration import Calibration, fit_calibration, fit_scale

RNG = np.random.default_rng(3)
RAW = RNG.uniform(0.3, 0.7, 2000)
CONFIDENCE = RNG.uniform(20, 100, 2000)


def test_an_overconfident_score_is_corrected() -> None:
    """Scores of 20 % and 80 % with outcomes at 40 % and 60 % are calibrated to 40 % and 60 %."""
    raw = np.repeat([0.2, 0.8], 5000)
    won = np.concatenate([np.arange(5000) < 2000, np.arange(5000) < 3000])
    calibration = fit_calibration(raw, won)

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
    refused = fit_calibration(RAW, won)

    assert isinstance(refused, str)
    assert reason in refused


def test_matched_scale_trades_equally_often() -> None:
    """On the reference, ml exceeds any confidence as often as the existing system."""
    scale = fit_scale("matched", RAW, CONFIDENCE)
    for threshold in (30, 50, 70, 90):
        assert (scale.apply(RAW) > threshold).mean() == pytest.approx(
            (threshold < CONFIDENCE).mean(), abs=0.005
        )


@settings(deadline=None, max_examples=50)
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
