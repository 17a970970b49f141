"""The decorator of every flow that operates a home.

Recorded by a Prefect server, a run is named by what it does and for when, carries lineage, kind and
verdict as tags, ends in a state whose message is the verdict, and alerts if it fails. Called
as a plain function (``.fn``) the flow returns its result and nothing else happens.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import wraps
from pathlib import Path
from textwrap import shorten
from typing import Any, ParamSpec, TypeVar, cast

from httpx import HTTPError
from prefect import Flow, flow, get_run_logger
from prefect.client.orchestration import SyncPrefectClient
from prefect.context import FlowRunContext
from prefect.runtime import deployment, flow_run
from prefect.states import Completed

from steelyard.flows.common import announce_failed_run, home_of_run, run_time
from steelyard.tasks.events import events_sent
from steelyard.views.verdicts import Verdict, verdict

P = ParamSpec("P")
R = TypeVar("R")

DAY = "%Y-%m-%d"
MINUTE = "%Y-%m-%d %H:%M"
NOTE_LENGTH = 60


def operation(name: str, per: str = DAY) -> Callable[[Callable[P, R]], Flow[P, R]]:
    """Return the decorator of a flow.

    Args:
        name: Name of the flow.
        per: Format of the time in the names of its runs: ``DAY``, or ``MINUTE`` if it runs
            several times a day.
    """

    def decorate(function: Callable[P, R]) -> Flow[P, R]:
        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            run = FlowRunContext.get()
            if run is None or run.flow is None or run.flow.fn is not call:  # inside another's run
                return function(*args, **kwargs)
            _add_tags(run, home_of_run(run.parameters or {}).settings.services.lineage, name)
            with events_sent():
                return cast(R, _told(run, function(*args, **kwargs)))

        return flow(
            name=name,
            flow_run_name=lambda: _run_name(name, per),
            on_failure=[announce_failed_run],
            on_crashed=[announce_failed_run],
        )(call)

    return decorate


def _told(run: FlowRunContext, result: Any) -> Any:
    """Return the final state of a recorded run; its verdict is logged, and becomes a tag."""
    said: Verdict = verdict(result, run_time((run.parameters or {}).get("as_of")))
    for line in (said.words, *said.details):
        get_run_logger().info(line)
    _add_tags(run, said.tag)
    return Completed(message=said.words, data=result)


def _run_name(name: str, per: str) -> str:
    parameters = flow_run.parameters
    note = _note(name, parameters)
    words = [name, f"{run_time(parameters.get('as_of')):{per}}", parameters.get("lineage")]
    words += [f"({shorten(note, NOTE_LENGTH, placeholder=' …')})" if note else None]
    return " ".join(filter(None, words))


def _note(name: str, parameters: Mapping[str, Any]) -> str:
    """Return why a run was asked for, or the file it reads; of a training, else what started it."""
    if "file" in parameters:
        return Path(parameters["file"]).name
    reason = parameters.get("reason") or getattr(parameters.get("request"), "reason", "")
    if not reason and name == "train":
        return deployment.name or "by hand"
    return str(reason)


def _add_tags(run: FlowRunContext, *tags: str) -> None:
    """Add tags to a run on the server, beside those of its deployment."""
    assert run.flow_run is not None  # noqa: S101  # of a flow that is running
    run.flow_run.tags = sorted({*run.flow_run.tags, *tags})
    with suppress(HTTPError):  # no tag is worth a failed run
        cast(SyncPrefectClient, run.client).update_flow_run(run.flow_run.id, tags=run.flow_run.tags)
