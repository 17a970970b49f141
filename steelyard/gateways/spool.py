"""The spool: lines on the local disk between the trading side and the ledger, written before anything else knows of them.

A line is on disk (fsync) when ``append`` returns. It is taken off once the reader says that it is stored elsewhere; who dies
in between finds it again, so a reader must not mind a line twice.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from filelock import FileLock, Timeout

from steelyard.errors import RestoreService
from steelyard.gateways.files import write_whole

LARGE = 4 << 20
"""Bytes after which a drained file starts anew."""


class Spool:
    """One append-only file of JSON lines in ``folder`` and the place up to which it was drained; one process at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / "lines.jsonl"
        self._mark = folder / "drained"
        self._alone = FileLock(folder / ".lock", timeout=0)
        self._drained = 0

    def open(self) -> None:
        """Take the spool for this process, and cut off a line that was not finished.

        Raises:
            RestoreService: If another process has it, or the folder cannot be written.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._alone.acquire()
            self._file.touch()
            self._cut_unfinished()
            self._drained = self._read_mark()
        except Timeout as error:
            raise RestoreService(
                f"{self._folder}: another process records here; stop it or use a home of its own"
            ) from error
        except OSError as error:
            raise RestoreService(
                f"{self._folder}: the spool cannot be written ({error}); free space or correct rights"
            ) from error

    def close(self) -> None:
        """Leave the spool to others."""
        self._alone.release()

    def append(self, lines: Sequence[Any]) -> None:
        """Write objects as lines, and return once they are on disk; all of them or none.

        Raises:
            RestoreService: If they cannot be written.
        """
        content = b"".join(msgspec.json.encode(line) + b"\n" for line in lines)
        size = self._file.stat().st_size if self._file.exists() else 0
        try:
            with self._file.open("ab") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            self._cut_to(size)
            raise RestoreService(f"{self._file}: {error}; free space on this disk") from error

    def waiting(self, most: int) -> tuple[list[bytes], int]:
        """Return up to ``most`` lines that were not drained yet, oldest first, and the place after them."""
        if not self._file.exists() or self._file.stat().st_size <= self._drained:
            return [], self._drained
        lines: list[bytes] = []
        place = self._drained
        with self._file.open("rb") as file:
            file.seek(place)
            for line in file:
                if not line.endswith(b"\n") or len(lines) == most:
                    break
                lines.append(line)
                place += len(line)
        return lines, place

    def left(self) -> int:
        """Return how many lines wait to be drained, as seen from outside: the spool is neither taken nor changed."""
        if not self._file.exists():
            return 0
        with self._file.open("rb") as file:
            file.seek(self._read_mark())
            return sum(line.endswith(b"\n") for line in file)

    def drained(self, place: int) -> None:
        """Note that everything up to ``place`` is stored elsewhere."""
        self._drained = place
        if place >= LARGE and place == self._file.stat().st_size:
            self._drained = 0
            write_whole(
                self._mark, str(self._drained)
            )  # first: what is drained twice is no harm, what is not drained is lost
            os.truncate(self._file, 0)
            return
        write_whole(self._mark, str(self._drained))

    def set_aside(self, line: bytes) -> None:
        """Keep a line that nobody can read where an operator finds it."""
        with (self._folder / "damaged.jsonl").open("ab") as file:
            file.write(line)

    def _read_mark(self) -> int:
        try:
            place = int(self._mark.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return 0
        return place if place <= self._file.stat().st_size else 0

    def _cut_unfinished(self) -> None:
        content = self._file.read_bytes()
        if content and not content.endswith(b"\n"):
            self._cut_to(content.rfind(b"\n") + 1)

    def _cut_to(self, size: int) -> None:
        if self._file.exists() and self._file.stat().st_size > size:
            os.truncate(self._file, size)
