"""CPU time of one decision and of verifying journals of 500 and 5,000 decisions.

Beside it stands MLflow's client, which reads the same runs. From SQLite and through a server of
this machine, which also hands out the files. The journals are written into MLflow's tables, since
making five thousand decisions takes minutes.
"""

import json
import sqlite3
import tempfile
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from math import log
from pathlib import Path

from state import NOW, POLICY, decide, opened, serve  # the benchmark beside this one

from steelyard.environment import go_offline
from steelyard.gateways.registry import Registry
from steelyard.gateways.registry.journal import _entry_metrics
from steelyard.gateways.registry.tracking import DECISIONS, Tracking
from steelyard.weight.decision import Entry, link, make_decision
from steelyard.weight.state import State

LENGTHS = (500, 5_000)
PAGE = 250
"""Runs that MLflow's client asks for at a time."""
FIGURES = 50
"""Metrics of a decision, about as many as evidence has."""


def main() -> None:
    """Print seconds of CPU; those of the server's process are not among them."""
    go_offline()
    rows: dict[str, list[float]] = {}
    for length in LENGTHS:
        with tempfile.TemporaryDirectory() as folder:
            home = Path(folder)
            registry = opened(home, f"sqlite:///{home}/mlflow.db")
            decide(registry, 1)
            lengthen(registry, home, length)
            for name, figure in measured(registry).items():
                rows.setdefault(f"SQLite: {name}", []).append(figure)
            with closing(sqlite3.connect(home / "mlflow.db")) as connection, connection:
                connection.execute(
                    "UPDATE runs SET artifact_uri = replace(artifact_uri, ?, 'mlflow-artifacts:')",
                    (f"{home}/artifacts",),
                )
            process, address = serve(home)
            try:
                for name, figure in measured(opened(home, address)).items():
                    rows.setdefault(f"server: {name}", []).append(figure)
            finally:
                process.terminate()
                process.wait(30)
    print(f"{'decisions':28}" + "".join(f"{length:>10,}" for length in LENGTHS) + "    exponent")
    for name, figures in sorted(rows.items()):
        growth = log(figures[-1] / figures[0]) / log(LENGTHS[-1] / LENGTHS[0])
        print(f"{name:28}" + "".join(f"{figure:10.3f}" for figure in figures) + f"{growth:12.2f}")


def measured(registry: Registry) -> dict[str, float]:
    """Return the seconds of each part.

    Args:
        registry: Registry of the lineage.
    """
    journal = registry.journal
    decide(registry, 1)  # imports, connections, and what a process looks up once
    last = journal.entries(last=1)[0]
    return {
        "one decision": seconds(lambda: decide(registry, 1)),
        "path of the weight": seconds(lambda: journal.weight_path(last)),
        "verified": seconds(journal.examine),
        "read by the client": seconds(lambda: read_by_client(journal._tracking)),
    }


def read_by_client(tracking: Tracking) -> None:
    """Read every decision's run by MLflow's client, as many at a time as a server has time for."""
    experiments, page = [tracking.experiment_id(DECISIONS)], None
    while page != "":
        read = tracking.client.search_runs(experiments, max_results=PAGE, page_token=page)
        page = read.token or ""


def seconds(work: Callable[[], object]) -> float:
    """Return the CPU time of one call in this process."""
    started = time.process_time()
    work()
    return time.process_time() - started


def lengthen(registry: Registry, home: Path, length: int) -> None:
    """Make the journal as long as ``length``.

    Args:
        registry: Registry of the lineage, with one decision.
        home: Folder of MLflow's database.
        length: Decisions there shall be.
    """
    journal, rows = registry.journal, []
    [last] = journal.entries()
    while last.sequence < length:
        last = following(last)
        rows.append(last)
    experiment = int(journal._tracking.experiment_id(DECISIONS))
    with closing(sqlite3.connect(home / "mlflow.db")) as connection, connection:
        for entry in rows:
            place = home / "artifacts" / "decisions" / str(entry.run_id) / "artifacts"
            place.mkdir(parents=True)
            (place / "decision.json").write_text(json.dumps(entry.model_dump(mode="json")))
            write(connection, entry, experiment, str(place), journal._entry_tags(entry))
    with journal.deciding():
        journal._take_effect(last)


def following(last: Entry) -> Entry:
    """Return a decision after the last one, with as many figures as evidence has."""
    before: State = last.state
    at = before.as_of + timedelta(hours=1)
    after = before.model_copy(update={"as_of": at})
    decision = make_decision(
        "guard", before, after, POLICY, at, verdict="HOLD", reasons=("benchmark",)
    ).model_copy(update={"evidence": {f"figure_{number}": 0.5 for number in range(FIGURES)}})
    return link(decision, last).model_copy(update={"run_id": uuid.uuid4().hex})


def write(
    connection: sqlite3.Connection, entry: Entry, experiment: int, place: str, tags: dict[str, str]
) -> None:
    """Write the run of a decision.

    Args:
        connection: MLflow's database.
        entry: The decision.
        experiment: Id of the experiment.
        place: Folder of its files.
        tags: Tags that verifying checks.
    """
    moment, lineage = int(NOW.timestamp() * 1000), entry.decision.lineage
    connection.execute(
        "INSERT INTO runs (run_uuid, name, user_id, status, start_time, end_time, "
        "lifecycle_stage, artifact_uri, experiment_id) "
        "VALUES (?, 'guard', '', 'FINISHED', ?, ?, 'active', ?, ?)",
        (entry.run_id, moment, moment, place, experiment),
    )
    named = tags | {"lineage": lineage, "key": entry.decision.key, "mlflow.runName": "guard"}
    connection.executemany(
        "INSERT INTO tags (key, value, run_uuid) VALUES (?, ?, ?)",
        [(name, value, entry.run_id) for name, value in named.items()],
    )
    connection.executemany(
        "INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid) "
        "VALUES (?, ?, ?, 0, 0, ?)",
        [(name, figure, moment, entry.run_id) for name, figure in _entry_metrics(entry).items()],
    )


if __name__ == "__main__":
    main()
