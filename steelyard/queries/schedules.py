"""Dead schedules, recognised by the records their flows leave.

A schedule is dead if the run after its last trace is late by more than two intervals and by more
than the lease. A flow that never left a trace, or that owes nothing, is never called dead.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd

from steelyard.desk.risk import entry_ends
from steelyard.errors import CollectMoreData, FixConfiguration
from steelyard.gateways.calendars import QUIET, known_times, next_open
from steelyard.home import Home
from steelyard.queries.history import signals_between
from steelyard.settings import UpSettings, declared_deployments
from steelyard.views.lineage import ScheduleStatus
from steelyard.weight.decision import Entry
from steelyard.weight.ladder import period_end
from steelyard.weight.state import State

COMING_DAYS = 14
"""Days for which daily bars are held against the schedules; shorter bars are for two days."""
MAX_RUNS = 10_000
INTERVALS = 2
"""Missed intervals after which a schedule is dead."""


@dataclass(frozen=True, slots=True)
class Trace:
    """Records of a flow.

    Attributes:
        seen: Time of its last run (UTC); None without one.
        due: Time after which its next run is due (UTC); None if none is.
        patience: Time without a run that is normal for it.
    """

    seen: datetime | None = None
    due: datetime | None = None
    patience: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class ScheduleRecords:
    """Records the traces are read from: home, state, whole journal, and the time of the status."""

    home: Home
    state: State
    entries: Sequence[Entry]
    as_of: datetime


def schedules(
    home: Home, state: State, entries: Sequence[Entry], as_of: datetime
) -> tuple[ScheduleStatus, ...]:
    """Return the status of each schedule in ``conf/up.yaml``, in that order.

    Args:
        home: Opened home.
        state: State in force.
        entries: The whole journal, oldest first.
        as_of: Evaluate as of this time (UTC).

    Raises:
        FixConfiguration: If one of the times is not cron.
    """
    records, up = ScheduleRecords(home, state, entries, as_of), home.settings.up
    lease = timedelta(days=home.settings.weight.lease_days)
    return tuple(
        schedule_status(name, up, read_trace(records), as_of, lease)
        for name, read_trace in TRACES.items()
    )


def schedule_status(
    name: str, up: UpSettings, trace: Trace, as_of: datetime, lease: timedelta
) -> ScheduleStatus:
    """Return the last run of a schedule, and since when it is dead.

    Args:
        name: Name in ``conf/up.yaml``.
        up: Cron and time zone of the schedules.
        trace: Last trace of its flow.
        as_of: Evaluate as of this time (UTC).
        lease: Duration of the lease; a schedule is never dead sooner.

    Raises:
        FixConfiguration: If its time is not cron.
    """
    cron = getattr(up.schedules, name)
    if trace.due is None:
        return ScheduleStatus(name, cron, trace.seen, None, None)
    expected, following = next_runs(up, name, trace.due)
    patience = max(INTERVALS * (following - expected), lease, trace.patience)
    dead_since = expected if as_of - expected > patience else None
    return ScheduleStatus(name, cron, trace.seen, expected, dead_since)


def next_runs(up: UpSettings, name: str, moment: datetime) -> tuple[datetime, datetime]:
    """Return the next two runs of a schedule after a time, in UTC, as Prefect plans them.

    Args:
        up: Cron and time zone of the schedules.
        name: Name in ``conf/up.yaml``.
        moment: Time (UTC); a run at that time counts as past.

    Raises:
        FixConfiguration: If its time is not cron.
    """
    first, second = _runs(up, name, 2, moment + timedelta(seconds=1))
    return first, second


def _runs(
    up: UpSettings, name: str, count: int, since: datetime, until: datetime | None = None
) -> list[datetime]:
    """Return at most ``count`` runs of a schedule from ``since`` on, in UTC."""
    from prefect.server.schemas.schedules import CronSchedule

    try:
        planned = CronSchedule(cron=getattr(up.schedules, name), timezone=up.timezone)
    except ValueError as error:
        raise FixConfiguration(
            f"conf/up.yaml: schedules.{name}: '{getattr(up.schedules, name)}' is not cron"
        ) from error
    dates = asyncio.run(planned.get_dates(count, since, until))
    return [date.astimezone(UTC) for date in dates]


@dataclass(frozen=True, slots=True)
class ComingBar:
    """A bar to come, and whether the schedules trade it in time (times UTC).

    Attributes:
        known_at: When the bar is known.
        traded_at: First run of trade after a run of collect at or after ``known_at``; None if there
            is none before the next bars.
        entry_ends: Until when its signals can still enter.
    """

    known_at: datetime
    traded_at: datetime | None
    entry_ends: datetime

    @property
    def in_time(self) -> bool:
        """Whether its signals are traded before their entry has passed."""
        return self.traded_at is not None and self.traded_at <= self.entry_ends


def coming_bars(home: Home, as_of: datetime) -> list[ComingBar]:
    """Return the bars of the days after ``as_of``, and when the schedules trade them.

    Args:
        home: Opened home with bars.
        as_of: First time (UTC).

    Raises:
        FixConfiguration: If the times of collect or trade are not cron.
    """
    source, up, bar_size = home.settings.source.resolved(), home.settings.up, home.lake.bar_size
    days = COMING_DAYS if bar_size >= pd.Timedelta("1D") else 2
    until = as_of + timedelta(days=2 * days)
    collects, trades = (_runs(up, name, MAX_RUNS, as_of, until) for name in ("collect", "trade"))
    coming = []
    for known in known_times(
        pd.Timestamp(as_of), days, bar_size, home.lake.known_after, source.calendar, source.timezone
    ):
        known_at, opens_at = known.to_pydatetime(), next_open(source.calendar, known)
        collected = next((run for run in collects if run >= known_at), None)
        traded = next((run for run in trades if collected and run > collected), None)
        ends = entry_ends(
            known_at, opens_at.to_pydatetime(), bar_size.to_pytimedelta(), home.settings.risk
        )
        coming.append(ComingBar(known_at, traded, ends))
    return coming


def _collect(records: ScheduleRecords) -> Trace:
    """Return the close of the last bar.

    A simulated source owes nothing, exchanges close for days.
    """
    lake, source = records.home.lake, records.home.settings.source.resolved()
    try:
        last = lake.read(until=pd.Timestamp(records.as_of))["timestamp"].max() + lake.known_after
    except CollectMoreData:
        return Trace()
    if pd.isna(last):
        return Trace()
    seen, patience = (
        last.to_pydatetime(),
        timedelta(0) if source.calendar == "24/7" else QUIET.to_pytimedelta(),
    )
    is_fed = source.kind == "files" or source.is_venue
    return Trace(seen, seen if is_fed else None, patience)


def _trade(records: ScheduleRecords) -> Trace:
    """Return the last order or veto; the next run is due from the first signal after it."""
    seen = _latest(records.home.ledger.trades()["submitted_at"])
    return Trace(seen, None if seen is None else _first_signal(records, seen))


def _settle(records: ScheduleRecords) -> Trace:
    """Return the last prediction or outcome; a run is due from the first signal without either."""
    known = records.home.ledger.predictions(_since(records), records.as_of)
    seen = _latest(pd.concat([known["decided_at"], known["settled_at"]]))
    return Trace(
        seen, None if seen is None else _first_signal(records, _since(records), known["signal_id"])
    )


def _guard(records: ScheduleRecords) -> Trace:
    """Return the last renewal of the lease."""
    renewed = records.state.lease_until - timedelta(days=records.home.settings.weight.lease_days)
    return Trace(renewed, renewed) if renewed >= records.state.began else Trace()


def _weight(records: ScheduleRecords) -> Trace:
    """Return the last evaluation or review; a run is due from the end of the next period."""
    policy = records.home.settings.weight
    days = {"weight": policy.evaluation_days, "gates": policy.review_days}
    last = {
        entry.decision.kind: entry.decision
        for entry in records.entries
        if entry.decision.kind in days
    }
    if not last:
        return Trace()
    ended = {
        kind: last[kind].period_end if kind in last else period_end(records.state.began, days[kind])
        for kind in days
    }
    return Trace(
        max(decision.as_of for decision in last.values()),
        min(ended[kind] + timedelta(days=days[kind]) for kind in days),
    )


def _drift(records: ScheduleRecords) -> Trace:
    """Return the last check; without a champion none is due."""
    checks = records.home.ledger.drift_checks(1)
    seen = checks[0].as_of if checks else None
    return Trace(seen, seen if records.state.champion else None)


def _train(records: ScheduleRecords) -> Trace:
    return _training(records, 0)


def _deep_search(records: ScheduleRecords) -> Trace:
    return _training(records, deep_search_trials())


def deep_search_trials() -> int:
    """Return the trials of the quarterly search in ``prefect.yaml``; as many mark a deep search."""
    slugs = {entry["schedules"][0]["slug"]: entry for entry in declared_deployments()}
    return int(slugs["deep_search"]["parameters"]["request"]["trials"])


def _training(records: ScheduleRecords, trials: int) -> Trace:
    """Return the last training with at least ``trials`` trials."""
    versions = records.home.registry.versions()
    trained = [version.as_of for version in versions if version.metrics.get("trials", 0) >= trials]
    seen = max(trained, default=None)
    return Trace(seen, seen)


def _review(records: ScheduleRecords) -> Trace:
    """Return the end of the last period with a report."""
    names = sorted(
        file.stem for file in (records.home.state_folder / "reports").glob("????-??-??.html")
    )
    if not names:
        return Trace()
    ended = datetime.fromisoformat(names[-1]).replace(tzinfo=UTC)
    return Trace(ended, ended + timedelta(days=records.home.settings.weight.evaluation_days))


TRACES: dict[str, Callable[[ScheduleRecords], Trace]] = {
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


def _since(records: ScheduleRecords) -> datetime:
    return max(
        records.state.began,
        records.as_of - timedelta(days=records.home.settings.weight.window_max_days),
    )


def _first_signal(records: ScheduleRecords, since: datetime, known: Any = ()) -> datetime | None:
    """Return the decision time of the first signal after ``since`` not among ``known``, or None."""
    signals = signals_between(records.home, since, records.as_of)
    if signals is None:
        return None
    unknown = ~signals["signal_id"].isin(list(known)).to_numpy(dtype=bool)
    decided_at = signals.loc[unknown, "decided_at"]
    return None if decided_at.empty else decided_at.min().to_pydatetime()


def _latest(moments: "pd.Series[Any]") -> datetime | None:
    return None if moments.isna().all() else moments.max().to_pydatetime()
