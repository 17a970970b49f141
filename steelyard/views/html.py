"""Parts of a page: figures to move in, tables, the page around them; self-contained, readable in the dark and on a phone."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import pandas as pd

from steelyard.evaluation import metrics
from steelyard.evaluation.books import TARGETS
from steelyard.views.format import (
    BOOKS,
    COLORS,
    VERDICTS,
    WeightBand,
    books_rows,
    marked,
    path_of,
    weight_axis_top,
)

_STYLE = """
:root { color-scheme: light dark; --line: #8884; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 66rem; margin: 2rem auto; padding: 0 1rem;
  background: Canvas; color: CanvasText; }
h1 { font-size: 1.5rem; line-height: 1.25; } table { border-collapse: collapse; } .wide { overflow-x: auto; }
th, td { text-align: left; padding: .25rem .9rem .25rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td:first-child { white-space: nowrap; } td.why { min-width: 18rem; }
a { color: #0b57d0; } @media (prefers-color-scheme: dark) { a { color: #8ab4f8; } }
details ul { margin: 0; padding-left: 1.2rem; } summary { cursor: pointer; }
""".strip()

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

Document = Mapping[str, Any]


def assemble_page(
    title: str, headline: str, charts: Sequence[tuple[str, str]], lead: str, rest: str
) -> str:
    """Return one HTML page that needs nothing else.

    Args:
        title: Of the window.
        headline: The answer, as text.
        charts: Label for those who do not see it, and plotly's JSON, of each figure.
        lead: HTML between headline and figures.
        rest: HTML below the figures.
    """
    from plotly.offline import get_plotlyjs

    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title><style>{_STYLE}</style><script>{get_plotlyjs()}</script></head>
<body><main><h1>{escape(headline)}</h1>
{lead}
{"".join(_drawn(number, *chart) for number, chart in enumerate(charts))}
{rest}
</main></body></html>
"""


def _drawn(number: int, label: str, figure: str) -> str:
    place, config = f"chart{number}", "{responsive: true, displaylogo: false}"
    follow = "at => { const to = at.points[0].customdata; if (to) location.hash = to; }"
    return (
        f'<div id="{place}" role="img" aria-label="{escape(label)}"></div>'
        f"<script>(drawn => Plotly.newPlot('{place}', drawn.data, drawn.layout, {config})"
        f".then(chart => chart.on('plotly_click', {follow})))({figure});</script>"
    )


def weight_chart(document: Document, bands: Sequence[WeightBand]) -> tuple[str, str]:
    """Return the weight's path over its bands; a click on a decision leads to its row.

    Args:
        document: ``start``, ``end`` and ``decisions`` of a replay or a lineage.
        bands: Bands of the policy in force.
    """
    import plotly.graph_objects as go

    moments, weights = path_of(document)
    figure = go.Figure(
        go.Scatter(x=moments, y=weights, line_shape="hv", name="weight", line_color="#5b6470")
    )
    top = weight_axis_top(weights, bands)
    shade = {"fillcolor": COLORS["blended"], "opacity": 0.08, "line_width": 0}
    for band in bands:
        if band.floor < top:
            label = {"annotation_text": band.phase, "annotation_position": "top right"}
            figure.add_hrect(band.floor, min(band.ceiling, top), **shade, **label)
    for verdict, decisions in marked(document["decisions"]).items():
        _, color, word = VERDICTS[verdict]
        figure.add_scatter(
            x=[d["as_of"] for d in decisions],
            y=[d["weight_after"] for d in decisions],
            text=[f"{d['kind']}: {'<br>'.join(map(escape, d['reasons']))}" for d in decisions],
            customdata=[place_of(d.get("sequence")) for d in decisions],
            mode="markers",
            marker={
                "color": color,
                "size": 5 if verdict == "HOLD" else 11,
                "symbol": _SYMBOLS[verdict],
            },
            name=word,
        )
    figure.update_yaxes(range=[-0.02, top])
    return "weight of the model over time", styled(figure, "weight of the model", ".0%")


def equity_chart(equity: pd.DataFrame) -> tuple[str, str]:
    """Return the three books, shares of the account."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for name, color in COLORS.items():
        figure.add_scatter(
            x=equity.index, y=equity[name], name=name, line={"color": color, "width": _WIDTHS[name]}
        )
    return "gain of the three books on the account", styled(figure, "gain on the account", ".0%")


def drawdown_chart(equity: pd.DataFrame) -> tuple[str, str]:
    """Return how far each book is below its highest."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for name, color in COLORS.items():
        below = equity[name] - equity[name].cummax().clip(lower=0)
        figure.add_scatter(
            x=equity.index, y=below, name=name, line={"color": color, "width": _WIDTHS[name]}
        )
    return "drawdown of the three books", styled(figure, "drawdown on the account", ".1%")


def reliability_chart(p_win: metrics.Floats, won: metrics.Bools) -> tuple[str, str]:
    """Return the share won against the predicted one; the diagonal is an honest model."""
    import plotly.graph_objects as go

    predicted, happened, counts = metrics.reliability(p_win, won)
    ends = [min(predicted.min(), happened.min()), max(predicted.max(), happened.max())]
    figure = go.Figure(
        go.Scatter(
            x=ends, y=ends, mode="lines", name="honest", line={"color": "#8a9099", "dash": "dot"}
        )
    )
    words = [f"{count} signals" for count in counts]
    figure.add_scatter(
        x=predicted,
        y=happened,
        text=words,
        mode="lines+markers",
        name="model",
        line_color=COLORS["blended"],
    )
    figure.update_xaxes(title="predicted p_win", tickformat=".0%")
    return "share won against predicted p_win", styled(figure, "share won", ".0%")


def importance_chart(features: Sequence[Document]) -> tuple[str, str]:
    """Return the champion's most important features by Shapley values and by gain, the largest on top."""
    import plotly.graph_objects as go

    figure, names = go.Figure(), [one["name"] for one in features[::-1]]
    for name, words, color in (
        ("gain", "gain", "#8a9099"),
        ("shap", "Shapley values", COLORS["blended"]),
    ):
        figure.add_bar(
            y=names,
            x=[one[name] for one in features[::-1]],
            name=words,
            marker_color=color,
            orientation="h",
        )
    figure.update_xaxes(tickformat=".0%")
    figure.update_yaxes(automargin=True)
    return "importance of the champion's features", styled(
        figure, "importance of the champion's features", ""
    )


def styled(figure: Any, title: str, tickformat: str) -> str:
    """Return plotly's JSON of a figure in the style of the page."""
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


def books_table(books: Document) -> str:
    """Return the three books side by side."""
    rows = [
        [cell(name), *(cell(figure, "n") for figure in figures)]
        for name, *figures in books_rows(books)
    ]
    return table([head(""), *(head(name, "n") for name in (*BOOKS, "target"))], rows)


def model_table(p_win: metrics.Floats, won: metrics.Bools, latency_ms: metrics.Floats) -> str:
    """Return what the model was worth on settled predictions, the targets beside it."""
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
    rows = []
    for measure, (words, form) in _MODEL.items():
        rows.append(
            [
                cell(words),
                cell(format(figures[measure], form), "n"),
                cell(_target(measure, form), "n"),
            ]
        )
    headings = [head(""), head(f"{len(won)} settled predictions", "n"), head("target", "n")]
    return f"<h2>The model</h2>{table(headings, rows)}"


def folded_rules(rules: Sequence[Document]) -> str:
    """Return every rule that was looked at, folded away; those that took effect are marked."""
    if not rules:
        return ""
    items = "".join(
        f"<li>{'● ' if r['fired'] else '○ '}{escape(r['name'])}: {escape(r['reason'])}</li>"
        for r in rules
    )
    return f"<details><summary>rules looked at: {len(rules)}</summary><ul>{items}</ul></details>"


def place_of(sequence: int | None) -> str | None:
    """Return the anchor of a decision's row."""
    return None if sequence is None else f"decision-{sequence}"


def linked(text: str, page: str | None, sequence: int | None) -> str:
    """Return a cell that can be jumped to, and leads on to the run where its page is known."""
    content = f'<a href="{escape(page, quote=True)}">{escape(text)}</a>' if page else escape(text)
    anchor = place_of(sequence)
    return f'<td id="{anchor}">{content}</td>' if anchor else f"<td>{content}</td>"


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table that scrolls on its own where the screen is narrow; no headings where ``headings`` is empty."""
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    top = f"<thead><tr>{''.join(headings)}</tr></thead>" if headings else ""
    return f'<div class="wide" tabindex="0"><table>{top}<tbody>{body}</tbody></table></div>'


def head(text: str, kind: str = "") -> str:
    """Return a column's heading; kind "n" is a number's; without a text it is an empty cell."""
    return f'<th scope="col" class="{kind}">{escape(text)}</th>' if text else "<td></td>"


def cell(text: object, kind: str = "") -> str:
    """Return a cell; kind "n" is a number, "why" a text that needs room."""
    return f'<td class="{kind}">{escape(str(text))}</td>'


def _target(measure: str, form: str) -> str:
    if measure not in TARGETS:
        return ""
    bound, direction = TARGETS[measure]
    return f"{direction} {format(bound, form)}"
