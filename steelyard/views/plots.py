"""Pictures as PNG bytes: weight, equity, calibration, importance. Plain data in, no files out."""

import io
from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from steelyard.evaluation import books, metrics
from steelyard.monitoring.drift_record import DriftRecord
from steelyard.views.format import (
    COLORS,
    VERDICTS,
    WeightBand,
    recorded_bands,
    weight_axis_top,
)
from steelyard.views.history import WeightHistory
from steelyard.weight.decision import Decision

INK, FAINT = "#22262b", "#8a9099"
PHASES = {
    "foundation": "#eceef1",
    "shadow": "#cfd5dc",
    "pilot": "#d3e2ef",
    "expansion": "#a9c7e0",
    "optimization": "#7faad0",
}
"""Phase → colour of its stretch of time."""
STYLE = {
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "white",
    "text.parse_math": False,  # dollar signs in a reason or a name are no formula
}


def story(
    title: str, history: WeightHistory[Any], equity: pd.DataFrame, bands: Sequence[WeightBand]
) -> bytes:
    """Return the weight's path above the equity of the three books, on one time axis.

    Args:
        title: The result in one sentence.
        history: Decisions of a replay or a lineage.
        equity: Equity of the books by day, shape (days, 3), columns baseline, ml and blended,
            shares of the account.
        bands: Bands of the policy in force.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10, 6.2), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        figure.suptitle(fill(title, 84), x=0.01, ha="left", fontsize=12.5, fontweight="bold")
        draw_weight(upper, history, bands)
        draw_equity(lower, equity)
        return _png(figure)


def weight_path(history: WeightHistory[Any], bands: Sequence[WeightBand]) -> bytes:
    """Return the weight over time, phase bands shaded, every decision marked by its verdict.

    Args:
        history: Decisions of a replay or a lineage.
        bands: Bands of the policy in force.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10, 4), layout="constrained")
        draw_weight(figure.subplots(), history, bands)
        return _png(figure)


def equity_curves(equity: pd.DataFrame) -> bytes:
    """Return the equity of the three books over time with their drawdown below.

    Args:
        equity: Equity of the books by day, shape (days, 3), columns baseline, ml and blended,
            shares of the account.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10, 5), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        draw_equity(upper, equity)
        for name in COLORS:
            lower.plot(
                equity.index,
                equity[name] - equity[name].cummax().clip(lower=0),
                color=COLORS[name],
                lw=1,
            )
        lower.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        lower.set_ylabel("drawdown")
        return _png(figure)


def decision(decided: Decision, equity: pd.DataFrame) -> bytes:
    """Return what a decision did to the weight, drawn on a beam above the books it rests on.

    Args:
        decided: The decision; the bands come from the policy recorded in it.
        equity: Equity of the books by day, shape (days, 3), columns baseline, ml and blended,
            shares of the account.
    """
    title = f"{decided.kind}, {decided.outcome}: {'; '.join(decided.reasons)}"
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9, 4.8), layout="constrained")
        beam, below = figure.subplots(2, 1, height_ratios=(1, 4))
        figure.suptitle(fill(title, 90), x=0.01, ha="left", fontsize=11, fontweight="bold")
        bands = recorded_bands(decided.policy)
        _draw_beam(beam, decided.before.weight, decided.after.weight, bands)
        draw_equity(below, equity)
        return _png(figure)


def _draw_beam(axes: Axes, before: float, after: float, bands: Sequence[WeightBand]) -> None:
    for band in bands:
        axes.axvspan(band.floor, band.ceiling, color=PHASES[band.phase], lw=0)
        middle = (band.floor + band.ceiling) / 2
        axes.text(middle, 0.8, band.phase, ha="center", va="top", fontsize=8, color=INK)
    end = max(before, after, *(band.ceiling for band in bands)) + 0.02
    axes.annotate("", (after, 0.35), (before, 0.35), arrowprops={"arrowstyle": "->", "color": INK})
    axes.plot(before, 0.35, "o", color=FAINT, ms=8)
    axes.plot(after, 0.35, "o", color=COLORS["blended"], ms=10)
    axes.set(xlim=(-0.02, end), ylim=(0, 1), yticks=[], xlabel=f"weight {before:.1%} → {after:.1%}")
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))


def reliability(p_win: NDArray[np.float64], won: NDArray[np.bool_]) -> bytes:
    """Return the predicted against the realised share of wins; the diagonal is an honest model.

    Args:
        p_win: Calibrated probabilities, shape (n,).
        won: Outcomes, shape (n,).
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5, 5), layout="constrained")
        draw_reliability(figure.subplots(), p_win, won)
        return _png(figure)


