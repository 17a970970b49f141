"""Drift: whether the market has left the conditions the champion was trained in.

Inputs and predictions are judged by effect size, the population stability index (PSI), over
quantiles of the reference: with enough rows a p-value calls any difference drift. Performance is
judged by its standard error. Everything assumes independent rows; features of overlapping bars are
not independent, so a bound is a little too easy to cross.
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

from steelyard.evaluation import metrics
from steelyard.evaluation.books import Bools, Floats, finite_or_none
from steelyard.evaluation.chances import normal_bound
from steelyard.values import FrozenModel

if TYPE_CHECKING:
    from evidently.core.report import Snapshot

Verdict = Literal["fine", "watch", "retrain"]
VERDICTS: tuple[Verdict, ...] = ("fine", "watch", "retrain")
PREDICTION = "p_win"
MAX_BANDS = 10
ROWS_A_BAND = 20
"""Rows expected per band on the smaller side; with fewer, one empty band alone is a false alarm."""
MISSING = -1
NAMED = 3
NAN = float("nan")
Codes = NDArray[np.int64]
Share = Annotated[float, Field(gt=0, le=1)]
Chance = Annotated[float, Field(gt=0, lt=0.5)]


class DriftPolicy(FrozenModel):
    """When drift is worth watching and when worth retraining for. Shares are fractions of 1.

    Attributes:
        least_rows: Finite values a column needs on either side to be judged.
        least_outcomes: Outcomes performance needs on either side to be judged.
        psi_bound: PSI a column may always have; 0.2 is the customary bound for a large change.
        alpha: Probability of any false alarm over all judged columns if nothing changed.
        watch_share: Importance share of the drifted features from which the verdict is "watch".
        retrain_share: The same for "retrain".
        watch_alpha: One-sided probability by chance of performance this much worse, below which
            the verdict is "watch".
        retrain_alpha: The same for "retrain".
        window_days: Days that are compared with the training rows.
        most_days: Days the window may reach back if it holds fewer than ``least_rows`` signals.
        cooldown_days: Days after a request for retraining without another request.
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
    """Performance of the model over a number of outcomes; NaN if a figure is unknown.

    Attributes:
        outcomes: Number of outcomes.
        accuracy: Share of them where ``p_win > 0.5`` was right.
        log_loss: Mean, nats.
        ece: Expected calibration error over groups of equal size.
        loss_deviation: Standard deviation of the log-loss of single outcomes, nats.
    """

    outcomes: int
    accuracy: float = NAN
    log_loss: float = NAN
    ece: float = NAN
    loss_deviation: float = NAN

    @classmethod
    def of(cls, p_win: Floats, won: Bools) -> "Performance":
        """Return the performance of predictions that have settled.

        Args:
            p_win: Predicted probabilities, shape (n,); rows with NaN are left out.
            won: Whether each signal won, shape (n,).
        """
        p_win, won = p_win[~np.isnan(p_win)], won[~np.isnan(p_win)]
        likelihood = np.clip(np.where(won, p_win, 1 - p_win), 1e-12, 1)
        return cls(
            outcomes=len(p_win),
            accuracy=metrics.accuracy(p_win, won),
            log_loss=metrics.log_loss(p_win, won),
            ece=metrics.calibration_error(p_win, won),
            loss_deviation=float(np.log(likelihood).std(ddof=1)) if len(likelihood) > 1 else NAN,
        )


