"""Simulates the entries of a vectorbt strategy, and writes its signals as a log for Steelyard.

Each row is a signal with its outcome: time of the decision, side, confidence, a feature that was
known then, entry and exit. Nothing here imports Steelyard; put your own prices into ``closes``.
"""

import numpy as np
import pandas as pd
import vectorbt as vbt

BAR = pd.Timedelta("1h")


def closes() -> pd.DataFrame:
    """Return closes of three made-up coins, one column each, by the open of their hourly bar."""
    draws = np.random.default_rng(3).normal(0.0, 0.008, (24 * 400, 3))
    stamps = pd.date_range("2024-01-01", periods=len(draws), freq=BAR, tz="UTC")
    return pd.DataFrame(100 * np.exp(draws.cumsum(axis=0)), stamps, ["AAA", "BBB", "CCC"])


def main() -> None:
    """Write ``signals.csv`` into the current folder."""
    close = closes()
    fast, slow = close.rolling(10).mean(), close.rolling(50).mean()
    entries, exits = fast.vbt.crossed_above(slow), fast.vbt.crossed_below(slow)
    # decided at a bar's close, filled at the next one, as Steelyard counts
    portfolio = vbt.Portfolio.from_signals(
        close, entries.shift(1, fill_value=False), exits.shift(1, fill_value=False), fees=0.0005
    )
    trades = portfolio.trades.records_readable
    trades = trades[trades["Status"] == "Closed"]
    entered = pd.DatetimeIndex(trades["Entry Timestamp"])
    spread = (fast / slow - 1).stack()
    decision_bar = pd.MultiIndex.from_arrays([entered - BAR, trades["Column"]])
    strength = spread.reindex(decision_bar).to_numpy()
    log = pd.DataFrame(
        {
            "symbol": trades["Column"].to_numpy(),
            "timestamp": entered,  # the decision bar closes when the next one opens
            "side": "buy",
            "confidence": (60 + 5000 * strength).clip(0, 100).round(1),
            "spread": strength,
            "entry_at": entered + BAR,
            "entry_price": trades["Avg Entry Price"].to_numpy(),
            "exit_at": pd.DatetimeIndex(trades["Exit Timestamp"]) + BAR,
            "exit_price": trades["Avg Exit Price"].to_numpy(),
            "net_return": trades["Return"].to_numpy(),
        }
    ).sort_values("timestamp")
    log.to_csv("signals.csv", index=False)
    print(f"{len(log)} signals with their outcomes in signals.csv")


if __name__ == "__main__":
    main()
