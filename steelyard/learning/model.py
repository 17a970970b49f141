"""The model: a native booster, its calibration and its scale, stored as text or UBJ and JSON. Nothing in it is code."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from steelyard.errors import FixData
from steelyard.learning.boosters import STORED_BOOSTERS, SUFFIX, StoredBooster
from steelyard.learning.calibration import Calibration, Scale
from steelyard.learning.forest import (
    REFERENCE_ROWS,
    ReferenceRows,
    forest_from_bytes,
    forest_to_bytes,
)
from steelyard.learning.policy import Family
from steelyard.learning.samples import Floats
from steelyard.learning.scorer import DESCRIPTION, FORMAT, TREES, read_description


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A version of the model, ready to predict.

    Attributes:
        booster_bytes: The booster in its library's own format.
        feature_names: Columns it expects, in order.
        trained_through: ISO time of the last outcome it was fitted, tuned or calibrated on.
        trees: The booster's trees as flat arrays, with the rows they are held against.
    """

    family: Family
    booster_bytes: bytes
    booster: StoredBooster
    feature_names: tuple[str, ...]
    calibration: Calibration
    scale: Scale
    trained_through: str
    trees: bytes

    @classmethod
    def from_booster(
        cls,
        family: Family,
        stored: bytes,
        feature_names: tuple[str, ...],
        calibration: Calibration,
        scale: Scale,
        trained_through: str,
        x: Floats,
    ) -> "Model":
        """Return the model around a stored booster that was fitted on the rows ``x``, shape (n, k)."""
        grown = STORED_BOOSTERS[family](stored)
        rows = x[np.linspace(0, len(x) - 1, min(REFERENCE_ROWS, len(x))).astype(np.int64)]
        proof = ReferenceRows(rows, grown.predict(rows), x.min(axis=0), x.max(axis=0))
        trees = forest_to_bytes(grown.forest(), proof)
        forest_from_bytes(trees)  # what the trading side would refuse is not stored
        return cls(family, stored, grown, feature_names, calibration, scale, trained_through, trees)

    def predict(self, x: Floats) -> tuple[Floats, Floats]:
        """Return ``p_win`` and ``confidence_ml`` (0-100) of features ``x``, shape (n, k) → (n,) each.

        Raises:
            FixData: If ``x`` has not one column for each feature.
        """
        self._require_columns(x)
        p_win = self.calibration.apply(self.booster.predict(x))
        return p_win, self.scale.apply(p_win)

    def contributions(self, x: Floats) -> Floats:
        """Return what each feature adds to the log odds of ``p_win``, and the expected value last, shape (n, k + 1).

        Each row sums to the log odds: Platt scaling stretches the booster's Shapley values and shifts their base.

        Raises:
            FixData: If ``x`` has not one column for each feature.
        """
        self._require_columns(x)
        stretched = self.calibration.slope * self.booster.contributions(x)
        stretched[:, -1] += self.calibration.intercept
        return stretched

    def _require_columns(self, x: Floats) -> None:
        if x.ndim != 2 or x.shape[1] != len(self.feature_names):
            raise FixData(
                f"features of shape {x.shape}, {len(self.feature_names)} columns expected; retrain the model"
            )

    def to_files(self) -> dict[str, bytes]:
        """Return the files the model is stored as; the JSON carries the booster's SHA-256."""
        booster = f"booster.{SUFFIX[self.family]}"
        description = {
            "format": FORMAT,
            "trees_sha256": hashlib.sha256(self.trees).hexdigest(),
            "family": self.family,
            "booster": booster,
            "sha256": hashlib.sha256(self.booster_bytes).hexdigest(),
            "feature_names": self.feature_names,
            "calibration": self.calibration.model_dump(),
            "scale": self.scale.model_dump(),
            "trained_through": self.trained_through,
        }
        return {
            booster: self.booster_bytes,
            TREES: self.trees,
            DESCRIPTION: json.dumps(description, indent=1).encode(),
        }

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> "Model":
        """Return the model stored in ``files``.

        Raises:
            FixData: If a file is missing, or the booster is not the one that was stored.
        """
        described = read_description(files)
        stored = files.get(described["booster"], b"")
        if hashlib.sha256(stored).hexdigest() != described["sha256"]:
            raise FixData(
                f"stored model: {described['booster']} is missing or was changed after training; retrain"
            )
        family: Family = described["family"]
        return cls(
            family,
            stored,
            STORED_BOOSTERS[family](stored),
            tuple(described["feature_names"]),
            Calibration.model_validate(described["calibration"]),
            Scale.model_validate(described["scale"]),
            described["trained_through"],
            files.get(TREES, b""),
        )
