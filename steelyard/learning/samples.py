"""Samples: settled signals as arrays, ordered by decision time."""

import hashlib
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from steelyard.market.bars import naive
from steelyard.market.overlap import signal_uniqueness

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Index = NDArray[np.int64]


class WeightedRows(NamedTuple):
    """Rows a learner is fitted or scored on.

    Attributes:
        x: Features, shape (n, k).
        won: Outcomes, shape (n,).
        weight: Weight of each row in the loss, shape (n,).
    """

    x: Floats
    won: Bools
    weight: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Settled signals to learn from, ordered by ``decided_at``.

    Attributes:
        signal_id: Ids, shape (n,).
        decided_at: Time each signal was known, UTC ``datetime64[ns]``, shape (n,), non-decreasing.
        settled_at: Time each outcome was known, UTC ``datetime64[ns]``, shape (n,).
        x: Features, shape (n, k), finite; NaN for the user's own features that are not known.
        won: Target: True if the bracket ended with a net gain, shape (n,).
        confidence_existing: Confidence of the existing system, 0-100, shape (n,).
        uniqueness: Share of its life each signal was alone, (0, 1], shape (n,); see
            ``market.overlap``.
        feature_names: Columns of ``x``.
    """

    signal_id: NDArray[np.str_]
    decided_at: NDArray[np.datetime64]
    settled_at: NDArray[np.datetime64]
    x: Floats
    won: Bools
    confidence_existing: Floats
    uniqueness: Floats
    feature_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.won)

    @classmethod
    def from_history(cls, history: pd.DataFrame, feature_names: tuple[str, ...]) -> "Samples":
        """Return the settled rows of a history.

        Args:
            history: One row a signal, ordered by ``decided_at``, with columns ``signal_id``,
                ``symbol``, ``decided_at``, ``settled_at``, ``won`` (NA if not settled),
                ``confidence_existing`` and every feature.
            feature_names: Columns to learn from, in the order of ``x``.
        """
        rows = history[history["won"].notna().to_numpy()]
        x = np.ascontiguousarray(rows[list(feature_names)].to_numpy(dtype=np.float64))
        decided_at, settled_at = naive(rows["decided_at"]), naive(rows["settled_at"])
        return cls(
            signal_id=rows["signal_id"].to_numpy(dtype=np.str_),
            decided_at=decided_at,
            settled_at=settled_at,
            x=np.where(np.isnan(x), np.nan, x),  # one NaN of the many, or the hash would differ
            won=rows["won"].to_numpy(dtype=bool),
            confidence_existing=rows["confidence_existing"].to_numpy(dtype=np.float64),
            uniqueness=signal_uniqueness(rows),
            feature_names=feature_names,
        )

    def take(self, index: Index) -> "Samples":
        """Return the samples at positions ``index``, shape (m,), in its order."""
        arrays: dict[str, Any] = {
            column.name: getattr(self, column.name)[index] for column in fields(self)[:-1]
        }
        return Samples(**arrays, feature_names=self.feature_names)

    def rows(self, index: Index, weight: Floats) -> WeightedRows:
        """Return what a learner needs of some samples.

        Args:
            index: Their positions, shape (m,).
            weight: Weight of every sample, shape (n,).
        """
        return WeightedRows(self.x[index], self.won[index], weight[index])

    @property
    def data_hash(self) -> str:
        """SHA-256 over every value, signal id and feature name."""
        digest = hashlib.sha256("\n".join((*self.feature_names, *self.signal_id)).encode())
        for values in (
            self.decided_at,
            self.settled_at,
            self.x,
            self.won,
            self.confidence_existing,
            self.uniqueness,
        ):
            digest.update(np.ascontiguousarray(values).tobytes())
        return digest.hexdigest()
