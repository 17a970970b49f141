"""LightGBM and XGBoost behind one interface: grown by rounds on one thread, stored without code."""

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import lightgbm as lgb
import numpy as np
import xgboost as xgb
from numpy.typing import NDArray

from steelyard.learning.forest import Forest, forest_from_lightgbm, forest_from_xgboost
from steelyard.learning.policy import BoosterFamily
from steelyard.learning.samples import Floats, WeightedRows

Params = dict[str, float | int]
XGBOOST_BINS = 64
"""Bins of a feature: a quarter of the usual number; rounds are a quarter quicker, at no loss."""


@dataclass(frozen=True, eq=False)
class BoosterData:
    """Rows in the formats of both native libraries, each built at its first use.

    Trials that grow at the same time share them; ``build`` before that: both formats are binned
    when they are built and only read afterwards.

    Attributes:
        x: Features, with NaN for a missing value, shape (n, k).
        labels: Outcomes, 1 if won, shape (n,).
        weight: Weight of each row, shape (n,).
        bins_of: Rows whose bins are used: stopping rows must be binned as the fitted ones.
    """

    x: Floats
    labels: Floats
    weight: Floats
    bins_of: "BoosterData | None" = None

    @classmethod
    def from_rows(cls, rows: WeightedRows, bins_of: "BoosterData | None" = None) -> "BoosterData":
        """Return rows in the formats of both libraries.

        Args:
            rows: Features, outcomes and weights.
            bins_of: Rows whose bins are used.
        """
        return cls(rows.x, rows.won.astype(np.float64), rows.weight, bins_of)

    @cached_property
    def lightgbm(self) -> lgb.Dataset:
        """The rows, binned by LightGBM."""
        # features are not filtered beforehand, so that trials may differ in min_data_in_leaf
        settings = {"feature_pre_filter": False, "verbose": -1, "num_threads": 1}
        reference = self.bins_of.lightgbm if self.bins_of else None
        binned = lgb.Dataset(
            self.x, self.labels, reference=reference, weight=self.weight, params=settings
        )
        return binned.construct()

    @cached_property
    def xgboost(self) -> xgb.DMatrix:
        """The rows for XGBoost, binned unless they are stopping rows."""
        described = {"label": self.labels, "weight": self.weight, "nthread": 1}
        if self.bins_of:
            return xgb.DMatrix(self.x, **described)
        return xgb.QuantileDMatrix(self.x, **described, max_bin=XGBOOST_BINS)

    def build(self) -> "BoosterData":
        """Build both formats, and return the same rows."""
        _ = self.lightgbm, self.xgboost
        return self


class GrowingBooster(ABC):
    """A booster during its growth, one round at a time.

    Parameters are those of its library, and ``leaf_share``: rows of a leaf, at least, as a share
    of all rows that are fitted.
    """

    @abstractmethod
    def grow(self) -> None:
        """Add one round."""

    @abstractmethod
    def stop_loss(self) -> float:
        """Return the log-loss on the stopping rows, nats."""

    @abstractmethod
    def predict(self, x: Floats, rounds: int | None = None) -> Floats:
        """Return raw probabilities, shape (n,).

        Args:
            x: Features, shape (n, k).
            rounds: Number of first rounds to use; None for all.
        """

    @abstractmethod
    def to_bytes(self, rounds: int) -> bytes:
        """Return the first ``rounds`` rounds in the library's own format."""


class GrowingLightGBM(GrowingBooster):
    """LightGBM's native booster."""

    def __init__(
        self, params: Params, data: BoosterData, seed: int, stop: BoosterData | None = None
    ) -> None:
        fixed: dict[str, Any] = {
            "objective": "binary",
            "metric": "binary_logloss",
            "verbose": -1,
            "num_threads": 1,
            "deterministic": True,
            "force_row_wise": True,
            "feature_pre_filter": False,
            "bagging_freq": 1,
            "seed": seed,
        }
        settings = {**fixed, **params}
        if "leaf_share" in settings:
            leaf = settings.pop("leaf_share") * len(data.weight)
            settings["min_data_in_leaf"] = max(round(leaf), 1)
        self._booster = lgb.Booster(settings, data.lightgbm)
        if stop is not None:
            self._booster.add_valid(stop.lightgbm, "stop")

    def grow(self) -> None:
        """Add one round."""
        self._booster.update()

    def stop_loss(self) -> float:
        """Return the log-loss on the stopping rows, nats."""
        return float(self._booster.eval_valid()[0][2])

    def predict(self, x: Floats, rounds: int | None = None) -> Floats:
        """Return raw probabilities, shape (n,).

        Args:
            x: Features, shape (n, k).
            rounds: Number of first rounds to use; None for all.
        """
        return np.asarray(self._booster.predict(x, num_iteration=rounds or -1, num_threads=1))

    def to_bytes(self, rounds: int) -> bytes:
        """Return the first ``rounds`` rounds in LightGBM's text format."""
        return str(self._booster.model_to_string(num_iteration=rounds)).encode()


