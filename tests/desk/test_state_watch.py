"""The state in a trading process: cached, current within its interval, weight 0 if not trusted."""

import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from factories.evidence import state
from factories.homes import LAST, pilot_home
from factories.registry import LINEAGE
from steelyard.desk.state_watch import StateWatch
from steelyard.errors import RestoreService
from steelyard.flows.rollback import rollback
from steelyard.gateways.brake import Brake
from steelyard.home import Home
from steelyard.queries.status import status
from steelyard.trading import open_watch
from steelyard.weight.state import State

QUICK = 0.1


@pytest.fixture
def pilot(tmp_path: Path, empty_mlflow: Path) -> Home:
    return pilot_home(tmp_path / "home", empty_mlflow)


@pytest.fixture
def watch(pilot: Home) -> Iterator[StateWatch]:
    """A state watch as a trading process starts it, polling ten times a second."""
    template = open_watch(pilot.folder)
    running = StateWatch(template._read_state, template._brake, QUICK).start()
    yield running
    running.stop()


def becomes(watch: StateWatch, weight: float, seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and watch.weight(LAST) != weight:
        time.sleep(0.01)
    return watch.weight(LAST) == weight


def test_a_rollback_reaches_a_running_trading_process(pilot: Home, watch: StateWatch) -> None:
    """Weight 15 % before, 0 within one interval; the default interval is five seconds."""
    assert watch.weight(LAST) == 0.15
    rollback.fn(reason="now", operator="anna", as_of=LAST, home=str(pilot.folder))

    assert becomes(watch, 0.0)
    deadline = time.monotonic() + 10
    while watch.terms(LAST)[2] == "brake" and time.monotonic() < deadline:
        assert watch.weight(LAST) == 0.0
        time.sleep(0.01)
    assert pilot.settings.services.refresh_seconds == 5.0
    assert watch.state is not None
    assert watch.state.phase == "shadow"


def test_a_pulled_brake_is_seen_while_the_registry_hangs(pilot: Home, tmp_path: Path) -> None:
    """While MLflow hangs, the brake file is read within the interval."""
    hanging = threading.Event()
    calls = iter(range(1000))

    def read() -> tuple[State | None, str | None]:
        if next(calls):
            hanging.wait(30)
        return pilot.journal.verified()

    watch = StateWatch(read, pilot.brake, QUICK).start()
    time.sleep(3 * QUICK)
    pilot.brake.pull("anna", "now")

    assert becomes(watch, 0.0)
    assert watch.terms(LAST)[2] == "brake"
    pilot.brake.release()
    time.sleep(3 * QUICK)
    assert watch.weight(LAST) == 0.0  # until the state was read again
    hanging.set()
    assert becomes(watch, 0.15)
    watch.stop()


def test_the_weight_is_0_once_the_lease_ran_out(watch: StateWatch) -> None:
    """With a dead scheduler the weight ends with the lease, without any write."""
    assert watch.weight(LAST + timedelta(days=3)) == 0.15
    assert watch.weight(LAST + timedelta(days=3, seconds=1)) == 0.0
    assert watch.terms(LAST + timedelta(days=4))[1:] == (0.0, "lease_expired")
    assert watch.terms(LAST)[1:] == (0.15, None)


def test_a_lease_that_no_guard_can_have_set_is_not_believed(
    pilot: Home,
) -> None:
    """Renewed under a clock that was ahead, it would leave the model in charge for ever."""
    pilot.journal.renew_lease(datetime(2099, 1, 4, tzinfo=UTC))
    watch = open_watch(pilot.folder)
    watch.refresh()

    assert watch.terms()[1:] == (0.0, "lease_too_long")
    shown = status(pilot, datetime.now(UTC)).current
    assert shown is not None
    assert shown.weight_in_force == 0.0
    [stored] = pilot.alerts.open()
    assert stored.alert.title.startswith("lease too long: signal-confidence")


def test_a_state_changed_by_hand_is_not_believed(pilot: Home, watch: StateWatch) -> None:
    """After an edit to 70 % trading uses the journal's weight and reports the fault."""
    client = pilot.registry._tracking.client
    document = json.loads(client.get_registered_model(LINEAGE).tags["steelyard.state"])
    forged = json.dumps(document | {"weight": 0.7, "lease_until": "2099-01-01T00:00:00Z"})
    client.set_registered_model_tag(LINEAGE, "steelyard.state", forged)
    deadline = time.monotonic() + 10
    while watch.trouble is None and time.monotonic() < deadline:
        time.sleep(0.05)

    assert watch.trouble is not None
    assert "changed by hand" in watch.trouble
    assert watch.state is not None
    assert watch.state.weight == 0.15
    assert watch.state.lease_until < LAST


def test_before_the_first_look_and_without_a_lineage_the_weight_is_0(tmp_path: Path) -> None:
    """The weight is 0 before the first poll and without a lineage."""
    empty = StateWatch(lambda: (None, None), Brake(tmp_path), 5.0)

    assert (empty.terms(LAST), empty.trouble) == ((None, 0.0, "no_state"), "state not read yet")
    empty.refresh()
    assert (empty.weight(LAST), empty.trouble) == (0.0, None)


def test_whatever_a_look_raises_the_process_goes_on(tmp_path: Path) -> None:
    """Unexpected exceptions included."""

    def broken() -> tuple[State | None, str | None]:
        raise ZeroDivisionError("odd")

    watch = StateWatch(broken, Brake(tmp_path), 5.0)
    watch.refresh()

    assert watch.trouble == "ZeroDivisionError: odd"
    assert watch.weight(LAST) == 0.0


def test_a_dead_scheduler_is_told_by_the_trading_process(pilot: Home) -> None:
    """An expired lease is reported once, however often the state is polled."""
    watch = open_watch(pilot.folder)
    for _ in range(4):
        watch.refresh()

    [alert] = pilot.alerts.open()
    assert alert.alert.title.startswith(
        "lease expired: signal-confidence: trading has used weight 0 since 2025-03-05"
    )


def test_a_lease_that_ran_out_is_told_while_mlflow_is_away(tmp_path: Path) -> None:
    """With MLflow unreachable and an outdated state the alert is sent."""
    notified: list[State] = []

    def unreachable() -> tuple[State | None, str | None]:
        raise RestoreService("away")

    cached = state("pilot", 0.15)
    watch = StateWatch(
        unreachable,
        Brake(tmp_path),
        QUICK,
        initial=cached,
        notify=lambda current, _: notified.append(current),
    )
    watch.refresh()

    assert notified == [cached]
    assert watch.trouble == "RestoreService: away"
