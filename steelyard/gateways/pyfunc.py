"""The stored model in MLflow's format: native booster files and JSON, nothing pickled."""

import tempfile
import warnings
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from steelyard.gateways.plugins import load_class
from steelyard.learning.model import Model


class Served:
    """A stored model, loaded through MLflow's pyfunc.

    Args:
        folder: Folder of the model's files.
    """

    def __init__(self, folder: Path) -> None:
        files = {file.name: file.read_bytes() for file in folder.iterdir()}
        self._model = Model.from_files(files, load_class)

    def predict(
        self, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Return the predictions, columns ``p_win`` and ``confidence_ml``, one row per input row.

        Args:
            model_input: One row per signal, one column per feature; NaN is a missing feature.
            params: Not used; MLflow passes it.
        """
        del params
        x = model_input[list(self._model.feature_names)].to_numpy(dtype="float64")
        p_win, confidence_ml = self._model.predict(x)
        return pd.DataFrame({"p_win": p_win, "confidence_ml": confidence_ml})


def _load_pyfunc(path: str) -> Served:
    """Load a stored model; MLflow calls this function by its name."""
    return Served(Path(path))


def save(folder: Path, files: Mapping[str, bytes], feature_names: tuple[str, ...]) -> None:
    """Write the files of a model as an MLflow model.

    Args:
        folder: New folder to write.
        files: Stored model, name → content.
        feature_names: Inputs of the model, in order.
    """
    import mlflow.pyfunc
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    inputs = Schema([ColSpec(DataType.double, name) for name in feature_names])
    outputs = Schema([ColSpec(DataType.double, name) for name in ("p_win", "confidence_ml")])
    with tempfile.TemporaryDirectory() as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*input example", category=UserWarning)
        data = Path(temporary) / "stored"
        data.mkdir()
        for name, content in files.items():
            (data / name).write_bytes(content)
        mlflow.pyfunc.save_model(
            str(folder),
            loader_module=__name__,
            data_path=str(data),
            signature=ModelSignature(inputs, outputs),
            pip_requirements=[f"steelyard=={version('steelyard')}"],
        )
