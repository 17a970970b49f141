"""Settings of a training: ``conf/learning.yaml``."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from steelyard.values import FrozenModel

RECORDING = frozenset({"log_trials"})
"""Settings of a training that change what is recorded of it, not what it learns."""
BoosterFamily = Literal["lightgbm", "xgboost"]
Family = Annotated[str, Field(pattern=r"^(logistic|lightgbm|xgboost|[A-Za-z_][\w.]*:\w+)$")]
"""A family that is built in, or ``MODULE:CLASS`` of one's own."""
FAMILIES: tuple[Family, ...] = ("logistic", "lightgbm", "xgboost")


class LearningPolicy(FrozenModel):
    """Settings of search, fit, calibration and admission; units are in ``conf/learning.yaml``."""

    retired_keys = frozenset({"holdout_max"})

    min_settled: Annotated[int, Field(ge=200)] = 250
    holdout_share: Annotated[float, Field(gt=0, le=0.5)] = 0.20
    holdout_min: Annotated[int, Field(ge=20)] = 100
    holdout_days: Annotated[int, Field(ge=0, le=3650)] = 60
    train_days: Annotated[int | None, Field(ge=90, le=36_500)] = None
    half_life_days: Annotated[float | None, Field(ge=7, le=36_500)] = None
    folds: Annotated[int, Field(ge=2, le=20)] = 5
    embargo_hours: Annotated[float, Field(ge=0)] = 24.0
    stop_share: Annotated[float, Field(gt=0, lt=0.5)] = 0.20
    families: Annotated[tuple[Family, ...], Field(min_length=1)] = FAMILIES
    trials: Annotated[int, Field(ge=1, le=10_000)] = 30
    log_trials: Literal["best", "all"] = "best"
    batch: Annotated[int, Field(ge=1, le=1_000)] = 6
    rounds: Annotated[int, Field(ge=10, le=5_000)] = 400
    patience: Annotated[int, Field(ge=1)] = 50
    seed: Annotated[int, Field(ge=0)] = 7
    scale: Literal["matched", "probability"] = "matched"
    gate_accuracy: Annotated[float, Field(ge=0, le=1)] = 0.55
    approve_accuracy: Annotated[float, Field(ge=0.5, le=1)] = 0.75
    bootstrap_samples: Annotated[int, Field(ge=100, le=100_000)] = 2_000
    min_common: Annotated[int, Field(ge=20)] = 50

    @model_validator(mode="after")
    def _holdout_fits(self) -> Self:
        if self.train_days is not None and self.train_days < 2 * self.holdout_days:
            raise ValueError(
                f"train_days {self.train_days} is under twice holdout_days {self.holdout_days}"
            )
        if self.min_settled < self.holdout_min + 100:
            raise ValueError(
                f"min_settled {self.min_settled} leaves under 100 signals beside a holdout of "
                f"{self.holdout_min}"
            )
        return self


class Retraining(FrozenModel):
    """Deviations of one training from ``conf/learning.yaml``; empty fields are as configured."""

    reason: Annotated[
        str,
        Field(
            max_length=500,
            title="Reason",
            description="Why this training was requested; kept with its run in MLflow.",
        ),
    ] = ""
    trials: Annotated[
        int | None,
        Field(
            ge=1,
            le=10_000,
            title="Trials",
            description="Trials of the search, all families together.",
        ),
    ] = None
    families: Annotated[
        tuple[Family, ...],
        Field(
            max_length=20,
            title="Families",
            description="Families to search: logistic, lightgbm, xgboost or MODULE:CLASS; empty "
            "for those in conf/learning.yaml.",
        ),
    ] = ()
    symbols: Annotated[
        tuple[str, ...],
        Field(
            max_length=10_000,
            title="Symbols",
            description="Learn only from signals of these symbols; empty for all.",
        ),
    ] = ()
