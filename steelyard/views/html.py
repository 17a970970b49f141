"""HTML pages: figures that can be zoomed, and templates that need nothing from elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from typing import TYPE_CHECKING, Any

import pandas as pd

from steelyard.evaluation import metrics
from steelyard.evaluation.books import TARGETS, finite_or_none
from steelyard.monitoring.health import Importance
from steelyard.views.format import (
    COLORS,
    VERDICTS,
    TableView,
    WeightBand,
    weight_axis_top,
)
from steelyard.views.history import WeightHistory
from steelyard.views.records import DecisionRecord

if TYPE_CHECKING:
    from jinja2 import Environment

_MODEL = {
    "accuracy": ("accuracy", ".1%"),
    "no_information_rate": ("no-information rate", ".1%"),
    "brier": ("Brier score", ".3f"),
    "log_loss": ("log-loss, nats", ".3f"),
    "calibration_error": ("calibration error", ".3f"),
    "latency_p50": ("latency p50, ms", ".2f"),
    "latency_p95": ("latency p95, ms", ".2f"),
    "latency_ms": ("latency p99, ms", ".2f"),
}
"""Measure → (words, format)."""

_SYMBOLS = {"HOLD": "circle", "RAISE": "triangle-up", "CUT": "triangle-down", "DISABLE": "x"}
_WIDTHS = {"baseline": 4, "ml": 2, "blended": 2}


@dataclass(frozen=True, slots=True)
class Chart:
    """A figure of a page.

    Attributes:
        label: Description for readers who do not see the figure.
        figure: Plotly's JSON; it escapes ``<``, ``>`` and ``/`` and may stand in a script.
    """

    label: str
    figure: str


@cache
def _templates() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("steelyard.views"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render_page(
    template: str, title: str, headline: str, charts: Sequence[Chart], **content: Any
) -> str:
    """Return one self-contained HTML page; every value but the figures is escaped.

    Args:
        template: Name of a file in ``templates/`` without its suffix.
        title: Title of the window.
        headline: The result in one sentence.
        charts: Figures, in order.
        content: Values the template names; a missing one is an error.
    """
    from plotly.offline import get_plotlyjs

    return render_template(
        template,
        **{"live": None, **content},
        title=title,
        headline=headline,
        charts=charts,
        plotly_library=get_plotlyjs(),
    )


def render_template(template: str, **content: Any) -> str:
    """Return a template as HTML; every value is escaped.

    Args:
        template: Name of a file in ``templates/`` without its suffix.
        **content: Values the template names; a missing one is an error.
    """
    return _templates().get_template(f"{template}.html.j2").render(**content)


def weight_chart(history: WeightHistory[DecisionRecord], bands: Sequence[WeightBand]) -> Chart:
    """Return the weight's path over its bands; a click on a decision leads to its row.

    Args:
        history: Decisions of a replay or a lineage.
        bands: Bands of the policy in force.
    """
    import plotly.graph_objects as go

    moments, weights = history.weight_steps()
    figure = go.Figure(
        go.Scatter(x=moments, y=weights, line_shape="hv", name="weight", line_color="#5b6470")
    )
    top = weight_axis_top(weights, bands)
    shade = {"fillcolor": COLORS["blended"], "opacity": 0.08, "line_width": 0}
    for band in bands:
        if band.floor < top:
            label = {"annotation_text": band.phase, "annotation_position": "top right"}
            figure.add_hrect(band.floor, min(band.ceiling, top), **shade, **label)
    for verdict, decisions in history.by_verdict(VERDICTS).items():
        _, color, word = VERDICTS[verdict]
        figure.add_scatter(
            x=[decision.as_of.isoformat() for decision in decisions],
            y=[decision.weight_after for decision in decisions],
            text=[
                f"{decision.kind}: {'<br>'.join(map(escape, decision.reasons))}"
                for decision in decisions
            ],
            customdata=[decision.anchor for decision in decisions],
            mode="markers",
            marker={
                "color": color,
                "size": 5 if verdict == "HOLD" else 11,
                "symbol": _SYMBOLS[verdict],
            },
            name=word,
        )
    figure.update_yaxes(range=[-0.02, top])
    return Chart("weight of the model over time", plotly_json(figure, "weight of the model", ".0%"))


def equity_chart(equity: pd.DataFrame) -> Chart:
    """Return the gain of the three books, shape (days, 3), as shares of the account."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for name, color in COLORS.items():
        figure.add_scatter(
            x=equity.index, y=equity[name], name=name, line={"color": color, "width": _WIDTHS[name]}
        )
    return Chart(
        "gain of the three books on the account", plotly_json(figure, "gain on the account", ".0%")
    )


