"""One command runs everything on one machine, keeps it running, and stops all of it."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Running

from steelyard import leash
from steelyard.settings import PROJECT, Schedules, Settings, UpSettings, load
from steelyard.up import planned
from tasks.deployments import declared

ALL = {
    "collect/daily",
    "trade/per-bar",
    "settle/daily",
    "guard/daily",
    "weight/daily",
    "drift/daily",
    "train/weekly",
    "train/quarterly",
    "review/monthly",
}
Command = Callable[..., tuple[int, str, str]]


@dataclass
class Up:
    """A running ``steelyard up``."""

    process: subprocess.Popen[bytes]
    home: Path
    conf: Path
    prefect: str
    mlflow: str

    def out(self) -> str:
        return (self.home.parent / "out").read_text()

    def err(self) -> str:
        return (self.home.parent / "err").read_text()

    def child(self, words: str) -> int:
        """Process id of the child whose command line holds ``words``; 0 without one."""
        listed = subprocess.run(["ps", "-ww", "-A", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True)  # noqa: S607
        rows = [line.split(maxsplit=2) for line in listed.stdout.splitlines()]
        found = [int(pid) for pid, parent, line in rows if int(parent) == self.process.pid and words in line]
        return found[0] if found else 0


def free_ports() -> list[int]:
    sockets = [socket.socket() for _ in range(2)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def asked(address: str, document: dict[str, Any] | None = None) -> Any:
    body = None if document is None else json.dumps(document).encode()
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})  # noqa: S310  # this machine
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        return answer.read().decode()


def answers(address: str) -> bool:
    try:
        return bool(asked(address))
    except OSError:
        return False


def eventually(holds: Callable[[], object], seconds: float = 90) -> bool:
    until = time.monotonic() + seconds
    while not holds() and time.monotonic() < until:
        time.sleep(0.3)
    return bool(holds())


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    folder = tmp_path_factory.mktemp("up")
    prefect, mlflow = free_ports()
    (folder / "conf").mkdir()
    (folder / "conf" / "up.yaml").write_text(f"prefect_port: {prefect}\nmlflow_port: {mlflow}\n")
    places = ["--home", folder / "home", "--conf", folder / "conf"]
    with (folder / "out").open("w") as out, (folder / "err").open("w") as err:
        process = subprocess.Popen(  # noqa: S603  # our own arguments
            [sys.executable, "-m", "steelyard", "up", *places],
            env={**os.environ, "PYTHONPATH": str(PROJECT)},
            stdout=out,
            stderr=err,
        )
    addresses = (f"http://127.0.0.1:{prefect}", f"http://127.0.0.1:{mlflow}")
    running = Up(process, folder / "home", folder / "conf", *addresses)
    eventually(lambda: "Ctrl-C" in running.out() or process.poll() is not None)
    yield running
    process.terminate()
    process.wait(60)


def test_the_pages_answer_and_every_deployment_is_scheduled(up: Up) -> None:
    """With the home and the settings it was started with, one run at a time; the terminal says where and when."""
    deployments = {
        f"{one['entrypoint'].rsplit(':')[-1]}/{one['name']}": one
        for one in json.loads(asked(f"{up.prefect}/api/deployments/filter", {}))
    }

    assert up.err() == ""
    assert answers(f"{up.prefect}/")
    assert answers(f"{up.mlflow}/")
    assert set(deployments) == ALL
    for name, one in deployments.items():
        assert {place: one["parameters"][place] for place in ("home", "conf")} == {
            "home": str(up.home),
            "conf": str(up.conf),
        }
        assert one["global_concurrency_limit"]["limit"] == 1
        assert one["concurrency_options"]["collision_strategy"] == "ENQUEUE"
        assert [schedule["active"] for schedule in one["schedules"]] == [True]
        assert re.search(rf"{name} +│ \d{{4}}-\d\d-\d\d \d\d:\d\d ", up.out())
    assert up.prefect in up.out()
    assert up.mlflow in up.out()


def test_the_doctor_finds_all_of_it_well(up: Up, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server of conf/up.yaml, a worker that is heard of, nine deployments for this home."""
    monkeypatch.delenv("PREFECT_API_URL", raising=False)

    def examined() -> dict[str, tuple[str, str]]:
        _, out, _ = command("doctor", "--home", up.home, "--conf", up.conf, "--json")
        return {row["name"]: (row["standing"], row["found"]) for row in json.loads(out)["rows"]}

    assert eventually(lambda: examined()["worker"][1].startswith("1 online, last heard of "))  # once it has started
    rows = examined()
    assert rows["Prefect"] == ("ok", f"a server answers at {up.prefect}/api")
    assert rows["deployments"] == ("ok", "all 9 are registered and active")
    assert (rows["late runs"][0], rows["runs"]) == ("ok", ("ok", "every schedule completes"))


def test_a_home_is_kept_up_once(up: Up, command: Command) -> None:
    """A second command is refused in one line."""
    code, out, err = command("up", "--home", up.home, "--conf", up.conf)

    assert (code, out) == (1, "")
    assert err.startswith("steelyard: steelyard up runs already for")


