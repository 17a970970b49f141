"""The registry through a running MLflow server, and a trading process after that server stops."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from factories.crash import training
from factories.evidence import NOW, POLICY, evidence, state
from factories.registry import open_registry, promote
from steelyard.desk.state_watch import StateWatch
from steelyard.errors import RestoreService
from steelyard.gateways.brake import Brake
from steelyard.gateways.registry import Registry, served
from steelyard.gateways.registry.served import file_reader
from steelyard.weight.case import Case
from steelyard.weight.decision import make_decision
from steelyard.weight.ladder import evaluate


@dataclass
class Server:
    """A running MLflow server of its own."""

    address: str
    process: subprocess.Popen[bytes]
    folder: Path

    def stop(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(30)


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=2) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except OSError:
        return False


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, empty_mlflow: Path) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    (folder / "mlflow.db").write_bytes((empty_mlflow / "mlflow.db").read_bytes())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    store = [
        "--backend-store-uri",
        f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination",
        folder / "artifacts",
    ]
    quiet = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    process = subprocess.Popen(  # our own arguments
        [sys.executable, "-m", "mlflow", "server", *store, "--port", str(port), "--workers", "1"],
        env=quiet,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    server = Server(f"http://127.0.0.1:{port}", process, folder)
    deadline = time.monotonic() + 120
    while not answers(server.address) and time.monotonic() < deadline:
        time.sleep(0.2)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def registry(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """A champion in pilot, decided through the server."""
    registry = open_registry(tmp_path_factory.mktemp("client"), server.address)
    registry.register(training("a"))
    promote(registry, "1")
    state_before = registry.journal.state()
    assert state_before is not None
    pilot = state(champion="1").model_copy(update={"as_of": NOW})
    registry.journal.append(
        make_decision("gates", state_before, pilot, POLICY, NOW, verdict="RAISE", reasons=("made",))
    )
    return registry


def test_deciding_through_a_server_is_the_same(registry: Registry) -> None:
    """Registered, promoted, raised: recorded once, linked, verified; the aliases are right."""
    at = NOW + timedelta(days=30)
    state_before = registry.journal.state()
    assert state_before is not None
    entry = registry.journal.append(
        evaluate(Case(state_before, evidence(), POLICY, at, at)), {"decision.png": b"picture"}
    )

    assert (
        registry.journal.append(evaluate(Case(state_before, evidence(), POLICY, at, at))) == entry
    )
    assert registry.journal.state() == entry.state
    assert registry.journal.faults() + registry.misplaced() == []
    assert [e.sequence for e in registry.journal.entries()] == [1, 2, 3]


def test_runs_and_files_read_at_once_are_those_that_the_client_returns(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In pages, too; a file that is not there is None."""
    monkeypatch.setattr(served, "PAGE", 2)
    tracking = registry._tracking
    read, wanted = tracking.all_decision_runs(), tracking.decision_runs()
    client, experiment = tracking.client, tracking.client.create_experiment("files")
    runs = [client.create_run(experiment) for _ in range(3)]
    for number, run in enumerate(runs[:2]):
        client.log_text(run.info.run_id, f"größer als {number}", "folder/a file.txt")

    assert runs[0].info.artifact_uri.startswith("mlflow-artifacts:/")
    assert tracking.texts(runs, "folder/a file.txt") == ["größer als 0", "größer als 1", None]
    assert [file_reader(tracking._address, "folder/a file.txt")(run) for run in runs] == [
        "größer als 0",
        "größer als 1",
        None,
    ]
    assert [(run.info.run_id, run.info.artifact_uri) for run in read] == [
        (run.info.run_id, run.info.artifact_uri) for run in wanted
    ]
    assert [run.data.tags for run in read] == [run.data.tags for run in wanted]
    assert [run.data.metrics for run in read] == [run.data.metrics for run in wanted]


def test_when_the_server_stops_trading_goes_on_with_the_last_state(
    registry: Registry, server: Server, tmp_path: Path
) -> None:
    """It lasts until the lease ends; flows fail with one line. Last here: it stops the server."""
    registry.journal.renew_lease(NOW + timedelta(days=40))
    watching = StateWatch(registry.journal.verified, Brake(tmp_path), 5.0)
    watching.refresh()
    weight_before = watching.weight(NOW)
    server.stop()
    watching.refresh()

    assert weight_before > 0
    assert watching.weight(NOW) == weight_before
    assert watching.weight(NOW + timedelta(days=41)) == 0.0
    assert watching.trouble is not None
    assert "cannot be used" in watching.trouble
    with pytest.raises(RestoreService, match=r"MLflow at http://127.0.0.1:\d+ cannot be used"):
        registry.journal.state()
