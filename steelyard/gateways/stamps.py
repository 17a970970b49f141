"""Time stamps as files write them, read as UTC; what cannot be a stamp of a bar is refused.

A number is a written date or time (20260131, 20260131093000 …), a spreadsheet's day, or seconds to
nanoseconds since 1970. The unit is told for each number, because files change it (monthly files of
one exchange went from milliseconds to microseconds). Every stamp must lie between 1950 and the end
of next year.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import numpy as np
import pandas as pd

from steelyard.errors import FixData

FIRST_YEAR = 1950
SPREADSHEET_EPOCH = pd.Timestamp("1899-12-30")
"""Day 0 of spreadsheets that count 1900 as a leap year."""
WRITTEN_FORMATS = {
    8: "%Y%m%d",
    10: "%Y%m%d%H",
    12: "%Y%m%d%H%M",
    14: "%Y%m%d%H%M%S",
    17: "%Y%m%d%H%M%S%f",
}
"""Digits → format of a stamp written as one number."""
UNITS: tuple[Literal["s", "ms", "us", "ns"], ...] = ("s", "ms", "us", "ns")
NAIVE: Literal["datetime64[ns]"] = "datetime64[ns]"
AWARE: Literal["datetime64[ns, UTC]"] = "datetime64[ns, UTC]"
_ZONE = re.compile(r" ([A-Za-z]+/[A-Za-z_/]+|UTC)$")
_OFFSET = re.compile(r"(?:Z|[+-]\d\d:?\d\d)$")


@dataclass(frozen=True, slots=True)
class ReadStamps:
    """The stamps of a column.

    Attributes:
        stamps: UTC, ``datetime64[ns, UTC]``, shape (n,); NaT where a local time exists twice or not
            at all.
        findings: What is worth knowing, one line each.
    """

    stamps: pd.Series
    findings: tuple[str, ...] = ()


def read_stamps(
    column: pd.Series,
    zone: str,
    file: str,
    *,
    date_format: str = "",
    hours_ahead: float = 0,
    epoch_zone: bool = False,
) -> ReadStamps:
    """Return a column of stamps in UTC.

    Args:
        column: Numbers, texts or datetimes, one per row.
        zone: Zone of stamps that name none.
        file: Name of the file in messages.
        date_format: Format of texts (strptime), its part before the first blank for texts without
            one; empty: ISO 8601, with an offset or the name of a zone behind it or not.
        hours_ahead: Hours by which stamps that name no zone are ahead of the clock of ``zone``.
        epoch_zone: Whether numbers since 1970 count on the clock of ``zone``, not in UTC.

    Raises:
        FixData: If a value is no time, or lies before 1950 or after the end of next year.
    """
    try:
        is_number = pd.api.types.is_numeric_dtype(column)
        parsed = _from_numbers(column) if is_number else _from_texts(column, date_format)
    except (ValueError, TypeError, OverflowError) as error:
        reason = " ".join(str(error).split())[:200]
        raise FixData(
            f"{file}: {column.name} holds no times ({reason}); ISO 8601 or epoch numbers, or set "
            "date_format in conf/source.yaml"
        ) from error
    naive, aware = parsed
    if is_number and epoch_zone:
        naive, aware = naive.fillna(aware.dt.tz_localize(None)), _no_stamps(column, AWARE)
    if naive.notna().any() and aware.notna().any():
        first = column[naive.notna().to_numpy()].iloc[0]
        raise FixData(
            f"{file}: stamps with and without an offset are mixed in {column.name}, the "
            f"first without is {first!r}; write all of them with their offset, or none"
        )
    naive = naive - pd.Timedelta(hours=hours_ahead)
    local = naive.dt.tz_localize(zone, ambiguous="NaT", nonexistent="NaT").dt.tz_convert("UTC")
    stamps = aware.where(aware.notna(), local).astype(AWARE)
    _require_plausible(stamps, column, file)
    return ReadStamps(stamps, tuple(_unreadable(naive, local, zone, file)))


def _from_texts(column: pd.Series, date_format: str) -> tuple[pd.Series, pd.Series]:
    """Return stamps without and with a zone, each NaT where the other has the row's stamp."""
    if pd.api.types.is_datetime64_any_dtype(column):
        if column.dt.tz is None:
            return column.astype(NAIVE), _no_stamps(column, AWARE)
        return _no_stamps(column, NAIVE), column.dt.tz_convert("UTC").astype(AWARE)
    texts = column.astype("str").str.strip().str.replace(r"\s+", " ", regex=True)
    if date_format:
        return _formatted(texts, date_format)
    named = texts.str.extract(_ZONE)[0]
    if named.notna().any():
        return _no_stamps(column, NAIVE), _of_named_zone(texts, named)
    offset = texts.str.contains(_OFFSET) & texts.str.contains(":")
    naive = pd.to_datetime(texts.where(~offset), format="ISO8601").astype(NAIVE)
    aware = pd.to_datetime(texts.where(offset), format="ISO8601", utc=True)
    return naive, aware.astype(AWARE)


