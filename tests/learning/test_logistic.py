"""The logistic regression: strong shrinkage, missing features, plain numbers in JSON."""

import json

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from factories.samples import make_samples, weighted
from steelyard.learning.forest import ReferenceRows, forest_from_bytes, forest_to_bytes
from steelyard.learning.logistic import LogisticModel
from steelyard.learning.samples import WeightedRows

SAMPLES = make_samples(2000, signal=0.5, seed=4)
ROWS = weighted(SAMPLES)


def test_an_unshrunken_regression_finds_the_planted_weights() -> None:
    """Log odds of half a unit per deviation of the first feature, none of the others."""
    model = LogisticModel.fit(ROWS, strength=1e6)

    assert model.coefficients == pytest.approx([0.5, 0, 0, 0, 0, 0], abs=0.15)


@pytest.mark.parametrize("strength", [2e-4, 0.002, 0.02, 1.0])
def test_it_is_the_regression_of_scikit_learn(strength: float) -> None:
    """The same coefficients on standardised features, to the precision of its solver."""
    model = LogisticModel.fit(ROWS, strength)
    expected = LogisticRegression(C=strength, tol=1e-10, solver="newton-cholesky").fit(
        (ROWS.x - model.mean) / model.deviation, ROWS.won, sample_weight=ROWS.weight
    )

    assert model.coefficients == pytest.approx(expected.coef_[0], abs=1e-7)
    assert model.intercept == pytest.approx(expected.intercept_[0], abs=1e-7)


def test_the_unit_of_a_feature_does_not_matter() -> None:
    """A feature in thousandths and shifted predicts the same."""
    scaled = ROWS._replace(x=ROWS.x * [1000, 1, 1, 1, 1, 1] + 7)
    expected = LogisticModel.fit(ROWS, strength=0.002).predict(ROWS.x)

    assert LogisticModel.fit(scaled, 0.002).predict(scaled.x) == pytest.approx(expected, abs=1e-12)


def test_a_row_of_weight_two_counts_as_two_rows() -> None:
    """Means, deviations and coefficients are those of the row given twice."""
    weight = np.random.default_rng(0).integers(1, 4, 2000)
    repeated = np.repeat(np.arange(2000), weight)
    by_weight = LogisticModel.fit(ROWS._replace(weight=weight.astype(float)), 0.01)
    by_rows = LogisticModel.fit(
        WeightedRows(ROWS.x[repeated], ROWS.won[repeated], np.ones(len(repeated))), 0.01
    )

    assert by_weight.predict(ROWS.x) == pytest.approx(by_rows.predict(ROWS.x), abs=1e-9)


def test_a_missing_feature_counts_as_its_mean() -> None:
    """In the fit, in predictions, in contributions, and in the trading side's kernel."""
    x = ROWS.x.copy()
    x[::5, 2] = np.nan
    x[:, 4] = 3.0  # constant: no deviation to divide by
    model = LogisticModel.fit(ROWS._replace(x=x), 0.002)
    filled = np.where(np.isnan(x), model.mean, x)
    low, high = np.nanmin(x, axis=0), np.nanmax(x, axis=0)
    stored = forest_to_bytes(model.forest(), ReferenceRows(x, model.predict(x), low, high))
    forest, _ = forest_from_bytes(stored)

    assert np.isfinite(model.coefficients).all()
    assert model.predict(x).tolist() == model.predict(filled).tolist()
    assert forest.predict(x).tolist() == model.predict(x).tolist()
    assert (model.contributions(x)[::5, 2] == 0).all()


def test_it_is_stored_as_plain_numbers() -> None:
    """JSON that reads back to the same predictions, bit for bit."""
    model = LogisticModel.fit(ROWS, 0.002)
    content = model.to_bytes()

    assert set(json.loads(content)) == {"mean", "deviation", "coefficients", "intercept"}
    assert LogisticModel.from_bytes(content).predict(ROWS.x).tobytes() == (
        model.predict(ROWS.x).tobytes()
    )
