"""Drift: whether the market has left the world the champion was trained in.

Inputs and predictions are judged by effect size, the population stability index (PSI), over quantiles of the reference: with
enough rows a p-value calls any difference drift. Performance is judged by its standard error. Everything assumes
independent rows; features of overlapping bars are not, so that a bound is a little too easy to cross.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field
from scipy.special import chdtri, ndtri

from steelyard.evaluation import metrics
from steelyard.evaluation.books import Bools, Floats, finite_or_none
from steelyard.values import FrozenModel

if TYPE_CHECKING:
    from evidently.core.report import Snapshot

Verdict = Literal["fine", "watch", "retrain"]
VERDICTS: tuple[Verdict, ...] = ("fine", "watch", "retrain")
PREDICTION = "p_win"
MAX_BANDS = 10
ROWS_A_BAND = 20
"""Rows expected in a band on the smaller side; with fewer, an empty band alone makes a false alarm (measured)."""
MISSING = -1
NAMED = 3
NAN = float("nan")
Codes = NDArray[np.int64]
Share = Annotated[float, Field(gt=0, le=1)]
Chance = Annotated[float, Field(gt=0, lt=0.5)]


class DriftPolicy(FrozenModel):
    """When drift is worth watching and when worth retraining for. Shares are fractions of 1.

    Attributes:
        least_rows: Rows with a number a column needs on either side.
        least_outcomes: Outcomes performance needs on either side.
        psi_bound: PSI a column may always have; 0.2 is the customary bound for a large change.
        alpha: Probability of any false alarm among all judged columns of an unchanged world.
        watch_share: Share of the importance that drifted features carry, from which on to watch.
        retrain_share: … and from which on to retrain.
        watch_alpha: One-sided probability of performance this much worse by chance, under which to watch.
        retrain_alpha: … and under which to retrain.
        window_days: Days that are held against the training rows.
        most_days: How far back the window reaches where it holds fewer than ``least_rows`` signals.
        cooldown_days: After a retraining was asked for, how long none is asked for again.
    """

    least_rows: Annotated[int, Field(ge=3 * ROWS_A_BAND)] = 100
    least_outcomes: Annotated[int, Field(ge=10)] = 30
    psi_bound: Annotated[float, Field(gt=0)] = 0.2
    alpha: Chance = 0.01
    watch_share: Share = 0.1
    retrain_share: Share = 0.3
    watch_alpha: Chance = 0.1
    retrain_alpha: Chance = 0.01
    window_days: Annotated[int, Field(ge=1)] = 30
    most_days: Annotated[int, Field(ge=1)] = 180
    cooldown_days: Annotated[int, Field(ge=1)] = 14


@dataclass(frozen=True, slots=True)
class Performance:
    """How well the model did over ``n`` outcomes; NaN where a figure is unknown.

    Attributes:
        n: Outcomes.
        accuracy: Share of them where ``p_win > 0.5`` was right.
        log_loss: Mean, nats.
        ece: Expected calibration error over groups of equal size.
        loss_deviation: Standard deviation of the log-loss of single outcomes, nats.
    """

    n: int
    accuracy: float = NAN
    log_loss: float = NAN
    ece: float = NAN
    loss_deviation: float = NAN

    @classmethod
    def of(cls, p_win: Floats, won: Bools) -> "Performance":
        """Return the performance of opinions ``p_win``, shape (n,); those that are NaN are left out."""
        p_win, won = p_win[~np.isnan(p_win)], won[~np.isnan(p_win)]
        p = np.clip(np.where(won, p_win, 1 - p_win), 1e-12, 1)
        return cls(
            n=len(p_win),
            accuracy=metrics.accuracy(p_win, won),
            log_loss=metrics.log_loss(p_win, won),
            ece=metrics.calibration_error(p_win, won),
            loss_deviation=float(np.log(p).std(ddof=1)) if len(p) > 1 else NAN,
        )


@dataclass(frozen=True, slots=True)
class Column:
    """How far one column moved.

    Attributes:
        name: Of the feature, or ``p_win``.
        importance: Its share of the model's importance; NaN for the prediction.
        psi: Population stability index over quantile bands of the reference; NaN when not judged.
        bound: PSI above which it counts as drifted; NaN when not judged.
        wasserstein: Wasserstein distance in standard deviations of the reference, for reading only; NaN when not judged
            and for a reference without width.
        unjudged: Why it was not judged; empty when it was.
    """

    name: str
    importance: float
    psi: float = NAN
    bound: float = NAN
    wasserstein: float = NAN
    unjudged: str = ""

    @property
    def drifted(self) -> bool:
        """Whether it moved further than its bound; never when it was not judged."""
        return self.psi > self.bound


@dataclass(frozen=True, slots=True)
class Comparison:
    """One measure of performance now against training.

    Attributes:
        name: ``accuracy`` (higher is better), ``log_loss`` or ``ece`` (lower is better).
        before: In training; NaN when unknown.
        now: NaN when unknown.
        watch: Beyond it, the measure is worse than chance explains at ``watch_alpha``; NaN when not judged.
        retrain: … at ``retrain_alpha``.
        unjudged: Why it was not judged; empty when it was.
    """

    name: str
    before: float
    now: float
    watch: float = NAN
    retrain: float = NAN
    unjudged: str = ""

    @property
    def verdict(self) -> Verdict:
        """What the measure alone asks for."""
        if self._worse_than(self.retrain):
            return "retrain"
        return "watch" if self._worse_than(self.watch) else "fine"

    def _worse_than(self, bound: float) -> bool:
        return self.now < bound if self.name == "accuracy" else self.now > bound


@dataclass(frozen=True, slots=True)
class Drift:
    """What has drifted, and what it asks for.

    Attributes:
        verdict: ``fine``, ``watch`` or ``retrain``.
        reasons: Plain lines with figure and bound, the most important first; never empty.
        share: Share of the importance that drifted features carry; NaN when no feature was judged.
        judged_share: Share of the importance that judged features carry.
        columns: The features, the most important first.
        prediction: ``p_win``.
        performance: The measures of performance; empty when none were given.
    """

    verdict: Verdict
    reasons: tuple[str, ...]
    share: float
    judged_share: float
    columns: tuple[Column, ...]
    prediction: Column
    performance: tuple[Comparison, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; NaN and infinity become None."""
        document: dict[str, Any] = _plain(asdict(self))
        for row, column in zip(document["columns"], self.columns, strict=True):
            row["drifted"] = column.drifted
        for row, comparison in zip(document["performance"], self.performance, strict=True):
            row["verdict"] = comparison.verdict
        document["prediction"]["drifted"] = self.prediction.drifted
        return document


