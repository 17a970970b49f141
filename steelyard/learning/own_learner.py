"""A stored model of a family of the user's own, as trainings and explanations use it."""

from dataclasses import dataclass

import numpy as np

from steelyard.errors import FixData
from steelyard.learning.boosters import StoredLearner
from steelyard.learning.calibration import logit
from steelyard.learning.forest import Forest
from steelyard.learning.own_family import ClassLoader, stored_answers
from steelyard.learning.samples import Floats
from steelyard.scoring.onnx import Answer

PERMUTATIONS = 8
"""Orders of the features over which their shares are averaged, half of them the others reversed."""


@dataclass(frozen=True, slots=True, eq=False)
class OwnLearner(StoredLearner):
    """A stored model of a family of the user's own.

    Attributes:
        answer: Returns the raw probabilities of rows, shape (n, k) → (n,).
        typical: A typical row, against which the shares of the features are measured, shape (k,).
    """

    answer: Answer
    typical: Floats

    @classmethod
    def read(
        cls, family: str, file: tuple[str, bytes], reference: Floats, load: ClassLoader
    ) -> "OwnLearner":
        """Return a stored model.

        Args:
            family: ``MODULE:CLASS``.
            file: Name and content of its file.
            reference: Rows of its training, shape (r, k).
            load: Returns the class of that name.

        Raises:
            FixData: If it cannot be read.
            FixConfiguration: If its class cannot be loaded.
        """
        known = [column[np.isfinite(column)] for column in reference.T]
        typical = np.array([np.median(column) if len(column) else np.nan for column in known])
        return cls(stored_answers(family, file, load), typical)

    def predict(self, x: Floats) -> Floats:
        """Return raw probabilities of ``x``, shape (n, k) → (n,)."""
        return self.answer(x)

    def contributions(self, x: Floats) -> Floats:
        """Return sampled Shapley values against a typical row, and its log odds last.

        Features take their values one after the other, in random orders, each forward and backward
        (Štrumbelj and Kononenko, "Explaining prediction models and individual predictions with
        feature contributions", Knowledge and Information Systems 41, 2014). Each row sums to the
        raw log odds. Shape (n, k) → (n, k + 1).
        """
        rng, features = np.random.default_rng(0), x.shape[1]
        shares = np.zeros((len(x), features + 1))
        orders = [rng.permutation(features) for _ in range(PERMUTATIONS // 2)]
        for order in (*orders, *(order[::-1] for order in orders)):
            rows = np.tile(self.typical, (len(x), 1))
            odds = [logit(self.answer(rows))]
            for feature in order:
                rows[:, feature] = x[:, feature]
                odds.append(logit(self.answer(rows)))
            shares[:, order] += np.diff(np.array(odds), axis=0).T
            shares[:, -1] += odds[0]
        return shares / (2 * len(orders))

    def forest(self) -> Forest:
        """Raise: the model has no trees of ours.

        Raises:
            FixData: Always.
        """
        raise FixData("a model of a family of one's own has no flat trees")

    def gain(self, features: int) -> Floats:
        """Return each feature's share of what moves the typical row by one, shape (features,)."""
        rows = np.tile(np.nan_to_num(self.typical), (features, 1))
        moved = np.abs(logit(self.answer(rows + np.eye(features))) - logit(self.answer(rows)))
        return np.asarray(moved / moved.sum() if moved.sum() > 0 else moved)
