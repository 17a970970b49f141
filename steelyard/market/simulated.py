"""Simulated markets with a known edge: none, one that only a model sees, or one that dies.

Mechanism. Each symbol is in one of two hidden regimes, which change at random after ``regime_bars``
bars on average. In the *trending* regime the log price drifts along the prevailing move (the sign
of a 12 over a 26 bar average of the log price), in the *reverting* one against it, by ``strength``
deviations per bar. The two cancel, so a trend follower such as the built-in system wins half its
trades. But the regimes look different: bars of a reverting market have long wicks, bars of a
trending one short wicks. The candles tell which regime it is.

- ``none``: the candles look the same, and there is no drift.
- ``hidden``: as above.
- ``dying``: the drift appears at ``appears_at`` and ends at ``dies_at``; the candles look the same
  throughout.

Volatility clusters as in GARCH(1,1) (Bollerslev, J. Econometrics 31, 1986). Same seed, same bars.
"""

from datetime import UTC, datetime
from typing import Annotated, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import AwareDatetime, Field

from steelyard.compiled import compiled
from steelyard.market.bars import COLUMNS, Floats
from steelyard.values import FrozenModel

Edge = Literal["none", "hidden", "dying"]


class SimulatedMarket(FrozenModel):
    """Parameters of a market; ``strength`` (in deviations) and ``volatility`` are per bar."""

    edge: Edge = "hidden"
    symbols: Annotated[int, Field(ge=1, le=100)] = 8
    start: AwareDatetime = datetime(2020, 1, 1, tzinfo=UTC)
    end: AwareDatetime = datetime(2023, 1, 1, tzinfo=UTC)
    appears_at: AwareDatetime = datetime(2020, 7, 1, tzinfo=UTC)
    dies_at: AwareDatetime = datetime(2022, 1, 1, tzinfo=UTC)
    bar_hours: Annotated[int, Field(ge=1, le=24)] = 4
    regime_bars: Annotated[int, Field(ge=10)] = 80
    strength: Annotated[float, Field(ge=0, le=1)] = 0.20
    volatility: Annotated[float, Field(gt=0, le=0.2)] = 0.008
    seed: Annotated[int, Field(ge=0)] = 7


def simulate(market: SimulatedMarket, stamps: pd.DatetimeIndex | None = None) -> pd.DataFrame:
    """Return the bars of a market, columns ``COLUMNS``, symbols SIM00, SIM01 and so on.

    Args:
        market: Its parameters.
        stamps: Opens of the bars (UTC), ascending; None: one every ``bar_hours`` from ``start`` to
            ``end``, which are not read otherwise.
    """
    if stamps is None:
        stamps = pd.date_range(
            market.start, market.end, freq=f"{market.bar_hours}h", inclusive="left", unit="ns"
        )
    alive = _alive(market, stamps)
    seeds = np.random.SeedSequence(market.seed).spawn(market.symbols)
    frames = [
        _simulate_symbol(f"SIM{number:02d}", market, stamps, alive, np.random.default_rng(seed))
        for number, seed in enumerate(seeds)
    ]
    return pd.concat(frames, ignore_index=True)[list(COLUMNS)]


def _alive(market: SimulatedMarket, stamps: pd.DatetimeIndex) -> Floats:
    """Return 1 at bars at which the regimes drive the price, 0 at others, shape (n,)."""
    if market.edge == "none":
        return np.zeros(len(stamps))
    if market.edge == "hidden":
        return np.ones(len(stamps))
    lives = (stamps >= pd.Timestamp(market.appears_at)) & (stamps < pd.Timestamp(market.dies_at))
    return np.asarray(lives, dtype=np.float64)


def _simulate_symbol(
    symbol: str,
    market: SimulatedMarket,
    stamps: pd.DatetimeIndex,
    alive: Floats,
    rng: np.random.Generator,
) -> pd.DataFrame:
    bar_count = len(stamps)
    changes = rng.random(bar_count) < 1 / market.regime_bars
    regime = np.where(np.cumsum(changes) % 2 == rng.integers(2), 1.0, -1.0)
    log_price, deviation = _walk(
        rng.standard_normal(bar_count), regime * alive * market.strength, market.volatility
    )
    opens, closes = 100 * np.exp(log_price[:-1]), 100 * np.exp(log_price[1:])
    draw = rng.standard_normal
    wick = deviation * np.where(regime > 0, 0.35, 1.1)
    return pd.DataFrame(
        {
            "symbol": symbol,
            "timestamp": stamps,
            "open": opens,
            "high": np.maximum(opens, closes) * np.exp(wick * np.abs(draw(bar_count))),
            "low": np.minimum(opens, closes) * np.exp(-wick * np.abs(draw(bar_count))),
            "close": closes,
            "volume": 1000 * np.exp(0.4 * draw(bar_count)) * deviation / market.volatility,
        }
    )


@compiled
def _walk(
    shocks: NDArray[np.float64], drift: NDArray[np.float64], volatility: float
) -> tuple[Floats, Floats]:
    """Return the log price, from 0, shape (n + 1,), and the deviation of each change, shape (n,).

    ``drift`` is added at each bar along the prevailing move, in deviations, shape (n,).
    """
    bar_count = len(shocks)
    log_price, deviation = np.zeros(bar_count + 1), np.zeros(bar_count)
    variance, fast, slow = volatility**2, 0.0, 0.0
    for t in range(bar_count):
        deviation[t] = np.sqrt(variance)
        change = deviation[t] * (shocks[t] + drift[t] * np.sign(fast - slow))
        log_price[t + 1] = log_price[t] + change
        fast += (log_price[t + 1] - fast) * 2 / 13
        slow += (log_price[t + 1] - slow) * 2 / 27
        variance = 0.05 * volatility**2 + 0.07 * (deviation[t] * shocks[t]) ** 2 + 0.88 * variance
    return log_price, deviation