def drift(
    reference: pd.DataFrame,
    current: pd.DataFrame,
    importance: Mapping[str, float],
    performance: tuple[Performance, Performance] | None,
    policy: DriftPolicy,
) -> Drift:
    """Return how far ``current`` is from ``reference``, the rows the champion was trained on.

    Args:
        reference: The features and ``p_win`` by row; any numeric dtype. NaN and infinity are a band of their own, but for
            ``p_win``: rows without one say nothing about predictions (rows the model was fitted on must have none).
        current: The same, of the time that is judged.
        importance: The model's features, any scale; normalised here, negative and NaN count as 0, equal shares when
            nothing is left. Columns it does not name are not looked at; those it names are all reported.
        performance: In training and now; None when neither is known.
        policy: Bounds.
    """
    shares = _normalised(importance)
    columns = _columns(reference, current, shares, policy, beside=1)
    [prediction] = _columns(
        _opinions(reference), _opinions(current), {PREDICTION: NAN}, policy, beside=len(columns)
    )
    ranked = tuple(sorted(columns, key=lambda column: (-column.importance, column.name)))
    compared = _comparisons(*performance, policy) if performance else ()
    findings = [
        *map(_of_performance, compared),
        _of_inputs(ranked, policy),
        _of_prediction(prediction, ranked),
    ]
    said = sorted((found for found in findings if found.reason), key=lambda found: -found.level)
    rows = min(len(reference), len(current))
    return Drift(
        verdict=VERDICTS[max((found.level for found in said), default=0)],
        reasons=(
            *(found.reason for found in said),
            *_remarks(said, (*ranked, prediction), compared, rows, policy),
        ),
        share=_carried(ranked),
        judged_share=round(
            math.fsum(column.importance for column in ranked if not column.unjudged), 12
        ),
        columns=ranked,
        prediction=prediction,
        performance=compared,
    )


