"""Brackets over 1 M bars and 50 k signals.

The kernel against vectorbt's stop-loss/take-profit simulation, in one run.
"""

import statistics
import time

import numpy as np
import vectorbt as vbt

from steelyard.market.brackets import settle

BARS, SIGNALS, RUNS, OFFSET = 1_000_000, 50_000, 7, 0.01


def main() -> None:
    """Print medians of interleaved runs and the ratio."""
    rng = np.random.default_rng(1)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.002, BARS)))
    opens = np.concatenate([[100.0], close[:-1]])
    high = np.maximum(opens, close) * (1 + rng.random(BARS) * 0.002)
    low = np.minimum(opens, close) * (1 - rng.random(BARS) * 0.002)
    decided = np.sort(rng.choice(BARS - 60, SIGNALS, replace=False)).astype(np.int64)
    sides, entry = np.ones(SIGNALS, dtype=np.int64), opens[decided + 1]
    stops, targets, trails = entry * (1 - OFFSET), entry * (1 + OFFSET), np.full(SIGNALS, np.nan)
    limits = np.full(SIGNALS, 48)
    entries = np.zeros(BARS, dtype=bool)
    entries[decided + 1] = True

    def kernel() -> object:
        return settle(opens, high, low, close, decided + 1, sides, stops, targets, trails, limits)

    def stop_exits() -> object:
        stops = {"sl_stop": OFFSET, "tp_stop": OFFSET}
        return vbt.OHLCSTX.run(entries, opens, high, low, close, **stops)

    def portfolio() -> object:
        return vbt.Portfolio.from_signals(
            close, entries, open=opens, high=high, low=low, sl_stop=OFFSET, tp_stop=OFFSET
        )

    contenders = {
        "steelyard settle": kernel,
        "vectorbt OHLCSTX": stop_exits,
        "vectorbt from_signals": portfolio,
    }
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(RUNS + 1):
        for name, run in contenders.items():
            started = time.perf_counter()
            run()
            if number:  # the first run compiles
                seconds[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    for name, median in medians.items():
        ratio = median / medians["steelyard settle"]
        print(
            f"{name:22} {median * 1e3:9.2f} ms  {SIGNALS / median / 1e6:7.2f} M signals/s  "
            f"{ratio:7.1f} x the kernel's time"
        )


if __name__ == "__main__":
    main()
