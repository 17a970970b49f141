"""The health of the model in service: what its predictions look like, and whether something fell silent (SPEC §9)."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import numpy as np
import pandas as pd

from steelyard.judging import books, metrics
from steelyard.judging.books import Bools, Floats, finite
from steelyard.judging.drift import calibration_noise

NAN = float("nan")
BANDS = 10
DAY = timedelta(days=1)
RATE_DAYS = 90
RARE = 0.001

TARGETS: Mapping[str, tuple[float, str]] = {
    "brier": (0.25, "<"),
    "ece": (0.05, "<="),
    "overfitting_gap": (0.10, "<="),
    "latency_p99_ms": books.TARGETS["latency_ms"],
    "coverage": (0.99, ">="),
    "fallback_rate": (0.01, "<="),
}
"""Figure → (bound, direction)."""

WORDS: Mapping[str, str] = {
    "brier": "mean squared error of p_win; always saying one half has 0.25",
    "ece": "how far p_win is from the share won, on average; few outcomes raise it and its target",
    "overfitting_gap": "accuracy in training over accuracy on the holdout",
    "latency_p50_ms": "time a prediction takes, milliseconds, median",
    "latency_p95_ms": "time a prediction takes, milliseconds, 95th percentile",
    "latency_p99_ms": "time a prediction takes, milliseconds, 99th percentile",
    "coverage": "share of the signals the model had an opinion on",
    "fallback_rate": "share of the predictions where the existing system decided alone",
    "pivotal_rate": "share of the predictions where the blend decided otherwise than the existing system",
    "hit_rate": "share of the signals that were traded",
    "trades_per_day": "trades per calendar day",
    "mean_hold_minutes": "minutes a settled trade was held, mean",
    "mean_slippage_bps": "slippage of a settled trade, basis points, mean",
}


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure and what is hoped for.

    Attributes:
        name: A key of ``WORDS``.
        value: NaN where nothing is known.
        target: Bound; None where nothing is hoped for.
        ok: Whether the target is met; None without a target or without a value.
        words: What the figure is.
    """

    name: str
    value: float
    target: float | None
    ok: bool | None
    words: str


@dataclass(frozen=True, slots=True)
class Band:
    """Settled signals whose ``confidence_ml`` lies in [low, high), the last band with 100.

    Attributes:
        low: 0-100.
        high: 0-100.
        count: Signals.
        mean_p_win: NaN without any.
        win_rate: Share of them that won; NaN without any.
    """

    low: float
    high: float
    count: int
    mean_p_win: float
    win_rate: float


