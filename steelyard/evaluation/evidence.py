"""Evidence of a decision: measures of settled signals in a window that grows if they are few."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd

from steelyard.evaluation import metrics
from steelyard.evaluation.ab_test import ArmComparison, compare_arms
from steelyard.evaluation.books import (
    Books,
    Bools,
    Floats,
    finite_or_none,
    measure_books,
    rows_where,
)
from steelyard.evaluation.figures import called_right, first_needed, share, window_short
from steelyard.evaluation.skill import Skill
from steelyard.market.overlap import SignalCount, signal_uniqueness

RECORDED_NAMES: Mapping[str, str] = {"decay_evidence": "decay"}
"""Attribute of ``Skill`` → its name in records, fixed since the first decision was written."""


@dataclass(frozen=True, slots=True)
class WindowPolicy:
    """Length of the window.

    Attributes:
        days: Usual length.
        min_settled: Independent predictions needed; with fewer the window starts earlier.
        max_days: Largest length; None for no bound but the begin of the evidence.
    """

    days: int
    min_settled: int
    max_days: int | None = None


@dataclass(frozen=True, slots=True)
class VersionFigures:
    """Results of one model version within a window that several versions may share.

    Attributes:
        settled: Its settled predictions.
        accuracy: Share of them that were right.
        ml_return: Sum of the account returns of those the ml book traded.
    """

    settled: int
    accuracy: float
    ml_return: float


@dataclass(frozen=True, slots=True)
class Evidence:
    """Measures of model and system over one window; ``steelyard.judge`` makes it from a table.

    Examples:
        >>> [name for name in Evidence.__dataclass_fields__ if name.startswith("losing")]
        ['losing_streak', 'losing_days']

    Attributes:
        start: Begin of the window (UTC): only outcomes settled after it count.
        end: End of the window (UTC), inclusive.
        extended: True if the window starts earlier than usual.
        settled: Settled predictions.
        independent: Independent predictions they are worth (``overlap.uniqueness``).
        accuracy: Share of them for which ``p_win > 0.5`` was right; NaN without any.
        no_information_rate: Share of the larger class among them; NaN without any.
        losing_streak: Longest run of consecutive losses in the ml book.
        losing_days: Longest run of consecutive days with trades on which the ml book lost.
        coverage: Settled predictions ÷ settled signals; NaN without signals.
        fallback_rate: Share of the settled signals decided by the existing system alone because of
            a failure; NaN without signals.
        latency_p99_ms: 99th percentile of the prediction latency, milliseconds; NaN without any.
        books: The three books over the same signals.
        arms: The arms of the pilot over the same signals.
        versions: Model version → its results over the same signals.
        lifetime: Evidence since the lineage's evidence began; None if it was not computed.
    """

    start: datetime
    end: datetime
    extended: bool
    settled: int
    independent: float
    accuracy: float
    no_information_rate: float
    losing_streak: int
    losing_days: int
    coverage: float
    fallback_rate: float
    latency_p99_ms: float
    books: Books
    arms: ArmComparison
    versions: Mapping[str, VersionFigures]
    lifetime: Skill | None = None

    @property
    def count(self) -> SignalCount:
        """Settled predictions, and how many independent ones they are worth."""
        return SignalCount(self.settled, self.independent)

    def figures(self) -> dict[str, float | int | str | None]:
        """Return every figure under a flat name; NaN and infinity become None."""
        figures: dict[str, float | int | str | None] = {
            "start": self.start.isoformat(),
            "end": self.end.isoformat(),
            "extended": int(self.extended),
            "settled": self.settled,
            "independent": self.independent,
            "accuracy": finite_or_none(self.accuracy),
            "no_information_rate": finite_or_none(self.no_information_rate),
            "losing_streak": self.losing_streak,
            "losing_days": self.losing_days,
            "coverage": finite_or_none(self.coverage),
            "fallback_rate": finite_or_none(self.fallback_rate),
            "latency_p99_ms": finite_or_none(self.latency_p99_ms),
        }
        for name, measures in self.books.as_dict().items():
            if isinstance(measures, dict):
                figures |= {f"{name}_{measure}": figure for measure, figure in measures.items()}
            else:
                figures[name] = measures
        figures |= _flat_figures("arms", asdict(self.arms))
        for version, results in self.versions.items():
            figures |= _flat_figures(f"version_{version}", asdict(results))
        if self.lifetime is not None:
            figures |= _flat_figures("life", asdict(self.lifetime))
        return figures


def _flat_figures(prefix: str, figures: Mapping[str, float]) -> dict[str, float | None]:
    return {
        f"{prefix}_{RECORDED_NAMES.get(name, name)}": finite_or_none(figure)
        for name, figure in figures.items()
    }


def gather_evidence(
    held: pd.DataFrame, end: datetime, since: datetime, window: WindowPolicy
) -> Evidence:
    """Return the evidence of the window that ends at ``end``.

    Args:
        held: Settled predictions from ``positions.take_positions``, one row a signal, ordered by
            ``settled_at``, with the columns of ``measure_books`` and ``compare_arms`` and
            ``decided_at``, ``p_win`` (NaN without a prediction), ``fallback_reason``,
            ``latency_ms`` and ``model_version``. Rows settled after ``end`` or decided before
            ``since`` do not count.
        end: End of the window (UTC), inclusive.
        since: Begin of the evidence (UTC); no window starts earlier.
        window: Length of the window.
    """
    in_time = (held["settled_at"] <= end) & (held["decided_at"] >= since)
    usable = rows_where(held, in_time.to_numpy(dtype=bool))
    predicted = usable.loc[_predicted(usable), ["symbol", "decided_at", "settled_at"]]
    uniqueness = signal_uniqueness(predicted)
    start = max(_window_start(predicted["settled_at"], uniqueness, end, window), since)
    signals = usable[(usable["settled_at"] > start).to_numpy(dtype=bool)]
    predictions = signals[_predicted(signals)]
    count = SignalCount.of(uniqueness[(predicted["settled_at"] > start).to_numpy(dtype=bool)])
    p_win = predictions["p_win"].to_numpy(dtype=float)
    won = predictions["won"].to_numpy(dtype=bool)
    latency_ms = predictions["latency_ms"].to_numpy(dtype=float)
    fallbacks = signals["fallback_reason"].notna()
    return Evidence(
        start=start,
        end=end,
        extended=start < end - timedelta(days=window.days),
        settled=count.settled,
        independent=count.independent,
        accuracy=metrics.accuracy(p_win, won),
        no_information_rate=metrics.no_information_rate(won),
        losing_streak=metrics.longest_losing_streak(won[predictions["ml_taken"].to_numpy()]),
        losing_days=metrics.longest_losing_streak(_days_won(predictions, end)),
        coverage=share(len(predictions), len(signals)),
        fallback_rate=float(fallbacks.mean()) if len(signals) else float("nan"),
        latency_p99_ms=float(np.percentile(latency_ms, 99)) if latency_ms.size else float("nan"),
        books=measure_books(signals, start, end),
        arms=compare_arms(signals),
        versions=_figures_by_version(predictions),
    )


def _predicted(signals: pd.DataFrame) -> Bools:
    """Return which rows have a prediction, shape (n,)."""
    return np.asarray(np.isfinite(signals["p_win"].to_numpy(dtype=float)))


def _figures_by_version(predictions: pd.DataFrame) -> dict[str, VersionFigures]:
    won = predictions["won"].to_numpy(dtype=bool)
    right = called_right(predictions["p_win"].to_numpy(dtype=float), won)
    earned = predictions["ml_return"].to_numpy()
    versions = predictions["model_version"].to_numpy(dtype=object)
    return {
        str(version): VersionFigures(
            settled=int(rows.sum()),
            accuracy=float(right[rows].mean()),
            ml_return=float(earned[rows].sum()),
        )
        for version in sorted(set(versions))
        for rows in [versions == version]
    }


def _window_start(
    predicted_at: pd.Series, uniqueness: Floats, end: datetime, window: WindowPolicy
) -> datetime:
    """Return ``end`` − ``days``, or an earlier time that gives ``min_settled`` predictions.

    Args:
        predicted_at: Settling times of all usable predictions (UTC), shape (n,), ordered.
        uniqueness: What each of them is worth, in (0, 1], shape (n,).
        end: End of the window.
        window: Length of the window; never more than ``max_days``.
    """
    start = end - timedelta(days=window.days)
    inside = SignalCount.of(uniqueness[(predicted_at > start).to_numpy(dtype=bool)])
    if window_short(inside.independent, window.min_settled, len(predicted_at)):
        worth_since = np.cumsum(uniqueness[::-1]).round(6)
        needed = int(np.searchsorted(worth_since, window.min_settled)) + 1
        first = predicted_at.iloc[first_needed(len(predicted_at), needed)].to_pydatetime()
        start = min(start, first - timedelta(microseconds=1))
    return start if window.max_days is None else max(start, end - timedelta(days=window.max_days))


def current_losing_streak(held: pd.DataFrame) -> int:
    """Return the number of consecutive losses at the end of the ml book.

    Args:
        held: Settled predictions from ``positions.take_positions``, one row a signal, ordered by
            ``settled_at``, with column ``won``.
    """
    taken = held["ml_taken"].to_numpy(dtype=bool)
    wins = np.flatnonzero(held["won"].to_numpy(dtype=bool)[taken])
    return int(taken.sum() - (wins[-1] + 1 if wins.size else 0))


def current_losing_days(held: pd.DataFrame, end: datetime) -> int:
    """Return the number of consecutive losing days of the ml book at the end.

    Args:
        held: As ``current_losing_streak`` takes them, with column ``settled_at``.
        end: Only days that are over by then count (UTC).
    """
    won = _days_won(held, end)
    wins = np.flatnonzero(won)
    return len(won) - int(wins[-1] + 1 if wins.size else 0)


def _days_won(held: pd.DataFrame, end: datetime) -> Bools:
    """Return whether the ml book did not lose on each day over by ``end`` on which it traded.

    A day ends at midnight UTC, inclusive. Shape (days,), in order.
    """
    stamps = held["settled_at"].to_numpy(dtype="datetime64[ns]") - np.timedelta64(1, "ns")
    day = stamps.astype("datetime64[D]")
    today = np.datetime64(end.astimezone(UTC).replace(tzinfo=None), "D")
    counted = held["ml_taken"].to_numpy(dtype=bool) & (day < today)
    if not counted.any():
        return np.zeros(0, dtype=bool)
    number = (day[counted] - day[counted].min()).astype(np.int64)
    earned = np.bincount(number, weights=held["ml_return"].to_numpy()[counted])
    return np.asarray(earned[np.bincount(number) > 0] >= 0)
