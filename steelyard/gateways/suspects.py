"""Rows of a table that may break a rule of a suite, found by arrays; the rest keeps it for sure."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from steelyard.market.bars import are_rising

Bools = NDArray[np.bool_]


def suspects(frame: pd.DataFrame, kind: str, arguments: Mapping[str, Any]) -> Bools | None:
    """Return the rows that may break an expectation; None if they do not decide about it.

    The rows that break it are among them, with all the rows they are compared with. An expectation
    of another kind, or with arguments that are not known here, is answered by None.

    Args:
        frame: The table.
        kind: Type of the expectation, as Great Expectations calls it.
        arguments: Its arguments.

    Returns:
        True at each such row, shape (n,).
    """
    find, known = _KINDS.get(kind, (None, frozenset()))
    columns = [arguments.get(name) for name in ("column", "column_A", "column_B")]
    columns += arguments.get("column_list", [])
    there = all(column in frame for column in columns if column is not None)
    return find(frame, arguments) if find and there and arguments.keys() <= known else None


def _none(frame: pd.DataFrame, _: Mapping[str, Any]) -> Bools:
    return np.zeros(len(frame), dtype=bool)


def _missing(frame: pd.DataFrame, arguments: Mapping[str, Any]) -> Bools:
    return np.asarray(frame[arguments["column"]].isna())


def _is_number(column: pd.Series) -> bool:
    return isinstance(column.dtype, np.dtype) and column.dtype.kind in "fiu"


def _outside(frame: pd.DataFrame, arguments: Mapping[str, Any]) -> Bools | None:
    column = frame[arguments["column"]]
    if not _is_number(column):
        return None
    values = column.to_numpy()
    outside = np.zeros(len(values), dtype=bool)
    if (lowest := arguments.get("min_value")) is not None:
        outside |= values <= lowest if arguments.get("strict_min") else values < lowest
    if (highest := arguments.get("max_value")) is not None:
        outside |= values >= highest if arguments.get("strict_max") else values > highest
    return outside


def _not_greater(frame: pd.DataFrame, arguments: Mapping[str, Any]) -> Bools | None:
    larger, smaller = frame[arguments["column_A"]], frame[arguments["column_B"]]
    if not (_is_number(larger) and _is_number(smaller)):
        return None
    holds = larger >= smaller if arguments.get("or_equal") else larger > smaller
    return np.asarray(~holds)


def _repeated(frame: pd.DataFrame, arguments: Mapping[str, Any]) -> Bools:
    names = arguments.get("column_list") or [arguments["column"]]
    if names == ["symbol", "timestamp"] and are_rising(frame):
        return np.zeros(len(frame), dtype=bool)
    return frame.duplicated(names, keep=False).to_numpy()


_KINDS: dict[str, tuple[Callable[[pd.DataFrame, Mapping[str, Any]], Bools | None], frozenset[str]]]
_KINDS = {
    "expect_table_columns_to_match_set": (_none, frozenset({"column_set", "exact_match"})),
    "expect_column_values_to_not_be_null": (_missing, frozenset({"column"})),
    "expect_column_values_to_be_between": (
        _outside,
        frozenset({"column", "min_value", "max_value", "strict_min", "strict_max"}),
    ),
    "expect_column_pair_values_a_to_be_greater_than_b": (
        _not_greater,
        frozenset({"column_A", "column_B", "or_equal", "ignore_row_if"}),
    ),
    "expect_column_values_to_be_unique": (_repeated, frozenset({"column"})),
    "expect_compound_columns_to_be_unique": (_repeated, frozenset({"column_list"})),
}
"""Kind of an expectation → what finds its suspects, and the arguments that this knows."""
