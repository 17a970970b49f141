"""Runs a flow for a command and prints its result."""

import json
import logging
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer

from steelyard.environment import prefect_server_configured
from steelyard.errors import FixConfiguration, RestoreService


def show(document: Any, as_json: bool, as_text: Callable[[Any], None]) -> None:
    """Print a result on stdout.

    Args:
        document: Result of a flow or query: a value with ``to_dict``, several of them, or None.
        as_json: Print it as JSON instead of tables.
        as_text: Prints it as tables.
    """
    if not as_json:
        as_text(document)
        return
    values = (
        [part.to_dict() for part in document]
        if isinstance(document, list)
        else document and document.to_dict()
    )
    sys.stdout.write(json.dumps(values, indent=2, allow_nan=False) + "\n")


def show_each(
    documents: Mapping[str | None, Any], as_json: bool, as_text: Callable[[Any], None]
) -> None:
    """Print the results for the lineages of a home on stdout, each under its name.

    Args:
        documents: Name of the lineage → its result; a single result is printed as by ``show``.
        as_json: Print them as one JSON document, instead of tables.
        as_text: Prints one of them as tables.
    """
    if len(documents) == 1:
        [document] = documents.values()
        show(document, as_json, as_text)
        return
    if as_json:
        named = [{"lineage": name} | part.to_dict() for name, part in documents.items()]
        sys.stdout.write(json.dumps(named, indent=2, allow_nan=False) + "\n")
        return
    from steelyard.views import terminal

    for name, document in documents.items():
        terminal.print_heading(str(name))
        as_text(document)


def run_flow(flow: Any, home: Path, conf: Path | None, as_of: str | None, **parameters: Any) -> Any:
    """Run a flow as of a time, with its other parameters.

    Args:
        flow: The flow.
        home: Folder of all state.
        conf: Folder of the settings; None for the default one.
        as_of: ISO 8601 date or time; None for now.
        **parameters: Further parameters of the flow.

    Returns:
        What the flow returns.

    Raises:
        FixConfiguration: If ``as_of`` is no date or time.
    """
    at = parse_time(as_of) if as_of else None
    return run_with_progress(flow, as_of=at, **parameters, **folders(home, conf))


def run_for_operator(
    flow: Any,
    reason: str,
    operator: str | None,
    home: Path,
    conf: Path | None,
    as_of: str | None,
    **parameters: Any,
) -> Any:
    """Run a flow of an operator, whose reason and name go into the journal.

    Args:
        flow: The flow.
        reason: Why, in the operator's words.
        operator: Name of the operator; None for the login name.
        home: Folder of all state.
        conf: Folder of the settings; None for the default one.
        as_of: ISO 8601 date or time; None for now.
        **parameters: Further parameters of the flow.

    Returns:
        What the flow returns.

    Raises:
        FixConfiguration: If there is no reason, or ``as_of`` is no date or time.
    """
    if not reason.strip():
        raise FixConfiguration("--reason is empty; the journal records why, so give one")
    return run_flow(flow, home, conf, as_of, reason=reason, operator=operator, **parameters)


def run_with_progress(flow: Any, **parameters: Any) -> Any:
    """Run a flow with progress on stderr, recorded if a Prefect server is configured and answers.

    Without it the flow runs all the same: no operator waits for a server to take a weight away.

    Args:
        flow: The flow.
        **parameters: Its parameters, ``home`` and ``conf`` among them.

    Returns:
        What the flow returns.

    Raises:
        RestoreService: If the server goes away while it records the run.
    """
    from steelyard.flows.common import alert_on_failure
    from steelyard.tasks.recording import server_answers
    from steelyard.views import terminal

    with terminal.shown_progress():
        if prefect_server_configured():
            if server_answers():
                return _run_recorded(flow, parameters)
            typer.echo("no Prefect server answers; this run is not recorded there", err=True)
        with alert_on_failure(flow, parameters):
            return flow.fn(**parameters)


def _run_recorded(flow: Any, parameters: dict[str, Any]) -> Any:
    from httpx import HTTPError  # raised by Prefect's client

    from steelyard.ops.login import logged_in
    from steelyard.settings import load_shared

    conf = Path(parameters["conf"]) if parameters["conf"] else None
    logging.raiseExceptions = False  # log lines that a dying server does not take are no news
    try:
        with logged_in(load_shared(conf), Path(parameters["home"])):
            return flow(**parameters)
    except HTTPError as error:
        reason = " ".join(str(error).split())[:120]
        raise RestoreService(
            f"Prefect's server failed while it recorded the run ({reason}); run the same command "
            "again"
        ) from error


def folders(home: Path, conf: Path | None) -> dict[str, Any]:
    """Return the folders as parameters of a flow, which Prefect stores as text.

    Args:
        home: Folder of all state.
        conf: Folder of the settings; None for the default one.
    """
    return {"home": str(home), "conf": str(conf) if conf else None}


def time_of_reading(home: Any, as_of: str | None) -> datetime:
    """Return the time given, or the last day of the replay in the home, or now.

    Args:
        home: The home, open.
        as_of: ISO 8601 date or time; None if none is given.

    Raises:
        FixConfiguration: If ``as_of`` is no date or time.
    """
    from steelyard.queries.replay import last_replayed_day

    return parse_time(as_of) if as_of else last_replayed_day(home) or datetime.now(UTC)


def parse_time(text: str) -> datetime:
    """Return an ISO 8601 date or time as an aware datetime; UTC unless it names another zone.

    Raises:
        FixConfiguration: If ``text`` is no such date or time.
    """
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise FixConfiguration(f"'{text}' is not an ISO date such as 2012-03-01") from error
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
