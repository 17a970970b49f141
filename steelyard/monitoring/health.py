"""The health of the model in service: predictions, trades, and missing records (SPEC §9)."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

import numpy as np
import pandas as pd

from steelyard.evaluation import metrics
from steelyard.evaluation.books import Bools, Floats, finite_or_none
from steelyard.evaluation.figures import share
from steelyard.market.yes_or_no import TRADE_ABOVE
from steelyard.monitoring import targets
from steelyard.monitoring.targets import NAN, RARE, TARGETS, meets

BANDS = 10
DAY = timedelta(days=1)
RATE_DAYS = 90
TOP = 10

WORDS: Mapping[str, str] = {
    "brier": "mean squared error of p_win; a constant 0.5 has 0.25",
    "ece": "mean distance of p_win from the share won; few outcomes raise it and its target",
    "overconfidence": "mean confidence of the model in its calls, less the share of right calls",
    "uniform_share": "share of predictions within one point of their median; 1 if constant",
    "extreme_share": "share of predictions outside 30–70 %; no target: it depends on the edge",
    "overfitting_gap": "accuracy in training less accuracy on the holdout",
    "top_feature_share": "share of the Shapley values that the most important feature carries",
    "latency_p50_ms": "milliseconds per prediction, median; no target, the 99th percentile has one",
    "latency_p95_ms": "milliseconds per prediction, 95th percentile; no target, the 99th has one",
    "latency_p99_ms": "milliseconds per prediction, 99th percentile",
    "coverage": "share of the signals the model predicted",
    "fallback_rate": "share of the predictions where the existing system decided alone",
    "pivotal_rate": "share of the predictions where blend and existing system disagree; "
    "no target: it grows with the weight",
    "hit_rate": "share of the signals that were traded; "
    "the target is half of the existing system's own share",
    "trades_per_day": "trades per calendar day; no target, the share of signals has one",
    "mean_hold_minutes": "time a settled trade was held, mean; no target: the bracket bounds it",
    "mean_slippage_bps": "slippage of a settled trade, basis points, mean; "
    "the target is what the brackets assume",
}


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure and its target.

    Attributes:
        name: A key of ``WORDS``.
        value: NaN if unknown.
        target: Bound; None if there is no target.
        ok: Whether the target is met; None without a target or a value.
        words: What the figure measures, and why it has no target if it has none.
        chance: Probability of a value this bad if the target is just met; NaN if not computed.
    """

    name: str
    value: float
    target: float | None
    ok: bool | None
    words: str
    chance: float = NAN

    @property
    def alarming(self) -> bool:
        """Whether it misses its target by more than chance explains."""
        return self.ok is False and self.chance < RARE


@dataclass(frozen=True, slots=True)
class TrainingFigures:
    """Figures from the champion's training.

    Attributes:
        train_accuracy: Accuracy on the rows it was fitted on; NaN if unknown.
        holdout_accuracy: Accuracy on the holdout; NaN if unknown.
        holdout_signals: Signals in the holdout; 0 if unknown.
        gain: Share of the gain by feature; empty if unknown.
        shap: Share of the mean absolute Shapley values by feature, on the holdout; empty if
            unknown.
    """

    train_accuracy: float = NAN
    holdout_accuracy: float = NAN
    holdout_signals: int = 0
    gain: Mapping[str, float] = field(default_factory=dict)
    shap: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BaselineTrading:
    """How the existing system trades without the model.

    Attributes:
        threshold: Confidence above which it trades, 0-100.
        slippage_bps: Slippage the brackets assume for entry and exit together, basis points; NaN
            if unknown.
    """

    threshold: float = TRADE_ABOVE
    slippage_bps: float = NAN


UNKNOWN, DEFAULT_BASELINE = TrainingFigures(), BaselineTrading()


@dataclass(frozen=True, slots=True)
class Importance:
    """Importance of a feature for the champion, shares of 1; NaN if a measure is unknown."""

    name: str
    gain: float
    shap: float


@dataclass(frozen=True, slots=True)
class ReliabilityBand:
    """Settled signals with ``confidence_ml`` in [low, high); the last band includes 100.

    Attributes:
        low: Lower bound, 0-100.
        high: Upper bound, 0-100.
        count: Signals.
        mean_p_win: Mean prediction; NaN without signals.
        win_rate: Share that won; NaN without signals.
    """

    low: float
    high: float
    count: int
    mean_p_win: float
    win_rate: float


