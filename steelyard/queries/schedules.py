"""Since when a schedule is dead, judged by the records its flow leaves.

A schedule is dead if the run due after its last record is late by more than two intervals and by
more than the lease. A flow without any record, or with nothing due, is never called dead.
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
from steelyard.settings import UpSettings, declared_deployments
from steelyard.weight.decision import Entry
from steelyard.weight.ladder import period_end
from steelyard.weight.state import State

INTERVALS = 2


@dataclass(frozen=True, slots=True)
class Trace:
    """Records a flow left.

    Attributes:
        seen: Time of the last record (UTC); None if there is none.
        due: Time after which the next record is due (UTC); None if nothing is due.
        patience: Time such a flow may be quiet without a fault.
    """

    seen: datetime | None = None
    due: datetime | None = None
    patience: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class Records:
    """Where traces are read.

    Attributes:
        home: Opened home.
        state: State in force.
        entries: Every journal entry, in order.
        as_of: Time of the check (UTC).
    """

    home: Home
    state: State
    entries: Sequence[Entry]
    as_of: datetime


def schedules(
    home: Home, state: State, entries: Sequence[Entry], as_of: datetime
) -> list[dict[str, Any]]:
    """Return last record, expected run and death of each schedule of ``conf/up.yaml``.

    Args:
        home: Opened home.
        state: State in force.
        entries: Every journal entry, in order.
        as_of: Check as of this time (UTC).

    Raises:
        FixConfiguration: If one of the times is not cron.
    """
    records, up = Records(home, state, entries, as_of), home.settings.up
    lease = timedelta(days=home.settings.weight.lease_days)
    return [standing(name, up, trace(records), as_of, lease) for name, trace in TRACES.items()]


def standing(
    name: str, up: UpSettings, trace: Trace, as_of: datetime, lease: timedelta
) -> dict[str, Any]:
    """Return one schedule as plain JSON values.

    Args:
        name: Name in ``conf/up.yaml``.
        up: Cron lines and time zone.
        trace: Records of its flow.
        as_of: Check as of this time (UTC).
        lease: Length of the lease.

    Raises:
        FixConfiguration: If the line is not cron.
    """
    row = {"name": name, "cron": getattr(up.schedules, name), "last_seen": _text(trace.seen)}
    if trace.due is None:
        return row | {"expected_by": None, "dead_since": None}
    expected, after = next_runs(up, name, trace.due)
    dead = as_of - expected > max(INTERVALS * (after - expected), lease, trace.patience)
    return row | {"expected_by": _text(expected), "dead_since": _text(expected) if dead else None}


def next_runs(up: UpSettings, name: str, moment: datetime) -> tuple[datetime, datetime]:
    """Return the next two runs Prefect plans after ``moment``, in UTC.

    Args:
        up: Cron lines and time zone.
        name: Name in ``conf/up.yaml``.
        moment: Runs at this time are past (UTC).

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


def _collect(records: Records) -> Trace:
    """Return the close of the last bar; only files have runs due, and exchanges close for days."""
    lake, source = records.home.lake, records.home.settings.source
    try:
        last = lake.read(until=pd.Timestamp(records.as_of))["timestamp"].max() + lake.bar_size
    except CollectMoreData:
        return Trace()
    if pd.isna(last):
        return Trace()
    seen = last.to_pydatetime()
    patience = timedelta(0) if source.calendar == "24/7" else QUIET.to_pytimedelta()
    return Trace(seen, seen if source.kind == "files" else None, patience)


def _trade(records: Records) -> Trace:
    """Return the last order or veto; the next is due from the first signal after it."""
    seen = _latest(records.home.ledger.trades()["submitted_at"])
    return Trace(seen, None if seen is None else _first_signal(records, seen))


def _settle(records: Records) -> Trace:
    """Return the last prediction or outcome; the next is due from the first signal without one."""
    known = records.home.ledger.predictions(_since(records), records.as_of)
    seen = _latest(pd.concat([known["decided_at"], known["settled_at"]]))
    return Trace(
        seen, None if seen is None else _first_signal(records, _since(records), known["signal_id"])
    )


def _guard(records: Records) -> Trace:
    """Return the last renewal of the lease."""
    renewed = records.state.lease_until - timedelta(days=records.home.settings.weight.lease_days)
    return Trace(renewed, renewed) if renewed >= records.state.began else Trace()


def _weight(records: Records) -> Trace:
    """Return the last evaluation or review; the next is due after the following period."""
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


def _drift(records: Records) -> Trace:
    """Return the last check; without a champion none is due."""
    checks = records.home.ledger.drift_checks(1)
    seen = checks[0]["as_of"] if checks else None
    return Trace(seen, seen if records.state.champion else None)


def _train(records: Records) -> Trace:
    return _training(records, 0)


def _deep_search(records: Records) -> Trace:
    return _training(records, deep_search_trials())


def deep_search_trials() -> int:
    """Return the trials of the quarterly search in ``prefect.yaml``; as many mark a deep search."""
    slugs = {entry["schedules"][0]["slug"]: entry for entry in declared_deployments()}
    return int(slugs["deep_search"]["parameters"]["request"]["trials"])


def _training(records: Records, trials: int) -> Trace:
    """Return the last training with at least this many trials."""
    versions = records.home.registry.versions()
    times = [v.as_of for v in versions if v.metrics.get("trials", 0) >= trials]
    seen = max(times, default=None)
    return Trace(seen, seen)


def _review(records: Records) -> Trace:
    """Return the end of the last period with a report."""
    names = sorted(
        file.stem for file in (records.home.state_folder / "reports").glob("????-??-??.html")
    )
    if not names:
        return Trace()
    ended = datetime.fromisoformat(names[-1]).replace(tzinfo=UTC)
    return Trace(ended, ended + timedelta(days=records.home.settings.weight.evaluation_days))


TRACES: dict[str, Callable[[Records], Trace]] = {
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


def _since(records: Records) -> datetime:
    return max(
        records.state.began,
        records.as_of - timedelta(days=records.home.settings.weight.window_max_days),
    )


def _first_signal(records: Records, since: datetime, known: Any = ()) -> datetime | None:
    """Return the decision time of the first signal after ``since`` not in ``known``, or None."""
    proposed = signals_between(records.home, since, records.as_of)
    if proposed is None:
        return None
    new = ~proposed["signal_id"].isin(list(known)).to_numpy(dtype=bool)
    decided_at = proposed.loc[new, "decided_at"]
    return None if decided_at.empty else decided_at.min().to_pydatetime()


def _latest(moments: "pd.Series[Any]") -> datetime | None:
    return None if moments.isna().all() else moments.max().to_pydatetime()


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
