"""Each service of compose.yaml, started by its own command and found healthy by its own check."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import pytest
import yaml

from factories.postgres_server import PostgresServer, postgres_server
from factories.running_up import answers, fetch, free_ports, wait_until

pytestmark = pytest.mark.postgres
PROJECT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((PROJECT / "compose.yaml").read_text())
LOGIN = "anna:a-long-enough-password"
DATABASES = PROJECT / "deploy" / "postgres" / "databases.sql"
SECRETS = {"STEELYARD_LOGIN": LOGIN, "STEELYARD_TOKEN": "a-long-enough-token"}
START_SECONDS = 180.0
ENTRYPOINT = ["steelyard"]
PROGRAMS = {
    "python": [sys.executable],
    "steelyard": [sys.executable, "-P", "-m", "steelyard"],
}
ADDRESSED = ("up", "desk", "services")
"""Settings that name ports and hosts."""
VARIABLE = re.compile(r"\$\{(\w+):\?[^}]*\}")


@dataclass(frozen=True)
class Machine:
    """Where the containers' folders, ports and hosts are on this machine.

    Attributes:
        folder: Folder of homes, settings and logs.
        places: Text of compose.yaml → text on this machine.
        variables: What .env would hold.
    """

    folder: Path
    places: dict[str, str]
    variables: dict[str, str]

    def here(self, text: str) -> str:
        """Return a text of compose.yaml as it is on this machine."""
        there = re.compile("|".join(map(re.escape, self.places)))
        placed = there.sub(lambda found: self.places[found[0]], text)
        return VARIABLE.sub(lambda found: self.variables[found[1]], placed)

    def command(self, name: str) -> list[str]:
        """Return program and arguments of a service."""
        service = COMPOSE["services"][name]
        program, *arguments = service.get("entrypoint", ENTRYPOINT) + service.get("command", [])
        return PROGRAMS[program] + [self.here(argument) for argument in arguments]

    def environment(self, name: str) -> dict[str, str]:
        """Return the environment of a service."""
        given = COMPOSE["services"][name]["environment"]
        kept = {key: os.environ[key] for key in ("PATH", "HOME")}
        named = {key: self.here(value) for key, value in given.items()}
        return kept | {"PYTHONPATH": str(PROJECT)} | named

    def is_healthy(self, name: str) -> bool:
        """Whether a service's own check says so."""
        kind, *check = COMPOSE["services"][name]["healthcheck"]["test"]
        command = [self.here(part) for part in check]
        if kind == "CMD-SHELL":
            return subprocess.run(command[0], shell=True).returncode == 0  # noqa: S602
        program, *arguments = command
        checked = subprocess.run([*PROGRAMS[program], *arguments], capture_output=True)
        return checked.returncode == 0

    def is_up(self, name: str, process: "subprocess.Popen[bytes]") -> bool:
        """Whether a service is healthy; a process that has ended is an error."""
        assert process.poll() is None, self.log(name).read_text()
        return self.is_healthy(name)

    def log(self, name: str) -> Path:
        """File of what a service prints."""
        return self.folder / f"{name}.log"

    def start(self, name: str, log: IO[str]) -> "subprocess.Popen[bytes]":
        """Start a service in its folder."""
        return subprocess.Popen(
            self.command(name),
            env=self.environment(name),
            cwd=self.folder / "home",
            stdout=log,
            stderr=log,
        )

    @contextmanager
    def running(self, name: str) -> Iterator["subprocess.Popen[bytes]"]:
        """Run a service while inside; SIGTERM ends it, as ``docker compose stop`` does."""
        with self.log(name).open("w") as log:
            process = self.start(name, log)
        try:
            yield process
            assert process.poll() is None, self.log(name).read_text()
        finally:
            process.terminate()
            process.wait(60)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A folder with home and settings, free ports, and a server with the databases."""
    ports = [*free_ports(), free_ports()[0]]
    with postgres_server() as server:
        home = tmp_path / "home"
        home.mkdir()
        places = dict(zip(("4200", "5000", "8788", "8787"), map(str, ports), strict=True))
        places |= {"/var/lib/steelyard": str(home), "/etc/steelyard": str(tmp_path / "conf")}
        places |= {"0.0.0.0": "127.0.0.1", "//prefect:": "//127.0.0.1:"}  # noqa: S104
        places["host: prefect"] = "host: 127.0.0.1"
        places["@postgres:5432"] = f"@127.0.0.1:{server.port}"
        machine = Machine(tmp_path, places, SECRETS | {"STEELYARD_PASSWORD": server.password})
        make_databases(server)
        for file in (PROJECT / "conf").rglob("*.yaml"):
            copy = tmp_path / "conf" / file.relative_to(PROJECT / "conf")
            copy.parent.mkdir(parents=True, exist_ok=True)
            text = file.read_text()
            copy.write_text(machine.here(text) if file.stem in ADDRESSED else text)
        yield machine


def make_databases(server: PostgresServer) -> None:
    """Do what the image of PostgreSQL does at its first start."""
    server.ask(f"CREATE ROLE steelyard SUPERUSER LOGIN PASSWORD '{server.password}'")
    server.ask("CREATE DATABASE steelyard OWNER steelyard")
    subprocess.run(
        ["psql", "--quiet", "--set", "ON_ERROR_STOP=1", "--file", DATABASES],
        env={**os.environ, **server.environment},
        check=True,
    )


def come_up(machine: Machine, services: ExitStack, *names: str) -> None:
    """Start services together, and wait until each is healthy that has a check."""
    started = {name: services.enter_context(machine.running(name)) for name in names}
    for name, process in started.items():
        if "healthcheck" in COMPOSE["services"][name]:
            healthy = partial(machine.is_up, name, process)
            assert wait_until(healthy, START_SECONDS), machine.log(name).read_text()


def complete(machine: Machine, *names: str) -> None:
    """Run services that end, one after the other."""
    for name in names:
        with machine.log(name).open("w") as log:
            ended = machine.start(name, log).wait(START_SECONDS)
        assert ended == 0, machine.log(name).read_text()


def ask(address: str, document: dict[str, Any] | None = None) -> Any:
    """Call Prefect's API: POST if there is a document, else GET."""
    return json.loads(fetch(address, document, login=LOGIN))


