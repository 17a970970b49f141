"""Overlap: how much of its life a signal shares with other signals of its symbol."""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from steelyard.market.bars import Floats, Stamps

SHORTEST_LIFE = np.timedelta64(1, "s")
"""Life of a signal that settled at once."""


def uniqueness(symbol_codes: NDArray[np.int64], decided_at: Stamps, settled_at: Stamps) -> Floats:
    """Return the uniqueness of each signal, in (0, 1], shape (n,).

    A moment at which c signals of a symbol are open belongs to each of them by 1/c; the uniqueness
    of a signal is the mean of this share over its life, 1 for a signal that was alone. Their sum is
    the number of independent signals that the rows are worth. Average uniqueness of López de
    Prado, "Advances in Financial Machine Learning" (2018), section 4.4, in continuous time.

    Args:
        symbol_codes: Number of each signal's symbol, shape (n,).
        decided_at: Time each signal was known, UTC, shape (n,), in any order.
        settled_at: Time its outcome was known, UTC, shape (n,), not before ``decided_at``.

    Raises:
        ValueError: If a signal is not settled (NaT), or was settled before it was decided.
    """
    if not (settled_at >= decided_at).all():  # so written that NaT is refused
        raise ValueError("uniqueness: a signal is not settled, or settled before it was decided")
    count = len(symbol_codes)
    begin = decided_at.astype("datetime64[ns]")
    end = np.maximum(settled_at.astype("datetime64[ns]"), begin + SHORTEST_LIFE)
    stamps = np.concatenate([begin, end]).astype(np.int64)
    order = np.lexsort((stamps, np.tile(symbol_codes, 2)))
    # no signal is open between the last event of a symbol and the first of the next
    still_open = np.cumsum(np.where(order < count, 1, -1))[:-1]
    shares = np.where(still_open > 0, np.diff(stamps[order]) / np.maximum(still_open, 1), 0.0)
    shares_until = np.empty(2 * count)
    shares_until[order] = np.concatenate([np.zeros(min(count, 1)), np.cumsum(shares)])
    life = stamps[count:] - stamps[:count]
    return np.clip((shares_until[count:] - shares_until[:count]) / life, 1 / max(count, 1), 1.0)


def signal_uniqueness(settled: pd.DataFrame) -> Floats:
    """Return the uniqueness of settled signals, shape (n,).

    Args:
        settled: One row a signal, with columns ``symbol``, ``decided_at`` and ``settled_at``. One
            that was reported as settled before its decision counts as settled at once.
    """
    decided_at, settled_at = (
        settled[name].to_numpy(dtype="datetime64[ns]") for name in ("decided_at", "settled_at")
    )
    symbol_codes, _ = pd.factorize(settled["symbol"])
    return uniqueness(symbol_codes, decided_at, np.maximum(settled_at, decided_at))


@dataclass(frozen=True, slots=True)
class SignalCount:
    """Settled signals, and the number of independent ones they are worth.

    Attributes:
        settled: Settled signals.
        independent: Sum of their uniqueness; what a needed number of signals is held against.
    """

    settled: int
    independent: float

    @classmethod
    def of(cls, uniqueness: Floats) -> "SignalCount":
        """Return the count of signals by their uniqueness, shape (n,)."""
        worth = round(float(uniqueness.sum()), 6)  # twenty signals that share nothing are worth 20
        return cls(len(uniqueness), worth)

    def missing(self, needed: int) -> int:
        """Return how many more independent signals are needed; 0 if there are enough."""
        return max(math.ceil(needed - self.independent), 0)

    def missing_words(self, needed: int, noun: str) -> str:
        """Return how many more are needed, and what is there if signals overlap.

        Args:
            needed: Independent signals needed.
            noun: What is counted, in the plural.
        """
        missing = self.missing(needed)
        if self.independent == self.settled:
            return f"{missing} more {noun} needed"
        worth = f"the {self.settled} so far are worth {self.independent:.4g}"
        return f"{missing} more independent {noun} needed, {worth}"

    def words(self, noun: str) -> str:
        """Return both counts; one if they are the same.

        Args:
            noun: What is counted, in the plural.
        """
        if self.independent == self.settled:
            return f"{self.settled} {noun}"
        return f"{self.settled} {noun}, worth {self.independent:.4g} independent ones"
