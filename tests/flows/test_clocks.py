"""A clock that is ahead: nothing is decided in the future, and no lease is for ever."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from factories.homes import LAST, pilot_home
from steelyard.errors import FixConfiguration
from steelyard.flows.common import resolve_as_of, run_clock
from steelyard.flows.guard import guard
from steelyard.flows.rollback import rollback
from steelyard.home import Home
from steelyard.queries.state import require_not_before
from steelyard.weight.policy import WeightPolicy
from steelyard.weight.rollback import roll_back
from steelyard.weight.state import initial_state
from steelyard.weight.transitions import extend_lease

Command = Callable[..., tuple[int, str, str]]
AHEAD = datetime(2099, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def pilot(tmp_path: Path, empty_mlflow: Path) -> Home:
    return pilot_home(tmp_path / "home", empty_mlflow)


@pytest.mark.parametrize("flow", ["collect", "guard", "weight", "trade", "settle", "rollback"])
def test_a_time_that_has_not_come_is_refused(command: Command, home: Path, flow: str) -> None:
    """Nothing is known then; one line names both times, and no database is made."""
    reason = ("--reason", "why") if flow == "rollback" else ()
    code, _, err = command(flow, *reason, "--home", home, "--as-of", "2099-01-01")

    assert code == 1
    assert "as of 2099-01-01 00:00 lies ahead of this machine's clock" in err
    assert not (home / "mlruns").exists()


def test_a_minute_between_two_clocks_is_no_fault() -> None:
    """A scheduled time of another machine may be that much ahead."""
    soon = datetime.now(UTC) + timedelta(seconds=50)
    assert resolve_as_of(soon) == soon
    with pytest.raises(FixConfiguration):
        resolve_as_of(soon + timedelta(minutes=1))
    assert run_clock(LAST)() == LAST
    assert abs(run_clock(None)() - datetime.now(UTC)) < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("lease", "as_of", "now", "renewed"),
    [
        pytest.param(LAST, LAST + DAY, LAST + DAY, LAST + 4 * DAY, id="extended"),
        pytest.param(LAST + 3 * DAY, LAST - DAY, LAST, LAST + 3 * DAY, id="an earlier guard again"),
        pytest.param(AHEAD, LAST, LAST, LAST + 3 * DAY, id="shortened"),
        pytest.param(LAST, AHEAD, LAST, AHEAD + 3 * DAY, id="simulated bars of the future"),
    ],
)
def test_a_lease_ends_lease_days_from_now_at_most(
    lease: datetime, as_of: datetime, now: datetime, renewed: datetime
) -> None:
    """Whatever was written before."""
    leased = initial_state("x", LAST).model_copy(update={"lease_until": lease})
    assert extend_lease(leased, WeightPolicy(), as_of, now).lease_until == renewed


def test_the_next_guard_shortens_a_lease_without_end_and_says_so(
    pilot: Home,
) -> None:
    """One guard under a clock that was ahead is repaired by one under the right one."""
    pilot.journal.renew_lease(AHEAD)
    began = datetime.now(UTC)
    guard.fn(home=str(pilot.folder))

    state = pilot.journal.state()
    assert state is not None
    assert state.lease_until <= datetime.now(UTC) + 3 * DAY
    assert state.lease_until >= began + 3 * DAY - timedelta(minutes=1)
    titles = [stored.alert.title for stored in pilot.alerts.open()]
    assert any("ends on 2099-01-01 00:00 UTC" in title for title in titles)


def test_a_decision_of_the_future_is_left_by_a_rollback(pilot: Home) -> None:
    """Every other command would be before the last decision; the rollback begins again now."""
    state = pilot.journal.state()
    assert state is not None
    pilot.journal.append(roll_back(state, "a clock that was ahead", "anna", WeightPolicy(), AHEAD))
    ahead = pilot.journal.state()
    assert ahead is not None
    with pytest.raises(FixConfiguration, match="begin again from weight 0 with steelyard rollback"):
        require_not_before(ahead, datetime.now(UTC))
    rollback.fn(reason="the clock was ahead", operator="anna", home=str(pilot.folder))
    guard.fn(home=str(pilot.folder))

    state = pilot.journal.state()
    assert state is not None
    assert max(state.as_of, state.phase_since, state.evidence_since) <= datetime.now(UTC)
    assert pilot.journal.faults() == []
