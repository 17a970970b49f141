"""Bars and histories of small markets, simulated once."""

from functools import cache

import numpy as np
import pandas as pd

from steelyard.market.bars import Bars, by_symbol
from steelyard.market.brackets import BracketPolicy
from steelyard.market.history import history
from steelyard.market.simulated import Edge, SimulatedMarket, simulate
from steelyard.market.strategy import TrendStrategy

FOUR_HOURS = pd.Timedelta("4h")


@cache
def small_market(edge: Edge = "hidden", symbols: int = 3, months: int = 6) -> dict[str, Bars]:
    """Four-hour bars by symbol from January 2020."""
    end = pd.Timestamp("2020-01-01", tz="UTC") + pd.DateOffset(months=months)
    market = SimulatedMarket(edge=edge, symbols=symbols, end=end.to_pydatetime())
    return by_symbol(simulate(market), FOUR_HOURS)


@cache
def small_history(edge: Edge = "hidden", symbols: int = 3, months: int = 6) -> pd.DataFrame:
    """Every signal of the trend system on that market, with features and outcome."""
    return history(small_market(edge, symbols, months), TrendStrategy(), BracketPolicy())


def bars_of(rows: list[tuple[float, float, float, float]], size: str = "1h") -> Bars:
    """Consecutive bars with the given open, high, low and close."""
    stamps = (
        np.datetime64("2026-01-01", "ns")
        + np.arange(len(rows)) * pd.Timedelta(size).to_timedelta64()
    )
    columns = [np.array(column, dtype=float) for column in zip(*rows, strict=True)]
    return Bars("X", pd.Timedelta(size), stamps, *columns, np.ones(len(rows)))


def scaled(bars: Bars, prices: float = 1.0, volume: float = 1.0) -> Bars:
    """The same bars with prices and volume multiplied."""
    return Bars(
        bars.symbol,
        bars.bar_size,
        bars.timestamp,
        bars.open * prices,
        bars.high * prices,
        bars.low * prices,
        bars.close * prices,
        bars.volume * volume,
    )


def with_other_future(bars: Bars, bar: int, seed: int = 0) -> Bars:
    """The same bars up to ``bar``, and a different future."""
    factor = np.ones(len(bars))
    factor[bar:] = np.exp(np.random.default_rng(seed).normal(0, 0.05, len(bars) - bar))
    wider = np.where(np.arange(len(bars)) < bar, 1.0, 1.1)
    return Bars(
        bars.symbol,
        bars.bar_size,
        bars.timestamp,
        bars.open * factor,
        bars.high * factor * wider,
        bars.low * factor / wider,
        bars.close * factor,
        bars.volume * factor**3,
    )
