"""CPU time and memory of a replay as it ages: 8 symbols of 4 h bars, simulated.

Trainings learn from all that has settled, so their own time grows with the history; the days
between them are told apart from it. Days are counted from the first training on: before it there
is no model to watch, and a day costs a third.
"""

import argparse
import tempfile
import time
from datetime import UTC, datetime, timedelta
from math import log
from pathlib import Path

from steelyard.environment import go_offline
from steelyard.flows.replay import replay
from steelyard.market.simulated import SimulatedMarket, simulate
from steelyard.progress import progress_to

START = datetime(2021, 1, 1, tzinfo=UTC)
PARTS = (4, 2, 1)
"""The figures are told after a quarter, half and all of the days."""
PAGE = 4096


class Meter:
    """Reads CPU time and memory after each day of a replay."""

    def __init__(self) -> None:
        self.seconds = list[float]()
        self.training = list[float]()
        self.megabytes = list[float]()
        self._in_trainings = 0.0
        self._latest = time.process_time()

    def __call__(self, step: str, _done: int, _total: int, _detail: str) -> None:
        """Take a report of progress: of a trial, or of a day that was lived."""
        now = time.process_time()
        if step == "tuning":
            self._in_trainings += now - self._latest
        if step == "replay":
            self.seconds.append(now)
            self.training.append(self._in_trainings)
            pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
            self.megabytes.append(pages * PAGE / 2**20)
        self._latest = now


def main() -> None:
    """Print the figures by days lived, and the exponent of their growth."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--years", type=int, default=4)
    parser.add_argument("--retrain-days", type=int, default=91)
    parser.add_argument("--trials", type=int, default=3)
    asked = parser.parse_args()
    go_offline()
    end = START + timedelta(days=365 * asked.years)
    meter = Meter()
    with tempfile.TemporaryDirectory() as folder, progress_to(meter):
        bars = Path(folder) / "bars.csv"
        simulate(SimulatedMarket(end=end)).to_csv(bars, index=False)
        started = time.process_time()
        replay.fn(
            str(bars),
            START,
            end,
            trials=asked.trials,
            retrain_days=asked.retrain_days,
            home=f"{folder}/home",
        )
        whole = time.process_time() - started
    tell(meter)
    print(f"the whole replay, with its begin and its pages: {whole:.0f} s")


def tell(meter: Meter) -> None:
    """Print what a meter has read.

    Args:
        meter: Meter of a replay that has ended.
    """
    first = next(day for day, spent in enumerate(meter.training) if spent)
    seconds, training = meter.seconds[first:], meter.training[first:]
    told = [(len(seconds) - 1) // part for part in PARTS]
    search = [training[day] - training[0] for day in told]
    lived = [seconds[day] - seconds[0] for day in told]
    rows = {
        "all, s": lived,
        "search, s": search,
        "days, s": [every - part for every, part in zip(lived, search, strict=True)],
        "memory, MB": [meter.megabytes[first + day] for day in told],
    }
    print(f"{'days lived':12}" + "".join(f"{day:>10,}" for day in told) + "    exponent")
    for name, figures in rows.items():
        growth = log(max(figures[-1], 1e-3) / max(figures[0], 1e-3)) / log(told[-1] / told[0])
        print(f"{name:12}" + "".join(f"{figure:10.1f}" for figure in figures) + f"{growth:12.2f}")


if __name__ == "__main__":
    main()
