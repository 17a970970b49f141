"""The charts of the pages: weight, accounts, drawdown, calibration, importance."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from steelyard.evaluation import metrics
from steelyard.views.format import BOOKS, VERDICTS, WeightBand, weight_axis_top
from steelyard.views.history import WeightHistory
from steelyard.views.records import DecisionRecord
from steelyard.views.svg import Chart, Line, Mark, Stripe, day_numbers

MARKS = {"HOLD": "dot", "RAISE": "up", "CUT": "down", "DISABLE": "cross"}
"""Verdict → shape of its mark."""


def weight_chart(history: WeightHistory[DecisionRecord], bands: Sequence[WeightBand]) -> Chart:
    """Return the weight's path over its bands; a click on a decision leads to its row.

    Args:
        history: Decisions of a lineage, its promotions among them or apart.
        bands: Bands of the policy in force.
    """
    moments, weights = history.weight_steps()
    top = weight_axis_top(weights, bands)
    marks = [
        Mark(
            name=verdict.lower(),
            shape=MARKS[verdict],
            x=float(day_numbers([pd.Timestamp(decision.as_of)])[0]),
            y=decision.weight_after,
            words=f"{decision.as_of:%Y-%m-%d} {decision.kind}: {'; '.join(decision.reasons)}",
            anchor=decision.anchor,
        )
        for verdict, decisions in history.by_verdict(VERDICTS).items()
        for decision in decisions
    ]
    return Chart(
        label="weight of the model over time, with every decision",
        lines=[Line("weight", day_numbers(moments), np.array(weights), stepped=True)],
        marks=marks,
        stripes=[Stripe(band.phase, band.floor, min(band.ceiling, top)) for band in bands],
        span=(-0.03 * top, top),
        height=170,
    )


def equity_chart(equity: pd.DataFrame, reach: tuple[float, float]) -> Chart:
    """Return the gain of the three accounts as shares of the capital.

    Args:
        equity: Additive equity by day, shape (days, 3).
        reach: Ends of the time axis, days since 1970.
    """
    label = "gain of the baseline, the model and the blended account"
    return Chart(label, _book_lines(equity), reach=reach)


def drawdown_chart(equity: pd.DataFrame, reach: tuple[float, float]) -> Chart:
    """Return the drawdown of the three accounts as shares of the capital.

    Args:
        equity: Additive equity by day, shape (days, 3).
        reach: Ends of the time axis, days since 1970.
    """
    lines = _book_lines(equity - equity.cummax().clip(lower=0))
    return Chart("drawdown of the three accounts", lines, reach=reach, height=130)


def _book_lines(curves: pd.DataFrame) -> list[Line]:
    """Return a line for each book; the blended one is the last, above the others."""
    days = day_numbers(curves.index)
    return [Line(book, days, curves[book].to_numpy(dtype=np.float64)) for book in BOOKS]


def reliability_chart(p_win: metrics.Floats, won: metrics.Bools) -> Chart:
    """Return the share won against the predicted one; the diagonal is an honest model.

    Args:
        p_win: Predicted probabilities, shape (n,), without NaN.
        won: Outcomes, shape (n,).
    """
    predicted, happened, counts = metrics.reliability(p_win, won)
    ends = np.array([min(predicted.min(), happened.min()), max(predicted.max(), happened.max())])
    points = zip(predicted, happened, counts, strict=True)
    return Chart(
        label="share won against the predicted probability; on the diagonal the model is honest",
        lines=[Line("honest", ends, ends), Line("blended", predicted, happened)],
        marks=[
            Mark("group", "dot", x, y, f"{count} signals: {x:.0%} predicted, {y:.0%} won")
            for x, y, count in points
        ],
        dates=False,
    )


def path_chart(label: str, paths: Sequence[Sequence[float]], top: float) -> Chart:
    """Return weights by month, one line each, the classes ``path-0``, ``path-1`` and so on.

    Args:
        label: Description for readers who do not see it.
        paths: Weights of each month, shares.
        top: End of the axis, a share.
    """
    lines = [
        Line(f"path-{number}", np.arange(len(path), dtype=np.float64), np.array(path))
        for number, path in enumerate(paths)
    ]
    return Chart(
        label, lines, dates=False, x_format="{:.0f}".format, span=(0.0, max(top, 0.01)), height=260
    )
