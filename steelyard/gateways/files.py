"""Files written whole: a reader sees the old content or the new one, never a part."""

import os
from pathlib import Path


def write_whole(file: Path, content: str | bytes) -> None:
    """Replace a file's content in one step, on disk (fsync) before the old content is gone.

    The content is written to ``<name>.new`` in the same folder first. Two writers of one file need
    a lock of their own.

    Args:
        file: The file, present or not; its folder must exist.
        content: The whole content; text is stored as UTF-8.

    Raises:
        OSError: If it cannot be written; ``file`` is as it was.
    """
    unfinished = file.with_name(f"{file.name}.new")
    try:
        with unfinished.open("wb") as stream:
            stream.write(content.encode() if isinstance(content, str) else content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(unfinished, file)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise
