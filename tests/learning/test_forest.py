"""Flat trees and linear terms reproduce the native predictions of every family."""

import hashlib
import io
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from factories.samples import make_samples, weighted
from steelyard.errors import FixData
from steelyard.learning.boosters import GROWING_BOOSTERS, BoosterData
from steelyard.learning.families import READERS
from steelyard.learning.forest import (
    REFERENCE_ROWS,
    ReferenceRows,
    forest_from_bytes,
    forest_to_bytes,
)
from steelyard.learning.model import Model
from steelyard.learning.policy import FAMILIES, BoosterFamily, Family, LearningPolicy
from steelyard.learning.samples import Samples
from steelyard.learning.scorer import DESCRIPTION, TREES, Scorer
from steelyard.learning.training import train

SAMPLES = make_samples(1500, signal=1.2, seed=5)
BOOSTERS: tuple[BoosterFamily, ...] = ("lightgbm", "xgboost")
SINGLE = 3e-7
"""Rounding of single precision in a sum of trees and its logistic function."""
ROWS = np.random.default_rng(1).normal(scale=1.5, size=(5000, 6))


def grow_booster(family: BoosterFamily, rounds: int = 120, samples: Samples = SAMPLES) -> bytes:
    booster = GROWING_BOOSTERS[family](
        {"learning_rate": 0.1}, BoosterData.from_rows(weighted(samples)), 3
    )
    for _ in range(rounds):
        booster.grow()
    return booster.to_bytes(rounds)


@pytest.fixture(scope="module", params=FAMILIES)
def model(request: pytest.FixtureRequest) -> Model:
    model = train(SAMPLES, LearningPolicy(trials=3, rounds=40, families=(request.param,))).model
    assert model is not None
    return model


def test_lightgbm_is_reproduced_bit_for_bit() -> None:
    """5,000 rows, 120 trees."""
    native = READERS["lightgbm"](grow_booster("lightgbm"))

    assert native.forest().predict(ROWS).tobytes() == native.predict(ROWS).tobytes()


def test_xgboost_is_reproduced_to_single_precision() -> None:
    """Rows exactly at a bound go the same way, too."""
    native = READERS["xgboost"](grow_booster("xgboost"))
    trees = native.forest()
    at_bounds = np.repeat(ROWS[:1], 500, axis=0)
    inner = np.flatnonzero(trees.feature >= 0)[:500]
    at_bounds[np.arange(len(inner)), trees.feature[inner]] = np.nextafter(
        trees.threshold[inner].astype(np.float32), np.float32(np.inf)
    )

    assert np.abs(trees.predict(ROWS) - native.predict(ROWS)).max() < SINGLE
    assert np.abs(trees.predict(at_bounds) - native.predict(at_bounds)).max() < SINGLE


def test_a_missing_feature_goes_where_the_booster_sends_it() -> None:
    """Missing in training (features 0 to 2) or for the first time now, in every combination."""
    rng = np.random.default_rng(7)
    gaps = rng.random(SAMPLES.x.shape) < [0.3, 0.5, 0.9, 0, 0, 0]
    gappy = replace(SAMPLES, x=np.where(gaps, np.nan, SAMPLES.x))
    rows = np.where(rng.random(ROWS.shape) < 0.5, np.nan, ROWS)
    lightgbm, xgboost = (READERS[name](grow_booster(name, 120, gappy)) for name in BOOSTERS)

    assert lightgbm.forest().predict(rows).tobytes() == lightgbm.predict(rows).tobytes()
    # XGBoost adds its trees up in single precision, whose last place is 6e-8 here
    assert np.abs(xgboost.forest().predict(rows) - xgboost.predict(rows)).max() < 3e-7
    assert 0 < xgboost.forest().missing_left.sum() < (xgboost.forest().feature >= 0).sum()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_learns_from_features_that_may_be_missing(family: Family) -> None:
    """The stored scorer takes NaN in the user's own features alone, and says what the model says.

    A feature without any value in training takes any number: the opinion cannot depend on it.
    """
    names = (*SAMPLES.feature_names[:4], "own_gappy", "own_empty")
    x = SAMPLES.x.copy()
    x[::3, 4], x[:, 5] = np.nan, np.nan
    samples = replace(SAMPLES, x=x, feature_names=names)
    model = train(samples, LearningPolicy(trials=2, rounds=30, families=(family,))).model
    assert model is not None
    scorer = Scorer.from_files(model.to_files())
    scored = [scorer.score(row)[0] for row in x[:60]]
    known, unseen, lacking, infinite = x[1].copy(), x[1].copy(), x[1].copy(), x[1].copy()
    unseen[5], lacking[3], infinite[4] = 1e6, np.nan, np.inf

    np.testing.assert_allclose(scored, model.predict(x[:60])[0], atol=1e-6)
    assert all(scorer.usable(row) for row in (known, unseen, *x[:60]))
    assert scorer.score(unseen) == scorer.score(known)
    assert [scorer.usable(lacking), scorer.lacks(lacking)] == [False, True]
    assert [scorer.usable(infinite), scorer.lacks(infinite)] == [False, False]


