"""Register the deployments of ``prefect.yaml`` with a Prefect server; twice changes nothing."""

import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC
from pathlib import Path
from typing import Any, cast
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import ConcurrencyLimitConfig, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.deployments.runner import RunnerDeployment
from prefect.runner.storage import LocalStorage
from prefect.schedules import Cron
from prefect.states import Crashed

from steelyard.settings import UpSettings, declared_deployments
from steelyard.views.operations import Deployment

ENGINE = f"{shlex.quote(sys.executable)} -P -m prefect.engine"
"""Command of a run, in the worker's process group: a run ends with its worker. ``-P`` keeps the
current folder, which may hold any files, off ``sys.path``."""
JOB: dict[str, Any] = {
    "job_configuration": {"command": ENGINE, "stream_output": True},
    "variables": {"type": "object", "properties": {}, "additionalProperties": False},
}
"""The only job of the pool. It takes no variables: whoever may start a run could otherwise give it
a command or an environment, and so do what the worker may do."""
SCHEDULED_WITHIN_SECONDS = 30.0


def register(up: UpSettings, home: Path, conf: Path) -> list[Deployment]:
    """Register every deployment, and return name, cron and next run of each.

    Runs work in the current folder, so that relative paths in the settings keep their meaning.

    Args:
        up: Times and time zone of the schedules.
        home: Folder of the home.
        conf: Folder of the settings.
    """
    entries = declared_deployments()
    parameters = {"home": str(home.resolve()), "conf": str(conf.resolve())}
    with get_client(sync_client=True) as client:
        _make_pools(client, {entry["work_pool"]["name"] for entry in entries})
        deployments = [_deployment(entry, up, parameters) for entry in entries]
        # ``apply`` returns a coroutine only inside a running loop.
        ids = [cast(UUID, deployment.apply()) for deployment in deployments]
        return [
            Deployment(deployment.full_name, _next_run(client, deployment_id), _cron(up, entry))
            for entry, deployment, deployment_id in zip(entries, deployments, ids, strict=True)
        ]


def close_abandoned() -> int:
    """Mark the runs of a killed worker as crashed and return their number.

    Otherwise they stay "running" with their concurrency slots, for which the next run waits. Call
    this only while no worker runs.
    """
    pools = sorted({entry["work_pool"]["name"] for entry in declared_deployments()})
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(
            flow_run_filter=_in_state(StateType.RUNNING, StateType.PENDING, StateType.CANCELLING),
            work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=pools)),
        )
        for run in runs:
            client.set_flow_run_state(run.id, Crashed(message="its worker has ended"), force=True)
    return len(runs)


def _make_pools(client: SyncPrefectClient, names: set[str]) -> None:
    for name in names:
        client.create_work_pool(
            WorkPoolCreate(name=name, type="process", base_job_template=JOB), overwrite=True
        )


def _deployment(
    entry: Mapping[str, Any], up: UpSettings, parameters: Mapping[str, str]
) -> RunnerDeployment:
    [schedule] = entry["schedules"]
    deployment = RunnerDeployment.from_entrypoint(
        entrypoint=entry["entrypoint"],
        name=entry["name"],
        schedules=[Cron(_cron(up, entry), timezone=up.timezone, slug=schedule["slug"])],
        concurrency_limit=ConcurrencyLimitConfig(**entry["concurrency_limit"]),
        parameters={**entry["parameters"], **parameters},
        work_pool_name=entry["work_pool"]["name"],
    )
    deployment.storage = LocalStorage(str(Path.cwd()))
    return deployment


def _cron(up: UpSettings, entry: Mapping[str, Any]) -> str:
    return str(getattr(up.schedules, entry["schedules"][0]["slug"]))


def _next_run(client: SyncPrefectClient, deployment: UUID) -> str | None:
    """Return the next run (ISO 8601, UTC); None if the server does not schedule it in time."""
    deadline = time.monotonic() + SCHEDULED_WITHIN_SECONDS
    while not (times := _scheduled(client, deployment)) and time.monotonic() < deadline:
        time.sleep(0.5)
    return times[0] if times else None


def _scheduled(client: SyncPrefectClient, deployment: UUID) -> Sequence[str]:
    runs = client.read_flow_runs(
        flow_run_filter=_in_state(StateType.SCHEDULED),
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment])),
        sort=FlowRunSort.EXPECTED_START_TIME_ASC,
        limit=1,
    )
    return [
        run.expected_start_time.astimezone(UTC).isoformat()
        for run in runs
        if run.expected_start_time
    ]


def _in_state(*types: StateType) -> FlowRunFilter:
    return FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(types))))
