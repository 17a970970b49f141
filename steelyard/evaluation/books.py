"""The books: what three rules would have earned on the same settled signals, paired signal by signal (SPEC §1, §9)."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Annotated

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from steelyard.evaluation import metrics
from steelyard.values import FrozenModel

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

TARGETS: Mapping[str, tuple[float, str]] = {
    "accuracy": (0.55, ">"),
    "sharpe": (1.5, ">"),
    "win_rate": (0.52, ">"),
    "profit_factor": (1.8, ">"),
    "max_drawdown": (0.05, "<"),
    "latency_ms": (50.0, "<"),
}
"""Measure → (bound, direction): what SPEC §9 hopes for, shown beside what was achieved."""


class SizingPolicy(FrozenModel):
    """When a book takes a trade and how large: the account lost at the stop, never more than ``max_position``."""

    threshold: Annotated[float, Field(ge=0, le=100)] = 70.0
    risk_per_trade: Annotated[float, Field(gt=0, le=0.1)] = 0.005
    max_position: Annotated[float, Field(gt=0, le=10)] = 1.0


@dataclass(frozen=True, slots=True)
class Book:
    """Measures of one book. Returns and drawdown are shares of the account; NaN where there is nothing to measure."""

    signals: int
    trades: int
    total_return: float
    mean_return: float
    win_rate: float
    profit_factor: float
    payoff_ratio: float
    sharpe: float
    max_drawdown: float
    hit_rate: float
    trades_per_day: float
    mean_hold_minutes: float
    mean_slippage_bps: float
    false_positive_rate: float
    false_negative_rate: float


@dataclass(frozen=True, slots=True)
class Books:
    """The three books over the same signals and days.

    Attributes:
        improvement_ml: Total return of the ml book over the baseline's, relative to its size; NaN when that is 0.
        improvement_blended: The same for the blended book.
        pivotal: Signals on which baseline and blended disagree.
    """

    baseline: Book
    ml: Book
    blended: Book
    improvement_ml: float
    improvement_blended: float
    pivotal: int

    def as_dict(self) -> dict[str, dict[str, float | None] | float | None]:
        """Return plain JSON values; NaN and infinity become None."""
        document: dict[str, dict[str, float | None] | float | None] = {}
        for name, value in asdict(self).items():
            document[name] = (
                {k: finite_or_none(v) for k, v in value.items()}
                if isinstance(value, dict)
                else finite_or_none(value)
            )
        return document


def measure_books(
    settled: pd.DataFrame, start: datetime, end: datetime, sizing: SizingPolicy
) -> Books:
    """Return the books over ``settled`` (settled predictions, ordered by ``settled_at``) and the days (start, end]."""
    taken = trades_taken(settled, sizing.threshold)
    outcomes = _Outcomes.of(settled, sizing)
    baseline, ml, blended = (
        _book(outcomes, taken[name], start, end) for name in ("baseline", "ml", "blended")
    )
    return Books(
        baseline=baseline,
        ml=ml,
        blended=blended,
        improvement_ml=_improvement(ml, baseline),
        improvement_blended=_improvement(blended, baseline),
        pivotal=int((taken["baseline"] != taken["blended"]).sum()),
    )


def trades_taken(settled: pd.DataFrame, threshold: float) -> dict[str, Bools]:
    """Return for each book which signals it takes, shape (n,); a missing opinion takes none."""
    columns = {"baseline": "confidence_existing", "ml": "confidence_ml", "blended": "blended"}
    return {
        book: settled[column].to_numpy(dtype=np.float64) > threshold
        for book, column in columns.items()
    }


def account_returns(settled: pd.DataFrame, sizing: SizingPolicy) -> Floats:
    """Return what each signal would add to the account: net return times risk per trade over the distance to the stop."""
    stop_distance = settled["stop_distance"].to_numpy(dtype=np.float64)
    size = np.minimum(sizing.risk_per_trade / stop_distance, sizing.max_position)
    return np.asarray(settled["net_return"].to_numpy(dtype=np.float64) * size)


def equity_curves(
    settled: pd.DataFrame, start: datetime, end: datetime, sizing: SizingPolicy
) -> pd.DataFrame:
    """Return the additive equity of the three books by day (UTC), from 0; columns baseline, ml, blended."""
    returns, stamps = account_returns(settled, sizing), _utc(settled["settled_at"])
    curves = {
        book: np.cumsum(metrics.daily_returns(stamps[taken], returns[taken], start, end))
        for book, taken in trades_taken(settled, sizing.threshold).items()
    }
    days = pd.date_range(
        pd.Timestamp(start).normalize() + pd.Timedelta("1D"), periods=len(curves["ml"]), freq="D"
    )
    return pd.DataFrame(curves, index=days)


@dataclass(frozen=True, slots=True, eq=False)
class _Outcomes:
    """What the three books share, read from the frame once: a column costs more there than a measure does here."""

    settled_at: NDArray[np.datetime64]
    returns: Floats
    won: Bools
    hold_minutes: Floats
    slippage_bps: Floats

    @classmethod
    def of(cls, settled: pd.DataFrame, sizing: SizingPolicy) -> "_Outcomes":
        return cls(
            settled_at=_utc(settled["settled_at"]),
            returns=account_returns(settled, sizing),
            won=settled["won"].to_numpy(dtype=bool),
            hold_minutes=settled["hold_minutes"].to_numpy(dtype=np.float64),
            slippage_bps=settled["slippage_bps"].to_numpy(dtype=np.float64),
        )


def _book(outcomes: _Outcomes, taken: Bools, start: datetime, end: datetime) -> Book:
    earned = outcomes.returns[taken]
    daily = metrics.daily_returns(outcomes.settled_at[taken], earned, start, end)
    false_positive, false_negative = metrics.error_rates(taken, outcomes.won)
    return Book(
        signals=len(taken),
        trades=len(earned),
        total_return=float(earned.sum()),
        mean_return=metrics.mean(earned),
        win_rate=metrics.win_rate(earned),
        profit_factor=metrics.profit_factor(earned),
        payoff_ratio=metrics.payoff_ratio(earned),
        sharpe=metrics.sharpe(daily),
        max_drawdown=metrics.max_drawdown(earned),
        hit_rate=metrics.mean(taken.astype(np.float64)),
        trades_per_day=len(earned) / len(daily),
        mean_hold_minutes=metrics.mean(outcomes.hold_minutes[taken]),
        mean_slippage_bps=metrics.mean(outcomes.slippage_bps[taken]),
        false_positive_rate=false_positive,
        false_negative_rate=false_negative,
    )


def _utc(stamps: pd.Series) -> NDArray[np.datetime64]:
    """Return a zoned column as UTC without a zone; eight times faster than converting the column first."""
    return stamps.to_numpy(dtype="datetime64[ns]")


def _improvement(book: Book, baseline: Book) -> float:
    size = abs(baseline.total_return)
    return (book.total_return - baseline.total_return) / size if size > 0 else float("nan")


def finite_or_none(value: float) -> float | None:
    """Return ``value``, or None where JSON has no word for it."""
    return value if math.isfinite(value) else None
