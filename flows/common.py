"""What every flow shares: the time it evaluates, and the alert if it fails."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from prefect import Flow, State
from prefect.client.schemas.objects import FlowRun
from prefect.runtime import flow_run

from steelyard.desk.state_watch import Clock, system_clock
from steelyard.errors import FixConfiguration, SteelyardError
from steelyard.home import Home, open_home, open_shared
from steelyard.tasks.alerts import announce_failure
from steelyard.weight.state import CLOCK_TOLERANCE


def resolve_as_of(as_of: datetime | None) -> datetime:
    """Return the time a run evaluates: ``as_of`` in UTC, None for the run's scheduled time.

    Raises:
        FixConfiguration: If it lies ahead of this machine's clock: nothing is known then.
    """
    at, now = run_time(as_of), datetime.now(UTC)
    if at > now + CLOCK_TOLERANCE:
        raise FixConfiguration(
            f"as of {at:%Y-%m-%d %H:%M} lies ahead of this machine's clock, {now:%Y-%m-%d %H:%M} "
            "UTC; pass a time that has come, or correct the clock"
        )
    return at


def run_time(as_of: datetime | None) -> datetime:
    """Return ``as_of`` in UTC; None for the run's scheduled time, which is now without one."""
    return in_utc(as_of or datetime.fromisoformat(str(flow_run.scheduled_start_time)))


def home_of_run(parameters: Mapping[str, Any]) -> Home:
    """Return the lineage that the parameters of a run name, or what all lineages share.

    Raises:
        FixConfiguration: If the settings cannot be read.
    """
    folder, conf, lineage = (parameters.get(name) for name in ("home", "conf", "lineage"))
    return open_home(folder, conf, lineage) if lineage else open_shared(folder, conf)


def in_utc(at: datetime) -> datetime:
    """Return a time in UTC; one without a zone is taken as UTC."""
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def run_clock(as_of: datetime | None) -> Clock:
    """Return the clock of a run: live without ``as_of``, else standing at ``as_of``."""
    return system_clock if as_of is None else lambda: in_utc(as_of)


def announce_failed_run(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Post an alert about a run that failed or crashed; Prefect calls this hook.

    Args:
        flow: The flow that failed.
        flow_run: The run, with its parameters.
        state: The state it ended in, whose message is the cause.
    """
    _post(flow.name, flow_run.parameters, str(state.message))


@contextmanager
def alert_on_failure(flow: Flow[..., Any], parameters: dict[str, Any]) -> Iterator[None]:
    """Post an alert if the flow inside fails as a plain function, where no server calls its hooks.

    Args:
        flow: The flow that runs; only flows with failure hooks post alerts.
        parameters: Its parameters; ``home``, ``conf`` and ``lineage`` say where the alert goes.
    """
    try:
        yield
    except Exception as error:
        if flow.on_failure_hooks:
            expected = isinstance(error, SteelyardError)
            cause = str(error) if expected else f"unexpected {type(error).__name__}: {error}"
            _post(flow.name, parameters, cause)
        raise


def _post(name: str, parameters: dict[str, Any], cause: str) -> None:
    """Post the alert to the lineage of the run; unreadable settings name no channel."""
    try:
        home = home_of_run(parameters)
    except FixConfiguration:
        return
    announce_failure(home, name, cause)
