"""The stored model as the trading side asks it: one row in, ``p_win`` and ``confidence_ml`` out, in microseconds.

It reads the flat trees and the JSON beside them; neither booster, nor scikit-learn, is imported.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from steelyard.errors import FixData
from steelyard.learning.calibration import Calibration, Scale
from steelyard.learning.forest import Floats, Forest, Ints, forest_from_bytes, log_odds

DESCRIPTION, TREES = "model.json", "forest.npz"
FORMAT = 2
RANGE_MARGIN = 1.0
"""A feature may lie outside what training saw by this many widths of that range, and no further."""


@dataclass(frozen=True, slots=True, eq=False)
class Scorer:
    """A model ready to be asked row by row.

    Attributes:
        feature_names: What a row holds, in order.
        low: Smallest value a feature may have, shape (k,); ``high`` the largest.
        trained_through: ISO time of the last outcome it was fitted, tuned or calibrated on.
    """

    forest: Forest
    calibration: Calibration
    scale: Scale
    feature_names: tuple[str, ...]
    low: Floats
    high: Floats
    trained_through: str
    grid: Floats
    matched: Floats

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> "Scorer":
        """Return the scorer of a stored model, once its trees were held against the native predictions.

        Raises:
            FixData: If a file is missing, damaged, changed, or of another format.
        """
        described = read_description(files)
        trees = files.get(TREES, b"")
        if hashlib.sha256(trees).hexdigest() != described["trees_sha256"]:
            raise FixData(
                f"stored model: {TREES} is missing or was changed after training; retrain"
            )
        forest, proof = forest_from_bytes(trees)
        scale = Scale.model_validate(described["scale"])
        width = np.maximum(proof.high - proof.low, 1e-12)
        return cls(
            forest,
            Calibration.model_validate(described["calibration"]),
            scale,
            tuple(described["feature_names"]),
            proof.low - RANGE_MARGIN * width,
            proof.high + RANGE_MARGIN * width,
            described["trained_through"],
            np.array(scale.p_win, dtype=np.float64),
            np.array(scale.confidence, dtype=np.float64),
        )

    def usable(self, row: Floats) -> bool:
        """Whether every feature of a row is a number within the range the model may be asked about."""
        return bool(within_bounds(row, self.low, self.high))

    def score(self, row: Floats) -> tuple[float, float]:
        """Return ``p_win`` and ``confidence_ml`` (0-100) of one row, shape (k,), without NaN."""
        trees, line = self.forest, self.calibration
        p_win, confidence = score_row(
            row,
            trees.roots,
            trees.feature,
            trees.threshold,
            trees.left,
            trees.right,
            trees.base,
            trees.single,
            line.slope,
            line.intercept,
            self.grid,
            self.matched,
        )
        return p_win, confidence


def read_description(files: Mapping[str, bytes]) -> dict[str, Any]:
    """Return the description among the files of a stored model.

    Raises:
        FixData: If there is none, or one of another format.
    """
    if DESCRIPTION not in files:
        raise FixData(f"stored model has no {DESCRIPTION}; retrain")
    try:
        described: dict[str, Any] = json.loads(files[DESCRIPTION])
    except ValueError as error:
        raise FixData(f"stored model: {DESCRIPTION} is not JSON; retrain") from error
    if described.get("format") != FORMAT:
        raise FixData(
            f"stored model has format {described.get('format')}, {FORMAT} is asked for; retrain"
        )
    return described


@njit(cache=True, nogil=True)
def within_bounds(row: Floats, low: Floats, high: Floats) -> bool:
    """Whether every value lies within its bounds; NaN does not."""
    for i in range(len(row)):  # noqa: SIM110  # compiled
        if not low[i] <= row[i] <= high[i]:
            return False
    return True


@njit(cache=True, nogil=True)
def score_row(
    row: Floats,
    roots: Ints,
    feature: Ints,
    threshold: Floats,
    left: Ints,
    right: Ints,
    base: float,
    single: bool,
    slope: float,
    intercept: float,
    grid: Floats,
    matched: Floats,
) -> tuple[float, float]:
    """Return ``p_win`` and ``confidence_ml`` of one row: trees, Platt scaling, matched scale (100 · p_win without one)."""
    asked = row.astype(np.float32).astype(np.float64) if single else row
    raw = 1.0 / (1.0 + np.exp(-log_odds(asked, roots, feature, threshold, left, right, base)))
    raw = min(max(raw, 1e-9), 1 - 1e-9)
    p_win = 1.0 / (1.0 + np.exp(-(slope * np.log(raw / (1.0 - raw)) + intercept)))
    if len(grid) == 0:
        return p_win, 100.0 * p_win
    return p_win, matched_confidence(p_win, grid, matched)


@njit(cache=True, nogil=True)
def matched_confidence(p_win: float, grid: Floats, matched: Floats) -> float:
    """Return the matched confidence of ``p_win`` between two points of the scale; beyond it, its ends."""
    if p_win <= grid[0]:
        return float(matched[0])
    last = len(grid) - 1
    if p_win >= grid[last]:
        return float(matched[last])
    above = np.searchsorted(grid, p_win, side="right")
    share = (p_win - grid[above - 1]) / (grid[above] - grid[above - 1])
    return float(matched[above - 1] + share * (matched[above] - matched[above - 1]))


def files_hash(files: Mapping[str, bytes]) -> str:
    """Return the SHA-256 over files and their names, name → content, whatever their order."""
    digests = (f"{name}:{hashlib.sha256(files[name]).hexdigest()}" for name in sorted(files))
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()
