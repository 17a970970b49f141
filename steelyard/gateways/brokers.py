"""Brokers carry out brackets; the embedded one fills by the bracket kernel, kept in the ledger.

The signal's id is the order's id, so a repeated submit is one order. Before trading, a broker
reconciles its account with the ledger; a difference that cannot be explained stops trading.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Protocol, cast

import numpy as np
import pandas as pd
from pydantic import Field, field_validator

from steelyard.errors import FixConfiguration, ReconcileAccount
from steelyard.gateways.plugins import load_plugin, require_plugin
from steelyard.market.bars import Bars, naive
from steelyard.market.brackets import (
    REASONS,
    BracketPolicy,
    decision_bars,
    entry_bars,
    follow,
    side_signs,
)
from steelyard.market.exits import ExitPlan
from steelyard.market.scale import DIVIDEND_RATIO, differs
from steelyard.market.strategy import LEVELS, Exiting, Side
from steelyard.values import FrozenModel

if TYPE_CHECKING:
    from steelyard.gateways.ledger import Ledger

BUILT_IN = ("paper", "alpaca")
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
    """The broker and its account (``conf/broker.yaml``); Alpaca's keys come from the environment.

    Attributes:
        name: ``paper`` (embedded), ``alpaca``, ``MODULE:CLASS`` or the name of an entry point.
        options: Options of a plug-in, by name; ``${NAME}`` is filled from the environment.
        start_equity: Equity of the embedded broker at its first trade, in its currency.
        live: Whether Alpaca's live account is used, with real money.
        address: Address instead of Alpaca's own, such as a proxy; None for Alpaca's.
        timeout_seconds: Time limit of one request to Alpaca.
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
        signal_id: Id of the signal and of the order.
        symbol: Symbol to trade.
        side: ``buy`` or ``sell``.
        timestamp: Open time of the decision bar, UTC.
        decided_at: Close time of the decision bar, UTC.
        quantity: Units to trade, positive.
        price: Close of the decision bar; displayed levels are counted from it before the entry.
        stop_offset: Distance from the entry to the stop, price units.
        target_offset: Distance from the entry to the target, price units; NaN without target.
        levels: Exit levels of the signal's own, NaN for none, in the order of ``LEVELS``.
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


