"""The health of the model in service: what its predictions look like, and whether something fell silent (SPEC §9)."""

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
from steelyard.monitoring import targets
from steelyard.monitoring.targets import NAN, RARE, TARGETS, meets

BANDS = 10
DAY = timedelta(days=1)
RATE_DAYS = 90
TOP = 10

WORDS: Mapping[str, str] = {
    "brier": "mean squared error of p_win; always saying one half has 0.25",
    "ece": "how far p_win is from the share won, on average; few outcomes raise it and its target",
    "overconfidence": "how sure the model is of its own call, on average, over the share of its calls that were right",
    "uniform_share": "share of the opinions within one point of their median; a model that says one thing of all has 1",
    "extreme_share": "share of the opinions outside 30–70 %; no target: few where the edge is small, many where it is large",
    "overfitting_gap": "accuracy in training over accuracy on the holdout",
    "top_feature_share": "share of the Shapley values that the most important feature carries",
    "latency_p50_ms": "time a prediction takes, milliseconds, median; no target of its own, the 99th percentile has it",
    "latency_p95_ms": "time a prediction takes, milliseconds, 95th percentile; no target of its own",
    "latency_p99_ms": "time a prediction takes, milliseconds, 99th percentile",
    "coverage": "share of the signals the model had an opinion on",
    "fallback_rate": "share of the predictions where the existing system decided alone",
    "pivotal_rate": "share of the predictions on which blend and existing system disagree; no target: it grows with weight",
    "hit_rate": "share of the signals that were traded; hoped for is half of what the existing system alone would have",
    "trades_per_day": "trades per calendar day; no target of its own, the share of signals has it",
    "mean_hold_minutes": "minutes a settled trade was held, mean; no target: the bracket bounds it",
    "mean_slippage_bps": "slippage of a settled trade, basis points, mean; hoped for is what the brackets assume",
}


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure and what is hoped for.

    Attributes:
        name: A key of ``WORDS``.
        value: NaN where nothing is known.
        target: Bound; None where nothing is hoped for.
        ok: Whether the target is met; None without a target or without a value.
        words: What the figure is, and why it has no target where it has none.
        chance: How likely so bad a figure is by chance where the target is just met; NaN where that is not judged.
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
class Trained:
    """What the champion's training said of it.

    Attributes:
        train_accuracy: On the rows it was fitted on; NaN when unknown.
        holdout_accuracy: On those it had not seen; NaN when unknown.
        holdout_signals: How many those were; 0 when unknown.
        gain: Share of the gain by feature; empty when unknown.
        shap: Share of the mean absolute Shapley values by feature, on the holdout; empty when unknown.
    """

    train_accuracy: float = NAN
    holdout_accuracy: float = NAN
    holdout_signals: int = 0
    gain: Mapping[str, float] = field(default_factory=dict)
    shap: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Usual:
    """What trading without the model looks like.

    Attributes:
        threshold: Confidence above which the existing system trades, 0-100.
        slippage_bps: What the brackets assume for entry and exit together; NaN when unknown.
    """

    threshold: float = 70.0
    slippage_bps: float = NAN


UNKNOWN, USUAL = Trained(), Usual()


