"""Where the files of a lake lie: in a folder, or in a bucket of an S3-compatible object store.

Files have names relative to the lake, like ``symbol=A/bars.parquet``. A reader sees a file as it
was or as it will be, never a part of it.
"""

import re
import socket
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol
from urllib.parse import parse_qsl

import pyarrow as pa
from filelock import FileLock
from pyarrow import fs

from steelyard.errors import FixConfiguration, RestoreService
from steelyard.gateways.files import private_folder, write_whole

LOCK_SECONDS = 60
READERS = 16
"""Requests to an object store at the same time."""
CONNECT_SECONDS, SILENT_SECONDS, ATTEMPTS = 5, 20, 3
"""Until a connection stands, until an answer goes on, and attempts at one request."""
COLLECTOR = "collector"
"""Name of the file that says which home collects, in the lake; and in the home (``lake-…``)."""
OPTIONS = {
    "endpoint_override": re.compile(r"[\w.-]+(:\d+)?"),
    "scheme": re.compile(r"https?"),
    "region": re.compile(r"[\w-]+"),
}
"""What may follow the address of a bucket."""
_BUCKET = re.compile(r"s3://([\w.-]+)/[\w.=/-]*\w")


class LakeStore(Protocol):
    """Files of a lake; what is not there is a ``FileNotFoundError``."""

    @property
    def place(self) -> Path | str:
        """Folder or address that the names follow."""

    @property
    def readers(self) -> int:
        """Number of files that are best read at the same time."""

    def names(self, folder: str) -> list[str]:
        """Return the names of the Parquet files in a symbol's folder; of "" in all of them."""

    def exists(self, name: str) -> bool:
        """Return whether there is a file of this name."""

    def read(self, name: str) -> pa.Buffer:
        """Return the content of a file."""

    def read_end(self, name: str, count: int) -> bytes:
        """Return the last bytes of a file; all of a shorter one.

        Args:
            name: Name of the file.
            count: Number of bytes.
        """

    def write(self, name: str, content: bytes) -> None:
        """Write a file whole, in place of one that is there.

        Args:
            name: Name of the file.
            content: All of its bytes.
        """

    def delete(self, name: str) -> None:
        """Delete a file."""

    def exclusive(self) -> AbstractContextManager[None]:
        """Let nobody else write while inside."""


