"""The deployments of ``prefect.yaml``, registered with a Prefect server; registering twice changes nothing."""

import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import yaml
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
from prefect.workers.process import ProcessWorker

from steelyard.settings import PACKAGE, UpSettings

DECLARED = PACKAGE / "prefect.yaml"
ENGINE = f"{shlex.quote(sys.executable)} -P -m prefect.engine"
"""Starts a run; ``-P`` keeps the current folder, which may hold anything, off ``sys.path``."""
SCHEDULED_WITHIN_SECONDS = 30.0


def declared() -> list[dict[str, Any]]:
    """Return the deployments as ``prefect.yaml`` declares them."""
    return list(yaml.safe_load(DECLARED.read_text(encoding="utf-8"))["deployments"])


def register(up: UpSettings, home: Path, conf: Path) -> list[dict[str, Any]]:
    """Register every deployment for ``home`` and ``conf`` at the times of ``up``, and return names and next runs.

    A run works in the current folder, so relative paths in the settings mean there what they mean here.
    """
    entries = declared()
    parameters = {"home": str(home.resolve()), "conf": str(conf.resolve())}
    with get_client(sync_client=True) as client:
        _make_pools(client, {entry["work_pool"]["name"] for entry in entries})
        deployments = [_deployment(entry, up, parameters) for entry in entries]
        ids = [
            cast(UUID, deployment.apply()) for deployment in deployments
        ]  # a coroutine only inside a running loop
        return [
            {
                "name": deployment.full_name,
                "next_run": _next_run(client, made),
                "cron": _cron(up, entry),
            }
            for entry, deployment, made in zip(entries, deployments, ids, strict=True)
        ]


def close_abandoned() -> int:
    """Mark runs as crashed that no process can be working on, where no worker runs; return how many there were.

    A worker that was killed leaves them behind as running, with their concurrency slots, which the next run waits for.
    """
    pools = sorted({entry["work_pool"]["name"] for entry in declared()})
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(
            flow_run_filter=_in_state(StateType.RUNNING, StateType.PENDING, StateType.CANCELLING),
            work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=pools)),
        )
        for run in runs:
            client.set_flow_run_state(run.id, Crashed(message="its worker is gone"), force=True)
    return len(runs)


def _make_pools(client: SyncPrefectClient, names: set[str]) -> None:
    template = ProcessWorker.get_default_base_job_template()
    for name in names:
        client.create_work_pool(
            WorkPoolCreate(name=name, type="process", base_job_template=template), overwrite=True
        )


def _deployment(
    entry: Mapping[str, Any], up: UpSettings, parameters: Mapping[str, str]
) -> RunnerDeployment:
    [schedule] = entry["schedules"]
    made = RunnerDeployment.from_entrypoint(
        entrypoint=entry["entrypoint"],
        name=entry["name"],
        schedules=[Cron(_cron(up, entry), timezone=up.timezone, slug=schedule["slug"])],
        concurrency_limit=ConcurrencyLimitConfig(**entry["concurrency_limit"]),
        parameters={**entry["parameters"], **parameters},
        work_pool_name=entry["work_pool"]["name"],
        job_variables={**entry["work_pool"]["job_variables"], "command": ENGINE},
    )
    made.storage = LocalStorage(str(Path.cwd()))
    return made


def _cron(up: UpSettings, entry: Mapping[str, Any]) -> str:
    return str(getattr(up.schedules, entry["schedules"][0]["slug"]))


def _next_run(client: SyncPrefectClient, deployment: UUID) -> str | None:
    """Return when the deployment runs next (ISO, UTC); None where the server's scheduler has not looked at it yet."""
    until = time.monotonic() + SCHEDULED_WITHIN_SECONDS
    while not (found := _scheduled(client, deployment)) and time.monotonic() < until:
        time.sleep(0.5)
    return found[0] if found else None


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
