"""Drift of 5,000 rows of 40 features.

Time of the scores and the page, and of Evidently's preset.
"""

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
    """Print the seconds of one run, after a first run for the imports."""
    reference, current = frame(), frame()
    importance = dict.fromkeys(NAMES, 1.0)
    result = drift(reference, current, importance, None, DriftPolicy())
    ours = timed(lambda: drift(reference, current, importance, None, DriftPolicy()))
    page = timed(lambda: drift_page(reference, current, result.columns))
    preset = timed(lambda: preset_report(reference, current))
    print(
        f"PSI against sampling noise, Wasserstein, verdict   {ours:6.2f} s   "
        f"{ours / preset:5.2f} x the preset"
    )
    print(f"the page                                           {page:6.2f} s")
    print(f"Evidently's DataDriftPreset                        {preset:6.2f} s")


def frame() -> pd.DataFrame:
    """Return rows of one distribution, shape (5000, 41): the features and ``p_win``."""
    return pd.DataFrame(RNG.normal(size=(ROWS, COLUMNS)), columns=NAMES).assign(
        p_win=RNG.uniform(0.3, 0.7, ROWS)
    )


def preset_report(reference: pd.DataFrame, current: pd.DataFrame) -> None:
    """Compute Evidently's own preset."""
    from evidently import Report
    from evidently.presets import DataDriftPreset

    Report([DataDriftPreset(num_method="psi", num_threshold=0.2)]).run(current, reference).dict()


def timed(work: Callable[[], object]) -> float:
    """Return the seconds ``work`` takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    sys.exit(main())
