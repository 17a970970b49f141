"""A model family of the user's own: fitted as scikit-learn does, stored without pickle.

A family is named ``MODULE:CLASS``. The class takes the parameters of its search space and has

- ``search_space(trial)``, a static method that returns parameters suggested by an Optuna trial;
- ``fit(x, y, sample_weight)`` and ``predict_proba(x)`` as in scikit-learn: x of shape (n, k), y
  booleans of shape (n,), probabilities of shape (n, 2);
- optionally ``first_params``, a mapping of parameters that the first trial of a search takes.

It is stored in one of three ways, the first that it has: ``to_files()`` gives file name → bytes and
the class method ``from_files(files)`` reads them back; ``to_onnx(features)`` gives an ONNX model;
or it is, or derives from, an estimator that skl2onnx converts. An ONNX model is served without the
class. Nothing that is stored can run code when it is read.
"""

import copy
import importlib
import io
import zipfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from steelyard.errors import FixConfiguration, FixData, SteelyardError, needing
from steelyard.learning.samples import Floats, WeightedRows
from steelyard.scoring.onnx import Answer, onnx_answer

ONNX_FILE, OWN_FILE = "model.onnx", "model.zip"
ROUNDING = 1e-4
"""Accepted difference of a probability read back from that of the fitted model."""
BUILT_ON = (1980, 1, 1, 0, 0, 0)
"""Date of the files in the archive: the same model gives the same bytes."""

ClassLoader = Callable[[str], Any]
"""Returns the class that ``MODULE:CLASS`` names."""
Params = dict[str, Any]
"""Parameters of a trial."""


def installed_class(name: str) -> Any:
    """Return the class of an installed module that ``MODULE:CLASS`` names."""
    module, _, class_name = name.partition(":")
    return getattr(importlib.import_module(module), class_name)


def is_own(family: str) -> bool:
    """Return whether a family is a class of the user's own."""
    return ":" in family


def load_family(family: str, load: ClassLoader) -> Any:
    """Return the class of a family.

    Args:
        family: ``MODULE:CLASS``.
        load: Returns the class of that name.

    Raises:
        FixConfiguration: If there is no such class, or it lacks a part of the contract.
    """
    try:
        found = load(family)
    except (ImportError, AttributeError) as error:
        raise FixConfiguration(
            f"family {family}: {error}; families in conf/learning.yaml names MODULE:CLASS"
        ) from error
    lacking = [
        part for part in ("search_space", "fit", "predict_proba") if not hasattr(found, part)
    ]
    if lacking:
        raise FixConfiguration(
            f"family {family} lacks {', '.join(lacking)}; add it (docs/guide/own-model.md)"
        )
    return found


class NamedTrial:
    """An Optuna trial whose parameters carry the name of a family, as families may share names.

    Args:
        trial: The trial.
        family: Name of the family.
    """

    def __init__(self, trial: Any, family: str) -> None:
        self._trial, self._family = trial, family

    def __getattr__(self, method: str) -> Any:
        """Return a ``suggest_…`` method of the trial that adds the family to the name."""
        suggest = getattr(self._trial, method)
        if not method.startswith("suggest_"):
            return suggest
        return lambda name, *args, **options: suggest(f"{self._family}.{name}", *args, **options)


def first_params(family: str, load: ClassLoader) -> Params:
    """Return what the first trial of a family takes, by the names its trial knows them.

    Args:
        family: ``MODULE:CLASS``.
        load: Returns the class of that name.
    """
    first = getattr(load_family(family, load), "first_params", {})
    return {f"{family}.{name}": value for name, value in first.items()}


def fit_own(family: str, params: Params, rows: WeightedRows, load: ClassLoader) -> Any:
    """Return a fitted model.

    Args:
        family: ``MODULE:CLASS``.
        params: Parameters of its search space.
        rows: Rows to fit, both outcomes among them.
        load: Returns the class of that name.

    Raises:
        FixConfiguration: If the class ends in an error.
    """
    try:
        model = load_family(family, load)(**params)
        model.fit(rows.x, rows.won, sample_weight=rows.weight)
    except Exception as error:
        raise FixConfiguration(
            f"family {family} cannot be fitted with {params}: {type(error).__name__}: {error}"
        ) from error
    return model


