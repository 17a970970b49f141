"""Stamps as tools write them: every form is read as what it is, or refused with the row."""

import numpy as np
import pandas as pd
import pytest

from steelyard.errors import FixData
from steelyard.gateways.stamps import read_stamps

HOUR = pd.Timestamp("2023-01-02 01:00", tz="UTC")


def read(values: list[object], zone: str = "UTC") -> list[pd.Timestamp]:
    return list(read_stamps(pd.Series(values, name="time"), zone, "bars.csv").stamps)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(20230102010000, id="14 digits"),
        pytest.param(20230102010000000, id="17 digits"),
        pytest.param(202301020100, id="12 digits"),
        pytest.param(2023010201, id="10 digits"),
        pytest.param(44928 + 1 / 24, id="spreadsheet day"),
        pytest.param(1672621200, id="seconds"),
        pytest.param(1672621200_000, id="milliseconds"),
        pytest.param(1672621200_000_000, id="microseconds"),
        pytest.param(1672621200_000_000_000, id="nanoseconds"),
        pytest.param("2023-01-02 01:00", id="text"),
        pytest.param("2023-01-02T02:00:00+01:00", id="text with an offset"),
    ],
)
def test_every_form_of_a_stamp_is_the_same_hour(value: object) -> None:
    """None of them ends in 1970."""
    assert read([value]) == [HOUR]


def test_the_unit_may_change_within_a_file() -> None:
    """Milliseconds until December, microseconds from January."""
    stamps = read([1735686000_000, 1735689600_000_000])

    assert np.diff(stamps) == [pd.Timedelta("1h")]


def test_written_dates_stay_dates() -> None:
    """As seconds since 1970 they would be August 1970."""
    assert read([20230102, 20230103])[0] == pd.Timestamp("2023-01-02", tz="UTC")


def test_stamps_without_a_zone_are_read_in_the_configured_one() -> None:
    """Beside others with an offset nobody can tell what they mean: the file is refused."""
    assert read(["2023-01-02 00:00:00"], "America/New_York") == [
        pd.Timestamp("2023-01-02 05:00", tz="UTC")
    ]
    with pytest.raises(
        FixData,
        match="with and without an offset are mixed in time, the first without is '2023-01-02 00",
    ):
        read(["2023-01-02T06:00:00Z", "2023-01-02 00:00:00"], "America/New_York")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        pytest.param(
            "1899-12-31", "row 2 has '1899-12-31' in time, which would be 1899-12-31", id="too old"
        ),
        pytest.param(
            "2199-01-01", "row 2 has '2199-01-01' in time, which would be 2199-01-01", id="to come"
        ),
    ],
)
def test_stamps_outside_plausible_years_are_refused(value: str, message: str) -> None:
    """With the row, the value as written, and what it would have been."""
    with pytest.raises(FixData, match=message):
        read(["2023-01-02", value])


def test_a_number_that_is_no_time_is_refused() -> None:
    """Larger than nanoseconds until next year."""
    with pytest.raises(FixData, match="holds no times"):
        read([1672621200, 9.9e18])


def test_hours_that_exist_twice_and_midnights_that_do_not_are_named() -> None:
    """With the stamp as it is written; their rows have no stamp."""
    twice = pd.Series(["2023-10-29 01:30", "2023-10-29 02:00", "2023-10-29 02:15"], name="time")
    read = read_stamps(twice, "Europe/Berlin", "X.csv")
    missing = read_stamps(pd.Series(["2023-03-26 02:30"], name="time"), "Europe/Berlin", "X.csv")

    assert list(read.stamps.isna()) == [False, True, True]
    assert read.findings == (
        "X.csv: 2 stamps exist twice in Europe/Berlin when the clock changes, "
        "the first 2023-10-29 02:00; write them with their offset or in UTC",
    )
    assert "1 stamps do not exist in Europe/Berlin" in missing.findings[0]
