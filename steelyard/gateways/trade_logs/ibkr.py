"""Interactive Brokers: the trades of an activity statement, or of a Flex query, as CSV."""

import numpy as np
import pandas as pd

from steelyard.errors import FixData
from steelyard.gateways.trade_logs.executions import paired
from steelyard.gateways.trade_logs.parsed import Columns, ImportOptions, ParsedLog
from steelyard.gateways.trade_logs.raw import RawLog, headings

NAME = "ibkr"
FLEX = ("symbol", ("datetime", "date/time"), "quantity", "tradeprice")
STATEMENT = ("Trades", "Header", "DataDiscriminator")
HINT = " (a statement shows those of the account, usually America/New_York)"


def recognises(raw: RawLog) -> bool:
    """Whether a log is an activity statement or the answer to a Flex query."""
    return raw.table(*FLEX) is not None or any(cells[:3] == STATEMENT for _, cells in raw.rows)


def read(raw: RawLog, options: ImportOptions) -> ParsedLog:
    """Return the round trips of a statement; each order counts once, however it was filled.

    Args:
        raw: The log.
        options: Zone of the account.

    Raises:
        FixData: If a Flex query names days, but no times.
    """
    flex = raw.table(*FLEX)
    table = _orders(flex, "levelofdetail") if flex is not None else _statement(raw)
    if "symbol" not in table or "tradeprice" not in table:
        raise FixData(f"{raw.name}: no trades with Symbol and Price in it; export them again")
    columns = Columns(table, raw.name, options.timezone, HINT)
    quantity, price = columns.numbers("quantity"), columns.numbers("tradeprice")
    bought = columns.sides("buy/sell").map({"buy": 1.0, "sell": -1.0})
    amount = quantity.abs() * bought.astype("float64").fillna(np.sign(quantity))
    multiplier = columns.numbers("multiplier").fillna(
        columns.numbers("proceeds").abs() / (quantity.abs() * price)
    )
    code = columns.texts("open/closeindicator", "code").fillna("")
    executions = pd.DataFrame(
        {
            "symbol": columns.texts("symbol"),
            "at": columns.times("datetime", "date/time"),
            "amount": amount * multiplier.where(multiplier > 0, 1.0),
            "price": price,
            "fee": -columns.numbers("ibcommission", "comm/fee", "comm in usd"),
            "profit": np.nan,
            "book": "",
            "opens": ~code.map(_only_closes),
        }
    )
    return paired(columns, executions, name=raw.name, form=NAME)


def _only_closes(code: str) -> bool:
    codes = code.upper().replace(",", ";").split(";")
    return "C" in codes and "O" not in codes


def _orders(table: pd.DataFrame, level: str) -> pd.DataFrame:
    """Return one row per order where there are orders, else one per execution."""
    if level not in table:
        return table
    levels = table[level].str.lower()
    for chosen in ("order", "execution", "trade"):
        if (levels == chosen).any():
            return table[levels == chosen]
    return table


def _statement(raw: RawLog) -> pd.DataFrame:
    """Return the rows of the sections Trades; each section has a header of its own."""
    parts: list[pd.DataFrame] = []
    names: list[str] = []
    rows: list[list[str]] = []
    lines: list[int] = []
    for line, cells in (*raw.rows, (0, STATEMENT)):
        if cells[:2] == STATEMENT[:2]:
            if rows:
                parts.append(pd.DataFrame(rows, index=lines, columns=names, dtype="str"))
            names = headings(cells[2:])
            rows, lines = [], []
        elif cells[:2] == ("Trades", "Data") and names:
            rows.append([*cells[2:], *[""] * len(names)][: len(names)])
            lines.append(line)
    table = pd.concat(parts) if parts else pd.DataFrame(dtype="str")
    return _orders(table.rename(columns={"t. price": "tradeprice"}), "datadiscriminator")
