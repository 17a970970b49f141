"""A local unified trading account with Bybit's documented endpoints, with faults on request.

Of https://bybit-exchange.github.io/docs/v5: instruments, account and key, wallet balance, order
creation, live and past orders, and positions, for perpetual contracts that settle in USDT.
"""

import hashlib
import hmac
import json
import threading
import time
import uuid
from contextlib import AbstractContextManager
from typing import Any, ClassVar
from urllib.parse import urlparse

from factories.alpaca_server import Handler, serving

OPEN = ("New", "PartiallyFilled", "Untriggered")
NEVER_FILLED = ("Cancelled", "Rejected", "Deactivated")
WEEK = 7 * 86_400_000
DAY = 86_400_000


def now() -> int:
    return int(time.time() * 1000)


class Account:
    """Orders and positions; a market order is filled at once as far as ``liquidity`` goes.

    Attributes:
        prices: Last price by contract.
        liquidity: Units that the next order finds; None for all.
        faults: As in ``alpaca_server``; a status of 10000 and more is Bybit's code of an error.
        restarted: Whether the live list has lost the orders that ended.
        history_is_late: Whether past orders do not hold the last ones yet.
        hedged: Whether the account keeps both directions of a contract apart.
        unified: Whether it is a unified trading account.
        fee_coin: Coin of the fees.
        halted: Contracts that take no orders.
    """

    steps: ClassVar[dict[str, str]] = {"BTCUSDT": "0.001"} | dict.fromkeys(
        ("ETHUSDT", "SOLUSDT", "XRPUSDT", "LTCUSDT"), "0.01"
    )

    def __init__(self) -> None:
        self.orders: list[dict[str, Any]] = []
        self.positions: dict[str, dict[str, Any]] = {}
        self.prices = {"BTCUSDT": 200.0, "ETHUSDT": 100.0}
        self.liquidity: float | None = None
        self.faults: list[tuple[str, str, Any]] = []
        self.requests: list[tuple[str, str]] = []
        self.restarted = self.history_is_late = self.hedged = False
        self.unified = True
        self.fee_coin = "USDT"
        self.equity = "50000"
        self.halted: set[str] = set()
        self.keys = ("key", "secret")
        self.lock = threading.RLock()

    def order(self, link_id: str) -> dict[str, Any]:
        return next(order for order in self.orders if order["orderLinkId"] == link_id)

    def create(self, body: dict[str, Any]) -> dict[str, Any]:
        """POST /v5/order/create."""
        with self.lock:
            if refusal := self.refusal(body):
                return refusal
            order = document(
                body["symbol"],
                body["side"],
                float(body["qty"]),
                orderLinkId=body.get("orderLinkId", ""),
                reduceOnly=body.get("reduceOnly", False),
                stopLoss=body.get("stopLoss", ""),
                takeProfit=body.get("takeProfit", ""),
                tpslMode=body.get("tpslMode", ""),
            )
            self.orders.append(order)
            wanted = float(body["qty"])
            units = wanted if self.liquidity is None else min(wanted, self.liquidity)
            self.fill(order, self.prices[body["symbol"]], units)
            return ok({"orderId": order["orderId"], "orderLinkId": order["orderLinkId"]})

    def refusal(self, body: dict[str, Any]) -> dict[str, Any] | None:
        link_id, side = body.get("orderLinkId", ""), 1 if body["side"] == "Buy" else -1
        if link_id and any(order["orderLinkId"] == link_id for order in self.orders):
            return error(110072, "OrderLinkedID is duplicate")
        if len(link_id) > 36:
            return error(10001, "orderLinkId too long")
        if self.hedged and body.get("positionIdx", 0) == 0:
            return error(10001, "position idx not match position mode")
        if body["symbol"] in self.halted:
            return error(110094, "order is not modifiable: trading is halted")
        if float(body["qty"]) > 100_000:
            return error(110007, "ab not enough for new order")
        stop = float(body.get("stopLoss") or 0.0)
        if stop and side * (self.prices[body["symbol"]] - stop) <= 0:
            return error(10001, "StopLoss should be on the other side of base_price")
        held = self.positions.get(body["symbol"])
        if body.get("reduceOnly") and (held is None or held["side"] == body["side"]):
            return error(110017, "current position is zero, cannot fix reduce-only order qty")
        return None

    def fill(self, order: dict[str, Any], price: float, units: float) -> None:
        """Fill an order in part or whole; what is left of it is cancelled."""
        with self.lock:
            whole = units >= float(order["qty"])
            order |= {
                "cumExecQty": f"{units:g}",
                "avgPrice": f"{price:g}" if units else "",
                "cumFeeDetail": {self.fee_coin: f"{units * price * 0.00055:.8f}"} if units else {},
                "updatedTime": str(now()),
                "orderStatus": "Filled"
                if whole
                else ("PartiallyFilledCanceled" if units else "Cancelled"),
            }
            if units:
                self.move(order, price, units)

    def move(self, order: dict[str, Any], price: float, units: float) -> None:
        """Change the position by a fill: stop and target begin and end with it."""
        symbol, side = order["symbol"], order["side"]
        held = self.positions.get(symbol)
        if held is None:
            levels = {name: order[name] for name in ("stopLoss", "takeProfit")}
            self.positions[symbol] = {
                "symbol": symbol,
                "side": side,
                "size": units,
                "avgPrice": f"{price:g}",
                **levels,
            }
            other = "Sell" if side == "Buy" else "Buy"
            for name, kind in (("stopLoss", "StopLoss"), ("takeProfit", "TakeProfit")):
                if order[name]:
                    level = document(
                        symbol,
                        other,
                        units,
                        orderStatus="Untriggered",
                        stopOrderType=kind,
                        createType=f"CreateBy{kind}",
                        triggerPrice=order[name],
                        reduceOnly=True,
                    )
                    self.orders.append(level)
            return
        held["size"] = round(held["size"] + (units if held["side"] == side else -units), 9)
        if not held["size"]:
            del self.positions[symbol]
            for level in self.levels(symbol):
                level |= {"orderStatus": "Deactivated", "updatedTime": str(now())}

    def levels(self, symbol: str) -> list[dict[str, Any]]:
        return [
            order
            for order in self.orders
            if order["symbol"] == symbol and order["orderStatus"] == "Untriggered"
        ]

    def fire(self, symbol: str, kind: str, price: float, units: float | None = None) -> None:
        """Let the StopLoss or TakeProfit of a position leave it."""
        level = next(order for order in self.levels(symbol) if order["stopOrderType"] == kind)
        self.fill(level, price, self.positions[symbol]["size"] if units is None else units)

    def trade(self, symbol: str, side: str, units: float, made: str = "CreateByUser") -> None:
        """Let somebody else, or Bybit, trade in the account."""
        order = document(symbol, side, units, createType=made, stopLoss="", takeProfit="")
        self.orders.append(order)
        self.fill(order, self.prices[symbol], units)

    def remove_stop(self, symbol: str) -> None:
        self.positions[symbol]["stopLoss"] = ""
        for level in self.levels(symbol):
            if level["stopOrderType"] == "StopLoss":
                level["orderStatus"] = "Deactivated"

    def live(self, query: dict[str, str]) -> list[dict[str, Any]]:
        """GET /v5/order/realtime."""
        ended = [order for order in self.orders if order["orderStatus"] not in OPEN]
        known = [order for order in self.orders if not (self.restarted and order in ended)]
        if "orderLinkId" in query:
            return [order for order in known if order["orderLinkId"] == query["orderLinkId"]]
        wants_open = query.get("openOnly", "0") == "0"
        return [
            order
            for order in known
            if (order["orderStatus"] in OPEN) == wants_open
            and query.get("symbol", order["symbol"]) == order["symbol"]
        ]

    def past(self, query: dict[str, str]) -> list[dict[str, Any]] | None:
        """GET /v5/order/history: ended orders; those without fills for a day only."""
        begin = int(query.get("startTime", now() - WEEK))
        end = int(query.get("endTime", begin + WEEK))
        if end - begin > WEEK:
            return None
        return [
            order
            for order in self.orders
            if order["orderStatus"] not in OPEN
            and not self.history_is_late
            and begin <= int(order["createdTime"]) <= end
            and query.get("symbol", order["symbol"]) == order["symbol"]
            and query.get("orderLinkId", order["orderLinkId"]) == order["orderLinkId"]
            and (
                order["orderStatus"] not in NEVER_FILLED or int(order["createdTime"]) > now() - DAY
            )
        ]

    def positions_of(self, query: dict[str, str]) -> list[dict[str, Any]]:
        """GET /v5/position/list."""
        empty = {"side": "", "size": 0.0, "avgPrice": "", "stopLoss": "", "takeProfit": ""}
        symbol = query.get("symbol")
        rows = (
            [self.positions.get(symbol, {"symbol": symbol, **empty})]
            if symbol
            else list(self.positions.values())
        )
        return [
            row
            | {
                "size": f"{row['size']:g}",
                "positionIdx": 1 if self.hedged else 0,
                "positionValue": "0",
                "leverage": "10",
                "positionStatus": "Normal",
                "unrealisedPnl": "",
                "markPrice": str(self.prices[row["symbol"]]),
                "createdTime": str(now()),
                "updatedTime": str(now()),
            }
            for row in rows
        ]


