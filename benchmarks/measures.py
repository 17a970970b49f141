"""Measures of a book from its daily returns, beside quantstats and empyrical, in one run.

Ten years of days, as a report of a whole life reads them. Sharpe ratio, win rate and profit factor
of all are the same numbers. Our drawdown adds returns where theirs compound, because a book's
positions are shares of an account that stays as it was; it takes part in the time alone.
"""

import statistics
import time
from collections.abc import Callable

import empyrical
import numpy as np
import pandas as pd
import quantstats.stats as qs

from steelyard.evaluation import metrics

DAYS, RUNS = 3650, 30
YEAR = 365
"""Days of a year: a day on which nothing settled counts, with 0."""


def main() -> None:
    """Check that all compute the same, then print medians of interleaved runs and ratios."""
    days = pd.date_range("2016-01-01", periods=DAYS, freq="D")
    returns = pd.Series(np.random.default_rng(1).normal(0.0004, 0.01, DAYS), index=days)
    contenders: dict[str, Callable[[], dict[str, float]]] = {
        "steelyard": lambda: ours(returns.to_numpy()),
        "empyrical": lambda: empyrical_measures(returns),
        "quantstats": lambda: quantstats_measures(returns),
    }
    expected = ours(returns.to_numpy())
    for name, measure in contenders.items():
        for figure, value in measure().items():
            if figure != "drawdown":
                np.testing.assert_allclose(value, expected[figure], rtol=1e-9, err_msg=name)
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(RUNS):
        for name, measure in contenders.items():
            started = time.perf_counter()
            measure()
            seconds[name].append((time.perf_counter() - started) / len(measure()))
    fastest = statistics.median(seconds["steelyard"])
    for name, spent in seconds.items():
        median = statistics.median(spent)
        print(f"{name:12} {median * 1e6:9.1f} µs a measure  ratio {median / fastest:6.1f}")


def ours(returns: np.ndarray) -> dict[str, float]:
    """Return the measures of ``evaluation.metrics``.

    Args:
        returns: Daily returns, fractions, shape (n,).
    """
    return {
        "sharpe": metrics.sharpe(returns),
        "drawdown": metrics.max_drawdown(returns),
        "win_rate": metrics.win_rate(returns),
        "profit_factor": metrics.profit_factor(returns),
    }


def empyrical_measures(returns: pd.Series) -> dict[str, float]:
    """Return what empyrical has of them.

    Args:
        returns: Daily returns, fractions.
    """
    return {
        "sharpe": empyrical.sharpe_ratio(returns, annualization=YEAR),
        "drawdown": -empyrical.max_drawdown(returns),
    }


def quantstats_measures(returns: pd.Series) -> dict[str, float]:
    """Return quantstats' measures.

    Args:
        returns: Daily returns, fractions.
    """
    return {
        "sharpe": qs.sharpe(returns, periods=YEAR),
        "drawdown": -qs.max_drawdown(returns),
        "win_rate": qs.win_rate(returns),
        "profit_factor": qs.profit_factor(returns),
    }


if __name__ == "__main__":
    main()
