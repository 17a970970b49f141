"""Scorer: evaluates a stored model for one row in microseconds, on the trading side.

It reads the flat trees and the JSON beside them; neither a booster library nor scikit-learn is
imported. A model of a family of the user's own has no flat trees: it answers itself, within the
same deadline.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steelyard.compiled import compiled
from steelyard.errors import FixData
from steelyard.learning.calibration import Calibration, Scale
from steelyard.learning.forest import (
    Forest,
    ReferenceRows,
    forest_from_bytes,
    reference_from_bytes,
)
from steelyard.learning.own_family import (
    ROUNDING,
    ClassLoader,
    installed_class,
    is_own,
    stored_answers,
)
from steelyard.market.features import LARGEST, may_be_missing
from steelyard.scoring.kernels import Bools, Floats, score_row
from steelyard.scoring.onnx import Answer

DESCRIPTION, TREES = "model.json", "forest.npz"
FORMAT, READABLE = 4, (2, 3, 4)
"""Format written, and formats read; up to 2 there were no linear terms, up to 3 no NaN in trees."""
RANGE_MARGIN = 1.0
"""Accepted distance of a feature from its range in training, in widths of that range."""


@dataclass(frozen=True, slots=True, eq=False)
class Scorer:
    """A stored model, ready to score row by row.

    Attributes:
        forest: Trees of the booster; None for a family of the user's own.
        answer: Raw probabilities of rows by a family of the user's own; None if there are trees.
        calibration: From raw probability to ``p_win``.
        scale: From ``p_win`` to ``confidence_ml``.
        feature_names: Features of a row, in order.
        low: Smallest accepted value of each feature, shape (k,).
        high: Largest accepted value of each feature, shape (k,).
        optional: Features that may be NaN, the user's own, shape (k,).
        trained_through: ISO time of the last outcome it was fitted, tuned or calibrated on.
        grid: ``p_win`` of the matched scale, shape (q,); empty for ``probability``.
        matched: Confidence, 0-100, at each point of ``grid``, shape (q,).
    """

    forest: Forest | None
    answer: Answer | None
    calibration: Calibration
    scale: Scale
    feature_names: tuple[str, ...]
    low: Floats
    high: Floats
    optional: Bools
    trained_through: str
    grid: Floats
    matched: Floats

    @classmethod
    def from_files(
        cls, files: Mapping[str, bytes], load: ClassLoader = installed_class
    ) -> "Scorer":
        """Return the scorer of a stored model after checking its trees.

        Args:
            files: File name → content, as ``Model.to_files`` gives them.
            load: Returns the class of a family of the user's own.

        Raises:
            FixData: If a file is missing, damaged, changed, or of another format.
        """
        description = read_description(files)
        trees = files.get(TREES, b"")
        if hashlib.sha256(trees).hexdigest() != description["trees_sha256"]:
            raise FixData(
                f"stored model: {TREES} is missing or was changed after training; retrain"
            )
        forest, reference, answer = _read_learner(description, files, trees, load)
        scale = Scale.model_validate(description["scale"])
        names = tuple(description["feature_names"])
        width = np.maximum(reference.high - reference.low, 1e-12)
        unseen = np.isnan(width)  # no value in training: the opinion cannot depend on one now
        return cls(
            forest=forest,
            answer=answer,
            calibration=Calibration.model_validate(description["calibration"]),
            scale=scale,
            feature_names=names,
            low=np.where(unseen, -LARGEST, reference.low - RANGE_MARGIN * width),
            high=np.where(unseen, LARGEST, reference.high + RANGE_MARGIN * width),
            optional=may_be_missing(names),
            trained_through=description["trained_through"],
            grid=np.array(scale.p_win, dtype=np.float64),
            matched=np.array(scale.confidence, dtype=np.float64),
        )

    def arrange(self, row: Floats, names: tuple[str, ...]) -> Floats | None:
        """Return the model's features among those of a row, in its order; None if one is missing.

        Args:
            row: Features of a signal, shape (any number,).
            names: Their names.
        """
        if names == self.feature_names:
            return row
        positions = feature_positions(self.feature_names, names)
        return None if positions is None else row[positions]

    def usable(self, row: Floats) -> bool:
        """Return whether every feature of a row, shape (k,), is within its accepted range.

        The user's own features may be NaN.
        """
        return bool(within_bounds(row, self.low, self.high, self.optional))

    def lacks(self, row: Floats) -> bool:
        """Return whether a feature of a row, shape (k,), is missing that may not be."""
        return bool((~np.isfinite(row) & ~self.optional).any())

    def score(self, row: Floats) -> tuple[float, float]:
        """Return ``p_win`` and ``confidence_ml`` (0-100) of one usable row, shape (k,)."""
        forest, platt = self.forest, self.calibration
        if forest is None:
            assert self.answer is not None  # noqa: S101  # one of the two is there
            opinion = platt.apply(self.answer(row[None, :]))
            return float(opinion[0]), float(self.scale.apply(opinion)[0])
        p_win, confidence = score_row(
            row,
            *forest.terms(),
            forest.single,
            platt.slope,
            platt.intercept,
            self.grid,
            self.matched,
        )
        return p_win, confidence


def _read_learner(
    description: dict[str, Any], files: Mapping[str, bytes], trees: bytes, load: ClassLoader
) -> tuple[Forest | None, ReferenceRows, Answer | None]:
    """Return the checked trees, or what answers instead of them, with the reference rows.

    Raises:
        FixData: If anything is missing or damaged, or answers otherwise than after training.
    """
    family, name = description["family"], description["booster"]
    if not is_own(family):
        return (*forest_from_bytes(trees), None)
    content = files.get(name, b"")
    if hashlib.sha256(content).hexdigest() != description["sha256"]:
        raise FixData(f"stored model: {name} is missing or was changed after training; retrain")
    reference = reference_from_bytes(trees)
    answer = stored_answers(family, (name, content), load)
    largest = float(np.max(np.abs(answer(reference.x) - reference.raw), initial=0.0))
    if not largest <= ROUNDING:
        raise FixData(
            f"the stored model of {family} answers {largest:.1e} off what it did after training, "
            f"at most {ROUNDING:.0e} allowed; retrain"
        )
    return None, reference, answer


def feature_positions(wanted: tuple[str, ...], names: tuple[str, ...]) -> NDArray[np.int64] | None:
    """Return the positions of ``wanted`` among ``names``, shape (k,); None if one is missing.

    A model that was trained before a feature was added goes on serving.

    Args:
        wanted: Features of a model, in its order.
        names: Features there are.
    """
    positions = {name: position for position, name in enumerate(names)}
    if not positions.keys() >= set(wanted):
        return None
    return np.array([positions[name] for name in wanted], dtype=np.int64)


def read_description(files: Mapping[str, bytes]) -> dict[str, Any]:
    """Return the JSON description among the files of a stored model.

    Args:
        files: File name → content.

    Raises:
        FixData: If it is missing, no JSON, or of another format.
    """
    if DESCRIPTION not in files:
        raise FixData(f"stored model has no {DESCRIPTION}; retrain")
    try:
        description: dict[str, Any] = json.loads(files[DESCRIPTION])
    except ValueError as error:
        raise FixData(f"stored model: {DESCRIPTION} is not JSON; retrain") from error
    if description.get("format") not in READABLE:
        raise FixData(
            f"stored model has format {description.get('format')}, {FORMAT} expected; retrain"
        )
    return description


@compiled
def within_bounds(row: Floats, low: Floats, high: Floats, optional: Bools) -> bool:
    """Return whether every value lies within its bounds; NaN does if it is optional.

    Args:
        row: Values, shape (k,).
        low: Lower bounds, inclusive, shape (k,).
        high: Upper bounds, inclusive, shape (k,).
        optional: True if a value may be NaN, shape (k,).
    """
    for i in range(len(row)):
        if not low[i] <= row[i] <= high[i] and not (optional[i] and np.isnan(row[i])):
            return False
    return True


def files_hash(files: Mapping[str, bytes]) -> str:
    """Return the SHA-256 over files (name → content) and their names, in any order."""
    digests = (f"{name}:{hashlib.sha256(files[name]).hexdigest()}" for name in sorted(files))
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()
