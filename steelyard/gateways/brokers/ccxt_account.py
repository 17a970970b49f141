"""Linear perpetual contracts through ccxt: stop and target travel with the entry in one request.

Orders carry a short id made from the signal's, because exchanges limit length and signs of theirs.
An order is looked up before it is sent and after every doubt, and sent again only if the exchange
said that it had not taken it. Positions are left by orders that can only reduce them, while their
stop stays in force. Levels are counted from the decision close: they are needed before the entry.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from math import isnan, nan
from typing import TYPE_CHECKING, Any, TypeVar

from requests import RequestException

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
from steelyard.gateways.brokers.broker import WORKING, BrokerSettings, Order
from steelyard.gateways.brokers.bybit import SETTLE, Bybit, Unified
from steelyard.gateways.exchanges import open_exchange
from steelyard.gateways.venues import requests as pauses
from steelyard.gateways.venues.requests import (
    UNREADABLE,
    Interrupted,
    one_line,
    persistently,
    seconds_asked,
)
from steelyard.market.bars import Bars
from steelyard.market.brackets import BracketPolicy
from steelyard.market.strategy import Exiting

if TYPE_CHECKING:
    from steelyard.gateways.ledger import Ledger

FILE = "conf/broker.yaml"
EXCHANGES = {"bybit": Bybit}
"""Exchanges whose stops, once they are open or have fired, are known from their answers."""
SENDS = 3
LOOKS = 3
"""Looks for an order that may not have arrived; their pauses outlast the request's validity."""
CLOCK_TOLERANCE = timedelta(hours=1)
ID_LETTERS = 21
REASONS = {"t": "time", "r": "trail", "x": "exit", "u": "unprotected"}
"""Letter in the id of an order that closes → why."""
_LETTERS = {reason: letter for letter, reason in REASONS.items()}
Answer = TypeVar("Answer")


def client_id(order_id: str) -> str:
    """Return an order's id at the exchange: 21 letters and digits, always the same (80 bits)."""
    return "s" + sha256(order_id.encode()).hexdigest()[: ID_LETTERS - 1]


def unsuitable(exchange: Any) -> str | None:
    """Return why orders cannot go to an exchange, None if they can; no request is made.

    Args:
        exchange: ccxt's client of it.
    """
    contracts = (exchange.features or {}).get("swap") or {}
    linear = contracts.get("linear") or {}
    if not linear:
        return "has no linear perpetual contracts"
    if not (linear.get("createOrder") or {}).get("attachedStopLossTakeProfit"):
        return "takes no stop with the entry, so that a position would be without one for a moment"
    if exchange.id not in EXCHANGES:
        return "does not tell by ccxt's unified answers whether a stop is in force or has fired"
    return None


def open_account(settings: BrokerSettings) -> Any:
    """Return ccxt's client of the account in ``conf/broker.yaml``; no request is made.

    Raises:
        FixConfiguration: If ccxt is missing, or orders cannot go to the exchange.
    """
    limits = {"timeout": int(settings.timeout_seconds * 1000)}
    exchange = open_exchange(limits | settings.options, FILE)
    if reason := unsuitable(exchange):
        raise FixConfiguration(
            f"{FILE}: options: {exchange.id} {reason}; use {', '.join(EXCHANGES)}"
        )
    missing = [name for name in ("apiKey", "secret") if not getattr(exchange, name)]
    if missing:
        raise FixConfiguration(
            f"{FILE}: options: {missing[0]} is missing; add it as ${{NAME}} of an environment "
            "variable"
        )
    if not settings.live:
        exchange.set_sandbox_mode(True)
    if settings.address:
        exchange.urls["api"] = dict.fromkeys(exchange.urls["api"], settings.address)
    exchange.options["maxRetriesOnFailure"] = 0  # an order is never sent twice unseen
    return exchange


