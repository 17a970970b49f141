"""What accounts at outside brokers have in common: one order per signal, and a reconciled account.

An order is in the ledger before it is sent, so that no crash leaves an unknown one. Each run reads
the orders of the working trades, writes their fills, leaves what is due or has no stop, and holds
positions and open orders against the ledger. What a broker cannot hold as an order is left at the
market by the run after the bar that asked for it: the time limit, a trailing stop that moves with
closed bars, and the system's own exit rule. The stop a trade began with stays in force until then.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import isclose, nan
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import numpy as np
import pandas as pd

from steelyard.errors import ReconcileAccount, RestoreService
from steelyard.gateways.brokers.broker import WORKING, Order, order_row, own_trades
from steelyard.market.bars import Bars, naive
from steelyard.market.brackets import REASONS, BracketPolicy, follow, side_signs
from steelyard.market.exits import ExitPlan, asks_out
from steelyard.market.strategy import Entry, Exiting

if TYPE_CHECKING:
    from steelyard.gateways.ledger import Ledger

READINGS = 3
"""Readings of an account that differs from the ledger: a fill or an exit may have come between."""
UNIT_DIGITS = 12
"""Decimals of units that are compared; sums of fractions differ behind them."""


class Refused(Exception):  # caught by each caller, who words the consequence
    """A request that the broker refuses.

    Args:
        reason: The broker's words.
        status: HTTP status of the answer; 0 if unknown.
    """

    def __init__(self, reason: str, status: int = 0) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True, slots=True)
class Holding:
    """Position of the account in one symbol.

    Attributes:
        units: Signed units.
        price: Average entry price; NaN without units.
        stop_price: Stop that belongs to the position; NaN if there is none, or if stops are orders.
    """

    units: float = 0.0
    price: float = nan
    stop_price: float = nan


@dataclass(frozen=True, slots=True)
class EntryOrder:
    """State of the order that enters a trade.

    Attributes:
        order_id: The broker's id.
        units: Units filled so far.
        price: Mean price of the fills; NaN without.
        at: Time of the newest fill or change (UTC).
        ended: Whether nothing more will be filled.
        rejected: Whether the broker refused it after it had arrived.
    """

    order_id: str
    units: float
    price: float
    at: datetime | None
    ended: bool
    rejected: bool = False


@dataclass(frozen=True, slots=True)
class Fill:
    """Part of an exit."""

    quantity: float
    price: float
    at: datetime
    reason: str


class AccountTrade(ABC):
    """One signal's orders in an account.

    Args:
        signal_id: Id of the signal.
        symbol: Symbol as in the ledger.
        side: 1 for a buy, -1 for a sell.
        entry: The order that enters.
        fills: All fills that reduced the position.
    """

    fees = 0.0

    def __init__(
        self, signal_id: str, symbol: str, side: int, entry: EntryOrder, fills: Iterable[Fill]
    ) -> None:
        self.signal_id = signal_id
        self.symbol = symbol
        self.side = side
        self.entered_units = entry.units
        self.entry_price = entry.price
        self.ids = {entry.order_id}
        self._entry_order = entry
        self._fills = list(fills)
        self.left_units = round(sum(fill.quantity for fill in self._fills), UNIT_DIGITS)
        self.open_units = max(round(self.entered_units - self.left_units, UNIT_DIGITS), 0.0)

    @property
    @abstractmethod
    def protected(self) -> bool:
        """Whether a stop is in force for what is open, or will be once the entry is filled."""

    @property
    @abstractmethod
    def closing(self) -> bool:
        """Whether an order that closes the trade is open."""

    def change(self) -> dict[str, Any]:
        """Return the new values of the trade's row."""
        if not self.entered_units:
            return self._not_entered()
        values = {
            "status": "open",
            "broker_order_id": self._entry_order.order_id,
            "quantity": self.entered_units,
            "entry_at": self._entry_order.at,
            "entry_price": self.entry_price,
            "fees": self.fees,
        }
        return values if self.open_units or not self._entry_order.ended else values | self._closed()

    def _not_entered(self) -> dict[str, Any]:
        values = {"broker_order_id": self._entry_order.order_id}
        if not self._entry_order.ended:
            return values
        if self._entry_order.rejected:
            return values | {"status": "rejected", "veto": "broker_rejected"}
        return values | {"status": "canceled", "veto": "not_filled"}

    def _closed(self) -> dict[str, Any]:
        """Return how it ended: mean price of all exits, reason of the largest."""
        prices, units = (
            [getattr(fill, name) for fill in self._fills] for name in ("price", "quantity")
        )
        return {
            "status": "closed",
            "exit_at": max(fill.at for fill in self._fills),
            "exit_price": float(np.average(prices, weights=units)),
            "exit_reason": max(self._fills, key=lambda fill: fill.quantity).reason,
        }


Trade = TypeVar("Trade", bound=AccountTrade)


