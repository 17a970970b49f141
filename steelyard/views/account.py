"""The account of a lineage as the page shows it: curves, months, symbols and trades."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import pandas as pd

from steelyard.evaluation.books import finite_or_none
from steelyard.evaluation.tear_sheet import MonthReturns, SymbolFigures, TearSheet
from steelyard.market.bars import Bars


@dataclass(frozen=True, slots=True, eq=False)
class TradePrices:
    """Prices of a trade and the bars around it; NaN if there is no such price.

    Attributes:
        bars: Bars from a while before the entry to a while after the exit.
        entry_at: Open of the entry bar (UTC).
        entry: Price of the entry.
        stop: Price of the stop as it stood at the entry.
        target: Price of the target.
        exit_at: Open of the exit bar (UTC).
        exit: Price of the exit.
    """

    bars: Bars
    entry_at: datetime
    entry: float
    stop: float
    target: float
    exit_at: datetime
    exit: float


@dataclass(frozen=True, slots=True, eq=False)
class SettledTrade:
    """A settled signal that the baseline or the account of the decisions traded.

    Attributes:
        signal_id: Its id, as ``steelyard why`` takes it.
        symbol: Instrument.
        side: ``buy`` or ``sell``.
        decided_at: When it was decided (UTC).
        settled_at: When its outcome was known (UTC).
        confidence_existing: Of the existing system, 0-100.
        confidence_ml: Of the model, 0-100; NaN without an opinion.
        blended: Of both, 0-100.
        weight: Weight it was decided with, share.
        taken: Whether the account of the decisions took it; else the weight left it.
        changed: Whether the weight changed the decision (pivotal).
        won: Whether the trade gained.
        account_return: Return of the trade, fraction of the capital: earned if it was taken,
            spared or missed if it was left.
        gained: What the changed decision brought, fraction of the capital; 0 if not changed.
        exit_reason: Why it ended.
        hold_minutes: Minutes from entry to exit.
        prices: Its prices; None if it is not drawn or its bars are not there.
    """

    signal_id: str
    symbol: str
    side: str
    decided_at: datetime
    settled_at: datetime
    confidence_existing: float
    confidence_ml: float
    blended: float
    weight: float
    taken: bool
    changed: bool
    won: bool
    account_return: float
    gained: float
    exit_reason: str
    hold_minutes: float
    prices: TradePrices | None


@dataclass(frozen=True, slots=True)
class OpenTrade:
    """A trade the broker holds or was sent; None for what is not known yet."""

    symbol: str
    side: str
    status: str
    quantity: float
    submitted_at: datetime
    entry_price: float | None
    stop_price: float
    target_price: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Account:
    """The three accounts over the life of a lineage.

    Attributes:
        capital: Capital all shares are of, in the currency of the broker; not compounded.
        held: Settled predictions, one row each, from ``queries.books.held_predictions``.
        equity: Additive equity by day, shape (days, 3), columns ``baseline``, ``ml``, ``blended``.
        months: Returns by calendar month, oldest first.
        tear_sheets: Book → its figures.
        symbols: What each symbol brought.
        buy_and_hold: Mean change of the symbols' prices, equal parts; NaN without bars.
        trades: The newest settled trades, newest first.
        trade_count: How many there are altogether.
        open_trades: Positions and orders of now.
    """

    capital: float
    held: pd.DataFrame
    equity: pd.DataFrame
    months: tuple[MonthReturns, ...]
    tear_sheets: Mapping[str, TearSheet]
    symbols: tuple[SymbolFigures, ...]
    buy_and_hold: float
    trades: tuple[SettledTrade, ...]
    trade_count: int
    open_trades: tuple[OpenTrade, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values: capital, tear sheets, months and symbols."""
        return {
            "capital": self.capital,
            "tear_sheets": {book: sheet.to_dict() for book, sheet in self.tear_sheets.items()},
            "months": [asdict(month) for month in self.months],
            "symbols": [symbol.to_dict() for symbol in self.symbols],
            "buy_and_hold": finite_or_none(self.buy_and_hold),
        }
