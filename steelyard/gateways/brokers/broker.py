"""Brokers carry out brackets: their settings, what each must offer, and the trades in the ledger.

The order's id follows from the signal's, so a repeated submit is one order. Before trading, a
broker reconciles its account with the ledger; a difference that cannot be explained stops trading.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import pandas as pd
from pydantic import Field, field_validator

from steelyard.errors import FixConfiguration, ReconcileAccount
from steelyard.gateways.plugins import load_plugin, require_plugin
from steelyard.market.bars import Bars
from steelyard.market.strategy import LEVELS, Side
from steelyard.values import FrozenModel

if TYPE_CHECKING:
    from steelyard.gateways.ledger import Ledger

BUILT_IN = ("paper", "alpaca", "ccxt")
PLUGINS = "steelyard.brokers"
"""Group of entry points under which other packages offer brokers."""
WORKING = ("submitted", "open")
SCALED = (
    "quantity",
    "entry_price",
    "stop_price",
    "target_price",
    "stop_offset",
    "target_offset",
    "level_stop",
    "level_target",
    "level_trail",
)
"""Columns of a trade that change with the price scale."""


class BrokerSettings(FrozenModel):
    """The broker and its account (``conf/broker.yaml``); keys come from the environment.

    Attributes:
        name: ``paper`` (embedded), ``alpaca``, ``ccxt``, ``MODULE:CLASS`` or the name of an entry
            point.
        options: Options of ccxt or a plug-in, by name; ``${NAME}`` is filled from the environment.
        start_equity: Equity of the embedded broker at its first trade, in its currency.
        live: Whether the live account at Alpaca or of ccxt's exchange is used, with real money.
        address: Address instead of the account's own, such as a proxy; None for its own.
        timeout_seconds: Time limit of one request to the account.
    """

    name: str = "paper"
    options: dict[str, Any] = Field(default_factory=dict)
    start_equity: Annotated[float, Field(gt=0)] = 100_000.0
    live: bool = False
    address: Annotated[str, Field(pattern=r"^https?://")] | None = None
    timeout_seconds: Annotated[float, Field(gt=0, le=60)] = 5.0

    @field_validator("name")
    @classmethod
    def _a_broker(cls, name: str) -> str:
        require_plugin(PLUGINS, name, BUILT_IN)
        return name


@dataclass(frozen=True, slots=True)
class Order:
    """A bracket to be entered at the next open.

    Attributes:
        signal_id: Id of the signal, under which the lineage's ledger has the trade.
        symbol: Symbol to trade.
        side: ``buy`` or ``sell``.
        timestamp: Open time of the decision bar, UTC.
        decided_at: Close time of the decision bar, UTC.
        quantity: Units to trade, positive.
        price: Close of the decision bar; displayed levels are counted from it before the entry.
        stop_offset: Distance from the entry to the stop, price units.
        target_offset: Distance from the entry to the target, price units; NaN without target.
        levels: Exit levels of the signal's own, NaN for none, in the order of ``LEVELS``.
        lineage: Lineage of the signal where the home holds several, else None.
    """

    signal_id: str
    symbol: str
    side: Side
    timestamp: datetime
    decided_at: datetime
    quantity: float
    price: float
    stop_offset: float
    target_offset: float
    levels: tuple[float, float, float, float] = (math.nan,) * 4
    lineage: str | None = None

    @property
    def order_id(self) -> str:
        """Our id of the order at the broker; two lineages may have signals of the same id."""
        return f"{self.lineage}/{self.signal_id}" if self.lineage else self.signal_id


class Broker(Protocol):
    """What a broker must offer."""

    name: str

    def submit(self, order: Order) -> str | None:
        """Place a bracket order, once per id, and return why it is refused; None if accepted."""

    def advance(self, bars: Mapping[str, Bars]) -> int:
        """Write new fills, reconcile the account with the ledger, and return the changed trades.

        Raises:
            ReconcileAccount: If the ledger does not explain an order or a position; nothing may be
                ordered then.
        """

    def protect(self) -> None:
        """Close the positions that have neither stop nor target; the first thing of every run.

        Raises:
            ReconcileAccount: If one of them cannot be closed.
        """

    def cancel_entries(self, signal_ids: Sequence[str]) -> int:
        """Cancel the orders of these signals that have not entered yet; return how many."""

    def tradable(self, quantity: float) -> float:
        """Return the next smaller quantity that can be ordered."""

    def equity(self, bars: Mapping[str, Bars]) -> float:
        """Return the value of the account at the newest closes, in its currency."""


def load_broker(name: str) -> Any:
    """Return the class of a broker that is a plug-in.

    Args:
        name: ``MODULE:CLASS``, or the name of an entry point.

    Raises:
        FixConfiguration: If it cannot be loaded, lacks a method or has no name of its own.
    """
    made = load_plugin(PLUGINS, name, "conf/broker.yaml")
    methods = [part for part in vars(Broker) if callable(vars(Broker)[part]) and part[0] != "_"]
    missing = [part for part in methods if not hasattr(made, part)]
    if missing:
        raise FixConfiguration(
            f"conf/broker.yaml names {name}, which lacks {', '.join(missing)}; add them "
            "(docs/extending.md)"
        )
    if getattr(made, "name", "") in ("", *BUILT_IN):
        raise FixConfiguration(
            f"conf/broker.yaml names {name}, which has the name {getattr(made, 'name', '')!r}; "
            "give it one of its own, under which the ledger keeps its trades"
        )
    return made


def rescaled(row: dict[str, Any], factor: float) -> dict[str, Any]:
    """Return a trade after its prices were multiplied by a factor; its worth stays as it was.

    Args:
        row: Row of ``trades``.
        factor: New price over old price: 0.25 after a split of 4 for 1.
    """
    prices = {name: row[name] * factor for name in SCALED[1:] if pd.notna(row[name])}
    return row | prices | {"quantity": row["quantity"] / factor}


def own_trades(ledger: "Ledger", name: str) -> pd.DataFrame:
    """Return the working trades of a broker, one per row, columns of ``trades``.

    Args:
        ledger: Ledger with the trades.
        name: Name of the broker.

    Raises:
        ReconcileAccount: If another broker has working trades: its orders would be forgotten, and
            its symbols traded twice.
    """
    working = ledger.trades(WORKING)
    others = working[working["broker"] != name]
    if len(others):
        first = others.iloc[0]
        raise ReconcileAccount(
            f"{len(others)} trades are still working at the broker {first['broker']} "
            f"({first['signal_id']} first), conf/broker.yaml names {name}; name {first['broker']} "
            "again until they have ended"
        )
    return working


def order_row(
    order: Order, broker: str, status: str = "submitted", veto: str | None = None
) -> dict[str, Any]:
    """Return an order as a row of ``trades``.

    Args:
        order: The order.
        broker: Name of the broker.
        status: Status of the trade.
        veto: Why it was not sent; None if it was.
    """
    side = 1 if order.side == "buy" else -1
    return {
        "signal_id": order.signal_id,
        "order_id": order.order_id,
        "sequence": int(order.decided_at.timestamp() * 1e6),
        "broker": broker,
        "symbol": order.symbol,
        "side": order.side,
        "quantity": order.quantity,
        "stop_price": order.price - side * order.stop_offset,
        "target_price": _or_none(order.price + side * order.target_offset),
        "status": status,
        "submitted_at": order.decided_at,
        "timestamp": order.timestamp,
        "stop_offset": order.stop_offset,
        "target_offset": _or_none(order.target_offset),
        "veto": veto,
        **dict(zip(LEVELS, map(_or_none, order.levels), strict=True)),
    }


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


def exposures(trades: pd.DataFrame, bars: Mapping[str, Bars], equity: float) -> dict[str, float]:
    """Return the notional of working trades by symbol, as shares of the equity.

    Args:
        trades: Working trades, one per row; columns ``symbol``, ``quantity`` and ``stop_price``.
        bars: Bars by symbol; a symbol without bars counts at its stop price.
        equity: Equity of the account, positive, in its currency.
    """
    shares: dict[str, float] = {}
    for row in trades.to_dict("records"):
        symbol = row["symbol"]
        newest = bars[symbol].close[-1] if symbol in bars else row["stop_price"]
        shares[symbol] = shares.get(symbol, 0.0) + row["quantity"] * float(newest) / equity
    return shares
