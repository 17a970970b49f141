"""Charts: what is drawn lies where the figures say, and nothing of a label is markup."""

import re

import numpy as np
import pandas as pd
import pytest

from steelyard.views.svg import (
    NARROW,
    WIDE,
    Chart,
    Line,
    Mark,
    Stripe,
    date_ticks,
    day_numbers,
    nice_ticks,
    percent_words,
    thin,
)

DAYS = day_numbers(pd.date_range("2024-01-01", periods=3, tz="UTC"))


def points(svg: str) -> list[tuple[float, float]]:
    path = re.search(r'points="([^"]+)"', svg)
    assert path
    return [tuple(map(float, point.split(","))) for point in path[1].split()]  # type: ignore[misc]


def test_a_chart_is_drawn_for_wide_and_narrow_screens() -> None:
    """Both have every value at its height, labels of their own, and the same words."""
    chart = Chart("gain <b>", [Line("blended", DAYS, np.array([0.0, 0.1, 0.05]))])
    for (name, svg), width in zip(chart.drawings(), (WIDE, NARROW), strict=True):
        (_, low), (_, high), (_, middle) = points(svg)
        assert f'viewBox="0 0 {width} 240"' in svg
        assert name in ("on-wide", "on-narrow")
        assert "gain &lt;b&gt;" in svg
        assert high < middle < low
        assert middle == pytest.approx((low + high) / 2, abs=0.1)
        assert ">10.0%<" in svg


def test_marks_and_bands_speak_and_lead_to_their_rows() -> None:
    """Words are text; a band above the axis is left out."""
    chart = Chart(
        "weight",
        [Line("weight", DAYS, np.array([0.0, 0.1, 0.1]), stepped=True)],
        [Mark("raise", "up", DAYS[1], 0.1, "why <i>", "decision-1")],
        [Stripe("pilot", 0.1, 0.2), Stripe("optimization", 0.4, 0.7)],
        span=(0.0, 0.15),
    )
    svg = chart.drawings()[0][1]

    assert len(points(svg)) == 5
    assert '<a href="#decision-1"' in svg
    assert "<title>why &lt;i&gt;</title>" in svg
    assert ">pilot<" in svg
    assert "optimization" not in svg


def test_thinning_keeps_ends_and_extremes() -> None:
    """A hundred thousand points become what a drawing can show, with every extreme."""
    x, y = np.arange(100_000.0), np.sin(np.arange(100_000) / 700)
    y[54_321] = 9.0
    kept_x, kept_y = thin(x, y, 300)

    assert len(kept_x) <= 4 * 300
    assert (kept_x[0], kept_x[-1], kept_y.max(), kept_y.min()) == (0, 99_999, 9.0, y.min())
    assert (np.diff(kept_x) > 0).all()
    assert len(thin(x[:10], y[:10], 300)[0]) == 10


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.0, 1.0, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (-0.03, 0.12, [0.0, 0.05, 0.10]),
        (0.0, 0.0004, [0.0, 0.0001, 0.0002, 0.0003, 0.0004]),
    ],
)
def test_ticks_are_round_and_few(low: float, high: float, ticks: list[float]) -> None:
    """Steps of 1, 2, 2.5 or 5 times a power of ten."""
    assert nice_ticks(low, high) == pytest.approx(ticks)


@pytest.mark.parametrize(
    ("shares", "words"),
    [
        ([-0.1, 0.0, 0.1], ["-10%", "0%", "10%"]),
        ([0.0, 0.025, 0.05], ["0.0%", "2.5%", "5.0%"]),
        ([-0.005, -0.0, 0.005], ["-0.5%", "0.0%", "0.5%"]),
    ],
)
def test_no_two_ticks_read_alike(shares: list[float], words: list[str]) -> None:
    """All have the digits the finest needs, and there is no minus zero."""
    assert percent_words(shares) == words


@pytest.mark.parametrize(
    ("days", "first"), [(6, "2 Jan"), (40, "2 Jan"), (300, "Mar 2024"), (4000, "2026")]
)
def test_dates_fit_their_span(days: int, first: str) -> None:
    """Days, months or years, never more than fit beside each other."""
    start = day_numbers([pd.Timestamp("2024-01-01T12:00")])[0]
    ticks = date_ticks(start, start + days, 8)

    assert ticks[0][1] == first
    assert 2 <= len(ticks) <= 12


def test_a_flat_line_is_a_chart_all_the_same() -> None:
    """One value, or one point, draws without an error."""
    assert Chart("flat", [Line("ml", DAYS, np.zeros(3))]).drawings()
    assert Chart("one", [Line("ml", DAYS[:1], np.zeros(1))]).drawings()
