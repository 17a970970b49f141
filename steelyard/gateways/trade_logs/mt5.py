"""MetaTrader 5: the history report, its table Positions, else its table Deals."""

import numpy as np
import pandas as pd

from steelyard.gateways.trade_logs.executions import paired, units_of
from steelyard.gateways.trade_logs.parsed import (
    Columns,
    ImportOptions,
    ParsedLog,
    net_of,
    parsed,
    signs,
)
from steelyard.gateways.trade_logs.raw import RawLog

NAME = "mt5"
POSITIONS = ("time", "position", "symbol", "type", "volume", "price", "time.1", "price.1", "profit")
DEALS = ("time", "deal", "symbol", "type", "direction", "volume", "price")
HINT = " (a report of MetaTrader shows the broker's server time, often Europe/Athens)"


def recognises(raw: RawLog) -> bool:
    """Whether a log has a table of a MetaTrader report."""
    return raw.table(*POSITIONS) is not None or raw.table(*DEALS) is not None


def read(raw: RawLog, options: ImportOptions) -> ParsedLog:
    """Return the closed positions of a report; from its deals if it has no positions.

    Args:
        raw: The log.
        options: Zone of the broker's server.
    """
    positions = raw.table(*POSITIONS)
    if positions is not None:
        return _from_positions(positions, raw.name, options)
    deals = raw.table(*DEALS)
    assert deals is not None  # noqa: S101 - ``recognises`` was asked
    return _from_deals(deals, raw.name, options)


def _from_positions(table: pd.DataFrame, name: str, options: ImportOptions) -> ParsedLog:
    columns = Columns(table, name, options.timezone, HINT)
    side, volume = columns.sides("type"), columns.numbers("volume")
    entry, exit_price = columns.numbers("price"), columns.numbers("price.1")
    costs = columns.numbers("commission").fillna(0) + columns.numbers("swap").fillna(0)
    profit, symbol = columns.numbers("profit"), columns.texts("symbol")
    units = units_of(symbol, volume, profit, signs(side) * (exit_price - entry))
    stop, target = columns.numbers("s / l"), columns.numbers("t / p")
    trades = pd.DataFrame(
        {
            "symbol": symbol,
            "side": side,
            "entry_at": columns.times("time"),
            "entry_price": entry,
            "exit_at": columns.times("time.1"),
            "exit_price": exit_price,
            "net_return": net_of(signs(side), entry, exit_price)
            + (costs / (units * entry)).where(costs != 0, 0.0),
            "profit": profit + costs,
            "quantity": units,
            "fees": -costs,
            "stop": stop.where(stop > 0),
            "target": target.where(target > 0),
        }
    )
    return parsed(columns, trades, name=name, form=NAME, unit="trades")


def _from_deals(table: pd.DataFrame, name: str, options: ImportOptions) -> ParsedLog:
    trading = table["type"].str.lower().isin(["buy", "sell"])  # the others are money in and out
    columns = Columns(table[trading], name, options.timezone, HINT)
    kind, direction = columns.texts("type").str.lower(), columns.texts("direction").str.lower()
    netting = (direction == "in/out").any()
    opened = np.where((direction == "in") == (kind == "buy"), "long", "short")
    fees = -sum(columns.numbers(cost).fillna(0) for cost in ("commission", "fee", "swap"))
    executions = pd.DataFrame(
        {
            "symbol": columns.texts("symbol"),
            "at": columns.times("time"),
            "amount": columns.numbers("volume") * np.where(kind == "buy", 1.0, -1.0),
            "price": columns.numbers("price"),
            "fee": fees,
            "profit": columns.numbers("profit"),
            "book": "" if netting else opened,
            "opens": ~direction.str.startswith("out", na=False),
        }
    )
    return paired(columns, executions, name=name, form=NAME)
