"""Position rules: which of its signals an account has room for, in the books as at the desk.

One position per symbol at a time, at most ``max_positions`` of them, at most ``max_exposure`` times
the account (SPEC §8). What is judged is then what could have been traded.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from steelyard.compiled import compiled, shared
from steelyard.evaluation.books import BOOKS, Bools, Floats, SizingPolicy
from steelyard.values import FrozenModel

Ints = NDArray[np.int64]

LEAD = timedelta(days=30)
"""Time read before a period, so that the positions open at its begin are known."""
COLUMNS = (
    "symbol",
    "side",
    "decided_at",
    "settled_at",
    *BOOKS.values(),
    "decision",
    "net_return",
    "stop_distance",
)
"""Columns of a prediction that the position rules read."""
ROOM, SYMBOL_TAKEN, POSITIONS_FULL, EXPOSURE_FULL = range(4)


class PositionLimits(FrozenModel):
    """What an account holds at most; the desk's ``conf/risk.yaml``.

    Attributes:
        max_positions: Positions and orders at one time.
        max_exposure: Notional of all positions over the equity.
        least_size: Share of the equity; less room than this is none.
    """

    max_positions: Annotated[int, Field(ge=1)] = 20
    max_exposure: Annotated[float, Field(gt=0)] = 4.0
    least_size: Annotated[float, Field(ge=0, le=1)] = 0.001


@shared
def check_room(
    symbol_held: bool,
    positions: int,
    exposure: float,
    max_positions: int,
    max_exposure: float,
    least_size: float,
) -> int:
    """Return ``ROOM``, or the limit that leaves no room for another position.

    Args:
        symbol_held: Whether a position of the symbol is open or ordered.
        positions: Open and ordered positions.
        exposure: Their notional over the equity.
        max_positions: See ``PositionLimits``.
        max_exposure: See ``PositionLimits``.
        least_size: See ``PositionLimits``.
    """
    if symbol_held:
        return SYMBOL_TAKEN
    if positions >= max_positions:
        return POSITIONS_FULL
    return EXPOSURE_FULL if max_exposure - exposure < least_size else ROOM


def take_positions(
    settled: pd.DataFrame,
    sizing: SizingPolicy,
    limits: PositionLimits,
    books: Sequence[str] = (*BOOKS, "decision"),
) -> pd.DataFrame:
    """Return the settled signals with what each book made of them.

    Each book walks the signals in the desk's order (decision time, symbol, side) with positions of
    its own: what it wants and has room for is taken, the size cut to the room that is left, and
    held from the decision until the outcome. All begin with an empty account: let the rows begin
    ``LEAD`` before the period that is measured. A position counts at its size at entry, in an
    account that stays as it was. Signals that are not settled yet take no room, because nothing is
    known of their size and end.

    Args:
        settled: Settled predictions, one row a signal in any order, with columns ``symbol``,
            ``side``, ``decided_at``, ``settled_at``, ``confidence_existing``, ``confidence_ml``,
            ``blended`` (a NaN confidence is not wanted), ``decision``, ``net_return`` and
            ``stop_distance``.
        sizing: Threshold and size of each trade.
        limits: Room of the account.
        books: Books to walk; ``decision`` is the account of the decisions as they fell. Columns of
            others are not needed.

    Returns:
        The rows with three more columns per book: ``BOOK_wanted``; ``BOOK_taken``, wanted and with
        room; ``BOOK_return``, the account return, 0 if it was not taken.
    """
    decided_at, settled_at = (
        settled[name].to_numpy(dtype="datetime64[ns]") for name in ("decided_at", "settled_at")
    )
    symbols, names = pd.factorize(settled["symbol"], sort=True)
    order = np.lexsort(((settled["side"] == "sell").to_numpy(), symbols, decided_at))
    lives = decided_at.view(np.int64)[order], settled_at.view(np.int64)[order], symbols[order]
    sizes = sizing.sizes(settled["stop_distance"].to_numpy(dtype=np.float64))
    net_return = settled["net_return"].to_numpy(dtype=np.float64)
    room = limits.max_positions, limits.max_exposure, limits.least_size
    columns: dict[str, Bools | Floats] = {}
    for book in books:
        wanted = _wanted(settled, book, sizing.threshold)
        held = np.empty(len(settled))
        held[order] = _held_sizes(*lives, wanted[order], sizes[order], len(names), *room)
        taken = held != 0
        columns |= {
            f"{book}_wanted": wanted,
            f"{book}_taken": taken,
            f"{book}_return": np.where(taken, net_return * held, 0.0),
        }
    return settled.assign(**columns)


def _wanted(settled: pd.DataFrame, book: str, threshold: float) -> Bools:
    """Return which signals a book wants, or were decided for, shape (n,)."""
    if book == "decision":
        return settled[book].to_numpy(dtype=bool)
    return np.asarray(settled[BOOKS[book]].to_numpy(dtype=np.float64) > threshold)


@compiled
def _held_sizes(
    decided_at: Ints,
    settled_at: Ints,
    symbols: Ints,
    wanted: Bools,
    sizes: Floats,
    symbol_count: int,
    max_positions: int,
    max_exposure: float,
    least_size: float,
) -> Floats:
    """Return what an account holds of each signal, 0 if it does not take it, shape (n,).

    Args:
        decided_at: Nanoseconds, rising, shape (n,).
        settled_at: Nanoseconds, shape (n,); a position that ends at a decision makes room for it.
        symbols: Number of each signal's symbol, 0 to ``symbol_count`` − 1, shape (n,).
        wanted: Signals the account would take, shape (n,).
        sizes: Share of the account put into each, shape (n,).
        symbol_count: Number of symbols.
        max_positions: See ``PositionLimits``.
        max_exposure: See ``PositionLimits``.
        least_size: See ``PositionLimits``.
    """
    held = np.zeros(len(wanted))
    holding, ends, shares = (
        np.zeros(symbol_count, np.int64),
        np.zeros(symbol_count, np.int64),
        np.zeros(symbol_count),
    )
    positions = 0
    for i in np.flatnonzero(wanted):
        still_open, exposure, symbol_held = 0, 0.0, False
        for k in range(positions):
            symbol = holding[k]
            if ends[symbol] > decided_at[i]:
                holding[still_open] = symbol
                still_open += 1
                exposure += shares[symbol]
                symbol_held |= symbol == symbols[i]
        positions = still_open
        if check_room(symbol_held, positions, exposure, max_positions, max_exposure, least_size):
            continue
        own = symbols[i]
        held[i] = min(sizes[i], max_exposure - exposure)
        holding[positions], ends[own], shares[own] = own, settled_at[i], held[i]
        positions += 1
    return held
