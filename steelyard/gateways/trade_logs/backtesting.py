"""backtesting.py: the trades of a run, ``stats['_trades'].to_csv(…)``."""

import numpy as np
import pandas as pd

from steelyard.gateways.trade_logs.parsed import (
    Columns,
    ImportOptions,
    ParsedLog,
    net_of,
    parsed,
    signs,
)
from steelyard.gateways.trade_logs.raw import RawLog
from steelyard.gateways.trade_logs.symbols import symbols

NAME = "backtesting"
REQUIRED = ("size", "entrytime", "exittime", "entryprice", "exitprice")


def recognises(raw: RawLog) -> bool:
    """Whether a log has the columns of backtesting.py."""
    return raw.table(*REQUIRED) is not None


def read(raw: RawLog, options: ImportOptions) -> ParsedLog:
    """Return the trades of a run of backtesting.py.

    Its columns ``Entry_…`` are indicators at the entry bar's close, which is after the entry: they
    are no features.

    Args:
        raw: The log; it has the columns ``REQUIRED``.
        options: Zone of its times, and the symbol, which it does not name.
    """
    table = raw.table(*REQUIRED)
    assert table is not None  # noqa: S101 - ``recognises`` was asked
    columns = Columns(table, raw.name, options.timezone, " (they are those of the bars)")
    size = columns.numbers("size")
    side = pd.Series(np.where(size > 0, "buy", "sell"), index=table.index)
    entry, exit_price = columns.numbers("entryprice"), columns.numbers("exitprice")
    fees, told = columns.numbers("commission"), columns.numbers("returnpct")
    gross = net_of(signs(side), entry, exit_price)
    trades = pd.DataFrame(
        {
            "symbol": symbols(columns, options, raw.name),
            "side": side,
            "entry_at": columns.times("entrytime"),
            "entry_price": entry,
            "exit_at": columns.times("exittime"),
            "exit_price": exit_price,
            "net_return": told.fillna(gross - fees.fillna(0) / (size.abs() * entry)),
            "profit": columns.numbers("pnl"),
            "quantity": size.abs(),
            "fees": fees,
            "exit_reason": columns.texts("tag"),
            "stop": columns.numbers("sl"),
            "target": columns.numbers("tp"),
        }
    )
    return parsed(columns, trades, name=raw.name, form=NAME, unit="trades")
