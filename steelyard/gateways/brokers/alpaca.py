"""Alpaca through alpaca-py: brackets on stocks; the order's id is the client order id.

A repeated submit is therefore one order: one that may not have arrived is sent again under the same
id, or looked up at the next start. Stop and target are counted from the decision close: Alpaca
needs them before the entry is known.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar, cast

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
from steelyard.gateways.brokers.account import (
    AccountBroker,
    AccountTrade,
    EntryOrder,
    Expected,
    Fill,
    Holding,
    Refused,
)
from steelyard.gateways.brokers.broker import SCALED, WORKING, BrokerSettings, Order, rescaled
from steelyard.market.bars import Bars
from steelyard.market.brackets import BracketPolicy
from steelyard.market.scale import SPLIT_RATIO, differs
from steelyard.market.strategy import Exiting

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


class AlpacaBroker(AccountBroker["_Trade"]):
    """An account at Alpaca, the paper account unless ``settings.live``, used by Steelyard only.

    Args:
        ledger: Stores orders and fills.
        policy: Time limit of the bracket.
        settings: Account, address and time limit of a request.
        keys: Key and secret.
        rule: The existing system's own exit rule; None without one.
    """

    name = "alpaca"
    page = "Alpaca's page"
    stops_are_cancelled = True

    def __init__(
        self,
        ledger: "Ledger",
        policy: BracketPolicy,
        settings: BrokerSettings,
        keys: tuple[str, str],
        rule: Exiting | None = None,
    ) -> None:
        super().__init__(ledger, policy, rule)
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

    def _place(self, order: Order) -> str:
        return str(self._sent(_bracket(order)).id)

    def cancel_entries(self, signal_ids: Sequence[str]) -> int:
        """Cancel the orders of these signals that have not entered yet; return how many.

        The next ``advance`` writes what became of them.

        Raises:
            RestoreService: If Alpaca cannot be reached.
        """
        trades = self._ledger.trades(broker=self.name)
        client_ids = trades.loc[trades["signal_id"].isin(list(signal_ids)), "order_id"]
        placed = [self._placed(client_id) for client_id in client_ids]
        waiting = [
            order
            for order in placed
            if order and order.status not in ENDED and not float(order.filled_qty or 0.0)
        ]
        for order in waiting:
            self._cancel(str(order.id))
        return len(waiting)

    def _require_open(self) -> None:
        account = self._account()
        if account.trading_blocked or account.account_blocked or account.trade_suspended_by_user:
            raise ReconcileAccount(
                "alpaca: the account is blocked for trading; unblock it on Alpaca's page"
            )

    def _account(self) -> TradeAccount:
        return cast(TradeAccount, self._answer(self._client.get_account))

    def _trade(
        self, row: dict[str, Any], holding: Holding, client_ids: frozenset[str]
    ) -> "_Trade | None":
        client_id, since = row["order_id"], row["submitted_at"].to_pydatetime() - timedelta(days=1)
        request = GetOrdersRequest(
            status=QueryOrderStatus.ALL,
            symbols=[row["symbol"]],
            after=since,
            nested=True,
            limit=MAX_ORDERS,
        )
        orders = self._orders(request)
        entry = next((order for order in orders if order.client_order_id == client_id), None)
        if entry is None:
            placed = self._placed(client_id)
            if placed is None:
                return None
            entry = self._order(str(placed.id))  # with its legs, or it would look unprotected
        trade = _Trade(row, entry, self._legs(entry), orders, client_ids)
        trade.follow_split(holding)
        return trade

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

    def _close(self, trade: "_Trade", expected: Expected, reason: str) -> None:
        """Close a trade at the market: it is due, or has neither stop nor target any more."""
        if not self._cancelled(trade):
            expected.refusals.append(
                f"alpaca: the cancelled orders of {trade.symbol} have not ended after "
                f"{LOOKS * PAUSE_SECONDS:g} s; it may have no stop until the next run closes it"
            )
            return
        held = self._holdings().get(trade.symbol, Holding()).units
        quantity = min(trade.open_units, max(trade.side * held, 0.0))
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
        except Refused as refusal:
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
        except Refused:  # it has ended, or is cancelled with the other leg
            return

    def _ended(self, order_id: str) -> bool:
        for _ in range(LOOKS):
            if self._order(order_id).status in ENDED:
                return True
            time.sleep(PAUSE_SECONDS)
        return False

    def _unknown_order(self, expected: Expected) -> str | None:
        working = set(self._ledger.trades(WORKING, self.name)["order_id"])
        for order in self._orders(GetOrdersRequest(status=QueryOrderStatus.OPEN, limit=MAX_ORDERS)):
            if order.symbol in expected.others:
                continue
            if str(order.id) not in expected.order_ids and order.client_order_id not in working:
                return (
                    f"alpaca: the open order {order.client_order_id} on {order.symbol} is not in "
                    "the ledger; cancel it on Alpaca's page, and use the account for Steelyard only"
                )
        return None

    def _holdings(self) -> dict[str, Holding]:
        positions = cast(list[Position], self._answer(self._client.get_all_positions))
        return {
            position.symbol: Holding(
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
            Refused: If Alpaca refuses it.
            RestoreService: If it is unknown whether it arrived.
        """
        for attempt in range(TRIES):
            try:
                return cast(Placed, self._answer(lambda: self._client.submit_order(request)))
            except Refused:
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
        except Refused as refusal:
            if refusal.status == 404:
                return None
            raise RestoreService(f"alpaca: {refusal}") from refusal

    def _answer(self, request: Callable[[], Answer]) -> Answer:
        """Return Alpaca's answer.

        Raises:
            Refused: If Alpaca refuses the request.
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


class TimeoutAdapter(HTTPAdapter):
    """Gives every request a time limit; the client itself has none."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def send(self, request: PreparedRequest, *args: Any, **options: Any) -> Response:
        """Send a request with the time limit."""
        return super().send(request, *args, **(options | {"timeout": self._seconds}))


