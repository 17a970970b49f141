"""Grown trees as flat arrays, walked by one kernel for both families: no booster has to be imported to ask a model.

What is stored beside a booster are its trees in neutral arrays, a few hundred rows with the native library's own
predictions, and the range of every feature in training. Whoever loads the trees holds the kernel against those rows first.
"""

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from steelyard.errors import FixData

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]

REFERENCE_ROWS = 256
TOLERANCE = 1e-6
"""XGBoost adds leaves in single precision; the kernel in double. LightGBM's predictions are met to the last bit."""


@dataclass(frozen=True, slots=True, eq=False)
class Forest:
    """Trees in arrays over all nodes; a row goes left where ``x[feature] <= threshold``.

    Attributes:
        roots: First node of each tree.
        feature: Column a node asks about, −1 for a leaf.
        threshold: Bound of the node; for a leaf what it adds to the log odds.
        left: Node for rows within the bound.
        right: Node for the others.
        base: Log odds before any tree.
        single: Rows are rounded to single precision first, as XGBoost does.
    """

    roots: Ints
    feature: Ints
    threshold: Floats
    left: Ints
    right: Ints
    base: float
    single: bool

    def predict(self, x: Floats) -> Floats:
        """Return raw probabilities of ``x``, shape (n, k) → (n,); rows without NaN."""
        rows = np.ascontiguousarray(_rounded(x, self.single))
        return predict(
            rows, self.roots, self.feature, self.threshold, self.left, self.right, self.base
        )

    def arrays(self) -> dict[str, Any]:
        """Return the arrays under the names they are stored by."""
        return {
            name: getattr(self, name)
            for name in ("roots", "feature", "threshold", "left", "right", "base", "single")
        }


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceRows:
    """What a stored forest is held against, and what it may be asked.

    Attributes:
        x: Rows of the training, shape (m, k).
        raw: The native library's probabilities of them, shape (m,).
        low: Smallest value of each feature in training, shape (k,); ``high`` the largest.
    """

    x: Floats
    raw: Floats
    low: Floats
    high: Floats


@njit(cache=True, nogil=True)
def log_odds(
    row: Floats, roots: Ints, feature: Ints, threshold: Floats, left: Ints, right: Ints, base: float
) -> float:
    """Return the log odds of one row."""
    total = base
    for tree in range(len(roots)):
        node = roots[tree]
        while feature[node] >= 0:
            node = left[node] if row[feature[node]] <= threshold[node] else right[node]
        total += threshold[node]
    return total


@njit(cache=True, nogil=True)
def predict(
    x: Floats, roots: Ints, feature: Ints, threshold: Floats, left: Ints, right: Ints, base: float
) -> Floats:
    """Return raw probabilities of rows, shape (n, k) → (n,)."""
    raw = np.empty(len(x))
    for i in range(len(x)):
        raw[i] = 1.0 / (1.0 + np.exp(-log_odds(x[i], roots, feature, threshold, left, right, base)))
    return raw


def forest_from_lightgbm(described: dict[str, Any]) -> Forest:
    """Return the forest of LightGBM's own description (``Booster.dump_model``)."""
    nodes = _Nodes()
    roots = [nodes.add_lightgbm(tree["tree_structure"]) for tree in described["tree_info"]]
    return nodes.forest(roots, base=0.0, single=False)


def forest_from_xgboost(described: dict[str, Any]) -> Forest:
    """Return the forest of XGBoost's own description (``Booster.save_raw("json")``)."""
    learner, nodes = described["learner"], _Nodes()
    trees = learner["gradient_booster"]["model"]["trees"]
    roots = [nodes.add_xgboost(tree) for tree in trees]
    share = float(str(learner["learner_model_param"]["base_score"]).strip("[]"))
    return nodes.forest(roots, base=float(np.log(share / (1 - share))), single=True)


