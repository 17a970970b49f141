"""What happens when a flow fails: an alert, wherever it ran."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from prefect import Flow, State
from prefect.client.schemas.objects import FlowRun

from steelyard.errors import FixConfiguration, SteelyardError
from steelyard.flows.moment import opened
from steelyard.tasks.alerts import announce_failure


def failed(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Tell that a recorded run failed or crashed; Prefect calls it."""
    tell(flow.name, flow_run.parameters, str(state.message))


def tell(name: str, parameters: dict[str, Any], words: str) -> None:
    """Post the alert to the home the run was about; settings that cannot be read have no channel."""
    try:
        stores = opened(parameters.get("home", "."), parameters.get("conf"))
    except FixConfiguration:
        return
    announce_failure(stores, name, words)


@contextmanager
def telling(flow: Flow[..., Any], parameters: dict[str, Any]) -> Iterator[None]:
    """Tell about a flow that runs as a plain function, where no server watches."""
    try:
        yield
    except Exception as error:
        if flow.on_failure_hooks:
            words = str(error) if isinstance(error, SteelyardError) else f"unexpected {type(error).__name__}: {error}"
            tell(flow.name, parameters, words)
        raise