@dataclass(frozen=True, slots=True)
class ModelHealth:
    """The health of the model over (start, end].

    Attributes:
        start: Begin of the period, exclusive.
        end: End of the period, inclusive.
        signals: Signals in the period.
        predictions: Rows of the period in the ledger, with and without a ``p_win``.
        opinions: Rows with a ``p_win``.
        settled: Rows with a ``p_win`` and an outcome.
        figures: One for each key of ``WORDS``, in that order.
        p_win: Rows by tenth of ``p_win``, from 0 to 1.
        confidence_ml: Rows by tenth of ``confidence_ml``, from 0 to 100.
        reliability: The same tenths of the confidence, settled signals only.
        fallbacks: Rows by reason of the fallback, the most frequent first.
        importance: The most important features by Shapley values; empty if unknown.
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
    reliability: tuple[ReliabilityBand, ...]
    fallbacks: tuple[tuple[str, int], ...]
    importance: tuple[Importance, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; NaN becomes None."""
        document = asdict(self) | {"start": self.start.isoformat(), "end": self.end.isoformat()}
        for name in ("figures", "reliability", "importance"):
            document[name] = [_plain(row) for row in document[name]]
        document["p_win"], document["confidence_ml"] = list(self.p_win), list(self.confidence_ml)
        return document | {"fallbacks": dict(self.fallbacks)}


