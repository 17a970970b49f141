"""The symbol of a log that has only one and does not name it."""

import pandas as pd

from steelyard.errors import FixConfiguration
from steelyard.gateways.trade_logs.parsed import Columns, ImportOptions


def symbols(columns: Columns, options: ImportOptions, name: str) -> pd.Series:
    """Return the symbol of each row: the log's own column, else what the user says.

    Args:
        columns: Reader of the log.
        options: Symbol that the user gives.
        name: Name of the file in messages.

    Raises:
        FixConfiguration: If nobody says it.
    """
    own = columns.texts("symbol", "ticker", "market")
    if own.notna().any():
        return own
    if not options.symbol:
        raise FixConfiguration(f"{name}: does not name its symbol; pass --symbol, as in the bars")
    return pd.Series(options.symbol, index=columns.table.index)