def _formatted(texts: pd.Series, date_format: str) -> tuple[pd.Series, pd.Series]:
    if not texts.str.contains(" ").any():
        date_format = date_format.partition(" ")[0]
    if "%z" in date_format:
        aware = pd.to_datetime(texts, format=date_format, utc=True)
        return _no_stamps(texts, NAIVE), aware.astype(AWARE)
    naive = pd.to_datetime(texts, format=date_format)
    return naive.astype(NAIVE), _no_stamps(texts, AWARE)


def _of_named_zone(texts: pd.Series, zones: pd.Series) -> pd.Series:
    """Return stamps that name their zone behind a blank; all of them name the same."""
    if zones.nunique(dropna=False) > 1:
        raise ValueError(f"several zones: {', '.join(map(str, zones.unique()[:3]))}")
    naive = pd.to_datetime(texts.str.replace(_ZONE, "", regex=True), format="ISO8601")
    zoned = naive.dt.tz_localize(zones.iloc[0], ambiguous="NaT", nonexistent="NaT")
    return zoned.dt.tz_convert("UTC").astype(AWARE)


def _from_numbers(column: pd.Series) -> tuple[pd.Series, pd.Series]:
    for read in (_written, _spreadsheet_days):
        naive = read(column)
        if naive is not None:
            return naive.astype(NAIVE), _no_stamps(column, AWARE)
    return _no_stamps(column, NAIVE), _since_1970(column)


def _no_stamps(
    column: pd.Series, dtype: Literal["datetime64[ns]", "datetime64[ns, UTC]"]
) -> pd.Series:
    return pd.Series(pd.NaT, index=column.index, dtype=dtype)


def _written(column: pd.Series) -> pd.Series | None:
    """Return numbers written as dates or times with the same digits; None if they are not."""
    whole = column.notna().all() and (column == column.round()).all() and (column > 0).all()
    if not whole:
        return None
    texts = column.astype("int64").astype("str")
    lengths = texts.str.len().unique()
    if len(lengths) != 1 or lengths[0] not in WRITTEN_FORMATS:
        return None
    stamps = pd.to_datetime(texts, format=WRITTEN_FORMATS[lengths[0]], errors="coerce")
    return stamps if stamps.notna().all() and _plausible(stamps).all() else None


def _spreadsheet_days(column: pd.Series) -> pd.Series | None:
    """Return days of a spreadsheet; None if one lies outside the plausible years."""
    first = (pd.Timestamp(FIRST_YEAR, 1, 1) - SPREADSHEET_EPOCH).days
    last = (pd.Timestamp(_last_year() + 1, 1, 1) - SPREADSHEET_EPOCH).days
    if not column.between(first, last).all():
        return None
    days = pd.to_timedelta(column, unit="D").dt.round("1ms")  # fractions are rounded in the file
    return SPREADSHEET_EPOCH + days


def _since_1970(column: pd.Series) -> pd.Series:
    """Return times since 1970, each in the coarsest unit that ends before the end of next year."""
    limit = pd.Timestamp(_last_year() + 1, 1, 1).timestamp()
    stamps = _no_stamps(column, AWARE)
    left = column.notna()
    for power, unit in enumerate(UNITS):
        here = left & (column.abs() <= limit * 1000.0**power)
        if here.any():
            values = pd.to_datetime(column[here], unit=unit, utc=True)
            stamps[here] = values.astype(AWARE)
        left &= ~here
    if left.any():
        raise ValueError(f"row {int(left.to_numpy().argmax()) + 1} has {column[left].iloc[0]}")
    return stamps


def _plausible(stamps: pd.Series) -> "pd.Series[bool]":
    years: pd.Series[bool] = stamps.dt.year.between(FIRST_YEAR, _last_year())
    return years


def _last_year() -> int:
    return datetime.now(UTC).year + 1


def _require_plausible(stamps: pd.Series, column: pd.Series, file: str) -> None:
    wrong = (stamps.notna() & ~_plausible(stamps)).to_numpy()
    if wrong.any():
        row = int(wrong.argmax())
        raise FixData(
            f"{file}: row {row + 1} has {column.iloc[row]!r} in {column.name}, which would be "
            f"{stamps.iloc[row]:%Y-%m-%d}; stamps lie between {FIRST_YEAR} and {_last_year()}"
        )


def _unreadable(naive: pd.Series, local: pd.Series, zone: str, file: str) -> list[str]:
    """Name local times that exist twice or not at all, with the first as it is written."""
    lost = naive[naive.notna() & local.isna()]
    reasons: dict[str, Callable[[pd.Series], pd.Series]] = {
        "exist twice": lambda times: times.dt.tz_localize(
            zone, ambiguous="NaT", nonexistent="shift_forward"
        ),
        "do not exist": lambda times: times.dt.tz_localize(
            zone, ambiguous=np.zeros(len(times), bool), nonexistent="NaT"
        ),
    }
    lines = []
    for words, localize in reasons.items():
        times = lost[localize(lost).isna().to_numpy()] if len(lost) else lost
        if len(times):
            lines.append(
                f"{file}: {len(times)} stamps {words} in {zone} when the clock changes, the first "
                f"{times.iloc[0]:%Y-%m-%d %H:%M}; write them with their offset or in UTC"
            )
    return lines
