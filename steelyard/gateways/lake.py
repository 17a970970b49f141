"""The lake: validated bars as Parquet files, a folder per symbol, on disk or in an object store.

A symbol begins with ``bars.parquet``. Once its last file holds ``PART_BARS`` bars, later ones go to
a new one, named by its first bar, so that an append never writes a long history again. Of two files
with the same bars the earlier one counts: a history that is read again is written whole to
``bars.parquet``, and the others go afterwards.

Appending is safe to repeat, and a stored bar is never overwritten, but for one case: if the source
has put a symbol's history on another price scale (a dividend, a split), the symbol is read again
as a whole, and the file before stays beside the new one.
"""

import json
import math
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TypeVar
from urllib.parse import quote, unquote

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from filelock import Timeout
from numpy.typing import NDArray

from steelyard.errors import CollectMoreData, FixData, RestoreService
from steelyard.gateways.lake_store import FolderStore, LakeStore
from steelyard.market.bars import COLUMNS, PRICES, Bars, are_in_order, by_symbol, naive
from steelyard.market.scale import DIVIDEND_RATIO, SPLIT_RATIO, differs

Bools = NDArray[np.bool_]
Item = TypeVar("Item")
Result = TypeVar("Result")
DESCRIPTION, BARS = "lake.json", "bars.parquet"
PART, STAMP = "part-", "%Y%m%dT%H%M%S%fZ"
"""How the name of a further file of a symbol begins, and how it goes on: its first stamp."""
FOOTER_BYTES = 1 << 16
"""Bytes at the end of a file that are read first for its footer, which they nearly always hold."""
PART_BARS = 10_000
"""Bars of a file from which on new ones go to another: about a year of hourly bars."""
OVERLAP_BARS = 5
"""Bars present in both the lake and the new rows that tell a change of scale."""
SAME_RATIO = 0.01
"""Share by which the ratios of the latest bars may differ and still be one change of scale."""
RESTATED_SHARE = 0.95
"""Share of the bars before a dividend or split whose closes must have changed."""
STEP = 2e-3
"""Log by which the ratio of neighbouring bars may change by the rounding of prices."""
ROUNDING = 1e-6
"""Share of a close from which it counts as changed."""
SCHEMA = pa.schema(
    [
        ("symbol", pa.string()),
        ("timestamp", pa.timestamp("ns", "UTC")),
        *((name, pa.float64()) for name in (*PRICES, "volume")),
    ]
)
"""Columns of a file of the lake, in the order of ``COLUMNS``."""
UNREADABLE = (pa.ArrowException, OSError, ValueError, LookupError, TypeError)
"""What reading a damaged file raises."""


@dataclass(frozen=True, slots=True)
class Appended:
    """Numbers of bars: new, stored before with equal values, stored before with other values.

    Attributes:
        findings: What is worth knowing about the symbols, one line each.
    """

    added: int
    already_there: int
    conflicting: int
    findings: tuple[str, ...] = ()


