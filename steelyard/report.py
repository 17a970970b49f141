"""The page of a replay: the answer first, then the pictures to move in, the books and every decision. Works offline."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from steelyard.judging import metrics
from steelyard.judging.books import TARGETS
from steelyard.pictures import BANDS, COLORS, VERDICTS, marked, path_of, top_of
from steelyard.wording import BOOKS, books_rows

_STYLE = """
:root { color-scheme: light dark; --line: #8884; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 66rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; line-height: 1.25; } table { border-collapse: collapse; } .wide { overflow-x: auto; }
th, td { text-align: left; padding: .25rem .9rem .25rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td:first-child { white-space: nowrap; } td.why { min-width: 18rem; }
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


def answer(document: Document) -> str:
    """Return the result of a replay in one sentence."""
    final, trainings = document["final"], document["trainings"]
    if final["weight"] > 0:
        return f"The model decides {final['weight']:.0%} of the confidence, in phase {final['phase']}."
    highest = max((made["weight_after"] for made in document["decisions"]), default=0.0)
    if highest > 0:
        last = next(made for made in reversed(document["decisions"]) if made["weight_before"] > made["weight_after"] == 0)
        return (
            f"The model reached {highest:.0%} and lost it: on {last['as_of'][:10]} the weight went to 0 "
            f"({'; '.join(last['reasons'])})."
        )
    served = [training for training in trainings if training["accepted"]]
    if served:
        return f"A model served in shadow, but never earned weight; phase {final['phase']}."
    best = max(trainings, key=lambda training: training["holdout_accuracy"] or 0.0, default=None)
    if best is None:
        return "No model could be trained."
    return f"Every model was refused; the best, of {best['as_of'][:10]}: {_result(best)}."


def page(title: str, document: Document, equity: pd.DataFrame, settled: pd.DataFrame | None = None) -> str:
    """Return one self-contained HTML page of a replay.

    Args:
        title: What was replayed.
        document: What ``steelyard replay --json`` prints.
        equity: Equity of the three books by day, shares of the account.
        settled: Settled predictions; where the model had an opinion on any, the page says what the model was worth.
    """
    from plotly.offline import get_plotlyjs

    judged = None if settled is None else settled[settled["p_win"].notna()]
    charts, model = [_weight_chart(document), _equity_chart(equity)], ""
    if judged is not None and len(judged):
        p_win, won = judged["p_win"].to_numpy(dtype=np.float64), judged["won"].to_numpy(dtype=bool)
        charts.append(_reliability_chart(p_win, won))
        model = _model(p_win, won, judged["latency_ms"].to_numpy(dtype=np.float64))
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title><style>{_STYLE}</style><script>{get_plotlyjs()}</script></head>
<body><main><h1>{escape(answer(document))}</h1>
<p>{escape(title)}: {document["start"][:10]} to {document["end"][:10]}, {document["signals"]} signals,
{document["signals_per_month"]} a month.</p>
{"".join(_drawn(number, *chart) for number, chart in enumerate(charts))}
<h2>The same signals, three books</h2>{_books(document["books"])}
{model}
<h2>Trainings</h2>{_trainings(document["trainings"])}
<h2>Decisions</h2>{_decisions(document["decisions"])}
</main></body></html>
"""


def _drawn(number: int, label: str, figure: str) -> str:
    place, config = f"chart{number}", "{responsive: true, displaylogo: false}"
    return (
        f'<div id="{place}" role="img" aria-label="{escape(label)}"></div>'
        f"<script>(drawn => Plotly.newPlot('{place}', drawn.data, drawn.layout, {config}))({figure});</script>"
    )


def _weight_chart(document: Document) -> tuple[str, str]:
    import plotly.graph_objects as go

    moments, weights = path_of(document)
    figure = go.Figure(go.Scatter(x=moments, y=weights, line_shape="hv", name="weight", line_color="#5b6470"))
    top = top_of(weights)
    for phase, low, high in BANDS:
        if low < top:
            band = {"fillcolor": COLORS["blended"], "opacity": 0.08, "line_width": 0}
            figure.add_hrect(low, min(high, top), **band, annotation_text=phase, annotation_position="top right")
    for verdict, decisions in marked(document["decisions"]).items():
        _, color, word = VERDICTS[verdict]
        figure.add_scatter(
            x=[d["as_of"] for d in decisions],
            y=[d["weight_after"] for d in decisions],
            text=[f"{d['kind']}: {'<br>'.join(map(escape, d['reasons']))}" for d in decisions],
            mode="markers",
            marker={"color": color, "size": 5 if verdict == "HOLD" else 11, "symbol": _SYMBOLS[verdict]},
            name=word,
        )
    figure.update_yaxes(range=[-0.02, top])
    return "weight of the model over time", _styled(figure, "weight of the model", ".0%")


def _equity_chart(equity: pd.DataFrame) -> tuple[str, str]:
    import plotly.graph_objects as go

    figure = go.Figure()
    for name, color in COLORS.items():
        figure.add_scatter(x=equity.index, y=equity[name], name=name, line={"color": color, "width": _WIDTHS[name]})
    return "gain of the three books on the account", _styled(figure, "gain on the account", ".0%")


def _reliability_chart(p_win: metrics.Floats, won: metrics.Bools) -> tuple[str, str]:
    import plotly.graph_objects as go

    predicted, happened, counts = metrics.reliability(p_win, won)
    ends = [min(predicted.min(), happened.min()), max(predicted.max(), happened.max())]
    figure = go.Figure(go.Scatter(x=ends, y=ends, mode="lines", name="honest", line={"color": "#8a9099", "dash": "dot"}))
    words = [f"{count} signals" for count in counts]
    figure.add_scatter(x=predicted, y=happened, text=words, mode="lines+markers", name="model", line_color=COLORS["blended"])
    figure.update_xaxes(title="predicted p_win", tickformat=".0%")
    return "share won against predicted p_win", _styled(figure, "share won", ".0%")


def _styled(figure: Any, title: str, tickformat: str) -> str:
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


def _books(books: Document) -> str:
    rows = [[_cell(name), *(_cell(figure, "n") for figure in figures)] for name, *figures in books_rows(books)]
    return _table([_head(""), *(_head(name, "n") for name in (*BOOKS, "target"))], rows)


def _model(p_win: metrics.Floats, won: metrics.Bools, latency_ms: metrics.Floats) -> str:
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
        rows.append([_cell(words), _cell(format(figures[measure], form), "n"), _cell(_target(measure, form), "n")])
    headings = [_head(""), _head(f"{len(won)} settled predictions", "n"), _head("target", "n")]
    return f"<h2>The model</h2>{_table(headings, rows)}"


def _trainings(trainings: Sequence[Document]) -> str:
    rows = [[_cell(t["as_of"][:10]), _cell(t["version"]), _cell(t["stage"]), _cell(_result(t), "why")] for t in trainings]
    return _table([_head(name) for name in ("as of", "version", "stage", "result")], rows)


def _result(training: Document) -> str:
    """Return what the gate said, and why the version does not serve where it does not."""
    refusal = "" if training["accepted"] else "; ".join(training["reasons"])
    return refusal or str(training["verdict"])


def _decisions(decisions: Sequence[Document]) -> str:
    rows = [
        [
            *(_cell(text) for text in (d["as_of"][:10], d["kind"], d["verdict"])),
            _cell(f"{d['weight_before']:.1%} → {d['weight_after']:.1%}", "n"),
            _cell(d["phase"]),
            f'<td class="why">{escape("; ".join(d["reasons"]))}{_rules(d["rules"])}</td>',
        ]
        for d in decisions
    ]
    return _table([_head(name) for name in ("as of", "kind", "verdict", "weight", "phase", "why")], rows)


def _rules(rules: Sequence[Document]) -> str:
    """Return every rule that was looked at, folded away; those that took effect are marked."""
    if not rules:
        return ""
    items = "".join(f"<li>{'● ' if r['fired'] else '○ '}{escape(r['name'])}: {escape(r['reason'])}</li>" for r in rules)
    return f"<details><summary>rules looked at: {len(rules)}</summary><ul>{items}</ul></details>"


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{"".join(headings)}</tr></thead><tbody>{body}</tbody></table></div>'


def _head(text: str, kind: str = "") -> str:
    return f'<th scope="col" class="{kind}">{escape(text)}</th>'


def _cell(text: object, kind: str = "") -> str:
    return f'<td class="{kind}">{escape(str(text))}</td>'


def _target(measure: str, form: str) -> str:
    if measure not in TARGETS:
        return ""
    bound, direction = TARGETS[measure]
    return f"{direction} {format(bound, form)}"
