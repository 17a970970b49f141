"""A version of the model as MLflow loads it: ``mlflow models serve`` and ``pyfunc.load_model``."""

import importlib
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .kernels import opinions, predict_rows
from .onnx import Answer, onnx_answer

READABLE = (2, 3, 4)
"""Formats of ``model.json``; up to 2 there were no linear terms, up to 3 no NaN in trees."""
NODES = ("roots", "feature", "threshold", "left", "right", "missing_left")


class Served:
    """A stored model that answers frames.

    Args:
        folder: Folder of its files.

    Raises:
        ValueError: If the files are of another format.
        ImportError: If it is of a family of the user's own, and what reads that is not installed.
    """

    def __init__(self, folder: Path) -> None:
        description = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        if description["format"] not in READABLE:
            raise ValueError(f"a stored model of format {description['format']}; known: {READABLE}")
        self._feature_names: list[str] = description["feature_names"]
        self._raw = _own(folder, description) if ":" in description["family"] else _trees(folder)
        platt, scale = description["calibration"], description["scale"]
        grid, matched = (np.array(scale[name], dtype="float64") for name in ("p_win", "confidence"))
        self._terms = (platt["slope"], platt["intercept"], grid, matched)

    def predict(
        self, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Return the opinions, columns ``p_win`` and ``confidence_ml``, one row per input row.

        ``p_win`` is the calibrated probability that the trade wins, ``confidence_ml`` the same on
        the scale of the existing system, 0-100. The trading side does not ask about rows that lie
        far outside of the training data; this answers all.

        Args:
            model_input: One row per signal, one column per feature; NaN is a missing feature.
            params: Not used; MLflow passes it.
        """
        del params
        x = model_input[self._feature_names].to_numpy(dtype="float64")
        answers = opinions(self._raw(x), *self._terms)
        return pd.DataFrame(answers, columns=["p_win", "confidence_ml"])


def _trees(folder: Path) -> Answer:
    """Return what answers by stored trees and linear terms."""
    with np.load(folder / "forest.npz", allow_pickle=False) as archive:
        stored: Mapping[str, Any] = dict(archive)
    none, never = np.empty(0), np.zeros(len(stored["feature"]), dtype=bool)
    arrays = {"missing_left": never, "linear": none, "centre": none, **stored}
    nodes, linear = ([arrays[name] for name in names] for names in (NODES, ("linear", "centre")))
    terms = (*nodes, float(stored["base"]), *linear)
    precision = np.float32 if stored["single"] else np.float64
    return lambda x: predict_rows(x.astype(precision).astype(np.float64), *terms)


def _own(folder: Path, description: Mapping[str, Any]) -> Answer:
    """Return what answers for a family of the user's own; without ONNX its class is needed."""
    content = (folder / description["booster"]).read_bytes()
    if description["booster"] == "model.onnx":
        return onnx_answer(content)
    module, _, name = description["family"].partition(":")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = {member: archive.read(member) for member in archive.namelist()}
    learner = getattr(importlib.import_module(module), name).from_files(files)
    return lambda x: np.asarray(learner.predict_proba(x), dtype="float64")[:, 1]


def _load_pyfunc(path: str) -> Served:
    """Load a stored model; MLflow calls this function by its name."""
    return Served(Path(path))
