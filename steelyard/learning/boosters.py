"""Both families behind one small face: grown round by round on one thread, stored as text or UBJ, never as code."""

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np
import xgboost as xgb
from numpy.typing import NDArray

from steelyard.learning.forest import Forest, forest_from_lightgbm, forest_from_xgboost
from steelyard.learning.policy import Family
from steelyard.learning.samples import Bools, Floats

Params = dict[str, float | int]


@dataclass(frozen=True, slots=True, eq=False)
class BoosterData:
    """Rows in the shapes the native libraries take, built once and used by every trial."""

    x: Floats
    won: Bools
    lightgbm: lgb.Dataset
    xgboost: xgb.DMatrix

    @classmethod
    def from_rows(cls, x: Floats, won: Bools, like: "BoosterData | None" = None) -> "BoosterData":
        """Return the table of features ``x``, shape (n, k), and targets ``won``, shape (n,).

        ``like`` is the table whose bins it shares: a stopping table must be binned as the one that is fitted.
        """
        labels = won.astype(np.float64)
        # features are not filtered beforehand, so that trials may differ in min_data_in_leaf
        settings = {"feature_pre_filter": False, "verbose": -1, "num_threads": 1}
        binned = lgb.Dataset(x, labels, reference=like.lightgbm if like else None, params=settings)
        return cls(x, won, binned.construct(), xgb.DMatrix(x, labels, nthread=1))


class GrowingBooster(ABC):
    """A booster while it grows, one round at a time."""

    @abstractmethod
    def grow(self) -> None:
        """Add one round."""

    @abstractmethod
    def stop_loss(self) -> float:
        """Return the log-loss on the stopping table, nats."""

    @abstractmethod
    def predict(self, table: BoosterData, rounds: int | None = None) -> Floats:
        """Return raw probabilities of ``table`` with the first ``rounds`` rounds (None: all), shape (n,)."""

    @abstractmethod
    def to_bytes(self, rounds: int) -> bytes:
        """Return the first ``rounds`` rounds in the library's own format."""


