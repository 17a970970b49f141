"""Overlap: how much of its life a signal shares with other signals of its symbol."""

import numpy as np
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