class Lake:
    """Bars of one size, the files of each symbol in a folder of its own.

    Args:
        store: Where the files lie; a path is a folder on disk, created by the first append.
    """

    def __init__(self, store: Path | LakeStore) -> None:
        self._store = FolderStore(store) if isinstance(store, Path) else store

    @property
    def place(self) -> Path | str:
        """Folder of the lake, or its address in an object store."""
        return self._store.place

    @property
    def bar_size(self) -> pd.Timedelta:
        """Time from a bar's open to the next.

        Raises:
            CollectMoreData: If nothing was collected yet.
            RestoreService: If ``lake.json`` cannot be read.
        """
        return pd.Timedelta(self._describe()["bar_size"])

    @property
    def known_after(self) -> pd.Timedelta:
        """Time from a bar's open until it is known; its size, but for daily bars of an exchange.

        Raises:
            CollectMoreData: If nothing was collected yet.
            RestoreService: If ``lake.json`` cannot be read.
        """
        document = self._describe()
        return pd.Timedelta(document.get("known_after", document["bar_size"]))

    def _describe(self) -> dict[str, str]:
        try:
            document: dict[str, str] = json.loads(self._store.read(DESCRIPTION).to_pybytes())
            pd.Timedelta(document["bar_size"])
            return document
        except FileNotFoundError as error:
            raise CollectMoreData(f"{self.place}: no bars yet; run steelyard collect") from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RestoreService(
                f"{self.place}/{DESCRIPTION}: cannot be read ({error}); restore it"
            ) from error

    def append(
        self,
        frame: pd.DataFrame,
        bar_size: pd.Timedelta,
        known_after: pd.Timedelta | None = None,
    ) -> Appended:
        """Store the bars that are new, and return the counts.

        Args:
            frame: Bars of any symbols, columns ``COLUMNS``, times UTC; a missing volume is NaN.
            bar_size: Time from a bar's open to the next.
            known_after: Time from a bar's open until it is known, for all bars from now on; None
                for ``bar_size``.

        Raises:
            FixData: If the lake holds bars of another size, or a symbol's stored bars and the new
                ones have no scale in common; the other symbols are stored all the same.
            FixConfiguration: If another home collects into this lake, or its bucket is not there.
            RestoreService: If the lake cannot be written or another process holds it.
        """
        try:
            with self._store.exclusive():
                return self._append(frame, bar_size, known_after or bar_size)
        except Timeout as error:
            raise RestoreService(
                f"{self.place}: another process holds the lake; stop it or wait"
            ) from error
        except OSError as error:
            raise RestoreService(
                f"{self.place}: the lake cannot be written ({error}); "
                "make it a writable folder with space left"
            ) from error

    def _append(
        self, frame: pd.DataFrame, bar_size: pd.Timedelta, known_after: pd.Timedelta
    ) -> Appended:
        is_new = not self._store.exists(DESCRIPTION)
        if not is_new and self.bar_size != bar_size:
            raise FixData(
                f"{self.place} holds bars of {self.bar_size}, these are of {bar_size}; "
                "pass another --home"
            )
        by_symbol = {
            str(symbol): rows.sort_values("timestamp", ignore_index=True)
            for symbol, rows in frame[list(COLUMNS)].groupby("symbol", sort=True)
        }
        for symbol in by_symbol:
            self._separate(symbol)
        scales = self._each(lambda item: self._scale(*item), by_symbol.items())
        scaled = list(zip(by_symbol, by_symbol.values(), scales, strict=True))
        strange = [symbol for symbol, _, scale in scaled if scale.is_strange]
        usual = [item for item in scaled if not item[2].is_strange]
        taken = self._each(lambda item: self._take(*item), usual)
        if is_new or self.known_after != known_after:
            description = {"bar_size": str(bar_size), "known_after": str(known_after)}
            self._store.write(DESCRIPTION, json.dumps(description).encode())
        if strange:
            folders = ", ".join(f"{self.place}/{_folder_of(symbol)}" for symbol in strange)
            raise FixData(
                f"{', '.join(strange)}: the stored bars and these differ by no one factor, are "
                f"they of another instrument? correct the source, or move {folders} away and "
                "collect again"
            )
        return Appended(
            sum(part.added for part in taken),
            sum(part.already_there for part in taken),
            sum(part.conflicting for part in taken),
            tuple(finding for part in taken for finding in part.findings),
        )

    def _each(self, function: Callable[[Item], Result], items: Iterable[Item], /) -> list[Result]:
        """Return the results of a function that waits for the store, in the order of its items."""
        if self._store.readers == 1:
            return [function(item) for item in items]
        with ThreadPoolExecutor(self._store.readers) as pool:
            return list(pool.map(function, items))

    def _take(self, symbol: str, rows: pd.DataFrame, scale: "_Scale") -> Appended:
        """Store the new bars of one symbol, after a change of scale if there was one."""
        findings = (self._rescale(symbol, rows, scale),) if scale.is_restated else ()
        return Appended(*self._append_symbol(symbol, rows), findings)

    def _scale(self, symbol: str, rows: pd.DataFrame) -> "_Scale":
        """Return how the source's closes differ from the stored ones.

        A source that adjusts its history for a dividend or a split multiplies all closes before it.
        """
        stored = self._stored(self._files(symbol), rows, rows["timestamp"].min())
        if stored.empty:
            return _Scale(1.0, is_restated=False, is_strange=False)
        places, is_stored = _places(stored, rows)
        stored_closes = stored["close"].to_numpy(dtype=np.float64)[places]
        ratios = (rows["close"].to_numpy(dtype=np.float64) / stored_closes)[is_stored]
        newest = float(np.median(ratios[-OVERLAP_BARS:])) if len(ratios) else math.nan
        changed = np.abs(ratios - 1) > ROUNDING
        before = ratios[: int(changed.nonzero()[0][-1]) + 1] if changed.any() else ratios[:0]
        latest = before[-OVERLAP_BARS:]
        is_restated = bool(
            len(before) > 1
            and np.mean(np.abs(before - 1) > ROUNDING) >= RESTATED_SHARE
            and differs(float(np.median(latest)), DIVIDEND_RATIO)
            and (np.abs(latest / np.median(latest) - 1) <= SAME_RATIO).all()
            and np.mean(np.abs(np.diff(np.log(before))) <= STEP) >= RESTATED_SHARE
        )
        is_strange = not is_restated and differs(newest, SPLIT_RATIO)
        first = float(np.median(before[:OVERLAP_BARS])) if is_restated else 1.0
        return _Scale(first, is_restated, is_strange)

    def _rescale(self, symbol: str, rows: pd.DataFrame, scale: "_Scale") -> str:
        """Put a symbol's stored bars on the scale of the source and return a finding.

        Bars the source has are taken from it, older ones are multiplied by the factor.
        """
        stored = self._stored(self._files(symbol), rows)
        kept = f"bars-before-{rows['timestamp'].max():%Y%m%dT%H%M%SZ}.parquet"
        self._write(f"{_folder_of(symbol)}/{kept}", stored)
        older = stored[~stored["timestamp"].isin(rows["timestamp"])].copy()
        older[list(PRICES)] *= scale.factor
        if differs(scale.factor, SPLIT_RATIO):
            older["volume"] /= scale.factor
        read_again = rows[rows["timestamp"].isin(stored["timestamp"])][list(COLUMNS)]
        bars = pd.concat([older, read_again]).sort_values("timestamp")
        self._write(_file_of(symbol), bars)
        self._drop_outdated(symbol)
        return (
            f"{symbol}: the source has put its history on another scale (prices × "
            f"{scale.factor:.4g}), a dividend or split since? {len(read_again)} bars were read "
            f"again and {len(older)} older ones multiplied, open trades follow at the next trade; "
            f"recorded decisions and outcomes stay, the bars they were made on are in {kept}"
        )

    def _append_symbol(self, symbol: str, rows: pd.DataFrame) -> tuple[int, int, int]:
        files = self._drop_outdated(symbol)
        stored = self._stored(files, rows, rows["timestamp"].min())
        if stored.empty:
            self._add(symbol, rows, files)
            return len(rows), 0, 0
        places, is_stored = _places(stored, rows)
        is_equal = np.ones(len(rows), dtype=bool)
        for name in (*PRICES, "volume"):
            given, kept = (table[name].to_numpy(dtype=np.float64) for table in (rows, stored))
            kept = kept[places]
            is_equal &= (given == kept) | (np.isnan(given) & np.isnan(kept))
        new = rows[~is_stored]
        if len(new):
            self._add(symbol, new, files)
        return len(new), int((is_stored & is_equal).sum()), int((is_stored & ~is_equal).sum())

    def _add(self, symbol: str, new: pd.DataFrame, existing: Sequence[str]) -> None:
        """Write new bars to the files they belong to, the latest ones to a new file if it is time.

        Args:
            symbol: Symbol of the bars.
            new: Bars that are not stored, by stamp.
            existing: Files of the symbol that count, in order of their bars.
        """
        files = existing or [_file_of(symbol)]
        begins = [_begin(file) for file in files[1:]]
        places = np.searchsorted(pd.DatetimeIndex(begins, tz="UTC"), new["timestamp"], side="right")
        for number in np.unique(places):
            rows, file = new[places == number], files[number]
            stored = _frame([self._table(file)]) if existing else rows.iloc[:0]
            later = (rows["timestamp"] > stored["timestamp"].max()).to_numpy()
            if file == files[-1] and len(stored) >= PART_BARS and later.any():
                first = rows["timestamp"][later].iloc[0]
                part = f"{_folder_of(symbol)}/{PART}{first:{STAMP}}.parquet"
                self._write(part, rows[later])
                rows = rows[~later]
            if len(rows):
                bars = pd.concat([stored, rows]).sort_values("timestamp", ignore_index=True)
                self._write(file, bars)

    def read(
        self, until: pd.Timestamp | None = None, symbols: Iterable[str] | None = None
    ) -> pd.DataFrame:
        """Return stored bars, columns ``COLUMNS``, sorted by symbol and timestamp.

        Args:
            until: Time by which a bar must be known, UTC; None for all bars.
            symbols: Symbols to read; None for all.

        Raises:
            CollectMoreData: If there are no bars of these symbols.
            RestoreService: If a file cannot be read.
        """
        known_after = self.known_after
        folders = self._symbol_folders()
        if symbols is not None:
            symbols = set(symbols)
            requested = {folder(symbol) for symbol in symbols for folder in (_folder_of, _shared)}
            folders = {name: files for name, files in folders.items() if name in requested}
        if not folders:
            raise CollectMoreData(f"{self.place}: no bars of these symbols; run steelyard collect")
        tables = self._each(self._tables, folders.values())
        frame = _frame([table for of_symbol in tables for table in of_symbol])
        if symbols is not None and not (wanted := frame["symbol"].isin(symbols)).all():
            frame = frame[wanted]
        if until is not None and not (known := frame["timestamp"] <= until - known_after).all():
            frame = frame[known]
        if not are_in_order(frame):
            frame = frame.sort_values(["symbol", "timestamp"])
        return frame.reset_index(drop=True)

    def opens(
        self, count: int, symbols: Iterable[str], until: pd.Timestamp
    ) -> dict[str, pd.Timestamp]:
        """Return the open of the ``count``-th bar from the end; symbols without bars are left out.

        Args:
            count: Number of bars from the end; the first bar if there are fewer.
            symbols: Symbols to look at.
            until: Time by which a bar must be known, UTC.

        Raises:
            RestoreService: If a file cannot be read.
        """
        try:
            frame = self.read(until, symbols)
        except CollectMoreData:
            return {}
        newest = frame.groupby("symbol").tail(count)
        return {str(name): stamps.iloc[0] for name, stamps in newest.groupby("symbol")["timestamp"]}

    def newest(self) -> dict[str, pd.Timestamp]:
        """Return the open of every symbol's newest bar, UTC, from the footers of the files.

        Raises:
            RestoreService: If a file cannot be read.
        """
        folders = self._symbol_folders()
        newest = self._each(lambda files: self._newest(self._counting(files)[-1]), folders.values())
        symbols = (unquote(folder.removeprefix("symbol=")) for folder in folders)
        stamps = dict(zip(symbols, newest, strict=True))
        return {symbol: stamp for symbol, stamp in stamps.items() if stamp is not None}

    def bars(
        self, until: pd.Timestamp | None = None, symbols: Iterable[str] | None = None
    ) -> dict[str, Bars]:
        """Return the stored bars by symbol.

        Args:
            until: Time by which a bar must be known, UTC; None for all bars.
            symbols: Symbols to read; None for all.

        Raises:
            CollectMoreData: If there are no bars.
            RestoreService: If a file cannot be read.
        """
        return by_symbol(self.read(until, symbols), self.bar_size, self.known_after)

    def _stored(
        self, files: Sequence[str], template: pd.DataFrame, since: pd.Timestamp | None = None
    ) -> pd.DataFrame:
        """Return the stored bars of a symbol, or an empty frame typed like ``template``.

        Args:
            files: Files of the symbol that count, in order of their bars.
            template: Any bars.
            since: Files whose bars are all older are left out; None to read all.
        """
        begins = [_begin(file) for file in files[1:]]
        first = 0 if since is None else sum(begin <= since for begin in begins)
        if files:
            return _frame([self._table(file) for file in files[first:]])
        return template.loc[template.index[:0], list(COLUMNS)]

    def _files(self, symbol: str) -> list[str]:
        """Return the files of a symbol that count, in order of their bars."""
        return self._parted(symbol)[0]

    def _parted(self, symbol: str) -> tuple[list[str], list[str]]:
        """Return the files of a symbol that count, in order of their bars, and the others."""
        listed = self._listed(_folder_of(symbol)).get(_folder_of(symbol), [])
        files = self._counting(listed) if _file_of(symbol) in listed else []
        return files, [file for file in listed if file not in files]

    def _counting(self, files: Sequence[str]) -> list[str]:
        """Return those of a symbol's files that count, in order of their bars.

        Args:
            files: ``bars.parquet`` and all parts, by name.
        """
        if len(files) == 1:
            return list(files)
        newest = self._newest(files[0])
        return [files[0], *_parts_after(newest, files)]

    def _drop_outdated(self, symbol: str) -> list[str]:
        """Delete files that do not count, as a history read again leaves them; return the others.

        ``bars.parquet`` has their bars.
        """
        files, outdated = self._parted(symbol)
        for file in outdated:
            self._store.delete(file)
        return files

    def _listed(self, folder: str = "") -> dict[str, list[str]]:
        """Return the files of bars by their folders, all in order of their names.

        Args:
            folder: Folder of a symbol; empty for all.
        """
        listed: dict[str, list[str]] = {}
        for name in sorted(self._store.names(folder), key=lambda name: name.split("/")):
            parent, _, file = name.rpartition("/")
            if file == BARS or (file.startswith(PART) and file.endswith(".parquet")):
                listed.setdefault(parent, []).append(name)
        return listed

    def _symbol_folders(self) -> dict[str, list[str]]:
        """Return the folders that hold a symbol with their files, in order of their names."""
        listed = self._listed().items()
        return {folder: files for folder, files in listed if files[0] == f"{folder}/{BARS}"}

    def _separate(self, symbol: str) -> None:
        """Split a file that symbols shared before version 0.2 into one file per symbol."""
        shared = f"{_shared(symbol)}/{BARS}"
        if ("/" not in symbol and "_" not in symbol) or not self._store.exists(shared):
            return
        frame = _frame([self._table(shared)])
        owners = {str(name): rows for name, rows in frame.groupby("symbol")}
        if all(_file_of(name) == shared for name in owners):
            return
        for name, rows in owners.items():
            file = _file_of(name)
            if file != shared and not self._store.exists(file):
                self._write(file, rows)
        staying = [rows for name, rows in owners.items() if _file_of(name) == shared]
        if staying:
            self._write(shared, staying[0])
        else:
            self._store.delete(shared)

    def _write(self, file: str, bars: pd.DataFrame) -> None:
        buffer = pa.BufferOutputStream()
        table = pa.Table.from_pandas(bars, preserve_index=False, nthreads=1)
        pq.write_table(table, buffer, use_dictionary=["symbol"])  # prices hardly ever repeat
        self._store.write(file, bytes(buffer.getvalue()))

    def _tables(self, files: Sequence[str]) -> list[pa.Table]:
        """Return what counts of a symbol's files, in order of their bars.

        Which parts count follows from the very bars read, so that a history that is read again
        meanwhile is never mixed with the one before.
        """
        first = self._table(files[0])
        newest = pc.max(first["timestamp"]).as_py()
        return [first, *map(self._table, _parts_after(newest, files))]

    def _table(self, file: str) -> pa.Table:
        try:
            with pq.ParquetFile(pa.BufferReader(self._store.read(file))) as opened:
                table = opened.read(columns=list(COLUMNS), use_threads=False).select(list(COLUMNS))
            if table.schema.field("timestamp").type.tz is None:
                raise ValueError("stamps without a zone")
            return table.cast(SCHEMA)
        except (*UNREADABLE, AttributeError) as error:  # a stamp of another type has no zone
            raise self._unreadable(file, error) from error

    def _newest(self, file: str) -> pd.Timestamp | None:
        """Return the newest stamp in a file, from the statistics in its footer; None without bars.

        The last eight bytes of a file are the footer's length and a mark.
        """
        try:
            end = self._store.read_end(file, FOOTER_BYTES)
            if int.from_bytes(end[-8:-4], "little") + 8 > len(end):
                end = self._store.read(file)
            footer = pq.read_metadata(pa.BufferReader(end))
            column = footer.schema.names.index("timestamp")
            groups = map(footer.row_group, range(footer.num_row_groups))
            newest = [pd.Timestamp(group.column(column).statistics.max) for group in groups]
            return max(newest, default=None)
        except (
            *UNREADABLE,
            AttributeError,
        ) as error:  # another program wrote no statistics
            raise self._unreadable(file, error) from error

    def _unreadable(self, file: str, error: Exception) -> RestoreService:
        reason = " ".join(str(error).split())[:160]
        return RestoreService(
            f"{self.place}/{file}: cannot be read ({reason}); restore it, or delete it and collect "
            "again"
        )


