"""Files and folders that only their owner can read, and files written whole.

A reader sees the old content or the new one, never a part.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedWriter
from pathlib import Path

from steelyard.errors import RestoreService

PRIVATE_FILE, PRIVATE_FOLDER = 0o600, 0o700
"""Modes of what a home holds, whatever the umask."""
OTHERS = 0o077
"""Bits of a mode that let somebody else in."""


def write_whole(file: Path, content: str | bytes) -> None:
    """Replace a file's content in one step, on disk (fsync) before the old content is gone.

    The content is written to ``<name>.new`` in the same folder first, by one writer after the
    other. Only the owner can read the file.

    Args:
        file: The file, present or not; its folder must exist.
        content: The whole content; text is stored as UTF-8.

    Raises:
        OSError: If it cannot be written; ``file`` is as it was.
    """
    unfinished = file.with_name(f"{file.name}.new")
    with _locked(unfinished) as stream:
        try:
            stream.truncate()
            stream.write(content.encode() if isinstance(content, str) else content)
            stream.flush()
            os.fsync(stream.fileno())
            os.replace(unfinished, file)
        except OSError:
            unfinished.unlink(missing_ok=True)
            raise


@contextmanager
def _locked(file: Path) -> Iterator[BufferedWriter]:
    """Open a file for writing that no other writer has open; whoever waits gets one of its own."""
    while True:
        stream = os.fdopen(private(str(file), os.O_WRONLY | os.O_CREAT), "wb")
        with stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            if _is_at(file, stream):
                yield stream
                return


def _is_at(file: Path, stream: BufferedWriter) -> bool:
    try:
        return os.path.samestat(file.stat(), os.fstat(stream.fileno()))
    except FileNotFoundError:
        return False


def write_page(file: Path, content: str | bytes) -> None:
    """Write a file that people read, with its folder.

    Args:
        file: The file, present or not.
        content: The whole content; text is stored as UTF-8.

    Raises:
        RestoreService: If it cannot be written.
    """
    try:
        private_folder(file.parent)
        write_whole(file, content)
    except OSError as error:
        raise RestoreService(
            f"{file}: cannot be written ({error}); free space or correct the permissions"
        ) from error


def private(path: str, flags: int) -> int:
    """Open a file, made for its owner only if it is new; an ``opener`` of ``open``."""
    return os.open(path, flags, PRIVATE_FILE)


def private_folder(folder: Path) -> Path:
    """Make a folder and its missing parents for their owner only, and return it.

    Folders that exist keep their modes.
    """
    if not folder.is_dir():
        private_folder(folder.parent)
        folder.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
    return folder


def private_file(file: Path) -> Path:
    """Make an empty file for its owner only unless it exists, with its folders, and return it.

    What SQLite keeps beside a database (``-wal``, ``-shm``) takes the modes of the database.
    """
    private_folder(file.parent)
    if not file.exists():
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT, PRIVATE_FILE))
    return file


def keep_private() -> None:
    """Let this process and its children, libraries included, make files for their owner only."""
    os.umask(OTHERS)


def open_to_others(path: Path) -> bool:
    """Whether somebody other than the owner may read, write or enter ``path``."""
    return bool(path.stat().st_mode & OTHERS)


def set_aside(path: Path) -> Path | None:
    """Rename a damaged file or folder, so that a whole one can take its place.

    Args:
        path: The damaged file or folder.

    Returns:
        Its new path, ``<name>.damaged`` or the first free ``<name>.damaged-2`` and so on; None if
        there is nothing to rename, or it cannot be.
    """
    aside, number = path.with_name(f"{path.name}.damaged"), 2
    while os.path.lexists(aside):
        aside, number = path.with_name(f"{path.name}.damaged-{number}"), number + 1
    try:
        path.rename(aside)
    except OSError:
        return None
    return aside
