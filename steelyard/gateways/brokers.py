"""Brokers: who carries out a bracket. The embedded one fills by the bracket kernel, with its state in the ledger.

The signal's id is the order's, so a repeated submit is one order. Before it trades a broker holds its account against the
ledger; what neither side can explain stops trading.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

import numpy as np
import pandas as pd
from pydantic import Field

from steelyard.errors import ReconcileAccount
from steelyard.market.bars import Bars
from steelyard.market.brackets import REASONS, BracketPolicy, decision_bars, settle, side_signs
from steelyard.market.strategy import Side
from steelyard.values import FrozenModel

if TYPE_CHECKING:
    from steelyard.gateways.ledger import Ledger

WORKING = ("submitted", "open")


class BrokerSettings(FrozenModel):
    """Who carries out the orders (``conf/broker.yaml``); Alpaca's keys come from the environment alone."""

    name: Literal["paper", "alpaca"] = "paper"
    start_equity: Annotated[float, Field(gt=0)] = 100_000.0
    live: bool = False
    address: Annotated[str, Field(pattern=r"^https?://")] | None = None
    timeout_seconds: Annotated[float, Field(gt=0, le=60)] = 5.0


@dataclass(frozen=True, slots=True)
class Order:
    """A bracket to be entered at the next open.

    Attributes:
        timestamp: Open time of the decision bar; ``decided_at`` its close.
        quantity: Units to trade, positive.
        price: Close of the decision bar, which the levels on display are counted from until it is entered.
        stop_offset: Distance from the entry to the stop, price units; ``target_offset`` to the target.
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


class Broker(Protocol):
    """What a broker must offer."""

    name: str

    def submit(self, order: Order) -> str | None:
        """Place a bracket order, a second time without effect; returns the words of a refusal, None where it stands."""

    def advance(self, bars: Mapping[str, Bars]) -> int:
        """Write the fills that became known, and hold the account against the ledger; returns how many trades changed.

        Raises:
            ReconcileAccount: If there are orders or positions that nobody can explain; nothing may be ordered then.
        """

    def tradable(self, quantity: float) -> float:
        """Return the next smaller quantity that can be ordered."""

    def equity(self, bars: Mapping[str, Bars]) -> float:
        """Return what the account is worth at the newest closes."""


class PaperBroker:
    """The embedded broker: entries at the next open, exits by the kernel that labels and settles.

    Args:
        ledger: Where orders and fills are kept; a restart goes on from there.
        policy: Time limit, fees and slippage of the bracket.
        start_equity: Account at the first trade, in its currency.
    """

    name = "paper"

    def __init__(self, ledger: "Ledger", policy: BracketPolicy, start_equity: float) -> None:
        self._ledger = ledger
        self._policy = policy
        self._start = start_equity

    def submit(self, order: Order) -> None:
        """Note the order; it is entered at the open of the bar after its decision bar."""
        self._ledger.record_trades([order_row(order, self.name)])

    def tradable(self, quantity: float) -> float:
        """Return the quantity; any fraction can be ordered."""
        return quantity

    def advance(self, bars: Mapping[str, Bars]) -> int:
        """Enter and end what the bars known now enter and end; what is written once is not written again.

        Raises:
            FixData: If the decision bar of a trade is not among the bars any more.
            ReconcileAccount: If another broker still works on trades, or the lake has no bars of a symbol that is held.
        """
        working = own_trades(self._ledger, self.name)
        _require_bars(working, bars)
        changes: list[dict[str, Any]] = []
        for symbol, trades in working.groupby("symbol", sort=False):
            one = bars[str(symbol)]
            decided = (trades["timestamp"] <= pd.Timestamp(one.timestamp[-1], tz="UTC")).to_numpy(
                dtype=bool
            )
            changes += self._fills(one, trades[decided])
        self._ledger.fill_trades(changes)
        return len(changes)

    def _fills(self, bars: Bars, trades: pd.DataFrame) -> Iterable[dict[str, Any]]:
        decided, sides = decision_bars(bars, trades), side_signs(trades)
        stops, targets = (
            trades[name].to_numpy(dtype=np.float64) for name in ("stop_offset", "target_offset")
        )
        limit = self._policy.time_limit_bars
        exits = settle(
            bars.open, bars.high, bars.low, bars.close, decided, sides, stops, targets, limit
        )
        for row, at, side, stop, target, *ended in zip(
            trades.to_dict("records"), decided, sides, stops, targets, *exits, strict=True
        ):
            if at + 1 >= len(bars):
                continue
            entered = self._entry(row, bars, int(at) + 1, int(side), float(stop), float(target))
            left = self._exit(row, bars, int(side), entered["entry_price"], *ended)
            if left or row["status"] == "submitted":
                yield {"signal_id": row["signal_id"], **entered, **left}

    def _entry(
        self, row: Any, bars: Bars, at: int, side: int, stop: float, target: float
    ) -> dict[str, Any]:
        opened, slip = float(bars.open[at]), self._policy.slippage_bps / 1e4
        price = opened * (1 + side * slip)
        return {
            "status": "open",
            "entry_at": pd.Timestamp(bars.timestamp[at], tz="UTC").to_pydatetime(),
            "entry_price": price,
            "stop_price": opened - side * stop,
            "target_price": opened + side * target,
            "fees": row["quantity"] * price * self._policy.fee_bps / 1e4,
        }

    def _exit(
        self, row: Any, bars: Bars, side: int, entry: float, at: int, price: float, reason: int
    ) -> dict[str, Any]:
        if at < 0:
            return {}
        left = float(price) * (1 - side * self._policy.slippage_bps / 1e4)
        closed = pd.Timestamp(bars.timestamp[at] + bars.bar_size.to_timedelta64(), tz="UTC")
        return {
            "status": "closed",
            "exit_at": closed.to_pydatetime(),
            "exit_price": left,
            "exit_reason": str(REASONS[reason]),
            "fees": row["quantity"] * (entry + left) * self._policy.fee_bps / 1e4,
        }

    def equity(self, bars: Mapping[str, Bars]) -> float:
        """Return start, what was realised, and what is open at the newest closes, fees taken off."""
        trades = self._ledger.trades(("open", "closed"), self.name)
        total = self._start
        for row in trades.to_dict("records"):
            newest = bars[row["symbol"]].close[-1] if row["symbol"] in bars else row["entry_price"]
            price = row["exit_price"] if row["status"] == "closed" else newest
            side = 1 if row["side"] == "buy" else -1
            total += row["quantity"] * side * (float(price) - row["entry_price"]) - row["fees"]
        return total


def own_trades(ledger: "Ledger", name: str) -> pd.DataFrame:
    """Return the trades the broker ``name`` works on.

    Raises:
        ReconcileAccount: If another broker works on some: its orders would be forgotten, and the symbols taken twice.
    """
    working = ledger.trades(WORKING)
    others = working[working["broker"] != name]
    if len(others):
        first = others.iloc[0]
        raise ReconcileAccount(
            f"{len(others)} trades are still working at the broker {first['broker']} ({first['signal_id']} first), "
            f"conf/broker.yaml names {name}; name {first['broker']} again until they have ended"
        )
    return working


def _require_bars(working: pd.DataFrame, bars: Mapping[str, Bars]) -> None:
    unknown = working[~working["symbol"].isin(list(bars))]
    if len(unknown):
        first = unknown.iloc[0]
        raise ReconcileAccount(
            f"{first['signal_id']} is {first['status']}, but the lake has no bars of {first['symbol']}; "
            "collect them again (conf/source.yaml), then trade"
        )


def order_row(
    order: Order, broker: str, status: str = "submitted", veto: str | None = None
) -> dict[str, Any]:
    """Return an order as a row of ``trades``."""
    side = 1 if order.side == "buy" else -1
    return {
        "signal_id": order.signal_id,
        "sequence": int(order.decided_at.timestamp() * 1e6),
        "broker": broker,
        "symbol": order.symbol,
        "side": order.side,
        "quantity": order.quantity,
        "stop_price": order.price - side * order.stop_offset,
        "target_price": order.price + side * order.target_offset,
        "status": status,
        "submitted_at": order.decided_at,
        "timestamp": order.timestamp,
        "stop_offset": order.stop_offset,
        "target_offset": order.target_offset,
        "veto": veto,
    }


def exposures(trades: pd.DataFrame, bars: Mapping[str, Bars], equity: float) -> dict[str, float]:
    """Return the notional of working trades by symbol, as shares of the equity."""
    held: dict[str, float] = {}
    for row in trades.to_dict("records"):
        newest = bars[row["symbol"]].close[-1] if row["symbol"] in bars else row["stop_price"]
        held[row["symbol"]] = (
            held.get(row["symbol"], 0.0) + row["quantity"] * float(newest) / equity
        )
    return held