def test_a_scorer_reproduces_the_model(model: Model) -> None:
    """``p_win`` and ``confidence_ml``, row by row, from the stored files alone."""
    scorer = Scorer.from_files(model.to_files())
    p_win, confidence = model.predict(SAMPLES.x[:300])
    scored = np.array([scorer.score(row) for row in SAMPLES.x[:300]])

    np.testing.assert_allclose(scored[:, 0], p_win, atol=3e-7)
    np.testing.assert_allclose(scored[:, 1], confidence, atol=2e-3)
    assert scorer.feature_names == model.feature_names


def test_a_probability_scale_is_a_hundred_times_p_win() -> None:
    """``confidence_ml`` is 100 · p_win."""
    model = train(SAMPLES, LearningPolicy(trials=2, rounds=20, scale="probability")).model
    assert model is not None
    p_win, confidence = Scorer.from_files(model.to_files()).score(SAMPLES.x[0])

    assert confidence == 100 * p_win


def test_a_model_reads_its_features_by_name(model: Model) -> None:
    """In any order, among others; without one of its own it gives no opinion."""
    scorer, names = Scorer.from_files(model.to_files()), model.feature_names
    row = SAMPLES.x[0]
    arranged = scorer.arrange(np.append(row[::-1], 9.0), (*names[::-1], "of a later version"))

    assert arranged is not None
    assert arranged.tolist() == row.tolist()
    assert scorer.arrange(row, names) is row
    assert scorer.arrange(row, (*names[:-1], "renamed")) is None
    assert model.arrange(SAMPLES.x[:, ::-1], names[::-1]).tolist() == SAMPLES.x.tolist()
    with pytest.raises(FixData, match=f"trained with {names[-1]}, no longer known; retrain"):
        model.arrange(SAMPLES.x, (*names[:-1], "renamed"))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e9])
def test_a_row_outside_the_accepted_range_is_not_usable(model: Model, value: float) -> None:
    """NaN, infinity, or far outside the range of training."""
    scorer = Scorer.from_files(model.to_files())
    row = SAMPLES.x[0].copy()
    assert scorer.usable(row)
    row[3] = value

    assert not scorer.usable(row)


def test_a_model_stored_before_missing_features_goes_on_serving(model: Model) -> None:
    """Format 3 does not say where a missing feature goes; such a model had none."""
    files = model.to_files()
    with np.load(io.BytesIO(files[TREES])) as archive:
        arrays = {name: archive[name] for name in archive.files if name != "missing_left"}
    stored = io.BytesIO()
    np.savez(stored, **arrays)
    description = json.loads(files[DESCRIPTION])
    description |= {"format": 3, "trees_sha256": hashlib.sha256(stored.getvalue()).hexdigest()}
    before = {TREES: stored.getvalue(), DESCRIPTION: json.dumps(description).encode()}
    scorer, row = Scorer.from_files(files | before), SAMPLES.x[0]

    assert scorer.score(row) == Scorer.from_files(files).score(row)


def test_changed_files_are_refused(model: Model) -> None:
    """A changed byte, empty trees, no trees, no description, an older format, no JSON."""
    files = model.to_files()
    for broken in (
        files | {TREES: files[TREES][:-1] + b"x"},
        files | {TREES: b""},
        {name: content for name, content in files.items() if name != TREES},
        {name: content for name, content in files.items() if name != DESCRIPTION},
        files | {DESCRIPTION: files[DESCRIPTION].replace(b'"format": 4', b'"format": 1')},
        files | {DESCRIPTION: b"{"},
    ):
        with pytest.raises(FixData, match="retrain"):
            Scorer.from_files(broken)


def test_trees_with_other_predictions_are_refused() -> None:
    """Loading checks the kernel against the native predictions and refuses damaged trees."""
    native = READERS["lightgbm"](grow_booster("lightgbm", 20))
    trees, x = native.forest(), SAMPLES.x[:50]
    reference = ReferenceRows(x, native.predict(x), x.min(axis=0), x.max(axis=0))
    assert (
        forest_from_bytes(forest_to_bytes(trees, reference))[0].predict(x).tobytes()
        == reference.raw.tobytes()
    )

    with pytest.raises(FixData, match="off what the booster did"):
        forest_from_bytes(
            forest_to_bytes(
                trees, ReferenceRows(x, reference.raw + 1e-3, reference.low, reference.high)
            )
        )
    trees.left[0] = 10**6
    with pytest.raises(FixData, match="a node refers to a node that does not follow it"):
        forest_from_bytes(forest_to_bytes(trees, reference))
    with pytest.raises(FixData, match="cannot be read"):
        forest_from_bytes(b"PK nonsense")
    assert REFERENCE_ROWS >= 200


def test_a_scorer_needs_no_booster() -> None:
    """Nor scikit-learn: the trading side imports neither."""
    heavy = ("xgboost", "lightgbm", "sklearn")
    code = f"import sys, steelyard.learning.scorer; print([m for m in {heavy} if m in sys.modules])"
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert process.stdout.strip() == "[]"
