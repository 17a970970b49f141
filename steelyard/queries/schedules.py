"""Since when a schedule is dead, from what its flow leaves behind; it looks and changes nothing.

A schedule counts as dead when the run its last trace made due is late by more than two of its intervals and by more than
the lease. Nothing is said of a flow that never left a trace, nor where nothing is due.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd

from steelyard.errors import CollectMoreData, FixConfiguration
from steelyard.gateways.calendars import QUIET
from steelyard.home import Home
from steelyard.queries.history import signals_between
from steelyard.settings import UpSettings
from steelyard.weight.decision import Entry
from steelyard.weight.ladder import period_end
from steelyard.weight.state import State

INTERVALS = 2
DEEP_TRIALS = 300
"""Trials from which on a training is the quarterly search, as prefect.yaml asks for it."""


@dataclass(frozen=True, slots=True)
class Trace:
    """What a flow left behind.

    Attributes:
        seen: When it was last seen to have run; None when it never was.
        due: From when on its next trace is owed; None where none is.
        patience: Time such a flow may be quiet without anything being wrong.
    """

    seen: datetime | None = None
    due: datetime | None = None
    patience: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class Look:
    """What the traces are read from, and the moment they are held against."""

    home: Home
    state: State
    entries: Sequence[Entry]
    as_of: datetime


def schedules(
    home: Home, state: State, entries: Sequence[Entry], as_of: datetime
) -> list[dict[str, Any]]:
    """Return for each schedule of ``conf/up.yaml`` when it was last seen, expected, and since when it is dead.

    Raises:
        FixConfiguration: If one of the times is not cron.
    """
    look, up, lease = (
        Look(home, state, entries, as_of),
        home.settings.up,
        timedelta(days=home.settings.weight.lease_days),
    )
    return [standing(name, up, trace(look), as_of, lease) for name, trace in TRACES.items()]


def standing(
    name: str, up: UpSettings, trace: Trace, as_of: datetime, lease: timedelta
) -> dict[str, Any]:
    """Return how a schedule stands, as plain JSON values."""
    row = {"name": name, "cron": getattr(up.schedules, name), "last_seen": _text(trace.seen)}
    if trace.due is None:
        return row | {"expected_by": None, "dead_since": None}
    expected, after = next_runs(up, name, trace.due)
    dead = as_of - expected > max(INTERVALS * (after - expected), lease, trace.patience)
    return row | {"expected_by": _text(expected), "dead_since": _text(expected) if dead else None}


def next_runs(up: UpSettings, name: str, moment: datetime) -> tuple[datetime, datetime]:
    """Return the two runs a schedule has planned next after ``moment``, UTC, as Prefect plans them.

    Raises:
        FixConfiguration: If its times are not cron.
    """
    from prefect.server.schemas.schedules import CronSchedule

    try:
        planned = CronSchedule(cron=getattr(up.schedules, name), timezone=up.timezone)
    except ValueError as error:
        raise FixConfiguration(
            f"conf/up.yaml: schedules.{name}: '{getattr(up.schedules, name)}' is not cron"
        ) from error
    first, second = asyncio.run(planned.get_dates(2, moment + timedelta(seconds=1)))
    return first.astimezone(UTC), second.astimezone(UTC)


def _collect(look: Look) -> Trace:
    """Return the close of the last bar; a source that has an end owes nothing, and exchanges close for days."""
    lake, source = look.home.lake, look.home.settings.source
    try:
        last = lake.read(until=pd.Timestamp(look.as_of))["timestamp"].max() + lake.bar_size
    except CollectMoreData:
        return Trace()
    if pd.isna(last):
        return Trace()
    seen, patience = (
        last.to_pydatetime(),
        timedelta(0) if source.calendar == "24/7" else QUIET.to_pytimedelta(),
    )
    return Trace(seen, seen if source.kind == "files" else None, patience)


def _trade(look: Look) -> Trace:
    """Return the last order or veto; the next is owed from the first signal after it."""
    seen = _latest(look.home.ledger.trades()["submitted_at"])
    return Trace(seen, None if seen is None else _first_signal(look, seen))


def _settle(look: Look) -> Trace:
    """Return the last prediction or outcome; the next is owed from the first signal without a prediction."""
    known = look.home.ledger.predictions(_since(look), look.as_of)
    seen = _latest(pd.concat([known["decided_at"], known["settled_at"]]))
    return Trace(
        seen, None if seen is None else _first_signal(look, _since(look), known["signal_id"])
    )


def _guard(look: Look) -> Trace:
    """Return when the lease was last renewed."""
    renewed = look.state.lease_until - timedelta(days=look.home.settings.weight.lease_days)
    return Trace(renewed, renewed) if renewed >= look.state.began else Trace()


def _weight(look: Look) -> Trace:
    """Return the last evaluation or review; the next is owed from the end of the period after it."""
    policy = look.home.settings.weight
    days = {"weight": policy.evaluation_days, "gates": policy.review_days}
    last = {
        entry.decision.kind: entry.decision for entry in look.entries if entry.decision.kind in days
    }
    if not last:
        return Trace()
    ended = {
        kind: last[kind].period_end if kind in last else period_end(look.state.began, days[kind])
        for kind in days
    }
    return Trace(
        max(decision.as_of for decision in last.values()),
        min(ended[kind] + timedelta(days=days[kind]) for kind in days),
    )


def _drift(look: Look) -> Trace:
    """Return the last check; without a champion none is owed."""
    checks = look.home.ledger.drift_checks(1)
    seen = checks[0]["as_of"] if checks else None
    return Trace(seen, seen if look.state.champion else None)


def _train(look: Look) -> Trace:
    return _training(look, 0)


def _deep_search(look: Look) -> Trace:
    return _training(look, DEEP_TRIALS)


def _training(look: Look, trials: int) -> Trace:
    """Return the last training of so many trials or more."""
    made = [
        one.as_of for one in look.home.registry.versions() if one.metrics.get("trials", 0) >= trials
    ]
    seen = max(made, default=None)
    return Trace(seen, seen)


def _review(look: Look) -> Trace:
    """Return the end of the last period a report was kept for."""
    names = sorted(
        file.stem for file in (look.home.state_folder / "reports").glob("????-??-??.html")
    )
    if not names:
        return Trace()
    ended = datetime.fromisoformat(names[-1]).replace(tzinfo=UTC)
    return Trace(ended, ended + timedelta(days=look.home.settings.weight.evaluation_days))


TRACES: dict[str, Callable[[Look], Trace]] = {
    "collect": _collect,
    "trade": _trade,
    "settle": _settle,
    "guard": _guard,
    "weight": _weight,
    "drift": _drift,
    "train": _train,
    "deep_search": _deep_search,
    "review": _review,
}


def _since(look: Look) -> datetime:
    return max(
        look.state.began, look.as_of - timedelta(days=look.home.settings.weight.window_max_days)
    )


def _first_signal(look: Look, since: datetime, known: Any = ()) -> datetime | None:
    """Return when the first signal after ``since`` that is not among ``known`` was decided; None without one."""
    found = signals_between(look.home, since, look.as_of)
    if found is None:
        return None
    return _earliest(
        found.loc[~found["signal_id"].isin(list(known)).to_numpy(dtype=bool), "decided_at"]
    )


def _latest(moments: "pd.Series[Any]") -> datetime | None:
    return None if moments.isna().all() else moments.max().to_pydatetime()


def _earliest(moments: "pd.Series[Any]") -> datetime | None:
    return None if moments.empty else moments.min().to_pydatetime()


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