def drift_page(reference: pd.DataFrame, current: pd.DataFrame, columns: Sequence[Column]) -> str:
    """Return Evidently's HTML page of the judged ones among ``columns``, self-contained; empty when there are none.

    Args:
        reference: As given to ``drift``.
        current: As given to ``drift``.
        columns: Of the answer of ``drift``; their bounds are the thresholds on the page.
    """
    bounds = {column.name: column.bound for column in columns if not column.unjudged}
    if not bounds:
        return ""
    before, now = _numbers(reference, bounds), _numbers(current, bounds)
    bands = {name: _Bands.of(before[name], now[name]) for name in bounds}
    page: str = _report(bands, {}, bounds).get_html_str(as_iframe=False)
    return page


def psi_noise(bands: int, n: int, m: int, alpha: float) -> float:
    """Return the PSI that two samples of one distribution exceed with probability ``alpha``.

    PSI / (1/n + 1/m) is asymptotically χ² with ``bands`` − 1 degrees of freedom, so that its mean is
    (bands − 1)(1/n + 1/m), not 0, and the bound is χ²(1 − alpha; bands − 1) · (1/n + 1/m) (Yurdakul, "Statistical
    properties of population stability index", Western Michigan University, 2018).
    """
    return float(chdtri(bands - 1, alpha) * (1 / n + 1 / m))


def _normalised(importance: Mapping[str, float]) -> dict[str, float]:
    counted = {
        name: value if value > 0 and math.isfinite(value) else 0.0
        for name, value in importance.items()
    }
    total = math.fsum(counted.values())
    if total == 0:
        return dict.fromkeys(counted, 1 / max(len(counted), 1))
    return {name: value / total for name, value in counted.items()}


def _columns(
    reference: pd.DataFrame,
    current: pd.DataFrame,
    shares: Mapping[str, float],
    policy: DriftPolicy,
    *,
    beside: int,
) -> list[Column]:
    """Return the columns judged; ``beside`` are judged elsewhere, and share the probability of a false alarm."""
    before, now = _numbers(reference, shares), _numbers(current, shares)
    unjudged = {
        name: _unjudged(before.get(name), now.get(name), policy.least_rows) for name in shares
    }
    judged = [name for name in shares if not unjudged[name]]
    bands = {name: _Bands.of(before[name], now[name]) for name in judged}
    psi, distance = _effects(bands, {name: (before[name], now[name]) for name in judged})
    alpha = policy.alpha / max(len(judged) + beside, 1)
    return [
        Column(
            name,
            share,
            psi[name],
            max(policy.psi_bound, bands[name].noise(alpha)),
            distance.get(name, NAN),
        )
        if name in bands
        else Column(name, share, unjudged=unjudged[name])
        for name, share in shares.items()
    ]