@dataclass(frozen=True, slots=True)
class ColumnDrift:
    """How far one column moved.

    Attributes:
        name: Name of the feature, or ``p_win``.
        importance: Its share of the model's importance; NaN for the prediction.
        psi: Population stability index over quantile bands of the reference; NaN if not judged.
        bound: PSI above which it counts as drifted; NaN if not judged.
        wasserstein: Wasserstein distance in standard deviations of the reference, for information
            only; NaN if not judged and if the reference is constant.
        unjudged: Why it was not judged; empty if it was.
    """

    name: str
    importance: float
    psi: float = NAN
    bound: float = NAN
    wasserstein: float = NAN
    unjudged: str = ""

    @property
    def drifted(self) -> bool:
        """Whether the PSI exceeds its bound; False if the column was not judged."""
        return self.psi > self.bound

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> "ColumnDrift":
        """Return the column that ``to_dict`` wrote as ``document``."""
        figures = {
            name: NAN if document[name] is None else float(document[name])
            for name in ("importance", "psi", "bound", "wasserstein")
        }
        return cls(document["name"], **figures, unjudged=document["unjudged"])

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; NaN and infinity become None."""
        return {**_plain(asdict(self)), "drifted": self.drifted}


@dataclass(frozen=True, slots=True)
class MeasureDrift:
    """One measure of performance, now compared with training.

    Attributes:
        name: ``accuracy`` (higher is better), ``log_loss`` or ``ece`` (lower is better).
        before: Value in training; NaN if unknown.
        now: Present value; NaN if unknown.
        watch: Bound that chance crosses with probability ``watch_alpha``; NaN if not judged.
        retrain: Bound that chance crosses with probability ``retrain_alpha``; NaN if not judged.
        unjudged: Why it was not judged; empty if it was.
    """

    name: str
    before: float
    now: float
    watch: float = NAN
    retrain: float = NAN
    unjudged: str = ""

    @property
    def verdict(self) -> Verdict:
        """Verdict of this measure alone."""
        if self._worse_than(self.retrain):
            return "retrain"
        return "watch" if self._worse_than(self.watch) else "fine"

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; NaN and infinity become None."""
        return {**_plain(asdict(self)), "verdict": self.verdict}

    def _worse_than(self, bound: float) -> bool:
        return self.now < bound if self.name == "accuracy" else self.now > bound


