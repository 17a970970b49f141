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
from steelyard.home import Home
from steelyard.queries.schedules import (
    TRACES,
    Trace,
    deep_search_trials,
    next_runs,
    schedule_status,
    schedules,
)
from steelyard.settings import Schedules, UpSettings

UP = UpSettings()
LEASE = timedelta(days=3)
SEEN = datetime(2026, 3, 2, 22, 20, tzinfo=UTC)  # a Monday
DAY = datetime(2020, 10, 1, tzinfo=UTC)


def rows(stores: Home, at: datetime) -> dict[str, tuple[str | None, str | None]]:
    """Last run of each schedule, and since when it is dead."""
    state = stores.journal.state()
    assert state is not None
    statuses = schedules(stores, state, stores.journal.entries(), at)
    return {
        row["name"]: (row["last_seen"], row["dead_since"])
        for row in (schedule.to_dict() for schedule in statuses)
    }


@pytest.mark.parametrize(
    ("name", "expected", "late"),
    [
        pytest.param(
            "guard",
            "2026-03-03T22:15:00+00:00",
            timedelta(days=3),
            id="daily: the lease is the longer",
        ),
        pytest.param(
            "train", "2026-03-07T23:00:00+00:00", timedelta(days=14), id="weekly: two weeks"
        ),
        pytest.param(
            "review", "2026-04-01T06:00:00+00:00", timedelta(days=60), id="monthly: two Aprils"
        ),
    ],
)
def test_a_schedule_is_dead_once_two_intervals_and_the_lease_have_passed(
    name: str, expected: str, late: timedelta
) -> None:
    """One second more than that after the missed run."""
    limit = datetime.fromisoformat(expected) + late
    quiet, dead = (
        schedule_status(name, UP, Trace(SEEN, SEEN), at, LEASE).to_dict()
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
    assert schedule_status("guard", UP, trace, SEEN + timedelta(days=730), LEASE).dead_since is None


def test_runs_are_expected_in_the_zone_of_the_settings() -> None:
    """10:15 in New York, before and after the change of clocks; a run due now counts as past."""
    up = UpSettings(timezone="America/New_York")
    before = datetime(2026, 3, 7, 3, 15, tzinfo=UTC)

    assert next_runs(up, "guard", before) == (
        before + timedelta(days=1),
        before + timedelta(days=2, hours=-1),
    )


def test_times_that_are_no_cron_are_one_clear_line() -> None:
    """The settings accept any five fields; planning the runs names the bad one."""
    up = UpSettings(schedules=Schedules(guard="99 9 * * *"))

    with pytest.raises(
        FixConfiguration, match=r"conf/up.yaml: schedules.guard: '99 9 \* \* \*' is not cron"
    ):
        next_runs(up, "guard", SEEN)


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
    assert [dead[name] for name in ("collect", "trade", "drift", "deep_search", "review")] == [
        (None, None)
    ] * 5


def test_settle_and_trade_are_due_only_where_there_was_a_signal(
    tmp_path: Path, empty_mlflow: Path
) -> None:
    """No signals, nothing due; an unprocessed signal makes them due."""
    stores, bars = trained_pilot_home(tmp_path, empty_mlflow), bars_frame()

    def close(day: datetime) -> pd.DataFrame:
        return bars[(bars["timestamp"] + BAR <= pd.Timestamp(day)).to_numpy()]

    places = (str(tmp_path), str(conf_folder(tmp_path)))
    stores.lake.append(close(DAY), BAR)
    settle.fn(DAY, *places)
    trade.fn(DAY, *places)
    assert rows(stores, DAY + timedelta(days=40))["settle"][1] is None
    stores.lake.append(close(DAY + timedelta(days=5)), BAR)

    listed = rows(stores, DAY + timedelta(days=40))
    assert listed["settle"][0] is not None
    assert str(listed["settle"][1]).startswith("2020-10-0")
    assert listed["collect"] == ("2020-10-06T00:00:00+00:00", None)  # a simulated source ends


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
