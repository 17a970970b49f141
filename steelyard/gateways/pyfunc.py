"""The stored model in MLflow's format: native booster files, JSON, and the code that answers.

Nothing is pickled. The code is a copy of ``steelyard.scoring``, for whoever serves the version
elsewhere; Steelyard itself reads the files and never runs what is stored beside them.
"""

import io
import shutil
import tempfile
import warnings
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from steelyard import scoring
from steelyard.learning.own_family import ONNX_FILE
from steelyard.learning.scorer import TREES
from steelyard.scoring.served import Served

CODE = "steelyard_scoring"
"""Name of the copy, which does not stand in the way of an installed Steelyard."""
NEEDED = ("mlflow", "numba", "numpy", "pandas")
EXAMPLES = 3
"""Rows of the input example."""


def _load_pyfunc(path: str) -> Served:
    """Load a model that was stored by a release whose versions carry no code of their own."""
    return Served(Path(path))


def save(folder: Path, files: Mapping[str, bytes], feature_names: tuple[str, ...]) -> None:
    """Write the files of a model as an MLflow model that needs public packages alone.

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
        data, code = Path(temporary) / "stored", Path(temporary) / CODE
        data.mkdir()
        for name, content in files.items():
            (data / name).write_bytes(content)
        shutil.copytree(scoring.__path__[0], code, ignore=shutil.ignore_patterns("__pycache__"))
        mlflow.pyfunc.save_model(
            str(folder),
            loader_module=f"{CODE}.served",
            data_path=str(data),
            code_paths=[str(code)],
            signature=ModelSignature(inputs, outputs),
            input_example=_example(files[TREES], feature_names),
            pip_requirements=[f"{name}=={version(name)}" for name in _needed(files)],
        )


def _needed(files: Mapping[str, bytes]) -> tuple[str, ...]:
    return (*NEEDED, "onnxruntime") if ONNX_FILE in files else NEEDED


def _example(trees: bytes, feature_names: tuple[str, ...]) -> pd.DataFrame:
    """Return the first of the training rows that check the stored trees."""
    with np.load(io.BytesIO(trees), allow_pickle=False) as archive:
        return pd.DataFrame(archive["x"][:EXAMPLES], columns=list(feature_names))
