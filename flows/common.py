"""What every flow shares: the time it evaluates, and the alert if it fails."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from prefect import Flow, State
from prefect.client.schemas.objects import FlowRun
from prefect.runtime import flow_run

from steelyard.errors import FixConfiguration, SteelyardError
from steelyard.home import open_home
from steelyard.tasks.alerts import announce_failure


def resolve_as_of(as_of: datetime | None) -> datetime:
    """Return ``as_of`` in UTC; a naive value is taken as UTC, None as the run's scheduled time."""
    if as_of is None:  # Prefect's scheduled time is now if nothing was scheduled
        as_of = datetime.fromisoformat(str(flow_run.scheduled_start_time))
    return as_of.replace(tzinfo=UTC) if as_of.tzinfo is None else as_of.astimezone(UTC)


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
        parameters: Its parameters; ``home`` and ``conf`` say where the alert goes.
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
    """Post the alert to the home of the run; unreadable settings name no channel."""
    try:
        home = open_home(parameters.get("home", "."), parameters.get("conf"))
    except FixConfiguration:
        return
    announce_failure(home, name, cause)
