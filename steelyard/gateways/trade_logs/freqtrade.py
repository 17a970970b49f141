"""freqtrade: backtest results (JSON, zip), exported trades (JSON, CSV, Parquet), its database."""

from typing import Any

import numpy as np
import pandas as pd

from steelyard.gateways.trade_logs.parsed import Columns, ImportOptions, ParsedLog, parsed
from steelyard.gateways.trade_logs.raw import RawLog

NAME = "freqtrade"
REQUIRED = ("pair", "open_date", "open_rate", ("profit_ratio", "close_profit", "profit_percent"))


def recognises(raw: RawLog) -> bool:
    """Whether a log has freqtrade's columns."""
    return raw.table(*REQUIRED) is not None


def read(raw: RawLog, options: ImportOptions) -> ParsedLog:
    """Return freqtrade's trades; its times are UTC, its profit ratio a share of stake and fee.

    Args:
        raw: The log; it has the columns ``REQUIRED``.
        options: Not used: the format says everything itself.
    """
    table = raw.table(*REQUIRED)
    assert table is not None  # noqa: S101 - ``recognises`` was asked
    columns = Columns(table, raw.name, "UTC")
    short = columns.numbers("is_short").fillna(0) > 0
    leverage = columns.numbers("leverage").fillna(1.0).replace(0.0, 1.0)
    entry, exit_price = columns.numbers("open_rate"), columns.numbers("close_rate")
    amount = columns.numbers("amount")
    fees = entry * columns.numbers("fee_open") + exit_price * columns.numbers("fee_close")
    profit = columns.numbers("profit_abs", "close_profit_abs")
    ratio = columns.numbers("profit_ratio", "close_profit", "profit_percent")
    stop = columns.numbers("initial_stop_loss_abs", "initial_stop_loss")
    trades = pd.DataFrame(
        {
            "symbol": columns.texts("pair"),
            "side": pd.Series(np.where(short, "sell", "buy"), index=table.index),
            "entry_at": columns.times("open_date"),
            "entry_price": entry,
            "exit_at": columns.times("close_date"),
            "exit_price": exit_price,
            "net_return": (profit / (amount * entry)).fillna(ratio / leverage),
            "profit": profit,
            "quantity": amount,
            "fees": amount * fees,
            "exit_reason": columns.texts("exit_reason", "sell_reason"),
            "lowest": columns.numbers("min_rate"),
            "highest": columns.numbers("max_rate"),
            "stop": stop.where(stop > 0),
            "faults": _averaged(table),
        }
    )
    is_open = columns.numbers("is_open").fillna(0) > 0
    outcome = ["exit_at", "exit_price", "net_return", "profit", "fees", "exit_reason"]
    trades[outcome] = trades[outcome].mask(is_open)
    return parsed(columns, trades, name=raw.name, form=NAME, unit="trades")


def _averaged(table: pd.DataFrame) -> pd.Series:
    """Return the faults of trades whose entry is the mean of several fills."""
    orders = table["orders"] if "orders" in table else pd.Series(None, index=table.index)
    return orders.map(_fault_of)


def _fault_of(orders: Any) -> list[str]:
    fills = [
        float(order["safe_price"])
        for order in (orders if isinstance(orders, (list, tuple, np.ndarray)) else ())
        if order.get("ft_is_entry") and order.get("safe_price") and order.get("filled", 1)
    ]
    if len(set(fills)) < 2:
        return []
    return [f"averaged entry: {len(fills)} fills from {min(fills):g} to {max(fills):g}"]
