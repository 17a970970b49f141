"""Run: one long process that handles every bar of a home, without a start-up for each.

A round is the flow ``bar``, recorded if a Prefect server answers and a plain function if none does.
What it does is safe to repeat: after a crash or a pause the next round takes in what was missed.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from filelock import FileLock, Timeout
from httpx import HTTPError

from steelyard.environment import prefect_server_configured, service_manager_socket
from steelyard.errors import CollectMoreData, RestoreService
from steelyard.flows.bar import bar
from steelyard.flows.common import alert_on_failure
from steelyard.flows.waiting import waiting
from steelyard.gateways.files import private_folder
from steelyard.gateways.heartbeat import Heartbeat
from steelyard.gateways.service_manager import ServiceManager
from steelyard.home import Home, open_shared
from steelyard.ops.deployments import close_abandoned_rounds
from steelyard.ops.login import logged_in
from steelyard.queries.rhythm import rhythm
from steelyard.tasks.recording import server_answers
from steelyard.views.runs import BarRun
from steelyard.views.verdicts import verdict

BEAT_SECONDS = 5.0
FIRST_DELAY_SECONDS = 2.0
LONGEST_DELAY_SECONDS = 300.0
WITHOUT_BARS = timedelta(minutes=1)
"""Time between two rounds in a home that does not know its bars yet, or has none."""


def run(home: str, conf: str | None, say: Callable[[str], None]) -> None:
    """Handle every bar until SIGTERM or SIGINT; the round under way is finished.

    A round that fails posts an alert, and the next one follows after a delay that doubles.

    Args:
        home: Folder of all state.
        conf: Folder of the settings; None for the default.
        say: Receives one line about each round.

    Raises:
        RestoreService: If the same home is run already.
    """
    shared, delay, failures = open_shared(home, conf), FIRST_DELAY_SECONDS, 0
    manager = ServiceManager(service_manager_socket())
    heartbeat = Heartbeat(shared.shared_folder, manager.alive)
    with _alone(shared), manager, waiting.until_signalled(_beating(heartbeat)):
        _close_abandoned(shared, home)
        while not waiting.stopped:
            began = datetime.now(UTC)
            heartbeat.beat(failures=failures)
            if _handled(shared, home, conf, say):
                delay, failures = FIRST_DELAY_SECONDS, 0
                upcoming = _next_round(shared, began)
            else:
                failures += 1
                upcoming = datetime.now(UTC) + timedelta(seconds=delay)
                delay = min(2 * delay, LONGEST_DELAY_SECONDS)
            waiting.meanwhile = _beating(heartbeat, upcoming, failures)
            waiting.wait((upcoming - datetime.now(UTC)) / timedelta(seconds=1))
    say("stopped; the round under way was finished")


def _close_abandoned(shared: Home, home: str) -> None:
    """Close the rounds that a killed process left running, if a server answers."""
    if prefect_server_configured() and server_answers():
        with suppress(HTTPError), logged_in(shared.settings, Path(home)):
            close_abandoned_rounds(home)


def _handled(shared: Home, home: str, conf: str | None, say: Callable[[str], None]) -> bool:
    """Run one round and return whether it went well."""
    try:
        result = _round(shared, home, conf)
    except Exception as error:  # noqa: BLE001  # an alert is posted; the next bar is handled
        say(f"round failed: {' '.join(str(error).split()) or type(error).__name__}")
        return False
    say(verdict(result, result.as_of).words)
    return True


def _round(shared: Home, home: str, conf: str | None) -> BarRun:
    if prefect_server_configured() and server_answers():
        try:
            with logged_in(shared.settings, Path(home)):
                return bar(home=home, conf=conf)
        except HTTPError:  # the server failed, not the flow, whose faults are the project's own
            pass
    with alert_on_failure(bar, {"home": home, "conf": conf}):
        return bar.fn(home=home, conf=conf)


def _next_round(shared: Home, began: datetime) -> datetime:
    """Return when the source has the bar after the newest one that the last round could handle."""
    try:
        times = rhythm(shared) if shared.has_source else None
    except CollectMoreData:
        times = None
    following = times.next_known(began - times.delay) if times else None
    if times is None or following is None:
        return began + WITHOUT_BARS
    return (following + times.delay).to_pydatetime()


def _beating(
    heartbeat: Heartbeat, upcoming: datetime | None = None, failures: int = 0
) -> Callable[[], None]:
    """Return a function that gives a sign of life if the last one is some seconds old."""
    last = 0.0

    def beat() -> None:
        nonlocal last
        if time.monotonic() - last > BEAT_SECONDS:
            last = time.monotonic()
            heartbeat.beat(upcoming, failures)

    return beat


@contextmanager
def _alone(shared: Home) -> Iterator[None]:
    folder = private_folder(shared.shared_folder)
    try:
        with FileLock(folder / "run.lock", timeout=0):
            yield
    except Timeout as error:
        raise RestoreService(
            f"steelyard run handles {shared.folder} already; stop it first"
        ) from error
