"""The three books over the same signals."""

import json
from dataclasses import asdict
from datetime import timedelta
from random import Random

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from factories.evidence import EARLIER
from factories.settled import held, settled
from steelyard.evaluation.books import SizingPolicy, account_returns, equity_curves, measure_books
from steelyard.evaluation.figures import improvement

END = EARLIER + timedelta(days=30)


def test_a_trade_is_sized_by_its_stop_and_capped() -> None:
    """0.5 % at risk: 25 % of the account at a stop 2 % away, never more than 100 %."""
    frame = settled(3, stop_distance=[0.02, 0.005, 0.001])

    assert account_returns(frame, SizingPolicy()) == pytest.approx([0.0025, 0.01, 0.01])


def test_each_book_takes_what_exceeds_70_on_its_own_scale() -> None:
    """80/80, 80/60, 60/80 and no prediction: exactly 70 and NaN are not traded."""
    frame = held(
        5,
        confidence_existing=[80, 80, 60, 80, 70],
        confidence_ml=[80, 60, 80, np.nan, 70.1],
        blended=[80, 70, 70.5, 80, 70],
    )
    books = measure_books(frame, EARLIER, END)

    assert (books.baseline.trades, books.ml.trades, books.blended.trades) == (3, 3, 3)
    assert books.pivotal == 2
    assert books.ml.hit_rate == pytest.approx(0.6)


def test_errors_are_counted_among_losers_and_winners() -> None:
    """One of two losers traded, one of three winners left."""
    frame = held(
        5,
        confidence_ml=[80, 60, 80, 80, 60],
        won=pd.array([False, False, True, True, True], dtype="boolean"),
    )
    book = measure_books(frame, EARLIER, END).ml

    assert book.false_positive_rate == pytest.approx(1 / 2)
    assert book.false_negative_rate == pytest.approx(1 / 3)


def test_improvement_is_relative_to_the_size_of_a_losing_baseline() -> None:
    """From −1 % to +0.5 %: an improvement of 150 %."""
    frame = held(
        4,
        net_return=[-0.02, -0.02, -0.02, 0.02],
        confidence_existing=[80, 80, 80, 80],
        confidence_ml=[60, 60, 60, 80],
    )
    books = measure_books(frame, EARLIER, END)

    assert books.baseline.total_return == pytest.approx(-0.01)
    assert books.ml.total_return == pytest.approx(0.005)
    assert books.improvement_ml == pytest.approx(1.5)
    assert books.improvement_blended == 0


def test_a_baseline_near_0_makes_no_gain_look_enormous() -> None:
    """From +0.01 % to +0.5 % in 30 days: 49 % of the 1 % a month that an improvement counts in."""
    assert improvement(0.005, 0.0001, 30) == pytest.approx(0.49)
    assert improvement(0.005, 0.0, 60) == pytest.approx(0.25)


def test_no_signals_give_nan_not_an_error_and_json_none() -> None:
    """An empty window."""
    books = measure_books(held(0), EARLIER, END)
    document = json.loads(json.dumps(books.as_dict(), allow_nan=False))

    assert np.isnan(books.ml.win_rate)
    assert books.ml.sharpe == 0
    assert document["ml"]["win_rate"] is None
    assert document["improvement_ml"] == 0


def test_a_wider_window_dilutes_and_a_blend_at_weight_0_is_the_baseline() -> None:
    """Same trades over twice the days: a smaller Sharpe; equal confidences: equal books."""
    frame = held(10, net_return=np.linspace(-0.01, 0.03, 10))
    short, long = (
        measure_books(frame, EARLIER, EARLIER + timedelta(days=days)) for days in (10, 20)
    )

    assert short.as_dict()["baseline"] == short.as_dict()["blended"]
    assert 0 < long.ml.sharpe < short.ml.sharpe


def test_equity_ends_at_the_total_return() -> None:
    """The last point of each curve is the book's total return; one point a day."""
    frame = held(10, net_return=np.linspace(-0.01, 0.03, 10), confidence_ml=[60, 80] * 5)
    curves, books = (
        equity_curves(frame, EARLIER, END),
        measure_books(frame, EARLIER, END),
    )

    assert len(curves) == 30
    for name in ("baseline", "ml", "blended"):
        assert curves[name].iloc[-1] == pytest.approx(getattr(books, name).total_return)


SIGNALS = st.lists(st.tuples(st.floats(-0.05, 0.05), st.floats(0, 100)), min_size=1, max_size=30)


def settle_signals(signals: list[tuple[float, float]]) -> pd.DataFrame:
    returns = np.array([net_return for net_return, _ in signals])
    won = pd.array(returns > 0, dtype="boolean")
    return held(
        len(signals),
        net_return=returns,
        confidence_ml=[confidence for _, confidence in signals],
        won=won,
    )


@given(SIGNALS, st.randoms(use_true_random=False))
@hypothesis_settings(max_examples=40)
def test_the_order_of_the_rows_changes_no_sum_or_share(
    signals: list[tuple[float, float]], chance: Random
) -> None:
    """Only the drawdown depends on it."""
    frame, order = settle_signals(signals), list(range(len(signals)))
    chance.shuffle(order)
    ordered, shuffled = (
        asdict(measure_books(rows, EARLIER, END).ml) for rows in (frame, frame.iloc[order])
    )

    for measure in ordered.keys() - {"max_drawdown"}:
        assert shuffled[measure] == pytest.approx(ordered[measure], nan_ok=True), measure


@given(SIGNALS)
@hypothesis_settings(max_examples=40)
def test_signals_a_book_does_not_trade_do_not_change_its_results(
    signals: list[tuple[float, float]],
) -> None:
    """The ml book over its own trades is the same book, with a hit rate of 1."""
    frame = settle_signals(signals)
    complete = measure_books(frame, EARLIER, END).ml
    traded = measure_books(frame[frame["confidence_ml"] > 70], EARLIER, END).ml

    for measure in (
        "trades",
        "total_return",
        "mean_return",
        "win_rate",
        "profit_factor",
        "sharpe",
        "max_drawdown",
    ):
        assert getattr(traded, measure) == pytest.approx(getattr(complete, measure), nan_ok=True), (
            measure
        )
    assert traded.hit_rate == 1 or complete.trades == 0
