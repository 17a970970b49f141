"""Model: a fitted learner, its calibration and its scale, stored as text, UBJ and JSON, no code."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from steelyard.errors import FixData
from steelyard.learning.boosters import StoredLearner
from steelyard.learning.calibration import Calibration, Scale
from steelyard.learning.families import read_learner
from steelyard.learning.forest import (
    REFERENCE_ROWS,
    ReferenceRows,
    forest_from_bytes,
    forest_to_bytes,
    reference_from_bytes,
    reference_to_bytes,
)
from steelyard.learning.own_family import ClassLoader, installed_class, is_own
from steelyard.learning.policy import Family
from steelyard.learning.samples import Floats
from steelyard.learning.scorer import (
    DESCRIPTION,
    FORMAT,
    TREES,
    feature_positions,
    read_description,
)


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A version of the model, ready to predict.

    Attributes:
        family: Family of the learner.
        learner_file: Name of the file with the learner.
        learner_bytes: The learner in its own format.
        learner: The learner, read back.
        feature_names: Columns it expects, in order.
        calibration: From raw probability to ``p_win``.
        scale: From ``p_win`` to ``confidence_ml``.
        trained_through: ISO time of the last outcome it was fitted, tuned or calibrated on.
        trees: Its trees or linear terms as flat arrays, with the rows that check them.
    """

    family: Family
    learner_file: str
    learner_bytes: bytes
    learner: StoredLearner
    feature_names: tuple[str, ...]
    calibration: Calibration
    scale: Scale
    trained_through: str
    trees: bytes

    @classmethod
    def from_learner(
        cls,
        family: Family,
        file: tuple[str, bytes],
        feature_names: tuple[str, ...],
        calibration: Calibration,
        scale: Scale,
        trained_through: str,
        x: Floats,
        load: ClassLoader = installed_class,
    ) -> "Model":
        """Return the model of a fitted learner.

        Args:
            family: Family of the learner.
            file: Name and content of the learner in its own format.
            feature_names: Columns of ``x``.
            calibration: Fitted on out-of-fold predictions.
            scale: Fitted on out-of-fold predictions.
            trained_through: ISO time of the last outcome used.
            x: Rows it was fitted on, shape (n, k); NaN for a missing feature.
            load: Returns the class of a family of the user's own.

        Raises:
            FixData: If the flat arrays do not reproduce the learner's predictions.
        """
        rows = x[np.linspace(0, len(x) - 1, min(REFERENCE_ROWS, len(x))).astype(np.int64)]
        learner = read_learner(family, file, rows, load)
        low, high = np.fmin.reduce(x, axis=0), np.fmax.reduce(x, axis=0)  # NaN only if all are
        reference = ReferenceRows(rows, learner.predict(rows), low, high)
        if is_own(family):
            trees = reference_to_bytes(reference)
        else:
            trees = forest_to_bytes(learner.forest(), reference)
            forest_from_bytes(trees)  # trees the trading side would refuse are not stored
        return cls(
            family=family,
            learner_file=file[0],
            learner_bytes=file[1],
            learner=learner,
            feature_names=feature_names,
            calibration=calibration,
            scale=scale,
            trained_through=trained_through,
            trees=trees,
        )

    def predict(self, x: Floats) -> tuple[Floats, Floats]:
        """Return ``p_win`` and ``confidence_ml`` (0-100) of ``x``, shape (n, k) → (n,) each.

        Raises:
            FixData: If ``x`` does not have one column per feature.
        """
        self._require_columns(x)
        p_win = self.calibration.apply(self.learner.predict(x))
        return p_win, self.scale.apply(p_win)

    def arrange(self, x: Floats, names: tuple[str, ...]) -> Floats:
        """Return the model's features among the columns of ``x``, in its order, shape (n, k).

        Args:
            x: Features of signals, shape (n, any number).
            names: Columns of ``x``.

        Raises:
            FixData: If one of the model's features is not among them.
        """
        positions = feature_positions(self.feature_names, names)
        if positions is None:
            missing = ", ".join(sorted(set(self.feature_names) - set(names)))
            raise FixData(f"the model was trained with {missing}, no longer known; retrain")
        return x[:, positions]

    def contributions(self, x: Floats) -> Floats:
        """Return each feature's share of the log odds of ``p_win``, and their expected value last.

        Each row sums to the log odds: Platt scaling stretches the Shapley values and
        shifts their base. Shape (n, k) → (n, k + 1).

        Raises:
            FixData: If ``x`` does not have one column per feature.
        """
        self._require_columns(x)
        values = self.calibration.slope * self.learner.contributions(x)
        values[:, -1] += self.calibration.intercept
        return values

    def _require_columns(self, x: Floats) -> None:
        if x.ndim != 2 or x.shape[1] != len(self.feature_names):
            raise FixData(
                f"features of shape {x.shape}, {len(self.feature_names)} columns expected; "
                "retrain the model"
            )

    def to_files(self) -> dict[str, bytes]:
        """Return the files of the model, name → content; the JSON holds the learner's SHA-256."""
        description = {
            "format": FORMAT,
            "trees_sha256": hashlib.sha256(self.trees).hexdigest(),
            "family": self.family,
            "booster": self.learner_file,
            "sha256": hashlib.sha256(self.learner_bytes).hexdigest(),
            "feature_names": self.feature_names,
            "calibration": self.calibration.model_dump(),
            "scale": self.scale.model_dump(),
            "trained_through": self.trained_through,
        }
        return {
            self.learner_file: self.learner_bytes,
            TREES: self.trees,
            DESCRIPTION: json.dumps(description, indent=1).encode(),
        }

    @classmethod
    def from_files(cls, files: Mapping[str, bytes], load: ClassLoader = installed_class) -> "Model":
        """Return a stored model.

        Args:
            files: File name → content.
            load: Returns the class of a family of the user's own.

        Raises:
            FixData: If a file is missing, or the learner was changed after training.
        """
        description = read_description(files)
        learner_bytes = files.get(description["booster"], b"")
        if hashlib.sha256(learner_bytes).hexdigest() != description["sha256"]:
            raise FixData(
                f"stored model: {description['booster']} is missing or was changed after training; "
                "retrain"
            )
        family: Family = description["family"]
        file, trees = (description["booster"], learner_bytes), files.get(TREES, b"")
        reference = reference_from_bytes(trees).x if is_own(family) else np.empty((0, 0))
        return cls(
            family=family,
            learner_file=file[0],
            learner_bytes=learner_bytes,
            learner=read_learner(family, file, reference, load),
            feature_names=tuple(description["feature_names"]),
            calibration=Calibration.model_validate(description["calibration"]),
            scale=Scale.model_validate(description["scale"]),
            trained_through=description["trained_through"],
            trees=trees,
        )
