"""Files of trading programs as tables, before anybody knows what their columns mean."""

import csv
import io
import json
import sqlite3
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd

from steelyard.errors import FixConfiguration, FixData
from steelyard.gateways.arrow import ARROW_ERRORS

SEPARATORS = (",", ";", "\t")
SNIFFED_ROWS = 50
"""Rows of a text from which its separator is told."""
SQLITE = b"SQLite format 3\0"
DAMAGED: tuple[type[Exception], ...] = (
    *ARROW_ERRORS,
    ValueError,
    KeyError,
    zipfile.BadZipFile,
    sqlite3.Error,
)
"""What reading a damaged file raises."""


@dataclass(frozen=True)
class RawLog:
    """The content of a log.

    Attributes:
        name: Name of the file in messages.
        rows: Line number and cells of each row of a text that is not empty.
        frame: The table of a file that has only one, its index the number of the row; None for a
            text.
    """

    name: str
    rows: tuple[tuple[int, tuple[str, ...]], ...] = ()
    frame: pd.DataFrame | None = None

    def table(self, *columns: str | Sequence[str]) -> pd.DataFrame | None:
        """Return the first table that has these columns, whatever its others are.

        Args:
            columns: Names in lower case, several where programs differ; a name twice in a header
                ends with ``.1`` the second time.

        Returns:
            One row per row of the log, its index the line; column names in lower case (as they are
            written in ``attrs["names"]``), texts as they are written. None if there is no such
            table.
        """
        required = [(name,) if isinstance(name, str) else tuple(name) for name in columns]
        if self.frame is not None:
            names = list(map(str, self.frame.columns))
            table = self.frame.set_axis(headings(names), axis=1)
            table.attrs["names"] = dict(zip(table.columns, names, strict=True))
            return table if _has(table.columns, required) else None
        for number, names in self._headers:
            if _has(names, required):
                table = _below(names, self.rows[number + 1 :])
                written = map(str.strip, self.rows[number][1])
                table.attrs["names"] = dict(zip(names, written, strict=True))
                return table
        return None

    @cached_property
    def _headers(self) -> list[tuple[int, list[str]]]:
        """Position and names of every row that may be a header: no cell begins with a digit."""
        return [
            (number, headings(cells))
            for number, (_, cells) in enumerate(self.rows)
            if _may_be_header(cells)
        ]

    @property
    def first_line(self) -> str:
        """The first headings, for a message."""
        cells = self.rows[0][1] if self.rows else () if self.frame is None else self.frame.columns
        return " ".join(", ".join(str(cell) for cell in cells if cell).split())[:200]


def headings(cells: Iterable[str]) -> list[str]:
    """Return cells of a header as names in lower case; repeated ones end with .1, .2 and so on."""
    names = [cell.strip().lower() for cell in cells]
    before = [names[:number].count(name) for number, name in enumerate(names)]
    return [f"{name}.{count}" if count else name for name, count in zip(names, before, strict=True)]


def _has(present: Iterable[str], required: Sequence[tuple[str, ...]]) -> bool:
    known = set(present)
    return all(known.intersection(names) for names in required)


def _may_be_header(cells: Sequence[str]) -> bool:
    return not any(cell.lstrip()[:1].isdigit() for cell in cells)


def _below(names: list[str], rows: Sequence[tuple[int, tuple[str, ...]]]) -> pd.DataFrame:
    """Return the rows under a header, up to the next table: a row of one cell, then a header."""
    width = max(number for number, name in enumerate(names) if name) + 1
    lines, values = [], []
    for number, (line, cells) in enumerate(rows):
        is_title = width > 1 and sum(bool(cell.strip()) for cell in cells) == 1
        if is_title and number + 1 < len(rows) and _may_be_header(rows[number + 1][1]):
            break
        lines.append(line)
        values.append([cell.strip() for cell in (*cells, *[""] * width)[:width]])
    return pd.DataFrame(values, index=lines, columns=names[:width], dtype="str")


