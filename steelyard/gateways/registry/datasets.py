"""Which rows a run learned from or was judged on: name, fingerprint, columns and counts; the rows themselves stay."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput

DIGEST = 36
"""Characters of a fingerprint MLflow keeps."""


@dataclass(frozen=True, slots=True)
class Data:
    """Rows of settled signals.

    Attributes:
        context: What they were for: training, holdout, comparison.
        digest: SHA-256 over every value and name.
        source: Where they come from, as an address.
        columns: Numbers known when decided; the outcome is one more column.
        profile: Counts and bounds, plain JSON values.
    """

    name: str
    context: str
    digest: str
    source: str
    columns: tuple[str, ...]
    profile: Mapping[str, Any]


def inputs(data: Iterable[Data]) -> "list[DatasetInput]":
    """Return ``data`` as MLflow's inputs of a run."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    return [
        DatasetInput(
            Dataset(
                name=one.name,
                digest=one.digest[:DIGEST],
                source_type="local",
                source=json.dumps({"uri": one.source}),
                schema=json.dumps({"mlflow_colspec": _columns(one.columns)}),
                profile=json.dumps(dict(one.profile)),
            ),
            [InputTag("mlflow.data.context", one.context)],
        )
        for one in data
    ]


def _columns(names: Iterable[str]) -> list[dict[str, Any]]:
    kinds = [*((name, "double") for name in names), ("won", "boolean")]
    return [{"type": kind, "name": name, "required": True} for name, kind in kinds]