def confidence(predictions: pd.DataFrame, threshold: float) -> bytes:
    """Return how often each confidence occurs, for the existing system and the model.

    Args:
        predictions: One per row, with ``confidence_existing``, ``confidence_ml`` and
            ``p_win``; NaN there is left out.
        threshold: Confidence above which a signal is traded.
    """
    rows = predictions[predictions["p_win"].notna().to_numpy(dtype=bool)]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8, 3.6), layout="constrained")
        left, right = figure.subplots(1, 2)
        bins = np.linspace(0, 100, 26)
        left.hist(
            rows["confidence_existing"],
            bins,
            color=COLORS["baseline"],
            alpha=0.6,
            label="existing system",
        )
        left.hist(
            rows["confidence_ml"], bins, color=COLORS["ml"], histtype="step", lw=1.8, label="model"
        )
        left.axvline(threshold, color=INK, lw=1, ls=":", label=f"traded above {threshold:g}")
        left.set(xlabel="confidence", ylabel="signals")
        right.hist(rows["p_win"], 25, color=COLORS["ml"], label=f"p_win of {len(rows)} signals")
        right.axvline(0.5, color=INK, lw=1, ls=":")
        right.set(xlabel="p_win, calibrated")
        for axes in (left, right):
            _legend(axes)
        return _png(figure)


def importance(shares: Mapping[str, float], most: int = 20) -> bytes:
    """Return the ``most`` features with the largest share of the gain."""
    top = sorted(shares.items(), key=lambda item: item[1])[-most:]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6, 5.5), layout="constrained")
        axes = figure.subplots()
        axes.barh([name for name, _ in top], [share for _, share in top], color=COLORS["blended"])
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.set_xlabel("share of the gain")
        return _png(figure)


def training(
    holdout: pd.DataFrame, shares: Mapping[str, float], threshold: float
) -> dict[str, bytes]:
    """Return the pictures of a training by name.

    Args:
        holdout: One row per holdout signal, with ``decided_at``, ``settled_at``,
            ``confidence_existing``, ``confidence_ml``, ``p_win``, ``won`` and the return of each
            book.
        shares: Feature → share of the gain.
        threshold: Confidence above which a signal is traded.
    """
    start, end = holdout["decided_at"].min(), holdout["settled_at"].max()
    return {
        "importance.png": importance(shares),
        "reliability.png": reliability(
            holdout["p_win"].to_numpy(dtype=np.float64), holdout["won"].to_numpy(dtype=bool)
        ),
        "equity.png": equity_curves(books.equity_curves(holdout, start, end)),
        "confidence.png": confidence(holdout, threshold),
    }


def drift_map(checks: Sequence[DriftRecord], most: int = 20) -> bytes:
    """Return how far the most important features moved in each check; 1 is the bound.

    Args:
        checks: Checks for drift, oldest first, at least one.
        most: Features shown.
    """
    names = [column.name for column in checks[-1].columns][:most]
    moved = np.full((len(names), len(checks)), np.nan)
    for number, check in enumerate(checks):
        for column in check.columns:
            if column.name in names:
                moved[names.index(column.name), number] = column.psi / column.bound
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8, 1.5 + 0.25 * len(names)), layout="constrained")
        axes = figure.subplots()
        drawn = axes.imshow(moved, aspect="auto", cmap="magma_r", vmin=0, vmax=2)
        axes.set_yticks(range(len(names)), names)
        axes.set_xticks(
            range(len(checks)), [f"{check.as_of:%m-%d}" for check in checks], rotation=45
        )
        figure.colorbar(drawn, label="PSI over its bound")
        return _png(figure)


def draw_weight(axes: Axes, history: WeightHistory[Any], bands: Sequence[WeightBand]) -> None:
    """Draw the weight over its bands with decisions and promotions, and the phases below.

    Args:
        axes: Drawn into.
        history: Decisions of a replay or a lineage.
        bands: Bands of the policy in force.
    """
    moments, weights = history.weight_steps()
    top = weight_axis_top(weights, bands)
    _draw_bands(axes, bands, top)
    axes.step(np.array(moments), weights, where="post", color=INK, lw=1.8)
    for verdict, decisions in history.by_verdict(VERDICTS).items():
        marker, color, word = VERDICTS[verdict]
        moments_decided = np.array([pd.Timestamp(decision.as_of) for decision in decisions])
        heights = [decision.weight_after for decision in decisions]
        size = 5 if verdict == "HOLD" else 55
        axes.scatter(
            moments_decided,
            heights,
            marker=marker,
            s=size,
            color=color,
            zorder=3,
            label=f"{word} ({len(moments_decided)})",
        )
    promoted = np.array([pd.Timestamp(promotion.as_of) for promotion in history.promotions])
    if len(promoted):
        label = f"new champion ({len(promoted)})"
        axes.scatter(
            promoted,
            [-0.05 * top] * len(promoted),
            marker="|",
            s=60,
            color=COLORS["ml"],
            label=label,
        )
    last = max(moments[-1], moments[0] + pd.Timedelta(days=1))
    axes.set(ylim=(-0.16 * top, top), xlim=(moments[0], last), ylabel="weight of the model")
    axes.set_yticks([tick for tick in axes.get_yticks() if 0 <= tick <= top])
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    _draw_phases(axes, history)
    _legend(axes)
    _dates(axes)


