"""Processes of ``steelyard up``: the live page, the servers of Prefect and MLflow, a worker."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from filelock import FileLock, Timeout

from steelyard.environment import child_environment, login_environment, service_manager_socket
from steelyard.errors import RestoreService
from steelyard.gateways.files import private_folder
from steelyard.gateways.login import login_file, make_login
from steelyard.gateways.service_manager import ServiceManager
from steelyard.ops.supervisor import Port, Service, Supervisor, check
from steelyard.settings import Settings, default_conf
from steelyard.views.operations import Addresses, Deployment

POOL = "steelyard"
NEEDED = ("prefect", "mlflow", "uvicorn")
"""Modules of the processes it starts, which would only say so in their logs."""
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
    "PREFECT_UI_API_URL": "/api",
}


@dataclass(frozen=True, slots=True)
class Plan:
    """Processes to run, and their addresses.

    Attributes:
        state: Folder of logs, lock, login and Prefect's database.
        ports: Ports that must be free.
        servers: Started first, in parallel.
        deploy: Registers the deployments, prints them as JSON, and ends.
        workers: Started last.
        pages: Addresses of the web pages, by name.
    """

    state: Path
    ports: tuple[Port, ...]
    servers: tuple[Service, ...]
    deploy: Service
    workers: tuple[Service, ...]
    pages: dict[str, str]


def planned(settings: Settings, home: Path, conf: Path | None = None) -> Plan:
    """Return the processes for a home; ``keep_up`` adds the login.

    Args:
        settings: Settings, read from ``conf``.
        home: Folder of the home.
        conf: Folder of the settings; None for the default.
    """
    services, up = settings.services.at(home), settings.up
    state, folder = Path(services.state), (conf or default_conf()).resolve()
    environment = child_environment(
        PREFECT_HOME=str(state / "prefect"),
        PREFECT_API_URL=f"{up.prefect_page}/api",
        PREFECT_SERVER_CORS_ALLOWED_ORIGINS=up.prefect_page,
        **_PREFECT,
    )
    folders = (str(home.resolve()), str(folder))
    ports = [Port(up.host, up.prefect_port, f"prefect_port in {folder / 'up.yaml'}")]
    health = f"{up.prefect_page}/api/health"
    database = {"PREFECT_API_DATABASE_CONNECTION_URL": services.prefect} if services.prefect else {}
    servers = [
        Service("prefect", _page("prefect", ports[0], folders), environment | database, health)
    ]
    if services.mlflow.startswith(OWN_STORES):
        ports.append(Port(up.host, up.mlflow_port, f"mlflow_port in {folder / 'up.yaml'}"))
        # Job execution would start eight more processes that nothing here uses.
        without_jobs = environment | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        health = f"{up.mlflow_page}/health"
        servers.append(Service("mlflow", _page("mlflow", ports[1], folders), without_jobs, health))
    ports.append(Port(up.host, up.page_port, f"page_port in {folder / 'up.yaml'}"))
    health = f"{up.live_page}/health"
    servers.append(Service("live", _page("live", ports[-1], folders), environment, health))
    deploy = ("-m", "steelyard", "deploy", "--json", "--home", folders[0], "--conf", folders[1])
    commands: dict[str, tuple[str, ...]] = {"worker": ("-m", "steelyard.ops.worker")}
    if up.run:
        commands["run"] = ("-m", "steelyard", "run", "--home", folders[0], "--conf", folders[1])
    return Plan(
        state=state,
        ports=tuple(ports),
        servers=tuple(servers),
        deploy=Service("deploy", (sys.executable, *deploy), environment),
        workers=tuple(
            Service(name, (sys.executable, *command), environment)
            for name, command in commands.items()
        ),
        pages={"Steelyard": up.live_page, "Prefect": up.prefect_page, "MLflow": services.pages},
    )


def _page(name: str, port: Port, folders: tuple[str, str]) -> tuple[str, ...]:
    module = (sys.executable, "-m", "steelyard.ops.pages", name)
    return (*module, port.host, str(port.number), *folders)


def keep_up(plan: Plan, show: Callable[[Addresses], None], say: Callable[[str], None]) -> None:
    """Start all processes, show their addresses, and keep them running until a signal comes.

    Args:
        plan: Processes to run.
        show: Receives pages, file of their login, deployments and folder of the logs, once all
            have started.
        say: Receives one line about each restart.

    Raises:
        FixConfiguration: If a port is taken; nothing was started.
        RestoreService: If ``up`` runs already for this home, or a process does not start; those
            started are stopped again.
    """
    for module in NEEDED:
        if find_spec(module) is None:
            raise ModuleNotFoundError(name=module)
    manager = ServiceManager(service_manager_socket())
    with _alone(plan.state), suppress(KeyboardInterrupt):
        check(plan.ports)
        login = login_environment(make_login(plan.state))

        def with_login(service: Service) -> Service:
            return replace(service, environment={**service.environment, **login})

        with Supervisor(plan.state / "logs", say) as supervisor:
            supervisor.start(*map(with_login, plan.servers))
            registered = json.loads(supervisor.run(with_login(plan.deploy)))
            supervisor.start(*map(with_login, plan.workers))
            deployments = tuple(Deployment(**deployment) for deployment in registered)
            file, logs = str(login_file(plan.state)), str(plan.state / "logs")
            show(Addresses(plan.pages, file, deployments, logs))
            with manager:
                supervisor.watch(manager.alive)


@contextmanager
def _alone(state: Path) -> Iterator[None]:
    private_folder(state)
    try:
        with FileLock(state / "up.lock", timeout=0):
            yield
    except Timeout as error:
        raise RestoreService(f"steelyard up runs already for {state}; stop it first") from error
