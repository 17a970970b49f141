"""The spool: lines on the local disk between the trading side and the ledger.

A line is on disk (fsync) when ``append`` returns. It is removed once the reader reports that it is
stored elsewhere; after a crash in between it is read again, so a reader must accept a line twice.
"""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
from filelock import FileLock, Timeout

from steelyard.errors import RestoreService
from steelyard.gateways.files import private, private_file, private_folder, set_aside, write_whole

LARGE = 4 << 20
"""Bytes from which a drained file is emptied."""


class Spool:
    """An append-only file of JSON lines and the position it is drained to, for one process.

    A thread may append while another reads and drains.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / "lines.jsonl"
        self._mark = folder / "drained"
        self._unread = folder / "damaged.jsonl"
        self._lock = FileLock(folder / ".lock", timeout=0)
        self._mutex = threading.Lock()
        self._taken = False
        self._drained = 0

    def open(self) -> None:
        """Take the spool for this process; an unfinished last line moves to ``damaged.jsonl``.

        A folder, or a file that cannot be read, in the place of one of its files is set aside. If
        the disk cannot be written now, the spool is taken later, by the first call that succeeds.

        Raises:
            RestoreService: If another process uses it.
        """
        with self._mutex, suppress(OSError):
            self._take()

    def _take(self) -> None:
        if self._taken:
            return
        try:
            self._take_files()
        except Timeout as error:
            raise RestoreService(
                f"{self._folder}: another process records here; stop it or use another home"
            ) from error
        except (IsADirectoryError, NotADirectoryError, FileExistsError, PermissionError):
            self._set_damaged_aside()
            self._take_files()
        self._taken = True

    def _take_files(self) -> None:
        private_folder(self._folder)
        self._lock.acquire()
        private_file(self._file)
        content = self._file.read_bytes()
        if content and not content.endswith(b"\n"):
            whole = content.rfind(b"\n") + 1
            self._keep_unread(content[whole:] + b"\n")
            self._cut_to(whole)
        self._drained = self._read_mark()

    def _set_damaged_aside(self) -> None:
        """Rename what is no file of ours, so that recording can go on; it is never deleted."""
        whole = self._folder.is_dir() and os.access(self._folder, os.R_OK | os.W_OK | os.X_OK)
        if self._folder.exists() and not whole:
            set_aside(self._folder)
        for file in (self._file, self._mark, self._folder / ".lock", self._unread):
            if file.exists() and not (file.is_file() and os.access(file, os.R_OK | os.W_OK)):
                set_aside(file)

    def close(self) -> None:
        """Release the spool for other processes."""
        self._lock.release(force=True)
        self._taken = False

    def append(self, lines: Sequence[Any]) -> None:
        """Write objects as lines and return once they are on disk, all of them or none.

        Raises:
            RestoreService: If they cannot be written.
        """
        content = b"".join(msgspec.json.encode(line, enc_hook=_plain) + b"\n" for line in lines)
        with self._on_disk():
            size = self._file.stat().st_size if self._file.exists() else 0
            try:
                with open(self._file, "ab", opener=private) as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
            except OSError:
                self._cut_to(size)
                raise

    @contextmanager
    def _on_disk(self) -> Iterator[None]:
        """Let one thread at a time use the files; failures of the disk are ``RestoreService``."""
        with self._mutex:
            try:
                self._take()
                yield
            except OSError as error:
                raise RestoreService(f"{self._file}: {error}; free space on this disk") from error

    def waiting(self, limit: int) -> tuple[list[bytes], int]:
        """Return up to ``limit`` undrained lines, oldest first, and the position after them."""
        lines: list[bytes] = []
        with self._on_disk():
            size = self._file.stat().st_size if self._file.exists() else 0
            position = self._drained = min(self._drained, size)  # somebody may have emptied it
            if size == position:
                return [], position
            with self._file.open("rb") as file:
                file.seek(position)
                for line in file:
                    if not line.endswith(b"\n") or len(lines) == limit:
                        break
                    lines.append(line)
                    position += len(line)
        return lines, position

    def left(self) -> int:
        """Return how many lines are not drained, without taking or changing the spool."""
        if not self._file.exists():
            return 0
        with self._file.open("rb") as file:
            file.seek(self._read_mark())
            return sum(line.endswith(b"\n") for line in file)

    def drained(self, position: int) -> None:
        """Record that everything up to ``position`` is stored elsewhere."""
        self._drained = position
        with self._on_disk():
            if position >= LARGE and position == self._file.stat().st_size:
                self._drained = 0
                # The mark first: a line read twice is no harm, one never read is lost.
                write_whole(self._mark, str(self._drained))
                os.truncate(self._file, 0)
                return
            write_whole(self._mark, str(self._drained))

    def set_aside(self, line: bytes) -> None:
        """Keep an unreadable line in ``damaged.jsonl`` for the operator."""
        with self._on_disk():
            self._keep_unread(line)

    def _keep_unread(self, line: bytes) -> None:
        with open(self._unread, "ab", opener=private) as file:
            file.write(line)

    def _read_mark(self) -> int:
        try:
            position = int(self._mark.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return 0
        return position if position <= self._file.stat().st_size else 0

    def _cut_to(self, size: int) -> None:
        if self._file.exists() and self._file.stat().st_size > size:
            os.truncate(self._file, size)


def _plain(value: Any) -> Any:
    """Return a value that JSON knows for one it does not: a number of NumPy, else its text."""
    return value.item() if hasattr(value, "item") else str(value)
