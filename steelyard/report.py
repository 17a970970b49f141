"""The page of a replay: the answer first, then the pictures to move in, the books and every decision. Works offline."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import pandas as pd

from steelyard.pictures import BANDS, COLORS, VERDICTS, marked, path_of
from steelyard.wording import BOOKS, books_rows

_STYLE = """
:root { color-scheme: light dark; --line: #8884; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 66rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; line-height: 1.25; } table { border-collapse: collapse; } .wide { overflow-x: auto; }
th, td { text-align: left; padding: .25rem .9rem .25rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td { font-variant-numeric: tabular-nums; } td:first-child { white-space: nowrap; }
""".strip()


def answer(document: Mapping[str, Any]) -> str:
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
    return f"Every model was refused; the best, of {best['as_of'][:10]}: {best['verdict']}."


def page(title: str, document: Mapping[str, Any], equity: pd.DataFrame) -> str:
    """Return one self-contained HTML page of a replay document and the books' equity."""
    from plotly.offline import get_plotlyjs

    charts = [_weight_chart(document), _equity_chart(equity)]
    drawn = "".join(
        f'<div id="chart{n}" role="img" aria-label="{escape(label)}"></div>'
        f"<script>Plotly.newPlot('chart{n}', {figure});</script>"
        for n, (label, figure) in enumerate(charts)
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title><style>{_STYLE}</style><script>{get_plotlyjs()}</script></head>
<body><main><h1>{escape(answer(document))}</h1>
<p>{escape(title)}: {document["start"][:10]} to {document["end"][:10]}, {document["signals"]} signals,
{document["signals_per_month"]} a month.</p>
{drawn}
<h2>The same signals, three books</h2><div class="wide">{_books(document["books"])}</div>
<h2>Trainings</h2><div class="wide">{_trainings(document["trainings"])}</div>
<h2>Decisions</h2><div class="wide">{_decisions(document["decisions"])}</div>
</main></body></html>
"""


def _weight_chart(document: Mapping[str, Any]) -> tuple[str, str]:
    import plotly.graph_objects as go

    moments, weights = path_of(document)
    figure = go.Figure(go.Scatter(x=moments, y=weights, line_shape="hv", name="weight", line_color="#5b6470"))
    for phase, low, high in BANDS:
        figure.add_hrect(low, high, fillcolor=COLORS["blended"], opacity=0.08, line_width=0, annotation_text=phase)
    for verdict, decisions in marked(document["decisions"]).items():
        _, color, word = VERDICTS[verdict]
        figure.add_scatter(
            x=[d["as_of"] for d in decisions],
            y=[d["weight_after"] for d in decisions],
            text=[f"{d['kind']}: {'<br>'.join(d['reasons'])}" for d in decisions],
            mode="markers",
            marker={"color": color, "size": 10},
            name=word,
        )
    return "weight of the model over time", _styled(figure, "weight of the model")


def _equity_chart(equity: pd.DataFrame) -> tuple[str, str]:
    import plotly.graph_objects as go

    figure = go.Figure()
    for name, color in COLORS.items():
        figure.add_scatter(x=equity.index, y=equity[name], name=name, line_color=color)
    return "gain of the three books on the account", _styled(figure, "gain on the account")


def _styled(figure: Any, title: str) -> str:
    clear = "rgba(0,0,0,0)"
    figure.update_layout(
        title=title, paper_bgcolor=clear, plot_bgcolor=clear, font_color="#7a828c", yaxis_tickformat=".0%", height=380
    )
    return str(figure.to_json())


def _books(books: Mapping[str, Any]) -> str:
    return _table(("", *BOOKS, "target"), books_rows(books))


def _trainings(trainings: list[Mapping[str, Any]]) -> str:
    return _table(
        ("as of", "version", "stage", "result"),
        [(t["as_of"][:10], t["version"], t["stage"], t["verdict"]) for t in trainings],
    )


def _decisions(decisions: list[Mapping[str, Any]]) -> str:
    rows = [
        (d["as_of"][:10], d["kind"], d["verdict"], f"{d['weight_after']:.1%}", d["phase"], "; ".join(d["reasons"]))
        for d in decisions
    ]
    return _table(("as of", "kind", "verdict", "weight", "phase", "why"), rows)


def _table(headings: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    head = "".join(f'<th scope="col">{escape(h)}</th>' for h in headings)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