@dataclass(slots=True)
class Expected:
    """What the account must look like by the ledger.

    Attributes:
        units: Signed units by symbol.
        order_ids: The broker's ids of our orders.
        changes: Rows the ledger does not have yet.
        refusals: Exits that the broker refused or that did not arrive; the other trades are handled
            all the same.
        excesses: Trades that left more units than they entered.
        others: Symbols that other lineages hold or order; each reconciles its own.
    """

    units: dict[str, float] = field(default_factory=dict)
    order_ids: set[str] = field(default_factory=set)
    changes: list[dict[str, Any]] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    excesses: list[str] = field(default_factory=list)
    others: frozenset[str] = frozenset()


class AccountBroker(ABC, Generic[Trade]):
    """An account at an outside broker, used by Steelyard only.

    Args:
        ledger: Stores orders and fills.
        policy: Time limit of the bracket.
        rule: The existing system's own exit rule; None without one.
    """

    name: str
    page: str
    """Where an operator sees the account, for messages."""
    stops_are_cancelled = False
    """Whether the stop must be cancelled before a position can be closed."""
    settling_seconds = 0.0
    """Pause before an account that differs from the ledger is read again."""

    def __init__(
        self, ledger: "Ledger", policy: BracketPolicy, rule: Exiting | None = None
    ) -> None:
        self._ledger = ledger
        self._time_limit = policy.time_limit_bars
        self._rule = rule

    @abstractmethod
    def _place(self, order: Order) -> str:
        """Send an order once and return the broker's id of it.

        Raises:
            Refused: If the broker refuses it.
            RestoreService: If it is unknown whether it arrived.
        """

    @abstractmethod
    def _require_open(self) -> None:
        """Raise ``ReconcileAccount`` if the account cannot trade."""

    @abstractmethod
    def _holdings(self) -> dict[str, Holding]:
        """Return the account's positions by symbol."""

    @abstractmethod
    def _trade(
        self, row: dict[str, Any], holding: Holding, client_ids: frozenset[str]
    ) -> Trade | None:
        """Return the orders of a trade; None if the broker does not know the trade.

        Args:
            row: Row of ``trades``.
            holding: Position in its symbol.
            client_ids: Our ids of all orders that entered, of all lineages.
        """

    @abstractmethod
    def _close(self, trade: Trade, expected: Expected, reason: str) -> None:
        """Close a trade at the market; a refusal goes to ``expected``.

        Raises:
            RestoreService: If the broker cannot be reached.
        """

    @abstractmethod
    def _unknown_order(self, expected: Expected) -> str | None:
        """Return an open order that the ledger does not explain, in one line."""

    def submit(self, order: Order) -> str | None:
        """Place the bracket and return the reason if it is refused (``broker_rejected``).

        A signal that the ledger holds as vetoed or ended is not ordered.

        Raises:
            RestoreService: If it is unknown whether it arrived; the next ``advance`` finds out.
        """
        if not self._ledger.record_trades([order_row(order, self.name)]):
            trades = self._ledger.trades(broker=self.name).set_index("signal_id")
            status = trades["status"].get(order.signal_id, "recorded for another broker")
            if status not in WORKING:
                return f"{order.signal_id} is {status} in the ledger; it is not ordered again"
        try:
            order_id = self._place(order)
        except Refused as refusal:
            self._ledger.fill_trades(
                [{"signal_id": order.signal_id, "status": "rejected", "veto": "broker_rejected"}]
            )
            return str(refusal)
        self._ledger.fill_trades([{"signal_id": order.signal_id, "broker_order_id": order_id}])
        return None

    def advance(self, bars: Mapping[str, Bars]) -> int:
        """Write new fills, close overdue or unprotected trades, and reconcile with the ledger.

        Raises:
            ReconcileAccount: If the account is blocked, or the ledger does not explain one of its
                orders or positions.
            RestoreService: If the broker cannot be reached.
            FixConfiguration: If the broker refuses the keys.
        """
        self._require_open()
        changes, excesses, difference = 0, list[str](), None
        for reading in range(READINGS):
            if reading:
                time.sleep(self.settling_seconds)
            expected = self._update_trades(self._working(), bars)
            changes, excesses = changes + len(expected.changes), excesses + expected.excesses
            difference = self._difference(expected) or next(iter(excesses), None)
            if not difference:
                return changes
        raise ReconcileAccount(f"{difference}; nothing is ordered until then")

    def protect(self) -> None:
        """Close the trades that the ledger holds as unprotected, before anything else is done.

        Raises:
            ReconcileAccount: If the broker refuses to close one, or cannot be reached for it.
            RestoreService: If the broker cannot be reached at all.
            FixConfiguration: If the broker refuses the keys.
        """
        working = self._ledger.trades(WORKING, self.name)
        expected = self._update_trades(working[working["unprotected_since"].notna()], {})
        if expected.refusals:
            raise ReconcileAccount(f"{expected.refusals[0]}; nothing is ordered until then")

    def _working(self) -> pd.DataFrame:
        """Return the working trades, unprotected ones first."""
        working = own_trades(self._ledger, self.name)
        return working.sort_values("unprotected_since", na_position="last", kind="stable")

    def _update_trades(self, working: pd.DataFrame, bars: Mapping[str, Bars]) -> Expected:
        """Write the state of the working trades and return what the account must look like."""
        trades = self._ledger.account_trades(WORKING, self.name)
        is_other = (trades["lineage"] != self._ledger.lineage).to_numpy(dtype=bool)
        expected = Expected(others=frozenset(trades["symbol"][is_other]))
        client_ids = self._ledger.order_ids(self.name) if len(working) else frozenset[str]()
        holdings = self._holdings() if len(working) else {}
        for row in cast(list[dict[str, Any]], working.to_dict("records")):
            holding = holdings.get(row["symbol"], Holding())
            trade = self._trade(row, holding, client_ids)
            if trade is None:
                self._note_missing(row, holding, expected)
            else:
                self._update_trade(row, trade, bars.get(row["symbol"]), expected)
        self._ledger.fill_trades(expected.changes)
        return expected

    def _note_missing(self, row: dict[str, Any], holding: Holding, expected: Expected) -> None:
        """Note an order that the account does not know as never sent, unless it may have entered.

        It may if the ledger says so, or if it was accepted and there is a position.
        """
        if row["status"] == "open" or (pd.notna(row["broker_order_id"]) and holding.units):
            expected.refusals.append(
                f"{self.name}: the account does not know the order of {row['signal_id']}, which "
                f"the ledger has as {row['status']}; name the account it was sent to in "
                "conf/broker.yaml, or run it again later if its orders are told late"
            )
            return
        expected.changes.append(
            {"signal_id": row["signal_id"], "status": "canceled", "veto": "not_sent"}
        )

    def _update_trade(
        self, row: dict[str, Any], trade: Trade, bars: Bars | None, expected: Expected
    ) -> None:
        change = trade.change()
        marked = not pd.isna(row["unprotected_since"])
        if trade.left_units > trade.entered_units:
            expected.excesses.append(
                f"{self.name}: {trade.left_units:g} {trade.symbol} left the trade "
                f"{trade.signal_id}, {trade.entered_units:g} entered; compare the account's "
                f"activities on {self.page}, and use the account for Steelyard only"
            )
        if trade.open_units:
            units = expected.units.get(trade.symbol, 0.0)
            expected.units[trade.symbol] = units + trade.side * trade.open_units
            reason = self._due(bars, row) if bars is not None else None
            if reason or not trade.protected:
                self._leave(trade, expected, reason or "unprotected", marked=marked)
            elif marked:
                change["unprotected_since"] = None
        elif marked:
            change["unprotected_since"] = None
        expected.order_ids |= trade.ids
        if {name: row[name] for name in change} != change:
            expected.changes.append({"signal_id": row["signal_id"], **change})

    def _due(self, bars: Bars, row: dict[str, Any]) -> str | None:
        """Return why the closed bars ask to leave a trade: "time", "trail", "exit" or None."""
        trades = pd.DataFrame([row])
        first = np.searchsorted(bars.timestamp, naive(trades["timestamp"]), side="right")
        plan, sides = ExitPlan.of_orders(trades, self._time_limit), side_signs(trades)
        if len(bars) - first[0] >= plan.limits[0]:
            return "time"
        _, _, [reason] = follow(bars, plan, first, sides, None)
        if plan.trails[0] > 0 and REASONS[reason] in ("stop", "trail"):
            return "trail"
        if self._rule is None or first[0] >= len(bars):
            return None
        entry = Entry(row["side"], float(bars.open[first[0]]), int(first[0]))
        return None if asks_out(bars, entry, len(bars), self._rule) is None else "exit"

    def _leave(self, trade: Trade, expected: Expected, reason: str, *, marked: bool) -> None:
        """Close a trade; one that could not be closed is told, and no other waits for it.

        The ledger says that it is unprotected before its stop is cancelled, so that no crash leaves
        a position without stop that nobody knows of.
        """
        keeps_stop = trade.protected and not self.stops_are_cancelled
        if not (marked or keeps_stop):
            self._ledger.fill_trades(
                [{"signal_id": trade.signal_id, "unprotected_since": datetime.now(UTC)}]
            )
        if trade.closing:
            return
        try:
            self._close(trade, expected, reason)
        except RestoreService as error:
            state = "keeps its stop" if keeps_stop else "may be without a stop"
            expected.refusals.append(
                f"{error}; {trade.symbol} {state} until the next run closes it"
            )

    def _difference(self, expected: Expected) -> str | None:
        """Return a difference between account and ledger, or a refused exit; None if all agrees."""
        if expected.refusals or expected.excesses:
            return [*expected.refusals, *expected.excesses][0]
        holdings = self._holdings()
        for symbol, holding in holdings.items():
            if symbol in expected.others and symbol not in expected.units:
                continue
            recorded = expected.units.get(symbol, 0.0)
            if not isclose(holding.units, recorded, rel_tol=1e-9):
                return (
                    f"{self.name}: the account holds {holding.units:g} {symbol}, the ledger "
                    f"{recorded:g}; close the difference on {self.page}, and use the account for "
                    "Steelyard only"
                )
        for symbol, units in expected.units.items():
            if symbol not in holdings:
                return (
                    f"{self.name}: the ledger holds {units:g} {symbol}, the account none, and no "
                    f"order closed them; check the account's activities on {self.page}"
                )
        return self._unknown_order(expected)