@dataclass(frozen=True, slots=True)
class Drift:
    """What has drifted, and what follows from it.

    Attributes:
        verdict: ``fine``, ``watch`` or ``retrain``.
        reasons: One line each with value and bound, the most important first; never empty.
        share: Share of the importance that drifted features carry; NaN if no feature was judged.
        judged_share: Share of the importance that judged features carry.
        columns: The features, the most important first.
        prediction: The drift of ``p_win``.
        performance: The measures of performance; empty if none were given.
    """

    verdict: Verdict
    reasons: tuple[str, ...]
    share: float
    judged_share: float
    columns: tuple[ColumnDrift, ...]
    prediction: ColumnDrift
    performance: tuple[MeasureDrift, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; NaN and infinity become None."""
        return {
            "verdict": self.verdict,
            "reasons": list(self.reasons),
            "share": finite_or_none(self.share),
            "judged_share": finite_or_none(self.judged_share),
            "columns": [column.to_dict() for column in self.columns],
            "prediction": self.prediction.to_dict(),
            "performance": [measure.to_dict() for measure in self.performance],
        }


def drift(
    reference: pd.DataFrame,
    current: pd.DataFrame,
    importance: Mapping[str, float],
    performance: tuple[Performance, Performance] | None,
    policy: DriftPolicy,
) -> Drift:
    """Return how far ``current`` is from ``reference``, the rows the champion was trained on.

    Args:
        reference: Columns: the features and ``p_win``, any numeric dtype. In a feature, NaN and
            infinity form a band of their own. Rows without ``p_win`` say nothing about predictions
            (rows the model was fitted on must have none).
        current: The same columns for the period that is judged.
        importance: Importance of each feature of the model, any scale; normalised here. Negative
            and NaN count as 0; if nothing is left, all features count the same. Columns it does
            not name are ignored; all it names are reported.
        performance: Performance in training and now; None if neither is known.
        policy: Bounds.
    """
    shares = _normalised(importance)
    features = _columns(reference, current, shares, policy, others=1)
    [prediction] = _columns(
        _predicted(reference), _predicted(current), {PREDICTION: NAN}, policy, others=len(features)
    )
    ranked = tuple(sorted(features, key=lambda column: (-column.importance, column.name)))
    measures = _measures(*performance, policy) if performance else ()
    findings = _findings(measures, ranked, prediction, policy)
    rows = min(len(reference), len(current))
    return Drift(
        verdict=VERDICTS[max((finding.level for finding in findings), default=0)],
        reasons=(
            *(finding.reason for finding in findings),
            *_remarks(findings, (*ranked, prediction), measures, rows, policy),
        ),
        share=_drifted_share(ranked),
        judged_share=round(
            math.fsum(column.importance for column in ranked if not column.unjudged), 12
        ),
        columns=ranked,
        prediction=prediction,
        performance=measures,
    )


def drift_page(
    reference: pd.DataFrame, current: pd.DataFrame, columns: Sequence[ColumnDrift]
) -> str:
    """Return Evidently's self-contained HTML page of the judged columns; empty if there are none.

    Args:
        reference: Features and ``p_win`` as columns, as given to ``drift``.
        current: The same columns for the period that is judged, as given to ``drift``.
        columns: Columns from the result of ``drift``; their bounds are the page's thresholds.
    """
    bounds = {column.name: column.bound for column in columns if not column.unjudged}
    if not bounds:
        return ""
    old_values, new_values = _numbers(reference, bounds), _numbers(current, bounds)
    bands = {name: _Bands.of(old_values[name], new_values[name]) for name in bounds}
    page: str = _report(bands, {}, bounds).get_html_str(as_iframe=False)
    return page


def psi_noise(bands: int, reference_rows: int, current_rows: int, alpha: float) -> float:
    """Return the PSI that two samples of one distribution exceed with probability ``alpha``.

    With n and m rows, PSI / (1/n + 1/m) is asymptotically χ² with ``bands`` − 1 degrees of freedom,
    so that its mean is (bands − 1)(1/n + 1/m), not 0, and the bound is
    χ²(1 − alpha; bands − 1) · (1/n + 1/m) (Yurdakul, "Statistical properties of population
    stability index", Western Michigan University, 2018).

    Args:
        bands: Number of bands, at least 2.
        reference_rows: Rows n of the reference, at least 1.
        current_rows: Rows m of the other sample, at least 1.
        alpha: Probability in (0, 1).
    """
    from scipy.special import chdtri  # needed for a drift check only

    return float(chdtri(bands - 1, alpha) * (1 / reference_rows + 1 / current_rows))


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
    others: int,
) -> list[ColumnDrift]:
    """Return the drift of the columns named in ``shares``.

    The ``others`` columns judged elsewhere share the probability of a false alarm with these.
    """
    old_values, new_values = _numbers(reference, shares), _numbers(current, shares)
    unjudged = {
        name: _unjudged(old_values.get(name), new_values.get(name), policy.least_rows)
        for name in shares
    }
    judged = [name for name in shares if not unjudged[name]]
    bands = {name: _Bands.of(old_values[name], new_values[name]) for name in judged}
    psi, distances = _effects(
        bands, {name: (old_values[name], new_values[name]) for name in judged}
    )
    alpha = policy.alpha / max(len(judged) + others, 1)
    return [
        ColumnDrift(
            name,
            share,
            psi[name],
            max(policy.psi_bound, bands[name].noise(alpha)),
            distances.get(name, NAN),
        )
        if name in bands
        else ColumnDrift(name, share, unjudged=unjudged[name])
        for name, share in shares.items()
    ]


def _predicted(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[frame[PREDICTION].notna().to_numpy(dtype=bool)] if PREDICTION in frame else frame


def _numbers(frame: pd.DataFrame, names: Iterable[str]) -> dict[str, Floats]:
    """Return the columns that exist as floats; anything that is not a finite number becomes NaN."""
    numbers = {
        name: pd.to_numeric(frame[name], errors="coerce").to_numpy(dtype=np.float64, na_value=NAN)
        for name in names
        if name in frame
    }
    return {name: np.where(np.isfinite(values), values, NAN) for name, values in numbers.items()}


def _unjudged(old_values: Floats | None, new_values: Floats | None, least_rows: int) -> str:
    """Return why a column cannot be judged; empty if it can."""
    problem = _lacking(old_values, "reference", least_rows) or _lacking(
        new_values, "current", least_rows
    )
    if problem or old_values is None or new_values is None:
        return problem
    values = np.concatenate((old_values, new_values))
    if np.nanmin(values) == np.nanmax(values) and not np.isnan(values).any():
        return f"constant at {values[0]:.4g}"
    return ""


def _lacking(values: Floats | None, side: str, least_rows: int) -> str:
    if values is None:
        return f"missing in {side}"
    numbers = int((~np.isnan(values)).sum())
    if len(values) and not numbers:
        return f"no number in {side}"
    return f"{numbers} rows in {side}, {least_rows} needed" if numbers < least_rows else ""


@dataclass(frozen=True, slots=True, eq=False)
class _Bands:
    """A column cut at quantiles of its reference.

    Attributes:
        edges: Upper ends of all bands but the last, rising.
        old_codes: Band of each row of the reference, ``MISSING`` for NaN.
        new_codes: The same for the current rows.
    """

    edges: Floats
    old_codes: Codes
    new_codes: Codes

    @classmethod
    def of(cls, old_values: Floats, new_values: Floats) -> "_Bands":
        """Return both sides cut; a value that fills a band by itself keeps that band for itself.

        Args:
            old_values: The column in the reference, shape (n,), NaN for missing.
            new_values: The column in the current rows, shape (m,), NaN for missing.
        """
        numbers = old_values[~np.isnan(old_values)]
        bands = min(len(numbers), int((~np.isnan(new_values)).sum())) // ROWS_A_BAND
        quantiles = np.quantile(numbers, np.linspace(0, 1, min(bands, MAX_BANDS) + 1)[1:-1])
        repeated = quantiles[1:][np.diff(quantiles) == 0]
        edges = np.unique(np.concatenate((quantiles, np.nextafter(repeated, -np.inf))))
        return cls(edges, _cut(old_values, edges), _cut(new_values, edges))

    def noise(self, alpha: float) -> float:
        bands = len(np.unique(np.concatenate((self.old_codes, self.new_codes))))
        return psi_noise(bands, len(self.old_codes), len(self.new_codes), alpha)

    def labels(self) -> dict[int, str]:
        """Return a label for each band; the labels sort like the bands."""
        ends = [f"{round(edge, 12) + 0.0:.4g}" for edge in self.edges.tolist()]
        middle = [f"{low} to {high}" if low != high else low for low, high in pairwise(ends)]
        ranges = [f"up to {ends[0]}", *middle, f"over {ends[-1]}"]
        return {MISSING: "missing"} | {
            band: f"{band:02d}: {text}" for band, text in enumerate(ranges)
        }

    def labelled(self) -> tuple[list[str], list[str]]:
        """Return the label of each row of the reference, and of each current row."""
        labels = self.labels()
        old_labels = [labels[code] for code in self.old_codes.tolist()]
        return old_labels, [labels[code] for code in self.new_codes.tolist()]


def _cut(values: Floats, edges: Floats) -> Codes:
    return np.where(np.isnan(values), MISSING, np.searchsorted(edges, values, side="left")).astype(
        np.int64
    )


def _effects(
    bands: Mapping[str, _Bands], pairs: Mapping[str, tuple[Floats, Floats]]
) -> tuple[dict[str, float], dict[str, float]]:
    """Return PSI and Wasserstein distance by column; no distance if the reference is constant."""
    if not bands:
        return {}, {}
    varying = {
        name: pair for name, pair in pairs.items() if np.nanmax(pair[0]) > np.nanmin(pair[0])
    }
    rows = _report(bands, varying, dict.fromkeys(bands, 1.0)).dict()["metrics"]
    effects = {
        (row["config"]["method"], row["config"]["column"]): float(row["value"]) for row in rows
    }
    psi = {name: effects["psi", _banded(name)] for name in bands}
    return psi, {name: effects["wasserstein", name] for name in varying}


def _report(
    bands: Mapping[str, _Bands],
    varying: Mapping[str, tuple[Floats, Floats]],
    bounds: Mapping[str, float],
) -> "Snapshot":
    """Return Evidently's report: PSI of the bands, Wasserstein distance of the varying columns.

    Evidently would choose its test by the number of rows and cut at equal widths, where one outlier
    puts all other rows into a single band; method and bands are therefore given.
    """
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift

    definition = DataDefinition(
        numerical_columns=list(varying), categorical_columns=[_banded(name) for name in bands]
    )
    reference, current = (
        Dataset.from_pandas(frame, data_definition=definition) for frame in _frames(bands, varying)
    )
    stability = [
        ValueDrift(column=_banded(name), method="psi", threshold=bounds[name]) for name in bands
    ]
    distances = [ValueDrift(column=name, method="wasserstein") for name in varying]
    return Report([*stability, *distances]).run(current, reference)


def _frames(
    bands: Mapping[str, _Bands], varying: Mapping[str, tuple[Floats, Floats]]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    reference: dict[str, Any] = {}
    current: dict[str, Any] = {}
    for name, column in bands.items():
        reference[_banded(name)], current[_banded(name)] = column.labelled()
    for name, (old_values, new_values) in varying.items():
        # Evidently never divides by less than 0.001, more than many a return deviates: scaled to 1.
        centre, width = np.nanmean(old_values), np.nanstd(old_values)
        reference[name] = (old_values - centre) / width
        current[name] = (new_values - centre) / width
    return pd.DataFrame(reference), pd.DataFrame(current)


def _banded(name: str) -> str:
    return f"{name} in bands of the reference"


@dataclass(frozen=True, slots=True)
class _Estimate:
    """A measure of performance with its standard error.

    Attributes:
        centre: Expected present value if nothing has changed.
        error: Standard error of ``now`` around ``centre``.
    """

    name: str
    before: float
    now: float
    centre: float
    error: float

    @property
    def known(self) -> bool:
        return math.isfinite(self.centre + self.error + self.now)

    def bound(self, alpha: float) -> float:
        margin = -normal_bound(alpha) * self.error
        return self.centre - margin if self.name == "accuracy" else self.centre + margin


def _measures(
    before: Performance, now: Performance, policy: DriftPolicy
) -> tuple[MeasureDrift, ...]:
    """Return each measure with its bounds; the judged measures share the probabilities."""
    outcomes = min(before.outcomes, now.outcomes)
    if outcomes < policy.least_outcomes:
        unjudged = f"{outcomes} outcomes, {policy.least_outcomes} needed"
        return tuple(
            MeasureDrift(name, getattr(before, name), getattr(now, name), unjudged=unjudged)
            for name in ("accuracy", "log_loss", "ece")
        )
    estimates = _estimates(before, now)
    judged = max(sum(estimate.known for estimate in estimates), 1)
    return tuple(
        _measured(estimate, policy.watch_alpha / judged, policy.retrain_alpha / judged)
        for estimate in estimates
    )


def _measured(estimate: _Estimate, watch_alpha: float, retrain_alpha: float) -> MeasureDrift:
    values = estimate.name, estimate.before, estimate.now
    if not estimate.known:
        return MeasureDrift(*values, unjudged="unknown in training or now")
    return MeasureDrift(*values, estimate.bound(watch_alpha), estimate.bound(retrain_alpha))


def _estimates(before: Performance, now: Performance) -> tuple[_Estimate, ...]:
    """Return accuracy, log-loss and calibration error with their standard errors.

    Accuracy: the pooled error of a difference of two shares. Log-loss: the error of a difference of
    two means; if training's deviation is unknown, the present one stands in for it. Calibration
    error: the mean and the deviation that sampling gives it.
    """
    old, new = before.outcomes, now.outcomes
    pooled = (old * before.accuracy + new * now.accuracy) / (old + new)
    accuracy_error = math.sqrt(pooled * (1 - pooled) * (1 / old + 1 / new))
    deviation = now.loss_deviation if math.isnan(before.loss_deviation) else before.loss_deviation
    loss_error = math.sqrt(deviation**2 / old + now.loss_deviation**2 / new)
    ece_error = metrics.calibration_deviation(new)
    ece_centre = before.ece + metrics.calibration_noise(new)
    return (
        _Estimate("accuracy", before.accuracy, now.accuracy, before.accuracy, accuracy_error),
        _Estimate("log_loss", before.log_loss, now.log_loss, before.log_loss, loss_error),
        _Estimate("ece", before.ece, now.ece, ece_centre, ece_error),
    )


@dataclass(frozen=True, slots=True)
class _Finding:
    """Result of one check: an index into ``VERDICTS``, and a reason; empty if all is well."""

    level: int
    reason: str


def _findings(
    measures: Sequence[MeasureDrift],
    columns: Sequence[ColumnDrift],
    prediction: ColumnDrift,
    policy: DriftPolicy,
) -> list[_Finding]:
    """Return the findings that have a reason, the most serious first."""
    findings = [
        *map(_of_performance, measures),
        _of_inputs(columns, policy),
        _of_prediction(prediction, columns),
    ]
    return sorted(
        (finding for finding in findings if finding.reason), key=lambda finding: -finding.level
    )


def _of_performance(measure: MeasureDrift) -> _Finding:
    level = VERDICTS.index(measure.verdict)
    if not level:
        return _Finding(0, "")
    bound = (measure.watch, measure.retrain)[level - 1]
    direction = "down" if measure.name == "accuracy" else "up"
    values = f"{measure.now:.3f} now, {measure.before:.3f} in training"
    return _Finding(
        level, f"{measure.name} {values}; chance explains values {direction} to {bound:.3f}"
    )


def _of_inputs(columns: Sequence[ColumnDrift], policy: DriftPolicy) -> _Finding:
    drifted = [column for column in columns if column.drifted]
    if not drifted:
        return _Finding(0, "")
    share = _drifted_share(columns)
    level = 2 if share >= policy.retrain_share else int(share >= policy.watch_share)
    bound = (
        f"retrain from {policy.retrain_share:.0%}"
        if level
        else f"watch from {policy.watch_share:.0%}"
    )
    names = ", ".join(
        f"{column.name} (PSI {column.psi:.2f}, bound {column.bound:.2f})"
        for column in drifted[:NAMED]
    )
    more = f" and {len(drifted) - NAMED} more" if len(drifted) > NAMED else ""
    return _Finding(
        level, f"drifted features carry {share:.1%} of the importance, {bound}: {names}{more}"
    )


def _of_prediction(prediction: ColumnDrift, columns: Sequence[ColumnDrift]) -> _Finding:
    if not prediction.drifted:
        return _Finding(0, "")
    figures = f"predictions drifted: PSI {prediction.psi:.2f}, bound {prediction.bound:.2f}"
    if any(column.drifted for column in columns):
        return _Finding(2, f"{figures}; features drifted too")
    return _Finding(1, f"{figures}; no feature drifted")


def _remarks(
    findings: Sequence[_Finding],
    columns: Sequence[ColumnDrift],
    measures: Sequence[MeasureDrift],
    rows: int,
    policy: DriftPolicy,
) -> list[str]:
    """Return the last reasons: that nothing drifted, and what was not judged."""
    if rows < policy.least_rows:
        return [f"not judged: {rows} rows, {policy.least_rows} needed", *_not_judged(measures)]
    judged = [column for column in columns if not column.unjudged]
    remarks = [*_not_judged(columns), *_not_judged(measures)]
    if findings or not judged:
        return remarks
    largest = max(judged, key=lambda column: column.psi)
    largest_psi = f"{largest.psi:.2f} ({largest.name}), bound {largest.bound:.2f}"
    return [f"no drift: the largest PSI is {largest_psi}", *remarks]


def _not_judged(parts: Sequence[ColumnDrift | MeasureDrift]) -> list[str]:
    unjudged = [f"{part.name} ({part.unjudged})" for part in parts if part.unjudged]
    return [f"not judged: {', '.join(unjudged)}"] if unjudged else []


def _drifted_share(columns: Sequence[ColumnDrift]) -> float:
    """Return the share of the importance that drifted features carry; NaN if none was judged."""
    if all(column.unjudged for column in columns):
        return NAN
    return round(math.fsum(column.importance for column in columns if column.drifted), 12)


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: finite_or_none(value) if isinstance(value, float) else value
        for name, value in row.items()
    }
