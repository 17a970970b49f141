"""A log with our own names: symbol, timestamp, side, and whatever else it knows."""

import pandas as pd

from steelyard.errors import FixConfiguration, FixData
from steelyard.gateways.trade_logs.parsed import (
    NUMBERS,
    TIMES,
    Columns,
    ImportOptions,
    ParsedLog,
    net_of,
    parsed,
    signs,
)
from steelyard.gateways.trade_logs.raw import RawLog
from steelyard.gateways.trade_logs.symbols import symbols
from steelyard.market.logged import own_name

NAME = "generic"
WHEN = ("timestamp", "decided_at", "entry_at")
OURS = (
    *TIMES,
    *NUMBERS,
    "symbol",
    "side",
    "exit_reason",
    "traded",
    "signal_id",
    "settled_at",
    "won",
    "hold_minutes",
)
AFTERWARDS = ("exit", "close", "pnl", "p&l", "profit", "return", "gain", "mae", "mfe", "duration")
"""Beginnings of names of columns that are known only at the exit, and so no features."""


def recognises(raw: RawLog) -> bool:
    """Whether a log has our own names of columns."""
    return raw.table("symbol", WHEN, "side") is not None


def read(raw: RawLog, options: ImportOptions) -> ParsedLog:
    """Return the trades or signals of a log with our names, or with names that the user maps.

    Args:
        raw: The log.
        options: Zone, symbol, names and features, as far as the user gives them.

    Raises:
        FixConfiguration: If a mapped column or a feature is not in the log.
        FixData: If a column that every signal needs is missing.
    """
    table = _renamed(raw, options)
    columns = Columns(table, raw.name, options.timezone)
    side = columns.sides("side")
    values = {name: columns.numbers(name) for name in NUMBERS}
    values["confidence"] *= options.confidence_factor
    times = {name: columns.times(name) for name in TIMES}
    times["exit_at"] = times["exit_at"].fillna(columns.times("settled_at"))
    decided = times["decided_at"].fillna(times["timestamp"])
    times["entry_at"] = times["entry_at"].fillna(decided.where(times["exit_at"].notna()))
    gross = net_of(signs(side), values["entry_price"], values["exit_price"])
    costs = values["fees"].fillna(0) / (values["quantity"] * values["entry_price"])
    values["net_return"] = values["net_return"].fillna(gross - costs.fillna(0))
    own, notes = _own(columns, options, raw.name)
    trades = pd.DataFrame(
        {
            "symbol": symbols(columns, options, raw.name),
            "side": side,
            "exit_reason": columns.texts("exit_reason"),
            "own": own,
            **times,
            **values,
        }
    )
    return parsed(columns, trades, name=raw.name, form=NAME, unit="signals", notes=notes)


def _renamed(raw: RawLog, options: ImportOptions) -> pd.DataFrame:
    theirs = {their.strip().lower(): our for our, their in options.columns.items()}
    table = raw.table(*theirs) if theirs else raw.table("side", WHEN)
    if table is None:
        names = ", ".join(theirs or ("symbol", "side", "timestamp"))
        raise FixConfiguration(
            f"{raw.name}: no header with {names}; the first row has {raw.first_line}; "
            "map the names with --columns OURS=THEIRS"
        )
    table = table.rename(columns=theirs)  # keeps ``attrs``
    if "side" not in table or not any(name in table for name in WHEN):
        raise FixData(
            f"{raw.name}: no side or none of {', '.join(WHEN)} among {', '.join(map(str, table))}; "
            "map them with --columns OURS=THEIRS"
        )
    return table


def _own(columns: Columns, options: ImportOptions, name: str) -> tuple[pd.Series, list[str]]:
    """Return the features of each row, and which columns they are."""
    table = columns.table
    others = [str(column) for column in table if column not in OURS and column]
    wanted = [feature.lower() for feature in options.features]
    missing = [feature for feature in wanted if feature not in table]
    if missing:
        raise FixConfiguration(f"{name}: no column {missing[0]} among {', '.join(map(str, table))}")
    late = [column for column in others if column.startswith(AFTERWARDS)]
    offered = wanted or others
    chosen = [
        column
        for column in offered
        if (column in wanted or column not in late) and _is_numeric(table[column])
    ]
    written = table.attrs["names"]
    names = {column: own_name(written.get(column, column)) for column in chosen}
    values = pd.DataFrame(
        {names[column]: columns.numbers(column) for column in chosen}, index=table.index
    )
    own = values.to_dict("records") if chosen else [{} for _ in table.index]
    notes = [f"features: {', '.join(map(str, values))}"] if chosen else []
    if late and not wanted:
        notes.append(f"known only at the exit, so no features: {', '.join(late)}")
    return pd.Series(own, index=table.index, dtype="object"), notes


def _is_numeric(column: pd.Series) -> bool:
    """Whether a column holds numbers, and nothing but numbers."""
    if pd.api.types.is_bool_dtype(column) or pd.api.types.is_numeric_dtype(column):
        return True
    texts = column.astype("str").str.strip()
    there = texts[(texts != "") & (texts.str.lower() != "nan")]
    return len(there) > 0 and bool(pd.to_numeric(there, errors="coerce").notna().all())
