"""Thousands of runs and their files at once from an MLflow server.

MLflow's client makes an object of every metric of an answer, and asks three times for a file.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

if TYPE_CHECKING:
    from mlflow.entities import Run

RUNS = "/api/2.0/mlflow/runs/search"
FILES = "/api/2.0/mlflow-artifacts/artifacts"
PAGE = 250
"""Runs in one answer, few enough for a busy server to answer before MLflow's client gives up."""


def served_runs(address: str, experiment_id: str, lineage: str) -> list["Run"]:
    """Return the finished runs of a lineage in an experiment, highest sequence first.

    They have tags and metrics as MLflow's client returns them, but no parameters.

    Args:
        address: ``http://…`` of the server.
        experiment_id: The experiment.
        lineage: Value of the tag ``lineage``.
    """
    query = {
        "experiment_ids": [experiment_id],
        "filter": f"attributes.status = 'FINISHED' and tags.lineage = '{lineage}'",
        "max_results": PAGE,
    }
    runs = [_run(answer) for answer in _answers(address, query)]
    return sorted(runs, key=lambda run: run.data.metrics.get("sequence", -1.0), reverse=True)


def _answers(address: str, query: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the runs that a server returns, as plain JSON values."""
    request = _requests(address)
    page: dict[str, str] | None = {}
    while page is not None:
        answer = request(RUNS, "POST", json=query | page)
        answer.raise_for_status()
        document = answer.json()
        yield from document.get("runs", ())
        token = document.get("next_page_token")
        page = {"page_token": token} if token else None


def _requests(address: str) -> Callable[..., Any]:
    """Return MLflow's function for requests to a server, which knows the credentials."""
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    return partial(http_request, get_default_host_creds(address))  # type: ignore[no-untyped-call]


def _run(answer: dict[str, Any]) -> "Run":
    from mlflow.entities import Metric, Run, RunData, RunInfo, RunTag

    info, data = answer["info"], answer["data"]
    metrics = [
        Metric(metric["key"], float(metric["value"]), int(metric["timestamp"]), 0)
        for metric in data.get("metrics", ())
    ]
    tags = [RunTag(tag["key"], tag["value"]) for tag in data.get("tags", ())]
    place = info["artifact_uri"]
    return Run(
        RunInfo(info["run_id"], info["experiment_id"], "", "FINISHED", 0, None, "active", place),
        RunData(metrics, [], tags),
    )


def file_reader(address: str, name: str) -> Callable[["Run"], str | None]:
    """Return a function that reads the text of a run's file, None if one request does not get it.

    Args:
        address: ``http://…`` of the server.
        name: Name of the file, with its folders.
    """
    request = _requests(address)

    def read(run: "Run") -> str | None:
        place = urlsplit(run.info.artifact_uri)
        if place.scheme != "mlflow-artifacts" or place.netloc:
            return None
        answer = request(f"{FILES}{place.path}/{quote(name)}", "GET")
        return answer.content.decode() if answer.status_code == 200 else None

    return read
