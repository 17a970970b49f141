"""A local account with Alpaca's documented endpoints over HTTP, with faults on request."""

import json
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlparse

ENDED = ("filled", "canceled", "expired", "rejected", "replaced")


def now() -> str:
    return datetime.now(UTC).isoformat()


class Account:
    """Orders and positions of one account; a market order waits until ``fill`` is called.

    Attributes:
        faults: Faults of the next requests, one each, in order: a method, a kind (status,
            drop_before, drop_after, hang_after, none) and its value. After "after", the request was
            carried out and only the answer is lost.
    """

    def __init__(self) -> None:
        self.orders: list[dict[str, Any]] = []
        self.positions: dict[str, float] = {}
        self.average_prices: dict[str, float] = {}
        self.faults: list[tuple[str, str, Any]] = []
        self.requests: list[tuple[str, str]] = []
        self.blocked = False
        self.slow_cancels = False
        self.halted: set[str] = set()
        self.keys = ("key", "secret")
        self.lock = threading.RLock()

    def order(self, client_order_id: str) -> dict[str, Any]:
        return next(order for order in self.orders if order["client_order_id"] == client_order_id)

    def place(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """POST /v2/orders."""
        with self.lock:
            if any(order["client_order_id"] == body["client_order_id"] for order in self.orders):
                return 422, {"code": 40010001, "message": "client_order_id must be unique"}
            if body["symbol"] in self.halted:
                return 403, {"code": 40310000, "message": "trading is halted"}
            if float(body["qty"]) > 100_000:
                return 403, {"code": 40310000, "message": "insufficient buying power"}
            entry = order_document(
                body["symbol"], body["side"], body["qty"], "market", body["client_order_id"]
            )
            entry["order_class"] = body.get("order_class", "simple")
            other = "sell" if body["side"] == "buy" else "buy"
            prices = {
                kind: {name: str(body[leg][name])}
                for kind, leg, name in (
                    ("limit", "take_profit", "limit_price"),
                    ("stop", "stop_loss", "stop_price"),
                )
                if leg in body
            }
            entry["legs"] = [
                order_document(
                    body["symbol"], other, body["qty"], kind, str(uuid.uuid4()), "held", **price
                )
                for kind, price in prices.items()
            ] or None
            self.orders.append(entry)
            return 200, entry

    def fill(self, order: dict[str, Any], price: float, quantity: float | None = None) -> None:
        """Fill an order or part of it.

        A filled entry opens its legs, a filled leg cancels the other.
        """
        with self.lock:
            filled = float(order["filled_qty"])
            units = float(order["qty"]) - filled if quantity is None else quantity
            order["filled_qty"], order["filled_avg_price"] = str(filled + units), str(price)
            complete = filled + units == float(order["qty"])
            order["status"] = "filled" if complete else "partially_filled"
            order["filled_at"] = now() if complete else None
            signed = units if order["side"] == "buy" else -units
            held = self.positions.get(order["symbol"], 0.0)
            self.positions[order["symbol"]] = held + signed
            if not held:
                self.average_prices[order["symbol"]] = price
            if complete:
                for leg in order["legs"] or ():
                    leg["status"] = "new" if leg["type"] == "limit" else "held"
                self._cancel_siblings(order)

    def split(self, symbol: str, ratio: float, legs: str) -> None:
        """Give ``ratio`` new shares for each old one; legs are "adjusted", "canceled" or "left"."""
        with self.lock:
            self.positions[symbol] *= ratio
            self.average_prices[symbol] /= ratio
            for leg in self.all_orders():
                if leg["symbol"] != symbol or leg["status"] in ENDED:
                    continue
                if legs == "canceled":
                    leg["status"] = "canceled"
                elif legs == "adjusted":
                    leg["qty"] = str(float(leg["qty"]) * ratio)
                    for name in ("limit_price", "stop_price"):
                        if name in leg:
                            leg[name] = str(float(leg[name]) / ratio)

    def _cancel_siblings(self, order: dict[str, Any]) -> None:
        for parent in self.orders:
            if order in (parent["legs"] or ()):
                for leg in parent["legs"]:
                    if leg is not order:
                        leg["status"] = "canceled"

    def cancel(self, order: dict[str, Any]) -> int:
        """DELETE /v2/orders/{id}."""
        with self.lock:
            if order["status"] in ENDED:
                return 422
            if self.slow_cancels:
                order["status"] = "pending_cancel"
                return 204
            order["status"] = "canceled"
            for leg in order["legs"] or ():
                leg["status"] = "canceled"
            self._cancel_siblings(order)
            return 204

    def all_orders(self) -> list[dict[str, Any]]:
        return [order for parent in self.orders for order in (parent, *(parent["legs"] or ()))]

    def listed(self, query: dict[str, list[str]]) -> list[dict[str, Any]]:
        """GET /v2/orders."""
        nested = query.get("nested", ["false"])[0].lower() == "true"
        orders = self.orders if nested else [o | {"legs": None} for o in self.all_orders()]
        if query.get("status", ["open"])[0] == "open":
            orders = [order for order in orders if order["status"] not in ENDED]
        symbols = query.get("symbols", [""])[0]
        return [order for order in orders if not symbols or order["symbol"] in symbols.split(",")]


def order_document(
    symbol: str,
    side: str,
    quantity: Any,
    kind: str,
    client_id: str,
    status: str = "accepted",
    **more: Any,
) -> Any:
    document = {
        "id": str(uuid.uuid4()),
        "client_order_id": client_id,
        "symbol": symbol,
        "side": side,
        "qty": str(quantity),
        "filled_qty": "0",
        "filled_avg_price": None,
        "filled_at": None,
        "type": kind,
        "order_type": kind,
        "order_class": "simple",
        "status": status,
        "time_in_force": "gtc",
        "extended_hours": False,
        "legs": None,
        "replaced_by": None,
    }
    return document | dict.fromkeys(("created_at", "updated_at", "submitted_at"), now()) | more


class Handler(BaseHTTPRequestHandler):
    """Answers requests to the account of its server."""

    account: Any
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *args: object) -> None:
        """Log nothing."""

    def do_GET(self) -> None:
        self.respond("GET")

    def do_POST(self) -> None:
        self.respond("POST")

    def do_DELETE(self) -> None:
        self.respond("DELETE")

    def respond(self, method: str) -> None:
        account, url = self.account, urlparse(self.path)
        body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or "null")
        account.requests.append((method, url.path))
        fault = self.fault(method)
        if fault and fault[1] == "drop_before":
            self.drop()
            return
        if fault and fault[1] == "status":
            self.fail(fault[2])
            return
        status, content = self.route(method, url.path, parse_qs(url.query), body)
        if fault and fault[1] == "status_after":
            self.fail(fault[2])
            return
        if fault and fault[1] == "hang_after":
            time.sleep(fault[2])
        if fault and fault[1] in ("drop_after", "hang_after"):
            self.drop()
            return
        self.answer(status, content)

    def fault(self, method: str) -> tuple[str, str, Any] | None:
        faults = self.account.faults
        return faults.pop(0) if faults and faults[0][0] in (method, "*") else None

    def fail(self, status: int) -> None:
        self.answer(status, {"code": status * 100, "message": "as told"})

    def drop(self) -> None:
        self.close_connection = True
        self.connection.close()

    def route(
        self, method: str, path: str, query: dict[str, list[str]], body: Any
    ) -> tuple[int, Any]:
        account = self.account
        if (self.headers["APCA-API-KEY-ID"], self.headers["APCA-API-SECRET-KEY"]) != account.keys:
            return 401, {"code": 40110000, "message": "request is not authorized"}
        if path == "/v2/account":
            return 200, {
                "id": str(uuid.uuid4()),
                "account_number": "1",
                "status": "ACTIVE",
                "equity": "50000",
                "trading_blocked": account.blocked,
            }
        if path == "/v2/positions":
            return 200, [
                position(symbol, units, account.average_prices.get(symbol, 100.0))
                for symbol, units in account.positions.items()
                if units
            ]
        if path == "/v2/orders:by_client_order_id":
            client_id = query["client_order_id"][0]
            orders = [o for o in account.orders if o["client_order_id"] == client_id]
            return (
                (200, orders[0] | {"legs": None})
                if orders
                else (404, {"code": 40410000, "message": "order not found"})
            )
        if path == "/v2/orders":
            return account.place(body) if method == "POST" else (200, account.listed(query))
        order_id = path.rsplit("/", 1)[1]
        order = next(order for order in account.all_orders() if order["id"] == order_id)
        return (account.cancel(order), None) if method == "DELETE" else (200, order)

    def answer(self, status: int, content: Any) -> None:
        data = b"" if content is None else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def position(symbol: str, units: float, average_price: float) -> dict[str, Any]:
    return {
        "asset_id": str(uuid.uuid4()),
        "symbol": symbol,
        "exchange": "NASDAQ",
        "asset_class": "us_equity",
        "avg_entry_price": str(average_price),
        "qty": str(units),
        "side": "long" if units > 0 else "short",
        "cost_basis": "0",
    }


Served = TypeVar("Served")


@contextmanager
def serving(account: Served, handler: type[Handler]) -> Iterator[tuple[Served, str]]:
    """Yield an account and the address of its server."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (handler,), {"account": account}))
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield account, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def running_account() -> AbstractContextManager[tuple[Account, str]]:
    """Return an account and the address of its server, for a ``with``."""
    return serving(Account(), Handler)