class CcxtBroker(AccountBroker["_Trade"]):
    """An account at an exchange, its sandbox unless ``settings.live``, used by Steelyard only.

    Args:
        ledger: Stores orders and fills.
        policy: Time limit of the bracket.
        settings: ``options`` holds ``exchange``, ``apiKey`` and ``secret``; others go to ccxt.
        rule: The existing system's own exit rule; None without one.

    Raises:
        FixConfiguration: If ccxt or a key is missing, or orders cannot go to the exchange.
    """

    settling_seconds = 1.0

    def __init__(
        self,
        ledger: "Ledger",
        policy: BracketPolicy,
        settings: BrokerSettings,
        rule: Exiting | None = None,
    ) -> None:
        super().__init__(ledger, policy, rule)
        self._exchange = open_account(settings)
        import ccxt

        self._errors = ccxt
        self._id = str(self._exchange.id)
        self.name = f"ccxt:{self._id}" + ("" if settings.live else ":sandbox")
        self.page = f"the pages of {self._id}"
        self._account = EXCHANGES[self._id](self._exchange, self._read)

    def tradable(self, quantity: float) -> float:
        """Return the quantity; ``submit`` takes the part of it that the contract allows."""
        return quantity

    def equity(self, bars: Mapping[str, Bars]) -> float:
        """Return the account's value in the coin the contracts settle in, with the open profit.

        Raises:
            RestoreService: If the exchange cannot be reached.
            ReconcileAccount: If the account has nothing of that coin.
        """
        return self._account.equity()

    def cancel_entries(self, signal_ids: Sequence[str]) -> int:
        """Return 0: orders at the market have entered or ended at once."""
        return 0

    def _require_open(self) -> None:
        self._account.require_open()

    def _place(self, order: Order) -> str:
        market = self._contract(order.symbol)
        placed = self._order(order.symbol, client_id(order.order_id), order.decided_at)
        if placed:
            return str(placed["id"])
        amount = self._amount(order, market)
        self._require_free(order)
        side = 1 if order.side == "buy" else -1
        levels = {
            "stopLoss": order.price - side * order.stop_offset,
            "takeProfit": order.price + side * order.target_offset,
        }
        attached = {
            name: {"triggerPrice": price} for name, price in levels.items() if not isnan(price)
        }
        params = {"clientOrderId": client_id(order.order_id), **self._account.entry_options}
        return self._sent(order.symbol, order.side, amount, params | attached)

    def _contract(self, symbol: str) -> dict[str, Any]:
        """Return a contract, as ccxt describes it.

        Raises:
            Refused: If the symbol is none that settles in the account's coin.
        """
        market: dict[str, Any] = self._read(self._exchange.load_markets).get(symbol, {})
        if not (market.get("swap") and market["linear"] and market["settle"] == SETTLE):
            raise Refused(
                f"{symbol} is no perpetual contract of {self._id} that settles in {SETTLE}; use "
                f"symbols such as BTC/{SETTLE}:{SETTLE} in conf/source.yaml"
            )
        return market

    def _amount(self, order: Order, market: Mapping[str, Any]) -> float:
        """Return the contracts of an order, in whole steps.

        Raises:
            Refused: If they are less than the exchange takes.
        """
        contracts = order.quantity / market["contractSize"]
        try:
            amount = float(self._exchange.amount_to_precision(order.symbol, contracts))
        except self._errors.InvalidOrder:
            amount = 0.0
        smallest = market["limits"]["amount"]["min"] or market["precision"]["amount"]
        worth, least = (
            amount * market["contractSize"] * order.price,
            self._account.least_worth(market),
        )
        if amount < smallest or worth < least:
            raise Refused(
                f"{order.quantity:.3g} {order.symbol} are less than the smallest order of "
                f"{self._id}: {smallest:g} contracts, and {least:g} {SETTLE}"
            )
        return amount

    def _require_free(self, order: Order) -> None:
        """Refuse a second trade in a symbol: stop and target belong to the whole position."""
        working = self._ledger.account_trades(WORKING, self.name)
        others = working[(working["symbol"] == order.symbol).to_numpy(dtype=bool)]
        for order_id in others["order_id"]:
            if order_id != order.order_id:
                raise Refused(
                    f"{order_id} is still working; {self._id} keeps one stop and target for all "
                    f"of {order.symbol}"
                )
        if self._held(self._account.positions(order.symbol)):
            raise Refused(f"the account holds {order.symbol} already")

    def _sent(self, symbol: str, side: str, amount: float, params: dict[str, Any]) -> str:
        """Send an order at the market and return the exchange's id of it.

        Raises:
            Refused: If the exchange refuses it.
            RestoreService: If it is unknown whether it arrived.
        """
        create = partial(self._exchange.create_order, symbol, "market", side, amount, None, params)
        now = datetime.now(UTC)
        for _ in range(SENDS):
            try:
                return str(self._asked(create)["id"])
            except Refused:
                placed = self._order(symbol, params["clientOrderId"], now)
                if placed is None:
                    raise
                return str(placed["id"])
            except Interrupted as interruption:
                placed = self._awaited(symbol, params["clientOrderId"], now)
                if placed is not None:
                    return str(placed["id"])
                if not isinstance(interruption.__cause__, self._errors.RateLimitExceeded):
                    raise RestoreService(
                        f"{self._id}: it is unknown whether the order in {symbol} arrived "
                        f"({interruption}); the next run looks it up"
                    ) from interruption
        raise RestoreService(f"{self._id} takes no more orders now (its rate limit); run it again")

    def _awaited(self, symbol: str, own_id: str, since: datetime) -> Unified | None:
        """Look for an order until its request, had it not arrived yet, is no longer valid."""
        for pause in pauses.PAUSES[:LOOKS]:
            time.sleep(pause)
            if placed := self._order(symbol, own_id, since):
                return placed
        return None

    def _order(self, symbol: str, own_id: str, since: datetime) -> Unified | None:
        return self._account.order(symbol, own_id, since - CLOCK_TOLERANCE)

    def _placed(self, row: Mapping[str, Any]) -> Unified | None:
        decided_at = row["submitted_at"].to_pydatetime()
        return self._order(row["symbol"], client_id(row["order_id"]), decided_at)

    def _trade(
        self,
        row: dict[str, Any],
        holding: Holding,
        client_ids: frozenset[str],
    ) -> "_Trade | None":
        entry = self._placed(row)
        if entry is None:
            return None
        since = row["submitted_at"].to_pydatetime() - CLOCK_TOLERANCE
        market = self._read(self._exchange.load_markets)[row["symbol"]]
        orders = self._account.orders(row["symbol"], since)
        return _Trade(row, entry, orders, holding, market, self._account)

    def _close(self, trade: "_Trade", expected: Expected, reason: str) -> None:
        held = self._holdings().get(trade.symbol, Holding()).units
        units = min(trade.open_units, max(trade.side * held, 0.0))
        if not units:
            return
        amount = float(
            self._exchange.amount_to_precision(trade.symbol, units / trade.contract_size)
        )
        side = "sell" if trade.side > 0 else "buy"
        params = {"reduceOnly": True, "clientOrderId": trade.next_exit(reason)}
        try:
            trade.ids.add(self._sent(trade.symbol, side, amount, params))
        except Refused as refusal:
            if trade.symbol in self._holdings():
                expected.refusals.append(
                    f"{self.name}: {trade.symbol} must be closed and {self._id} refuses "
                    f"({refusal}); close the position on {self.page}"
                )

    def _unknown_order(self, expected: Expected) -> str | None:
        working = self._ledger.trades(WORKING, self.name)
        own = tuple(map(client_id, working["order_id"]))
        for order in self._account.open_orders():
            is_level = self._account.reason(order) in ("stop", "target")
            if (
                order["symbol"] in expected.others
                or order["id"] in expected.order_ids
                or str(order["clientOrderId"]).startswith(own)
                or (is_level and order["symbol"] in expected.units)
            ):
                continue
            return (
                f"{self.name}: the open order {order['id']} in {order['symbol']} is not in the "
                f"ledger; cancel it on {self.page}, and use the account for Steelyard only"
            )
        return None

    def _holdings(self) -> dict[str, Holding]:
        return self._held(self._account.positions())

    def _held(self, positions: Iterable[Unified]) -> dict[str, Holding]:
        """Return the positions with units by symbol.

        Raises:
            ReconcileAccount: If the account holds both directions of a symbol apart.
        """
        holdings = {}
        for position in positions:
            if position["hedged"]:
                raise ReconcileAccount(
                    f"{self.name}: the account is in hedge mode; set it to one-way mode on "
                    f"{self.page}"
                )
            contracts = float(position["contracts"] or 0.0)
            if contracts:
                side = -1 if position["side"] == "short" else 1
                holdings[position["symbol"]] = Holding(
                    side * contracts * float(position["contractSize"]),
                    float(position["entryPrice"] or nan),
                    float(position["stopLossPrice"] or nan),
                )
        return holdings

    def _read(self, request: Callable[[], Answer]) -> Answer:
        """Return the answer to a request that may be made again.

        Raises:
            RestoreService: If the exchange does not answer, or refuses to.
            FixConfiguration: If it refuses the keys.
        """
        try:
            return persistently(
                partial(self._asked, request), self._id, "orders and stops stay in force"
            )
        except Refused as refusal:
            raise RestoreService(
                f"{self._id} refuses to answer ({refusal}); orders and stops stay in force"
            ) from refusal

    def _asked(self, request: Callable[[], Answer]) -> Answer:
        """Return the answer to a request.

        Raises:
            Refused: If the exchange refuses the request.
            Interrupted: If it does not answer, or it is unknown what its answer means.
            FixConfiguration: If it refuses the keys.
        """
        self._exchange.last_http_response = None
        try:
            answer = request()
            text = self._exchange.last_http_response
            if text is not None and not str(text).lstrip().startswith("{"):
                raise Interrupted("the answer is no JSON")  # ccxt takes a page for an empty list
            return answer
        except self._errors.AuthenticationError as error:
            raise FixConfiguration(
                f"{self._id} refuses the keys ({one_line(error)}); in {FILE}, 'apiKey' and "
                "'secret' must belong to the account that 'live' selects, and may trade contracts"
            ) from error
        except (self._errors.BaseError, RequestException, *UNREADABLE) as error:
            unknown = self._errors.ExchangeError  # its subclasses say what the exchange refuses
            if isinstance(error, unknown) and type(error) is not unknown:
                raise Refused(self._account.words(one_line(error))) from error
            headers = self._exchange.last_response_headers or {}
            raise Interrupted(error, seconds_asked(headers.get("Retry-After"))) from error


