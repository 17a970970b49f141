"""Processes of ``steelyard up``: the servers of Prefect and MLflow, and a worker."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from steelyard.errors import RestoreService
from steelyard.ops.supervisor import Port, Service, Supervisor, check
from steelyard.settings import Settings, UpSettings, child_environment, default_conf

POOL = "steelyard"
RUNS_AT_ONCE = 2
OWN_STORES = ("sqlite", "postgresql")
_PREFECT = {
    # The slot of a killed run is freed after five minutes; leases in memory end with the server.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": (
        "prefect.server.concurrency.lease_storage.filesystem"
    ),
    # Written row by row, SQLite stays locked for seconds after every flow.
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_READ_BATCH_SIZE": "100",
    "PREFECT_CLI_COLORS": "false",
}


@dataclass(frozen=True, slots=True)
class Plan:
    """Processes to run, and their addresses.

    Attributes:
        state: Folder of logs, lock and Prefect's database.
        ports: Ports that must be free.
        servers: Started first, in parallel.
        deploy: Registers the deployments, prints them as JSON, and ends.
        worker: Started last.
        pages: Addresses of the web pages, by name.
    """

    state: Path
    ports: tuple[Port, ...]
    servers: tuple[Service, ...]
    deploy: Service
    worker: Service
    pages: dict[str, str]


def planned(settings: Settings, home: Path, conf: Path | None = None) -> Plan:
    """Return the processes for a home.

    Args:
        settings: Settings, read from ``conf``.
        home: Folder of the home.
        conf: Folder of the settings; None for the default.
    """
    services, up = settings.services.at(home), settings.up
    state, folder = Path(services.state), (conf or default_conf()).resolve()
    api = up.prefect_page
    environment = child_environment(
        PREFECT_HOME=str(state / "prefect"), PREFECT_API_URL=f"{api}/api", **_PREFECT
    )
    own_server = services.mlflow.startswith(OWN_STORES)
    stores = {
        "MLFLOW_BACKEND_STORE_URI": services.mlflow,
        "MLFLOW_ARTIFACTS_DESTINATION": services.artifacts,
    }
    folders = ("--home", str(home.resolve()), "--conf", str(folder))
    deploy = (sys.executable, "-m", "steelyard", "deploy", "--json", *folders)
    ports = [Port(up.host, up.prefect_port, f"prefect_port in {folder / 'up.yaml'}")]
    servers = [_prefect(up, api, environment)]
    if own_server:
        ports.append(Port(up.host, up.mlflow_port, f"mlflow_port in {folder / 'up.yaml'}"))
        servers.append(_mlflow(up, environment | stores))
    pool = ("--pool", POOL, "--type", "process", "--limit", str(RUNS_AT_ONCE), "--name", POOL)
    return Plan(
        state=state,
        ports=tuple(ports),
        servers=tuple(servers),
        deploy=Service("deploy", deploy, environment),
        worker=Service(
            "worker", (sys.executable, "-m", "steelyard.ops.worker", *pool), environment
        ),
        pages={"Prefect": api, "MLflow": services.pages},
    )


def keep_up(plan: Plan, show: Callable[[dict[str, Any]], None], say: Callable[[str], None]) -> None:
    """Start all processes, show their addresses, and keep them running until a signal comes.

    Args:
        plan: Processes to run.
        show: Receives pages, deployments and folder of the logs, once all have started.
        say: Receives one line about each restart.

    Raises:
        FixConfiguration: If a port is taken; nothing was started.
        RestoreService: If ``up`` runs already for this home, or a process does not start; those
            started are stopped again.
    """
    with _alone(plan.state), suppress(KeyboardInterrupt):
        check(plan.ports)
        with Supervisor(plan.state / "logs", say) as supervisor:
            supervisor.start(*plan.servers)
            deployments = json.loads(supervisor.run(plan.deploy))
            supervisor.start(plan.worker)
            show(
                {"pages": plan.pages, "deployments": deployments, "logs": str(plan.state / "logs")}
            )
            supervisor.watch()


@contextmanager
def _alone(state: Path) -> Iterator[None]:
    state.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(state / "up.lock", timeout=0):
            yield
    except Timeout as error:
        raise RestoreService(f"steelyard up runs already for {state}; stop it first") from error


def _prefect(up: UpSettings, address: str, environment: dict[str, str]) -> Service:
    address_options = ("--host", up.host, "--port", str(up.prefect_port))
    command = (sys.executable, "-m", "prefect", "server", "start", *address_options)
    return Service("prefect", command, environment, f"{address}/api/health")


def _mlflow(up: UpSettings, environment: dict[str, str]) -> Service:
    # Job execution would start eight more processes that nothing here uses.
    without_jobs = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    options = ("--host", up.host, "--port", str(up.mlflow_port), "--workers", "1")
    command = (sys.executable, "-m", "mlflow", "server", *options)
    return Service("mlflow", command, environment | without_jobs, f"{up.mlflow_page}/health")
