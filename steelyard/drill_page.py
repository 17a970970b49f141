"""The page of a drill: the mean weight by month in both modes, then every table."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from steelyard import charts
from steelyard.characteristics import HEADINGS, MODES, Cell, by_course, rows
from steelyard.charts import cell, head, table


def page(document: Mapping[str, Any]) -> str:
    """Return one self-contained page of what ``tasks.drill`` found."""
    courses = by_course(document["cells"])
    words, first = courses[0]
    drawn = [_paths(first, mode, f"mean weight, {mode} ({words})") for mode in MODES]
    lead = f"<p>{escape(document['answer'])}</p><p>{escape(document['note'])}</p>"
    tables = "".join(f"<h2>{escape(name)}</h2>{_table(cells)}" for name, cells in courses)
    return charts.page("Operating characteristics", "What the policy does to lives of known truth", drawn, lead, tables)


def _paths(cells: Sequence[Cell], mode: str, title: str) -> tuple[str, str]:
    import plotly.graph_objects as go

    figure = go.Figure()
    for one in cells:
        path = one[mode]["path"]
        figure.add_scatter(x=list(range(len(path))), y=path, name=one["world"], mode="lines")
    figure.update_xaxes(title="months")
    figure.update_yaxes(range=[0, 0.72])
    return title, charts.styled(figure, title, ".0%")


def _table(cells: Sequence[Cell]) -> str:
    headings = [head(name, "" if number < 2 else "n") for number, name in enumerate(HEADINGS)]
    body = [[cell(text, "" if number < 2 else "n") for number, text in enumerate(row)] for row in rows(cells)]
    return table(headings, body)