class _Trade(AccountTrade):
    """One signal's orders at the exchange.

    Args:
        row: Row of ``trades``.
        entry: The order that enters.
        orders: All orders in this symbol since the signal.
        holding: Position in this symbol.
        market: The contract, as ccxt describes it.
        account: Tells why an order left, and its fees.
    """

    def __init__(
        self,
        row: Mapping[str, Any],
        entry: Unified,
        orders: Iterable[Unified],
        holding: Holding,
        market: Mapping[str, Any],
        account: Bybit,
    ) -> None:
        self.contract_size = float(market["contractSize"])
        self._account = account
        self._holding = holding
        self._own_id = client_id(row["order_id"])
        side = 1 if row["side"] == "buy" else -1
        entered = EntryOrder(
            str(entry["id"]),
            float(entry["filled"] or 0.0) * self.contract_size,
            float(entry["average"] or nan),
            _changed_at(entry),
            entry["status"] != "open",
            entry["status"] == "rejected",
        )
        exits = [order for order in orders if self._leaves(order, entry)]
        self._exits = [order for order in exits if float(order["filled"] or 0.0)]
        self._own = [order for order in exits if self._is_own(order)]
        super().__init__(
            row["signal_id"], row["symbol"], side, entered, map(self._fill, self._exits)
        )
        self.ids |= {str(order["id"]) for order in self._own}
        self.fees = sum(self._fee(order, market) for order in (entry, *self._exits))

    @property
    def protected(self) -> bool:
        """Whether the position has a stop; what the account does not hold needs none."""
        return self.side * self._holding.units <= 0 or not isnan(self._holding.stop_price)

    @property
    def closing(self) -> bool:
        """Whether an order that closes the trade is open."""
        return any(order["status"] == "open" for order in self._own)

    def next_exit(self, reason: str) -> str:
        """Return the id of the next order that closes the trade."""
        return f"{self._own_id}{_LETTERS[reason]}{len(self._own) + 1}"

    def _is_own(self, order: Unified) -> bool:
        return str(order["clientOrderId"]).startswith(self._own_id)

    def _leaves(self, order: Unified, entry: Unified) -> bool:
        """Return whether an order reduced the position of this trade, or was to."""
        if order["id"] == entry["id"] or order["side"] == entry["side"]:
            return False
        return self._is_own(order) or _changed_at(order) >= _changed_at(entry)

    def _fill(self, order: Unified) -> Fill:
        letter = str(order["clientOrderId"])[ID_LETTERS : ID_LETTERS + 1]
        return Fill(
            float(order["filled"]) * self.contract_size,
            float(order["average"] or nan),
            _changed_at(order),
            REASONS[letter] if self._is_own(order) else self._account.reason(order),
        )

    def _fee(self, order: Unified, market: Mapping[str, Any]) -> float:
        """Return an order's fees; by the contract's usual rate if paid in another coin."""
        fee = self._account.fee(order)
        if fee is not None:
            return fee
        worth = float(order["filled"] or 0.0) * self.contract_size * float(order["average"] or 0.0)
        return worth * float(market["taker"])


def _changed_at(order: Unified) -> datetime:
    stamp = order["lastTradeTimestamp"] or order["timestamp"]
    return datetime.fromtimestamp(stamp / 1000, UTC)
