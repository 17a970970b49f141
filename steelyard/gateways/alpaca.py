"""Alpaca through alpaca-py: brackets on stocks; the signal's id is the client order id.

A repeated submit is therefore one order. An order is in the ledger before it is sent, so that no
crash leaves an unknown one. An order that may not have arrived is sent again under the same id, or
looked up at the next start. Stop and target are counted from the decision close: Alpaca needs them
before the entry is known. What Alpaca cannot hold as an order is left at the market by the run
after the bar that asked for it: the time limit, a trailing stop that moves with closed bars, and
the system's own exit rule. The stop a trade began with stays as an order until then.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
import pandas as pd
from alpaca.common.exceptions import APIError
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import (
    OrderClass,
    OrderSide,
    OrderStatus,
    OrderType,
    PositionSide,
    QueryOrderStatus,
    TimeInForce,
)
from alpaca.trading.models import Order as Placed
from alpaca.trading.models import Position, TradeAccount
from alpaca.trading.requests import (
    GetOrderByIdRequest,
    GetOrdersRequest,
    MarketOrderRequest,
    StopLossRequest,
    TakeProfitRequest,
)
from requests import PreparedRequest, RequestException, Response
from requests.adapters import HTTPAdapter

from steelyard.errors import FixConfiguration, ReconcileAccount, RestoreService
from steelyard.gateways.brokers import (
    SCALED,
    WORKING,
    BrokerSettings,
    Order,
    order_row,
    own_trades,
    rescaled,
)
from steelyard.market.bars import Bars, naive
from steelyard.market.brackets import REASONS, BracketPolicy, follow, side_signs
from steelyard.market.exits import ExitPlan, asks_out
from steelyard.market.scale import SPLIT_RATIO, differs
from steelyard.market.strategy import Entry, Exiting

if TYPE_CHECKING:
    from steelyard.gateways.ledger import Ledger

TRIES = 3
PAUSE_SECONDS = 0.2
LOOKS = 10
"""Checks of a cancelled order, ``PAUSE_SECONDS`` apart, before the exit waits for the next run."""
MAX_ORDERS = 500
SPLIT_TOLERANCE = 0.02
"""Log of the ratio of two prices that agree after a split."""
ENDED = frozenset(
    {
        OrderStatus.FILLED,
        OrderStatus.CANCELED,
        OrderStatus.EXPIRED,
        OrderStatus.REJECTED,
        OrderStatus.REPLACED,
    }
)
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class _Fill:
    """Part of an exit."""

    quantity: float
    price: float
    at: datetime
    reason: str


@dataclass(slots=True)
class _Expected:
    """What the account must look like by the ledger.

    Attributes:
        signal_ids: Ids of all our signals.
        units: Signed units by symbol.
        order_ids: Alpaca's ids of our orders.
        changes: Rows the ledger does not have yet.
        refusals: Exits that Alpaca refused or that did not arrive; the other trades are handled
            all the same.
        excesses: Trades that left more units than they entered.
    """

    signal_ids: frozenset[str]
    units: dict[str, float] = field(default_factory=dict)
    order_ids: set[str] = field(default_factory=set)
    changes: list[dict[str, Any]] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    excesses: list[str] = field(default_factory=list)


class AlpacaBroker:
    """An account at Alpaca, the paper account unless ``settings.live``, used by Steelyard only.

    Args:
        ledger: Stores orders and fills.
        policy: Time limit of the bracket.
        settings: Account, address and time limit of a request.
        keys: Key and secret.
        rule: The existing system's own exit rule; None without one.
    """

    name = "alpaca"

    def __init__(
        self,
        ledger: "Ledger",
        policy: BracketPolicy,
        settings: BrokerSettings,
        keys: tuple[str, str],
        rule: Exiting | None = None,
    ) -> None:
        self._ledger = ledger
        self._time_limit = policy.time_limit_bars
        self._rule = rule
        self._client = TradingClient(*keys, paper=not settings.live, url_override=settings.address)
        self._client._retry = 0  # its own retries wait three seconds each
        adapter = TimeoutAdapter(settings.timeout_seconds)
        for scheme in ("https://", "http://"):
            self._client._session.mount(scheme, adapter)

    def tradable(self, quantity: float) -> float:
        """Return whole units: bracket orders accept no fractions."""
        return float(math.floor(quantity))

    def equity(self, bars: Mapping[str, Bars]) -> float:
        """Return the value of the account at Alpaca's own prices.

        Raises:
            RestoreService: If Alpaca cannot be reached.
        """
        return float(self._account().equity or 0.0)

    def submit(self, order: Order) -> str | None:
        """Place the bracket and return the reason if Alpaca refuses it (``broker_rejected``).

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
            placed = self._sent(_bracket(order))
        except _Refused as refusal:
            self._ledger.fill_trades(
                [{"signal_id": order.signal_id, "status": "rejected", "veto": "broker_rejected"}]
            )
            return str(refusal)
        self._ledger.fill_trades(
            [{"signal_id": order.signal_id, "broker_order_id": str(placed.id)}]
        )
        return None

    def advance(self, bars: Mapping[str, Bars]) -> int:
        """Write new fills, close overdue or unprotected trades, and reconcile with the ledger.

        Raises:
            ReconcileAccount: If the account is blocked, or the ledger does not explain one of its
                orders or positions.
            RestoreService: If Alpaca cannot be reached.
            FixConfiguration: If Alpaca refuses the keys.
        """
        self._require_open()
        expected = self._update_trades(self._working(), bars)
        if not self._difference(expected):
            return len(expected.changes)
        repeated = self._update_trades(self._working(), bars)  # a fill may have come in between
        if difference := self._difference(repeated) or next(iter(expected.excesses), None):
            raise ReconcileAccount(f"{difference}; nothing is ordered until then")
        return len(expected.changes) + len(repeated.changes)

    def protect(self) -> None:
        """Close the trades that the ledger holds as unprotected, before anything else is done.

        Raises:
            ReconcileAccount: If Alpaca refuses to close one, or cannot be reached for it.
            RestoreService: If Alpaca cannot be reached at all.
            FixConfiguration: If Alpaca refuses the keys.
        """
        working = self._ledger.trades(WORKING, self.name)
        expected = self._update_trades(working[working["unprotected_since"].notna()], {})
        if expected.refusals:
            raise ReconcileAccount(f"{expected.refusals[0]}; nothing is ordered until then")

    def cancel_entries(self, signal_ids: Sequence[str]) -> int:
        """Cancel the orders of these signals that have not entered yet; return how many.

        The next ``advance`` writes what became of them.

        Raises:
            RestoreService: If Alpaca cannot be reached.
        """
        placed = [self._placed(signal_id) for signal_id in signal_ids]
        waiting = [
            order
            for order in placed
            if order and order.status not in ENDED and not float(order.filled_qty or 0.0)
        ]
        for order in waiting:
            self._cancel(str(order.id))
        return len(waiting)

    def _working(self) -> pd.DataFrame:
        """Return the working trades, unprotected ones first."""
        working = own_trades(self._ledger, self.name)
        return working.sort_values("unprotected_since", na_position="last", kind="stable")

    def _require_open(self) -> None:
        account = self._account()
        if account.trading_blocked or account.account_blocked or account.trade_suspended_by_user:
            raise ReconcileAccount(
                "alpaca: the account is blocked for trading; unblock it on Alpaca's page"
            )

    def _account(self) -> TradeAccount:
        return cast(TradeAccount, self._answer(self._client.get_account))

    def _update_trades(self, working: pd.DataFrame, bars: Mapping[str, Bars]) -> _Expected:
        """Write the state of the working trades and return what the account must look like."""
        expected = _Expected(frozenset(self._ledger.trades(broker=self.name)["signal_id"]))
        holdings = self._holdings() if len(working) else {}
        for row in cast(list[dict[str, Any]], working.to_dict("records")):
            units, price = holdings.get(row["symbol"], (0.0, math.nan))
            trade = self._trade(row, expected.signal_ids)
            if trade is not None:
                trade.follow_split(units, price)
            self._update_trade(row, trade, bars.get(row["symbol"]), expected)
        self._ledger.fill_trades(expected.changes)
        return expected

    def _update_trade(
        self, row: dict[str, Any], trade: "_Trade | None", bars: Bars | None, expected: _Expected
    ) -> None:
        if trade is None:
            expected.changes.append(
                {"signal_id": row["signal_id"], "status": "canceled", "veto": "not_sent"}
            )
            return
        change = trade.change() | trade.levels_after_split(row)
        marked = not pd.isna(row["unprotected_since"])
        if trade.excess:
            expected.excesses.append(trade.excess)
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

    def _trade(self, row: dict[str, Any], signal_ids: frozenset[str]) -> "_Trade | None":
        """Return the orders of a trade; None if Alpaca does not know the trade."""
        signal_id, since = row["signal_id"], row["submitted_at"].to_pydatetime() - timedelta(days=1)
        request = GetOrdersRequest(
            status=QueryOrderStatus.ALL,
            symbols=[row["symbol"]],
            after=since,
            nested=True,
            limit=MAX_ORDERS,
        )
        orders = self._orders(request)
        entry = next((order for order in orders if order.client_order_id == signal_id), None)
        if entry is None:
            placed = self._placed(signal_id)
            if placed is None:
                return None
            entry = self._order(str(placed.id))  # with its legs, or it would look unprotected
        return _Trade(signal_id, entry, self._legs(entry), orders, signal_ids)

    def _legs(self, entry: Placed) -> list[Placed]:
        """Return stop and target, and the orders they were replaced by, also repeatedly."""
        legs = list(entry.legs or ())
        for leg in legs:
            if leg.replaced_by:
                legs.append(self._order(str(leg.replaced_by)))  # noqa: PERF401
        return legs

    def _order(self, order_id: str) -> Placed:
        request = GetOrderByIdRequest(nested=True)
        return cast(Placed, self._answer(lambda: self._client.get_order_by_id(order_id, request)))

    def _leave(self, trade: "_Trade", expected: _Expected, reason: str, *, marked: bool) -> None:
        """Close a trade; one that could not be closed is told, and no other waits for it.

        The ledger says that it is unprotected before its stop is cancelled, so that no crash leaves
        a position without stop that nobody knows of.
        """
        if not marked:
            self._ledger.fill_trades(
                [{"signal_id": trade.signal_id, "unprotected_since": datetime.now(UTC)}]
            )
        if trade.closing:
            return
        try:
            self._close(trade, expected, reason)
        except RestoreService as error:
            expected.refusals.append(
                f"{error}; {trade.symbol} may be without a stop until the next run closes it"
            )

    def _close(self, trade: "_Trade", expected: _Expected, reason: str) -> None:
        """Close a trade at the market: it is due, or has neither stop nor target any more."""
        if not self._cancelled(trade):
            expected.refusals.append(
                f"alpaca: the cancelled orders of {trade.symbol} have not ended after "
                f"{LOOKS * PAUSE_SECONDS:g} s; it may have no stop until the next run closes it"
            )
            return
        quantity = min(
            trade.open_units, max(trade.side * self._positions().get(trade.symbol, 0.0), 0.0)
        )
        if not quantity:
            return
        closing = MarketOrderRequest(
            symbol=trade.symbol,
            qty=quantity,
            side=OrderSide.SELL if trade.side > 0 else OrderSide.BUY,
            time_in_force=TimeInForce.DAY,
            client_order_id=trade.next_exit(reason),
        )
        try:
            trade.ids.add(str(self._sent(closing).id))
        except _Refused as refusal:
            expected.refusals.append(
                f"alpaca: {trade.symbol} must be closed and Alpaca refuses ({refusal}); close the "
                "position on Alpaca's page"
            )

    def _cancelled(self, trade: "_Trade") -> bool:
        """Cancel a trade's open orders and return whether they ended: only then units are free."""
        open_orders = [order for order in (trade.entry, *trade.legs) if order.status not in ENDED]
        for order in open_orders:
            self._cancel(str(order.id))
        return all(self._ended(str(order.id)) for order in open_orders)

    def _cancel(self, order_id: str) -> None:
        try:
            self._answer(lambda: self._client.cancel_order_by_id(order_id))
        except _Refused:  # it has ended, or is cancelled with the other leg
            return

    def _ended(self, order_id: str) -> bool:
        for _ in range(LOOKS):
            if self._order(order_id).status in ENDED:
                return True
            time.sleep(PAUSE_SECONDS)
        return False

    def _difference(self, expected: _Expected) -> str | None:
        """Return a difference between account and ledger, or a refused exit; None if all agrees."""
        if expected.refusals or expected.excesses:
            return [*expected.refusals, *expected.excesses][0]
        positions = self._positions()
        for symbol, units in positions.items():
            recorded = expected.units.get(symbol, 0.0)
            if units != recorded:
                return (
                    f"alpaca: the account holds {units:g} {symbol}, the ledger {recorded:g}; close "
                    "the difference on Alpaca's page, and use the account for Steelyard only"
                )
        for symbol, units in expected.units.items():
            if symbol not in positions:
                return (
                    f"alpaca: the ledger holds {units:g} {symbol}, the account none, and no order "
                    "closed them; check the account's activities on Alpaca's page"
                )
        return self._unknown_order(expected)

    def _unknown_order(self, expected: _Expected) -> str | None:
        working = set(self._ledger.trades(WORKING, self.name)["signal_id"])
        for order in self._orders(GetOrdersRequest(status=QueryOrderStatus.OPEN, limit=MAX_ORDERS)):
            if str(order.id) not in expected.order_ids and order.client_order_id not in working:
                return (
                    f"alpaca: the open order {order.client_order_id} on {order.symbol} is not in "
                    "the ledger; cancel it on Alpaca's page, and use the account for Steelyard only"
                )
        return None

    def _positions(self) -> dict[str, float]:
        return {symbol: units for symbol, (units, _) in self._holdings().items()}

    def _holdings(self) -> dict[str, tuple[float, float]]:
        """Return signed units and average entry price by symbol."""
        positions = cast(list[Position], self._answer(self._client.get_all_positions))
        return {
            position.symbol: (
                (-1 if position.side is PositionSide.SHORT else 1) * abs(float(position.qty)),
                float(position.avg_entry_price),
            )
            for position in positions
        }

    def _orders(self, request: GetOrdersRequest) -> list[Placed]:
        return cast(list[Placed], self._answer(lambda: self._client.get_orders(request)))

    def _sent(self, request: MarketOrderRequest) -> Placed:
        """Send an order; if it may not have arrived, again: Alpaca accepts each id once.

        Raises:
            _Refused: If Alpaca refuses it.
            RestoreService: If it is unknown whether it arrived.
        """
        for attempt in range(TRIES):
            try:
                return cast(Placed, self._answer(lambda: self._client.submit_order(request)))
            except _Refused:
                placed = self._placed(str(request.client_order_id))
                if placed is not None:
                    return placed
                raise
            except RestoreService:
                if attempt == TRIES - 1:
                    raise
                time.sleep(PAUSE_SECONDS * 2**attempt)
        raise AssertionError  # the loop returns or raises

    def _placed(self, client_order_id: str) -> Placed | None:
        """Return an order by our id; None if Alpaca does not know it."""
        try:
            return cast(
                Placed, self._answer(lambda: self._client.get_order_by_client_id(client_order_id))
            )
        except _Refused as refusal:
            if refusal.status == 404:
                return None
            raise RestoreService(f"alpaca: {refusal}") from refusal

    def _answer(self, request: Callable[[], Answer]) -> Answer:
        """Return Alpaca's answer.

        Raises:
            _Refused: If Alpaca refuses the request.
            FixConfiguration: If Alpaca refuses the keys.
            RestoreService: If Alpaca cannot be reached or cannot answer now.
        """
        try:
            return request()
        except APIError as error:
            raise _translated(error) from error
        except (RequestException, ValueError, TypeError, LookupError, AttributeError) as error:
            raise RestoreService(
                f"alpaca cannot be reached ({_line(error)}); orders stay in force, run it again"
            ) from error