@dataclass(frozen=True, slots=True)
class Importance:
    """How much the champion rests on a feature, shares of 1; NaN where a measure is unknown."""

    name: str
    gain: float
    shap: float


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
        importance: The champion's most important features by Shapley values; empty when unknown.
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
    importance: tuple[Importance, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; NaN becomes None."""
        document = asdict(self) | {"start": self.start.isoformat(), "end": self.end.isoformat()}
        document["figures"] = [_plain(row) for row in document["figures"]]
        document["reliability"] = [_plain(row) for row in document["reliability"]]
        document["importance"] = [_plain(row) for row in document["importance"]]
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
    trained: Trained = UNKNOWN,
    usual: Usual = USUAL,
) -> Health:
    """Return the health of the model over the predictions decided in (start, end].

    Args:
        predictions: Columns of a settled prediction, settled or not; a missing opinion or outcome is NaN or NA.
        signals: Signals in that time, predicted or not.
        start: Exclusive, UTC.
        end: Inclusive, UTC, after ``start``.
        trained: What the champion's training said.
        usual: What trading without the model looks like.
    """
    rows = predictions[
        ((predictions["decided_at"] > start) & (predictions["decided_at"] <= end)).to_numpy(
            dtype=bool
        )
    ]
    p_win, confidence = _floats(rows, "p_win"), _floats(rows, "confidence_ml")
    judged = (rows["settled_at"].notna() & rows["won"].notna()).to_numpy(dtype=bool) & ~np.isnan(
        p_win
    )
    won = rows["won"].fillna(False).to_numpy(dtype=bool)
    found = (
        _said(p_win[~np.isnan(p_win)])
        | _calibration(p_win[judged], won[judged])
        | _training(trained)
    )
    found |= _service(rows, signals) | _trading(rows, signals, (end - start) / DAY, usual)
    return Health(
        start=start,
        end=end,
        signals=signals,
        predictions=len(rows),
        opinions=int((~np.isnan(p_win)).sum()),
        settled=int(judged.sum()),
        figures=tuple(_figure(name, found[name]) for name in WORDS),
        p_win=_counts(p_win),
        confidence_ml=_counts(confidence / 100),
        reliability=_reliability(confidence[judged], p_win[judged], won[judged]),
        fallbacks=tuple(Counter(rows["fallback_reason"].dropna().tolist()).most_common()),
        importance=_importance(trained),
    )


def silences(
    signals: pd.DataFrame, predictions: pd.DataFrame, end: datetime, overdue: pd.Timedelta
) -> tuple[Silence, ...]:
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


@dataclass(frozen=True, slots=True)
class _Found:
    """A value, the chance of so bad a one where its target is just met, and that target where it is not a constant."""

    value: float
    chance: float = NAN
    bound: float | None = None


def _said(p_win: Floats) -> dict[str, _Found]:
    """Return what the distribution of the opinions looks like."""
    n, uniform = len(p_win), targets.uniform(p_win)
    return {
        "uniform_share": _Found(
            _share(uniform, n), targets.chance_of_many(uniform, n, TARGETS["uniform_share"][0])
        ),
        "extreme_share": _Found(_share(targets.extreme(p_win), n)),
    }


def _calibration(p_win: Floats, won: Bools) -> dict[str, _Found]:
    outcomes, n = won.astype(np.float64), len(won)
    ece = metrics.calibration_error(p_win, won)
    bound = TARGETS["ece"][0] + metrics.calibration_noise(n)
    error = metrics.calibration_deviation(n) if n >= targets.MIN_SIGNALS else NAN
    over, squares = targets.overconfident(p_win, outcomes), (p_win - outcomes) ** 2
    return {
        "brier": _Found(
            metrics.brier(p_win, won), targets.chance_of_mean(squares, TARGETS["brier"][0])
        ),
        "ece": _Found(ece, targets.chance_beyond(ece - bound, error), bound),
        "overconfidence": _Found(
            metrics.mean(over), targets.chance_of_mean(over, TARGETS["overconfidence"][0])
        ),
    }


def _training(trained: Trained) -> dict[str, _Found]:
    gap, n = trained.train_accuracy - trained.holdout_accuracy, trained.holdout_signals
    error = 0.5 / math.sqrt(n) if n >= targets.MIN_SIGNALS else NAN
    return {
        "overfitting_gap": _Found(
            gap, targets.chance_beyond(gap - TARGETS["overfitting_gap"][0], error)
        ),
        "top_feature_share": _Found(max(trained.shap.values(), default=NAN)),
    }


def _service(rows: pd.DataFrame, signals: int) -> dict[str, _Found]:
    """Return whether the model answers, and how fast."""
    latency = _floats(rows, "latency_ms")
    p50, p95, p99 = metrics.latency_percentiles(latency)
    slow, timed = (
        int((latency >= TARGETS["latency_p99_ms"][0]).sum()),
        int((~np.isnan(latency)).sum()),
    )
    opinions, alone = int(rows["p_win"].notna().sum()), int(rows["fallback_reason"].notna().sum())
    rare = TARGETS["fallback_rate"][0]
    return {
        "latency_p50_ms": _Found(p50),
        "latency_p95_ms": _Found(p95),
        "latency_p99_ms": _Found(p99, targets.chance_of_many(slow, timed, 0.01)),
        "coverage": _Found(
            _share(opinions, signals),
            targets.chance_of_few(opinions, signals, TARGETS["coverage"][0]),
        ),
        "fallback_rate": _Found(
            _share(alone, len(rows)), targets.chance_of_many(alone, len(rows), rare)
        ),
    }


def _trading(rows: pd.DataFrame, signals: int, days: float, usual: Usual) -> dict[str, _Found]:
    """Return how often the blend traded, and how the settled trades went."""
    traded = rows["decision"].to_numpy(dtype=bool)
    closed = rows[traded & rows["settled_at"].notna().to_numpy(dtype=bool)]
    alone = metrics.mean(
        (_floats(rows, "confidence_existing") > usual.threshold).astype(np.float64)
    )
    hits, wanted = int(traded.sum()), TARGETS["hit_rate"][0] * alone
    slippage = _known(_floats(closed, "slippage_bps"))
    assumed = TARGETS["mean_slippage_bps"][0] * usual.slippage_bps
    return {
        "pivotal_rate": _Found(metrics.mean(rows["pivotal"].to_numpy(dtype=np.float64))),
        "hit_rate": _Found(
            _share(hits, signals), targets.chance_of_few(hits, signals, wanted), wanted
        ),
        "trades_per_day": _Found(hits / days),
        "mean_hold_minutes": _Found(metrics.mean(_known(_floats(closed, "hold_minutes")))),
        "mean_slippage_bps": _Found(
            metrics.mean(slippage), targets.chance_of_mean(slippage, assumed), assumed
        ),
    }


def _figure(name: str, found: _Found) -> Figure:
    if name not in TARGETS:
        return Figure(name, found.value, None, None, WORDS[name])
    constant, direction = TARGETS[name]
    bound = constant if found.bound is None else found.bound
    target = None if math.isnan(bound) else bound
    return Figure(
        name, found.value, target, meets(found.value, bound, direction), WORDS[name], found.chance
    )


def _importance(trained: Trained) -> tuple[Importance, ...]:
    names = sorted(trained.shap, key=lambda name: -trained.shap[name])[:TOP]
    return tuple(
        Importance(name, trained.gain.get(name, NAN), trained.shap[name]) for name in names
    )


def _share(count: int, of: int) -> float:
    return count / of if of else NAN


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
    return Silence(
        "unpredicted",
        f"{len(lost)} of {len(signals)} signals have no prediction, from {first} to {last}.",
    )


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


def _known(values: Floats) -> Floats:
    return values[~np.isnan(values)]


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: finite_or_none(value) if isinstance(value, float) else value
        for name, value in row.items()
    }
