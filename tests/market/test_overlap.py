"""Uniqueness: the share of a signal's life that no other signal of its symbol shares."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steelyard.market.overlap import uniqueness

BEGIN = np.datetime64("2024-01-01T00:00:00", "ns")
LIVES = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 40), st.integers(1, 15)), min_size=1, max_size=30
)
"""Symbol, hour of the decision, hours until the exit."""


def measured(*lives: tuple[int, int, int]) -> list[float]:
    """Return the uniqueness of signals given as symbol, hour decided, hours open."""
    symbol, decided, hours = np.array(lives).T
    begin = BEGIN + decided * np.timedelta64(1, "h")
    return uniqueness(symbol, begin, begin + hours * np.timedelta64(1, "h")).tolist()


@pytest.mark.parametrize(
    ("lives", "expected"),
    [
        pytest.param([(0, 0, 5)], [1], id="alone"),
        pytest.param([(0, 0, 5), (0, 5, 5)], [1, 1], id="one after the other"),
        pytest.param([(0, 0, 5), (1, 0, 5)], [1, 1], id="two symbols share nothing"),
        pytest.param([(0, 0, 5)] * 4, [0.25] * 4, id="four at once are worth one"),
        pytest.param([(0, 0, 4), (0, 2, 4)], [0.75, 0.75], id="half of each life shared by two"),
        pytest.param([(0, 0, 10), (0, 4, 1)], [0.95, 0.5], id="one within the other"),
        pytest.param([(0, 3, 0)] * 2, [0.5, 0.5], id="settled at once, twice"),
    ],
)
def test_a_moment_belongs_in_equal_parts_to_the_signals_open_at_it(
    lives: list[tuple[int, int, int]], expected: list[float]
) -> None:
    """Each signal gets the mean of its parts over its life."""
    assert measured(*lives) == pytest.approx(expected)


@settings(max_examples=60)
@given(lives=LIVES)
def test_hour_by_hour_it_is_the_average_uniqueness_of_the_book(
    lives: list[tuple[int, int, int]],
) -> None:
    """López de Prado's table of concurrent labels gives the same numbers, in any order of rows."""
    open_at = np.zeros((len(lives), 60), dtype=bool)
    for row, (_, decided, hours) in enumerate(lives):
        open_at[row, decided : decided + hours] = True
    symbol = np.array([life[0] for life in lives])
    concurrent = np.array([open_at[symbol == own].sum(axis=0) for own in symbol])
    expected = [float((1 / concurrent[row][open_at[row]]).mean()) for row in range(len(lives))]

    assert measured(*lives) == pytest.approx(expected)


@pytest.mark.parametrize("hours", [np.timedelta64("NaT"), np.timedelta64(-1, "h")])
def test_a_signal_that_is_still_open_has_none_yet(hours: np.timedelta64) -> None:
    """Its life has not ended: an error, not a number that changes later."""
    begin = np.full(2, BEGIN)
    end = np.array([BEGIN + np.timedelta64(1, "h"), BEGIN + hours])
    with pytest.raises(ValueError, match="not settled"):
        uniqueness(np.zeros(2, dtype=np.int64), begin, end)


def test_no_signals_are_worth_nothing() -> None:
    """An empty history gives an empty array."""
    none = np.empty(0, dtype="datetime64[ns]")
    assert uniqueness(np.empty(0, dtype=np.int64), none, none).shape == (0,)
