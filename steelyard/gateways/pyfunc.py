"""The stored model in MLflow's format: native booster and JSON behind a loader module; nothing in it is pickled."""

import tempfile
import warnings
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from steelyard.learning.model import Model


class Served:
    """The stored model behind MLflow's pyfunc."""

    def __init__(self, folder: Path) -> None:
        self._model = Model.from_files({file.name: file.read_bytes() for file in folder.iterdir()})

    def predict(
        self, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Return ``p_win`` and ``confidence_ml`` of a frame of features, one row each; there are no ``params``."""
        del params
        x = model_input[list(self._model.feature_names)].to_numpy(dtype="float64")
        p_win, confidence_ml = self._model.predict(x)
        return pd.DataFrame({"p_win": p_win, "confidence_ml": confidence_ml})


def _load_pyfunc(path: str) -> Served:
    """Open a stored model; MLflow calls this by its name."""
    return Served(Path(path))


def save(place: Path, files: Mapping[str, bytes], feature_names: tuple[str, ...]) -> None:
    """Write the stored ``files`` of a model as an MLflow model into the new folder ``place``."""
    import mlflow.pyfunc
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    inputs = Schema([ColSpec(DataType.double, name) for name in feature_names])
    outputs = Schema([ColSpec(DataType.double, name) for name in ("p_win", "confidence_ml")])
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*input example", category=UserWarning)
        data = Path(folder) / "stored"
        data.mkdir()
        for name, content in files.items():
            (data / name).write_bytes(content)
        mlflow.pyfunc.save_model(
            str(place),
            loader_module=__name__,
            data_path=str(data),
            signature=ModelSignature(inputs, outputs),
            pip_requirements=[f"steelyard=={version('steelyard')}"],
        )
