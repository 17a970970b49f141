"""Tables of files as libraries read them: rows and columns, nothing filled, nothing guessed."""

import codecs
import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import pandas as pd

from steelyard.errors import FixData
from steelyard.gateways.arrow import HAS_ARROW
from steelyard.gateways.sources.columns import find_columns
from steelyard.gateways.sources.paths import UNREADABLE, BarFile
from steelyard.gateways.sources.settings import SourceSettings

if TYPE_CHECKING:
    import pyarrow as pa

SIGNS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
DOWNLOAD_LEVELS = (["price", "ticker"], ["ticker", "price"])
"""First cells of the two header rows of a download of several symbols."""
DAMAGED: tuple[type[Exception], ...] = (*UNREADABLE, csv.Error, ValueError)
"""What reading a damaged table raises."""
MISSING = ("", "#N/A", "N/A", "NA", "NULL", "NaN", "n/a", "nan", "null", "-nan", "-NaN")
"""Cells without a number."""


def read_table(file: BarFile, settings: SourceSettings) -> pd.DataFrame:
    """Return the rows of a file; columns are named as in the file.

    Args:
        file: A file of one of ``KINDS``, but an archive.
        settings: Layout of the file, resolved.

    Raises:
        FixData: If it is empty, damaged or of another layout.
    """
    if not file.member and file.path.stat().st_size == 0:
        raise FixData(f"{file}: the file is empty (0 bytes); download it again")
    try:
        table = _read(file, settings)
    except DAMAGED as error:
        reason = " ".join(str(error).split())[:200]
        raise FixData(f"{file}: cannot be read ({reason}); repair or download it again") from error
    return table if isinstance(table.index, pd.RangeIndex) else table.reset_index()


def _read(file: BarFile, settings: SourceSettings) -> pd.DataFrame:
    if file.kind == ".parquet":
        from pyarrow import parquet

        source = io.BytesIO(file.content()) if file.member else file.path
        return _of_arrow(parquet.read_table(source))
    content = file.content()
    if file.kind == ".feather":
        from pyarrow import feather

        return _of_arrow(feather.read_table(io.BytesIO(content)))
    if file.kind.startswith(".json"):
        return _of_json(json.loads(content), settings, file)
    return _of_text(_lines(in_utf8(content), settings), settings, file)


def _of_arrow(table: "pa.Table") -> pd.DataFrame:
    """Return the columns; an index that pandas stored is one of them."""
    return cast(pd.DataFrame, table.to_pandas(ignore_metadata=True))


