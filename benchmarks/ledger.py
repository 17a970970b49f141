"""CPU time of status, guard, weight, report and the page's mark over growing ledgers.

Beside them plain sums in SQL, which know no positions.
"""

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from math import log

import numpy as np
import pandas as pd
from sqlalchemy import func, insert, select

from steelyard.environment import go_offline
from steelyard.gateways.ledger.tables import Prediction, plain_rows
from steelyard.home import Home, open_home
from steelyard.queries.evidence import monthly_evidence
from steelyard.queries.figures import ledger_figures
from steelyard.queries.state import current_state
from steelyard.queries.status import status
from steelyard.tasks.pages import write_report
from steelyard.tasks.weight import evaluate_weight, guard_weight
from steelyard.weight.decision import make_decision
from steelyard.weight.state import State, initial_state

SIZES = (10_000, 100_000, 1_000_000)
DAYS = 730
BEGAN = datetime(2022, 1, 1, tzinfo=UTC)
END = BEGAN + timedelta(days=DAYS)
SYMBOLS = [f"S{number:03d}" for number in range(136)]
BARS_A_DAY = 6
WEIGHT = 0.2


def main() -> None:
    """Print CPU seconds by number of settled predictions, and the exponent of their growth."""
    go_offline()
    if len(sys.argv) > 1:
        measure(open_home(sys.argv[1]))
        return
    rows = {}
    for size in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            fill(open_home(folder), size)
            answer = subprocess.run(
                [sys.executable, __file__, folder], check=True, stdout=subprocess.PIPE, text=True
            )
        rows[size] = [float(word) for word in answer.stdout.split()]
    names = ["read life", "guard", "status", "memory, MB", "weight", "report", "report, MB"]
    names += ["page's mark", "SQL sums"]
    print(f"{'settled':14}" + "".join(f"{size:>12,}" for size in SIZES) + "    exponent")
    for name, *figures in zip(names, *rows.values(), strict=True):
        growth = log(max(figures[-1], 1e-4) / max(figures[-2], 1e-4)) / log(SIZES[-1] / SIZES[-2])
        print(f"{name:14}" + "".join(f"{figure:12.3f}" for figure in figures) + f"{growth:12.2f}")


def measure(home: Home) -> None:
    """Print the CPU seconds of each part, and the largest memory of the process.

    Args:
        home: Home with settled predictions.
    """
    state = current_state(home, END)
    at, page = END + timedelta(hours=1), home.folder / "report.html"
    monthly_evidence(home, BEGAN + timedelta(days=60), state)  # what is compiled is compiled
    parts: list[Callable[[], float]] = [
        lambda: cpu_seconds(lambda: monthly_evidence(home, at, state)),
        lambda: cpu_seconds(lambda: guard_weight(home, at)),
        lambda: cpu_seconds(lambda: status(home, at + timedelta(hours=1))),
        largest_memory,
        lambda: cpu_seconds(lambda: evaluate_weight(home, at + timedelta(hours=2))),
        lambda: cpu_seconds(lambda: write_report(home, at + timedelta(hours=3), page)),
        largest_memory,
        lambda: cpu_seconds(lambda: ledger_figures(home, state)),
        lambda: cpu_seconds(lambda: plain_sums(home)),
    ]
    print(*(part() for part in parts))


def largest_memory() -> float:
    """Return the largest memory of the process so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def cpu_seconds(work: Callable[[], object]) -> float:
    """Return the CPU time of one call."""
    started = time.process_time()
    work()
    return time.process_time() - started


def plain_sums(home: Home) -> list[object]:
    """Return count, wins and returns of each day by one query: a peer that knows no positions."""
    day = func.date(Prediction.settled_at)
    sums = (func.count(), func.sum(Prediction.p_win), func.sum(Prediction.net_return))
    own = Prediction.lineage == home.settings.services.lineage
    with home.ledger.transaction() as connection:
        return list(connection.execute(select(day, *sums).where(own).group_by(day)))


def fill(home: Home, size: int) -> State:
    """Give a home a lineage with settled predictions, and digests as a guard a day takes them.

    Args:
        home: Empty home.
        size: Number of predictions.
    """
    journal, lineage = home.journal, home.settings.services.lineage
    before = journal.begin(initial_state(lineage, BEGAN))
    raised = {"phase": "expansion", "weight": WEIGHT, "base": WEIGHT}
    after = before.model_copy(update=raised)
    reasons = ("made for a benchmark",)
    policy = home.settings.weight
    journal.append(
        make_decision("gates", before, after, policy, BEGAN, verdict="RAISE", reasons=reasons)
    )
    covered = home.digests.extend()
    for day in settled_days(size):
        rows = [{"lineage": lineage, "reported": False} | row for row in plain_rows(day)]
        with home.ledger.transaction() as connection:
            connection.execute(insert(Prediction), rows)
        covered = home.digests.extend()
    return journal.renew_lease(END + timedelta(days=2), covered)


def settled_days(size: int) -> Iterator[pd.DataFrame]:
    """Yield the settled predictions decided on each day: a model that knows a little.

    Args:
        size: Number of predictions over all days.
    """
    random = np.random.default_rng(1)
    for day in range(DAYS):
        count = size * (day + 1) // DAYS - size * day // DAYS
        if count:
            yield _settled(random, BEGAN + timedelta(days=day), count)


def _settled(random: np.random.Generator, day: datetime, count: int) -> pd.DataFrame:
    slots = random.choice(len(SYMBOLS) * BARS_A_DAY * 2, count, replace=False)
    bars, side = slots // 2 % BARS_A_DAY, np.where(slots % 2, "buy", "sell")
    decided_at = pd.Timestamp(day) + pd.to_timedelta(bars * 4, unit="h")
    symbols = [SYMBOLS[slot] for slot in slots // 2 // BARS_A_DAY]
    hold_minutes = random.integers(1, 12, count) * 60.0
    p_win = np.clip(random.normal(0.51, 0.05, count), 0.05, 0.95)
    won = random.random(count) < p_win
    existing, ml = random.uniform(40, 100, count), np.clip(p_win * 100 + 18, 0, 100)
    blended = (1 - WEIGHT) * existing + WEIGHT * ml
    opens = decided_at - pd.Timedelta("4h")
    ids = [f"{a}:{b.isoformat()}:{c}" for a, b, c in zip(symbols, opens, side, strict=True)]
    return pd.DataFrame(
        {
            "signal_id": ids,
            "symbol": symbols,
            "side": side,
            "decided_at": decided_at,
            "model_version": "1",
            "p_win": p_win,
            "confidence_existing": existing,
            "confidence_ml": ml,
            "blended": blended,
            "weight": WEIGHT,
            "arm": "all",
            "decision": blended > 70,
            "pivotal": (blended > 70) != (existing > 70),
            "latency_ms": random.uniform(0.05, 0.2, count),
            "fallback_reason": None,
            "settled_at": decided_at + pd.to_timedelta(hold_minutes, unit="min"),
            "net_return": np.where(won, 0.0175, -0.0185),
            "won": won,
            "exit_reason": np.where(won, "target", "stop"),
            "hold_minutes": hold_minutes,
            "slippage_bps": 4.0,
            "stop_distance": random.uniform(0.01, 0.03, count),
        }
    )


if __name__ == "__main__":
    main()
