"""The lake: validated bars as one Parquet file per symbol. Appending is safe to repeat; nothing stored is overwritten."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
from filelock import FileLock, Timeout

from steelyard.errors import CollectMoreData, FixData, RestoreService
from steelyard.gateways.files import write_whole
from steelyard.market.bars import COLUMNS

LOCK_SECONDS = 60
SHARED = 5
SCALE = 1.2
"""Stored closes all this many times the same bars' new ones: a split since. Dividends move a price far less."""


@dataclass(frozen=True, slots=True)
class Appended:
    """How many bars were new, there already with the same values, or there with other values (which stay)."""

    added: int
    already_there: int
    conflicting: int


class Lake:
    """Bars of one size under ``folder``, one file per symbol."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._description = folder / "lake.json"

    @property
    def bar_size(self) -> pd.Timedelta:
        """Time from a bar's open to its close.

        Raises:
            CollectMoreData: If nothing was collected yet.
            RestoreService: If the lake's description cannot be read.
        """
        if not self._description.exists():
            raise CollectMoreData(f"{self._folder}: no bars yet; run steelyard collect")
        try:
            return pd.Timedelta(
                json.loads(self._description.read_text(encoding="utf-8"))["bar_size"]
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RestoreService(
                f"{self._description}: cannot be read ({error}); restore it"
            ) from error

    def append(self, frame: pd.DataFrame, bar_size: pd.Timedelta) -> Appended:
        """Store the bars of ``frame`` (columns ``COLUMNS``) that are not there yet.

        Raises:
            FixData: If the lake holds bars of another size, or a symbol's bars from before a split; the other symbols
                are stored all the same.
            RestoreService: If the lake cannot be written or another process holds it.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self._folder / ".lock", timeout=LOCK_SECONDS):
                return self._append(frame, bar_size)
        except Timeout as error:
            raise RestoreService(
                f"{self._folder}: another process holds the lake; stop it or wait"
            ) from error
        except OSError as error:
            raise RestoreService(
                f"{self._folder}: the lake cannot be written ({error}); make it a writable folder with space left"
            ) from error

    def _append(self, frame: pd.DataFrame, bar_size: pd.Timedelta) -> Appended:
        if self._description.exists() and self.bar_size != bar_size:
            raise FixData(
                f"{self._folder} holds bars of {self.bar_size}, these are of {bar_size}; pass another --home"
            )
        symbols = {str(name): rows for name, rows in frame.groupby("symbol", sort=True)}
        rescaled = [
            name
            for name, rows in symbols.items()
            if _on_another_scale(self._stored(name, rows), rows)
        ]
        counts = [
            self._append_symbol(name, rows)
            for name, rows in symbols.items()
            if name not in rescaled
        ]
        if not self._description.exists():
            write_whole(self._description, json.dumps({"bar_size": str(bar_size)}))
        if rescaled:
            files = ", ".join(str(self._file(name)) for name in rescaled)
            raise FixData(
                f"{', '.join(rescaled)}: stored on another price scale, a split since? delete {files}; collect again"
            )
        return (
            Appended(*(sum(column) for column in zip(*counts, strict=True)))
            if counts
            else Appended(0, 0, 0)
        )

    def _append_symbol(self, symbol: str, rows: pd.DataFrame) -> tuple[int, int, int]:
        rows = rows[list(COLUMNS)].sort_values("timestamp", ignore_index=True)
        stored = self._stored(symbol, rows)
        both = rows.merge(
            stored, on=["symbol", "timestamp"], how="left", suffixes=("", "_stored"), indicator=True
        )
        there = (both["_merge"] == "both").to_numpy()
        values = [name for name in COLUMNS if name not in ("symbol", "timestamp")]
        theirs = both[[f"{name}_stored" for name in values]].set_axis(values, axis=1)
        same = (
            ((both[values] == theirs) | (both[values].isna() & theirs.isna()))
            .all(axis=1)
            .to_numpy()
        )
        new = rows[~there]
        if len(new):
            merged = pd.concat([stored, new]).sort_values("timestamp", ignore_index=True)
            file = self._file(symbol)
            file.parent.mkdir(parents=True, exist_ok=True)
            write_whole(file, _parquet(merged))
        return len(new), int((there & same).sum()), int((there & ~same).sum())

    def read(
        self, until: pd.Timestamp | None = None, symbols: Iterable[str] | None = None
    ) -> pd.DataFrame:
        """Return the bars closed by ``until`` (None: all), sorted by symbol and timestamp.

        Raises:
            CollectMoreData: If nothing was collected yet.
            RestoreService: If a file cannot be read.
        """
        bar_size = self.bar_size
        files = sorted(self._folder.glob("symbol=*/bars.parquet"))
        if symbols is not None:
            wanted = {self._file(symbol) for symbol in symbols}
            files = [file for file in files if file in wanted]
        if not files:
            raise CollectMoreData(
                f"{self._folder}: no bars of these symbols; run steelyard collect"
            )
        frame = pd.concat([self._read_file(file) for file in files], ignore_index=True)
        if until is not None:
            frame = frame[(frame["timestamp"] + bar_size <= until).to_numpy()]
        return frame.sort_values(["symbol", "timestamp"], ignore_index=True)

    def _stored(self, symbol: str, like: pd.DataFrame) -> pd.DataFrame:
        """Return the stored bars of a symbol; where there are none, an empty frame like the one given."""
        file = self._file(symbol)
        return self._read_file(file) if file.exists() else like.loc[like.index[:0], list(COLUMNS)]

    def _file(self, symbol: str) -> Path:
        return self._folder / f"symbol={symbol.replace('/', '_')}" / "bars.parquet"

    @staticmethod
    def _read_file(file: Path) -> pd.DataFrame:
        try:
            frame = pd.read_parquet(file, partitioning=None)
        except (pa.ArrowInvalid, OSError) as error:
            raise RestoreService(
                f"{file}: cannot be read ({error}); restore it, or delete it and collect again"
            ) from error
        frame["timestamp"] = frame["timestamp"].astype("datetime64[ns, UTC]")
        return frame


def _on_another_scale(stored: pd.DataFrame, rows: pd.DataFrame) -> bool:
    """Whether the last bars both have differ by more than ``SCALE``; bars after them would seem to jump."""
    both = rows.merge(stored, on="timestamp", suffixes=("", "_stored")).sort_values("timestamp")
    ratio = (both["close_stored"] / both["close"]).tail(SHARED).median()
    return bool(ratio > SCALE or ratio < 1 / SCALE)


def _parquet(frame: pd.DataFrame) -> bytes:
    buffer = pa.BufferOutputStream()
    frame.to_parquet(buffer, index=False)
    return bytes(buffer.getvalue())
