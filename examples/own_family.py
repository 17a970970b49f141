"""A model family of one's own: the signals most like this one, and how often they won."""

import io
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
STORED = ("x", "won", "weight", "centre", "spread")


class Neighbours:
    """Share of winners among past signals, weighted by how near their features are.

    Args:
        width: Distance at which a signal counts e times less, in deviations per feature.
        caution: Signals at even odds that are added to the neighbours.
    """

    first_params: ClassVar = {"width": 0.7, "caution": 20.0}

    def __init__(self, width: float = 0.7, caution: float = 20.0) -> None:
        self.width, self.caution = width, caution
        self.stored: dict[str, Floats] = {}

    @staticmethod
    def search_space(trial: Any) -> dict[str, float]:
        """Return parameters suggested by an Optuna trial."""
        return {
            "width": trial.suggest_float("width", 0.3, 1.5),
            "caution": trial.suggest_float("caution", 1.0, 200.0, log=True),
        }

    def fit(self, x: Floats, y: NDArray[np.bool_], sample_weight: Floats | None = None) -> Any:
        """Keep the signals; a feature that is not known is at its mean."""
        centre = np.nanmean(x, axis=0)
        spread = np.nanstd(x, axis=0) + 1e-9
        self.stored = {
            "x": np.nan_to_num((x - centre) / spread),
            "won": np.asarray(y, dtype=np.float64),
            "weight": np.ones(len(x)) if sample_weight is None else np.asarray(sample_weight),
            "centre": centre,
            "spread": spread,
        }
        return self

    def predict_proba(self, x: Floats) -> Floats:
        """Return the probabilities of a loss and of a gain, shape (n, 2)."""
        past, won, weight, centre, spread = (self.stored[name] for name in STORED)
        asked = np.nan_to_num((np.asarray(x) - centre) / spread)
        squares = (asked**2).sum(axis=1)[:, None] - 2 * asked @ past.T + (past**2).sum(axis=1)
        near = weight * np.exp(-squares.clip(0) / (2 * past.shape[1] * self.width**2))
        gain = (near @ won + self.caution / 2) / (near.sum(axis=1) + self.caution)
        return np.column_stack([1 - gain, gain])

    def to_files(self) -> dict[str, bytes]:
        """Return what was learned, in a format that cannot run code when it is read."""
        file = io.BytesIO()
        numbers = np.array([self.width, self.caution])
        np.savez(file, allow_pickle=False, numbers=numbers, **self.stored)
        return {"neighbours.npz": file.getvalue()}

    @classmethod
    def from_files(cls, files: dict[str, bytes]) -> "Neighbours":
        """Return the model that ``to_files`` stored."""
        with np.load(io.BytesIO(files["neighbours.npz"]), allow_pickle=False) as stored:
            family = cls(*stored["numbers"].tolist())
            family.stored = {name: stored[name] for name in STORED}
        return family
