"""Trees and linear terms as flat arrays, evaluated by one compiled kernel for every family.

No booster library is imported to evaluate a model. Stored beside it are its trees as neutral
arrays, a few hundred rows with the native library's own predictions, and the range of every feature
in training. Loading the trees checks the kernel against these rows first.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from steelyard.errors import FixData
from steelyard.scoring.kernels import Bools, Floats, Ints, predict_rows

REFERENCE_ROWS = 256
TOLERANCE = 1e-6
"""XGBoost adds leaves in single precision, the kernel in double; LightGBM is matched exactly."""


@dataclass(frozen=True, slots=True, eq=False)
class Forest:
    """Trees in arrays over all nodes; a row goes left if ``x[feature] <= threshold``.

    A NaN goes where the booster sends it. A regression has linear terms instead; a NaN feature adds
    nothing.

    Attributes:
        roots: First node of each tree, shape (trees,).
        feature: Column each node compares, −1 for a leaf, shape (nodes,).
        threshold: Bound of the node, or the log odds a leaf adds, shape (nodes,).
        left: Next node for rows within the bound, shape (nodes,).
        right: Next node for the other rows, shape (nodes,).
        missing_left: True if a NaN goes left, shape (nodes,).
        base: Log odds before any tree.
        single: True if rows are rounded to single precision first, as XGBoost does.
        linear: Log odds that each feature adds per unit, shape (k,); empty without linear terms.
        centre: Value at which a feature adds nothing, shape (k,); empty without linear terms.
    """

    roots: Ints
    feature: Ints
    threshold: Floats
    left: Ints
    right: Ints
    missing_left: Bools
    base: float
    single: bool
    linear: Floats = field(default_factory=lambda: np.empty(0))
    centre: Floats = field(default_factory=lambda: np.empty(0))

    @classmethod
    def from_linear(cls, linear: Floats, centre: Floats, base: float) -> "Forest":
        """Return a forest of linear terms without trees.

        Args:
            linear: Log odds that each feature adds per unit, shape (k,).
            centre: Value at which a feature adds nothing, shape (k,).
            base: Log odds of a row at the centre.
        """
        none = np.empty(0, dtype=np.int32)
        no_nodes = (none, none, np.empty(0), none, none, np.empty(0, dtype=bool))
        return cls(*no_nodes, base, False, linear, centre)

    def predict(self, x: Floats) -> Floats:
        """Return raw probabilities of ``x``, shape (n, k) → (n,)."""
        precision = np.float32 if self.single else np.float64
        rows = np.ascontiguousarray(np.asarray(x, dtype=precision), dtype=np.float64)
        return predict_rows(rows, *self.terms())

    def terms(self) -> tuple[Ints, Ints, Floats, Ints, Ints, Bools, float, Floats, Floats]:
        """Return what ``log_odds`` takes after the row, in its order."""
        nodes = (self.roots, self.feature, self.threshold, self.left, self.right)
        return (*nodes, self.missing_left, self.base, self.linear, self.centre)

    def arrays(self) -> dict[str, Any]:
        """Return the arrays under the names they are stored by."""
        return {column.name: getattr(self, column.name) for column in fields(self)}


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceRows:
    """Rows that check a stored forest, and the range of the features it may be asked about.

    Attributes:
        x: Training rows, shape (m, k).
        raw: The native library's probabilities of them, shape (m,).
        low: Smallest value of each feature in training, shape (k,); NaN if it had none.
        high: Largest value of each feature in training, shape (k,); NaN if it had none.
    """

    x: Floats
    raw: Floats
    low: Floats
    high: Floats

    def arrays(self) -> dict[str, Floats]:
        """Return the arrays by name."""
        return {"x": self.x, "raw": self.raw, "low": self.low, "high": self.high}


def forest_from_lightgbm(description: dict[str, Any]) -> Forest:
    """Return the forest of LightGBM's own description (``Booster.dump_model``)."""
    nodes = _Nodes()
    roots = [nodes.add_lightgbm(tree["tree_structure"]) for tree in description["tree_info"]]
    return nodes.to_forest(roots, base=0.0, single=False)


def forest_from_xgboost(description: dict[str, Any]) -> Forest:
    """Return the forest of XGBoost's own description (``Booster.save_raw("json")``)."""
    learner, nodes = description["learner"], _Nodes()
    trees = learner["gradient_booster"]["model"]["trees"]
    roots = [nodes.add_xgboost(tree) for tree in trees]
    share = float(str(learner["learner_model_param"]["base_score"]).strip("[]"))
    return nodes.to_forest(roots, base=float(np.log(share / (1 - share))), single=True)