class GrowingXGBoost(GrowingBooster):
    """XGBoost's native booster."""

    def __init__(
        self, params: Params, data: BoosterData, seed: int, stop: BoosterData | None = None
    ) -> None:
        fixed: dict[str, Any] = {
            "objective": "binary:logistic",
            "eval_metric": "logloss",
            "tree_method": "hist",
            "max_bin": XGBOOST_BINS,
            "nthread": 1,
            "seed": seed,
            "seed_per_iteration": True,  # its generator belongs to a thread, folds change threads
        }
        self._data, self._stop = data, stop
        cached = [data.xgboost] if stop is None else [data.xgboost, stop.xgboost]
        settings = {**fixed, **params}
        if "leaf_share" in settings:
            # the Hessian of a log-loss near p = 1/2 is a quarter of the weight
            leaf = settings.pop("leaf_share") * float(data.weight.sum())
            settings["min_child_weight"] = leaf / 4
        self._booster = xgb.Booster(settings, cached)
        self._rounds = 0

    def grow(self) -> None:
        """Add one round."""
        self._booster.update(self._data.xgboost, self._rounds)
        self._rounds += 1

    def stop_loss(self) -> float:
        """Return the log-loss on the stopping rows, nats."""
        assert self._stop is not None  # noqa: S101  # only the search calls, always with such rows
        return float(self._booster.eval(self._stop.xgboost).rpartition(":")[2])

    def predict(self, x: Floats, rounds: int | None = None) -> Floats:
        """Return raw probabilities, shape (n,).

        Args:
            x: Features, shape (n, k).
            rounds: Number of first rounds to use; None for all.
        """
        raw = self._booster.inplace_predict(x, iteration_range=(0, rounds or 0))
        return np.asarray(raw, dtype=np.float64)

    def to_bytes(self, rounds: int) -> bytes:
        """Return the first ``rounds`` rounds in XGBoost's binary JSON (UBJ)."""
        return bytes(self._booster[:rounds].save_raw("ubj"))


GROWING_BOOSTERS: dict[BoosterFamily, type[GrowingLightGBM] | type[GrowingXGBoost]] = {
    "lightgbm": GrowingLightGBM,
    "xgboost": GrowingXGBoost,
}


class StoredLearner(ABC):
    """A stored booster or regression, read back for prediction."""

    __slots__ = ()

    @abstractmethod
    def predict(self, x: Floats) -> Floats:
        """Return raw probabilities of ``x``, shape (n, k) → (n,)."""

    @abstractmethod
    def contributions(self, x: Floats) -> Floats:
        """Return each feature's share of the raw log odds, and their expected value last.

        Exact Shapley values, of trees (Lundberg et al., "From local explanations to global
        understanding with explainable AI for trees", Nature Machine Intelligence 2, 2020), as
        computed by the libraries; shape (n, k) → (n, k + 1).
        """

    @abstractmethod
    def forest(self) -> Forest:
        """Return the trees or linear terms as flat arrays."""

    @abstractmethod
    def gain(self, features: int) -> Floats:
        """Return each feature's share of the total gain, shape (features,); 0 without splits."""


class StoredLightGBM(StoredLearner):
    """LightGBM, read back from its text format."""

    def __init__(self, content: bytes) -> None:
        self._booster = lgb.Booster(model_str=content.decode())

    def predict(self, x: Floats) -> Floats:
        """Return raw probabilities of ``x``, shape (n, k) → (n,)."""
        return np.asarray(self._booster.predict(x, num_threads=1))

    def contributions(self, x: Floats) -> Floats:
        """Return the Shapley values of ``x``, shape (n, k) → (n, k + 1)."""
        values = self._booster.predict(x, pred_contrib=True, num_threads=1)
        return np.asarray(values, dtype=np.float64)

    def forest(self) -> Forest:
        """Return the trees as flat arrays."""
        return forest_from_lightgbm(self._booster.dump_model())

    def gain(self, features: int) -> Floats:
        """Return each feature's share of the total gain, shape (features,)."""
        gains = np.asarray(self._booster.feature_importance("gain"), dtype=np.float64)
        return _shares(gains[:features])


class StoredXGBoost(StoredLearner):
    """XGBoost, read back from its UBJ format."""

    def __init__(self, content: bytes) -> None:
        self._booster = xgb.Booster({"nthread": 1})
        self._booster.load_model(bytearray(content))

    def predict(self, x: Floats) -> Floats:
        """Return raw probabilities of ``x``, shape (n, k) → (n,)."""
        return np.asarray(self._booster.predict(xgb.DMatrix(x, nthread=1)), dtype=np.float64)

    def contributions(self, x: Floats) -> Floats:
        """Return the Shapley values of ``x``, shape (n, k) → (n, k + 1)."""
        values = self._booster.predict(xgb.DMatrix(x, nthread=1), pred_contribs=True)
        return np.asarray(values, dtype=np.float64)

    def forest(self) -> Forest:
        """Return the trees as flat arrays."""
        return forest_from_xgboost(json.loads(self._booster.save_raw("json")))

    def gain(self, features: int) -> Floats:
        """Return each feature's share of the total gain, shape (features,)."""
        scores = self._booster.get_score(importance_type="total_gain")
        gains = (scores.get(f"f{column}", 0.0) for column in range(features))
        # one number for a feature, or a list of them with several targets
        totals = [float(sum(gain) if isinstance(gain, list) else gain) for gain in gains]
        return _shares(np.array(totals))


def silence_lightgbm() -> None:
    """Silence LightGBM in the calling thread.

    It keeps its verbosity per thread, and sets it when a dataset is built.
    """
    lgb.Dataset(np.zeros((2, 1)), np.zeros(2), params={"verbose": -1}).construct()


def _shares(gains: NDArray[np.float64]) -> Floats:
    total = gains.sum()
    return gains / total if total > 0 else gains
