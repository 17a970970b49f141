"""Time of verifying journals of 1,000 and 5,000 decisions, beside reading their runs alone."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from state import decide, opened  # the benchmark beside this one

from steelyard.environment import go_offline

LENGTHS = (1_000, 5_000)


def main() -> None:
    """Print seconds and the ratio; writing the journals takes minutes."""
    go_offline()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        registry, length = opened(home, f"sqlite:///{home}/mlflow.db"), 0
        for longer in LENGTHS:
            decide(registry, longer - length)
            length = longer
            read = seconds(registry.journal._tracking.decision_runs)
            checked = seconds(registry.journal.faults)
            print(
                f"{length:,} decisions: verified in {checked:.1f} s, "
                f"{checked / read:.1f} × reading the runs ({read:.2f} s)"
            )


def seconds(work: Callable[[], object]) -> float:
    """Return the time of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
