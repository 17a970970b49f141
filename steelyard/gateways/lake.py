"""The lake: validated bars, one Parquet file per symbol.

Appending is safe to repeat; a stored bar is never overwritten.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pandas as pd
import pyarrow as pa
from filelock import FileLock, Timeout

from steelyard.errors import CollectMoreData, FixData, RestoreService
from steelyard.gateways.files import private_folder, write_whole
from steelyard.market.bars import COLUMNS

LOCK_SECONDS = 60
OVERLAP_BARS = 5
"""Latest bars present in both the lake and the new rows whose closes are compared."""
SPLIT_RATIO = 1.2
"""Ratio of stored to new closes, or inverse, that means a split; dividends move prices far less."""
DIVIDEND_RATIO = 1.0005
"""Ratio of stored to new closes, or inverse, from which the source adjusted its history anew."""


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
        """Time from a bar's open to its close.

        Raises:
            CollectMoreData: If nothing was collected yet.
            RestoreService: If ``lake.json`` cannot be read.
        """
        if not self._description.exists():
            raise CollectMoreData(f"{self._folder}: no bars yet; run steelyard collect")
        try:
            document = json.loads(self._description.read_text(encoding="utf-8"))
            return pd.Timedelta(document["bar_size"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RestoreService(
                f"{self._description}: cannot be read ({error}); restore it"
            ) from error

    def append(self, frame: pd.DataFrame, bar_size: pd.Timedelta) -> Appended:
        """Store the bars that are new, and return the counts.

        Args:
            frame: Bars of any symbols, columns ``COLUMNS``, times UTC; a missing volume is NaN.
            bar_size: Time from a bar's open to its close.

        Raises:
            FixData: If the lake holds bars of another size, or a symbol's stored bars are from
                before a split; the other symbols are stored all the same.
            RestoreService: If the lake cannot be written or another process holds it.
        """
        try:
            private_folder(self._folder)
            with FileLock(self._folder / ".lock", timeout=LOCK_SECONDS):
                return self._append(frame, bar_size)
        except Timeout as error:
            raise RestoreService(
                f"{self._folder}: another process holds the lake; stop it or wait"
            ) from error
        except OSError as error:
            raise RestoreService(
                f"{self._folder}: the lake cannot be written ({error}); "
                "make it a writable folder with space left"
            ) from error

    def _append(self, frame: pd.DataFrame, bar_size: pd.Timedelta) -> Appended:
        if self._description.exists() and self.bar_size != bar_size:
            raise FixData(
                f"{self._folder} holds bars of {self.bar_size}, these are of {bar_size}; "
                "pass another --home"
            )
        by_symbol = {str(symbol): rows for symbol, rows in frame.groupby("symbol", sort=True)}
        for symbol in by_symbol:
            self._separate(symbol)
        scales = {symbol: self._scale(symbol, rows) for symbol, rows in by_symbol.items()}
        rescaled = [symbol for symbol, scale in scales.items() if _beyond(scale, SPLIT_RATIO)]
        counts = [(0, 0, 0)] + [
            self._append_symbol(symbol, rows)
            for symbol, rows in by_symbol.items()
            if symbol not in rescaled
        ]
        if not self._description.exists():
            write_whole(self._description, json.dumps({"bar_size": str(bar_size)}))
        if rescaled:
            files = ", ".join(str(self._file(symbol)) for symbol in rescaled)
            raise FixData(
                f"{', '.join(rescaled)}: stored on another price scale, a split since? "
                f"delete {files}; collect again"
            )
        added, already_there, conflicting = (sum(column) for column in zip(*counts, strict=True))
        findings = tuple(
            f"{symbol}: the source adjusted its history anew (stored closes are {scale - 1:+.2%} "
            "against it), a dividend since? bars from here on continue at its scale, so the lake "
            "has a step the source does not have; a new home reads all bars on one scale"
            for symbol, scale in scales.items()
            if _beyond(scale, DIVIDEND_RATIO)
        )
        return Appended(added, already_there, conflicting, findings)

    def _scale(self, symbol: str, rows: pd.DataFrame) -> float:
        """Return the ratio of stored to new closes over the latest shared bars; NaN without any."""
        shared = rows.merge(self._stored(symbol, rows), on="timestamp", suffixes=("", "_stored"))
        shared = shared.sort_values("timestamp")
        return float((shared["close_stored"] / shared["close"]).tail(OVERLAP_BARS).median())

    def _append_symbol(self, symbol: str, rows: pd.DataFrame) -> tuple[int, int, int]:
        rows = rows[list(COLUMNS)].sort_values("timestamp", ignore_index=True)
        stored = self._stored(symbol, rows)
        merged = rows.merge(
            stored, on=["symbol", "timestamp"], how="left", suffixes=("", "_stored"), indicator=True
        )
        is_stored = (merged["_merge"] == "both").to_numpy()
        values = [name for name in COLUMNS if name not in ("symbol", "timestamp")]
        new_values = merged[values]
        old_values = merged[[f"{name}_stored" for name in values]].set_axis(values, axis=1)
        both_missing = new_values.isna() & old_values.isna()
        is_equal = ((new_values == old_values) | both_missing).all(axis=1).to_numpy()
        new = rows[~is_stored]
        if len(new):
            bars = pd.concat([stored, new]).sort_values("timestamp", ignore_index=True)
            self._write(self._file(symbol), bars)
        return len(new), int((is_stored & is_equal).sum()), int((is_stored & ~is_equal).sum())

    def read(
        self, until: pd.Timestamp | None = None, symbols: Iterable[str] | None = None
    ) -> pd.DataFrame:
        """Return stored bars, columns ``COLUMNS``, sorted by symbol and timestamp.

        Args:
            until: Time by which a bar must have closed, UTC; None for all bars.
            symbols: Symbols to read; None for all.

        Raises:
            CollectMoreData: If there are no bars of these symbols.
            RestoreService: If a file cannot be read.
        """
        bar_size = self.bar_size
        files = sorted(self._folder.glob("symbol=*/bars.parquet"))
        if symbols is not None:
            symbols = set(symbols)
            requested = {self._file(symbol) for symbol in symbols}
            requested |= {self._shared_file(symbol) for symbol in symbols}
            files = [file for file in files if file in requested]
        if not files:
            raise CollectMoreData(
                f"{self._folder}: no bars of these symbols; run steelyard collect"
            )
        frame = pd.concat([self._read_file(file) for file in files], ignore_index=True)
        if symbols is not None:
            frame = frame[frame["symbol"].isin(symbols)]
        if until is not None:
            frame = frame[(frame["timestamp"] + bar_size <= until).to_numpy()]
        return frame.sort_values(["symbol", "timestamp"], ignore_index=True)

    def _stored(self, symbol: str, template: pd.DataFrame) -> pd.DataFrame:
        """Return the stored bars of a symbol, or an empty frame typed like ``template``."""
        file = self._file(symbol)
        if file.exists():
            return self._read_file(file)
        return template.loc[template.index[:0], list(COLUMNS)]

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
        bars.to_parquet(buffer, index=False)
        private_folder(file.parent)
        write_whole(file, bytes(buffer.getvalue()))

    @staticmethod
    def _read_file(file: Path) -> pd.DataFrame:
        try:
            frame = pd.read_parquet(file, partitioning=None)[list(COLUMNS)]
            return frame.assign(timestamp=frame["timestamp"].astype("datetime64[ns, UTC]"))
        except (pa.ArrowException, OSError, ValueError, LookupError, TypeError) as error:
            reason = " ".join(str(error).split())[:160]
            raise RestoreService(
                f"{file}: cannot be read ({reason}); restore it, or delete it and collect again"
            ) from error


def _beyond(ratio: float, bound: float) -> bool:
    return ratio > bound or ratio < 1 / bound