def _folder_of(symbol: str) -> str:
    """Return the folder of one symbol; the encoding of its name is reversible."""
    return f"symbol={quote(symbol, safe='')}"


def _file_of(symbol: str) -> str:
    return f"{_folder_of(symbol)}/{BARS}"


def _shared(symbol: str) -> str:
    """Return a symbol's folder before version 0.2, when A/B and A_B had the same one."""
    return f"symbol={symbol.replace('/', '_')}"


def _frame(tables: list[pa.Table]) -> pd.DataFrame:
    """Return the bars of some files, one below the other, in order of their first symbols."""
    tables = sorted(tables, key=lambda table: str(table["symbol"][0]) if len(table) else "")
    frame: pd.DataFrame = pa.concat_tables(tables).to_pandas(ignore_metadata=True)
    return frame


def _places(stored: pd.DataFrame, rows: pd.DataFrame) -> tuple[NDArray[np.int64], Bools]:
    """Return where in the stored bars each of some rows of their symbol is, and whether it is.

    Args:
        stored: Bars by stamp, one at least.
        rows: Rows by stamp, shape (m,).
    """
    stamps, asked = naive(stored["timestamp"]), naive(rows["timestamp"])
    places = np.minimum(np.searchsorted(stamps, asked), len(stamps) - 1)
    return places, stamps[places] == asked


def _begin(part: str) -> pd.Timestamp:
    """Return the stamp of a part's first bar, from its name."""
    text = PurePosixPath(part).stem.removeprefix(PART)
    return pd.Timestamp(datetime.strptime(text, STAMP).replace(tzinfo=UTC))


def _parts_after(newest: datetime | None, files: Sequence[str]) -> list[str]:
    """Return the parts that begin after the newest bar of ``bars.parquet``.

    Args:
        newest: Stamp of that bar; None without bars.
        files: ``bars.parquet`` and all parts, by name.
    """
    return [file for file in files[1:] if newest is None or _begin(file) > newest]


@dataclass(frozen=True, slots=True)
class _Scale:
    """How the closes of the source differ from the stored ones.

    Attributes:
        factor: New over stored close at the oldest shared bars; 1 unless restated.
        is_restated: Whether all closes before some bar were multiplied by a factor.
        is_strange: Whether they lie apart like those of another instrument.
    """

    factor: float
    is_restated: bool
    is_strange: bool
