"""What ``steelyard up`` runs on one machine: Prefect's server, MLflow's server, a worker, and the schedules."""

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
    # A slot of a run that died is given back after five minutes, and leases in memory would forget it with the server.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    # Row by row, SQLite is locked for seconds after every flow.
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_READ_BATCH_SIZE": "100",
    "PREFECT_CLI_COLORS": "false",
}


@dataclass(frozen=True, slots=True)
class Plan:
    """What will run, and where it is found.

    Attributes:
        servers: Started first, side by side.
        deploy: Registers the deployments with them, and ends; it prints them as JSON.
        worker: Started last.
        pages: Addresses for people, by name.
    """

    state: Path
    ports: tuple[Port, ...]
    servers: tuple[Service, ...]
    deploy: Service
    worker: Service
    pages: dict[str, str]


def planned(settings: Settings, home: Path, conf: Path | None = None) -> Plan:
    """Return what runs for ``home`` under ``settings``, which were read from the folder ``conf``."""
    services, up = settings.services.at(home), settings.up
    state, folder = Path(services.state), (conf or default_conf()).resolve()
    api = up.prefect_page
    environment = child_environment(
        PREFECT_HOME=str(state / "prefect"), PREFECT_API_URL=f"{api}/api", **_PREFECT
    )
    own = services.mlflow.startswith(OWN_STORES)
    stores = {
        "MLFLOW_BACKEND_STORE_URI": services.mlflow,
        "MLFLOW_ARTIFACTS_DESTINATION": services.artifacts,
    }
    places = ("--home", str(home.resolve()), "--conf", str(folder))
    deploy = (sys.executable, "-m", "steelyard", "deploy", "--json", *places)
    return Plan(
        state=state,
        ports=tuple(_ports(up, folder, own)),
        servers=(
            _prefect(up, api, environment),
            *([_mlflow(up, environment | stores)] if own else []),
        ),
        deploy=Service("deploy", deploy, environment),
        worker=_worker(environment),
        pages={"Prefect": api, "MLflow": services.pages},
    )


def keep_up(plan: Plan, show: Callable[[dict[str, Any]], None], say: Callable[[str], None]) -> None:
    """Start everything, show where it is, and keep it running until a signal comes.

    Raises:
        FixConfiguration: A port is taken; nothing was started.
        RestoreService: The home is kept up already, or something does not start; what was started
            is stopped again.
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


def _ports(up: UpSettings, conf: Path, own: bool) -> Iterator[Port]:
    yield Port(up.host, up.prefect_port, f"prefect_port in {conf / 'up.yaml'}")
    if own:
        yield Port(up.host, up.mlflow_port, f"mlflow_port in {conf / 'up.yaml'}")


def _prefect(up: UpSettings, address: str, environment: dict[str, str]) -> Service:
    command = (
        sys.executable,
        "-m",
        "prefect",
        "server",
        "start",
        "--host",
        up.host,
        "--port",
        str(up.prefect_port),
    )
    return Service("prefect", command, environment, f"{address}/api/health")


def _mlflow(up: UpSettings, environment: dict[str, str]) -> Service:
    listens = ("--host", up.host, "--port", str(up.mlflow_port), "--workers", "1")
    quiet = {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"
    }  # eight processes more, for what nobody here uses
    command = (sys.executable, "-m", "mlflow", "server", *listens)
    return Service("mlflow", command, environment | quiet, f"{up.mlflow_page}/health")


def _worker(environment: dict[str, str]) -> Service:
    pool = ("--pool", POOL, "--type", "process", "--limit", str(RUNS_AT_ONCE), "--name", POOL)
    return Service("worker", (sys.executable, "-m", "steelyard.ops.worker", *pool), environment)