class _Refused(Exception):  # caught by each caller, who words the consequence
    """A request that Alpaca refuses."""

    def __init__(self, reason: str, status: int) -> None:
        super().__init__(reason)
        self.status = status


class TimeoutAdapter(HTTPAdapter):
    """Gives every request a time limit; the client itself has none."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def send(self, request: PreparedRequest, *args: Any, **options: Any) -> Response:
        """Send a request with the time limit."""
        return super().send(request, *args, **(options | {"timeout": self._seconds}))


class _Trade:
    """One signal's orders at Alpaca.

    Args:
        signal_id: Id of the signal.
        entry: The order that enters.
        legs: Stop and target.
        orders: All orders in this symbol since the signal.
        signal_ids: Ids of all our signals.
    """

    def __init__(
        self,
        signal_id: str,
        entry: Placed,
        legs: list[Placed],
        orders: list[Placed],
        signal_ids: frozenset[str],
    ) -> None:
        self.signal_id = signal_id
        self.entry = entry
        self.legs = legs
        self.symbol = str(entry.symbol)
        self.side = 1 if entry.side is OrderSide.BUY else -1
        self._own = [order for order in orders if order.client_order_id.startswith(f"{signal_id}:")]
        self._others = [
            order for order in orders if _signal_of(order.client_order_id) not in signal_ids
        ]
        self.entered_units = float(entry.filled_qty or 0.0)
        self.entry_price = float(entry.filled_avg_price or math.nan)
        self.split_ratio = 1.0
        self._fills = list(self._exits())
        self.left_units = sum(fill.quantity for fill in self._fills)
        self.open_units = max(self.entered_units - self.left_units, 0.0)
        self.ids = {str(order.id) for order in (entry, *legs, *self._own)}

    @property
    def protected(self) -> bool:
        """Whether stop or target are open, or will be once the entry is filled.

        After a split they must be for all units: a venue may have left them as they were.
        """
        gone = ENDED | {OrderStatus.PENDING_CANCEL}
        working = [order for order in (self.entry, *self.legs) if order.status not in gone]
        return bool(working) and (
            self.split_ratio == 1.0
            or all(
                float(leg.qty or 0) - float(leg.filled_qty or 0) >= self.open_units
                for leg in working
            )
        )

    @property
    def excess(self) -> str | None:
        """The units that left beyond those that entered, in one line; None if there are none."""
        if self.left_units <= self.entered_units:
            return None
        return (
            f"alpaca: {self.left_units:g} {self.symbol} left the trade {self.signal_id}, "
            f"{self.entered_units:g} entered; compare the account's activities on Alpaca's page, "
            "and use the account for Steelyard only"
        )

    def follow_split(self, units: float, average_price: float) -> None:
        """Put the entry on the new scale if there was a split since.

        Alpaca changes the position, and cancels or changes stop and target; its record of the entry
        stays. What was sold and what is held is then another number of units than was bought, and
        that number puts the entry's price next to those of the exits or of the position. Bought
        units times price, and so the gain, stay as they were.

        Args:
            units: Signed units of the symbol in the account.
            average_price: Their entry price by the account; NaN without units.
        """
        held = max(self.side * units, 0.0)
        sold = self.left_units
        ratio = (sold + held) / self.entered_units if self.entered_units else 1.0
        if self.entry.status not in ENDED or not differs(ratio, SPLIT_RATIO) or not ratio:
            return
        proceeds = sum(fill.quantity * fill.price for fill in self._fills)
        price = average_price if held else proceeds / sold
        off = abs(math.log(price * ratio / self.entry_price))
        if off > SPLIT_TOLERANCE if held else off >= abs(math.log(price / self.entry_price)):
            return
        self.split_ratio = ratio
        self.entered_units = sold + held
        self.entry_price /= ratio
        self.open_units = held

    def levels_after_split(self, row: Mapping[str, Any]) -> dict[str, float]:
        """Return the levels of a row on the new scale; nothing without a split, or if they are.

        Args:
            row: Row of ``trades``.
        """
        reference = row["stop_price"] + self.side * row["stop_offset"]
        if self.split_ratio == 1.0 or not differs(reference / self.entry_price, SPLIT_RATIO):
            return {}
        scaled = rescaled(dict(row), 1 / self.split_ratio)
        names = (name for name in SCALED if name not in ("quantity", "entry_price"))
        return {name: scaled[name] for name in names if pd.notna(scaled[name])}

    @property
    def closing(self) -> bool:
        """Whether an order that closes the trade is open."""
        return any(order.status not in ENDED for order in self._own)

    def next_exit(self, reason: str) -> str:
        """Return the id of the next order that closes the trade."""
        return f"{self.signal_id}:{reason}:{len(self._own) + 1}"

    def change(self) -> dict[str, Any]:
        """Return the new values of the trade's row."""
        if not self.entered_units:
            return self._not_entered()
        values = {
            "status": "open",
            "broker_order_id": str(self.entry.id),
            "quantity": self.entered_units,
            "entry_at": self.entry.filled_at or self.entry.updated_at,
            "entry_price": self.entry_price,
            "fees": 0.0,
        }
        return (
            values if self.open_units or self.entry.status not in ENDED else values | self._closed()
        )

    def _not_entered(self) -> dict[str, Any]:
        values = {"broker_order_id": str(self.entry.id)}
        if self.entry.status not in ENDED:
            return values
        if self.entry.status is OrderStatus.REJECTED:
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

    def _exits(self) -> Iterable[_Fill]:
        """Yield each fill that reduced the position: of a leg, our closing order, an operator's."""
        for leg in self.legs:
            yield from _fill(leg, "target" if leg.type is OrderType.LIMIT else "stop")
        for order in self._own:
            reason = order.client_order_id.removeprefix(f"{self.signal_id}:").split(":")[0]
            yield from _fill(order, reason)
        for order in self._others:
            if order.side is not self.entry.side and self._after_entry(order):
                yield from _fill(order, "by_hand")

    def _after_entry(self, other: Placed) -> bool:
        return (
            self.entry.filled_at is not None
            and other.filled_at is not None
            and other.filled_at >= self.entry.filled_at
        )


