"""The families a search chooses from: how each is fitted on all rows, stored and read back."""

from collections.abc import Callable, Mapping

from steelyard.learning.boosters import (
    GROWING_BOOSTERS,
    BoosterData,
    Params,
    StoredLearner,
    StoredLightGBM,
    StoredXGBoost,
)
from steelyard.learning.logistic import LogisticModel
from steelyard.learning.policy import Family
from steelyard.learning.samples import WeightedRows

READERS: Mapping[Family, Callable[[bytes], StoredLearner]] = {
    "logistic": LogisticModel.from_bytes,
    "lightgbm": StoredLightGBM,
    "xgboost": StoredXGBoost,
}
FILES: Mapping[Family, str] = {
    "logistic": "logistic.json",
    "lightgbm": "booster.txt",
    "xgboost": "booster.ubj",
}
"""Name of the file each family is stored in."""


def fit_family(family: Family, params: Params, rounds: int, rows: WeightedRows, seed: int) -> bytes:
    """Fit a learner on all rows and return it in its own format.

    Args:
        family: Family to fit.
        params: Parameters of a trial of the search.
        rounds: Boosting rounds; the logistic regression has none.
        rows: Rows to fit, both outcomes among them.
        seed: Random seed of a booster.
    """
    if family == "logistic":
        return LogisticModel.fit(rows, params["C"]).to_bytes()
    booster = GROWING_BOOSTERS[family](params, BoosterData.from_rows(rows), seed)
    for _ in range(rounds):
        booster.grow()
    return booster.to_bytes(rounds)
