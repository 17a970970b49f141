"""Round trips: single executions of an account, paired first in, first out."""

from collections import deque
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import pandas as pd

ROUNDING = 1e-9
"""Share of an execution below which a remainder is rounding, not a position."""


@dataclass(slots=True)
class _Lot:
    """What one execution opened, and how much of it is still open."""

    line: Hashable
    symbol: str
    side: str
    at: pd.Timestamp
    price: float
    quantity: float
    open: float
    fees: float
    profit: float = 0.0
    exit_value: float = 0.0
    exit_at: pd.Timestamp | None = None


@dataclass(frozen=True, slots=True)
class RoundTrips:
    """Trades made of executions.

    Attributes:
        trades: One row per opening execution, whose label is its index; columns symbol, side,
            entry_at, entry_price, exit_at, exit_price (mean over the exits), quantity, fees and
            profit. While a part is open, exit_at is NaT, exit_price and profit NaN.
        unmatched: Labels of executions that close more than the log opened.
    """

    trades: pd.DataFrame
    unmatched: tuple[Hashable, ...]


def round_trips(executions: pd.DataFrame) -> RoundTrips:
    """Pair executions to trades: each opening execution is one, the oldest is closed first.

    Args:
        executions: One row per execution in the order of the log, any index; columns ``symbol``,
            ``at`` (UTC), ``amount`` (signed quantity), ``price``, ``fee`` (cost, positive),
            ``profit`` (realised by it, NaN if unknown), ``book`` (executions of different books do
            not close each other) and ``opens`` (False: it only closes).
    """
    lots: list[_Lot] = []
    unmatched: list[Hashable] = []
    ordered = executions.sort_values("at", kind="stable")
    for _, rows in ordered.groupby(["symbol", "book"], sort=False):
        lots.extend(_lots_of_book(rows, unmatched))
    trades = pd.DataFrame(map(_trade, lots), index=[lot.line for lot in lots], columns=_COLUMNS)
    for name in ("entry_at", "exit_at"):
        trades[name] = pd.to_datetime(trades[name], utc=True)
    return RoundTrips(trades.sort_values("entry_at", kind="stable"), tuple(unmatched))


_COLUMNS = (
    "symbol",
    "side",
    "entry_at",
    "entry_price",
    "exit_at",
    "exit_price",
    "quantity",
    "fees",
    "profit",
)


def _lots_of_book(rows: pd.DataFrame, unmatched: list[Hashable]) -> Iterator[_Lot]:
    waiting: deque[_Lot] = deque()
    for row in cast(Iterable[Any], rows.itertuples()):
        side = "buy" if row.amount > 0 else "sell"
        left = size = abs(float(row.amount))
        closing = min(size, sum(lot.open for lot in waiting if lot.side != side))
        while left > ROUNDING * size and waiting and waiting[0].side != side:
            lot = waiting[0]
            part = min(left, lot.open)
            lot.exit_value += part * row.price
            lot.fees += row.fee * part / size
            lot.profit += row.profit * part / closing
            lot.open, left = lot.open - part, left - part
            if lot.open <= ROUNDING * lot.quantity:
                lot.exit_at = row.at
                waiting.popleft()
        if left <= ROUNDING * size:
            continue
        if not row.opens:
            unmatched.append(row.Index)
            continue
        fee = row.fee * left / size
        lot = _Lot(row.Index, row.symbol, side, row.at, float(row.price), left, left, fee)
        waiting.append(lot)
        yield lot


def _trade(lot: _Lot) -> tuple[Any, ...]:
    ended = lot.exit_at is not None
    return (
        lot.symbol,
        lot.side,
        lot.at,
        lot.price,
        lot.exit_at,
        lot.exit_value / lot.quantity if ended else None,
        lot.quantity,
        lot.fees,
        lot.profit if ended else None,
    )
