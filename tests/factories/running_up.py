"""``steelyard up`` as an operator starts it, with its servers over HTTP."""

import base64
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import yaml

ENDED = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


@dataclass
class Up:
    """A running ``steelyard up``, and the addresses of its servers."""

    process: subprocess.Popen[bytes]
    folder: Path
    home: Path
    conf: Path
    prefect: str
    mlflow: str
    page: str

    @property
    def login(self) -> str:
        """The login of all pages, ``user:password``."""
        return (self.home / ".steelyard" / "login").read_text().strip()

    def out(self) -> str:
        return (self.folder / "out").read_text()

    def err(self) -> str:
        return (self.folder / "err").read_text()

    def child(self, text: str) -> int:
        """Process id of the child whose command line contains ``text``; 0 without one."""
        listed = subprocess.run(
            ["ps", "-ww", "-A", "-o", "pid=,ppid=,args="],
            capture_output=True,
            text=True,
            check=True,
        )
        rows = [line.split(maxsplit=2) for line in listed.stdout.splitlines()]
        pids = [
            int(pid)
            for pid, parent, line in rows
            if int(parent) == self.process.pid and text in line
        ]
        return pids[0] if pids else 0

    def api(self, path: str, document: dict[str, Any] | None = None) -> Any:
        """Call Prefect's server: POST if there is a document, else GET."""
        return json.loads(fetch(f"{self.prefect}/api/{path}", document, login=self.login))

    def registered(self) -> list[dict[str, Any]]:
        """Versions of the registered model on MLflow's server, oldest first."""
        address = f"{self.mlflow}/api/2.0/mlflow/model-versions/search"
        answer = json.loads(fetch(address, login=self.login))
        return sorted(answer.get("model_versions", []), key=lambda version: int(version["version"]))

    def started(self, deployment: str, **parameters: Any) -> str:
        """Start a run of ``deployment`` and return its id."""
        deployment_id = self.api(f"deployments/name/{deployment}")["id"]
        request = {"state": {"type": "SCHEDULED"}, "parameters": parameters}
        return str(self.api(f"deployments/{deployment_id}/create_flow_run", request)["id"])

    def state(self, run: str) -> str:
        return str(self.api(f"flow_runs/{run}")["state"]["type"])

    def ended(self, run: str, seconds: float = 120) -> str:
        """State of a run when it has ended, or after ``seconds``."""
        wait_until(lambda: self.state(run) in ENDED, seconds)
        return self.state(run)

    def completed(self, deployment: str, **parameters: Any) -> str:
        """Run ``deployment`` to its end and return the run's id."""
        run = self.started(deployment, **parameters)
        assert self.ended(run) == "COMPLETED", run
        return run

    def artifacts(self, run: str) -> dict[str, Any]:
        """Artifacts of a run by key."""
        artifacts = self.api("artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run]}}})
        return {artifact["key"]: artifact["data"] for artifact in artifacts}


@contextmanager
def running_up(
    folder: Path,
    home: Path,
    settings: Mapping[str, Any] | None = None,
    profile: str = "",
    command: Sequence[object] = (),
    seconds: float = 90,
) -> Iterator[Up]:
    """Run ``steelyard up`` on free ports while inside; ``settings`` by file name in ``conf/``.

    ``command`` runs in its place, and has to be up after ``seconds``.
    """
    ports = dict(zip(("prefect_port", "mlflow_port", "page_port"), free_ports(), strict=True))
    own = dict(settings or {})
    files = {**own, "up": {**own.get("up", {}), **ports}}
    conf = folder / "conf"
    conf.mkdir()
    for name, values in files.items():
        (conf / name).parent.mkdir(parents=True, exist_ok=True)
        (conf / f"{name}.yaml").write_text(yaml.safe_dump(values))
    conf /= profile
    command = command or ("up", "--home", home, "--conf", conf)
    with (folder / "out").open("w") as out, (folder / "err").open("w") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "steelyard", *map(str, command)],
            env={
                **os.environ,
                "PYTHONPATH": str(Path(__file__).parents[2]),
                "PREFECT_WORKER_QUERY_SECONDS": "1",  # 10 unless told
            },
            stdout=out,
            stderr=err,
        )
    running = Up(
        process, folder, home, conf, *(f"http://127.0.0.1:{port}" for port in ports.values())
    )
    try:
        wait_until(lambda: "Ctrl-C" in running.out() or process.poll() is not None, seconds)
        yield running
    finally:
        process.terminate()
        process.wait(60)


def free_ports() -> list[int]:
    sockets = [socket.socket() for _ in range(3)]
    for free in sockets:
        free.bind(("127.0.0.1", 0))
    ports = [free.getsockname()[1] for free in sockets]
    for free in sockets:
        free.close()
    return ports


def fetch(
    address: str,
    document: dict[str, Any] | None = None,
    tries: int = 20,
    login: str = "",
    headers: Mapping[str, str] | None = None,
) -> Any:
    """Return a server's answer.

    Try again on 503, which Prefect sends while its database is busy.
    """
    body = None if document is None else json.dumps(document).encode()
    sent = {"Content-Type": "application/json", **(headers or {})}
    if login:
        sent["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
    request = urllib.request.Request(address, body, sent)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        if error.code != HTTPStatus.SERVICE_UNAVAILABLE or tries == 1:
            raise
    time.sleep(0.5)
    return fetch(address, document, tries - 1, login, headers)


def answers(address: str, login: str = "") -> bool:
    try:
        return bool(fetch(address, login=login))
    except OSError:
        return False


def wait_until(holds: Callable[[], object], seconds: float = 90) -> bool:
    until = time.monotonic() + seconds
    while not holds() and time.monotonic() < until:
        time.sleep(0.3)
    return bool(holds())
