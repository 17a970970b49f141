"""The operating characteristics of a policy, written for people: tables for the terminal, and the page."""

from collections.abc import Mapping, Sequence
from html import escape
from itertools import groupby
from typing import Any

from steelyard.views import html
from steelyard.views.format import WeightBand
from steelyard.views.html import cell, head, table

Cell = Mapping[str, Any]

MODES = ("ladder", "sequential")
PARTS = {
    "weight": ("ever ≥ 20 %", "held", "at the end", "months to 20 %", "to 40 %", "to 70 %"),
    "disabled": (
        "by any breaker",
        "by accuracy",
        "by streak",
        "by decay",
        "months a proof takes at best",
    ),
    "after a turn": ("months to half", "months to 0", "half in 6 months", "0 in 4 months"),
}
"""Part → its figures, in the order of ``rows``."""
SMALL = 0.1  # shares under it are written with a decimal
HEADINGS = ("life", "mode", *(name for names in PARTS.values() for name in names))


def simulation_page(document: Mapping[str, Any], bands: Sequence[WeightBand]) -> str:
    """Return one self-contained page of what ``queries.simulation`` found.

    Args:
        document: What ``steelyard drill --json`` prints.
        bands: Bands of the policy the lives were lived under; the weight axis ends above the last.
    """
    courses = by_course(document["cells"])
    words, first = courses[0]
    top = max((band.ceiling for band in bands), default=0.0) + 0.02
    drawn = [_paths(first, mode, f"mean weight, {mode} ({words})", top) for mode in MODES]
    lead = f"<p>{escape(document['answer'])}</p><p>{escape(document['note'])}</p>"
    tables = "".join(f"<h2>{escape(name)}</h2>{_table(cells)}" for name, cells in courses)
    return html.assemble_page(
        "Operating characteristics",
        "What the policy does to lives of known truth",
        drawn,
        lead,
        tables,
    )


def _paths(cells: Sequence[Cell], mode: str, title: str, top: float) -> tuple[str, str]:
    import plotly.graph_objects as go

    figure = go.Figure()
    for one in cells:
        path = one[mode]["path"]
        figure.add_scatter(x=list(range(len(path))), y=path, name=one["world"], mode="lines")
    figure.update_xaxes(title="months")
    figure.update_yaxes(range=[0, top])
    return title, html.styled(figure, title, ".0%")


def _table(cells: Sequence[Cell]) -> str:
    headings = [head(name, "" if number < 2 else "n") for number, name in enumerate(HEADINGS)]
    body = [
        [cell(text, "" if number < 2 else "n") for number, text in enumerate(row)]
        for row in rows(cells)
    ]
    return table(headings, body)


def by_course(cells: Sequence[Cell]) -> list[tuple[str, list[Cell]]]:
    """Return the lives by pace and dependence, each group with its words."""
    groups = groupby(cells, key=lambda one: (one["lives"], one["signals"], one["dependence"]))
    return [(_course_words(*course), list(found)) for course, found in groups]


def rows(cells: Sequence[Cell]) -> list[tuple[str, ...]]:
    """Return one row for each life and mode, as ``HEADINGS`` says."""
    return [_row(one, mode) for one in cells for mode in MODES]


def pairs(cells: Sequence[Cell], part: str) -> list[tuple[str, ...]]:
    """Return one row for each life: its figures of a part, ladder → sequential; none for lives without such figures."""
    first = HEADINGS.index(PARTS[part][0])
    columns = slice(first, first + len(PARTS[part]))
    both = [
        (one["world"], _row(one, "ladder")[columns], _row(one, "sequential")[columns])
        for one in cells
    ]
    return [
        (name, *map(_pair, ladder, sequential)) for name, ladder, sequential in both if any(ladder)
    ]


def _pair(ladder: str, sequential: str) -> str:
    return ladder if ladder == sequential else f"{ladder} → {sequential}"


def _course_words(lives: int, signals: int, dependence: float) -> str:
    together = (
        f"correlated {dependence:g} within a day" if dependence else "independent of each other"
    )
    return f"{lives} lives each, {signals} signals a month, {together}"


def _row(one: Cell, mode: str) -> tuple[str, ...]:
    found = one[mode]
    turn = found["after_turn"] or {}
    return (
        one["world"],
        mode,
        _share(found["reached"]["20%"]),
        _share(found["held"]),
        _share(found["held_at_end"]),
        *(_months(found["months_to"][level]) for level in ("20%", "40%", "70%")),
        _share(found["disabled"]),
        *(_share(found["disabled_by"][name]) for name in ("accuracy", "streak", "decay")),
        _months(one["information_limit_months"]),
        *(_months(turn[name]) if turn else "" for name in ("months_to_half", "months_to_zero")),
        *(
            _share(turn[name]) if turn else ""
            for name in ("half_within_6_months", "zero_within_4_months")
        ),
    )


def _share(share: float | None) -> str:
    if share is None:
        return "–"
    return f"{share:.1%}" if share < SMALL else f"{share:.0%}"


def _months(months: float | None) -> str:
    return "–" if months is None else f"{months:.1f}"
