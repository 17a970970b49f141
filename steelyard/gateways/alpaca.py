"""Alpaca through alpaca-py: brackets on stocks; the signal's id is the client order id, so a repeated submit is one order.

An order is in the ledger before it is sent, so that no crash leaves one nobody knows. What may or may not have arrived is
sent again under the same id, and otherwise asked for at the next start. Stop and target are counted from the decision close:
Alpaca wants them before the entry is known.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
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
from steelyard.gateways.brokers import WORKING, BrokerSettings, Order, order_row, own_trades
from steelyard.market.bars import Bars
from steelyard.market.brackets import BracketPolicy

if TYPE_CHECKING:
    from steelyard.gateways.ledger import Ledger

TRIES = 3
PAUSE_SECONDS = 0.2
LOOKS = 10
"""How often a cancelled order is looked at, ``PAUSE_SECONDS`` apart, before the exit is left to the next run."""
MAX_ORDERS = 500
ENDED = frozenset(
    {
        OrderStatus.FILLED,
        OrderStatus.CANCELED,
        OrderStatus.EXPIRED,
        OrderStatus.REJECTED,
        OrderStatus.REPLACED,
    }
)
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class _Fill:
    """Part of an exit."""

    quantity: float
    price: float
    at: datetime
    reason: str


@dataclass(slots=True)
class _Books:
    """What the ledger says the account must look like.

    Attributes:
        known: Ids of all our signals.
        held: Signed units by symbol.
        orders: Alpaca's ids of our orders.
        changes: What the ledger does not know yet.
        refused: What could not be left; the other trades are looked after all the same.
    """

    known: frozenset[str]
    held: dict[str, float] = field(default_factory=dict)
    orders: set[str] = field(default_factory=set)
    changes: list[dict[str, Any]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


class AlpacaBroker:
    """An account at Alpaca, its paper account unless ``settings.live``; it must be Steelyard's alone.

    Args:
        ledger: Where orders and fills are kept.
        policy: Time limit of the bracket; Alpaca knows none, the run after it ends the trade at the market.
        settings: Account and patience.
        keys: Key and secret.
    """

    name = "alpaca"

    def __init__(
        self,
        ledger: "Ledger",
        policy: BracketPolicy,
        settings: BrokerSettings,
        keys: tuple[str, str],
    ) -> None:
        self._ledger = ledger
        self._limit = policy.time_limit_bars
        self._client = TradingClient(*keys, paper=not settings.live, url_override=settings.address)
        self._client._retry = 0  # it would repeat by itself with waits of three seconds
        patient = _Patient(settings.timeout_seconds)
        for scheme in ("https://", "http://"):
            self._client._session.mount(scheme, patient)

    def tradable(self, quantity: float) -> float:
        """Return whole units: bracket orders take no fractions."""
        return float(math.floor(quantity))

    def equity(self, bars: Mapping[str, Bars]) -> float:
        """Return what the account is worth by Alpaca's own prices.

        Raises:
            RestoreService: If Alpaca cannot be reached.
        """
        return float(self._account().equity or 0.0)

    def submit(self, order: Order) -> str | None:
        """Place the bracket; returns Alpaca's words where it refuses, and notes ``broker_rejected``.

        Raises:
            RestoreService: If nobody can say whether it arrived; the next ``advance`` finds out.
        """
        self._ledger.record_trades([order_row(order, self.name)])
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
        """Write the fills, end what is over its time or unprotected, then hold the account against the ledger.

        Raises:
            ReconcileAccount: If the account is blocked, or holds orders or positions the ledger does not explain.
            RestoreService: If Alpaca cannot be reached.
            FixConfiguration: If it refuses the keys.
        """
        self._require_open()
        books = self._followed(bars)
        if not self._odd(books):
            return len(books.changes)
        again = self._followed(bars)  # a fill may have come between two questions
        if odd := self._odd(again):
            raise ReconcileAccount(f"{odd}; nothing is ordered until then")
        return len(books.changes) + len(again.changes)

    def _require_open(self) -> None:
        account = self._account()
        if account.trading_blocked or account.account_blocked or account.trade_suspended_by_user:
            raise ReconcileAccount(
                "alpaca: the account is blocked for trading; unblock it on Alpaca's page"
            )

    def _account(self) -> TradeAccount:
        return cast(TradeAccount, self._answer(self._client.get_account))

    def _followed(self, bars: Mapping[str, Bars]) -> _Books:
        """Look at every working trade, and write what became of it."""
        books = _Books(frozenset(self._ledger.trades(broker=self.name)["signal_id"]))
        for row in cast(
            list[dict[str, Any]], own_trades(self._ledger, self.name).to_dict("records")
        ):
            self._follow(row, bars.get(row["symbol"]), books)
        self._ledger.fill_trades(books.changes)
        return books

    def _follow(self, row: dict[str, Any], bars: Bars | None, books: _Books) -> None:
        trade = self._trade(row, books.known)
        if trade is None:
            books.changes.append(
                {"signal_id": row["signal_id"], "status": "canceled", "veto": "not_sent"}
            )
            return
        change = trade.change()
        if trade.left:
            books.held[trade.symbol] = books.held.get(trade.symbol, 0.0) + trade.side * trade.left
            self._end(trade, books, over=bars is not None and _over(bars, row, self._limit))
        books.orders |= trade.ids
        if {name: row[name] for name in change} != change:
            books.changes.append({"signal_id": row["signal_id"], **change})

    def _trade(self, row: dict[str, Any], known: frozenset[str]) -> "_Trade | None":
        """Return the orders of a trade; None where Alpaca has never heard of it."""
        signal_id, since = row["signal_id"], row["submitted_at"].to_pydatetime() - timedelta(days=1)
        wanted = GetOrdersRequest(
            status=QueryOrderStatus.ALL,
            symbols=[row["symbol"]],
            after=since,
            nested=True,
            limit=MAX_ORDERS,
        )
        orders = self._orders(wanted)
        entry = next((one for one in orders if one.client_order_id == signal_id), None)
        if entry is None:
            placed = self._placed(signal_id)
            if placed is None:
                return None
            entry = self._order(
                str(placed.id)
            )  # with its legs: without them it would look unprotected
        return _Trade(signal_id, entry, self._legs(entry), orders, known)

    def _legs(self, entry: Placed) -> list[Placed]:
        """Return stop and target, and what an operator replaced them by."""
        legs = list(entry.legs or ())
        for leg in legs:
            if leg.replaced_by:
                legs.append(self._order(str(leg.replaced_by)))  # noqa: PERF401  # it may be replaced again
        return legs

    def _order(self, order_id: str) -> Placed:
        return cast(
            Placed,
            self._answer(
                lambda: self._client.get_order_by_id(order_id, GetOrderByIdRequest(nested=True))
            ),
        )

    def _end(self, trade: "_Trade", books: _Books, *, over: bool) -> None:
        """Leave at the market what is over its time, or has neither stop nor target any more."""
        if trade.leaving or (trade.protected and not over):
            return
        if not self._cancelled(trade):
            return
        quantity = min(trade.left, max(trade.side * self._positions().get(trade.symbol, 0.0), 0.0))
        if not quantity:
            return
        leave = MarketOrderRequest(
            symbol=trade.symbol,
            qty=quantity,
            side=OrderSide.SELL if trade.side > 0 else OrderSide.BUY,
            time_in_force=TimeInForce.DAY,
            client_order_id=trade.next_exit("time" if over else "unprotected"),
        )
        try:
            trade.ids.add(str(self._sent(leave).id))
        except _Refused as refusal:
            books.refused.append(
                f"alpaca: {trade.symbol} must be left and Alpaca refuses ({refusal}); close it there"
            )

    def _cancelled(self, trade: "_Trade") -> bool:
        """Cancel what is still alive of a trade; returns whether it is gone: its units are only free then."""
        alive = [one for one in (trade.entry, *trade.legs) if one.status not in ENDED]
        for one in alive:
            self._cancel(str(one.id))
        return all(self._gone(str(one.id)) for one in alive)

    def _cancel(self, order_id: str) -> None:
        try:
            self._answer(lambda: self._client.cancel_order_by_id(order_id))
        except _Refused:  # it ended meanwhile, or goes with the other leg
            return

    def _gone(self, order_id: str) -> bool:
        for _ in range(LOOKS):
            if self._order(order_id).status in ENDED:
                return True
            time.sleep(PAUSE_SECONDS)
        return False

    def _odd(self, books: _Books) -> str | None:
        """Return what in the account nobody can explain, or could not be left."""
        if books.refused:
            return books.refused[0]
        positions = self._positions()
        for symbol, units in positions.items():
            ours = books.held.get(symbol, 0.0)
            if units != ours:
                return (
                    f"alpaca: the account holds {units:g} {symbol}, the ledger knows of {ours:g}; "
                    "close the difference on Alpaca's page, and leave the account to Steelyard"
                )
        for symbol, units in books.held.items():
            if symbol not in positions:
                return (
                    f"alpaca: the ledger holds {units:g} {symbol}, the account none and no order that closed them; "
                    "look at the account's activities on Alpaca's page"
                )
        return self._odd_order(books)

    def _odd_order(self, books: _Books) -> str | None:
        working = set(self._ledger.trades(WORKING, self.name)["signal_id"])
        for order in self._orders(GetOrdersRequest(status=QueryOrderStatus.OPEN, limit=MAX_ORDERS)):
            if str(order.id) not in books.orders and order.client_order_id not in working:
                return (
                    f"alpaca: an order {order.client_order_id} on {order.symbol} is open that the ledger does not know; "
                    "cancel it on Alpaca's page, and leave the account to Steelyard"
                )
        return None

    def _positions(self) -> dict[str, float]:
        found = cast(list[Position], self._answer(self._client.get_all_positions))
        return {
            one.symbol: (-1 if one.side is PositionSide.SHORT else 1) * abs(float(one.qty))
            for one in found
        }

    def _orders(self, wanted: GetOrdersRequest) -> list[Placed]:
        return cast(list[Placed], self._answer(lambda: self._client.get_orders(wanted)))

    def _sent(self, request: MarketOrderRequest) -> Placed:
        """Send an order; what may or may not have arrived is sent again, under an id Alpaca takes once.

        Raises:
            _Refused: If Alpaca does not take it.
            RestoreService: If nobody can say.
        """
        for number in range(TRIES):
            try:
                return cast(Placed, self._answer(lambda: self._client.submit_order(request)))
            except _Refused:
                placed = self._placed(str(request.client_order_id))
                if placed is not None:
                    return placed
                raise
            except RestoreService:
                if number == TRIES - 1:
                    raise
                time.sleep(PAUSE_SECONDS * 2**number)
        raise AssertionError  # the loop returns or raises

    def _placed(self, client_order_id: str) -> Placed | None:
        """Return an order by our id; None where Alpaca does not know it."""
        try:
            return cast(
                Placed, self._answer(lambda: self._client.get_order_by_client_id(client_order_id))
            )
        except _Refused as refusal:
            if refusal.status == 404:
                return None
            raise RestoreService(f"alpaca: {refusal}") from refusal

    def _answer(self, ask: Callable[[], Found]) -> Found:
        """Return Alpaca's answer.

        Raises:
            _Refused: If it is a no.
            FixConfiguration: If the keys are not accepted.
            RestoreService: If there is none, or only that it cannot answer now.
        """
        try:
            return ask()
        except APIError as error:
            raise _of(error) from error
        except (RequestException, ValueError) as error:
            raise RestoreService(
                f"alpaca cannot be reached ({_line(error)}); what was ordered stands, run it again"
            ) from error


class _Refused(Exception):  # an answer, told on in the words of whoever asked
    """Alpaca's no."""

    def __init__(self, words: str, status: int) -> None:
        super().__init__(words)
        self.status = status


