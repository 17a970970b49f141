"""Dead schedules, recognised by the records their flows leave.

A schedule is dead if the run after its last trace is late by more than two intervals and by more
than the lease. A flow that never left a trace, or that owes nothing, is never called dead.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, cast

import pandas as pd

from steelyard.desk.risk import entry_ends
from steelyard.errors import CollectMoreData, FixConfiguration
from steelyard.gateways.calendars import QUIET, next_open, zone_of
from steelyard.gateways.registry import Version
from steelyard.home import Home
from steelyard.queries.history import recent_signals
from steelyard.queries.rhythm import DAY, rhythm
from steelyard.settings import declared_deployments, schedule_of
from steelyard.views.lineage import ScheduleStatus
from steelyard.weight.ladder import period_end
from steelyard.weight.state import State

COMING_DAYS = 14
"""Days for which daily bars are held against the schedules; shorter bars are for two days."""
AUTO = "auto"
HOURLY = "1 * * * *"
"""Times of bars whose size is not known yet."""
PER_BAR = ("bar", "collect", "trade")
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
    """Records the traces are read from: home, state, trainings, and the time of the status."""

    home: Home
    state: State
    versions: Sequence[Version]
    as_of: datetime


def schedules(home: Home, state: State, as_of: datetime) -> tuple[ScheduleStatus, ...]:
    """Return the status of each schedule of the home, in the order of ``conf/up.yaml``.

    Args:
        home: Opened home.
        state: State in force.
        as_of: Evaluate as of this time (UTC).

    Raises:
        FixConfiguration: If one of the times is not cron.
    """
    records = ScheduleRecords(home, state, home.registry.versions(), as_of)
    lease = timedelta(days=home.settings.weight.lease_days)
    return tuple(
        schedule_status(plan, TRACES[plan.name](records), as_of, lease) for plan in plans(home)
    )


@dataclass(frozen=True, slots=True)
class Plan:
    """Times at which a deployment runs: its name in ``conf/up.yaml``, cron and time zone."""

    name: str
    cron: str
    timezone: str


def plans(home: Home) -> tuple[Plan, ...]:
    """Return the schedules of a home, in the order of ``conf/up.yaml``.

    Args:
        home: Opened home, or what its lineages share.

    Raises:
        FixConfiguration: If the calendar of the bars is unknown.
    """
    up, planned = home.settings.up, list[Plan]()
    for name in TRACES:
        cron = getattr(up.schedules, name)
        if cron is None or (name == "bar" and up.run):
            continue
        planned.append(_plan_of_bars(home) if cron == AUTO else Plan(name, cron, up.timezone))
    return tuple(planned)


@dataclass(frozen=True, slots=True)
class PlannedDeployment:
    """A deployment of a home.

    Attributes:
        entry: What ``prefect.yaml`` declares.
        home: Lineage it acts on; of one that acts on all the first.
        plan: Its times; None: by hand.
    """

    entry: Mapping[str, Any]
    home: Home
    plan: Plan | None

    @property
    def full_name(self) -> str:
        """Names of flow and deployment."""
        return f"{self.entry['entrypoint'].rpartition('.')[2]}/{self.entry['name']}"

    @property
    def lineage(self) -> str | None:
        """Lineage of several that it acts on; None if on all, or on the only one."""
        return cast("str | None", self.entry["parameters"].get("lineage"))


def planned_deployments(lineages: Sequence[Home]) -> list[PlannedDeployment]:
    """Return the deployments of a home.

    Args:
        lineages: All lineages of the home.
    """
    by_name = {home.lineage: home for home in lineages}
    times = {name: {plan.name: plan for plan in plans(home)} for name, home in by_name.items()}
    planned = []
    for entry in declared_deployments([name for name in by_name if name]):
        name = entry["parameters"].get("lineage", lineages[0].lineage)
        planned.append(PlannedDeployment(entry, by_name[name], times[name].get(schedule_of(entry))))
    return planned


def _plan_of_bars(home: Home) -> Plan:
    """Return the times at which the source has a new bar, rounded down to the minute.

    Cron knows no holidays, and half days close at their usual time (docs/decisions/0025); a run
    without a new bar trades nothing.
    """
    try:
        times = rhythm(home)
    except CollectMoreData:
        return Plan("bar", HOURLY, "UTC")
    days = 366 if times.bar_size >= DAY else COMING_DAYS
    zone = times.timezone if times.bar_size >= DAY else zone_of(times.calendar)
    known = pd.DatetimeIndex(times.known(datetime.now(UTC), days)) + times.delay
    local = known.tz_convert(zone).floor("min")
    if local.empty:
        return Plan("bar", HOURLY, "UTC")
    if times.bar_size >= DAY:  # the clocks change in the night of a few of them
        usual = (local - local.normalize()) == (local - local.normalize()).to_series().mode()[0]
        local = local[usual]
    fields = (
        _field(local.minute, 60),
        _field(local.hour, 24),
        "*",
        "*",
        _field(local.dayofweek + 1, 7, first=1),
    )
    return Plan("bar", " ".join(fields), zone)


def _field(values: pd.Index, count: int, first: int = 0) -> str:
    """Return values of one field of cron, as short as it can be said."""
    chosen = sorted(set(values))
    if chosen == list(range(first, first + count)):
        return "*"
    steps = {later - earlier for earlier, later in pairwise(chosen)}
    if len(chosen) * next(iter(steps), 0) == count and len(steps) == 1 and chosen[0] == first:
        return f"*/{steps.pop()}"
    if steps == {1}:
        return f"{chosen[0]}-{chosen[-1]}"
    return ",".join(map(str, chosen))


def schedule_status(plan: Plan, trace: Trace, as_of: datetime, lease: timedelta) -> ScheduleStatus:
    """Return the last run of a schedule, and since when it is dead.

    Args:
        plan: Cron and time zone of the schedule.
        trace: Last trace of its flow.
        as_of: Evaluate as of this time (UTC).
        lease: Duration of the lease; a schedule is never dead sooner.

    Raises:
        FixConfiguration: If its time is not cron.
    """
    if trace.due is None:
        return ScheduleStatus(plan.name, plan.cron, trace.seen, None, None)
    expected, following = next_runs(plan, trace.due)
    patience = max(INTERVALS * (following - expected), lease, trace.patience)
    dead_since = expected if as_of - expected > patience else None
    return ScheduleStatus(plan.name, plan.cron, trace.seen, expected, dead_since)


def next_runs(plan: Plan, moment: datetime) -> tuple[datetime, datetime]:
    """Return the next two runs of a schedule after a time, in UTC, as Prefect plans them.

    Args:
        plan: Cron and time zone of the schedule.
        moment: Time (UTC); a run at that time counts as past.

    Raises:
        FixConfiguration: If its time is not cron.
    """
    first, second = _runs(plan, 2, moment + timedelta(seconds=1))
    return first, second


def _runs(plan: Plan, count: int, since: datetime, until: datetime | None = None) -> list[datetime]:
    """Return at most ``count`` runs of a schedule from ``since`` on, in UTC."""
    from prefect.server.schemas.schedules import CronSchedule

    try:
        planned = CronSchedule(cron=plan.cron, timezone=plan.timezone)
    except ValueError as error:
        raise FixConfiguration(
            f"conf/up.yaml: schedules.{plan.name}: '{plan.cron}' is not cron"
        ) from error
    dates = asyncio.run(planned.get_dates(count, since, until))
    # Prefect's own type of times loses its zone in arithmetic.
    return [datetime.fromtimestamp(date.timestamp(), UTC) for date in dates]


def planned_runs(plan: Plan, since: datetime, until: datetime) -> list[datetime]:
    """Return the runs of a schedule in a span of time, in UTC.

    Args:
        plan: Cron and time zone of the schedule.
        since: First time (UTC).
        until: Last time (UTC).

    Raises:
        FixConfiguration: If its time is not cron.
    """
    return _runs(plan, MAX_RUNS, since, until)


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
    times, risk = rhythm(home), home.settings.risk
    days = COMING_DAYS if times.bar_size >= DAY else 2
    traded_after = _trading_times(home, as_of, as_of + timedelta(days=2 * days), times.delay)
    coming = []
    for known in times.known(as_of, days):
        known_at = known.to_pydatetime()
        opens_at = next_open(times.calendar, known).to_pydatetime()
        ends = entry_ends(known_at, opens_at, times.bar_size.to_pytimedelta(), risk)
        coming.append(ComingBar(known_at, traded_after(known_at), ends))
    return coming


def _trading_times(
    home: Home, since: datetime, until: datetime, delay: pd.Timedelta
) -> Callable[[datetime], datetime | None]:
    """Return a function from when a bar is known to when it is traded; None: not by ``until``."""
    runs = {
        plan.name: planned_runs(plan, since, until) for plan in plans(home) if plan.name in PER_BAR
    }

    def traded(known_at: datetime) -> datetime | None:
        at_once = known_at + delay if home.settings.up.run else None
        whole = next((run for run in runs.get("bar", ()) if run >= known_at), at_once)
        collected = next((run for run in runs.get("collect", ()) if run >= known_at), None)
        apart = next((run for run in runs.get("trade", ()) if collected and run > collected), None)
        return min(filter(None, (whole, apart)), default=None)

    return traded


def _bar(records: ScheduleRecords) -> Trace:
    """Return the trace of its three parts whose next run is due first."""
    traces = [_collect(records), _trade(records), _settle(records)]
    owing = [trace for trace in traces if trace.due is not None]
    return min(owing, key=lambda trace: cast(datetime, trace.due), default=traces[0])


def _collect(records: ScheduleRecords) -> Trace:
    """Return the close of the last bar.

    A simulated source owes nothing, exchanges close for days.
    """
    lake, source = records.home.lake, records.home.settings.source.resolved()
    as_of = pd.Timestamp(records.as_of)
    try:
        last = max(lake.newest().values(), default=pd.NaT) + lake.known_after
        if last > as_of:  # the status is of a time in the past
            last = lake.read(until=as_of)["timestamp"].max() + lake.known_after
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
    seen = _latest(records.home.ledger.newest_trades(records.as_of)["submitted_at"])
    return Trace(seen, None if seen is None else _first_signal(records, seen))


def _settle(records: ScheduleRecords) -> Trace:
    """Return the last prediction or outcome; a run is due from the first signal without either."""
    columns = ("signal_id", "decided_at", "settled_at")
    known = records.home.ledger.predictions(_since(records), records.as_of, columns)
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
    latest = {kind: records.home.journal.latest(kind) for kind in days}
    last = {kind: entry.decision for kind, entry in latest.items() if entry is not None}
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
    declared = {schedule_of(entry): entry for entry in declared_deployments()}
    return int(declared["deep_search"]["parameters"]["request"]["trials"])


def _training(records: ScheduleRecords, trials: int) -> Trace:
    """Return the last training with at least ``trials`` trials."""
    trained = [
        version.as_of for version in records.versions if version.metrics.get("trials", 0) >= trials
    ]
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
    "bar": _bar,
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
    signals = recent_signals(records.home, since, records.as_of)
    if signals is None:
        return None
    unknown = ~signals["signal_id"].isin(list(known)).to_numpy(dtype=bool)
    decided_at = signals.loc[unknown, "decided_at"]
    return None if decided_at.empty else decided_at.min().to_pydatetime()


def _latest(moments: "pd.Series[Any]") -> datetime | None:
    return None if moments.isna().all() else moments.max().to_pydatetime()
