"""What MLflow itself adds to the run of a training: its evaluation, and the machine's load.

Neither decides anything; the gates go by our own figures.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Lock, Thread
from typing import Any

import pandas as pd

PREFIX, SYSTEM = "evaluate_", "system/"
"""Before the names of MLflow's metrics of the holdout, and of those of the machine."""
SAMPLE_SECONDS = 10.0
_URI = Lock()
"""Held while MLflow's one URI of the process is ours."""


@dataclass(slots=True)
class MachineLoad:
    """Load of the machine while something ran.

    Attributes:
        samples: Time (milliseconds since 1970) and figures by MLflow's names, oldest first.
    """

    samples: list[tuple[int, dict[str, float]]] = field(default_factory=list)

    def metrics(self) -> list[Any]:
        """Return the samples as MLflow's system metrics, one step each."""
        from mlflow.entities import Metric

        return [
            Metric(f"{SYSTEM}{name}", float(value), at_ms, step)
            for step, (at_ms, figures) in enumerate(self.samples)
            for name, value in figures.items()
        ]


@contextmanager
def watched_machine() -> Iterator[MachineLoad]:
    """Yield the load of the machine, sampled every ten seconds and once at the end."""
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
    from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

    load, ended = MachineLoad(), Event()
    monitors = (CPUMonitor(), DiskMonitor(), NetworkMonitor())

    def sample() -> None:
        figures: dict[str, float] = {}
        for monitor in monitors:
            monitor.collect_metrics()
            figures |= monitor.aggregate_metrics()
            monitor.clear_metrics()
        load.samples.append((int(time.time() * 1000), figures))

    def repeat() -> None:
        while not ended.wait(SAMPLE_SECONDS):
            sample()

    sample()  # the load of a CPU is measured since the sample before
    del load.samples[:]
    watcher = Thread(target=repeat, daemon=True)
    watcher.start()
    try:
        yield load
    finally:
        ended.set()
        watcher.join()
        sample()


def evaluate_holdout(address: str, run_id: str, holdout: pd.DataFrame) -> None:
    """Let MLflow evaluate a holdout in a run: metrics with a prefix, confusion matrix, rows.

    Args:
        address: Address of MLflow, as its clients take it.
        run_id: The run, which this finishes.
        holdout: One row per signal, columns ``won`` and ``p_win``.
    """
    import mlflow
    from mlflow.data.pandas_dataset import from_pandas
    from mlflow.metrics import make_metric
    from mlflow.models import evaluate
    from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

    won, p_win = holdout["won"], holdout["p_win"]
    figures = {
        "roc_auc": roc_auc_score(won, p_win) if won.nunique() == 2 else float("nan"),
        "log_loss": log_loss(won, p_win, labels=[False, True]),
        "brier_score": brier_score_loss(won, p_win),
    }
    with _fluent(address), mlflow.start_run(run_id=run_id):
        evaluate(
            data=from_pandas(
                holdout.assign(predicted=p_win > 0.5),
                targets="won",
                predictions="predicted",
                name="holdout",
            ),
            model_type="classifier",
            evaluators="classifier",
            extra_metrics=[
                make_metric(
                    eval_fn=lambda _figure=figure: _figure,
                    greater_is_better=name == "roc_auc",
                    name=name,
                )
                for name, figure in figures.items()
            ],
            evaluator_config={
                "log_explainer": False,
                "metric_prefix": PREFIX,
                "label_list": [False, True],
                "pos_label": True,
            },
        )


@contextmanager
def _fluent(address: str) -> Iterator[None]:
    """Set the URI that MLflow's evaluation writes to, and put back the one there was."""
    import mlflow

    with _URI:
        before = mlflow.get_tracking_uri() if mlflow.tracking.is_tracking_uri_set() else None
        mlflow.set_tracking_uri(address)
        try:
            yield
        finally:
            mlflow.set_tracking_uri(before)  # type: ignore[arg-type]