class PaperBroker:
    """The embedded broker: entries at the next open, exits by the kernel that labels and settles.

    Args:
        ledger: Stores orders and fills; a restart continues from it.
        policy: Time limit, fees and slippage of the bracket.
        start_equity: Equity at the first trade, in the account's currency.
        rule: The existing system's own exit rule; None without one.
    """

    name = "paper"

    def __init__(
        self,
        ledger: "Ledger",
        policy: BracketPolicy,
        start_equity: float,
        rule: Exiting | None = None,
    ) -> None:
        self._ledger = ledger
        self._policy = policy
        self._start_equity = start_equity
        self._rule = rule

    def submit(self, order: Order) -> None:
        """Record the order; it is entered at the open of the bar after its decision bar."""
        self._ledger.record_trades([order_row(order, self.name)])

    def protect(self) -> None:
        """Do nothing: the ledger holds stop and target of every trade."""

    def cancel_entries(self, signal_ids: Sequence[str]) -> int:
        """Cancel the orders of these signals that have not entered yet; return how many."""
        canceled = {"status": "canceled", "veto": "rolled_back"}
        submitted = self._ledger.trades(("submitted",), self.name)["signal_id"]
        own = [signal_id for signal_id in submitted if signal_id in signal_ids]
        self._ledger.fill_trades([{"signal_id": signal_id, **canceled} for signal_id in own])
        return len(own)

    def tradable(self, quantity: float) -> float:
        """Return the quantity; any fraction can be ordered."""
        return quantity

    def advance(self, bars: Mapping[str, Bars]) -> int:
        """Write the entries and exits that the bars give, each once, and return the changed trades.

        Raises:
            FixData: If the decision bar of a trade is not among the bars.
            ReconcileAccount: If another broker still has working trades, or the lake has no bars of
                a symbol with a working trade.
        """
        working = own_trades(self._ledger, self.name)
        _require_bars(working, bars)
        working = self._on_scale(working, bars)
        changes: list[dict[str, Any]] = []
        for symbol, trades in working.groupby("symbol", sort=False):
            symbol_bars = bars[str(symbol)]
            newest = pd.Timestamp(symbol_bars.timestamp[-1], tz="UTC")
            decided = (trades["timestamp"] <= newest).to_numpy(dtype=bool)
            changes += self._fills(symbol_bars, trades[decided])
        self._ledger.fill_trades(changes)
        return len(changes)

    def _on_scale(self, working: pd.DataFrame, bars: Mapping[str, Bars]) -> pd.DataFrame:
        """Put trades from before a dividend or split on the scale of the bars; return all."""
        rows = cast(list[dict[str, Any]], working.to_dict("records"))
        changes = [
            {name: scaled[name] for name in ("signal_id", *SCALED) if pd.notna(scaled[name])}
            for row in rows
            if (scaled := on_scale(row, bars[row["symbol"]])) is not row
        ]
        self._ledger.fill_trades(changes)
        return own_trades(self._ledger, self.name) if changes else working

    def _fills(self, bars: Bars, trades: pd.DataFrame) -> Iterable[dict[str, Any]]:
        decided = trades.assign(decided_at=trades["submitted_at"])
        first = entry_bars(bars, decided, decision_bars(bars, trades))
        sides = side_signs(trades)
        plan = ExitPlan.of_orders(trades, self._policy.time_limit_bars)
        opens = np.append(bars.open, np.nan)[first]
        prices, exits = plan.prices(opens, sides), follow(bars, plan, first, sides, self._rule)
        for row, position, side, stop, target, *exit_fill in zip(
            trades.to_dict("records"), first, sides, *prices, *exits, strict=True
        ):
            if position >= len(bars):
                continue
            levels = int(side), float(stop), float(target)
            entry = self._entry(row, bars, int(position), *levels)
            closing = self._exit(row, bars, int(side), entry["entry_price"], *exit_fill)
            if closing or row["status"] == "submitted":
                yield {"signal_id": row["signal_id"], **entry, **closing}

    def _entry(
        self, row: Any, bars: Bars, position: int, side: int, stop: float, target: float
    ) -> dict[str, Any]:
        open_price, slippage = float(bars.open[position]), self._policy.slippage_bps / 1e4
        price = open_price * (1 + side * slippage)
        fill = {
            "status": "open",
            "entry_at": pd.Timestamp(bars.timestamp[position], tz="UTC").to_pydatetime(),
            "entry_price": price,
            "stop_price": stop,
            "target_price": None if math.isnan(target) else target,
            "fees": row["quantity"] * price * self._policy.fee_bps / 1e4,
        }
        if pd.isna(row["level_stop"]):
            return fill
        return fill | {"stop_offset": side * (open_price - stop)}  # on_scale adds it to the stop

    def _exit(
        self,
        row: Any,
        bars: Bars,
        side: int,
        entry_price: float,
        position: int,
        price: float,
        reason: int,
    ) -> dict[str, Any]:
        if position < 0:
            return {}
        exit_price = float(price) * (1 - side * self._policy.slippage_bps / 1e4)
        closed = pd.Timestamp(bars.closes_at[position], tz="UTC")
        return {
            "status": "closed",
            "exit_at": closed.to_pydatetime(),
            "exit_price": exit_price,
            "exit_reason": str(REASONS[reason]),
            "fees": row["quantity"] * (entry_price + exit_price) * self._policy.fee_bps / 1e4,
        }

    def equity(self, bars: Mapping[str, Bars]) -> float:
        """Return start equity, realised and open profit at the newest closes, less fees."""
        trades = self._ledger.trades(("open", "closed"), self.name)
        total = self._start_equity
        for row in trades.to_dict("records"):
            newest = bars[row["symbol"]].close[-1] if row["symbol"] in bars else row["entry_price"]
            price = row["exit_price"] if row["status"] == "closed" else newest
            side = 1 if row["side"] == "buy" else -1
            total += row["quantity"] * side * (float(price) - row["entry_price"]) - row["fees"]
        return total


def on_scale(row: dict[str, Any], bars: Bars) -> dict[str, Any]:
    """Return a working trade with quantity, entry and levels on the scale of its bars.

    The price its levels are counted from (decision close, after the entry the open it entered at)
    is compared with the same price of the bars.

    Args:
        row: Row of ``trades``, submitted or open.
        bars: Bars of its symbol.
    """
    counted_from = row["timestamp" if row["status"] == "submitted" else "entry_at"]
    stamp = naive(pd.Series([counted_from]))[0]
    position = int(np.searchsorted(bars.timestamp, stamp))
    if position >= len(bars) or bars.timestamp[position] != stamp:
        return row
    side = 1 if row["side"] == "buy" else -1
    price = bars.close[position] if row["status"] == "submitted" else bars.open[position]
    factor = float(price) / (row["stop_price"] + side * row["stop_offset"])
    return rescaled(row, factor) if differs(factor, DIVIDEND_RATIO) else row


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


def _require_bars(working: pd.DataFrame, bars: Mapping[str, Bars]) -> None:
    unknown = working[~working["symbol"].isin(list(bars))]
    if len(unknown):
        first = unknown.iloc[0]
        raise ReconcileAccount(
            f"{first['signal_id']} is {first['status']}, but the lake has no bars of "
            f"{first['symbol']}; collect them again (conf/source.yaml), then trade"
        )


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