class _Trade(AccountTrade):
    """One signal's orders at Alpaca.

    Args:
        row: Row of ``trades``.
        entry: The order that enters.
        legs: Stop and target.
        orders: All orders in this symbol since the signal.
        client_ids: Our ids of all orders that entered, of all lineages.
    """

    def __init__(
        self,
        row: Mapping[str, Any],
        entry: Placed,
        legs: list[Placed],
        orders: list[Placed],
        client_ids: frozenset[str],
    ) -> None:
        self.entry = entry
        self.legs = legs
        self.split_ratio = 1.0
        self._row = row
        self._exit_id = f"{row['order_id']}:"
        self._own = [order for order in orders if order.client_order_id.startswith(self._exit_id)]
        self._others = [
            order for order in orders if _entry_of(order.client_order_id) not in client_ids
        ]
        entered = EntryOrder(
            str(entry.id),
            float(entry.filled_qty or 0.0),
            float(entry.filled_avg_price or math.nan),
            entry.filled_at or entry.updated_at,
            entry.status in ENDED,
            entry.status is OrderStatus.REJECTED,
        )
        side = 1 if entry.side is OrderSide.BUY else -1
        super().__init__(row["signal_id"], str(entry.symbol), side, entered, self._exits())
        self.ids |= {str(order.id) for order in (*legs, *self._own)}

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

    def follow_split(self, holding: Holding) -> None:
        """Put the entry on the new scale if there was a split since.

        Alpaca changes the position, and cancels or changes stop and target; its record of the entry
        stays. What was sold and what is held is then another number of units than was bought, and
        that number puts the entry's price next to those of the exits or of the position. Bought
        units times price, and so the gain, stay as they were.
        """
        held = max(self.side * holding.units, 0.0)
        sold = self.left_units
        ratio = (sold + held) / self.entered_units if self.entered_units else 1.0
        if self.entry.status not in ENDED or not differs(ratio, SPLIT_RATIO) or not ratio:
            return
        proceeds = sum(fill.quantity * fill.price for fill in self._fills)
        price = holding.price if held else proceeds / sold
        off = abs(math.log(price * ratio / self.entry_price))
        if off > SPLIT_TOLERANCE if held else off >= abs(math.log(price / self.entry_price)):
            return
        self.split_ratio = ratio
        self.entered_units = sold + held
        self.entry_price /= ratio
        self.open_units = held

    def _levels_after_split(self) -> dict[str, float]:
        """Return the levels on the new scale; nothing if they are, or without a split."""
        reference = self._row["stop_price"] + self.side * self._row["stop_offset"]
        if self.split_ratio == 1.0 or not differs(reference / self.entry_price, SPLIT_RATIO):
            return {}
        scaled = rescaled(dict(self._row), 1 / self.split_ratio)
        names = (name for name in SCALED if name not in ("quantity", "entry_price"))
        return {name: scaled[name] for name in names if pd.notna(scaled[name])}

    @property
    def closing(self) -> bool:
        """Whether an order that closes the trade is open."""
        return any(order.status not in ENDED for order in self._own)

    def next_exit(self, reason: str) -> str:
        """Return the id of the next order that closes the trade."""
        return f"{self._exit_id}{reason}:{len(self._own) + 1}"

    def change(self) -> dict[str, Any]:
        """Return the new values of the trade's row, on the scale after a split."""
        return super().change() | self._levels_after_split()

    def _exits(self) -> Iterable[Fill]:
        """Yield each fill that reduced the position: of a leg, our closing order, an operator's."""
        for leg in self.legs:
            yield from _fill(leg, "target" if leg.type is OrderType.LIMIT else "stop")
        for order in self._own:
            reason = order.client_order_id.removeprefix(self._exit_id).split(":")[0]
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


def _entry_of(client_order_id: str) -> str:
    """Return the id of the order that entered, without reason and number of a closing order."""
    return (
        client_order_id
        if client_order_id.endswith(("buy", "sell"))
        else client_order_id.rsplit(":", 2)[0]
    )


def _fill(order: Placed, reason: str) -> Iterable[Fill]:
    quantity = float(order.filled_qty or 0.0)
    if quantity:
        yield Fill(
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
        client_order_id=order.order_id,
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
    return Refused(_reason(error), status)


def _reason(error: APIError) -> str:
    try:
        return str(error.message)
    except (ValueError, KeyError, TypeError):
        return _line(error)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