class _Patient(HTTPAdapter):
    """Gives every request a time limit; the client has none of its own."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def send(self, request: PreparedRequest, *args: Any, **options: Any) -> Response:
        """Send within the limit."""
        return super().send(request, *args, **(options | {"timeout": self._seconds}))


class _Trade:
    """One signal's orders at Alpaca.

    Args:
        signal_id: Ours.
        entry: The order that enters.
        legs: Stop and target.
        orders: Everything ordered in this symbol since.
        known: Ids of all our signals.
    """

    def __init__(
        self,
        signal_id: str,
        entry: Placed,
        legs: list[Placed],
        orders: list[Placed],
        known: frozenset[str],
    ) -> None:
        self.signal_id = signal_id
        self.entry = entry
        self.legs = legs
        self.symbol = str(entry.symbol)
        self.side = 1 if entry.side is OrderSide.BUY else -1
        self._own = [one for one in orders if one.client_order_id.startswith(f"{signal_id}:")]
        self._others = [one for one in orders if _signal_of(one.client_order_id) not in known]
        self.entered = float(entry.filled_qty or 0.0)
        self._fills = list(self._exits())
        self.left = max(self.entered - sum(fill.quantity for fill in self._fills), 0.0)
        self.ids = {str(one.id) for one in (entry, *legs, *self._own)}

    @property
    def protected(self) -> bool:
        """Whether stop or target still stand, or will once the entry is filled."""
        return any(one.status not in ENDED for one in (self.entry, *self.legs))

    @property
    def leaving(self) -> bool:
        """Whether an order to leave is on its way."""
        return any(one.status not in ENDED for one in self._own)

    def next_exit(self, reason: str) -> str:
        """Return the id of the next order to leave."""
        return f"{self.signal_id}:{reason}:{len(self._own) + 1}"

    def change(self) -> dict[str, Any]:
        """Return the row's new values."""
        if not self.entered:
            return self._not_entered()
        values = {
            "status": "open",
            "broker_order_id": str(self.entry.id),
            "quantity": self.entered,
            "entry_at": self.entry.filled_at or self.entry.updated_at,
            "entry_price": float(self.entry.filled_avg_price or math.nan),
            "fees": 0.0,
        }
        return values if self.left or self.entry.status not in ENDED else values | self._left()

    def _not_entered(self) -> dict[str, Any]:
        placed = {"broker_order_id": str(self.entry.id)}
        if self.entry.status not in ENDED:
            return placed
        if self.entry.status is OrderStatus.REJECTED:
            return placed | {"status": "rejected", "veto": "broker_rejected"}
        return placed | {"status": "canceled", "veto": "not_filled"}

    def _left(self) -> dict[str, Any]:
        """Return how it ended: the mean price of all exits, the reason of the largest."""
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
        """Give every fill that reduced the position: by a leg, by our own order to leave, or by an operator's hand."""
        for leg in self.legs:
            yield from _fill(leg, "target" if leg.type is OrderType.LIMIT else "stop")
        for one in self._own:
            yield from _fill(
                one, one.client_order_id.removeprefix(f"{self.signal_id}:").split(":")[0]
            )
        for one in self._others:
            if one.side is not self.entry.side and self._after_entry(one):
                yield from _fill(one, "by_hand")

    def _after_entry(self, other: Placed) -> bool:
        return (
            self.entry.filled_at is not None
            and other.filled_at is not None
            and other.filled_at >= self.entry.filled_at
        )