@dataclass(frozen=True, slots=True)
class Health:
    """The health of the model over (start, end].

    Attributes:
        start: Predictions decided after this moment count.
        end: … up to and including this one.
        signals: Signals in that time.
        predictions: Predictions in that time, with and without an opinion.
        opinions: Those with one.
        settled: Opinions with an outcome.
        figures: One row for each of ``WORDS``, in that order.
        p_win: Opinions by tenth of ``p_win``, from 0 to 1.
        confidence_ml: Opinions by tenth of the confidence, from 0 to 100.
        reliability: The same tenths of the confidence, settled signals only.
        fallbacks: Predictions by reason of the fallback, the most frequent first.
    """

    start: datetime
    end: datetime
    signals: int
    predictions: int
    opinions: int
    settled: int
    figures: tuple[Figure, ...]
    p_win: tuple[int, ...]
    confidence_ml: tuple[int, ...]
    reliability: tuple[Band, ...]
    fallbacks: tuple[tuple[str, int], ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; NaN becomes None."""
        document = asdict(self) | {"start": self.start.isoformat(), "end": self.end.isoformat()}
        document["figures"] = [_plain(row) for row in document["figures"]]
        document["reliability"] = [_plain(row) for row in document["reliability"]]
        document["p_win"], document["confidence_ml"] = list(self.p_win), list(self.confidence_ml)
        return document | {"fallbacks": dict(self.fallbacks)}


@dataclass(frozen=True, slots=True)
class Silence:
    """Something that should have been written and was not.

    Attributes:
        code: ``unpredicted``, ``unsettled`` or ``quiet``.
        words: One sentence with figures.
    """

    code: Literal["unpredicted", "unsettled", "quiet"]
    words: str


def health(
    predictions: pd.DataFrame,
    signals: int,
    start: datetime,
    end: datetime,
    train_accuracy: float = NAN,
    holdout_accuracy: float = NAN,
) -> Health:
    """Return the health of the model over the predictions decided in (start, end].

    Args:
        predictions: Columns of a settled prediction, settled or not; a missing opinion or outcome is NaN or NA.
        signals: Signals in that time, predicted or not.
        start: Exclusive, UTC.
        end: Inclusive, UTC, after ``start``.
        train_accuracy: Of the champion on the rows it was fitted on; NaN when unknown.
        holdout_accuracy: On those it had not seen; NaN when unknown.
    """
    rows = predictions[((predictions["decided_at"] > start) & (predictions["decided_at"] <= end)).to_numpy(dtype=bool)]
    p_win, confidence = _floats(rows, "p_win"), _floats(rows, "confidence_ml")
    settled = rows["settled_at"].notna().to_numpy(dtype=bool)
    judged = settled & ~np.isnan(p_win) & rows["won"].notna().to_numpy(dtype=bool)
    won = rows["won"].fillna(False).to_numpy(dtype=bool)
    values = _values(rows, settled, signals, (end - start) / DAY)
    values |= _calibration(p_win[judged], won[judged]) | {"overfitting_gap": train_accuracy - holdout_accuracy}
    return Health(
        start=start,
        end=end,
        signals=signals,
        predictions=len(rows),
        opinions=int((~np.isnan(p_win)).sum()),
        settled=int(judged.sum()),
        figures=tuple(_figure(name, values[name], int(judged.sum())) for name in WORDS),
        p_win=_counts(p_win),
        confidence_ml=_counts(confidence / 100),
        reliability=_reliability(confidence[judged], p_win[judged], won[judged]),
        fallbacks=tuple(Counter(rows["fallback_reason"].dropna().tolist()).most_common()),
    )


def silences(signals: pd.DataFrame, predictions: pd.DataFrame, end: datetime, overdue: pd.Timedelta) -> tuple[Silence, ...]:
    """Return what fell silent by ``end``, the signals without predictions first; empty when nothing did.

    Args:
        signals: ``signal_id`` and ``decided_at`` (UTC) of the last 90 days or more.
        predictions: ``signal_id``, ``decided_at`` and ``settled_at`` of the same time; NaT when not settled.
        end: Nothing decided after it is looked at; what settled after it counts as settled.
        overdue: Age from which on a prediction should have settled.
    """
    emitted = signals[(signals["decided_at"] <= end).to_numpy(dtype=bool)]
    known = predictions[(predictions["decided_at"] <= end).to_numpy(dtype=bool)]
    found = (_unpredicted(emitted, known), _unsettled(known, end, overdue), _quiet(emitted, end))
    return tuple(silence for silence in found if silence)


def _values(rows: pd.DataFrame, settled: Bools, signals: int, days: float) -> dict[str, float]:
    """Return the figures that need no outcome, and those of the settled trades."""
    traded = rows["decision"].to_numpy(dtype=bool)
    closed = rows[traded & settled]
    p50, p95, p99 = metrics.latency_percentiles(_floats(rows, "latency_ms"))
    return {
        "latency_p50_ms": p50,
        "latency_p95_ms": p95,
        "latency_p99_ms": p99,
        "coverage": int(rows["p_win"].notna().sum()) / signals if signals else NAN,
        "fallback_rate": metrics.mean(rows["fallback_reason"].notna().to_numpy().astype(np.float64)),
        "pivotal_rate": metrics.mean(rows["pivotal"].to_numpy(dtype=np.float64)),
        "hit_rate": int(traded.sum()) / signals if signals else NAN,
        "trades_per_day": int(traded.sum()) / days,
        "mean_hold_minutes": _known_mean(_floats(closed, "hold_minutes")),
        "mean_slippage_bps": _known_mean(_floats(closed, "slippage_bps")),
    }


def _calibration(p_win: Floats, won: Bools) -> dict[str, float]:
    return {"brier": metrics.brier(p_win, won), "ece": metrics.calibration_error(p_win, won)}


def _figure(name: str, value: float, outcomes: int) -> Figure:
    if name not in TARGETS:
        return Figure(name, value, None, None, WORDS[name])
    bound, direction = TARGETS[name]
    bound += calibration_noise(outcomes) if name == "ece" else 0.0
    return Figure(name, value, bound, _meets(value, bound, direction), WORDS[name])


def _meets(value: float, bound: float, direction: str) -> bool | None:
    if math.isnan(value):
        return None
    return {"<": value < bound, "<=": value <= bound, ">=": value >= bound}[direction]


def _counts(shares: Floats) -> tuple[int, ...]:
    """Return how many of ``shares``, in [0, 1], fall into each tenth; NaN is left out."""
    bands = _band(shares[~np.isnan(shares)])
    return tuple(np.bincount(bands, minlength=BANDS).tolist())


def _reliability(confidence: Floats, p_win: Floats, won: Bools) -> tuple[Band, ...]:
    known = ~np.isnan(confidence)
    bands, p_win, won = _band(confidence[known] / 100), p_win[known], won[known]
    width = 100 / BANDS
    return tuple(
        Band(
            low=width * band,
            high=width * (band + 1),
            count=int(here.sum()),
            mean_p_win=metrics.mean(p_win[here]),
            win_rate=metrics.mean(won[here].astype(np.float64)),
        )
        for band in range(BANDS)
        for here in [bands == band]
    )


def _band(shares: Floats) -> np.ndarray:
    """Return the tenth of each share, 0-9; 1 belongs to the last."""
    return np.floor(np.round(shares * BANDS, 9)).astype(np.int64).clip(0, BANDS - 1)


def _unpredicted(signals: pd.DataFrame, predictions: pd.DataFrame) -> Silence | None:
    lost = signals[~signals["signal_id"].isin(predictions["signal_id"]).to_numpy(dtype=bool)]
    if not len(lost):
        return None
    first, last = _moment(lost["decided_at"].min()), _moment(lost["decided_at"].max())
    return Silence("unpredicted", f"{len(lost)} of {len(signals)} signals have no prediction, from {first} to {last}.")


def _unsettled(predictions: pd.DataFrame, end: datetime, overdue: pd.Timedelta) -> Silence | None:
    late = predictions["settled_at"].isna() & (predictions["decided_at"] < end - overdue)
    if not late.any():
        return None
    oldest = predictions.loc[late, "decided_at"].min()
    words = f"{int(late.sum())} of {len(predictions)} predictions are older than {_long(overdue)} and have no outcome"
    return Silence("unsettled", f"{words}, the oldest since {_moment(oldest)}.")


def _quiet(signals: pd.DataFrame, end: datetime) -> Silence | None:
    """Return the silence since the last signal, where a Poisson process of the rate before it seldom pauses so long.

    Signals come in sessions, not evenly: a pause must also be longer than any in those 90 days. A history shorter than
    that understates the rate, which delays the alarm.
    """
    if not len(signals):
        return None
    moments = signals["decided_at"].sort_values()
    recent = moments[(moments > moments.iloc[-1] - timedelta(days=RATE_DAYS)).to_numpy(dtype=bool)]
    pause = pd.Timestamp(end) - recent.iloc[-1]
    chance = math.exp(-len(recent) * (pause / pd.Timedelta(days=RATE_DAYS)))
    if chance >= RARE or pause <= recent.diff().max():
        return None
    words = f"No signal for {_long(pause)}, since {_moment(recent.iloc[-1])}, after {len(recent)} in {RATE_DAYS} days"
    return Silence("quiet", f"{words}: by chance less than {RARE:.1%} likely.")


def _moment(moment: pd.Timestamp) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _long(span: pd.Timedelta) -> str:
    return f"{span / pd.Timedelta('1D'):.1f} days"


def _floats(rows: pd.DataFrame, name: str) -> Floats:
    return rows[name].to_numpy(dtype=np.float64, na_value=NAN)


def _known_mean(values: Floats) -> float:
    return metrics.mean(values[~np.isnan(values)])


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: finite(value) if isinstance(value, float) else value for name, value in row.items()}
