"""Pictures as PNG bytes: the weight's path, the books' equity, calibration and importance. Plain data in, no files out."""

import io
from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from steelyard.judging import metrics

INK, FAINT = "#22262b", "#8a9099"
COLORS = {"baseline": "#8a9099", "ml": "#d98a2b", "blended": "#2567a8"}
VERDICTS = {
    "RAISE": ("^", "#1b7f5c", "raised"),
    "CUT": ("v", "#c8641e", "cut"),
    "DISABLE": ("X", "#a3195b", "disabled"),
}
"""Verdict → marker, colour (told apart without red and green), word."""
BANDS = (("pilot", 0.10, 0.20), ("expansion", 0.20, 0.40), ("optimization", 0.40, 0.70))
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
}

Decisions = Sequence[Mapping[str, Any]]


def story(title: str, document: Mapping[str, Any], equity: pd.DataFrame) -> bytes:
    """Return the weight's path above the equity of the three books, on one time axis."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10, 6.2), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        figure.suptitle(fill(title, 95), x=0.01, ha="left", fontsize=12.5, fontweight="bold")
        _draw_weight(upper, document)
        _draw_equity(lower, equity)
        return _png(figure)


def weight_path(document: Mapping[str, Any]) -> bytes:
    """Return the weight over time, phase bands shaded, every decision that moved it marked."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10, 4), layout="constrained")
        _draw_weight(figure.subplots(), document)
        return _png(figure)


def equity_curves(equity: pd.DataFrame) -> bytes:
    """Return the equity of the three books over time, as shares of the account, with their drawdown below."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10, 5), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        _draw_equity(upper, equity)
        for name in COLORS:
            lower.plot(equity.index, equity[name] - equity[name].cummax().clip(lower=0), color=COLORS[name], lw=1)
        lower.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        lower.set_ylabel("drawdown")
        return _png(figure)


def reliability(p_win: NDArray[np.float64], won: NDArray[np.bool_]) -> bytes:
    """Return predicted against happened by groups of equal size; the diagonal is an honest model."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5, 5), layout="constrained")
        axes = figure.subplots()
        predicted, happened, counts = metrics.reliability(p_win, won)
        low, high = _limits(np.concatenate([predicted, happened]))
        axes.plot([low, high], [low, high], color=FAINT, lw=1, ls=":")
        error = 1.96 * np.sqrt(happened * (1 - happened) / np.maximum(counts, 1))
        axes.errorbar(predicted, happened, yerr=error, fmt="o-", color=COLORS["blended"], lw=1.5, elinewidth=0.8)
        axes.set(xlabel="predicted p_win", ylabel="share won (95 % interval)", xlim=(low, high), ylim=(low, high))
        score, gap = metrics.brier(p_win, won), metrics.calibration_error(p_win, won)
        axes.set_title(f"{len(won)} signals · Brier {score:.3f} · calibration error {gap:.3f}", fontsize=10, loc="left")
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


def path_of(document: Mapping[str, Any]) -> tuple[list[pd.Timestamp], list[float]]:
    """Return the moments at which the weight changed, and the weight from each on; start and end included."""
    moments, weights = [pd.Timestamp(document["start"])], [0.0]
    for made in document["decisions"]:
        if made["weight_after"] != weights[-1]:
            moments.append(pd.Timestamp(made["as_of"]))
            weights.append(made["weight_after"])
    return [*moments, pd.Timestamp(document["end"])], [*weights, weights[-1]]


def marked(decisions: Decisions) -> dict[str, list[Mapping[str, Any]]]:
    """Return the decisions to mark, by verdict: those that moved the weight or the phase."""
    return {verdict: [d for d in decisions if d["verdict"] == verdict] for verdict in VERDICTS}


def _draw_weight(axes: Axes, document: Mapping[str, Any]) -> None:
    moments, weights = path_of(document)
    top = min(max(0.25, max(weights) + 0.06), 0.72)
    for number, (phase, low, high) in enumerate(band for band in BANDS if band[1] < top):
        axes.axhspan(low, high, color=COLORS["blended"], alpha=0.05 + 0.04 * number, lw=0)
        middle = (low + min(high, top)) / 2
        axes.text(1.0, middle, f" {phase}", transform=axes.get_yaxis_transform(), va="center", color=FAINT)
    axes.step(np.array(moments), weights, where="post", color=INK, lw=1.8)
    for verdict, decisions in marked(document["decisions"]).items():
        marker, color, word = VERDICTS[verdict]
        places = [pd.Timestamp(d["as_of"]) for d in decisions]
        heights = [d["weight_after"] for d in decisions]
        axes.scatter(np.array(places), heights, marker=marker, s=55, color=color, zorder=3, label=f"{word} ({len(places)})")
    promoted = [pd.Timestamp(p["as_of"]) for p in document["promotions"]]
    axes.scatter(np.array(promoted), [-0.02] * len(promoted), marker="|", s=60, color=COLORS["ml"], label="new champion")
    axes.set(ylim=(-0.035, top), xlim=(moments[0], moments[-1]), ylabel="weight of the model")
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.legend(loc="upper left", frameon=False, ncols=4, fontsize=9)
    _dates(axes)


def _draw_equity(axes: Axes, equity: pd.DataFrame) -> None:
    for name, color in COLORS.items():
        axes.plot(equity.index, equity[name], color=color, lw=1.6, label=f"{name} {equity[name].iloc[-1]:+.1%}")
    axes.axhline(0, color=FAINT, lw=0.6)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_ylabel("gain on the account")
    axes.legend(loc="upper left", frameon=False, ncols=3, fontsize=9)
    _dates(axes)


def _dates(axes: Axes) -> None:
    locator = AutoDateLocator()
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))


def _limits(values: NDArray[np.float64]) -> tuple[float, float]:
    return max(0.0, float(values.min()) - 0.08), min(1.0, float(values.max()) + 0.08)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130, metadata={"Software": None})
    return buffer.getvalue()