@dataclass(frozen=True, slots=True)
class FolderStore:
    """Files in a folder.

    Attributes:
        place: The folder; made when it is written to.
        readers: One, as the disk does not keep anybody waiting.
    """

    place: Path
    readers: int = 1

    def names(self, folder: str) -> list[str]:
        """Return the names of the Parquet files in a symbol's folder; of "" in all of them."""
        files = self.place.glob(f"{folder or 'symbol=*'}/*.parquet")
        return [f"{file.parent.name}/{file.name}" for file in files]

    def exists(self, name: str) -> bool:
        """Return whether there is a file of this name."""
        return (self.place / name).exists()

    def read(self, name: str) -> pa.Buffer:
        """Return the content of a file."""
        with pa.OSFile(str(self.place / name)) as file:
            return file.read_buffer()

    def read_end(self, name: str, count: int) -> bytes:
        """Return the last bytes of a file; all of a shorter one.

        Args:
            name: Name of the file.
            count: Number of bytes.
        """
        with pa.OSFile(str(self.place / name)) as file:
            return _end(file, count)

    def write(self, name: str, content: bytes) -> None:
        """Write a file whole, in place of one that is there.

        Args:
            name: Name of the file.
            content: All of its bytes.
        """
        file = self.place / name
        private_folder(file.parent)
        write_whole(file, content)

    def delete(self, name: str) -> None:
        """Delete a file."""
        (self.place / name).unlink()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Let nobody else write while inside."""
        private_folder(self.place)
        with FileLock(self.place / ".lock", timeout=LOCK_SECONDS):
            yield


@dataclass(frozen=True, slots=True)
class BucketStore:
    """Files in a bucket; one home writes them, others read.

    It can be sent to other processes, which take the keys from their own environment.

    Attributes:
        place: Address of the folder, ``s3://BUCKET/FOLDER``.
        state: State folder of the home; holds its lock, and the name by which it collects.
        endpoint: Host and port of a store other than Amazon's; empty for Amazon's.
        scheme: ``https`` or ``http``.
        region: Region of the bucket; empty for that of the environment.
        readers: Number of files that are read at the same time.
    """

    place: str
    state: Path
    endpoint: str = ""
    scheme: str = "https"
    region: str = ""
    readers: int = READERS

    @classmethod
    def at(cls, address: str, state: Path) -> "BucketStore":
        """Return the store at an address of ``conf/services.yaml``; no request is made.

        Args:
            address: ``s3://BUCKET/FOLDER``, perhaps with options.
            state: State folder of the home.

        Raises:
            FixConfiguration: If it is no such address; the line does not repeat it, as it may hold
                a key.
        """
        place, _, query = address.partition("?")
        pairs = parse_qsl(query, keep_blank_values=True)
        options = dict(pairs)
        is_known = all(name in OPTIONS and OPTIONS[name].fullmatch(text) for name, text in pairs)
        if not (_BUCKET.fullmatch(place) and is_known):
            raise FixConfiguration(
                "conf/services.yaml: lake must be s3://BUCKET/FOLDER, after which may come "
                "?endpoint_override=HOST:PORT&scheme=http&region=NAME; keys do not belong there, "
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            )
        return cls(
            place,
            state,
            options.get("endpoint_override", ""),
            options.get("scheme", "https"),
            options.get("region", ""),
        )

    def names(self, folder: str) -> list[str]:
        """Return the names of the Parquet files in a symbol's folder; of "" in all of them."""
        with self._reached() as store:
            base = self._key(folder).removesuffix("/")
            selector = fs.FileSelector(base, allow_not_found=True, recursive=True)
            infos = store.get_file_info(selector)
        paths = [info.path.removeprefix(self._key("")) for info in infos]
        return [path for path in paths if re.fullmatch(r"symbol=[^/]+/[^/]+\.parquet", path)]

    def exists(self, name: str) -> bool:
        """Return whether there is a file of this name."""
        with self._reached() as store:
            return bool(store.get_file_info(self._key(name)).is_file)

    def read(self, name: str) -> pa.Buffer:
        """Return the content of a file.

        Raises:
            FixConfiguration: If the bucket is not there.
        """
        with self._reached() as store, store.open_input_file(self._key(name)) as file:
            return file.read_buffer()

    def read_end(self, name: str, count: int) -> bytes:
        """Return the last bytes of a file; all of a shorter one.

        Args:
            name: Name of the file.
            count: Number of bytes.
        """
        with self._reached() as store, store.open_input_file(self._key(name)) as file:
            return _end(file, count)

    def write(self, name: str, content: bytes) -> None:
        """Write a file whole, in place of one that is there.

        Args:
            name: Name of the file.
            content: All of its bytes.
        """
        with self._reached() as store, store.open_output_stream(self._key(name)) as file:
            file.write(content)

    def delete(self, name: str) -> None:
        """Delete a file."""
        with self._reached() as store:
            store.delete_file(self._key(name))

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Let no other process of this home write while inside.

        Raises:
            FixConfiguration: If another home collects into this lake, or the bucket is not there.
        """
        private_folder(self.state)
        with FileLock(self.state / "lake.lock", timeout=LOCK_SECONDS):
            self._claim()
            yield

    def _claim(self) -> None:
        """Require that this home is the one that collects; the first that does is it."""
        note = self.state / f"lake-{COLLECTOR}"
        if not note.exists():
            write_whole(note, f"{socket.gethostname()}:{self.state} {uuid.uuid4().hex}")
        own = note.read_bytes()
        try:
            collector = self.read(COLLECTOR).to_pybytes()
        except FileNotFoundError:
            self.write(COLLECTOR, own)
            collector = self.read(COLLECTOR).to_pybytes()
        if collector != own:
            name = collector.decode(errors="replace").rpartition(" ")[0]
            raise FixConfiguration(
                f"{self.place}: {name} collects these bars, this home only reads them; let it not "
                f"collect, or delete {self.place}/{COLLECTOR} if this one is to take over"
            )

    def _key(self, name: str) -> str:
        return f"{self.place.removeprefix('s3://')}/{name}"

    @contextmanager
    def _reached(self) -> Iterator[fs.S3FileSystem]:
        """Give the connection; what it raises is one line, but for a file that is not there."""
        try:
            yield _connection(self.endpoint, self.scheme, self.region)
        except FileNotFoundError:
            self._require_bucket()
            raise
        except OSError as error:
            reason = " ".join(str(error).rpartition("AWS Error ")[2].split())[:160]
            raise RestoreService(
                f"{self.place}: the object store cannot be used ({reason}); look at network, "
                "bucket and keys (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)"
            ) from error

    def _require_bucket(self) -> None:
        """Refuse to take a lake whose bucket is not there for an empty one."""
        bucket = self._key("").partition("/")[0]
        with self._reached() as store:
            info = store.get_file_info(bucket)
        if info.type == fs.FileType.NotFound:
            raise FixConfiguration(
                f"{self.place}: there is no bucket {bucket}; make it, or correct lake in "
                "conf/services.yaml"
            )


@cache
def _connection(endpoint: str, scheme: str, region: str) -> fs.S3FileSystem:
    """Return the connection to a store, one per process; it takes the keys of the environment."""
    return fs.S3FileSystem(
        endpoint_override=endpoint or None,
        scheme=scheme,
        region=region or None,
        connect_timeout=CONNECT_SECONDS,
        request_timeout=SILENT_SECONDS,
        allow_delayed_open=True,  # one request for a file, not three
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS),
    )


def _end(file: pa.NativeFile, count: int) -> bytes:
    size = file.size()
    return bytes(file.read_at(min(count, size), max(size - count, 0)))
