"""One process, one worker and two: simulated lives, and the history of a universe in parts.

Workers are processes of this machine (``processes`` in conf/scale.yaml). What they do is the same
to the last bit; what an exponent of -1 lacks is the cost of sending work and results.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from math import log
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from steelyard.evaluation.books import SizingPolicy
from steelyard.gateways.cluster import ScaleSettings, local_processes
from steelyard.home import Home, home_under
from steelyard.market.simulated import SimulatedMarket
from steelyard.market.simulated import simulate as simulated_bars
from steelyard.queries.history import known_history
from steelyard.settings import Settings
from steelyard.simulation.characteristics import Design, simulate
from steelyard.values import OrderedMap
from steelyard.weight.policy import WeightPolicy

MARKETS, SYMBOLS = 4, 80
"""Simulated markets, and symbols of each."""
WORKERS = (1, 2)
END = datetime(2024, 1, 1, tzinfo=UTC)


def lives(apply: OrderedMap | None) -> Any:
    """Return what the policy does to 500 lives of every scenario."""
    design = Design(lives=500, months=24)
    return list(simulate(WeightPolicy(), SizingPolicy(), [design], apply=apply))


def universe() -> pd.DataFrame:
    """Return the bars of all markets, their symbols told apart by the number of the market."""
    markets = [SimulatedMarket(symbols=SYMBOLS, end=END, seed=seed) for seed in range(MARKETS)]
    frames = [simulated_bars(market) for market in markets]
    named = [frame.assign(symbol=f"M{at}" + frame["symbol"]) for at, frame in enumerate(frames)]
    return pd.concat(named, ignore_index=True)


def timed(work: Callable[[], Any]) -> float:
    """Return the seconds some work takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def history_of(home: Path, processes: int) -> Any:
    """Return the history of a home that one or more processes compute, their start included."""
    opened: Home = home_under(Settings(scale=ScaleSettings(processes=processes)), home)
    return known_history(opened, END)


def main() -> None:
    """Print seconds of one process (threads, one part), and of one worker and two."""
    lives(None)  # compiled and warm
    alone, shared = timed(partial(lives, None)), []
    for count in WORKERS:
        with local_processes(count) as apply:
            list(apply(abs, range(count)))
            lives(apply)
            shared.append(timed(partial(lives, apply)))
    with TemporaryDirectory() as folder:
        bars = universe()
        home_under(Settings(), folder).lake.append(bars, bars["timestamp"].diff().mode()[0])
        history_of(Path(folder), 1)
        one, two = (timed(partial(history_of, Path(folder), count)) for count in WORKERS)
    print(f"{'workers':14}" + "".join(f"{count:>8}" for count in WORKERS) + "    exponent")
    growth = log(shared[-1] / shared[0]) / log(WORKERS[-1] / WORKERS[0])
    print(f"{'lives, s':14}" + "".join(f"{taken:8.2f}" for taken in shared) + f"{growth:12.2f}")
    print(f"lives by the threads of one process: {alone:.2f} s")
    print(f"history by one process: {one:.2f} s; by two workers, their start included: {two:.2f} s")


if __name__ == "__main__":
    main()