class _Nodes:
    """Nodes of all trees, one after the other."""

    def __init__(self) -> None:
        self.feature: list[int] = []
        self.threshold: list[float] = []
        self.left: list[int] = []
        self.right: list[int] = []

    def _add(self, feature: int, threshold: float) -> int:
        for column, value in (
            (self.feature, feature),
            (self.threshold, threshold),
            (self.left, 0),
            (self.right, 0),
        ):
            column.append(value)  # type: ignore[arg-type]  # four lists of two kinds
        return len(self.feature) - 1

    def add_lightgbm(self, tree: dict[str, Any]) -> int:
        if "leaf_value" in tree:
            return self._add(-1, tree["leaf_value"])
        node = self._add(tree["split_feature"], tree["threshold"])
        self.left[node] = self.add_lightgbm(tree["left_child"])
        self.right[node] = self.add_lightgbm(tree["right_child"])
        return node

    def add_xgboost(self, tree: dict[str, Any]) -> int:
        first = len(self.feature)
        conditions = np.asarray(tree["split_conditions"], dtype=np.float32)
        below = np.nextafter(
            conditions, np.float32(-np.inf)
        )  # XGBoost goes left where x is under, not at, the bound
        for number, child in enumerate(tree["left_children"]):
            if child < 0:
                self._add(-1, float(conditions[number]))
                continue
            node = self._add(tree["split_indices"][number], float(below[number]))
            self.left[node], self.right[node] = (
                first + child,
                first + tree["right_children"][number],
            )
        return first

    def forest(self, roots: list[int], base: float, *, single: bool) -> Forest:
        def whole(values: list[int]) -> Ints:
            return np.array(values, dtype=np.int32)

        threshold = np.array(self.threshold, dtype=np.float64)
        return Forest(
            whole(roots),
            whole(self.feature),
            threshold,
            whole(self.left),
            whole(self.right),
            base,
            single,
        )


def forest_to_bytes(forest: Forest, proof: ReferenceRows) -> bytes:
    """Return forest and proof as one NumPy archive; nothing in it is pickled."""
    file = io.BytesIO()
    np.savez(file, **forest.arrays(), x=proof.x, raw=proof.raw, low=proof.low, high=proof.high)
    return file.getvalue()


def forest_from_bytes(stored: bytes) -> tuple[Forest, ReferenceRows]:
    """Return a stored forest that predicts what the native library did.

    Raises:
        FixData: If it cannot be read, or predicts anything else.
    """
    try:
        with np.load(io.BytesIO(stored), allow_pickle=False) as found:
            arrays = {name: found[name] for name in found.files}
            proof = ReferenceRows(
                arrays.pop("x"), arrays.pop("raw"), arrays.pop("low"), arrays.pop("high")
            )
            forest = Forest(
                **{**arrays, "base": float(arrays["base"]), "single": bool(arrays["single"])}
            )
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise FixData(
            f"the stored trees cannot be read ({type(error).__name__}); retrain"
        ) from error
    _require_sound(forest, proof.x.shape[1])
    off = float(np.max(np.abs(forest.predict(proof.x) - proof.raw), initial=0.0))
    if not off <= TOLERANCE:
        raise FixData(
            f"the stored trees predict {off:.1e} off what the booster did, at most {TOLERANCE:.0e}; retrain"
        )
    return forest, proof


def _require_sound(forest: Forest, features: int) -> None:
    """Refuse trees the kernel would leave the arrays in: it walks without looking where it steps."""
    nodes = len(forest.feature)
    inner = forest.feature >= 0
    numbers = np.arange(nodes)
    sound = (
        all(len(column) == nodes for column in (forest.threshold, forest.left, forest.right))
        and bool(((forest.roots >= 0) & (forest.roots < nodes)).all())
        and bool((forest.feature < features).all())
        and all(
            bool(((side[inner] > numbers[inner]) & (side[inner] < nodes)).all())
            for side in (forest.left, forest.right)
        )
    )
    if not sound:
        raise FixData(
            "the stored trees are damaged: a node names one that is not behind it; retrain"
        )


def _rounded(x: Floats, single: bool) -> Floats:
    return x.astype(np.float32).astype(np.float64) if single else np.asarray(x, dtype=np.float64)