def test_registering_again_changes_nothing_and_closes_what_nobody_runs(
    up: Up, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deployments stay the ones they were; a run without a worker counts as crashed and holds nobody up."""
    monkeypatch.setenv("PREFECT_API_URL", f"{up.prefect}/api")
    with temporary_settings({PREFECT_API_URL: f"{up.prefect}/api"}), get_client(sync_client=True) as client:
        before = client.read_deployment_by_name("settle/daily")
        abandoned = client.create_flow_run_from_deployment(before.id, state=Running())
        code, out, err = command("deploy", "--alone", "--home", up.home, "--conf", up.conf)
        state = client.read_flow_run(abandoned.id).state

        assert code == 0, err
        assert set(re.findall(r"\w+/[\w-]+", out)) == ALL
        assert client.read_deployment_by_name("settle/daily").id == before.id
        assert len(client.read_deployments()) == len(ALL)
        assert state is not None
        assert state.is_crashed()


def test_what_is_killed_comes_back_and_works(up: Up) -> None:
    """Worker and MLflow's server with kill -9: others take their places, and a run completes."""
    killed = {name: up.child(words) for name, words in {"worker": "worker start", "mlflow": "mlflow server"}.items()}
    for group in killed.values():
        os.kill(group, signal.SIGKILL)
    assert eventually(lambda: up.child("worker start") not in (0, killed["worker"]))
    deployment = json.loads(asked(f"{up.prefect}/api/deployments/name/collect/daily"))["id"]
    state = {"state": {"type": "SCHEDULED"}}
    run = json.loads(asked(f"{up.prefect}/api/deployments/{deployment}/create_flow_run", state))["id"]

    assert eventually(lambda: json.loads(asked(f"{up.prefect}/api/flow_runs/{run}"))["state"]["name"] == "Completed")
    assert any((up.home / ".steelyard" / "lake").iterdir())
    assert eventually(lambda: answers(f"{up.mlflow}/health"))
    assert up.child("mlflow server") not in (0, killed["mlflow"])
    assert "worker was ended by signal 9" in up.err()
    assert "mlflow was ended by signal 9" in up.err()


def test_an_interrupt_stops_all_of_it(up: Up) -> None:
    """No process is left and the ports are free. Last in this file: it stops what runs."""
    groups = [up.child(words) for words in ("server start", "mlflow server", "worker start", "leash")]
    assert all(groups)
    up.process.send_signal(signal.SIGINT)

    assert up.process.wait(60) == 0
    assert eventually(lambda: not any(map(leash.alive, groups)), 5)
    for address in (up.prefect, up.mlflow):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", int(address.rsplit(":")[-1])))


@pytest.mark.parametrize("setting", ["prefect_port", "mlflow_port"])
def test_a_taken_port_is_one_line_and_nothing_starts(setting: str, home: Path, conf: Path, command: Command) -> None:
    """The line names the port and where it is set."""
    ports = dict(zip(("prefect_port", "mlflow_port"), free_ports(), strict=True))
    (conf / "up.yaml").write_text(yaml.safe_dump(ports))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", ports[setting]))
        taken.listen()
        code, out, err = command("up", "--home", home, "--conf", conf)

    assert (code, out) == (1, "")
    words = f"port {ports[setting]} on 127.0.0.1 is taken; stop what listens there, or change {setting} in {conf}/up.yaml"
    assert err == f"steelyard: {words}"
    assert not (home / ".steelyard" / "logs").exists()


@pytest.mark.parametrize("entry", declared(), ids=lambda entry: entry["entrypoint"])
def test_a_declared_deployment_is_a_flow_that_takes_its_parameters(entry: dict[str, Any]) -> None:
    """prefect.yaml: the entrypoint is there, the times are those of conf/up.yaml, and runs wait for each other."""
    file, name = entry["entrypoint"].split(":")
    found = getattr(import_module(file.removesuffix(".py").replace("/", ".")), name)
    [schedule] = entry["schedules"]

    assert isinstance(found, Flow)
    assert set(entry["parameters"]) <= set(found.validate_parameters(entry["parameters"]))
    assert schedule["cron"] == getattr(Schedules(), schedule["slug"])
    assert schedule["timezone"] == UpSettings().timezone
    assert entry["concurrency_limit"] == {"limit": 1, "collision_strategy": "ENQUEUE"}
    assert entry["work_pool"]["name"] == "steelyard"


def test_every_schedule_of_the_settings_has_its_deployment() -> None:
    """And every deployment its schedule."""
    assert [entry["schedules"][0]["slug"] for entry in declared()] == list(Schedules.model_fields)


def test_the_server_of_somebody_else_is_not_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where mlflow is an http address, its page is the one the settings name, and its port may be taken."""
    monkeypatch.setenv("PASSWORD", "planted")
    elsewhere = {"services": {"mlflow": "https://mlflow.example.org", "pages": "https://pages.example.org"}}
    ours = planned(Settings.model_validate({"services": {"mlflow": "postgresql://u:${PASSWORD}@h/d"}}), tmp_path)
    theirs = planned(Settings.model_validate(elsewhere), tmp_path)

    assert [service.name for service in theirs.servers] == ["prefect"]
    assert theirs.pages["MLflow"] == "https://pages.example.org"
    assert [port.number for port in theirs.ports] == [4200]
    assert [service.name for service in ours.servers] == ["prefect", "mlflow"]
    assert all("planted" not in " ".join(service.command) for service in ours.servers)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("prefect_port: 5000", "must differ"),
        ("timezone: Mars/Olympus", "no time zone"),
        ("schedules: {guard: daily}", "schedules.guard"),
        ("mlflow_port: 70000", "mlflow_port"),
    ],
)
def test_settings_that_cannot_work_are_refused(text: str, words: str, conf: Path, command: Command) -> None:
    """In one line, before anything starts."""
    (conf / "up.yaml").write_text(text)
    code, _, err = command("up", "--conf", conf)

    assert code == 1
    assert words in err


def test_deploying_needs_a_server(home: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line says how to name one."""
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    code, _, err = command("deploy", "--home", home)

    assert code == 1
    assert "PREFECT_API_URL names no Prefect server" in err
    assert load().up == UpSettings()