def _signal_of(client_order_id: str) -> str:
    """Return the signal of an order: its id, or what stands before the reason and number of an order to leave."""
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
    return MarketOrderRequest(
        symbol=order.symbol,
        qty=order.quantity,
        side=OrderSide.BUY if side > 0 else OrderSide.SELL,
        time_in_force=TimeInForce.GTC,
        order_class=OrderClass.BRACKET,
        client_order_id=order.signal_id,
        take_profit=TakeProfitRequest(limit_price=_tick(order.price + side * order.target_offset)),
        stop_loss=StopLossRequest(stop_price=_tick(order.price - side * order.stop_offset)),
    )


def _tick(price: float) -> float:
    """Return a price Alpaca takes: cents from one dollar on, hundredths of a cent below."""
    return round(price, 2 if price >= 1 else 4)


def _over(bars: Bars, row: Mapping[str, Any], limit: int) -> bool:
    """Whether the bars a trade may last have closed."""
    stamp = pd.Timestamp(row["timestamp"]).tz_convert("UTC").tz_localize(None).to_datetime64()
    return len(bars) - int(np.searchsorted(bars.timestamp, stamp, side="right")) >= limit


def _of(error: APIError) -> Exception:
    status = int(error.status_code or 0)
    if status == 401:
        return FixConfiguration(
            "alpaca refuses APCA_API_KEY_ID and APCA_API_SECRET_KEY; look whether they fit conf/broker.yaml: live"
        )
    if status in (408, 429) or status >= 500 or not status:
        return RestoreService(
            f"alpaca cannot answer now ({status}: {_line(error)}); what was ordered stands, run it again"
        )
    return _Refused(_words(error), status)


def _words(error: APIError) -> str:
    try:
        return str(error.message)
    except (ValueError, KeyError, TypeError):
        return _line(error)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
