"""Ledger and MLflow are unreachable in turn: no trade may be missed and no record lost."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from steelyard.desk.signals import Evaluation
from steelyard.ops.drills.desk import DrillDesk, days, trading
from steelyard.ops.drills.findings import NEVER, changes, days_until, must_hold
from steelyard.ops.drills.ground import DAY, STARTED_AT, DrillHome
from steelyard.views.drills import DrillResult, Notice
from steelyard.weight.policy import WeightPolicy

STORY = (
    "The ledger is unreachable for three days while a process trades, "
    "then MLflow until the lease ends."
)
LEDGER_BACK = STARTED_AT + 3 * DAY
MLFLOW_BACK = LEDGER_BACK + 5 * DAY
LEASE_BOUND = WeightPolicy().lease_days + 1.0
RECORD_SECONDS, POLL_SECONDS = 15.0, 0.05


def stopped_database(drill_home: DrillHome) -> DrillResult:
    """Remove the ledger, then MLflow, while a process trades."""
    with trading(drill_home, STARTED_AT) as desk:
        evaluated, about_ledger = _without_ledger(drill_home, desk)
    about_mlflow, weights = _without_mlflow(drill_home)
    drill_home.flow("guard", MLFLOW_BACK)
    return DrillResult(
        (*about_ledger, *about_mlflow),
        (
            *changes([(signal.decided_at, signal.weight) for signal in evaluated] + weights),
            (MLFLOW_BACK, drill_home.weight(MLFLOW_BACK)),
        ),
        (f"{len(evaluated)} signals were evaluated without the ledger",),
    )


def _without_ledger(
    drill_home: DrillHome, desk: DrillDesk
) -> tuple[list[Evaluation], list[Notice]]:
    with away(drill_home.folder / ".steelyard" / "ledger.db"):
        evaluated = [signal for day in days(STARTED_AT, LEDGER_BACK) for signal in desk.live(day)]
        waiting = _seconds_until(
            lambda: any("ledger" in trouble for trouble in desk.session.status(desk.at).troubles)
        )
        refused = drill_home.refused("guard", LEDGER_BACK)
    ids = [signal.signal_id for signal in evaluated]
    drained = _seconds_until(lambda: _stored_ids(drill_home) == ids)
    fallen_back = sum(signal.fallback_reason is not None for signal in evaluated)
    lost = desk.session.status(desk.at).lost
    alerted = bool(drill_home.alerts("flow", "guard"))
    drill_home.flow("guard", LEDGER_BACK)
    desk.session.refresh()
    return evaluated, [
        must_hold(
            "the model goes on deciding",
            "session",
            bool(ids) and not fallen_back,
            f"{fallen_back} fallbacks",
        ),
        Notice(
            "the trading process reports that records wait",
            "recorder",
            RECORD_SECONDS,
            waiting,
            "seconds",
        ),
        must_hold(
            "the guard refuses and the operator is told",
            "failed flow",
            bool(refused) and alerted,
            refused,
        ),
        Notice(
            "all is in the ledger, once and in order",
            "spool",
            RECORD_SECONDS,
            drained,
            "seconds",
            f"{len(ids)} rows, {lost} lost",
        ),
    ]


def _without_mlflow(drill_home: DrillHome) -> tuple[list[Notice], list[tuple[datetime, float]]]:
    """Start a trading process while MLflow is unreachable, and trade until the lease has ended."""
    with away(drill_home.folder / "mlruns" / "mlflow.db"), trading(drill_home, LEDGER_BACK) as desk:
        troubled = desk.session.status(desk.at).troubles
        evaluated = [signal for day in days(LEDGER_BACK, MLFLOW_BACK) for signal in desk.live(day)]
        refused = drill_home.refused("guard", MLFLOW_BACK)
    first = [signal for signal in evaluated if signal.decided_at <= LEDGER_BACK + DAY]
    without = [
        signal.decided_at for signal in evaluated if signal.fallback_reason == "lease_expired"
    ]
    by_disk = bool(first) and all(
        signal.weight and signal.fallback_reason is None for signal in first
    )
    alerted = drill_home.alerts("lease")
    return [
        must_hold(
            "a restarted process goes on with model and state on disk",
            "bundle, state.json",
            by_disk,
        ),
        must_hold(
            "the trading process reports that its state is old",
            "watch",
            bool(troubled),
            "; ".join(troubled)[:120],
        ),
        must_hold("the guard refuses", "failed flow", bool(refused), refused[:120]),
        Notice(
            "signals are decided without the model",
            "lease",
            LEASE_BOUND,
            days_until(LEDGER_BACK, without),
        ),
        Notice(
            "the operator is told that the lease ran out",
            "trading process",
            LEASE_BOUND,
            days_until(LEDGER_BACK, alerted),
        ),
    ], [(signal.decided_at, signal.weight) for signal in evaluated]


@contextmanager
def away(file: Path) -> Iterator[None]:
    """Move a database and its side files away; a folder of its name prevents a new one."""
    storage = file.parent / "away"
    storage.mkdir()
    for part in [file, *file.parent.glob(f"{file.name}-*")]:
        part.rename(storage / part.name)
    file.mkdir()
    try:
        yield
    finally:
        file.rmdir()
        for part in storage.iterdir():
            part.rename(file.parent / part.name)
        storage.rmdir()


def _stored_ids(drill_home: DrillHome) -> list[str]:
    stored: list[str] = (
        drill_home.home().ledger.predictions(STARTED_AT, LEDGER_BACK)["signal_id"].tolist()
    )
    return stored


def _seconds_until(holds: Callable[[], bool]) -> float:
    """Return the seconds until a condition holds; NaN if not within ``RECORD_SECONDS``."""
    started = time.monotonic()
    while time.monotonic() - started < RECORD_SECONDS:
        if holds():
            return round(time.monotonic() - started, 2)
        time.sleep(POLL_SECONDS)
    return NEVER
