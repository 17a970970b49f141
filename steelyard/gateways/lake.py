"""The lake: validated bars as Parquet files, a folder per symbol.

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
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, unquote

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from steelyard.errors import CollectMoreData, FixData, RestoreService
from steelyard.gateways.files import private_folder, write_whole
from steelyard.market.bars import COLUMNS, PRICES, Bars, are_in_order, by_symbol, naive
from steelyard.market.scale import DIVIDEND_RATIO, SPLIT_RATIO, differs

LOCK_SECONDS = 60
Bools = NDArray[np.bool_]
PART, STAMP = "part-", "%Y%m%dT%H%M%S%fZ"
"""How the name of a further file of a symbol begins, and how it goes on: its first stamp."""
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
    """Bars of one size under a folder, one file per symbol.

    Args:
        folder: Folder of the lake; created by the first append.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._description = folder / "lake.json"

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
        if not self._description.exists():
            raise CollectMoreData(f"{self._folder}: no bars yet; run steelyard collect")
        try:
            document: dict[str, str] = json.loads(self._description.read_text(encoding="utf-8"))
            pd.Timedelta(document["bar_size"])
            return document
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RestoreService(
                f"{self._description}: cannot be read ({error}); restore it"
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
            RestoreService: If the lake cannot be written or another process holds it.
        """
        try:
            private_folder(self._folder)
            with FileLock(self._folder / ".lock", timeout=LOCK_SECONDS):
                return self._append(frame, bar_size, known_after or bar_size)
        except Timeout as error:
            raise RestoreService(
                f"{self._folder}: another process holds the lake; stop it or wait"
            ) from error
        except OSError as error:
            raise RestoreService(
                f"{self._folder}: the lake cannot be written ({error}); "
                "make it a writable folder with space left"
            ) from error

    def _append(
        self, frame: pd.DataFrame, bar_size: pd.Timedelta, known_after: pd.Timedelta
    ) -> Appended:
        if self._description.exists() and self.bar_size != bar_size:
            raise FixData(
                f"{self._folder} holds bars of {self.bar_size}, these are of {bar_size}; "
                "pass another --home"
            )
        by_symbol = {
            str(symbol): rows.sort_values("timestamp", ignore_index=True)
            for symbol, rows in frame[list(COLUMNS)].groupby("symbol", sort=True)
        }
        for symbol in by_symbol:
            self._separate(symbol)
        scales = {symbol: self._scale(symbol, rows) for symbol, rows in by_symbol.items()}
        strange = [symbol for symbol, scale in scales.items() if scale.is_strange]
        counts, findings = [(0, 0, 0)], []
        for symbol, rows in by_symbol.items():
            if scales[symbol].is_restated:
                findings.append(self._rescale(symbol, rows, scales[symbol]))
            if symbol not in strange:
                counts.append(self._append_symbol(symbol, rows))
        description = json.dumps({"bar_size": str(bar_size), "known_after": str(known_after)})
        if not self._description.exists() or self.known_after != known_after:
            write_whole(self._description, description)
        if strange:
            folders = ", ".join(str(self._file(symbol).parent) for symbol in strange)
            raise FixData(
                f"{', '.join(strange)}: the stored bars and these differ by no one factor, are "
                f"they of another instrument? correct the source, or move {folders} away and "
                "collect again"
            )
        added, already_there, conflicting = (sum(column) for column in zip(*counts, strict=True))
        return Appended(added, already_there, conflicting, tuple(findings))

    def _scale(self, symbol: str, rows: pd.DataFrame) -> "_Scale":
        """Return how the source's closes differ from the stored ones.

        A source that adjusts its history for a dividend or a split multiplies all closes before it.
        """
        stored = self._stored(symbol, rows, rows["timestamp"].min())
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
        stored, file = self._stored(symbol, rows), self._file(symbol)
        kept = file.with_name(f"bars-before-{rows['timestamp'].max():%Y%m%dT%H%M%SZ}.parquet")
        self._write(kept, stored)
        older = stored[~stored["timestamp"].isin(rows["timestamp"])].copy()
        older[list(PRICES)] *= scale.factor
        if differs(scale.factor, SPLIT_RATIO):
            older["volume"] /= scale.factor
        read_again = rows[rows["timestamp"].isin(stored["timestamp"])][list(COLUMNS)]
        self._write(file, pd.concat([older, read_again]).sort_values("timestamp"))
        self._drop_outdated(symbol)
        return (
            f"{symbol}: the source has put its history on another scale (prices × "
            f"{scale.factor:.4g}), a dividend or split since? {len(read_again)} bars were read "
            f"again and {len(older)} older ones multiplied, open trades follow at the next trade; "
            f"recorded decisions and outcomes stay, the bars they were made on are in {kept.name}"
        )

    def _append_symbol(self, symbol: str, rows: pd.DataFrame) -> tuple[int, int, int]:
        self._drop_outdated(symbol)
        stored = self._stored(symbol, rows, rows["timestamp"].min())
        if stored.empty:
            self._add(symbol, rows)
            return len(rows), 0, 0
        places, is_stored = _places(stored, rows)
        is_equal = np.ones(len(rows), dtype=bool)
        for name in (*PRICES, "volume"):
            given, kept = (table[name].to_numpy(dtype=np.float64) for table in (rows, stored))
            kept = kept[places]
            is_equal &= (given == kept) | (np.isnan(given) & np.isnan(kept))
        new = rows[~is_stored]
        if len(new):
            self._add(symbol, new)
        return len(new), int((is_stored & is_equal).sum()), int((is_stored & ~is_equal).sum())

    def _add(self, symbol: str, new: pd.DataFrame) -> None:
        """Write new bars to the files they belong to, the latest ones to a new file if it is time.

        Args:
            symbol: Symbol of the bars.
            new: Bars that are not stored, by stamp.
        """
        files = self._files(symbol) or [self._file(symbol)]
        begins = [_begin(file) for file in files[1:]]
        places = np.searchsorted(pd.DatetimeIndex(begins, tz="UTC"), new["timestamp"], side="right")
        for number in np.unique(places):
            rows, file = new[places == number], files[number]
            stored = self._read_file(file) if file.exists() else rows.iloc[:0]
            later = (rows["timestamp"] > stored["timestamp"].max()).to_numpy()
            if file == files[-1] and len(stored) >= PART_BARS and later.any():
                first = rows["timestamp"][later].iloc[0]
                self._write(file.with_name(f"{PART}{first:{STAMP}}.parquet"), rows[later])
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
        folders = self._folders()
        if symbols is not None:
            symbols = set(symbols)
            requested = {self._file(symbol).parent for symbol in symbols}
            requested |= {self._shared_file(symbol).parent for symbol in symbols}
            folders = [folder for folder in folders if folder in requested]
        if not folders:
            raise CollectMoreData(
                f"{self._folder}: no bars of these symbols; run steelyard collect"
            )
        frame = _frame([_table(file) for folder in folders for file in _counting(folder)])
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
        stamps = {
            unquote(folder.name.removeprefix("symbol=")): _newest(_counting(folder)[-1])
            for folder in self._folders()
        }
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
        self, symbol: str, template: pd.DataFrame, since: pd.Timestamp | None = None
    ) -> pd.DataFrame:
        """Return the stored bars of a symbol, or an empty frame typed like ``template``.

        Args:
            symbol: Symbol to read.
            template: Any bars.
            since: Files whose bars are all older are left out; None to read all.
        """
        files = self._files(symbol)
        begins = [_begin(file) for file in files[1:]]
        first = 0 if since is None else sum(begin <= since for begin in begins)
        if files:
            return _frame([_table(file) for file in files[first:]])
        return template.loc[template.index[:0], list(COLUMNS)]

    def _files(self, symbol: str) -> list[Path]:
        """Return the files of a symbol that count, in order of their bars."""
        file = self._file(symbol)
        return _counting(file.parent) if file.exists() else []

    def _drop_outdated(self, symbol: str) -> None:
        """Delete files whose bars ``bars.parquet`` has, as a history read again leaves them."""
        files = self._files(symbol)
        for file in self._file(symbol).parent.glob(f"{PART}*.parquet"):
            if file not in files:
                file.unlink()

    def _folders(self) -> list[Path]:
        """Return the folders that hold a symbol, in order of their names."""
        return sorted(file.parent for file in self._folder.glob("symbol=*/bars.parquet"))

    def _file(self, symbol: str) -> Path:
        """Return the file of one symbol; the encoding of its name is reversible."""
        return self._folder / f"symbol={quote(symbol, safe='')}" / "bars.parquet"

    def _shared_file(self, symbol: str) -> Path:
        """Return a symbol's file before version 0.2, when A/B and A_B had the same one."""
        return self._folder / f"symbol={symbol.replace('/', '_')}" / "bars.parquet"

    def _separate(self, symbol: str) -> None:
        """Split a file that symbols shared before version 0.2 into one file per symbol."""
        shared = self._shared_file(symbol)
        if ("/" not in symbol and "_" not in symbol) or not shared.exists():
            return
        frame = self._read_file(shared)
        owners = {str(name): rows for name, rows in frame.groupby("symbol")}
        if all(self._file(name) == shared for name in owners):
            return
        for name, rows in owners.items():
            file = self._file(name)
            if file != shared and not file.exists():
                self._write(file, rows)
        staying = [rows for name, rows in owners.items() if self._file(name) == shared]
        if staying:
            self._write(shared, staying[0])
        else:
            shared.unlink()

    @staticmethod
    def _write(file: Path, bars: pd.DataFrame) -> None:
        buffer = pa.BufferOutputStream()
        table = pa.Table.from_pandas(bars, preserve_index=False, nthreads=1)
        pq.write_table(table, buffer, use_dictionary=["symbol"])  # prices hardly ever repeat
        private_folder(file.parent)
        write_whole(file, bytes(buffer.getvalue()))

    @staticmethod
    def _read_file(file: Path) -> pd.DataFrame:
        return _frame([_table(file)])


def _table(file: Path) -> pa.Table:
    try:
        with pq.ParquetFile(file) as opened:
            table = opened.read(columns=list(COLUMNS), use_threads=False).select(list(COLUMNS))
        if table.schema.field("timestamp").type.tz is None:
            raise ValueError("stamps without a zone")
        return table.cast(SCHEMA)
    except (*UNREADABLE, AttributeError) as error:  # a stamp of another type has no zone
        raise _unreadable(file, error) from error


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


def _begin(part: Path) -> pd.Timestamp:
    """Return the stamp of a part's first bar, from its name."""
    text = part.stem.removeprefix(PART)
    return pd.Timestamp(datetime.strptime(text, STAMP).replace(tzinfo=UTC))


def _counting(folder: Path) -> list[Path]:
    """Return the files of a symbol's folder that count, in order of their bars."""
    files = [folder / "bars.parquet", *sorted(folder.glob(f"{PART}*.parquet"))]
    if len(files) > 1:
        newest = _newest(files[0])
        files[1:] = [file for file in files[1:] if newest is None or _begin(file) > newest]
    return files


def _newest(file: Path) -> pd.Timestamp | None:
    """Return the newest stamp in a file, from the statistics in its footer; None without bars."""
    try:
        footer = pq.read_metadata(file)
        column = footer.schema.names.index("timestamp")
        groups = map(footer.row_group, range(footer.num_row_groups))
        newest = [pd.Timestamp(group.column(column).statistics.max) for group in groups]
        return max(newest, default=None)
    except (*UNREADABLE, AttributeError) as error:  # a file of another program has no statistics
        raise _unreadable(file, error) from error


def _unreadable(file: Path, error: Exception) -> RestoreService:
    reason = " ".join(str(error).split())[:160]
    return RestoreService(
        f"{file}: cannot be read ({reason}); restore it, or delete it and collect again"
    )


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
