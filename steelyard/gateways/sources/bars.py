"""Bars of a file: its columns, numbers and stamps under our names."""

import re
from contextlib import suppress
from dataclasses import dataclass

import pandas as pd

from steelyard.errors import FixData
from steelyard.gateways.sources.columns import read_numbers, read_symbols, required_columns
from steelyard.gateways.sources.paths import KINDS, UNREADABLE, BarFile, symbol_of
from steelyard.gateways.sources.presets import PRESETS, preset_for
from steelyard.gateways.sources.settings import SourceSettings
from steelyard.gateways.sources.tables import first_lines, in_utf8, read_table
from steelyard.gateways.stamps import ReadStamps, read_stamps
from steelyard.market.bars import COLUMNS

NUMBERS = ("open", "high", "low", "close", "volume", "adj_close")
METATRADER = {"tick_volume", "spread", "real_volume"}
"""Columns of the tables of MetaTrader 5's Python package."""
MILLISECONDS_OF_A_DAY = 86_400_000


@dataclass(frozen=True, slots=True)
class FileBars:
    """The bars of one file.

    Attributes:
        name: The file in messages.
        frame: One row per bar, columns ``COLUMNS``, and ``adj_close`` if the file has one; stamps
            as written, open or close.
        findings: What is worth knowing, one line each.
    """

    name: str
    frame: pd.DataFrame
    findings: tuple[str, ...] = ()


def read_bars(file: BarFile, settings: SourceSettings) -> FileBars:
    """Return the bars of a file.

    Args:
        file: The file.
        settings: Layout of the file, resolved.

    Raises:
        FixData: If the file cannot be read so; the message names the preset whose layout it has.
    """
    try:
        return _bars_of(file, settings)
    except FixData as error:
        preset = preset_for(_begin(file), settings.preset)
        advice = f"; conf/source.yaml: preset: {preset} reads files of this layout"
        raise FixData(f"{_in_one_line(str(error))}{advice if preset else ''}") from error


def _in_one_line(text: str) -> str:
    """Return a message about names from a file, which may hold line breaks."""
    return text.replace("\r", " ").replace("\n", " ")


def _begin(file: BarFile) -> str:
    """Return the first two lines of a text file; empty if there are none."""
    with suppress(FixData, ValueError, *UNREADABLE):
        return "\n".join(first_lines(in_utf8(file.content())))
    return ""


def _bars_of(file: BarFile, settings: SourceSettings) -> FileBars:
    if not file.kind:
        raise FixData(f"{file}: unknown kind of file; convert it to one of {', '.join(KINDS)}")
    raw = read_table(file, settings)
    if raw.empty:
        raise FixData(f"{file}: a header but no rows; download it again")
    columns = required_columns(raw, settings, str(file))
    series = {name: raw[column] for name, column in columns.items() if column is not None}
    for column in series.values():
        if pd.api.types.infer_dtype(column) == "bytes":
            raise FixData(f"{file}: column {column.name} is not in UTF-8; save the file in UTF-8")
    frame = pd.DataFrame(
        {
            name: read_numbers(series[name], name, settings, str(file))
            for name in NUMBERS
            if name in series
        }
    )
    read = _stamps(raw, series, settings, file)
    frame["timestamp"] = read.stamps
    frame["symbol"] = (
        read_symbols(series["symbol"]) if "symbol" in series else _symbol(file, settings)
    )
    findings = list(read.findings)
    if "volume" not in frame:
        frame["volume"] = float("nan")
        others = _in_one_line(", ".join(map(str, raw.columns)))
        findings.append(
            f"{file}: no column for volume among {others}; volume is unknown, map it under "
            "'columns' in conf/source.yaml"
        )
    if _is_server_clock_in_utc(raw, settings):
        findings.append(
            f"{file}: MetaTrader's columns, whose times are on the clock of the broker's server, "
            "read as UTC; set timezone, hours_ahead and, for numbers, epoch_zone in "
            "conf/source.yaml"
        )
    optional = ["adj_close"] if "adj_close" in frame else []
    return FileBars(str(file), frame[[*COLUMNS, *optional]], tuple(findings))


def _is_server_clock_in_utc(raw: pd.DataFrame, settings: SourceSettings) -> bool:
    names = {str(column).strip().lower() for column in raw.columns}
    return names >= METATRADER and settings.timezone == "UTC" and not settings.hours_ahead


def _symbol(file: BarFile, settings: SourceSettings) -> str:
    if settings.preset and PRESETS[settings.preset].symbol_column:
        raise FixData(
            f"{file}: no symbol column, so bars of several symbols could not be told apart; have "
            f"{settings.preset} write one, or map it under 'columns' in conf/source.yaml"
        )
    symbol = symbol_of(file, settings.symbol_pattern)
    if not symbol:
        raise FixData(
            f"{file}: no symbol column, and no symbol in the file's name; rename the file"
        )
    return symbol


def _stamps(
    raw: pd.DataFrame, series: dict[str, pd.Series], settings: SourceSettings, file: BarFile
) -> ReadStamps:
    column = series["timestamp"]
    if "time" in series:
        column = _joined(column, series["time"])
    elif str(column.name).strip().lower() == "date":
        others = {str(name).strip().lower(): name for name in raw.columns}
        times = raw[others["time"]].astype("str") if "time" in others else pd.Series(["no time"])
        if times.str.contains(":").all() and not column.astype("str").str.contains(":").any():
            column = _joined(column, times)
    column = _since_midnight(column, settings, file)
    return read_stamps(
        column,
        settings.timezone,
        str(file),
        date_format=settings.date_format,
        hours_ahead=settings.hours_ahead,
        epoch_zone=settings.epoch_zone,
    )


def _joined(dates: pd.Series, times: pd.Series) -> pd.Series:
    """Return dates with the times of day of another column."""
    texts = dates.astype("str").str.strip() + " " + times.astype("str").str.strip()
    return texts.rename(f"{dates.name} and {times.name}")


def _since_midnight(column: pd.Series, settings: SourceSettings, file: BarFile) -> pd.Series:
    """Return milliseconds of the day that the file's name dates as times; others unchanged."""
    match = re.search(settings.date_pattern, file.stem) if settings.date_pattern else None
    if match is None:
        return column
    counts = pd.to_numeric(column, errors="coerce")
    if not counts.between(0, MILLISECONDS_OF_A_DAY, inclusive="left").all():
        raise FixData(
            f"{file}: column {column.name} does not count milliseconds since midnight; correct "
            "date_pattern in conf/source.yaml"
        )
    try:
        day = pd.to_datetime(match[1], format="%Y%m%d")
    except ValueError as error:
        raise FixData(
            f"{file}: date_pattern finds {match[1]}, which is no date such as 20260131; correct "
            "conf/source.yaml"
        ) from error
    return pd.Series(day + pd.to_timedelta(counts, unit="ms"), name=column.name)
