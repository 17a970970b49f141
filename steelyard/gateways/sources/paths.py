"""Files of a source: a file, a folder or a zip archive of them, unpacked within bounds."""

import gzip
import re
import zipfile
import zlib
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import IO, cast

from steelyard.errors import FixData
from steelyard.gateways.arrow import ARROW_ERRORS
from steelyard.gateways.sources.settings import SourceSettings

MAIN_KINDS = (".csv", ".csv.gz", ".parquet")
OTHER_KINDS = (".txt", ".json", ".feather", ".zip", ".txt.gz", ".json.gz", ".csv.zst", ".txt.zst")
"""Kinds that a folder is searched for if it has none of ``MAIN_KINDS``: beside bars, they are often
notes, descriptions and archives of the same bars."""
KINDS = (*MAIN_KINDS, *OTHER_KINDS)
HIDDEN = (".", "~$", "__MACOSX")
"""Begins of the names of files and folders that tools keep for themselves."""
LARGEST, MOST_SHRUNK = 2 * 2**30, 100
"""Bytes when unpacked, and times the packed size: what exceeds both is taken for a bomb."""
MOST_MEMBERS = 10_000
_CHUNK = 16 * 2**20
UNREADABLE: tuple[type[Exception], ...] = (
    *ARROW_ERRORS,
    OSError,
    EOFError,
    zlib.error,
    zipfile.BadZipFile,
    RuntimeError,
)
"""What libraries raise for files that are damaged, encrypted or of another kind."""


@dataclass(frozen=True, slots=True)
class BarFile:
    """A file of bars on disk, or a member of a zip archive."""

    path: Path
    member: str = ""

    def __str__(self) -> str:
        """Return the path, with the member after a slash; what is not printable as ``?``."""
        text = f"{self.path}/{self.member}" if self.member else str(self.path)
        return "".join(sign if sign.isprintable() else "?" for sign in text)

    @property
    def kind(self) -> str:
        """The suffix among ``KINDS``, in lower case; empty if it has none of them."""
        return kind_of(self.member or self.path.name)

    @property
    def stem(self) -> str:
        """The name without folders and suffix."""
        name = PurePosixPath(self.member).name if self.member else self.path.name
        return name[: -len(self.kind)] if self.kind else name

    def content(self) -> bytes:
        """Return the unpacked content.

        Raises:
            FixData: If it unpacks like a bomb.
        """
        chunks, size, packed = [], 0, self.path.stat().st_size
        with ExitStack() as stack:
            stream = self._open(stack)
            while chunk := stream.read(_CHUNK):
                chunks.append(chunk)
                size += len(chunk)
                if _is_bomb(size, packed):
                    raise FixData(
                        f"{self}: more than {size / 2**30:.1f} GiB when unpacked, from "
                        f"{packed / 2**20:.1f} MiB; unpack it yourself if it is what it says"
                    )
        return b"".join(chunks)

    def _open(self, stack: ExitStack) -> IO[bytes]:
        if self.member:
            archive = stack.enter_context(zipfile.ZipFile(self.path))
            stream: IO[bytes] = stack.enter_context(archive.open(self.member))
        else:
            stream = stack.enter_context(self.path.open("rb"))
        if self.kind.endswith(".gz"):
            return cast(IO[bytes], stack.enter_context(gzip.open(stream)))
        if self.kind.endswith(".zst"):
            from pyarrow import CompressedInputStream

            return cast(IO[bytes], stack.enter_context(CompressedInputStream(stream, "zstd")))
        return stream


def kind_of(name: str) -> str:
    """Return the suffix of a file's name among ``KINDS``, in lower case; empty if it has none."""
    return next((kind for kind in KINDS if name.lower().endswith(kind)), "")


def files_of(settings: SourceSettings) -> tuple[list[BarFile], list[str]]:
    """Return the files of a source in the order of their paths, and findings about them.

    Raises:
        FixData: If there is none, or an archive cannot be read.
    """
    path = Path(settings.path).expanduser()
    if not path.exists():
        raise FixData(
            f"{path}: no such file or folder; correct --bars, or 'path' in conf/source.yaml"
        )
    paths = [path]
    findings: list[str] = []
    if path.is_dir():
        inside = {str(file.relative_to(path)): file for file in path.rglob("*") if file.is_file()}
        names, findings = _chosen(list(inside), settings.ignore, str(path))
        paths = sorted(inside[name] for name in names)
    files: list[BarFile] = []
    for file in paths:
        if kind_of(file.name) != ".zip":
            files.append(BarFile(file))
            continue
        members, left_out = _chosen(_members(file), settings.ignore, str(file))
        files += [BarFile(file, member) for member in sorted(members)]
        findings += left_out
    return files, findings


def _chosen(names: Sequence[str], ignore: Sequence[str], where: str) -> tuple[list[str], list[str]]:
    """Return the names of files of bars, and a finding about what is left out beside them.

    Raises:
        FixData: If there is none.
    """
    wanted = [
        name
        for name in names
        if kind_of(name)
        and not any(part.startswith(HIDDEN) for part in name.split("/"))
        and not any(fnmatch(PurePosixPath(name).name, pattern) for pattern in ignore)
    ]
    if not wanted:
        raise FixData(
            f"{where}: no {', '.join(KINDS)} file in it; correct --bars, or 'path' in "
            "conf/source.yaml"
        )
    main = [name for name in wanted if kind_of(name) in MAIN_KINDS]
    others = [name for name in wanted if kind_of(name) not in MAIN_KINDS]
    if not main or not others:
        return wanted, []
    return main, [
        f"{where}: only {', '.join(MAIN_KINDS)} files are read where there are some, "
        f"{len(others)} of other kinds are left out, the first {min(others)}; move bars to a "
        "folder of their own, name other files under 'ignore' in conf/source.yaml"
    ]


def _members(path: Path) -> list[str]:
    """Return the files in an archive that is no bomb."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
    except UNREADABLE as error:
        raise FixData(f"{path}: cannot be read ({error}); download it again") from error
    size = sum(member.file_size for member in members)
    packed = path.stat().st_size
    if _is_bomb(size, packed) or len(members) > MOST_MEMBERS:
        raise FixData(
            f"{path}: {len(members)} files of {size / 2**30:.1f} GiB when unpacked, from "
            f"{packed / 2**20:.1f} MiB; unpack what you need"
        )
    return [member.filename for member in members]


def _is_bomb(size: int, packed: int) -> bool:
    return size > LARGEST and size > MOST_SHRUNK * packed


def symbol_of(file: BarFile, pattern: str) -> str:
    """Return the symbol of the bars of a file without a symbol column.

    Args:
        file: The file.
        pattern: Regular expression with one group, searched in the name without its suffix, or in
            the whole path if it has a slash; empty: the name.

    Raises:
        FixData: If the pattern finds nothing.
    """
    text = str(file) if "/" in pattern else file.stem
    if not pattern:
        return text
    match = re.search(pattern, text)
    if match is None or not match[1]:
        raise FixData(
            f"{file}: symbol_pattern {pattern} finds no symbol in {text}; correct "
            "conf/source.yaml, or rename the file to its symbol"
        )
    return str(match[1])
