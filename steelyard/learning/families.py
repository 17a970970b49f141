"""The families a search chooses from: how each is fitted on all rows, stored and read back."""

from collections.abc import Callable, Mapping
from typing import cast

from steelyard.learning.boosters import (
    GROWING_BOOSTERS,
    BoosterData,
    Params,
    StoredLearner,
    StoredLightGBM,
    StoredXGBoost,
)
from steelyard.learning.logistic import LogisticModel
from steelyard.learning.own_family import ClassLoader, fit_own, is_own, store_own
from steelyard.learning.own_learner import OwnLearner
from steelyard.learning.policy import BoosterFamily, Family
from steelyard.learning.samples import Floats, WeightedRows

READERS: Mapping[str, Callable[[bytes], StoredLearner]] = {
    "logistic": LogisticModel.from_bytes,
    "lightgbm": StoredLightGBM,
    "xgboost": StoredXGBoost,
}
FILES: Mapping[str, str] = {
    "logistic": "logistic.json",
    "lightgbm": "booster.txt",
    "xgboost": "booster.ubj",
}
"""Name of the file each built-in family is stored in."""


def fit_family(
    family: Family,
    params: Params,
    rounds: int,
    rows: WeightedRows,
    seed: int,
    load: ClassLoader,
) -> tuple[str, bytes]:
    """Fit a learner on all rows and return the file it is stored in: name and content.

    Args:
        family: Family to fit.
        params: Parameters of a trial of the search.
        rounds: Boosting rounds; only boosters have them.
        rows: Rows to fit, both outcomes among them.
        seed: Random seed of a booster.
        load: Returns the class of a family of the user's own.

    Raises:
        FixConfiguration: If a family of the user's own cannot be fitted or stored.
    """
    if is_own(family):
        return store_own(family, fit_own(family, params, rows, load), rows.x, load)
    if family == "logistic":
        return FILES[family], LogisticModel.fit(rows, params["C"]).to_bytes()
    booster = GROWING_BOOSTERS[cast(BoosterFamily, family)](
        params, BoosterData.from_rows(rows), seed
    )
    for _ in range(rounds):
        booster.grow()
    return FILES[family], booster.to_bytes(rounds)


def read_learner(
    family: Family, file: tuple[str, bytes], reference: Floats, load: ClassLoader
) -> StoredLearner:
    """Return a stored learner.

    Args:
        family: Family of the learner.
        file: Name and content of its file.
        reference: Rows of its training, shape (r, k).
        load: Returns the class of a family of the user's own.

    Raises:
        FixData: If a family of the user's own cannot be read.
        FixConfiguration: If its class cannot be loaded.
    """
    if is_own(family):
        return OwnLearner.read(family, file, reference, load)
    return READERS[family](file[1])
