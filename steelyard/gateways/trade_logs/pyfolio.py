"""pyfolio: transactions, as zipline and other backtesters give them."""

import numpy as np
import pandas as pd

from steelyard.gateways.trade_logs.executions import paired
from steelyard.gateways.trade_logs.parsed import Columns, ImportOptions, ParsedLog
from steelyard.gateways.trade_logs.raw import RawLog

NAME = "pyfolio"
TIMES = ("timestamp", "dt", "date", "datetime", "index", "")
REQUIRED = ("amount", "price", "symbol", TIMES)


def recognises(raw: RawLog) -> bool:
    """Whether a log has pyfolio's columns."""
    return raw.table(*REQUIRED) is not None


def read(raw: RawLog, options: ImportOptions) -> ParsedLog:
    """Return the round trips of pyfolio's transactions.

    Args:
        raw: The log; it has the columns ``REQUIRED``.
        options: Zone of its times, if they name none.
    """
    table = raw.table(*REQUIRED)
    assert table is not None  # noqa: S101 - ``recognises`` was asked
    columns = Columns(table, raw.name, options.timezone)
    executions = pd.DataFrame(
        {
            "symbol": columns.texts("symbol"),
            "at": columns.times(*TIMES),
            "amount": columns.numbers("amount"),
            "price": columns.numbers("price"),
            "fee": columns.numbers("commission", "fee"),
            "profit": np.nan,
            "book": "",
            "opens": True,
        }
    )
    return paired(columns, executions, name=raw.name, form=NAME)
