"""Bars sent to a trading process.

Appended in order, never rewritten, never changed under a reader.
"""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from steelyard.desk import bar_buffer
from steelyard.desk.bar_buffer import HISTORY, Bar, BarBuffer
from steelyard.market.bars import Bars

HOUR = pd.Timedelta("1h")
START = np.datetime64("2020-01-01", "ns")


def bar(number: int, symbol: str = "A", **changes: float) -> Bar:
    prices = {
        "open": 10.0,
        "high": 12.0,
        "low": 9.0,
        "close": 10.0 + number % 2,
        "volume": 1.0,
    } | changes
    return Bar(symbol, START + number * np.timedelta64(1, "h"), **prices)


def test_bars_are_appended_and_known_ones_left() -> None:
    """A client that sends too much changes nothing."""
    buffer = BarBuffer({}, HOUR)
    assert buffer.extend([bar(0), bar(1), bar(0), bar(1), bar(2), bar(0, "B")]) is None

    assert buffer.bars["A"].timestamp.tolist() == [
        bar(number).timestamp.astype("int64") for number in range(3)
    ]
    assert buffer.bars["A"].close.tolist() == [10.0, 11.0, 10.0]
    assert len(buffer.bars["B"]) == 1


def test_a_history_that_outgrows_its_room_keeps_its_end_and_leaves_old_views_alone() -> None:
    """Views handed out before keep their content."""
    buffer = BarBuffer({}, HOUR)
    buffer.extend([bar(number) for number in range(HISTORY)])
    before, closes = buffer.bars["A"], buffer.bars["A"].close.copy()
    buffer.extend([bar(number, close=11.5) for number in range(HISTORY, 2 * HISTORY + 10)])
    after = buffer.bars["A"]

    assert np.array_equal(before.close, closes)
    assert len(before) == HISTORY
    assert HISTORY <= len(after) < 2 * HISTORY
    assert after.timestamp[-1] == bar(2 * HISTORY + 9).timestamp
    assert (np.diff(after.timestamp) == np.timedelta64(1, "h")).all()


def test_a_bar_of_the_future_is_left_out_and_does_not_deafen_its_symbol() -> None:
    """It would be newer than every bar that follows; the others of the request are taken."""
    now = datetime(2020, 1, 1, 2, 30, tzinfo=UTC)
    buffer = BarBuffer({}, HOUR, clock=lambda: now)
    note = buffer.extend([bar(0), bar(24 * 365 * 70), bar(0, "B")])

    assert note is not None
    assert note.startswith("A: bar 2089-12-14T00:00:00.000000000: opens in the future")
    assert buffer.extend([bar(1), bar(2)]) is None
    assert (len(buffer.bars["A"]), len(buffer.bars["B"])) == (3, 1)


def test_it_begins_with_what_the_lake_knows() -> None:
    """The first bar sent continues the lake's history."""
    close = np.arange(50, dtype=float) + 10
    stamps = START + np.arange(50) * np.timedelta64(1, "h")
    buffer = BarBuffer({"A": Bars("A", HOUR, stamps, close, close, close, close, close)}, HOUR)
    buffer.extend([bar(50)])

    assert buffer.bars["A"].close[-2:].tolist() == [59.0, 10.0]


@pytest.mark.parametrize(
    ("odd", "message"),
    [
        (bar(1, low=11.0), "do not lie between low 11 and high 12"),
        (bar(1, high=9.5), "do not lie between low 9 and high 9.5"),
        (bar(0, close=11.0), "close 11 differs from 10 received before"),
    ],
)
def test_what_cannot_be_is_said_and_nothing_after_it_is_taken(odd: Bar, message: str) -> None:
    """An invalid bar is refused with its reason, and nothing after it is taken."""
    buffer = BarBuffer({}, HOUR)
    buffer.extend([bar(0)])
    fault = buffer.extend([odd, bar(2)])

    assert fault is not None
    assert message in fault
    assert len(buffer.bars["A"]) == 1


def test_symbols_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Invented symbols cannot exhaust the memory."""
    monkeypatch.setattr(bar_buffer, "MAX_SYMBOLS", 2)
    buffer = BarBuffer({}, HOUR)
    fault = buffer.extend([bar(0, name) for name in ("A", "B", "C")])

    assert fault is not None
    assert "more than 2 symbols" in fault
