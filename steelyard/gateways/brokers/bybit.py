"""What Bybit's answers tell that ccxt's unified ones leave out.

After https://bybit-exchange.github.io/docs/v5: a stop and a target given with an order (``Full``)
belong to the position: they cover all of it, reduce it only, and end with it. Orders are created
after they were acknowledged, and their history comes later than their live list.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from steelyard.errors import ReconcileAccount

SETTLE = "USDT"
"""Coin in which the contracts settle, and the account is measured."""
WINDOW = timedelta(days=7)
"""Longest stretch of a request for past orders."""
PAGE = 50
Unified = dict[str, Any]
"""An order or position as ccxt unifies it; ``info`` is the exchange's own answer."""


class Bybit:
    """A unified trading account at Bybit.

    Args:
        exchange: ccxt's client.
        ask: Makes a request that only reads, again if it fails.
    """

    def __init__(self, exchange: Any, ask: Callable[[Callable[[], Any]], Any]) -> None:
        self._exchange = exchange
        self._ask = ask
        exchange.has["fetchCurrencies"] = False
        exchange.options["fetchMarkets"] = {"types": ["linear"]}
        exchange.options["defaultType"], exchange.options["defaultSettle"] = "swap", SETTLE
        exchange.options["recvWindow"] = 5_000

    @property
    def entry_options(self) -> Mapping[str, str]:
        """Options of an order that enters: stop and target for the position, by its last price."""
        last = dict.fromkeys(("slTriggerBy", "tpTriggerBy"), "LastPrice")
        return {"tpslMode": "Full", **last}

    def require_open(self) -> None:
        """Refuse an account whose orders and positions are told otherwise.

        Raises:
            ReconcileAccount: If it is no unified trading account.
        """
        if not self._ask(self._exchange.is_unified_enabled)[1]:
            raise ReconcileAccount(
                "bybit: this is no unified trading account; upgrade it on the pages of bybit"
            )

    def least_worth(self, market: Mapping[str, Any]) -> float:
        """Return the worth of the smallest order in a contract, in USDT."""
        return float(market["info"]["lotSizeFilter"].get("minNotionalValue") or 0.0)

    def equity(self) -> float:
        """Return the account's USDT with the open profit.

        Raises:
            ReconcileAccount: If it has none.
        """
        equity = float(self._ask(self._equity))
        if not equity > 0:
            raise ReconcileAccount(
                f"bybit: the unified trading account has no {SETTLE}; transfer some into it"
            )
        return equity

    def _equity(self) -> float:
        accounts = self._exchange.fetch_balance()["info"]["result"]["list"]
        coins = (coin for account in accounts for coin in account["coin"])
        return sum(float(coin["equity"] or 0.0) for coin in coins if coin["coin"] == SETTLE)

    def positions(self, symbol: str | None = None) -> list[Unified]:
        """Return the open positions, or with a symbol its positions, also those without units."""
        symbols = [symbol] if symbol else None
        return list(self._pages(partial(self._exchange.fetch_positions, symbols), {}))

    def order(self, symbol: str, client_id: str, since: datetime) -> Unified | None:
        """Return an order by our id; None if Bybit does not know it.

        Args:
            symbol: Symbol in ccxt's notation.
            client_id: Our id.
            since: Time before it was sent, at most a week (UTC).
        """
        exchange, own = self._exchange, {"orderLinkId": client_id}
        live = self._ask(partial(exchange.fetch_open_orders, symbol, params=own))
        past = partial(exchange.fetch_canceled_and_closed_orders, symbol, _stamp(since), params=own)
        return next(iter(live or self._ask(past)), None)

    def orders(self, symbol: str, since: datetime) -> list[Unified]:
        """Return all orders of a symbol, open and ended, each once in its newest state.

        Args:
            symbol: Symbol in ccxt's notation.
            since: Orders created earlier are left out (UTC).
        """
        live = partial(self._exchange.fetch_open_orders, symbol, _stamp(since), PAGE)
        past = partial(self._exchange.fetch_canceled_and_closed_orders, symbol)
        orders = [*self._pages(live, {}), *self._ask(partial(live, params={"openOnly": 1}))]
        begin = since
        while begin < datetime.now(UTC):
            until = {"until": _stamp(begin + WINDOW) - 1}
            orders += self._pages(partial(past, _stamp(begin), PAGE), until)
            begin += WINDOW
        return list({order["id"]: order for order in orders}.values())  # an end comes later

    def open_orders(self) -> list[Unified]:
        """Return the open orders of all symbols."""
        return list(self._pages(partial(self._exchange.fetch_open_orders, None, None, PAGE), {}))

    def reason(self, order: Unified) -> str:
        """Return why an order that is not ours left a position."""
        made = f"{order['info'].get('stopOrderType')} {order['info'].get('createType')}"
        if "StopLoss" in made:
            return "stop"
        if "TakeProfit" in made:
            return "target"
        forced = ("ByLiq", "TakeOver", "Adl")
        return "liquidated" if any(part in made for part in forced) else "by_hand"

    def fee(self, order: Unified) -> float | None:
        """Return the fees of an order in USDT; None if some were paid in another coin."""
        fees = order["info"].get("cumFeeDetail") or {}
        return None if set(fees) - {SETTLE} else float(fees.get(SETTLE, 0.0))

    def words(self, error: str) -> str:
        """Return Bybit's own words in a message of ccxt."""
        words = re.search(r'"retMsg": ?"([^"]+)"', error)
        return words[1] if words else error

    def _pages(self, fetch: Callable[..., Any], params: dict[str, Any]) -> Iterator[Unified]:
        while True:
            page = self._ask(partial(fetch, params=params))
            yield from page
            cursors = (entry["info"].get("nextPageCursor") for entry in page)
            cursor = next(filter(None, cursors), None)
            if cursor is None:
                return
            params = params | {"cursor": cursor}


def _stamp(at: datetime) -> int:
    return int(at.timestamp() * 1000)
