"""The embedded broker: orders filled by the bracket kernel and kept in the ledger."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd

from steelyard.errors import ReconcileAccount
from steelyard.gateways.brokers.broker import SCALED, Order, order_row, own_trades, rescaled
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
from steelyard.market.strategy import Exiting

if TYPE_CHECKING:
    from steelyard.gateways.ledger import Ledger


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
        trades = self._ledger.account_trades(("open", "closed"), self.name)
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


def _require_bars(working: pd.DataFrame, bars: Mapping[str, Bars]) -> None:
    unknown = working[~working["symbol"].isin(list(bars))]
    if len(unknown):
        first = unknown.iloc[0]
        raise ReconcileAccount(
            f"{first['signal_id']} is {first['status']}, but the lake has no bars of "
            f"{first['symbol']}; collect them again (conf/source.yaml), then trade"
        )
