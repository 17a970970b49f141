"""Calibration and scale."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steelyard.learning.calibration import Calibration, fit_calibration, fit_scale

RNG = np.random.default_rng(3)
RAW = RNG.uniform(0.3, 0.7, 2000)
CONFIDENCE = RNG.uniform(20, 100, 2000)


def test_an_overconfident_score_is_drawn_to_the_truth() -> None:
    """Scores at 20 % and 80 % that happen at 40 % and 60 % are calibrated to 40 % and 60 %."""
    raw = np.repeat([0.2, 0.8], 5000)
    won = np.concatenate([np.arange(5000) < 2000, np.arange(5000) < 3000])
    calibration = fit_calibration(raw, won)

    assert isinstance(calibration, Calibration)
    assert calibration.apply(np.array([0.2, 0.8])) == pytest.approx([0.4, 0.6], abs=1e-3)


@pytest.mark.parametrize(
    ("won", "words"),
    [
        pytest.param(RAW < 0.5, "not monotone-calibratable", id="a higher score wins less often"),
        pytest.param(
            np.ones(2000, dtype=bool), "every out-of-fold outcome is the same", id="only wins"
        ),
    ],
)
def test_what_cannot_be_calibrated_is_refused_with_a_reason(won: np.ndarray, words: str) -> None:
    """The answer is a sentence, not a model."""
    refused = fit_calibration(RAW, won)

    assert isinstance(refused, str)
    assert words in refused


def test_matched_scale_trades_equally_often() -> None:
    """On its reference, ml exceeds any confidence as often as the existing system does."""
    scale = fit_scale("matched", RAW, CONFIDENCE)
    for threshold in (30, 50, 70, 90):
        assert (scale.apply(RAW) > threshold).mean() == pytest.approx(
            (threshold < CONFIDENCE).mean(), abs=0.005
        )


@settings(deadline=None, max_examples=50)
@given(
    p=st.lists(st.floats(0, 1), min_size=2, max_size=20),
    kind=st.sampled_from(["matched", "probability"]),
)
def test_a_scale_rises_and_stays_within_0_and_100(p: list[float], kind: str) -> None:
    """More p_win never means less confidence, also beyond the reference."""
    scale = fit_scale(kind, RAW, CONFIDENCE)  # type: ignore[arg-type]
    confidence = scale.apply(np.sort(np.array(p)))

    assert (np.diff(confidence) >= 0).all()
    assert ((confidence >= 0) & (confidence <= 100)).all()


def test_tied_predictions_share_one_confidence() -> None:
    """A model that says one of two things has two confidences, each in the middle of its half."""
    scale = fit_scale("matched", np.repeat([0.4, 0.6], 1000), np.linspace(0, 100, 2000))

    assert scale.apply(np.array([0.4, 0.6])) == pytest.approx([25, 75], abs=0.5)


def test_one_row_gives_bit_for_bit_what_it_gives_among_others() -> None:
    """Applied one by one or together."""
    calibration, scale = (
        Calibration(slope=0.7, intercept=0.1),
        fit_scale("matched", RAW, CONFIDENCE),
    )
    together = scale.apply(calibration.apply(RAW))
    alone = np.array([scale.apply(calibration.apply(np.array([raw])))[0] for raw in RAW])

    assert together.tobytes() == alone.tobytes()
