"""The evidence a decision rests on: what the last settled signals say, and how far back they had to be fetched."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from steelyard.evaluation import metrics
from steelyard.evaluation.ab_test import ArmComparison, compare_arms
from steelyard.evaluation.books import (
    Books,
    SizingPolicy,
    account_returns,
    finite_or_none,
    measure_books,
)
from steelyard.evaluation.skill import Skill

RECORDED_NAMES: Mapping[str, str] = {"decay_evidence": "decay"}
"""Attribute of ``Skill`` → its name in records, fixed since the first decision was written."""


@dataclass(frozen=True, slots=True)
class WindowPolicy:
    """How far back evidence reaches.

    Attributes:
        days: Length wished for.
        min_settled: Settled predictions wanted; the window reaches further back until it has them.
        max_days: Longest reach; None for as far as ``since`` allows.
    """

    days: int
    min_settled: int
    max_days: int | None = None


@dataclass(frozen=True, slots=True)
class VersionFigures:
    """What one version of the model contributed to a window that several may share.

    Attributes:
        settled: Settled signals it had an opinion on.
        accuracy: Share of them where it was right.
        ml_return: Account return of those the ml book took, summed.
    """

    settled: int
    accuracy: float
    ml_return: float


@dataclass(frozen=True, slots=True)
class Evidence:
    """What settled signals say about model and system over one window.

    Attributes:
        start: Outcomes settled after this moment count (UTC).
        end: … up to and including this one.
        extended: The window reached further back than asked for.
        settled: Settled signals with a model's opinion.
        accuracy: Share of them where ``p_win > 0.5`` was right; NaN without any.
        no_information_rate: Share of the larger class among them; NaN without any.
        losing_streak: Longest run of consecutive losses in the ml book.
        coverage: Share of all settled signals that have an opinion; NaN without signals.
        fallback_rate: Share of all settled signals where the existing system had to decide alone; NaN without signals.
        latency_p99_ms: 99th percentile of the time a prediction took, milliseconds.
        books: The three books over the same signals.
        arms: The arms of the pilot among them.
        versions: Figures of each version that had opinions among them.
        lifetime: What the whole life of the lineage says; None where nobody asked.
    """

    start: datetime
    end: datetime
    extended: bool
    settled: int
    accuracy: float
    no_information_rate: float
    losing_streak: int
    coverage: float
    fallback_rate: float
    latency_p99_ms: float
    books: Books
    arms: ArmComparison
    versions: Mapping[str, VersionFigures]
    lifetime: Skill | None = None

    def figures(self) -> dict[str, float | int | str | None]:
        """Return every figure under a flat name; NaN and infinity become None."""
        flat: dict[str, float | int | str | None] = {
            "start": self.start.isoformat(),
            "end": self.end.isoformat(),
            "extended": int(self.extended),
            "settled": self.settled,
            "accuracy": finite_or_none(self.accuracy),
            "no_information_rate": finite_or_none(self.no_information_rate),
            "losing_streak": self.losing_streak,
            "coverage": finite_or_none(self.coverage),
            "fallback_rate": finite_or_none(self.fallback_rate),
            "latency_p99_ms": finite_or_none(self.latency_p99_ms),
        }
        for name, measures in self.books.as_dict().items():
            if isinstance(measures, dict):
                flat |= {f"{name}_{measure}": figure for measure, figure in measures.items()}
            else:
                flat[name] = measures
        flat |= {
            f"arms_{name}": finite_or_none(figure) for name, figure in asdict(self.arms).items()
        }
        for version, parts in self.versions.items():
            flat |= {
                f"version_{version}_{name}": finite_or_none(figure)
                for name, figure in asdict(parts).items()
            }
        if self.lifetime is not None:
            flat |= {
                f"life_{RECORDED_NAMES.get(name, name)}": finite_or_none(figure)
                for name, figure in asdict(self.lifetime).items()
            }
        return flat


def gather_evidence(
    settled: pd.DataFrame,
    end: datetime,
    since: datetime,
    window: WindowPolicy,
    sizing: SizingPolicy,
) -> Evidence:
    """Return the evidence of ``settled`` (settled predictions, ordered by ``settled_at``) at ``end``.

    Nothing settled after ``end`` and nothing decided before ``since`` is looked at, whatever the frame holds.
    """
    known = settled[
        ((settled["settled_at"] <= end) & (settled["decided_at"] >= since)).to_numpy(dtype=bool)
    ]
    opinions = known.loc[np.isfinite(known["p_win"].to_numpy(dtype=float)), "settled_at"]
    start = max(_start(opinions, end, window), since)
    rows = known[(known["settled_at"] > start).to_numpy(dtype=bool)]
    judged = rows[np.isfinite(rows["p_win"].to_numpy(dtype=float))]
    p_win, won = judged["p_win"].to_numpy(dtype=float), judged["won"].to_numpy(dtype=bool)
    return Evidence(
        start=start,
        end=end,
        extended=start < end - timedelta(days=window.days),
        settled=len(judged),
        accuracy=metrics.accuracy(p_win, won),
        no_information_rate=metrics.no_information_rate(won),
        losing_streak=_ml_losing_streak(judged, sizing),
        coverage=len(judged) / len(rows) if len(rows) else float("nan"),
        fallback_rate=float(rows["fallback_reason"].notna().mean()) if len(rows) else float("nan"),
        latency_p99_ms=_p99(judged["latency_ms"].to_numpy(dtype=float)),
        books=measure_books(rows, start, end, sizing),
        arms=compare_arms(rows, sizing),
        versions=_by_version(judged, sizing),
    )


def _by_version(judged: pd.DataFrame, sizing: SizingPolicy) -> dict[str, VersionFigures]:
    right = (judged["p_win"].to_numpy(dtype=float) > 0.5) == judged["won"].to_numpy(dtype=bool)
    taken = judged["confidence_ml"].to_numpy(dtype=float) > sizing.threshold
    earned = np.where(taken, account_returns(judged, sizing), 0.0)
    version = judged["model_version"].to_numpy(dtype=object)
    return {
        str(name): VersionFigures(
            int(here.sum()), float(right[here].mean()), float(earned[here].sum())
        )
        for name in sorted(set(version))
        for here in [version == name]
    }


def _start(opinions: pd.Series, end: datetime, window: WindowPolicy) -> datetime:
    """Return where the window starts: ``days`` back, or as far as ``min_settled`` opinions need, within ``max_days``."""
    start = end - timedelta(days=window.days)
    if (opinions > start).sum() >= window.min_settled:
        return start
    if len(opinions) >= window.min_settled:
        start = opinions.iloc[-window.min_settled].to_pydatetime() - timedelta(microseconds=1)
    elif len(opinions):
        start = min(start, opinions.iloc[0].to_pydatetime() - timedelta(microseconds=1))
    return start if window.max_days is None else max(start, end - timedelta(days=window.max_days))


def current_losing_streak(settled: pd.DataFrame, sizing: SizingPolicy) -> int:
    """Return how many of the latest signals that the ml book took were lost, one after the other."""
    taken = settled["confidence_ml"].to_numpy(dtype=float) > sizing.threshold
    won = np.flatnonzero(settled["won"].to_numpy(dtype=bool)[taken])
    return int(taken.sum() - (won[-1] + 1 if won.size else 0))


def _ml_losing_streak(judged: pd.DataFrame, sizing: SizingPolicy) -> int:
    taken = judged["confidence_ml"].to_numpy(dtype=float) > sizing.threshold
    return metrics.longest_losing_streak(judged["won"].to_numpy(dtype=bool)[taken])


def _p99(latency_ms: np.ndarray) -> float:
    return float(np.percentile(latency_ms, 99)) if latency_ms.size else float("nan")