def document(symbol: str, side: str, units: float, **more: Any) -> dict[str, Any]:
    """An order as Bybit tells it."""
    return {
        "orderId": str(uuid.uuid4()),
        "orderLinkId": "",
        "symbol": symbol,
        "side": side,
        "qty": f"{units:g}",
        "price": "0",
        "orderType": "Market",
        "orderStatus": "New",
        "timeInForce": "IOC",
        "stopOrderType": "",
        "createType": "CreateByUser",
        "avgPrice": "",
        "cumExecQty": "0",
        "cumExecValue": "0",
        "cumFeeDetail": {},
        "reduceOnly": False,
        "tpslMode": "Full",
        "triggerPrice": "",
        "takeProfit": "",
        "stopLoss": "",
        "triggerDirection": 0,
        "createdTime": str(now()),
        "updatedTime": str(now()),
        **more,
    }


def ok(result: Any) -> dict[str, Any]:
    return {"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": now()}


def error(code: int, words: str) -> dict[str, Any]:
    return {"retCode": code, "retMsg": words, "result": {}, "retExtInfo": {}, "time": now()}


def instrument(symbol: str, step: str) -> dict[str, Any]:
    return {
        "symbol": symbol,
        "contractType": "LinearPerpetual",
        "status": "Trading",
        "baseCoin": symbol.removesuffix("USDT"),
        "quoteCoin": "USDT",
        "settleCoin": "USDT",
        "launchTime": "1585526400000",
        "deliveryTime": "0",
        "leverageFilter": {"minLeverage": "1", "maxLeverage": "100"},
        "priceFilter": {"minPrice": "0.1", "maxPrice": "1999999", "tickSize": "0.10"},
        "lotSizeFilter": {
            "maxOrderQty": "1000000",
            "minOrderQty": step,
            "qtyStep": step,
            "minNotionalValue": "5",
        },
    }


