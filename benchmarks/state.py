"""Time of reading the state: cached by the trading side, from SQLite, through an MLflow server."""

import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from steelyard.desk.state_watch import StateWatch
from steelyard.environment import go_offline
from steelyard.gateways.brake import Brake
from steelyard.gateways.ledger import Ledger
from steelyard.gateways.registry import Registry
from steelyard.gateways.seal import Seal
from steelyard.gateways.witnesses import StateFile, Witnesses
from steelyard.weight.decision import make_decision
from steelyard.weight.policy import WeightPolicy
from steelyard.weight.state import initial_state
from steelyard.weight.transitions import extend_lease

NOW = datetime(2026, 1, 1, tzinfo=UTC)
POLICY = WeightPolicy()


def main() -> None:
    """Print medians and 99th percentiles."""
    go_offline()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        direct = opened(home, f"sqlite:///{home}/mlflow.db")
        decide(direct, 30)
        process, address = serve(home)
        try:
            served = opened(home, address)
            report(
                "watch.weight(), the trading side's cache",
                cached_weight(direct, home),
                200_000,
                "µs",
            )
            report("journal.state(), SQLite", direct.journal.state, 200, "ms")
            report("journal.state(), MLflow server", served.journal.state, 200, "ms")
            report("journal.verified(), SQLite", direct.journal.verified, 100, "ms")
            report("journal.verified(), MLflow server", served.journal.verified, 100, "ms")
            report("one decision appended, SQLite", lambda: decide(direct, 1), 20, "ms")
            report("one decision appended, MLflow server", lambda: decide(served, 1), 20, "ms")
        finally:
            process.terminate()
            process.wait(30)


def opened(home: Path, address: str) -> Registry:
    """Return a registry.

    Args:
        home: Folder of ledger and artifacts.
        address: Address of MLflow.
    """
    ledger = Ledger(f"sqlite:///{home}/ledger.db", "signal-confidence")
    seal, lineage = Seal(), "signal-confidence"
    return Registry(
        address,
        f"{home}/artifacts",
        lineage,
        lambda: ledger.exclusive("journal"),
        seal,
        Witnesses(lineage, ledger, StateFile(home / "state.json", seal), seal),
    )


def decide(registry: Registry, times: int) -> None:
    """Append decisions that change nothing but their time.

    Args:
        registry: Registry of the lineage.
        times: Number of decisions.
    """
    for _ in range(times):
        state = registry.journal.state() or registry.journal.begin(
            initial_state("signal-confidence", NOW)
        )
        at = state.as_of + timedelta(hours=1)
        after = extend_lease(state.model_copy(update={"as_of": at}), POLICY, at, at)
        registry.journal.append(
            make_decision("guard", state, after, POLICY, at, verdict="HOLD", reasons=("benchmark",))
        )


def cached_weight(registry: Registry, home: Path) -> Callable[[], float]:
    """Return a function that reads the weight from a refreshed watch.

    Args:
        registry: Registry of the lineage.
        home: Folder of the brake.
    """
    watch = StateWatch(registry.journal.verified, Brake(home), 5.0)
    watch.refresh()
    return lambda: watch.weight(NOW)


def serve(home: Path) -> tuple[subprocess.Popen[bytes], str]:
    """Start an MLflow server on this machine and wait until it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    store = [
        "--backend-store-uri",
        f"sqlite:///{home}/mlflow.db",
        "--artifacts-destination",
        f"{home}/artifacts",
    ]
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        *store,
        "--port",
        str(port),
        "--workers",
        "1",
    ]
    quiet = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    process = subprocess.Popen(
        command, env=quiet, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    for _ in range(600):
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{port}/health", timeout=2
            ):  # this machine
                return process, f"http://127.0.0.1:{port}"
        except OSError:
            time.sleep(0.2)
    raise SystemExit("the MLflow server did not start")


def report(label: str, read: Callable[[], object], times: int, unit: str) -> None:
    """Print the median and the 99th percentile of the time of a call.

    Args:
        label: What is measured.
        read: The call.
        times: Number of calls, after one that does not count.
        unit: µs or ms.
    """
    factor = {"µs": 1e6, "ms": 1e3}[unit]
    read()
    durations = []
    for _ in range(times):
        started = time.perf_counter()
        read()
        durations.append((time.perf_counter() - started) * factor)
    median, p99 = statistics.median(durations), statistics.quantiles(durations, n=100)[98]
    print(f"{label:44} p50 {median:8.2f} {unit}   p99 {p99:8.2f} {unit}")


if __name__ == "__main__":
    main()