def draw_equity(axes: Axes, equity: pd.DataFrame) -> None:
    """Draw the three books, the baseline broad so that it shows under the blended book.

    Args:
        axes: Where to draw.
        equity: Equity of the books by day, shape (days, 3), columns baseline, ml and blended.
    """
    for name, color in COLORS.items():
        width, alpha = (3.6, 0.6) if name == "baseline" else (1.6, 1.0)
        label = f"{name} {equity[name].iloc[-1]:+.1%}"
        axes.plot(equity.index, equity[name], color=color, lw=width, alpha=alpha, label=label)
    axes.axhline(0, color=FAINT, lw=0.6)
    axes.margins(x=0)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_ylabel("gain on the account")
    _legend(axes)
    _dates(axes)


def draw_reliability(axes: Axes, p_win: NDArray[np.float64], won: NDArray[np.bool_]) -> None:
    """Draw the share won in each group of ``p_win`` with its 95 % interval, scores in the title.

    Args:
        axes: Where to draw.
        p_win: Calibrated probabilities, shape (n,).
        won: Outcomes, shape (n,).
    """
    predicted, happened, counts = metrics.reliability(p_win, won)
    error = 1.96 * np.sqrt(happened * (1 - happened) / counts)
    drawn = np.concatenate([predicted, happened - error, happened + error])
    low, high = max(0.0, float(drawn.min()) - 0.08), min(1.0, float(drawn.max()) + 0.08)
    axes.plot([low, high], [low, high], color=FAINT, lw=1, ls=":")
    axes.errorbar(
        predicted, happened, yerr=error, fmt="o-", color=COLORS["blended"], lw=1.2, elinewidth=0.8
    )
    axes.set(
        xlabel="predicted p_win",
        ylabel="share won (95 % interval)",
        xlim=(low, high),
        ylim=(low, high),
    )
    score, gap = metrics.brier(p_win, won), metrics.calibration_error(p_win, won)
    groups = f"{len(won)} signals in {len(counts)} groups of {counts.min()} to {counts.max()}"
    axes.set_title(
        f"{groups}\nBrier {score:.3f} · calibration error {gap:.3f}", fontsize=10, loc="left"
    )


def _draw_bands(axes: Axes, bands: Sequence[WeightBand], top: float) -> None:
    beside = axes.get_yaxis_transform()
    for number, band in enumerate(band for band in bands if band.floor < top):
        shade = 0.05 + 0.04 * number
        axes.axhspan(band.floor, band.ceiling, color=COLORS["blended"], alpha=shade, lw=0)
        middle = (band.floor + min(band.ceiling, top)) / 2
        axes.text(1.0, middle, f" {band.phase}", transform=beside, va="center", color=FAINT)


def _draw_phases(axes: Axes, history: WeightHistory[Any]) -> None:
    """Draw the strip of phases along the bottom, named where the name fits."""
    stretches = [
        (phase, date2num(since), date2num(until)) for phase, since, until in history.phase_spans()
    ]
    whole = stretches[-1][2] - stretches[0][1]
    for phase, since, until in stretches:
        axes.axvspan(since, until, ymin=0, ymax=0.06, color=PHASES[phase], lw=0)
        if until - since > 0.0085 * len(phase) * whole:
            middle = ((since + until) / 2, 0.028)
            axes.text(
                *middle,
                phase,
                transform=axes.get_xaxis_transform(),
                ha="center",
                va="center",
                fontsize=7.5,
            )


def _legend(axes: Axes) -> None:
    """Put the legend above the axes, where it covers nothing."""
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1),
        borderaxespad=0.2,
        frameon=False,
        ncols=5,
        fontsize=9,
    )


def _dates(axes: Axes) -> None:
    locator = AutoDateLocator()
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.set_dpi(130)
    # savefig would draw everything twice: once for the layout, which drawing does anyway
    FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": None})
    return buffer.getvalue()
