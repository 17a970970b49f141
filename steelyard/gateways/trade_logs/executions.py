"""From the executions of a log to its trades."""

import pandas as pd

from steelyard.errors import FixData
from steelyard.gateways.trade_logs.parsed import Columns, ParsedLog, net_of, parsed, signs
from steelyard.market.round_trips import round_trips

_REQUIRED = ("symbol", "at", "amount", "price")


def paired(columns: Columns, executions: pd.DataFrame, *, name: str, form: str) -> ParsedLog:
    """Return the round trips of a log of executions, first in, first out.

    Args:
        columns: Reader of the log.
        executions: Executions as ``round_trips`` takes them, its index the line. ``profit`` is
            their realised profit in money, NaN where the log does not say it.
        name: Name of the file.
        form: Name of the format.

    Raises:
        FixData: If an execution is incomplete: what follows it could not be paired.
    """
    for column in _REQUIRED:
        columns.drop(executions[column].isna(), "incomplete", f"{column} is empty")
    columns.drop(executions["price"] <= 0, "impossible", "price is not positive")
    wrong = [skipped for line, skipped in columns.skipped.items() if line in executions.index]
    if wrong:
        raise FixData(
            f"{name}: line {wrong[0].line}: {wrong[0].reason}; without this execution the later "
            "ones cannot be paired: correct it, or take the symbol out of the file"
        )
    executions = executions[executions["amount"] != 0]
    trips = round_trips(executions.assign(fee=executions["fee"].fillna(0.0)))
    trades = trips.trades
    sign = signs(trades["side"])
    move = sign * (trades["exit_price"] - trades["entry_price"])
    quantity = units_of(trades["symbol"], trades["quantity"], trades["profit"], move)
    gross = net_of(sign, trades["entry_price"], trades["exit_price"])
    costs = (trades["fees"] / (quantity * trades["entry_price"])).where(trades["fees"] != 0, 0.0)
    trades = trades.assign(
        quantity=quantity,
        net_return=gross - costs,
        profit=trades["profit"] - trades["fees"],
    )
    unmatched = executions.index.isin(trips.unmatched)
    columns.drop(
        pd.Series(unmatched, index=executions.index),
        "incomplete",
        "closes a position that the log did not open; export from an earlier date",
    )
    still_open = int(trades["exit_at"].isna().sum())
    notes = [f"{still_open} positions are open at the end of the log"] if still_open else []
    return parsed(
        columns,
        trades,
        name=name,
        form=form,
        unit="executions",
        read=len(executions),
        notes=notes,
    )


def units_of(
    symbol: pd.Series, volume: pd.Series, profit: pd.Series, move: pd.Series
) -> "pd.Series[float]":
    """Return the units of each trade, such that units times price is money of the account.

    A log names lots or contracts, not what one is: it is the profit for a move of 1, the median
    over the trades of a symbol. Where the log tells no profit, one lot is one unit; where all
    profits of a symbol are 0, nobody can tell, and the units are NaN.

    Args:
        symbol: Symbol of each trade, shape (n,).
        volume: Lots, contracts or shares, shape (n,).
        profit: Profit before costs, money; NaN where it is not known, shape (n,).
        move: Move of the price in favour of the trade, shape (n,).
    """
    per_lot = (profit / (move * volume)).where((move.abs() > 0) & (profit != 0))
    lot = per_lot.groupby(symbol).transform("median")
    told = profit.notna().groupby(symbol).transform("any")
    return (volume * lot.where(lot > 0).where(told, 1.0)).astype("float64")