def probabilities(model: Any, x: Floats) -> Floats:
    """Return the probability of a win that a fitted model gives each row, shape (n,).

    Args:
        model: Fitted model.
        x: Features, shape (n, k).

    Raises:
        FixConfiguration: If it gives no probabilities of shape (n, 2).
    """
    given = np.asarray(model.predict_proba(x), dtype=np.float64)
    if given.shape != (len(x), 2) or not ((given >= 0) & (given <= 1)).all():
        raise FixConfiguration(
            f"{type(model).__name__}.predict_proba must give probabilities of shape "
            f"({len(x)}, 2), not {given.shape}"
        )
    return given[:, 1]


def store_own(family: str, model: Any, x: Floats, load: ClassLoader) -> tuple[str, bytes]:
    """Return a fitted model as a file: its name and its content.

    Args:
        family: ``MODULE:CLASS``.
        model: Fitted model.
        x: Rows it was fitted on, shape (n, k).
        load: Returns the class of that name.

    Raises:
        FixConfiguration: If it cannot be stored, or answers otherwise when it is read back.
    """
    trouble = ""
    for name, content in _stored_forms(family, model, x.shape[1]):
        try:
            answers = stored_answers(family, (name, content), load)(x)
        except FixData as error:
            trouble = str(error)
            continue
        largest = float(np.max(np.abs(answers - probabilities(model, x))))
        if largest <= ROUNDING:
            return name, content
        trouble = f"{name} read back is {largest:.1e} off, at most {ROUNDING:.0e} allowed"
    raise FixConfiguration(f"family {family}: {trouble}; give the class to_files and from_files")


def stored_answers(family: str, file: tuple[str, bytes], load: ClassLoader) -> Answer:
    """Return what gives the raw probabilities of rows, shape (n, k) → (n,), by a stored model.

    Args:
        family: ``MODULE:CLASS``.
        file: Name and content of its file.
        load: Returns the class of that name; an ONNX model needs none.

    Raises:
        FixData: If it cannot be read.
        FixConfiguration: If its class cannot be loaded.
    """
    name, content = file
    if name == ONNX_FILE:
        return _onnx_reader(content)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            files = {member: archive.read(member) for member in archive.namelist()}
        model = load_family(family, load).from_files(files)
    except (zipfile.BadZipFile, ValueError, KeyError, AttributeError) as error:
        raise FixData(f"family {family}: {name} cannot be read ({error}); retrain") from error
    return lambda x: probabilities(model, x)


def _archive(files: Mapping[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            archive.writestr(zipfile.ZipInfo(name, BUILT_ON), files[name])
    return file.getvalue()


def _stored_forms(family: str, model: Any, features: int) -> Iterator[tuple[str, bytes]]:
    """Yield the ways in which a fitted model can be stored, the most exact first."""
    if hasattr(model, "to_files"):
        yield OWN_FILE, _archive(model.to_files())
    elif hasattr(model, "to_onnx"):
        yield ONNX_FILE, bytes(model.to_onnx(features))
    else:
        for number in ("DoubleTensorType", "FloatTensorType"):  # not every operator takes doubles
            yield ONNX_FILE, _converted(family, model, features, number)


def _converted(family: str, model: Any, features: int, number: str) -> bytes:
    """Return an estimator as ONNX, converted as the first class above it that skl2onnx knows."""
    with needing(f"family {family}, which has no to_files and is stored as ONNX,"):
        from skl2onnx import to_onnx
        from skl2onnx.common import data_types
        from skl2onnx.common.exceptions import MissingShapeCalculator
    inputs = [("x", getattr(data_types, number)([None, features]))]
    reason = "skl2onnx knows no way to store it"
    for kind in type(model).__mro__[:-1]:
        estimator = copy.copy(model)
        estimator.__class__ = kind
        try:
            converted = to_onnx(estimator, initial_types=inputs, options={"zipmap": False})
            return bytes(converted.SerializeToString())
        except (MissingShapeCalculator, NameError):
            continue
        except (ValueError, TypeError, RuntimeError) as error:  # a kind it knows, but not this one
            reason = f"skl2onnx: {str(error).partition(chr(10))[0][:200]}"
            break
    raise FixConfiguration(
        f"family {family}: {reason}; give the class to_files and from_files, or to_onnx"
    )


def _onnx_reader(content: bytes) -> Answer:
    try:
        with needing("a model stored as ONNX"):
            return onnx_answer(content)
    except SteelyardError:
        raise
    except Exception as error:
        raise FixData(f"{ONNX_FILE} cannot be read ({error}); retrain") from error
