"""With a Prefect server the same flows are recorded there, steps and all."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL
from prefect.testing.utilities import prefect_test_harness

from flows.collect import collect
from steelyard.market.simulated import SimulatedMarket


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with prefect_test_harness(server_startup_timeout=120):
        yield str(PREFECT_API_URL.value())


def runs() -> tuple[list[str], list[str]]:
    """Flow and task runs the server knows, as name and state."""
    with get_client(sync_client=True) as client:
        flows = [f"{run.name and run.state_name}" for run in client.read_flow_runs()]
        tasks = [run.name.rsplit("-", 1)[0] for run in client.read_task_runs()]
    return flows, tasks


def test_a_flow_run_is_recorded_with_its_steps(server: str, home: Path) -> None:
    """Collect: one completed run, three steps."""
    document = collect(home=str(home))
    states, steps = runs()

    assert document["added"] > 18_000
    assert states == ["Completed"]
    assert sorted(steps) == ["announce_quarantine", "read_source", "store_bars", "validate_bars"]


def test_the_command_line_uses_the_server_that_is_configured(
    server: str, home: Path, command: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With PREFECT_API_URL set, the same command is a recorded run; a replay is one long step, not thousands."""
    monkeypatch.setenv("PREFECT_API_URL", server)
    before = len(runs()[0])
    start = SimulatedMarket().start.replace(month=6)
    code, _, err = command(
        "replay",
        "--bars",
        "simulated:hidden",
        "--start",
        f"{start:%Y-%m-%d}",
        "--end",
        "2020-06-03",
        "--trials",
        1,
        "--home",
        home,
    )
    states, steps = runs()

    assert code == 0, err
    assert len(states) == before + 1
    assert set(states) == {"Completed"}
    assert steps.count("live_through") == 1
    assert "guard_weight" not in steps
