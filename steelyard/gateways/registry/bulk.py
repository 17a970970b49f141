"""Thousands of runs at once from MLflow's SQLite tables.

MLflow's client makes an object of every parameter, too: 5,000 decisions take it half a minute.
"""

import sqlite3
from collections import defaultdict
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow.entities import Run

_CHOSEN = """FROM runs JOIN tags AS chosen ON chosen.run_uuid = runs.run_uuid
    AND chosen.key = 'lineage' AND chosen.value = ?
    {other} WHERE runs.experiment_id = ? AND runs.status = 'FINISHED'
    AND runs.lifecycle_stage = 'active'"""
_RUNS = "SELECT runs.run_uuid, runs.artifact_uri " + _CHOSEN.format(other="")
_TAGS = "SELECT other.run_uuid, other.key, other.value " + _CHOSEN.format(
    other="JOIN tags AS other ON other.run_uuid = runs.run_uuid"
)
_METRICS = "SELECT other.run_uuid, other.key, other.value, other.timestamp " + _CHOSEN.format(
    other="JOIN latest_metrics AS other ON other.run_uuid = runs.run_uuid"
)


def finished_runs(file: Path, experiment_id: str, lineage: str) -> list["Run"]:
    """Return the finished runs of a lineage in an experiment, highest sequence first.

    They have tags and metrics as MLflow's client returns them, but no parameters.

    Args:
        file: MLflow's SQLite database.
        experiment_id: The experiment.
        lineage: Value of the tag ``lineage``.
    """
    from mlflow.entities import Metric, Run, RunData, RunInfo, RunTag

    tags: dict[str, list[Any]] = defaultdict(list)
    metrics: dict[str, list[Any]] = defaultdict(list)
    terms = (lineage, int(experiment_id))
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("BEGIN")  # one moment for all three
        rows = connection.execute(_RUNS, terms).fetchall()
        for run_id, key, value in connection.execute(_TAGS, terms):
            tags[run_id].append(RunTag(key, value))
        for run_id, key, value, moment in connection.execute(_METRICS, terms):
            metrics[run_id].append(Metric(key, value, moment, 0))
    runs = [
        Run(
            RunInfo(run_id, experiment_id, "", "FINISHED", 0, None, "active", address),
            RunData(metrics[run_id], [], tags[run_id]),
        )
        for run_id, address in rows
    ]
    return sorted(runs, key=lambda run: run.data.metrics.get("sequence", -1.0), reverse=True)
