"""Ledger and MLflow go away in turn: nobody may miss a trade by it, nothing may be lost, and it must be said."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from steelyard.desk.signals import Evaluation
from steelyard.ops.drills.desk import DrillDesk, days, trading
from steelyard.ops.drills.findings import NEVER, Found, Notice, changes, days_until, held
from steelyard.ops.drills.ground import BEGAN, DAY, DrillHome
from steelyard.weight.policy import WeightPolicy

STORY = "The ledger's file is away for three days while a process trades, then MLflow's until after the lease."
LEDGER_BACK = BEGAN + 3 * DAY
MLFLOW_BACK = LEDGER_BACK + 5 * DAY
BOUND = WeightPolicy().lease_days + 1.0
SECONDS, POLL = 15.0, 0.05


def stopped_database(place: DrillHome) -> Found:
    """Take the ledger away, then MLflow; trade all the while."""
    with trading(place, BEGAN) as desk:
        evaluated, about_ledger = _without_ledger(place, desk)
    about_mlflow, weights = _without_mlflow(place)
    place.flow("guard", MLFLOW_BACK)
    return Found(
        (*about_ledger, *about_mlflow),
        (
            *changes([(one.decided_at, one.weight) for one in evaluated] + weights),
            (MLFLOW_BACK, place.weight(MLFLOW_BACK)),
        ),
        (f"{len(evaluated)} signals were evaluated without the ledger",),
    )


def _without_ledger(place: DrillHome, desk: DrillDesk) -> tuple[list[Evaluation], list[Notice]]:
    with away(place.folder / ".steelyard" / "ledger.db"):
        evaluated = [one for day in days(BEGAN, LEDGER_BACK) for one in desk.live(day)]
        waiting = _seconds(
            lambda: any("ledger" in trouble for trouble in desk.session.status(desk.at).troubles)
        )
        refused = place.refused("guard", LEDGER_BACK)
    ids = [one.signal_id for one in evaluated]
    drained = _seconds(lambda: _stored(place) == ids)
    fallen_back = sum(one.fallback_reason is not None for one in evaluated)
    lost = desk.session.status(desk.at).lost
    told = bool(place.alerts("flow", "guard"))
    place.flow("guard", LEDGER_BACK)
    desk.session.refresh()
    return evaluated, [
        held(
            "the model decides on as it did",
            "session",
            bool(ids) and not fallen_back,
            f"{fallen_back} fallbacks",
        ),
        Notice(
            "the trading process says that records wait", "recorder", SECONDS, waiting, "seconds"
        ),
        held(
            "the guard refuses and the operator is told",
            "failed flow",
            bool(refused) and told,
            refused,
        ),
        Notice(
            "all is in the ledger, once and in order",
            "spool",
            SECONDS,
            drained,
            "seconds",
            f"{len(ids)} rows, {lost} lost",
        ),
    ]


def _without_mlflow(place: DrillHome) -> tuple[list[Notice], list[tuple[datetime, float]]]:
    """Start a trading process anew while MLflow is away, and trade until the lease is over."""
    with away(place.folder / "mlruns" / "mlflow.db"), trading(place, LEDGER_BACK) as desk:
        troubled = desk.session.status(desk.at).troubles
        lived = [one for day in days(LEDGER_BACK, MLFLOW_BACK) for one in desk.live(day)]
        refused = place.refused("guard", MLFLOW_BACK)
    first = [one for one in lived if one.decided_at <= LEDGER_BACK + DAY]
    without = [one.decided_at for one in lived if one.fallback_reason == "lease_expired"]
    by_disk = bool(first) and all(one.weight and one.fallback_reason is None for one in first)
    told = place.alerts("lease")
    return [
        held(
            "a process started anew goes on with model and state on disk",
            "bundle, state.json",
            by_disk,
        ),
        held(
            "the trading process says that it looks at old things",
            "watch",
            bool(troubled),
            "; ".join(troubled)[:120],
        ),
        held("the guard refuses", "failed flow", bool(refused), refused[:120]),
        Notice(
            "signals are decided without the model",
            "lease",
            BOUND,
            days_until(LEDGER_BACK, without),
        ),
        Notice(
            "the operator is told that the lease ran out",
            "trading process",
            BOUND,
            days_until(LEDGER_BACK, told),
        ),
    ], [(one.decided_at, one.weight) for one in lived]


@contextmanager
def away(file: Path) -> Iterator[None]:
    """Take a database away, with what belongs to it; a folder in its place keeps everyone from making a new one."""
    put = file.parent / "away"
    put.mkdir()
    for one in [file, *file.parent.glob(f"{file.name}-*")]:
        one.rename(put / one.name)
    file.mkdir()
    try:
        yield
    finally:
        file.rmdir()
        for one in put.iterdir():
            one.rename(file.parent / one.name)
        put.rmdir()


def _stored(place: DrillHome) -> list[str]:
    stored: list[str] = place.home().ledger.predictions(BEGAN, LEDGER_BACK)["signal_id"].tolist()
    return stored


def _seconds(holds: Callable[[], bool]) -> float:
    """Return after how many seconds of the wall clock something holds; NaN when it does not within ``SECONDS``."""
    started = time.monotonic()
    while time.monotonic() - started < SECONDS:
        if holds():
            return round(time.monotonic() - started, 2)
        time.sleep(POLL)
    return NEVER
