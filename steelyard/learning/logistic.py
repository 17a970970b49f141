"""A strongly regularised logistic regression, stored as plain numbers in JSON.

At the edges found on real bars, a booster fits mostly noise; a few shrunken weights on standardised
features tell signals apart better (`docs/results.md`, planted edges).
"""

import json
from dataclasses import dataclass

import numpy as np

from steelyard.learning.boosters import StoredLearner
from steelyard.learning.forest import Forest
from steelyard.learning.likelihood import fit_coefficients
from steelyard.learning.samples import Floats, WeightedRows

ARRAYS = ("mean", "deviation", "coefficients")


@dataclass(frozen=True, slots=True, eq=False)
class LogisticModel(StoredLearner):
    """Log odds: ``intercept`` plus ``coefficients`` times the standardised features.

    Attributes:
        mean: Weighted mean of each feature in training, shape (k,); NaN features count as it.
        deviation: Weighted standard deviation of each feature in training, shape (k,), over 0.
        coefficients: Log odds per deviation of each feature, shape (k,).
        intercept: Log odds at the mean of every feature.
    """

    mean: Floats
    deviation: Floats
    coefficients: Floats
    intercept: float

    @classmethod
    def fit(cls, rows: WeightedRows, strength: float) -> "LogisticModel":
        """Fit the regression.

        Args:
            rows: Both outcomes among them; a NaN feature is replaced by its mean.
            strength: ``C`` of the usual notation: half the sum of the squared coefficients is added
                to ``C`` times the weighted log-loss.
        """
        x, won, weight = rows
        known = np.isfinite(x)
        totals = np.maximum(weight @ known, np.finfo(np.float64).tiny)
        mean = weight @ np.where(known, x, 0.0) / totals
        deviation = np.sqrt(weight @ np.where(known, x - mean, 0.0) ** 2 / totals)
        deviation[deviation < 1e-12 * np.maximum(np.abs(mean), 1.0)] = 1.0  # constant columns
        standardised = np.where(known, (x - mean) / deviation, 0.0)
        columns = np.column_stack([standardised, np.ones(len(x))])
        penalty = np.append(np.full(x.shape[1], 1 / strength), 0.0)
        fitted = fit_coefficients(columns, won, weight, penalty)
        return cls(mean, deviation, fitted[:-1], float(fitted[-1]))

    @classmethod
    def from_bytes(cls, content: bytes) -> "LogisticModel":
        """Return the model stored as JSON."""
        stored = json.loads(content)
        mean, deviation, coefficients = (np.array(stored[name]) for name in ARRAYS)
        return cls(mean, deviation, coefficients, float(stored["intercept"]))

    def to_bytes(self) -> bytes:
        """Return the model as JSON."""
        numbers = {name: getattr(self, name).tolist() for name in ARRAYS}
        return json.dumps({**numbers, "intercept": self.intercept}, indent=1).encode()

    def predict(self, x: Floats) -> Floats:
        """Return raw probabilities of ``x``, shape (n, k) → (n,)."""
        return self.forest().predict(x)

    def contributions(self, x: Floats) -> Floats:
        """Return each feature's share of the raw log odds, and the intercept last.

        They are the Shapley values of a linear model; shape (n, k) → (n, k + 1).
        """
        shares = self.coefficients * np.nan_to_num((x - self.mean) / self.deviation, nan=0.0)
        return np.column_stack([shares, np.full(len(x), self.intercept)])

    def forest(self) -> Forest:
        """Return the linear terms; there are no trees."""
        return Forest.from_linear(self.coefficients / self.deviation, self.mean, self.intercept)

    def gain(self, features: int) -> Floats:
        """Return each feature's share of the absolute coefficients, shape (features,)."""
        sizes = np.abs(self.coefficients[:features])
        return np.asarray(sizes / sizes.sum() if sizes.sum() > 0 else sizes)
