"""Drift of 5,000 rows of 40 features against 5,000: our scores and page, next to Evidently's own preset."""

import sys
import time
from collections.abc import Callable

import numpy as np
import pandas as pd

from steelyard.monitoring.drift import DriftPolicy, drift, drift_page

RNG = np.random.default_rng(1)
ROWS, COLUMNS = 5_000, 40
NAMES = [f"feature{number}" for number in range(COLUMNS)]


def main() -> None:
    """Print seconds of one run, after one to import everything."""
    before, now = frame(), frame()
    importance = dict.fromkeys(NAMES, 1.0)
    judged = drift(before, now, importance, None, DriftPolicy())
    ours = timed(lambda: drift(before, now, importance, None, DriftPolicy()))
    page = timed(lambda: drift_page(before, now, judged.columns))
    preset = timed(lambda: peer(before, now))
    print(
        f"PSI against sampling noise, Wasserstein, verdict   {ours:6.2f} s   {ours / preset:5.2f} x the preset"
    )
    print(f"the page                                           {page:6.2f} s")
    print(f"Evidently's DataDriftPreset                        {preset:6.2f} s")


def frame() -> pd.DataFrame:
    """Return rows of one world."""
    return pd.DataFrame(RNG.normal(size=(ROWS, COLUMNS)), columns=NAMES).assign(
        p_win=RNG.uniform(0.3, 0.7, ROWS)
    )


def peer(before: pd.DataFrame, now: pd.DataFrame) -> None:
    """Compute what Evidently offers ready-made."""
    from evidently import Report
    from evidently.presets import DataDriftPreset

    Report([DataDriftPreset(num_method="psi", num_threshold=0.2)]).run(now, before).dict()


def timed(work: Callable[[], object]) -> float:
    """Return the seconds ``work`` takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    sys.exit(main())
