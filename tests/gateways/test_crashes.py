"""A process killed at any write to MLflow, and eight deciding at once: what is left is whole (SPEC §6, §7)."""

import multiprocessing
import signal
from datetime import timedelta
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest

from crashing import ACTIONS, killed_at, training
from made import NOW, POLICY, state
from registries import LINEAGE, copied, open_registry, promote
from steelyard.gateways.registry import Registry
from steelyard.weight.changes import conclude
from steelyard.weight.state import initial_state


@pytest.fixture(scope="session")
def processes() -> ForkServerContext:
    """New processes that have their imports behind them."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mlflow", "mlflow.store.tracking.sqlalchemy_store", "crashing"])
    return context


@pytest.fixture
def lived(registry: Registry) -> Registry:
    """A champion that serves, a challenger that waits, pilot at 15 %."""
    registry.journal.begin(initial_state(LINEAGE, NOW))
    registry.register(training("a"))
    promote(registry, "1")
    registry.register(training("b"))
    before = registry.journal.state()
    assert before is not None
    at = NOW + timedelta(days=15)
    pilot = state(champion="1").model_copy(update={"as_of": at})
    registry.journal.append(conclude("gates", at, at, "RAISE", ("made",), (), before, pilot, None, POLICY))
    return registry


@pytest.mark.parametrize("action", ACTIONS)
def test_whatever_write_a_process_dies_at_the_next_one_finds_everything_whole(
    lived: Registry, processes: ForkServerContext, tmp_path: Path, action: str
) -> None:
    """Killed before each write in turn, until there is none left; verify finds nothing wrong, and a repeat works.

    A decision counts wholly or not at all: its weight is in force exactly when its run is finished.
    """
    prepared = Path(lived._tracking._artifacts).parent
    for number in range(1, 40):
        folder = copied(prepared, tmp_path / str(number))
        process = processes.Process(target=killed_at, args=(str(folder), action, number))
        process.start()
        process.join(60)
        survivor = open_registry(folder)
        whole(survivor)
        if process.exitcode == 0:
            assert number > 1
            return
        assert process.exitcode == -signal.SIGKILL
        ACTIONS[action](survivor)
        whole(survivor, finished=True)
    pytest.fail("never got through")


def whole(registry: Registry, *, finished: bool = False) -> None:
    """Nothing is wrong but, before the action was repeated, runs that were begun."""
    found = registry.journal.state()
    registry.challenger()
    faults = registry.journal.faults() + registry.misplaced()
    entries = registry.journal.entries()

    assert [fault for fault in faults if finished or not fault.endswith("begun, never finished")] == []
    assert found is not None
    assert found.weight == entries[-1].state.weight
    assert found.champion == entries[-1].state.champion