class BybitHandler(Handler):
    """Answers requests to the account of its server."""

    def fail(self, status: int) -> None:
        if status >= 10_000:
            self.answer(200, error(status, "as told"))
            return
        self.send_response(status)
        self.send_header("Content-Length", "7")
        self.end_headers()
        self.wfile.write(b"as told")

    def route(
        self, method: str, path: str, query: dict[str, list[str]], body: Any
    ) -> tuple[int, Any]:
        asked, account = {name: values[0] for name, values in query.items()}, self.account
        if path == "/v5/market/instruments-info":
            is_listed = asked.get("status") != "PreLaunch"
            rows = [instrument(*row) for row in account.steps.items()] if is_listed else []
            return 200, ok({"category": "linear", "list": rows, "nextPageCursor": ""})
        if not self.signed(body):
            return 200, error(10003, "API key is invalid.")
        if path == "/v5/order/create":
            return 200, account.create(body)
        return 200, self.told(account, path, asked)

    def told(self, account: Account, path: str, query: dict[str, str]) -> dict[str, Any]:
        if path == "/v5/user/query-api":
            return ok({"unified": 0, "uta": int(account.unified), "readOnly": 0})
        if path == "/v5/account/info":
            return ok({"unifiedMarginStatus": 6, "marginMode": "REGULAR_MARGIN"})
        if path == "/v5/account/wallet-balance":
            coin = {"coin": "USDT", "equity": account.equity, "walletBalance": "1", "locked": "0"}
            return ok({"list": [{"accountType": "UNIFIED", "coin": [coin]}]})
        if path == "/v5/position/list":
            return page(account.positions_of(query), query)
        if path == "/v5/order/realtime":
            return page(account.live(query), query)
        if path == "/v5/order/history":
            past = account.past(query)
            return error(10001, "more than 7 days") if past is None else page(past, query)
        return error(10404, f"no such path {path}")

    def signed(self, body: Any) -> bool:
        key, secret = self.account.keys
        sent = json.dumps(body, separators=(",", ":")) if body else urlparse(self.path).query
        stamp, window = (self.headers[f"X-BAPI-{name}"] for name in ("TIMESTAMP", "RECV-WINDOW"))
        text = f"{stamp}{key}{window}{sent}"
        expected = hmac.new(secret.encode(), text.encode(), hashlib.sha256)
        return self.headers["X-BAPI-SIGN"] == expected.hexdigest()


def page(rows: list[dict[str, Any]], query: dict[str, str]) -> dict[str, Any]:
    """The newest rows first, as many as asked for, and the cursor of the next."""
    begin, limit = int(query.get("cursor") or 0), int(query.get("limit", 20))
    rows, end = rows[::-1], begin + limit
    cursor = str(end) if end < len(rows) else ""
    return ok({"list": [dict(row) for row in rows[begin:end]], "nextPageCursor": cursor})


def running_bybit() -> AbstractContextManager[tuple[Account, str]]:
    """Return an account and the address of its server, for a ``with``."""
    return serving(Account(), BybitHandler)
