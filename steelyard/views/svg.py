"""Charts as inline SVG: no script, no library, colours from the page's style sheet.

A chart is drawn twice, for wide screens and again for narrow ones, so that its labels stay
readable on both; the style sheet shows one of them.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from html import escape
from itertools import starmap

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Format = Callable[[float], str]
WIDE, NARROW = 1080, 370
LEFT, RIGHT, BELOW = 52, 10, 22
"""Room for the labels beside and below the drawing, in units of the drawing."""
MOST_TICKS, MOST_DIGITS = 5, 4
NICE = (1.0, 2.0, 2.5, 5.0, 10.0)
MONTHS = (1, 2, 3, 6, 12, 24, 60, 120, 240)
DAYS = (1, 2, 7, 14)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a chart.

    Attributes:
        name: Class of the style sheet.
        x: Positions on the axis of the chart, rising, shape (n,).
        y: Values, shape (n,).
        stepped: Whether a value holds until the next.
    """

    name: str
    x: Floats
    y: Floats
    stepped: bool = False


@dataclass(frozen=True, slots=True)
class Mark:
    """A mark on a chart.

    Attributes:
        name: Class of the style sheet.
        shape: Key of ``SHAPES``.
        x: Position on the axis.
        y: Value.
        words: What it says when it is pointed at.
        anchor: Id of an element it leads to; empty for none.
    """

    name: str
    shape: str
    x: float
    y: float
    words: str
    anchor: str = ""


