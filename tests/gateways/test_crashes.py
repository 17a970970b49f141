"""A process killed at any write to MLflow, and eight that decide at once (SPEC §6, §7)."""

import shutil
import signal
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest

from factories.crash import ACTIONS, evaluate_at_once, killed_at, training
from factories.evidence import NOW, POLICY, state
from factories.homes import LAST, pilot_home
from factories.registry import LINEAGE, copy_mlflow, open_registry, promote
from steelyard.gateways.registry import Registry
from steelyard.gateways.registry.datasets import PARENT
from steelyard.gateways.registry.tracking import TRAINING
from steelyard.settings import PACKAGE
from steelyard.tasks.weight import evaluate_weight
from steelyard.weight.decision import make_decision
from steelyard.weight.ladder import period_end
from steelyard.weight.state import initial_state


@pytest.fixture
def pilot(registry: Registry) -> Registry:
    """A champion that serves, a challenger that waits, pilot at 15 %."""
    registry.journal.begin(initial_state(LINEAGE, NOW))
    registry.register(training("a"))
    promote(registry, "1")
    registry.register(training("b"))
    before = registry.journal.state()
    assert before is not None
    at = NOW + timedelta(days=15)
    pilot_state = state(champion="1").model_copy(update={"as_of": at})
    registry.journal.append(
        make_decision("gates", before, pilot_state, POLICY, at, verdict="RAISE", reasons=("made",))
    )
    return registry


@pytest.mark.parametrize("action", ACTIONS)
def test_whatever_write_a_process_dies_at_the_next_one_finds_everything_whole(
    pilot: Registry, processes: ForkServerContext, tmp_path: Path, action: str
) -> None:
    """Killed before each write in turn: verify finds nothing wrong afterwards, and a repeat works.

    A decision counts wholly or not at all: its weight is in force exactly when its run is finished.
    """
    prepared = Path(pilot._tracking._artifacts).parent
    for number in range(1, 40):
        folder = copy_mlflow(prepared, tmp_path / str(number))
        process = processes.Process(target=killed_at, args=(str(folder), action, number))
        process.start()
        process.join(60)
        survivor = open_registry(folder)
        require_whole(survivor)
        if process.exitcode == 0:
            assert number > 1
            return
        assert process.exitcode == -signal.SIGKILL
        ACTIONS[action](survivor)
        require_whole(survivor, finished=True)
    pytest.fail("never got through")


def trained(registry: Registry) -> dict[str, str]:
    """Return run → status of the trainings that are not killed; each must have its one trial."""
    tracking = registry._tracking
    runs = tracking.client.search_runs(
        [tracking.experiment_id(TRAINING)], "attributes.status != 'KILLED'"
    )
    parents = {run.info.run_id: run.info.status for run in runs if PARENT not in run.data.tags}
    trials = [run.data.tags[PARENT] for run in runs if run.data.tags.get(PARENT) in parents]
    assert sorted(trials) == sorted(parents)
    return parents


def require_whole(registry: Registry, *, finished: bool = False) -> None:
    """Require that nothing is wrong after recovery; unfinished runs may stay until the repeat."""
    state_read = registry.journal.state()
    registry.recover()
    recovered = registry.journal.state()
    faults = registry.journal.faults() + registry.misplaced()
    entries = registry.journal.entries()

    if finished:
        assert trained(registry) == {version.run_id: "FINISHED" for version in registry.versions()}
    assert [
        fault for fault in faults if finished or not fault.endswith("begun, never finished")
    ] == []
    assert recovered is not None
    assert recovered == state_read
    assert recovered.weight == entries[-1].state.weight
    assert recovered.champion == entries[-1].state.champion


PROCESSES = 8


@pytest.mark.parametrize("ledger", ["sqlite", "postgresql"])
def test_eight_that_evaluate_the_same_month_at_once_give_one_step_and_one_run(
    tmp_path: Path,
    empty_mlflow: Path,
    processes: ForkServerContext,
    postgres: Callable[[], str],
    ledger: str,
) -> None:
    """One decides, seven and a late rerun return its decision; without any limit of Prefect."""
    conf = Path(shutil.copytree(PACKAGE / "conf", tmp_path / "conf"))
    if ledger == "postgresql":
        services = (conf / "services.yaml").read_text()
        (conf / "services.yaml").write_text(
            services.replace("sqlite:///{home}/.steelyard/ledger.db", postgres())
        )
    stores = pilot_home(tmp_path / "home", empty_mlflow, conf)
    before = len(stores.journal.entries())
    start, answers = processes.Barrier(PROCESSES), processes.Queue()
    arguments = (str(tmp_path / "home"), str(conf), LAST, start, answers)
    workers = [processes.Process(target=evaluate_at_once, args=arguments) for _ in range(PROCESSES)]
    for worker in workers:
        worker.start()
    run_ids = {answers.get(timeout=120) for _ in workers}
    for worker in workers:
        worker.join(60)
    late = evaluate_weight(stores, period_end(LAST, 30) + timedelta(days=29))

    assert len(run_ids) == 1
    assert len(stores.journal.entries()) == before + 1
    assert late is not None
    assert run_ids == {late.run_id}
    assert stores.journal.faults() == []