def _opinions(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[frame[PREDICTION].notna().to_numpy(dtype=bool)] if PREDICTION in frame else frame


def _numbers(frame: pd.DataFrame, names: Iterable[str]) -> dict[str, Floats]:
    """Return the columns that are there as floats; what is no finite number becomes NaN."""
    present = [name for name in names if name in frame]
    read = {
        name: pd.to_numeric(frame[name], errors="coerce").to_numpy(dtype=np.float64, na_value=NAN)
        for name in present
    }
    return {name: np.where(np.isfinite(values), values, NAN) for name, values in read.items()}


def _unjudged(before: Floats | None, now: Floats | None, least: int) -> str:
    """Return why a column cannot be judged; empty when it can."""
    trouble = _lacking(before, "reference", least) or _lacking(now, "current", least)
    if trouble or before is None or now is None:
        return trouble
    both = np.concatenate((before, now))
    if np.nanmin(both) == np.nanmax(both) and not np.isnan(both).any():
        return f"constant at {both[0]:.4g}"
    return ""


def _lacking(values: Floats | None, side: str, least: int) -> str:
    if values is None:
        return f"missing in {side}"
    known = int((~np.isnan(values)).sum())
    if len(values) and not known:
        return f"no number in {side}"
    return f"{known} rows in {side}, least is {least}" if known < least else ""


@dataclass(frozen=True, slots=True, eq=False)
class _Bands:
    """A column cut at quantiles of its reference.

    Attributes:
        edges: Upper ends of all bands but the last, rising.
        before: Band of each row of the reference, ``MISSING`` for NaN.
        now: The same of the current rows.
    """

    edges: Floats
    before: Codes
    now: Codes

    @classmethod
    def of(cls, before: Floats, now: Floats) -> "_Bands":
        """Return both sides cut; a value that fills a band by itself keeps it to itself."""
        known = before[~np.isnan(before)]
        count = min(len(known), int((~np.isnan(now)).sum())) // ROWS_A_BAND
        quantiles = np.quantile(known, np.linspace(0, 1, min(count, MAX_BANDS) + 1)[1:-1])
        heavy = quantiles[1:][np.diff(quantiles) == 0]
        edges = np.unique(np.concatenate((quantiles, np.nextafter(heavy, -np.inf))))
        return cls(edges, _cut(before, edges), _cut(now, edges))

    def noise(self, alpha: float) -> float:
        bands = len(np.unique(np.concatenate((self.before, self.now))))
        return psi_noise(bands, len(self.before), len(self.now), alpha)

    def labels(self) -> dict[int, str]:
        """Return the words of each band, rising in the order of the alphabet."""
        ends = [f"{round(edge, 12) + 0.0:.4g}" for edge in self.edges.tolist()]
        middle = [f"{low} to {high}" if low != high else low for low, high in pairwise(ends)]
        words = [f"up to {ends[0]}", *middle, f"over {ends[-1]}"]
        return {MISSING: "missing"} | {
            band: f"{band:02d}: {text}" for band, text in enumerate(words)
        }


def _cut(values: Floats, edges: Floats) -> Codes:
    return np.where(np.isnan(values), MISSING, np.searchsorted(edges, values, side="left")).astype(
        np.int64
    )


def _effects(
    bands: Mapping[str, _Bands], pairs: Mapping[str, tuple[Floats, Floats]]
) -> tuple[dict[str, float], dict[str, float]]:
    """Return PSI and Wasserstein distance by column; the latter only where the reference has width."""
    if not bands:
        return {}, {}
    wide = {name: pair for name, pair in pairs.items() if np.nanmax(pair[0]) > np.nanmin(pair[0])}
    rows = _report(bands, wide, dict.fromkeys(bands, 1.0)).dict()["metrics"]
    found = {
        (row["config"]["method"], row["config"]["column"]): float(row["value"]) for row in rows
    }
    psi = {name: found["psi", _banded(name)] for name in bands}
    return psi, {name: found["wasserstein", name] for name in wide}


def _report(
    bands: Mapping[str, _Bands],
    wide: Mapping[str, tuple[Floats, Floats]],
    bounds: Mapping[str, float],
) -> "Snapshot":
    """Return Evidently's report: PSI of the bands, Wasserstein distance of the numbers of ``wide``.

    Evidently would choose its test by the number of rows and cut at equal widths, where one outlier puts all other rows
    into a single band; method and bands are therefore given.
    """
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift

    kinds = DataDefinition(
        numerical_columns=list(wide), categorical_columns=[_banded(name) for name in bands]
    )
    before, now = (
        Dataset.from_pandas(frame, data_definition=kinds) for frame in _frames(bands, wide)
    )
    stability = [
        ValueDrift(column=_banded(name), method="psi", threshold=bounds[name]) for name in bands
    ]
    return Report(
        [*stability, *(ValueDrift(column=name, method="wasserstein") for name in wide)]
    ).run(now, before)


def _frames(
    bands: Mapping[str, _Bands], wide: Mapping[str, tuple[Floats, Floats]]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    before: dict[str, Any] = {
        _banded(name): _words(cut.before, cut.labels()) for name, cut in bands.items()
    }
    now: dict[str, Any] = {
        _banded(name): _words(cut.now, cut.labels()) for name, cut in bands.items()
    }
    for name, (old, new) in wide.items():
        # Evidently never divides by less than 0.001, wider than many a return: what it gets has deviation 1.
        centre, width = np.nanmean(old), np.nanstd(old)
        before[name], now[name] = (old - centre) / width, (new - centre) / width
    return pd.DataFrame(before), pd.DataFrame(now)


def _words(codes: Codes, labels: Mapping[int, str]) -> list[str]:
    return [labels[code] for code in codes.tolist()]


def _banded(name: str) -> str:
    return f"{name} in bands of the reference"


@dataclass(frozen=True, slots=True)
class _Figure:
    """A measure of performance with its standard error.

    Attributes:
        centre: What it would be now in expectation, if nothing had changed.
        error: Standard error of ``now`` around ``centre``.
    """

    name: str
    before: float
    now: float
    centre: float
    error: float

    def bound(self, alpha: float) -> float:
        away = -float(ndtri(alpha)) * self.error
        return self.centre - away if self.name == "accuracy" else self.centre + away


def _comparisons(
    before: Performance, now: Performance, policy: DriftPolicy
) -> tuple[Comparison, ...]:
    """Return each measure with its bounds; the probabilities are shared out among the measures that can be judged."""
    outcomes = min(before.n, now.n)
    if outcomes < policy.least_outcomes:
        trouble = f"{outcomes} outcomes, least is {policy.least_outcomes}"
        return tuple(
            Comparison(name, getattr(before, name), getattr(now, name), unjudged=trouble)
            for name in ("accuracy", "log_loss", "ece")
        )
    figures = (_accuracy(before, now), _log_loss(before, now), _ece(before, now))
    judged = max(
        sum(math.isfinite(figure.centre + figure.error + figure.now) for figure in figures), 1
    )
    return tuple(
        _compared(figure, policy.watch_alpha / judged, policy.retrain_alpha / judged)
        for figure in figures
    )


def _compared(figure: _Figure, watch: float, retrain: float) -> Comparison:
    if not math.isfinite(figure.centre + figure.error + figure.now):
        return Comparison(
            figure.name, figure.before, figure.now, unjudged="unknown in training or now"
        )
    return Comparison(
        figure.name, figure.before, figure.now, figure.bound(watch), figure.bound(retrain)
    )


def _accuracy(before: Performance, now: Performance) -> _Figure:
    """Return the accuracy with the error of a difference of two shares, pooled."""
    pooled = (before.n * before.accuracy + now.n * now.accuracy) / (before.n + now.n)
    error = math.sqrt(pooled * (1 - pooled) * (1 / before.n + 1 / now.n))
    return _Figure("accuracy", before.accuracy, now.accuracy, before.accuracy, error)


def _log_loss(before: Performance, now: Performance) -> _Figure:
    """Return the log-loss with the error of a difference of two means; now's deviation stands in for an unknown one."""
    then = now.loss_deviation if math.isnan(before.loss_deviation) else before.loss_deviation
    error = math.sqrt(then**2 / before.n + now.loss_deviation**2 / now.n)
    return _Figure("log_loss", before.log_loss, now.log_loss, before.log_loss, error)


def _ece(before: Performance, now: Performance) -> _Figure:
    """Return the calibration error with the mean and the deviation that sampling gives it."""
    centre = before.ece + metrics.calibration_noise(now.n)
    return _Figure("ece", before.ece, now.ece, centre, metrics.calibration_deviation(now.n))


@dataclass(frozen=True, slots=True)
class _Finding:
    """What one look says: a place in ``VERDICTS``, and why; no reason when there is nothing to say."""

    level: int
    reason: str


def _of_performance(compared: Comparison) -> _Finding:
    level = VERDICTS.index(compared.verdict)
    if not level:
        return _Finding(0, "")
    bound, side = (
        (compared.watch, compared.retrain)[level - 1],
        "least" if compared.name == "accuracy" else "most",
    )
    figures = f"{compared.now:.3f} now, {compared.before:.3f} in training; at {side} {bound:.3f} is within chance"
    return _Finding(level, f"{compared.name} {figures}")


def _of_inputs(columns: Sequence[Column], policy: DriftPolicy) -> _Finding:
    drifted = [column for column in columns if column.drifted]
    if not drifted:
        return _Finding(0, "")
    share = _carried(columns)
    level = 2 if share >= policy.retrain_share else int(share >= policy.watch_share)
    asked = (
        f"retrain from {policy.retrain_share:.0%}"
        if level
        else f"watch from {policy.watch_share:.0%}"
    )
    named = ", ".join(
        f"{column.name} (PSI {column.psi:.2f}, bound {column.bound:.2f})"
        for column in drifted[:NAMED]
    )
    more = f" and {len(drifted) - NAMED} more" if len(drifted) > NAMED else ""
    return _Finding(
        level, f"drifted features carry {share:.1%} of the importance, {asked}: {named}{more}"
    )


def _of_prediction(prediction: Column, columns: Sequence[Column]) -> _Finding:
    if not prediction.drifted:
        return _Finding(0, "")
    moved = f"predictions drifted: PSI {prediction.psi:.2f}, bound {prediction.bound:.2f}"
    if any(column.drifted for column in columns):
        return _Finding(2, f"{moved}, and so did features")
    return _Finding(1, f"{moved}, but no feature did")


def _remarks(
    said: Sequence[_Finding],
    columns: Sequence[Column],
    compared: Sequence[Comparison],
    rows: int,
    policy: DriftPolicy,
) -> list[str]:
    """Return what is said last: that nothing drifted, and what was not judged."""
    if rows < policy.least_rows:
        return [
            f"not judged: {rows} rows, least is {policy.least_rows}",
            *_unjudged_performance(compared),
        ]
    judged = [column for column in columns if not column.unjudged]
    left = [f"{column.name} ({column.unjudged})" for column in columns if column.unjudged]
    nothing = [_nothing(max(judged, key=lambda column: column.psi))] if judged and not said else []
    return [
        *nothing,
        *([f"not judged: {', '.join(left)}"] if left else []),
        *_unjudged_performance(compared),
    ]


def _nothing(largest: Column) -> str:
    return f"no drift: the largest PSI is {largest.psi:.2f} ({largest.name}), bound {largest.bound:.2f}"


def _unjudged_performance(compared: Sequence[Comparison]) -> list[str]:
    left = [
        f"{comparison.name} ({comparison.unjudged})"
        for comparison in compared
        if comparison.unjudged
    ]
    return [f"not judged: {', '.join(left)}"] if left else []


def _carried(columns: Sequence[Column]) -> float:
    """Return the importance of the drifted features, of that of all; NaN when none was judged."""
    if all(column.unjudged for column in columns):
        return NAN
    return round(math.fsum(column.importance for column in columns if column.drifted), 12)


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return finite_or_none(value)
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value
