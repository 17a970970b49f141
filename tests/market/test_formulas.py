"""Formulas: one rule for arrays and for numbers, with its neutral values."""

from collections.abc import Callable

import numpy as np
import pytest
from numba import njit

from steelyard.market import formulas


@njit
def compiled_ratio(numerator: float, denominator: float) -> float:
    return formulas.ratio(numerator, denominator, 1.0)


@njit
def compiled_change(current: float, earlier: float, scale: float) -> float:
    return formulas.scaled_change(current, earlier, scale)


@njit
def compiled_log(numerator: float, denominator: float) -> float:
    return formulas.log_ratio(numerator, denominator)


@njit
def compiled_position(price: float, lowest: float, highest: float) -> float:
    return formulas.range_position(price, lowest, highest)


def ratio_to_one(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    return formulas.ratio(numerator, denominator, 1.0)


@pytest.mark.parametrize(
    ("arrays", "compiled", "arguments", "expected"),
    [
        pytest.param(ratio_to_one, compiled_ratio, (3.0, 2.0), 1.5, id="a ratio"),
        pytest.param(ratio_to_one, compiled_ratio, (3.0, 0.0), 1.0, id="a ratio over 0"),
        pytest.param(ratio_to_one, compiled_ratio, (np.nan, 2.0), np.nan, id="a ratio of NaN"),
        pytest.param(ratio_to_one, compiled_ratio, (3.0, np.nan), np.nan, id="a ratio over NaN"),
        pytest.param(
            formulas.scaled_change, compiled_change, (5.0, 4.0, 2.0), 0.5, id="a scaled change"
        ),
        pytest.param(
            formulas.scaled_change, compiled_change, (5.0, 4.0, 0.0), 0.0, id="a change over 0"
        ),
        pytest.param(
            formulas.scaled_change, compiled_change, (5.0, np.nan, 0.0), np.nan, id="too few bars"
        ),
        pytest.param(formulas.log_ratio, compiled_log, (0.0, 0.0), 0.0, id="no volume at all"),
        pytest.param(formulas.log_ratio, compiled_log, (0.0, 2.0), -5.0, id="no volume now"),
        pytest.param(formulas.log_ratio, compiled_log, (1e9, 1.0), 5.0, id="a burst of volume"),
        pytest.param(
            formulas.range_position, compiled_position, (4.0, 2.0, 4.0), 0.5, id="at the top"
        ),
        pytest.param(
            formulas.range_position, compiled_position, (2.0, 2.0, 2.0), 0.0, id="an empty range"
        ),
    ],
)
def test_a_formula_gives_arrays_and_kernels_the_same_number(
    arrays: Callable[..., np.ndarray],
    compiled: Callable[..., float],
    arguments: tuple[float, ...],
    expected: float,
) -> None:
    """The array version, the compiled number and the expected value agree, NaN included."""
    of_arrays = arrays(*(np.array([value]) for value in arguments))

    np.testing.assert_array_equal(of_arrays, [expected])
    np.testing.assert_array_equal(compiled(*arguments), expected)


def test_the_rules_are_plain_python_too() -> None:
    """A rule called from Python gives the number that a kernel gets."""
    assert formulas.divide(1.0, 0.0, 0.5) == 0.5
    assert np.isnan(formulas.divide_change(5.0, np.nan, 0.0))
    assert formulas.bounded_log(0.0, 1.0) == -5.0
    assert formulas.bounded_log(1.0, 0.0) == 0.0
    assert formulas.bounded_log(1.0, 1.0) == 0.0
    assert formulas.locate(3.0, 2.0, 4.0) == 0.0
    assert formulas.window_deviation(6.0, 12.0, 3) == 0.0
    assert formulas.window_deviation(0.0, 2.0, 2) == 1.0
    assert formulas.candle_shape(1.0, 1.0, 1.0, 1.0) == (0.0, 0.0, 0.0)
    assert formulas.candle_shape(1.0, 3.0, 1.0, 2.0) == (0.5, 0.0, -0.5)
    assert formulas.rank_among(1.0, np.array([1.0, 2.0, np.nan, 3.0])) == -0.5
    assert formulas.rank_among(1.0, np.array([1.0])) == 0.0
