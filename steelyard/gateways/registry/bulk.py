"""Thousands of runs at once from MLflow's tables.

MLflow's client makes an object of every parameter, too: 5,000 decisions take it half a minute.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import BindParameter, NullPool, TextClause, bindparam, create_engine, text

from steelyard.gateways.registry.places import client_address

if TYPE_CHECKING:
    from mlflow.entities import Run

ISOLATION = "SERIALIZABLE"
"""All three queries see the tables of one moment."""
_CHOSEN = """FROM runs JOIN tags AS chosen ON chosen.run_uuid = runs.run_uuid
    AND chosen.key = 'lineage' AND chosen.value = :lineage
    {other} WHERE runs.experiment_id = :experiment AND runs.status = 'FINISHED'
    AND runs.lifecycle_stage = 'active'"""
_RUNS = text("SELECT runs.run_uuid, runs.artifact_uri " + _CHOSEN.format(other=""))
_TAGS = "SELECT other.run_uuid, other.key, other.value " + _CHOSEN.format(
    other="JOIN tags AS other ON other.run_uuid = runs.run_uuid"
)
_METRICS = "SELECT other.run_uuid, other.key, other.value, other.timestamp " + _CHOSEN.format(
    other="JOIN latest_metrics AS other ON other.run_uuid = runs.run_uuid"
)


def finished_runs(
    address: str, experiment_id: str, lineage: str, names: Sequence[str] = ()
) -> list["Run"]:
    """Return the finished runs of a lineage in an experiment, highest sequence first.

    They have tags and metrics as MLflow's client returns them, but no parameters.

    Args:
        address: MLflow's database, ``sqlite:///FILE`` or ``postgresql+psycopg://…``.
        experiment_id: The experiment.
        lineage: Value of the tag ``lineage``.
        names: Tags and metrics that are read, the metric ``sequence`` among them; empty for all.
    """
    from mlflow.entities import Metric, Run, RunData, RunInfo, RunTag

    tags: dict[str, list[Any]] = defaultdict(list)
    metrics: dict[str, list[Any]] = defaultdict(list)
    terms = {"lineage": lineage, "experiment": int(experiment_id)}
    read_tags, read_metrics = (_named(query, names) for query in (_TAGS, _METRICS))
    engine = create_engine(client_address(address), poolclass=NullPool)
    try:
        with engine.connect().execution_options(isolation_level=ISOLATION) as connection:
            if engine.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN")  # its driver begins with the first change only
            rows = connection.execute(_RUNS, terms).all()
            for run_id, key, value in connection.execute(read_tags, terms):
                tags[run_id].append(RunTag(key, value))
            for run_id, key, value, moment in connection.execute(read_metrics, terms):
                metrics[run_id].append(Metric(key, value, moment, 0))
    finally:
        engine.dispose()
    runs = [
        Run(
            RunInfo(run_id, experiment_id, "", "FINISHED", 0, None, "active", address),
            RunData(metrics[run_id], [], tags[run_id]),
        )
        for run_id, address in rows
    ]
    return sorted(runs, key=lambda run: run.data.metrics.get("sequence", -1.0), reverse=True)


def _named(query: str, names: Sequence[str]) -> TextClause:
    """Return a query of all tags or metrics, or of those of some names."""
    if not names:
        return text(query)
    wanted: BindParameter[str] = bindparam("names", list(names), expanding=True)
    return text(f"{query} AND other.key IN :names").bindparams(wanted)
