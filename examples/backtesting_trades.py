"""Backtests a strategy with backtesting.py, and writes its bars and trades for Steelyard.

The trades are the history a model learns from: every trade the strategy would have made, with its
outcome. Nothing here imports Steelyard; backtesting.py brings the bars (EUR/USD, hourly).
"""

import pandas as pd
from backtesting import Backtest, Strategy
from backtesting.lib import crossover
from backtesting.test import EURUSD, SMA


class Crossing(Strategy):
    """Follows the crossing of two means, with a stop and a target at equal distances."""

    fast, slow, distance = 5, 12, 0.0025

    def init(self) -> None:
        """Compute both means."""
        self.quick = self.I(SMA, self.data.Close, self.fast)
        self.lazy = self.I(SMA, self.data.Close, self.slow)

    def next(self) -> None:
        """Enter where they cross."""
        price = self.data.Close[-1]
        if crossover(self.quick, self.lazy):
            self.buy(size=0.5, sl=price * (1 - self.distance), tp=price * (1 + self.distance))
        elif crossover(self.lazy, self.quick):
            self.sell(size=0.5, sl=price * (1 + self.distance), tp=price * (1 - self.distance))


def main() -> None:
    """Write ``EURUSD.csv`` and ``trades.csv`` into the current folder."""
    backtest = Backtest(EURUSD, Crossing, cash=10_000, commission=0.00005, margin=0.05)
    trades = backtest.run()["_trades"]
    trades.to_csv("trades.csv", index=False)
    bars: pd.DataFrame = EURUSD.rename(columns=str.lower).rename_axis("timestamp")
    bars.to_csv("EURUSD.csv")
    print(f"{len(trades)} trades in trades.csv, {len(bars)} bars in EURUSD.csv")


if __name__ == "__main__":
    main()
