"""Register the deployments of ``prefect.yaml`` with a Prefect server; twice changes nothing."""

import re
import shlex
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC
from pathlib import Path
from typing import Any, cast
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import VariableCreate, VariableUpdate, WorkPoolCreate
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowFilter,
    FlowFilterName,
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
from prefect.schedules import Schedule
from prefect.states import Crashed

from steelyard.home import Home
from steelyard.queries.schedules import HOURLY, Plan, PlannedDeployment, planned_deployments
from steelyard.settings import APART, declared_deployments, default_conf, schedule_of
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
PAGE = 200
"""Deployments that Prefect lists at once, at most."""


VARIABLE = "steelyard_"
"""Begin of the names of the variables on the server."""
_NAMED = re.compile(r"\{\{ prefect\.variables\.(\w+) \}\}")
FORMER = (
    "collect/daily",
    "trade/per-bar",
    "settle/daily",
    "guard/daily",
    "weight/daily",
    "drift/daily",
)
"""Deployments of version 0.2, whose names were not unique by themselves."""


def register(lineages: Sequence[Home]) -> list[Deployment]:
    """Register every deployment, and return name, cron and next run of each.

    Home, settings and times are kept as variables on the server, from which ``prefect deploy``
    registers the same for a single lineage. Runs work in the current folder, so that relative paths
    in the settings keep their meaning.

    Args:
        lineages: All lineages of the home.
    """
    planned = planned_deployments(lineages)
    values = {home.lineage: _values(home, _plans_of(home, planned)) for home in lineages}
    entries = [_filled(one.entry, values[one.home.lineage]) for one in planned]
    common = values[lineages[0].lineage]
    with get_client(sync_client=True) as client:
        _make_pools(client, {entry["work_pool"]["name"] for entry in entries})
        for name, value in common.items():
            _set_variable(client, name, value)
        # ``apply`` returns a coroutine only inside a running loop.
        deployments = [_deployment(entry) for entry in entries]
        ids = [cast(UUID, deployment.apply()) for deployment in deployments]
        _delete_former(client, {one.full_name for one in planned}, common[f"{VARIABLE}home"])
        return [
            Deployment(deployment.full_name, _next_run(client, deployment_id), one.plan.cron)
            if one.plan
            else Deployment(deployment.full_name, None, "")
            for one, deployment, deployment_id in zip(planned, deployments, ids, strict=True)
        ]


def _plans_of(home: Home, planned: Sequence[PlannedDeployment]) -> dict[str, Plan]:
    """Return the times of one lineage by name, and of the first also those of all."""
    return {schedule_of(one.entry): one.plan for one in planned if one.home is home and one.plan}


def _values(home: Home, planned: Mapping[str, Plan]) -> dict[str, Any]:
    """Return the variables that ``prefect.yaml`` names, name → value.

    Args:
        home: Lineage of the home.
        planned: Its schedules by name; all others are not active.
    """
    up = home.settings.up
    idle = {"bar": HOURLY, **APART}
    return {
        f"{VARIABLE}home": str(home.folder),
        f"{VARIABLE}conf": str((home.conf or default_conf()).resolve()),
        f"{VARIABLE}zone": up.timezone,
        f"{VARIABLE}bar_zone": planned["bar"].timezone if "bar" in planned else up.timezone,
        **{f"{VARIABLE}{name}": cron for name, cron in idle.items()},
        **{f"{VARIABLE}{name}": plan.cron for name, plan in planned.items()},
        **{f"{VARIABLE}{name}_active": name in planned for name in idle},
    }


def _filled(declared: Any, values: Mapping[str, Any]) -> Any:
    """Return what ``prefect.yaml`` declares, with the variables filled in."""
    if isinstance(declared, Mapping):
        return {key: _filled(value, values) for key, value in declared.items()}
    if isinstance(declared, list):
        return [_filled(value, values) for value in declared]
    named = _NAMED.fullmatch(declared) if isinstance(declared, str) else None
    return values[named[1]] if named else declared


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


def close_abandoned_rounds(home: str) -> int:
    """Mark the rounds of a killed ``steelyard run`` as crashed and return their number.

    Call this only while no other process handles the bars of the home.

    Args:
        home: Folder of the home, as the rounds name it.
    """
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=["bar"])),
            flow_run_filter=_in_state(StateType.RUNNING, StateType.PENDING),
        )
        rounds = [
            run for run in runs if run.deployment_id is None and run.parameters.get("home") == home
        ]
        for run in rounds:
            client.set_flow_run_state(run.id, Crashed(message="its process has ended"), force=True)
    return len(rounds)


def _make_pools(client: SyncPrefectClient, names: set[str]) -> None:
    for name in names:
        client.create_work_pool(
            WorkPoolCreate(name=name, type="process", base_job_template=JOB), overwrite=True
        )


def _set_variable(client: SyncPrefectClient, name: str, value: Any) -> None:
    if client.read_variable_by_name(name) is None:
        client.create_variable(VariableCreate(name=name, value=value))
    else:
        client.update_variable(VariableUpdate(name=name, value=value))


def _deployment(entry: Mapping[str, Any]) -> RunnerDeployment:
    deployment = RunnerDeployment.from_entrypoint(
        entrypoint=entry["entrypoint"],
        name=entry["name"],
        schedules=[Schedule(**schedule) for schedule in entry["schedules"]],
        concurrency_limit=ConcurrencyLimitConfig(**entry["concurrency_limit"]),
        parameters=entry["parameters"],
        tags=entry["tags"],
        work_pool_name=entry["work_pool"]["name"],
    )
    deployment.storage = LocalStorage(str(Path.cwd()))
    return deployment


def _delete_former(client: SyncPrefectClient, registered: Collection[str], home: str) -> None:
    """Delete what earlier versions called otherwise, and what acts on a lineage that is gone.

    Their runs stay, and so do deployments that somebody else has made for these flows.

    Args:
        client: Prefect's client.
        registered: Full names of the home's deployments.
        home: Folder of the home.
    """
    entries = declared_deployments()
    pools = [entry["work_pool"]["name"] for entry in entries]
    names = {entry["name"] for entry in entries}
    for former in client.read_deployments(
        work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=pools)), limit=PAGE
    ):
        full_name = f"{(former.entrypoint or '').rpartition('.')[2]}/{former.name}"
        lineage = former.parameters.get("lineage")
        ours = former.name.removesuffix(f"-{lineage}") if lineage else former.name
        gone = ours in names and former.parameters.get("home") == home
        if full_name in FORMER or (gone and full_name not in registered):
            client.delete_deployment(former.id)


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