def _signal_of(client_order_id: str) -> str:
    """Return the signal id in an order's id, without the reason and number of a closing order."""
    return (
        client_order_id
        if client_order_id.endswith(("buy", "sell"))
        else client_order_id.rsplit(":", 2)[0]
    )


def _fill(order: Placed, reason: str) -> Iterable[_Fill]:
    quantity = float(order.filled_qty or 0.0)
    if quantity:
        yield _Fill(
            quantity,
            float(order.filled_avg_price or math.nan),
            order.filled_at or order.updated_at,
            reason,
        )


def _bracket(order: Order) -> MarketOrderRequest:
    side = 1 if order.side == "buy" else -1
    target = order.price + side * order.target_offset
    no_target = math.isnan(target)
    return MarketOrderRequest(
        symbol=order.symbol,
        qty=order.quantity,
        side=OrderSide.BUY if side > 0 else OrderSide.SELL,
        time_in_force=TimeInForce.GTC,
        order_class=OrderClass.OTO if no_target else OrderClass.BRACKET,
        client_order_id=order.signal_id,
        take_profit=None if no_target else TakeProfitRequest(limit_price=_tick(target)),
        stop_loss=StopLossRequest(stop_price=_tick(order.price - side * order.stop_offset)),
    )


def _tick(price: float) -> float:
    """Return a price that Alpaca accepts: cents from one dollar, hundredths of a cent below."""
    return round(price, 2 if price >= 1 else 4)


def _translated(error: APIError) -> Exception:
    status = int(error.status_code or 0)
    if status == 401:
        return FixConfiguration(
            "alpaca refuses APCA_API_KEY_ID and APCA_API_SECRET_KEY; use the keys of the account "
            "that 'live' in conf/broker.yaml selects"
        )
    if status in (408, 429) or status >= 500 or not status:
        return RestoreService(
            f"alpaca cannot answer now ({status}: {_line(error)}); orders stay in force, "
            "run it again"
        )
    return _Refused(_reason(error), status)


def _reason(error: APIError) -> str:
    try:
        return str(error.message)
    except (ValueError, KeyError, TypeError):
        return _line(error)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