@dataclass(frozen=True, slots=True)
class Silence:
    """Records that should exist and do not.

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
    trained: TrainingFigures = UNKNOWN,
    baseline: BaselineTrading = DEFAULT_BASELINE,
) -> ModelHealth:
    """Return the health of the model over the predictions decided in (start, end].

    Args:
        predictions: Columns ``SETTLED`` of the ledger, one row per prediction, settled or not; a
            missing ``p_win`` or outcome is NaN or NA.
        signals: Signals in the period, predicted or not.
        start: Begin, exclusive, UTC.
        end: End, inclusive, UTC, after ``start``.
        trained: Figures from the champion's training.
        baseline: How the existing system trades without the model.
    """
    decided = predictions["decided_at"]
    rows = predictions[((decided > start) & (decided <= end)).to_numpy(dtype=bool)]
    p_win, confidence = _floats(rows, "p_win"), _floats(rows, "confidence_ml")
    predicted = ~np.isnan(p_win)
    has_outcome = (rows["settled_at"].notna() & rows["won"].notna()).to_numpy(dtype=bool)
    settled = has_outcome & predicted
    won = rows["won"].fillna(False).to_numpy(dtype=bool)
    measured = (
        _distribution(p_win[predicted])
        | _calibration(p_win[settled], won[settled])
        | _training(trained)
        | _service(rows, signals)
        | _trading(rows, signals, (end - start) / DAY, baseline)
    )
    return ModelHealth(
        start=start,
        end=end,
        signals=signals,
        predictions=len(rows),
        opinions=int(predicted.sum()),
        settled=int(settled.sum()),
        figures=tuple(_figure(name, measured[name]) for name in WORDS),
        p_win=_counts(p_win),
        confidence_ml=_counts(confidence / 100),
        reliability=_reliability(confidence[settled], p_win[settled], won[settled]),
        fallbacks=tuple(Counter(rows["fallback_reason"].dropna().tolist()).most_common()),
        importance=_importance(trained),
    )


def silences(
    signals: pd.DataFrame, predictions: pd.DataFrame, end: datetime, overdue: pd.Timedelta
) -> tuple[Silence, ...]:
    """Return which records are missing at ``end``, missing predictions first; empty if none are.

    Args:
        signals: One row per signal of the last 90 days or more; columns ``signal_id`` and
            ``decided_at`` (UTC).
        predictions: Columns ``signal_id``, ``decided_at`` and ``settled_at`` of the same period;
            NaT if not settled.
        end: Rows decided later are ignored; what settled later counts as settled.
        overdue: Age above which a prediction should have settled.
    """
    emitted = signals[(signals["decided_at"] <= end).to_numpy(dtype=bool)]
    recorded = predictions[(predictions["decided_at"] <= end).to_numpy(dtype=bool)]
    missing = (
        _unpredicted(emitted, recorded),
        _unsettled(recorded, end, overdue),
        _quiet(emitted, end),
    )
    return tuple(silence for silence in missing if silence)


@dataclass(frozen=True, slots=True)
class _Measured:
    """A value, the probability of one this bad if its target is just met, and a varying target."""

    value: float
    chance: float = NAN
    bound: float | None = None


def _distribution(p_win: Floats) -> dict[str, _Measured]:
    predictions, uniform = len(p_win), targets.count_uniform(p_win)
    chance = targets.chance_of_many(uniform, predictions, TARGETS["uniform_share"][0])
    return {
        "uniform_share": _Measured(share(uniform, predictions), chance),
        "extreme_share": _Measured(share(targets.count_extreme(p_win), predictions)),
    }


def _calibration(p_win: Floats, won: Bools) -> dict[str, _Measured]:
    outcomes, settled = won.astype(np.float64), len(won)
    ece = metrics.calibration_error(p_win, won)
    bound = TARGETS["ece"][0] + metrics.calibration_noise(settled)
    error = metrics.calibration_deviation(settled) if settled >= targets.MIN_SIGNALS else NAN
    squares = (p_win - outcomes) ** 2
    brier_chance = targets.chance_of_mean(squares, TARGETS["brier"][0])
    excess = targets.overconfidence(p_win, outcomes)
    excess_chance = targets.chance_of_mean(excess, TARGETS["overconfidence"][0])
    return {
        "brier": _Measured(metrics.brier(p_win, won), brier_chance),
        "ece": _Measured(ece, targets.chance_beyond(ece - bound, error), bound),
        "overconfidence": _Measured(metrics.mean(excess), excess_chance),
    }


def _training(trained: TrainingFigures) -> dict[str, _Measured]:
    gap, signals = trained.train_accuracy - trained.holdout_accuracy, trained.holdout_signals
    error = 0.5 / math.sqrt(signals) if signals >= targets.MIN_SIGNALS else NAN
    chance = targets.chance_beyond(gap - TARGETS["overfitting_gap"][0], error)
    return {
        "overfitting_gap": _Measured(gap, chance),
        "top_feature_share": _Measured(max(trained.shap.values(), default=NAN)),
    }


def _service(rows: pd.DataFrame, signals: int) -> dict[str, _Measured]:
    """Return whether the model answers, and how fast."""
    latency = _floats(rows, "latency_ms")
    p50, p95, p99 = metrics.latency_percentiles(latency)
    slow = int((latency >= TARGETS["latency_p99_ms"][0]).sum())
    timed = int((~np.isnan(latency)).sum())
    predicted = int(rows["p_win"].notna().sum())
    coverage_chance = targets.chance_of_few(predicted, signals, TARGETS["coverage"][0])
    fallbacks, allowed = int(rows["fallback_reason"].notna().sum()), TARGETS["fallback_rate"][0]
    fallback_chance = targets.chance_of_many(fallbacks, len(rows), allowed)
    return {
        "latency_p50_ms": _Measured(p50),
        "latency_p95_ms": _Measured(p95),
        "latency_p99_ms": _Measured(p99, targets.chance_of_many(slow, timed, 0.01)),
        "coverage": _Measured(share(predicted, signals), coverage_chance),
        "fallback_rate": _Measured(share(fallbacks, len(rows)), fallback_chance),
    }


def _trading(
    rows: pd.DataFrame, signals: int, days: float, baseline: BaselineTrading
) -> dict[str, _Measured]:
    """Return how often the blend traded, and how the settled trades went."""
    traded = rows["decision"].to_numpy(dtype=bool)
    closed = rows[traded & rows["settled_at"].notna().to_numpy(dtype=bool)]
    above_threshold = _floats(rows, "confidence_existing") > baseline.threshold
    trades, usual_rate = int(traded.sum()), metrics.mean(above_threshold.astype(np.float64))
    wanted = TARGETS["hit_rate"][0] * usual_rate
    hit_chance = targets.chance_of_few(trades, signals, wanted)
    slippage = _without_nan(_floats(closed, "slippage_bps"))
    assumed = TARGETS["mean_slippage_bps"][0] * baseline.slippage_bps
    slippage_chance = targets.chance_of_mean(slippage, assumed)
    return {
        "pivotal_rate": _Measured(metrics.mean(rows["pivotal"].to_numpy(dtype=np.float64))),
        "hit_rate": _Measured(share(trades, signals), hit_chance, wanted),
        "trades_per_day": _Measured(trades / days if days else NAN),
        "mean_hold_minutes": _Measured(metrics.mean(_without_nan(_floats(closed, "hold_minutes")))),
        "mean_slippage_bps": _Measured(metrics.mean(slippage), slippage_chance, assumed),
    }


def _figure(name: str, measured: _Measured) -> Figure:
    if name not in TARGETS:
        return Figure(name, measured.value, None, None, WORDS[name])
    constant, direction = TARGETS[name]
    bound = constant if measured.bound is None else measured.bound
    target = None if math.isnan(bound) else bound
    met = meets(measured.value, bound, direction)
    return Figure(name, measured.value, target, met, WORDS[name], measured.chance)


def _importance(trained: TrainingFigures) -> tuple[Importance, ...]:
    features = sorted(trained.shap, key=lambda feature: -trained.shap[feature])[:TOP]
    return tuple(
        Importance(feature, trained.gain.get(feature, NAN), trained.shap[feature])
        for feature in features
    )


def _counts(shares: Floats) -> tuple[int, ...]:
    """Return how many of ``shares``, in [0, 1], fall into each tenth; NaN is left out."""
    tenths = _tenths(shares[~np.isnan(shares)])
    return tuple(np.bincount(tenths, minlength=BANDS).tolist())


def _reliability(confidence: Floats, p_win: Floats, won: Bools) -> tuple[ReliabilityBand, ...]:
    scored = ~np.isnan(confidence)
    tenths, p_win, won = _tenths(confidence[scored] / 100), p_win[scored], won[scored]
    width = 100 / BANDS
    return tuple(
        ReliabilityBand(
            low=width * band,
            high=width * (band + 1),
            count=int(inside.sum()),
            mean_p_win=metrics.mean(p_win[inside]),
            win_rate=metrics.mean(won[inside].astype(np.float64)),
        )
        for band in range(BANDS)
        for inside in [tenths == band]
    )


def _tenths(shares: Floats) -> np.ndarray:
    """Return the tenth of each share, 0-9; 1 belongs to the last."""
    return np.floor(np.round(shares * BANDS, 9)).astype(np.int64).clip(0, BANDS - 1)


def _unpredicted(signals: pd.DataFrame, predictions: pd.DataFrame) -> Silence | None:
    missing = signals[~signals["signal_id"].isin(predictions["signal_id"]).to_numpy(dtype=bool)]
    if not len(missing):
        return None
    first, last = _minute(missing["decided_at"].min()), _minute(missing["decided_at"].max())
    return Silence(
        "unpredicted",
        f"{len(missing)} of {len(signals)} signals have no prediction, from {first} to {last}.",
    )


def _unsettled(predictions: pd.DataFrame, end: datetime, overdue: pd.Timedelta) -> Silence | None:
    late = predictions["settled_at"].isna() & (predictions["decided_at"] < end - overdue)
    if not late.any():
        return None
    oldest = predictions.loc[late, "decided_at"].min()
    return Silence(
        "unsettled",
        f"{int(late.sum())} of {len(predictions)} predictions are older than {_days(overdue)} and "
        f"have no outcome, the oldest since {_minute(oldest)}.",
    )


def _quiet(signals: pd.DataFrame, end: datetime) -> Silence | None:
    """Return a pause since the last signal that a Poisson process of the earlier rate rarely has.

    Signals come in sessions, not evenly: a pause must also be longer than any in those 90 days. A
    shorter history understates the rate, which delays the alarm.
    """
    if not len(signals):
        return None
    decided = signals["decided_at"].sort_values()
    recent = decided[(decided > decided.iloc[-1] - timedelta(days=RATE_DAYS)).to_numpy(dtype=bool)]
    pause = pd.Timestamp(end) - recent.iloc[-1]
    chance = math.exp(-len(recent) * (pause / pd.Timedelta(days=RATE_DAYS)))
    if chance >= RARE or pause <= recent.diff().max():
        return None
    return Silence(
        "quiet",
        f"No signal for {_days(pause)}, since {_minute(recent.iloc[-1])}, after {len(recent)} in "
        f"{RATE_DAYS} days: the probability by chance is under {RARE:.1%}.",
    )


def _minute(moment: pd.Timestamp) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _days(span: pd.Timedelta) -> str:
    return f"{span / pd.Timedelta('1D'):.1f} days"


def _floats(rows: pd.DataFrame, column: str) -> Floats:
    return rows[column].to_numpy(dtype=np.float64, na_value=NAN)


def _without_nan(values: Floats) -> Floats:
    return values[~np.isnan(values)]


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: finite_or_none(value) if isinstance(value, float) else value
        for name, value in row.items()
    }
