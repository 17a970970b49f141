"""From bars in a file to the table a model learns from: processor seconds and memory by size.

Sizes grow in bars and in symbols; the exponent says how the cost follows (1: in step with the
bars). Each size runs in a process of its own. Peers, in the same run: vectorbt for labelling and
pandas for ranks; benchmarks/features.py has the peers of indicators and features.
"""

import math
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from steelyard.gateways.lake import Lake
from steelyard.gateways.quality import Quality, QualityPolicy
from steelyard.gateways.sources import RawBars, SourceSettings, read
from steelyard.learning.samples import Samples
from steelyard.market.brackets import BracketPolicy, settle
from steelyard.market.cross_section import ranks_in
from steelyard.market.features import feature_names
from steelyard.market.history import history
from steelyard.market.strategy import TrendStrategy
from steelyard.settings import PACKAGE

MORE_SYMBOLS = ((100, 4000), (400, 4000))
MORE_BARS = ((100, 4000), (100, 16_000))
"""Symbols and bars of each."""
STAGES = ("read", "check", "store", "load", "history", "samples")
START, LATER = (pd.Timestamp(day, tz="UTC") for day in ("2020-01-01", "2026-01-01"))


def walks(symbols: int, bars: int) -> pd.DataFrame:
    """Return hourly bars of random walks."""
    rng = np.random.default_rng(1)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.005, (symbols, bars)), axis=1))
    opens = np.roll(close, 1, axis=1)
    opens[:, 0] = 100
    wick = 1 + rng.random((2, symbols, bars)) * 0.003
    stamps = START.to_datetime64() + np.arange(bars) * np.timedelta64(1, "h")
    columns = {
        "open": opens,
        "high": np.maximum(opens, close) * wick[0],
        "low": np.minimum(opens, close) / wick[1],
        "close": close,
        "volume": 1000 * rng.random((symbols, bars)),
    }
    return pd.DataFrame(
        {
            "symbol": np.repeat([f"S{number:04d}" for number in range(symbols)], bars),
            "timestamp": pd.DatetimeIndex(np.tile(stamps, symbols), tz="UTC"),
            **{name: values.ravel() for name, values in columns.items()},
        }
    )


def processor() -> float:
    """Return the processor seconds this process has taken."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def measure(symbols: int, bars: int) -> None:
    """Print the seconds of each stage for one size, compiled and imported before."""
    with tempfile.TemporaryDirectory() as folder:
        warm, system, bracket = walks(3, 400), TrendStrategy(), BracketPolicy()
        quality = Quality(PACKAGE / "expectations", Path(folder), QualityPolicy())

        def run(frame: pd.DataFrame, name: str) -> list[float]:
            file, lake = Path(folder) / f"{name}.parquet", Lake(Path(folder) / name)
            frame.to_parquet(file)
            marks = [processor()]
            raw: RawBars = read(SourceSettings(kind="files", path=str(file)))
            marks.append(processor())
            checked = quality.check_bars(raw, LATER, LATER)
            marks.append(processor())
            lake.append(checked.good, checked.bar_size, checked.known_after)
            del raw, checked
            marks.append(processor())
            stored = lake.bars(LATER)
            marks.append(processor())
            table = history(stored, system, bracket)
            marks.append(processor())
            Samples.from_history(table, feature_names(system))
            marks.append(processor())
            return [after - before for before, after in pairwise(marks)]

        run(warm, "warm")
        stages = run(walks(symbols, bars), "real")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(*(f"{seconds:.3f}" for seconds in stages), f"{peak:.2f}")


def main() -> None:
    """Print a table of growth in symbols and one in bars, and the ratios to the peers."""
    done = {size: measured(*size) for size in dict.fromkeys([*MORE_SYMBOLS, *MORE_BARS])}
    for unit, sizes, counts in (
        ("symbols", MORE_SYMBOLS, [symbols for symbols, _ in MORE_SYMBOLS]),
        ("bars", MORE_BARS, [symbols * bars for symbols, bars in MORE_BARS]),
    ):
        print(f"{unit:12}" + "".join(f"{count:>12,}" for count in counts) + "    exponent")
        for number, name in enumerate((*STAGES, "all", "memory, GB")):
            figures = [done[size][number] for size in sizes]
            growth = math.log(figures[-1] / figures[0]) / math.log(counts[-1] / counts[0])
            print(
                f"{name:12}" + "".join(f"{figure:12.2f}" for figure in figures) + f"{growth:12.2f}"
            )
    _beside_vectorbt()
    _beside_pandas()


def measured(symbols: int, bars: int) -> list[float]:
    """Return the seconds of each stage and of all, and the memory, in a process of its own.

    Args:
        symbols: Number of symbols.
        bars: Bars of each.
    """
    command = [sys.executable, __file__, str(symbols), str(bars)]
    told = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    *stages, peak = map(float, told.split())
    return [*stages, sum(stages), peak]


def _seconds(work: Callable[[], object]) -> float:
    work()
    began = time.process_time()
    work()
    return time.process_time() - began


def _beside_vectorbt() -> None:
    try:
        import vectorbt as vbt
    except ImportError:
        print("labelling: vectorbt is not installed (extra bench)")
        return
    count, rng = 1_000_000, np.random.default_rng(2)
    bars = {name: column.to_numpy() for name, column in walks(1, count).items()}
    prices = [bars[name] for name in ("open", "high", "low", "close")]
    first = np.sort(rng.choice(count - 60, 50_000, replace=False)).astype(np.int64) + 1
    entry, ones, entries = bars["open"][first], np.ones(len(first), np.int64), np.zeros(count, bool)
    entries[first] = True
    none, limits = np.full(len(first), np.nan), np.full(len(first), 48)
    ours = _seconds(lambda: settle(*prices, first, ones, entry * 0.99, entry * 1.01, none, limits))
    theirs = _seconds(lambda: vbt.OHLCSTX.run(entries, *prices, sl_stop=0.01, tp_stop=0.01))
    print(f"labelling    {ours:.3f} s, vectorbt {theirs:.3f} s, ratio {theirs / ours:.1f}")


def _beside_pandas() -> None:
    rng = np.random.default_rng(3)
    moments, symbols = 5000, 400
    panel = rng.normal(size=(moments, symbols))
    columns = np.tile(np.arange(symbols), moments)
    offsets = np.arange(moments + 1) * symbols
    long = pd.DataFrame({"at": np.repeat(np.arange(moments), symbols), "value": panel.ravel()})
    ours = _seconds(lambda: ranks_in(panel, offsets, columns))
    theirs = _seconds(lambda: long.groupby("at")["value"].rank())
    print(f"ranks        {ours:.3f} s, pandas {theirs:.3f} s, ratio {theirs / ours:.1f}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measure(int(sys.argv[1]), int(sys.argv[2]))
    else:
        main()