@dataclass(frozen=True, slots=True)
class Stripe:
    """A band of values across a chart, with its name at its upper edge."""

    name: str
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart of a page.

    Attributes:
        label: Description for readers who do not see it.
        lines: Lines, the lowest first.
        marks: Marks above them.
        stripes: Bands behind them.
        dates: Whether positions are days since 1970.
        x_format: Writes a position, if these are no dates.
        span: Ends of the vertical axis; None for those of the lines.
        reach: Ends of the horizontal axis; None for those of the lines.
        height: Height in units of the drawing.
    """

    label: str
    lines: Sequence[Line]
    marks: Sequence[Mark] = ()
    stripes: Sequence[Stripe] = ()
    dates: bool = True
    x_format: Format = "{:.0%}".format
    span: tuple[float, float] | None = None
    reach: tuple[float, float] | None = None
    height: int = 240

    def drawings(self) -> tuple[tuple[str, str], ...]:
        """Return the class and the SVG of the wide and of the narrow drawing."""
        return (
            ("on-wide", _Drawing(self, WIDE).svg()),
            ("on-narrow", _Drawing(self, NARROW).svg()),
        )


def day_numbers(moments: Iterable[datetime]) -> Floats:
    """Return times as days since 1970 (UTC), shape (n,)."""
    stamps = pd.DatetimeIndex(pd.to_datetime(list(moments), utc=True))
    return np.asarray((stamps - pd.Timestamp(0, tz="UTC")) / pd.Timedelta("1D"), dtype=np.float64)


def thin(x: Floats, y: Floats, columns: int) -> tuple[Floats, Floats]:
    """Return the points that a drawing of ``columns`` pixels can show.

    Of each column the first, lowest, highest and last point stay: the picture is the same (Jugel
    and others, "M4: a visualization-oriented time series data aggregation", VLDB 2014).

    Args:
        x: Positions, rising, shape (n,).
        y: Values, shape (n,).
        columns: Width of the drawing.
    """
    if len(x) <= 4 * columns or x[-1] <= x[0]:
        return x, y
    column = np.minimum((x - x[0]) / (x[-1] - x[0]) * columns, columns - 1).astype(np.int64)
    by_value = np.lexsort((y, column))
    begins = np.flatnonzero(np.diff(column, prepend=-1))
    ends = np.append(begins[1:], len(x)) - 1
    kept = np.unique(np.concatenate([begins, ends, by_value[begins], by_value[ends]]))
    return x[kept], y[kept]


def nice_ticks(low: float, high: float, most: int = MOST_TICKS) -> list[float]:
    """Return round values within [low, high], at most ``most`` + 1 of them.

    Args:
        low: Lower end.
        high: Upper end, above ``low``.
        most: Steps at most.
    """
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(nice * power for nice in NICE if nice * power >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def percent_words(shares: Sequence[float]) -> list[str]:
    """Return shares in percent, all with the digits that the finest of them needs."""
    percents = [100 * share for share in shares]
    exact = (
        digits
        for digits in range(MOST_DIGITS)
        if all(abs(round(percent, digits) - percent) < 1e-9 for percent in percents)
    )
    digits = next(exact, MOST_DIGITS)
    return [f"{percent or 0.0:.{digits}f}%" for percent in percents]


def date_ticks(low: float, high: float, most: int) -> list[tuple[float, str]]:
    """Return round dates within [low, high] and their words, at most about ``most``.

    Args:
        low: Days since 1970.
        high: Likewise, above ``low``.
        most: Ticks at most.
    """
    begin, end = (pd.Timestamp(0) + pd.Timedelta(days=day) for day in (low, high))
    for days in DAYS:
        if (high - low) / days <= most:
            dates = pd.date_range(begin.ceil("1D"), end, freq=f"{days}D")
            return _named(dates, "%-d %b")
    for months in MONTHS:
        if (high - low) / (30.4 * months) <= most or months == MONTHS[-1]:
            firsts = pd.date_range(begin.normalize().replace(day=1), end, freq="MS")
            kept = firsts[((firsts.year * 12 + firsts.month - 1) % months == 0) & (firsts >= begin)]
            return _named(kept, "%b %Y" if months < 12 else "%Y")
    return []


def _named(dates: pd.DatetimeIndex, pattern: str) -> list[tuple[float, str]]:
    return list(zip(day_numbers(dates), dates.strftime(pattern), strict=True))


SHAPES = {
    "dot": "M{x:.1f} {y:.1f}m-2.5 0a2.5 2.5 0 1 0 5 0a2.5 2.5 0 1 0-5 0",
    "up": "M{x:.1f} {y:.1f}m-6 4h12l-6-10z",
    "down": "M{x:.1f} {y:.1f}m-6-4h12l-6 10z",
    "cross": "M{x:.1f} {y:.1f}m-5-5l10 10m0-10l-10 10",
    "tick": "M{x:.1f} {y:.1f}m0-4v8",
}
"""Shape → path around a point."""


@dataclass(slots=True)
class _Drawing:
    """One drawing of a chart, ``width`` units wide."""

    chart: Chart
    width: int
    x_span: tuple[float, float] = field(init=False)
    y_span: tuple[float, float] = field(init=False)

    def __post_init__(self) -> None:
        x = np.concatenate([line.x for line in self.chart.lines])
        self.x_span = self.chart.reach or _widened(float(x.min()), float(x.max()), 0.0)
        if self.chart.span:
            self.y_span = self.chart.span
        else:
            y = np.concatenate([line.y for line in self.chart.lines])
            self.y_span = _widened(float(np.nanmin(y)), float(np.nanmax(y)), 0.05)

    def _x_at(self, value: float | Floats) -> float | Floats:
        low, high = self.x_span
        return LEFT + (value - low) / (high - low) * (self.width - LEFT - RIGHT)

    def _y_at(self, value: float | Floats) -> float | Floats:
        low, high = self.y_span
        return 8 + (high - value) / (high - low) * (self.chart.height - BELOW - 8)

    def svg(self) -> str:
        chart = self.chart
        parts = [
            *starmap(self._stripe, enumerate(chart.stripes)),
            *self._axes(),
            *map(self._line, chart.lines),
            *map(self._mark, chart.marks),
        ]
        size = f'viewBox="0 0 {self.width} {chart.height}"'
        role = "group" if any(mark.anchor for mark in chart.marks) else "img"
        return (
            f'<svg {size} role="{role}" aria-label="{escape(chart.label)}">{"".join(parts)}</svg>'
        )

    def _stripe(self, number: int, stripe: Stripe) -> str:
        shade = 0.55 if number % 2 else 1.0
        low, high = (
            min(max(value, self.y_span[0]), self.y_span[1]) for value in (stripe.low, stripe.high)
        )
        if high <= low:
            return ""
        top, bottom = self._y_at(high), self._y_at(low)
        right = self.width - RIGHT
        name = f'<text x="{right - 4}" y="{top + 13:.1f}" text-anchor="end">{escape(stripe.name)}'
        return (
            f'<rect class="stripe" opacity="{shade}" x="{LEFT}" y="{top:.1f}" '
            f'width="{right - LEFT}" height="{bottom - top:.1f}"/>{name}</text>'
        )

    def _axes(self) -> Iterable[str]:
        right, floor = self.width - RIGHT, self.chart.height - BELOW
        values = nice_ticks(*self.y_span)
        for value, words in zip(values, percent_words(values), strict=True):
            y = self._y_at(value)
            yield f'<path class="{"zero" if value == 0 else "grid"}" d="M{LEFT} {y:.1f}H{right}"/>'
            yield f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{words}</text>'
        for value, words in self._x_ticks():
            x = self._x_at(value)
            yield f'<path class="grid" d="M{x:.1f} {floor}v4"/>'
            yield f'<text x="{x:.1f}" y="{floor + 17}" text-anchor="middle">{escape(words)}</text>'

    def _x_ticks(self) -> Iterable[tuple[float, str]]:
        most = max(self.width // 110, 3)
        inside = self.x_span[1] - (self.x_span[1] - self.x_span[0]) * 24 / self.width
        ticks = (
            date_ticks(*self.x_span, most)
            if self.chart.dates
            else [(value, self.chart.x_format(value)) for value in nice_ticks(*self.x_span, most)]
        )
        return [(value, words) for value, words in ticks if value <= inside]

    def _line(self, line: Line) -> str:
        x, y = thin(line.x, line.y, self.width) if not line.stepped else _steps(line.x, line.y)
        points = zip(np.atleast_1d(self._x_at(x)), np.atleast_1d(self._y_at(y)), strict=True)
        path = " ".join(f"{left:.1f},{top:.1f}" for left, top in points if math.isfinite(top))
        return f'<polyline class="line {line.name}" points="{path}"/>'

    def _mark(self, mark: Mark) -> str:
        path = SHAPES[mark.shape].format(x=self._x_at(mark.x), y=self._y_at(mark.y))
        drawn = (
            f'<path class="mark {mark.name}" d="{path}"><title>{escape(mark.words)}</title></path>'
        )
        if not mark.anchor:
            return drawn
        # the table below says the same to those who do not point
        quiet = 'tabindex="-1" aria-hidden="true"'
        return f'<a href="#{escape(mark.anchor)}" {quiet}>{drawn}</a>'


def _widened(low: float, high: float, margin: float) -> tuple[float, float]:
    """Return the ends of an axis with a margin, as a share of its length; never both the same."""
    if high <= low:
        return low - 0.01, low + 0.01
    room = (high - low) * margin
    return low - room, high + room


def _steps(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    return np.repeat(x, 2)[1:], np.repeat(y, 2)[:-1]