class _Nodes:
    """Nodes of all trees in succession."""

    def __init__(self) -> None:
        self.feature: list[int] = []
        self.threshold: list[float] = []
        self.left: list[int] = []
        self.right: list[int] = []
        self.missing_left: list[bool] = []

    def _add(self, feature: int, threshold: float, *, missing_left: bool = False) -> int:
        self.feature.append(feature)
        self.threshold.append(threshold)
        self.left.append(0)
        self.right.append(0)
        self.missing_left.append(missing_left)
        return len(self.feature) - 1

    def add_lightgbm(self, tree: dict[str, Any]) -> int:
        if "leaf_value" in tree:
            return self._add(-1, tree["leaf_value"])
        bound = tree["threshold"]
        # a feature that was never missing in training is read as 0 if it is now
        missing_left = tree["default_left"] if tree["missing_type"] == "NaN" else bound >= 0
        node = self._add(tree["split_feature"], bound, missing_left=missing_left)
        self.left[node] = self.add_lightgbm(tree["left_child"])
        self.right[node] = self.add_lightgbm(tree["right_child"])
        return node

    def add_xgboost(self, tree: dict[str, Any]) -> int:
        root = len(self.feature)
        conditions = np.asarray(tree["split_conditions"], dtype=np.float32)
        # XGBoost goes left if x is under, not at, the bound
        below = np.nextafter(conditions, np.float32(-np.inf))
        for number, child in enumerate(tree["left_children"]):
            if child < 0:
                self._add(-1, float(conditions[number]))
                continue
            missing_left = bool(tree["default_left"][number])
            bound = float(below[number])
            node = self._add(tree["split_indices"][number], bound, missing_left=missing_left)
            self.left[node] = root + child
            self.right[node] = root + tree["right_children"][number]
        return root

    def to_forest(self, roots: list[int], base: float, *, single: bool) -> Forest:
        """Return the forest of the nodes added so far.

        Args:
            roots: First node of each tree.
            base: Log odds before any tree.
            single: True if rows are rounded to single precision first.
        """
        return Forest(
            roots=np.array(roots, dtype=np.int32),
            feature=np.array(self.feature, dtype=np.int32),
            threshold=np.array(self.threshold, dtype=np.float64),
            left=np.array(self.left, dtype=np.int32),
            right=np.array(self.right, dtype=np.int32),
            missing_left=np.array(self.missing_left, dtype=bool),
            base=base,
            single=single,
        )


def forest_to_bytes(forest: Forest, reference: ReferenceRows) -> bytes:
    """Return one NumPy archive; nothing in it is pickled.

    Args:
        forest: Trees to store.
        reference: Rows that check them when they are loaded.
    """
    return _archive(forest.arrays() | reference.arrays())


def reference_to_bytes(reference: ReferenceRows) -> bytes:
    """Return the reference rows of a model without trees as one NumPy archive."""
    return _archive(reference.arrays())


def _archive(arrays: dict[str, Any]) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def reference_from_bytes(content: bytes) -> ReferenceRows:
    """Return the reference rows of a model without trees.

    Raises:
        FixData: If they cannot be read.
    """
    with _reading():
        return ReferenceRows(**_arrays(content))


def _arrays(content: bytes) -> dict[str, Any]:
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


@contextmanager
def _reading() -> Iterator[None]:
    """Turn an error of a damaged archive into one clear line."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise FixData(
            f"the stored trees cannot be read ({type(error).__name__}); retrain"
        ) from error


def forest_from_bytes(content: bytes) -> tuple[Forest, ReferenceRows]:
    """Return a stored forest after checking it against the native library's predictions.

    Raises:
        FixData: If it cannot be read, is damaged, or predicts anything else.
    """
    with _reading():
        arrays = _arrays(content)
        arrays.setdefault("missing_left", np.zeros(len(arrays["feature"]), dtype=bool))
        reference = ReferenceRows(*(arrays.pop(name) for name in ("x", "raw", "low", "high")))
        forest = Forest(
            **{**arrays, "base": float(arrays["base"]), "single": bool(arrays["single"])}
        )
    _require_sound(forest, reference.x.shape[1])
    differences = np.abs(forest.predict(reference.x) - reference.raw)
    largest = float(np.max(differences, initial=0.0))
    if not largest <= TOLERANCE:
        raise FixData(
            f"the stored trees predict {largest:.1e} off what the booster did, "
            f"at most {TOLERANCE:.0e} allowed; retrain"
        )
    return forest, reference


def _require_sound(forest: Forest, features: int) -> None:
    """Refuse trees in which the kernel, which checks no bounds, would leave the arrays."""
    nodes = len(forest.feature)
    inner = forest.feature >= 0
    numbers = np.arange(nodes)
    columns = (forest.threshold, forest.left, forest.right, forest.missing_left)
    sound = (
        len(forest.linear) in (0, features)
        and len(forest.centre) == len(forest.linear)
        and all(len(column) == nodes for column in columns)
        and bool(((forest.roots >= 0) & (forest.roots < nodes)).all())
        and bool((forest.feature < features).all())
        and all(
            bool(((side[inner] > numbers[inner]) & (side[inner] < nodes)).all())
            for side in (forest.left, forest.right)
        )
    )
    if not sound:
        raise FixData(
            "the stored trees are damaged: a node refers to a node that does not follow it, or the "
            "linear terms are not one per feature; retrain"
        )
