"""A dead schedule is recognised by the records its flow leaves."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from factories.evidence import EARLIER
from factories.homes import LAST, pilot_home
from factories.pilot import BAR, bars_frame, conf_folder, trained_pilot_home
from steelyard.errors import FixConfiguration
from steelyard.flows.guard import guard
from steelyard.flows.settle import settle
from steelyard.flows.trade import trade
from steelyard.home import Home, home_under
from steelyard.queries.schedules import (
    TRACES,
    Plan,
    Trace,
    deep_search_trials,
    next_runs,
    plans,
    schedule_status,
    schedules,
)
from steelyard.settings import Schedules, Settings

GUARD = "15 22 * * *"
LEASE = timedelta(days=3)
SEEN = datetime(2026, 3, 2, 22, 20, tzinfo=UTC)  # a Monday
DAY = datetime(2020, 10, 1, tzinfo=UTC)


def rows(stores: Home, at: datetime) -> dict[str, tuple[str | None, str | None]]:
    """Last run of each schedule, and since when it is dead."""
    state = stores.journal.state()
    assert state is not None
    statuses = schedules(stores, state, at)
    return {
        row["name"]: (row["last_seen"], row["dead_since"])
        for row in (schedule.to_dict() for schedule in statuses)
    }


def plan(cron: str, timezone: str = "UTC") -> Plan:
    return Plan("guard", cron, timezone)


@pytest.mark.parametrize(
    ("cron", "expected", "late"),
    [
        pytest.param(
            GUARD,
            "2026-03-03T22:15:00+00:00",
            timedelta(days=3),
            id="daily: the lease is the longer",
        ),
        pytest.param(
            "0 23 * * sat", "2026-03-07T23:00:00+00:00", timedelta(days=14), id="weekly: two weeks"
        ),
        pytest.param(
            "0 6 1 * *", "2026-04-01T06:00:00+00:00", timedelta(days=60), id="monthly: two Aprils"
        ),
    ],
)
def test_a_schedule_is_dead_once_two_intervals_and_the_lease_have_passed(
    cron: str, expected: str, late: timedelta
) -> None:
    """One second more than that after the missed run."""
    limit = datetime.fromisoformat(expected) + late
    quiet, dead = (
        schedule_status(plan(cron), Trace(SEEN, SEEN), at, LEASE).to_dict()
        for at in (limit, limit + timedelta(seconds=1))
    )

    assert (quiet["expected_by"], quiet["dead_since"]) == (expected, None)
    assert (dead["last_seen"], dead["dead_since"]) == (SEEN.isoformat(), expected)


@pytest.mark.parametrize(
    "trace",
    [
        pytest.param(Trace(), id="a flow nobody ever ran"),
        pytest.param(Trace(SEEN), id="a flow that owes nothing"),
        pytest.param(Trace(SEEN, SEEN, timedelta(days=900)), id="a flow that may be quiet"),
    ],
)
def test_flows_without_due_runs_never_count_as_dead(trace: Trace) -> None:
    """None of these counts as dead, even two years later."""
    later = SEEN + timedelta(days=730)

    assert schedule_status(plan(GUARD), trace, later, LEASE).dead_since is None


def test_runs_are_expected_in_the_zone_of_the_settings() -> None:
    """10:15 in New York, before and after the change of clocks; a run due now counts as past."""
    before = datetime(2026, 3, 7, 3, 15, tzinfo=UTC)

    assert next_runs(plan(GUARD, "America/New_York"), before) == (
        before + timedelta(days=1),
        before + timedelta(days=2, hours=-1),
    )


def test_times_that_are_no_cron_are_one_clear_line() -> None:
    """The settings accept any five fields; planning the runs names the bad one."""
    with pytest.raises(
        FixConfiguration, match=r"conf/up.yaml: schedules.guard: '99 9 \* \* \*' is not cron"
    ):
        next_runs(plan("99 9 * * *"), SEEN)


NEW_YORK = {"calendar": "XNYS", "timezone": "America/New_York"}


@pytest.mark.parametrize(
    ("source", "cron", "zone"),
    [
        ({"bar_size": "1D", "calendar": "XNYS"}, "15 21 * * 1-5", "UTC"),
        ({"bar_size": "1D", **NEW_YORK}, "15 16 * * 1-5", "America/New_York"),
        ({"bar_size": "1D", "calendar": "24/7"}, "15 0 * * *", "UTC"),
        ({"bar_size": "1D", "calendar": "XSAU"}, "15 12 * * 1,2,3,4,7", "UTC"),
        ({"bar_size": "1h", "calendar": "24/7"}, "1 * * * *", "UTC"),
        ({"bar_size": "4h", "calendar": "24/7", "delay": "20s"}, "0 */4 * * *", "UTC"),
        ({"bar_size": "15min", **NEW_YORK}, "*/15 9-16 * * 1-5", "America/New_York"),
        ({"bar_size": "1min", "calendar": "24/7"}, "* * * * *", "UTC"),
        ({"bar_size": "auto", "calendar": "24/7"}, "1 * * * *", "UTC"),
    ],
    ids=lambda value: " ".join(value.values()) if isinstance(value, dict) else None,
)
def test_bars_are_traded_when_their_source_has_them(
    tmp_path: Path, source: dict[str, str], cron: str, zone: str
) -> None:
    """Cron follows size, calendar and delay; a size that is not known yet is looked for hourly."""
    settings = Settings.model_validate({"source": {"kind": "files", **source}})
    bar = plans(home_under(settings, tmp_path))[0]

    assert (bar.name, bar.cron, bar.timezone) == ("bar", cron, zone)


def test_parts_with_times_of_their_own_take_the_place_of_bar(tmp_path: Path) -> None:
    """A home from before bar keeps its times, also those it left as they were delivered."""
    theirs = Settings.model_validate({"up": {"schedules": {"trade": "0 14 * * *"}}})
    names = {plan.name: plan.cron for plan in plans(home_under(theirs, tmp_path))}

    assert list(names)[:3] == ["collect", "trade", "settle"]
    assert [names[name] for name in list(names)[:3]] == ["30 21 * * *", "0 14 * * *", "0 22 * * *"]


def test_every_schedule_has_a_trace() -> None:
    """Every schedule of conf/up.yaml in order; the quarterly search is recognised by its trials."""
    assert list(TRACES) == list(Schedules.model_fields)
    assert deep_search_trials() == 300


def test_a_home_in_use_has_no_dead_schedule(tmp_path: Path, empty_mlflow: Path) -> None:
    """Guard, weight and training are seen in the registry; later all are dead."""
    pilot = pilot_home(tmp_path, empty_mlflow)
    guard.fn(LAST, str(tmp_path))
    alive, dead = rows(pilot, LAST), rows(pilot, LAST + timedelta(days=60))

    assert alive["guard"] == (LAST.isoformat(), None)
    assert alive["train"][0] == EARLIER.isoformat()
    assert dead["guard"][1] == "2025-03-02T22:15:00+00:00"
    assert dead["train"][1] == "2025-01-04T23:00:00+00:00"
    assert dead["weight"][1] == "2025-01-19T22:30:00+00:00"
    assert [dead[name] for name in ("bar", "drift", "deep_search", "review")] == [(None, None)] * 4


def test_trading_is_due_only_where_there_was_a_signal(tmp_path: Path, empty_mlflow: Path) -> None:
    """No signals, nothing due; an unprocessed signal makes it due. A simulated source ends."""
    stores, bars = trained_pilot_home(tmp_path, empty_mlflow), bars_frame()

    def close(day: datetime) -> pd.DataFrame:
        return bars[(bars["timestamp"] + BAR <= pd.Timestamp(day)).to_numpy()]

    places = (str(tmp_path), str(conf_folder(tmp_path)))
    stores.lake.append(close(DAY), BAR)
    settle.fn(DAY, *places)
    trade.fn(DAY, *places)
    assert rows(stores, DAY + timedelta(days=40))["bar"][1] is None
    stores.lake.append(close(DAY + timedelta(days=5)), BAR)

    seen, dead_since = rows(stores, DAY + timedelta(days=40))["bar"]
    assert seen is not None
    assert str(dead_since).startswith("2020-10-0")


def test_status_says_since_when_a_schedule_is_dead(
    tmp_path: Path, empty_mlflow: Path, command: Callable[..., tuple[int, str, str]]
) -> None:
    """Status has one row per schedule."""
    pilot_home(tmp_path, empty_mlflow)
    _, out, _ = command(
        "status", "--home", tmp_path, "--as-of", (LAST + timedelta(days=60)).isoformat()
    )

    assert "Schedules" in out
    assert "dead since 2025-03-02" in out
    assert "deep_search" in out
