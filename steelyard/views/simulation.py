"""Simulated operating characteristics: the value that is shown, its tables and its page."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from steelyard.simulation.characteristics import MODES, Cell
from steelyard.views import html
from steelyard.views.charts import path_chart
from steelyard.views.format import TableView, WeightBand

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
"""Part → its figures, in the order of a row."""
SMALL = 0.1
"""Share below which a decimal is written."""
HEADINGS = ("life", "mode", *(name for names in PARTS.values() for name in names))


@dataclass(frozen=True, slots=True)
class OperatingCharacteristics:
    """What the configured policy does to simulated lives of known truth.

    Attributes:
        answer: The result in one sentence.
        evidence: Configured mode of evidence.
        months: Length of a life, months of 30 days.
        seed: Random seed.
        rise: e-value a rise needs.
        note: How the lives are to be read.
        cells: One for each scenario and design.
    """

    answer: str
    evidence: str
    months: int
    seed: int
    rise: float
    note: str
    cells: tuple[Cell, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "answer": self.answer,
            "evidence": self.evidence,
            "months": self.months,
            "seed": self.seed,
            "rise": self.rise,
            "note": self.note,
            "cells": [cell.to_dict() for cell in self.cells],
        }


def simulation_page(simulated: OperatingCharacteristics, bands: Sequence[WeightBand]) -> str:
    """Return one self-contained HTML page of simulated operating characteristics.

    Args:
        simulated: The characteristics.
        bands: Bands of the policy the lives were lived under; the weight axis ends above the last.
    """
    courses = by_course(simulated.cells)
    course, first = courses[0]
    top = max((band.ceiling for band in bands), default=0.0) + 0.02
    return html.render_template(
        "simulation",
        live=None,
        title="Operating characteristics",
        headline="What the policy does to lives of known truth",
        charts=[
            path_chart(
                f"mean weight over the months, {mode} ({course})",
                [cell.modes[mode].path for cell in first],
                top,
            )
            for mode in MODES
        ],
        worlds=[cell.world for cell in first],
        answer=simulated.answer,
        note=simulated.note,
        tables=[_course_view(name, cells) for name, cells in courses],
    )


def _course_view(name: str, cells: Sequence[Cell]) -> TableView:
    """Return one row for each life and mode, with the figures of ``HEADINGS``."""
    rows = tuple(_row(cell, mode) for cell in cells for mode in MODES)
    return TableView(name, HEADINGS, rows, frozenset(range(2, len(HEADINGS))))


def by_course(cells: Sequence[Cell]) -> list[tuple[str, list[Cell]]]:
    """Return the lives grouped by pace and dependence, each group with its description."""
    groups = groupby(
        cells, key=lambda cell: (cell.lives, cell.signals, cell.dependence, cell.variant)
    )
    return [(_course_words(*course), list(group)) for course, group in groups]


def part_view(cells: Sequence[Cell], part: str) -> TableView:
    """Return the figures of a part, ladder → sequential, one row for each life that has them.

    Args:
        cells: Lives of one pace and dependence.
        part: Key of ``PARTS``.
    """
    first = HEADINGS.index(PARTS[part][0])
    columns = slice(first, first + len(PARTS[part]))
    both = [
        (cell.world, _row(cell, "ladder")[columns], _row(cell, "sequential")[columns])
        for cell in cells
    ]
    rows = tuple(
        (world, *map(_pair, ladder, sequential))
        for world, ladder, sequential in both
        if any(ladder)
    )
    return TableView("", (part, *PARTS[part]), rows)


def _pair(ladder: str, sequential: str) -> str:
    return ladder if ladder == sequential else f"{ladder} → {sequential}"


def _course_words(lives: int, signals: int, dependence: float, variant: str) -> str:
    dependence_words = (
        f"correlated {dependence:g} within a day" if dependence else "independent of each other"
    )
    words = f"{lives} lives each, {signals} signals a month, {dependence_words}"
    return f"{variant}: {words}" if variant else words


def _row(cell: Cell, mode: str) -> tuple[str, ...]:
    figures = cell.modes[mode]
    turn = figures.after_turn
    return (
        cell.world,
        mode,
        _share(figures.reached["20%"]),
        _share(figures.held),
        _share(figures.held_at_end),
        *(_months(figures.months_to[level]) for level in ("20%", "40%", "70%")),
        _share(figures.disabled),
        *(_share(figures.disabled_by[name]) for name in ("accuracy", "streak", "decay")),
        _months(cell.information_limit_months),
        *((_months(turn.months_to_half), _months(turn.months_to_zero)) if turn else ("", "")),
        *(
            (_share(turn.half_within_6_months), _share(turn.zero_within_4_months))
            if turn
            else ("", "")
        ),
    )


def _share(share: float | None) -> str:
    if share is None:
        return "–"
    return f"{share:.1%}" if share < SMALL else f"{share:.0%}"


def _months(months: float | None) -> str:
    return "–" if months is None else f"{months:.1f}"