def drawdown_chart(equity: pd.DataFrame) -> Chart:
    """Return the drawdown of the three books, shape (days, 3), as shares of the account."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for name, color in COLORS.items():
        below = equity[name] - equity[name].cummax().clip(lower=0)
        figure.add_scatter(
            x=equity.index, y=below, name=name, line={"color": color, "width": _WIDTHS[name]}
        )
    return Chart(
        "drawdown of the three books", plotly_json(figure, "drawdown on the account", ".1%")
    )


def reliability_chart(p_win: metrics.Floats, won: metrics.Bools) -> Chart:
    """Return the share won against the predicted one; the diagonal is an honest model.

    Args:
        p_win: Predicted probabilities, shape (n,), without NaN.
        won: Outcomes, shape (n,).
    """
    import plotly.graph_objects as go

    predicted, happened, counts = metrics.reliability(p_win, won)
    ends = [min(predicted.min(), happened.min()), max(predicted.max(), happened.max())]
    figure = go.Figure(
        go.Scatter(
            x=ends, y=ends, mode="lines", name="honest", line={"color": "#8a9099", "dash": "dot"}
        )
    )
    figure.add_scatter(
        x=predicted,
        y=happened,
        text=[f"{count} signals" for count in counts],
        mode="lines+markers",
        name="model",
        line_color=COLORS["blended"],
    )
    figure.update_xaxes(title="predicted p_win", tickformat=".0%")
    return Chart("share won against predicted p_win", plotly_json(figure, "share won", ".0%"))


def importance_chart(features: Sequence[Importance]) -> Chart:
    """Return the champion's most important features by Shapley values and gain, largest on top."""
    import plotly.graph_objects as go

    figure, names = go.Figure(), [escape(feature.name) for feature in features[::-1]]
    for measure, name, color in (
        ("gain", "gain", "#8a9099"),
        ("shap", "Shapley values", COLORS["blended"]),
    ):
        figure.add_bar(
            y=names,
            x=[finite_or_none(getattr(feature, measure)) for feature in features[::-1]],
            name=name,
            marker_color=color,
            orientation="h",
        )
    figure.update_xaxes(tickformat=".0%")
    figure.update_yaxes(automargin=True)
    return Chart(
        "importance of the champion's features",
        plotly_json(figure, "importance of the champion's features", ""),
    )


def plotly_json(figure: Any, title: str, tickformat: str) -> str:
    """Return plotly's JSON of a figure in the style of the page.

    Args:
        figure: A ``plotly.graph_objects.Figure``; its layout is changed.
        title: Title of the figure.
        tickformat: Format of the y axis, in the notation of d3; empty for plotly's own.
    """
    clear, grid = "rgba(0,0,0,0)", "rgba(128,128,128,0.25)"
    figure.update_layout(
        template="none",
        title={"text": title, "x": 0, "xref": "paper", "y": 0.97},
        paper_bgcolor=clear,
        plot_bgcolor=clear,
        font_color="#7a828c",
        height=380,
        margin={"l": 48, "r": 12, "t": 84, "b": 44},
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
    )
    figure.update_xaxes(gridcolor=grid, zeroline=False)
    figure.update_yaxes(gridcolor=grid, zerolinecolor=grid, tickformat=tickformat)
    return str(figure.to_json())


def model_view(p_win: metrics.Floats, won: metrics.Bools, latency_ms: metrics.Floats) -> TableView:
    """Return accuracy, scores and latency on settled predictions, beside their targets.

    Args:
        p_win: Predicted probabilities, shape (n,), without NaN.
        won: Outcomes, shape (n,).
        latency_ms: Milliseconds per prediction, shape (n,); NaN if not measured.
    """
    p50, p95, p99 = metrics.latency_percentiles(latency_ms)
    figures = {
        "accuracy": metrics.accuracy(p_win, won),
        "no_information_rate": metrics.no_information_rate(won),
        "brier": metrics.brier(p_win, won),
        "log_loss": metrics.log_loss(p_win, won),
        "calibration_error": metrics.calibration_error(p_win, won),
        "latency_p50": p50,
        "latency_p95": p95,
        "latency_ms": p99,
    }
    rows = tuple(
        (name, format(figures[measure], spec), _target(measure, spec))
        for measure, (name, spec) in _MODEL.items()
    )
    headings = ("measure", f"{len(won)} settled predictions", "target")
    return TableView("The model", headings, rows, frozenset({1, 2}))


def _target(measure: str, spec: str) -> str:
    if measure not in TARGETS:
        return ""
    bound, direction = TARGETS[measure]
    return f"{direction} {format(bound, spec)}"