def test_every_service_comes_up_and_a_flow_runs(machine: Machine) -> None:
    """In the order of ``depends_on``; the worker runs a flow, and the pages ask for the login."""
    api = machine.here("http://127.0.0.1:4200/api")
    with ExitStack() as services:
        come_up(machine, services, "prefect", "mlflow")
        complete(machine, "deploy", "collect")
        come_up(machine, services, "worker", "run", "live", "serve")
        deployment = ask(f"{api}/deployments/name/guard/daily-guard")["id"]
        scheduled = {"state": {"type": "SCHEDULED"}}
        run = ask(f"{api}/deployments/{deployment}/create_flow_run", scheduled)["id"]
        assert wait_until(lambda: ask(f"{api}/flow_runs/{run}")["state"]["type"] == "COMPLETED")
        for port in ("5000", "8788"):
            page = machine.here(f"http://127.0.0.1:{port}/")
            assert wait_until(partial(answers, page, LOGIN)), page
            assert not answers(page), page


def test_what_needs_another_service_waits_for_it() -> None:
    """Nothing starts before what it asks; all of ours are started by the test above."""
    services = COMPOSE["services"]
    after = {name: set(service.get("depends_on", ())) for name, service in services.items()}
    order = ["postgres", "prefect", "mlflow", "deploy", "collect", "worker", "run", "live", "serve"]

    assert set(order) == set(services)
    for name, needed in after.items():
        assert needed <= set(order[: order.index(name)])
        for other in needed:
            condition = services[name]["depends_on"][other]["condition"]
            checked = "healthcheck" in services[other]
            ends = services[other].get("restart") == "no"
            assert condition == ("service_completed_successfully" if ends else "service_healthy")
            assert checked or ends
