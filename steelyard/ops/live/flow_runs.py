"""What Prefect's server knows of the runs, for metrics; a server that is away is no fault here."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx

ANSWER_SECONDS = 5.0
ENDED = ("COMPLETED", "FAILED", "CRASHED")
"""States in which a run has ended by itself."""


@dataclass(frozen=True, slots=True)
class LastRun:
    """The last runs of a deployment.

    Attributes:
        deployment: Flow and name, as Prefect writes them: ``guard/daily-guard``.
        lineage: Lineage it acts on; empty for the only one, or for all.
        succeeded_at: End of the last run that completed (UTC); None before the first.
        seconds: Duration of the last run that ended.
        failed: Whether that run failed or crashed.
    """

    deployment: str
    lineage: str
    succeeded_at: datetime | None
    seconds: float
    failed: bool


@dataclass(frozen=True, slots=True)
class FlowFigures:
    """Number of runs by state, and the last runs of every deployment that ran."""

    runs: Mapping[str, int]
    last: tuple[LastRun, ...]


def flow_figures(api: str, login: str) -> FlowFigures | None:
    """Return the figures of a Prefect server; None if it gives none.

    Args:
        api: Address of its API; empty for no server.
        login: ``user:password``; empty if it asks for none.
    """
    if not api:
        return None
    user, _, password = login.partition(":")
    try:
        with httpx.Client(
            base_url=api, auth=(user, password), timeout=ANSWER_SECONDS, trust_env=False
        ) as client:
            return FlowFigures({state: _count(client, state) for state in ENDED}, _last(client))
    except (httpx.HTTPError, ValueError, KeyError):  # another program answers there
        return None


def _last(client: httpx.Client) -> tuple[LastRun, ...]:
    return tuple(
        last
        for deployment in _ask(client, "deployments/filter")
        for last in _last_run(client, deployment)
    )


def _last_run(client: httpx.Client, deployment: Mapping[str, Any]) -> Iterator[LastRun]:
    """Yield the last runs of a deployment, nothing if none has ended."""
    ended = _newest(client, deployment["id"], ENDED)
    if ended is None:
        return
    completed = _newest(client, deployment["id"], ENDED[:1])
    flow = str(deployment["entrypoint"]).rpartition(".")[2]
    yield LastRun(
        deployment=f"{flow}/{deployment['name']}",
        lineage=deployment["parameters"].get("lineage") or "",
        succeeded_at=datetime.fromisoformat(completed["end_time"]) if completed else None,
        seconds=float(ended["total_run_time"]),
        failed=ended["state_type"] != ENDED[0],
    )


def _newest(client: httpx.Client, deployment: str, states: tuple[str, ...]) -> Any:
    of = {"deployments": {"id": {"any_": [deployment]}}, "flow_runs": _in_states(*states)}
    runs = _ask(client, "flow_runs/filter", **of, sort="END_TIME_DESC", limit=1)
    return next(iter(runs), None)


def _count(client: httpx.Client, state: str) -> int:
    return int(_ask(client, "flow_runs/count", flow_runs=_in_states(state)))


def _in_states(*states: str) -> dict[str, Any]:
    return {"state": {"type": {"any_": states}}}


def _ask(client: httpx.Client, path: str, **question: Any) -> Any:
    return client.post(f"/{path}", json=question).raise_for_status().json()