class GrowingLightGBM(GrowingBooster):
    """LightGBM's native booster."""

    def __init__(
        self, params: Params, table: BoosterData, seed: int, stop: BoosterData | None = None
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
        self._booster = lgb.Booster({**fixed, **params}, table.lightgbm)
        if stop is not None:
            self._booster.add_valid(stop.lightgbm, "stop")

    def grow(self) -> None:
        """Add one round."""
        self._booster.update()

    def stop_loss(self) -> float:
        """Return the log-loss on the stopping table, nats."""
        return float(self._booster.eval_valid()[0][2])

    def predict(self, table: BoosterData, rounds: int | None = None) -> Floats:
        """Return raw probabilities, shape (n,)."""
        return np.asarray(self._booster.predict(table.x, num_iteration=rounds or -1, num_threads=1))

    def to_bytes(self, rounds: int) -> bytes:
        """Return LightGBM's text format."""
        return str(self._booster.model_to_string(num_iteration=rounds)).encode()


class GrowingXGBoost(GrowingBooster):
    """XGBoost's native booster."""

    def __init__(
        self, params: Params, table: BoosterData, seed: int, stop: BoosterData | None = None
    ) -> None:
        fixed: dict[str, Any] = {
            "objective": "binary:logistic",
            "eval_metric": "logloss",
            "tree_method": "hist",
            "nthread": 1,
            "seed": seed,
            "seed_per_iteration": True,  # its generator belongs to a thread, and folds change threads
        }
        self._table, self._stop = table, stop
        cached = [table.xgboost] if stop is None else [table.xgboost, stop.xgboost]
        self._booster = xgb.Booster({**fixed, **params}, cached)
        self._grown = 0

    def grow(self) -> None:
        """Add one round."""
        self._booster.update(self._table.xgboost, self._grown)
        self._grown += 1

    def stop_loss(self) -> float:
        """Return the log-loss on the stopping table, nats."""
        assert self._stop is not None  # noqa: S101  # only the search asks, and it always gives one
        return float(self._booster.eval(self._stop.xgboost).rpartition(":")[2])

    def predict(self, table: BoosterData, rounds: int | None = None) -> Floats:
        """Return raw probabilities, shape (n,)."""
        return np.asarray(
            self._booster.predict(table.xgboost, iteration_range=(0, rounds or 0)), dtype=np.float64
        )

    def to_bytes(self, rounds: int) -> bytes:
        """Return XGBoost's binary JSON (UBJ)."""
        return bytes(self._booster[:rounds].save_raw("ubj"))


GROWING_BOOSTERS: dict[Family, type[GrowingLightGBM] | type[GrowingXGBoost]] = {
    "lightgbm": GrowingLightGBM,
    "xgboost": GrowingXGBoost,
}


class StoredBooster(ABC):
    """A stored booster, read back to predict."""

    @abstractmethod
    def predict(self, x: Floats) -> Floats:
        """Return raw probabilities of ``x``, shape (n, k) → (n,)."""

    @abstractmethod
    def contributions(self, x: Floats) -> Floats:
        """Return what each feature adds to the raw log odds, and the expected value last, shape (n, k) → (n, k + 1).

        Exact Shapley values of the trees (Lundberg et al., "From local explanations to global understanding with
        explainable AI for trees", Nature Machine Intelligence 2, 2020), as the libraries compute them.
        """

    @abstractmethod
    def forest(self) -> Forest:
        """Return the trees as flat arrays."""

    @abstractmethod
    def gain(self, features: int) -> Floats:
        """Return each feature's share of the total gain, shape (features,), zeros where no split was made."""


class StoredLightGBM(StoredBooster):
    """LightGBM read back from its text."""

    def __init__(self, stored: bytes) -> None:
        self._booster = lgb.Booster(model_str=stored.decode())

    def predict(self, x: Floats) -> Floats:
        """Return raw probabilities, shape (n,)."""
        return np.asarray(self._booster.predict(x, num_threads=1))

    def contributions(self, x: Floats) -> Floats:
        """Return what each feature adds to the raw log odds, shape (n, k + 1)."""
        return np.asarray(
            self._booster.predict(x, pred_contrib=True, num_threads=1), dtype=np.float64
        )

    def forest(self) -> Forest:
        """Return the trees as flat arrays."""
        return forest_from_lightgbm(self._booster.dump_model())

    def gain(self, features: int) -> Floats:
        """Return each feature's share of the total gain."""
        return _shares(
            np.asarray(self._booster.feature_importance("gain"), dtype=np.float64)[:features]
        )


class StoredXGBoost(StoredBooster):
    """XGBoost read back from its UBJ."""

    def __init__(self, stored: bytes) -> None:
        self._booster = xgb.Booster({"nthread": 1})
        self._booster.load_model(bytearray(stored))

    def predict(self, x: Floats) -> Floats:
        """Return raw probabilities, shape (n,)."""
        return np.asarray(self._booster.predict(xgb.DMatrix(x, nthread=1)), dtype=np.float64)

    def contributions(self, x: Floats) -> Floats:
        """Return what each feature adds to the raw log odds, shape (n, k + 1)."""
        return np.asarray(
            self._booster.predict(xgb.DMatrix(x, nthread=1), pred_contribs=True), dtype=np.float64
        )

    def forest(self) -> Forest:
        """Return the trees as flat arrays."""
        return forest_from_xgboost(json.loads(self._booster.save_raw("json")))

    def gain(self, features: int) -> Floats:
        """Return each feature's share of the total gain."""
        gains = self._booster.get_score(importance_type="total_gain")
        return _shares(np.array([_number(gains.get(f"f{n}", 0.0)) for n in range(features)]))


STORED_BOOSTERS: dict[Family, type[StoredLightGBM] | type[StoredXGBoost]] = {
    "lightgbm": StoredLightGBM,
    "xgboost": StoredXGBoost,
}
SUFFIX: dict[Family, str] = {"lightgbm": "txt", "xgboost": "ubj"}


def silence_lightgbm() -> None:
    """Silence LightGBM in the calling thread: it keeps its verbosity per thread, and sets it where a table is built."""
    lgb.Dataset(np.zeros((2, 1)), np.zeros(2), params={"verbose": -1}).construct()


def _shares(gains: NDArray[np.float64]) -> Floats:
    total = gains.sum()
    return gains / total if total > 0 else gains


def _number(gain: float | list[float]) -> float:
    return float(gain) if not isinstance(gain, list) else float(sum(gain))
