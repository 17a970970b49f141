"""The rows that arrays cannot clear: Great Expectations says the same of them as of all rows."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from steelyard.gateways.quality import WITH_ROWS, Quality, QualityPolicy, _expanded, _rule_result
from steelyard.gateways.suspects import suspects
from steelyard.settings import PACKAGE


def dirty(seed: int) -> pd.DataFrame:
    """Bars of three symbols with every kind of defect, in places of their own."""
    rng = np.random.default_rng(seed)
    close = 100 + rng.normal(0, 1, 300)
    frame = pd.DataFrame(
        {
            "symbol": np.repeat(["B", "A", "C"], 100),
            "timestamp": list(pd.date_range("2025-01-01", periods=100, freq="1h", tz="UTC")) * 3,
            "open": close,
            "high": close + 1,
            "low": close - 1,
            "close": close,
            "volume": rng.random(300),
            "adj_close": close,
            "row": np.arange(300),
            "seconds_off_grid": 0.0,
            "seconds_ahead": -1.0,
        }
    )
    for name in frame.columns.drop(["symbol", "timestamp", "row"]):
        for value in (np.nan, -1.0, 0.0, np.inf, -np.inf, 200.0):
            frame.loc[rng.integers(0, 300), name] = value
    frame.loc[rng.integers(0, 300, 3), "symbol"] = None
    frame.loc[rng.integers(0, 300, 3), "timestamp"] = pd.NaT
    repeated = frame.iloc[rng.integers(0, 300, 5)]
    return pd.concat([frame, repeated], ignore_index=True).assign(row=lambda f: np.arange(len(f)))


def test_every_rule_finds_the_rows_it_finds_among_all(tmp_path: Path) -> None:
    """Of bars with defects of every kind, row by row; most rows are never looked at twice."""
    frame, expectations = dirty(1), PACKAGE / "expectations"
    quality = Quality(expectations, tmp_path, QualityPolicy())
    suite = json.loads((expectations / "bars.json").read_text())
    expanded = _expanded(suite, [str(column) for column in frame.columns])
    of_all = [_rule_result(r) for r in quality._validate("bars", expanded, frame, WITH_ROWS)]

    def key(result: Any) -> tuple[str, str]:
        return result.rule, result.expectation

    results = quality._check("bars", frame)
    assert sorted(results, key=key) == sorted(of_all, key=key)
    assert sum(not result.passed for result in results) > 15


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        ("expect_column_values_to_match_regex", {"column": "symbol", "regex": "A"}),
        ("expect_column_values_to_be_between", {"column": "open", "min_value": 0, "mostly": 0.9}),
        ("expect_column_values_to_be_between", {"column": "symbol", "min_value": 0}),
        ("expect_column_values_to_not_be_null", {"column": "nowhere"}),
    ],
    ids=["unknown", "share", "other type", "no such column"],
)
def test_what_arrays_do_not_know_is_asked_of_all_rows(kind: str, arguments: dict[str, Any]) -> None:
    """Great Expectations answers alone, as for a suite of one's own."""
    assert suspects(dirty(1), kind, arguments) is None