def in_utf8(content: bytes) -> bytes:
    """Return a text in UTF-8 without byte-order mark; one in UTF-16 begins with its mark."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16").encode()
    return content.removeprefix(codecs.BOM_UTF8)


def _lines(content: bytes, settings: SourceSettings) -> bytes:
    """Return the lines of a text that are rows of the table or its header."""
    if not (settings.comment or settings.skip_rows or settings.skip_footer):
        return content
    lines = content.rstrip().splitlines(keepends=True)
    lines = lines[settings.skip_rows : len(lines) - settings.skip_footer]
    comment = settings.comment.encode()
    return b"".join(line for line in lines if not comment or not line.startswith(comment))


def _of_text(content: bytes, settings: SourceSettings, file: BarFile) -> pd.DataFrame:
    rows = csv.reader(first_lines(content), delimiter=settings.separator)
    first, second = next(rows, []), next(rows, [])
    _require_separator(first, settings, file)
    levels = [cell.strip().lower() for cell in (*first[:1], *second[:1])]
    if levels in DOWNLOAD_LEVELS:
        return _of_download(content, settings, levels)
    repeated = [cell.strip().lower() for cell in first] == [n.lower() for n in settings.names]
    header = list(settings.names) or (
        first if settings.header else [f"f{number}" for number in range(len(first))]
    )
    layout = _Layout(header, int(repeated), _texts(header, settings, file), settings)
    return _by_arrow(content, layout) if HAS_ARROW else _by_pandas(content, layout)


@dataclass(frozen=True, slots=True)
class _Layout:
    """How a text is read.

    Attributes:
        header: Names of its columns.
        repeated: Lines that repeat names the settings give.
        texts: Columns that are read as they are written.
        settings: Layout of the file, resolved.
    """

    header: Sequence[str]
    repeated: int
    texts: Sequence[str]
    settings: SourceSettings


def _by_arrow(content: bytes, layout: _Layout) -> pd.DataFrame:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    settings = layout.settings
    read = arrow_csv.ReadOptions(
        column_names=list(layout.header) if settings.names else None,
        autogenerate_column_names=not (settings.header or settings.names),
        skip_rows=layout.repeated,
        use_threads=False,
    )
    parse = arrow_csv.ParseOptions(delimiter=settings.separator)
    convert = arrow_csv.ConvertOptions(
        column_types=dict.fromkeys(layout.texts, pa.string()), decimal_point=settings.decimal
    )
    table = arrow_csv.read_csv(pa.BufferReader(content), read, parse, convert)
    return cast(pd.DataFrame, table.to_pandas())


def _by_pandas(content: bytes, layout: _Layout) -> pd.DataFrame:
    """Read a text as ``_by_arrow`` does, several times slower.

    pandas alone fills short rows up with NaN.
    """
    settings, width = layout.settings, len(layout.header)
    rows = csv.reader(io.StringIO(content.decode()), delimiter=settings.separator)
    for number, row in enumerate(rows, start=1):
        if row and len(row) != width:
            raise ValueError(f"Row #{number}: Expected {width} columns, got {len(row)}")
    places = [str(place) for place in range(width)]  # a header may name two columns alike
    as_written = {place for place in places if layout.header[int(place)] in layout.texts}
    table = pd.read_csv(
        io.BytesIO(content),
        sep=settings.separator,
        header=None,
        names=places,
        skiprows=int(layout.repeated or (settings.header and not settings.names)),
        index_col=False,
        dtype=dict.fromkeys(as_written, "str"),
        keep_default_na=False,
        na_values={place: MISSING for place in places if place not in as_written},
        decimal=settings.decimal,
        low_memory=False,
    )
    return table.set_axis(list(layout.header), axis="columns")


def first_lines(content: bytes) -> list[str]:
    """Return the first two lines of a text in UTF-8."""
    return content[:100_000].decode("utf-8", "replace").splitlines()[:2]


def _require_separator(first: Sequence[str], settings: SourceSettings, file: BarFile) -> None:
    for sign, word in SIGNS.items():
        if len(first) == 1 and sign in first[0]:
            raise FixData(
                f"{file}: the file is separated by {word}; set separator (and decimal) in "
                "conf/source.yaml"
            )


def _texts(header: Sequence[str], settings: SourceSettings, file: BarFile) -> list[str]:
    """Return columns to read as they are written.

    A symbol 000001 is no number, TRUE no truth value and NA not missing; a time 093000 has six
    digits.
    """
    columns = find_columns(header, settings, str(file))
    wanted = ["symbol"]
    if settings.date_format or columns["time"]:
        wanted += ["timestamp", "time"]
    return [str(columns[name]) for name in wanted if columns[name] is not None]


def _of_download(content: bytes, settings: SourceSettings, levels: list[str]) -> pd.DataFrame:
    """Return one row per stamp and symbol of a table with a header of columns × symbols.

    A symbol without a bar at a stamp of the others has no row.
    """
    wide = pd.read_csv(
        io.BytesIO(content), header=[0, 1], index_col=0, sep=settings.separator, low_memory=False
    )
    wide.columns = wide.columns.set_names(levels)
    long = cast(pd.DataFrame, wide.stack("ticker", future_stack=True))
    long = long.dropna(how="all").rename_axis(["date", "symbol"])
    return long.reset_index()


def _of_json(document: Any, settings: SourceSettings, file: BarFile) -> pd.DataFrame:
    if settings.records and isinstance(document, Mapping):
        if settings.records not in document:
            raise FixData(
                f"{file}: no {settings.records} among {', '.join(map(str, document))}; correct "
                "'records' in conf/source.yaml"
            )
        rows, symbol = document[settings.records], document.get("symbol")
        by_symbol = rows if isinstance(rows, Mapping) else {symbol: rows}
        tables = [_of_rows(rows, settings, file).assign(symbol=n) for n, rows in by_symbol.items()]
        table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
        return table if None not in by_symbol else table.drop(columns="symbol")
    return _of_rows(document, settings, file)


def _of_rows(rows: Any, settings: SourceSettings, file: BarFile) -> pd.DataFrame:
    """Return a table of objects, of arrays in the order of ``names``, or of columns."""
    if not isinstance(rows, list | dict):
        raise FixData(f"{file}: no rows, but {str(rows)[:40]!r}; correct 'records'")
    arrays = [row for row in rows if isinstance(row, list)] if isinstance(rows, list) else []
    if any(len(row) != len(settings.names) for row in arrays) or 0 < len(arrays) < len(rows):
        raise FixData(
            f"{file}: rows are not arrays of {len(settings.names)} values each; say in "
            "conf/source.yaml what they hold, in order, under 'names'"
        )
    return pd.DataFrame(rows, columns=list(settings.names) if arrays else None)
