"""TradingView: the list of trades of the strategy tester, two rows a trade."""

import re

import pandas as pd

from steelyard.errors import FixData
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

NAME = "tradingview"
NUMBER, TIME = ("trade #", "trade number"), ("date/time", "date and time")
REQUIRED = (NUMBER, "type", "signal", TIME)
QUANTITY = r"contracts|position size \(qty\)|size \(qty\)|qty|quantity"
NAMES = {
    "price": r"price( \w+)?",
    "quantity": QUANTITY,
    "value": r"(position )?size \(value\)",
    "profit": r"(net p&l|net pnl|profit)( (?!%)\S+)?",
    "percent": r"(net p&l|net pnl|profit|return)( \w+)? ?%",
    "fees": r"commission( \w+)?",
}
"""Our name → pattern of the column in the exports of 2019 to 2026, currency at its end."""


def recognises(raw: RawLog) -> bool:
    """Whether a log has the columns of TradingView's list of trades."""
    return raw.table(*REQUIRED) is not None


def read(raw: RawLog, options: ImportOptions) -> ParsedLog:
    """Return the trades of a TradingView strategy.

    Args:
        raw: The log; it has the columns ``REQUIRED``.
        options: Zone of the chart, and the symbol, which the export does not name.
    """
    table = raw.table(*REQUIRED)
    assert table is not None  # noqa: S101 - ``recognises`` was asked
    table = table.rename(columns=_ours(table, raw.name))
    columns = Columns(table, raw.name, options.timezone, " (they are the chart's)")
    rows = pd.DataFrame(
        {
            "trade": columns.texts(*NUMBER),
            "kind": columns.texts("type").str.lower(),
            "at": columns.times(*TIME),
            "symbol": symbols(columns, options, raw.name),
            "signal": columns.texts("signal"),
            **{name: columns.numbers(name) for name in NAMES},
        }
    )
    entries = rows[rows["kind"].str.startswith("entry", na=False)]
    exits = rows[rows["kind"].str.startswith("exit", na=False) & ~_still_open(rows)]
    columns.drop(
        ~rows["kind"].str.match("entry|exit", na=False),
        "incomplete",
        "type: neither an entry nor an exit",
    )
    trades = _joined(entries, exits.drop_duplicates("trade").set_index("trade"))
    return parsed(columns, trades, name=raw.name, form=NAME, unit="trades", read=len(entries))


def _ours(table: pd.DataFrame, name: str) -> dict[str, str]:
    """Return the file's name of a column → ours; the first that fits counts."""
    ours: dict[str, str] = {}
    for our, pattern in NAMES.items():
        fitting = [str(column) for column in table if re.fullmatch(pattern, str(column))]
        ours |= {fitting[0]: our} if fitting else {}
    if "price" not in ours.values():
        raise FixData(f"{name}: no column Price in the list of trades; export it again")
    return ours


def _still_open(rows: pd.DataFrame) -> "pd.Series[bool]":
    """Whether an exit is the mark of a trade that is open at the end of the chart."""
    return rows["signal"].str.lower().eq("open") | rows["price"].isna()


def _joined(entries: pd.DataFrame, exits: pd.DataFrame) -> pd.DataFrame:
    ends = exits.reindex(entries["trade"]).set_index(entries.index)
    side = entries["kind"].str.contains("short").map({True: "sell", False: "buy"})
    notional = ends["value"].fillna(entries["value"]).abs()
    notional = notional.where(notional > 0)
    gross = net_of(signs(side), entries["price"], ends["price"])
    told = (ends["profit"] / notional).fillna(ends["percent"] / 100)
    return pd.DataFrame(
        {
            "symbol": entries["symbol"],
            "side": side,
            "entry_at": entries["at"],
            "entry_price": entries["price"],
            "exit_at": ends["at"],
            "exit_price": ends["price"],
            "net_return": told.fillna(gross).where(ends["at"].notna()),
            "profit": ends["profit"],
            "quantity": (notional / entries["price"]).fillna(entries["quantity"]),
            "fees": ends["fees"],
            "exit_reason": ends["signal"],
        }
    )