def read_raw(path: Path) -> RawLog:
    """Return the content of a log: CSV, HTML, Excel, JSON, JSON lines, Parquet, Feather, SQLite.

    A zip gives the one log inside.

    Raises:
        FixData: If the file is missing, empty, damaged, or holds no table.
        FixConfiguration: If reading Excel files needs a package that is not installed.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FixData(f"{path}: cannot be read ({error.strerror}); correct the path") from error
    name = path.name
    try:
        if zipfile.is_zipfile(path) and path.suffix.lower() == ".zip":
            name, content = _from_zip(path)
        raw = _read_content(name, content, path)
    except DAMAGED as error:
        reason = " ".join(str(error).split())[:160]
        raise FixData(f"{path}: cannot be read ({reason}); export it again") from error
    if not raw.rows and (raw.frame is None or raw.frame.empty):
        raise FixData(f"{path}: no rows; export the trades again")
    return raw


def _from_zip(path: Path) -> tuple[str, bytes]:
    """Return the one log of an archive; freqtrade's holds its result beside settings and code."""
    with zipfile.ZipFile(path) as archive:
        names = [
            name
            for name in archive.namelist()
            if name.lower().endswith((".json", ".csv", ".html", ".parquet"))
            and not name.lower().endswith("_config.json")
        ]
        texts = {name: archive.read(name) for name in names}
    results = [name for name in names if b'"strategy"' in texts[name][:100_000]]
    chosen = results if len(results) == 1 else names
    if len(chosen) != 1:
        raise ValueError(f"{len(chosen)} logs in the archive ({', '.join(chosen[:5])})")
    return chosen[0], texts[chosen[0]]


def _read_content(name: str, content: bytes, path: Path) -> RawLog:
    suffix = Path(name).suffix.lower()
    if content.startswith(SQLITE):
        return RawLog(name, frame=_numbered(_from_sqlite(path)))
    if suffix == ".parquet":
        return RawLog(name, frame=_numbered(pd.read_parquet(io.BytesIO(content))))
    if suffix == ".feather":
        return RawLog(name, frame=_numbered(pd.read_feather(io.BytesIO(content))))
    if suffix in (".xlsx", ".xls"):
        return RawLog(name, rows=_from_excel(content, name))
    text = _decoded(content)
    if suffix in (".json", ".jsonl", ".ndjson"):
        return RawLog(name, frame=_numbered(pd.DataFrame(_from_json(text, name))))
    if "<tr" in text[:1_000_000].lower():
        return RawLog(name, rows=_from_html(text))
    return RawLog(name, rows=_from_csv(text))


def _numbered(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose index counts its rows; a named index becomes a column."""
    if frame.index.name is not None or isinstance(frame.index, pd.DatetimeIndex):
        frame = frame.reset_index()
    return frame.set_axis(range(1, len(frame) + 1), axis=0)


def _decoded(content: bytes) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def _from_csv(text: str) -> tuple[tuple[int, tuple[str, ...]], ...]:
    sniffed = "\n".join(text.splitlines()[:SNIFFED_ROWS])
    separator = max(SEPARATORS, key=sniffed.count)
    reader = csv.reader(io.StringIO(text), delimiter=separator)
    return tuple((reader.line_num, tuple(cells)) for cells in reader if any(map(str.strip, cells)))


def _from_json(text: str, name: str) -> Any:
    """Return the list of trades in a document."""
    if not name.lower().endswith(".json") or text.lstrip()[:1] not in ("[", "{"):
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    document = json.loads(text)
    strategies = document.get("strategy") if isinstance(document, dict) else None
    if isinstance(strategies, dict):
        if len(strategies) != 1:
            raise ValueError(f"the trades of {', '.join(strategies)}; export one of them")
        document = next(iter(strategies.values()))
    if isinstance(document, dict):
        document = document["trades"]
    return document


def _from_sqlite(path: Path) -> pd.DataFrame:
    with sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True) as connection:
        frame = pd.read_sql_query("SELECT * FROM trades ORDER BY id", connection)
    connection.close()
    return frame


def _from_excel(content: bytes, name: str) -> tuple[tuple[int, tuple[str, ...]], ...]:
    try:
        sheet = pd.read_excel(io.BytesIO(content), header=None, dtype="str")
    except ImportError as error:
        raise FixConfiguration(
            f"{name}: Excel files need a package: pip install openpyxl; or export HTML or CSV"
        ) from error
    rows = enumerate(sheet.fillna("").itertuples(index=False), start=1)
    return tuple((line, tuple(map(str, cells))) for line, cells in rows if any(cells))


class _Rows(HTMLParser):
    """Collects the cells of every table row; cells that a browser hides are left out."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[int, list[str]]] = []
        self._in_cell = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append((self.getpos()[0], []))
        if tag in ("td", "th") and self.rows:
            self._in_cell = ("class", "hidden") not in attrs
            if self._in_cell:
                self.rows[-1][1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th", "tr"):
            self._in_cell = False

    def handle_data(self, data: str) -> None:
        if self._in_cell:
            self.rows[-1][1][-1] += data


def _from_html(text: str) -> tuple[tuple[int, tuple[str, ...]], ...]:
    parser = _Rows()
    parser.feed(text)
    return tuple((line, tuple(cells)) for line, cells in parser.rows if any(map(str.strip, cells)))
