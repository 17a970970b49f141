"""Checks of Prefect: server, worker, every deployment, and whether their runs complete."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from steelyard.errors import RestoreService
from steelyard.home import Home
from steelyard.ops.supervisor import listens
from steelyard.ops.up import POOL
from steelyard.queries.schedules import (
    Plan,
    PlannedDeployment,
    Trace,
    planned_deployments,
    schedule_status,
)
from steelyard.settings import Settings, schedule_of
from steelyard.views.operations import Check

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import DeploymentSchedule
    from prefect.client.schemas.responses import DeploymentResponse

ANSWER_SECONDS = 5.0
DEPLOY = "steelyard up registers it; with a server of your own: steelyard deploy"


def server(settings: Settings, lineages: Sequence[Home], as_of: datetime) -> Iterator[Check]:
    """Check the server of PREFECT_API_URL, or else that of ``steelyard up``.

    Args:
        settings: Settings that the lineages share.
        lineages: Lineages of the home.
        as_of: Check as of this time (UTC).

    Raises:
        RestoreService: If it stops answering or refuses access.
    """
    from httpx import HTTPError  # raised by Prefect's client
    from prefect.client.orchestration import get_client
    from prefect.exceptions import PrefectException
    from prefect.settings import (
        PREFECT_API_REQUEST_TIMEOUT,
        PREFECT_API_URL,
        PREFECT_CLIENT_MAX_RETRIES,
        temporary_settings,
    )

    from steelyard.ops.login import logged_in

    ours = f"{settings.up.prefect_page}/api"
    api = PREFECT_API_URL.value() or ours
    if api == ours and not listens(ours):  # Prefect's client would retry for seconds
        yield _absent(api)
        return
    patience = {
        PREFECT_API_URL: api,
        PREFECT_API_REQUEST_TIMEOUT: ANSWER_SECONDS,
        PREFECT_CLIENT_MAX_RETRIES: 0,
    }
    try:
        with (
            temporary_settings(patience),
            logged_in(settings, lineages[0].folder),
            get_client(sync_client=True) as client,
        ):
            if client.api_healthcheck() is not None:
                yield _absent(api)
                return
            yield Check("Prefect", "ok", f"a server answers at {api}")
            yield _closed(api)
            yield _worker(client)
            yield from _deployments(client, lineages, as_of)
    except (HTTPError, PrefectException) as error:
        raise RestoreService(f"Prefect at {api}: {' '.join(str(error).split())[:200]}") from error


def _absent(api: str) -> Check:
    return Check("Prefect", "warning", f"no server answers at {api}", "steelyard up starts one")


def _closed(api: str) -> Check:
    """Report whether strangers may start runs: without a login, or from a web page."""
    import httpx

    stranger = {"Origin": "https://stranger.example"}
    answer = httpx.post(f"{api}/flows/count", json={}, headers=stranger, timeout=ANSWER_SECONDS)
    if answer.is_success:
        finding = "it asks for no login: whoever reaches it can start runs"
        if "access-control-allow-origin" in answer.headers:
            finding += ", and so can any web page in a browser that reaches it"
        return Check("login", "warning", finding, 'see "Security" in docs/operating/running.md')
    return Check("login", "ok", "the server refuses requests without login")


def _worker(client: "SyncPrefectClient") -> Check:
    from prefect.client.schemas.objects import WorkerStatus
    from prefect.exceptions import ObjectNotFound

    advice = (
        "steelyard up starts one; with a server of your own: "
        f"prefect worker start --pool {POOL} --type process"
    )
    try:
        client.read_work_pool(POOL)
    except ObjectNotFound:
        return Check("worker", "wrong", f"work pool {POOL} does not exist", DEPLOY)
    workers = client.read_workers_for_work_pool(POOL)
    online = [worker for worker in workers if worker.status == WorkerStatus.ONLINE]
    if online:
        last = max(worker.last_heartbeat_time for worker in online if worker.last_heartbeat_time)
        return Check(
            "worker", "ok", f"{len(online)} online, last heartbeat {last:%Y-%m-%d %H:%M:%S} UTC"
        )
    return Check("worker", "wrong", f"none of {len(workers)} is online: runs wait", advice)


def _deployments(
    client: "SyncPrefectClient", lineages: Sequence[Home], as_of: datetime
) -> Iterator[Check]:
    """Compare the registered deployments with prefect.yaml, and check their runs."""
    declared = {one.full_name: one for one in planned_deployments(lineages)}
    registered = _registered(client, declared)
    planned = {_label(one): one.plan for one in declared.values() if one.plan}
    timed = {
        _label(declared[name]): deployment
        for name, deployment in registered.items()
        if declared[name].plan
    }
    missing = [name for name in declared if name not in registered]
    idle = [
        name
        for name, deployment in timed.items()
        if deployment.paused or not any(schedule.active for schedule in deployment.schedules)
    ]
    otherwise = [
        name
        for name, deployment in timed.items()
        if planned[name].cron not in {_cron(schedule) for schedule in deployment.schedules}
    ]
    elsewhere = [
        name
        for name, deployment in registered.items()
        if deployment.parameters.get("home") != str(lineages[0].folder)
    ]
    if missing:
        yield Check("deployments", "wrong", f"not registered: {', '.join(missing)}", DEPLOY)
    if idle:
        yield Check(
            "deployments",
            "warning",
            f"paused: {', '.join(idle)}",
            "resume them on their page in Prefect",
        )
    if elsewhere:
        yield Check(
            "deployments", "warning", f"registered for another home: {', '.join(elsewhere)}", DEPLOY
        )
    if otherwise:
        finding = f"other times than conf/up.yaml and the bars ask for: {', '.join(otherwise)}"
        yield Check("deployments", "warning", finding, DEPLOY)
    if not missing + idle + otherwise + elsewhere:
        yield Check(
            "deployments",
            "ok",
            f"all {len(registered)} are registered, {len(timed)} of them with times",
        )
    yield _late(client, registered.values())
    lease = timedelta(days=lineages[0].settings.weight.lease_days)
    yield _completions(client, {name: (planned[name], timed[name]) for name in timed}, lease, as_of)


def _label(deployment: PlannedDeployment) -> str:
    """Return the name of its times, with that of the lineage it acts on, if of several."""
    return " of ".join(filter(None, (schedule_of(deployment.entry), deployment.lineage)))


def _cron(schedule: "DeploymentSchedule") -> str:
    return str(getattr(schedule.schedule, "cron", ""))


def _registered(
    client: "SyncPrefectClient", names: Iterable[str]
) -> "dict[str, DeploymentResponse]":
    from prefect.exceptions import ObjectNotFound

    registered = {}
    for name in names:
        try:
            registered[name] = client.read_deployment_by_name(name)
        except ObjectNotFound:
            continue
    return registered


def _late(client: "SyncPrefectClient", deployments: "Iterable[DeploymentResponse]") -> Check:
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterState,
        FlowRunFilterStateName,
    )

    named = FlowRunFilter(state=FlowRunFilterState(name=FlowRunFilterStateName(any_=["Late"])))
    late = client.read_flow_runs(
        flow_run_filter=named, deployment_filter=_of(*(deployment.id for deployment in deployments))
    )
    if not late:
        return Check("late runs", "ok", "none")
    first = min(run.expected_start_time for run in late if run.expected_start_time)
    finding = f"{len(late)}, the first since {first:%Y-%m-%d %H:%M} UTC"
    return Check(
        "late runs",
        "warning",
        finding,
        "they start when a worker is free; check the worker if they stay",
    )


def _completions(
    client: "SyncPrefectClient",
    deployments: "Mapping[str, tuple[Plan, DeploymentResponse]]",
    lease: timedelta,
    as_of: datetime,
) -> Check:
    """Report schedules that complete no run, by the rule of ``queries.schedules``."""
    late = []
    for name, (plan, deployment) in deployments.items():
        completed = _completed(client, deployment.id)
        trace = Trace(completed, completed or deployment.created)
        since = schedule_status(plan, trace, as_of, lease).dead_since
        late += [f"{name} since {since:%Y-%m-%d %H:%M}"] if since else []
    if late:
        return Check(
            "runs",
            "warning",
            f"not completed: {', '.join(late)}",
            "see their last runs in Prefect",
        )
    return Check("runs", "ok", "every schedule completes")


def _completed(client: "SyncPrefectClient", deployment: UUID) -> datetime | None:
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterState,
        FlowRunFilterStateType,
    )
    from prefect.client.schemas.objects import StateType
    from prefect.client.schemas.sorting import FlowRunSort

    done = FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.COMPLETED]))
    )
    last = FlowRunSort.END_TIME_DESC
    runs = client.read_flow_runs(
        flow_run_filter=done, deployment_filter=_of(deployment), sort=last, limit=1
    )
    return runs[0].end_time if runs else None


def _of(*deployments: UUID) -> Any:
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId

    return DeploymentFilter(id=DeploymentFilterId(any_=list(deployments)))
