"""Reads a log of signals where another program writes it: a file, a folder or a table.

Only whole lines are read. A line that is still being written, or a Parquet file without its end,
waits for the next run.
"""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from sqlalchemy import MetaData, Table, create_engine, make_url, select
from sqlalchemy.exc import ArgumentError, NoSuchTableError, SQLAlchemyError

from steelyard.errors import FixConfiguration, FixData, RestoreService
from steelyard.gateways.arrow import ARROW_ERRORS
from steelyard.market.logged import LogSettings

SUFFIXES = (".csv", ".jsonl", ".ndjson", ".parquet")
SEPARATORS = (",", ";", "\t")
DAMAGED: tuple[type[Exception], ...] = (*ARROW_ERRORS, ValueError)
"""What reading a damaged Parquet file raises."""


@dataclass(frozen=True, slots=True)
class RawRow:
    """A row of a log as it is written.

    Attributes:
        where: File and line, or table and row.
        values: Value by the log's own column name.
    """

    where: str
    values: dict[str, Any]


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be a signal.

    Attributes:
        where: File and line, or table and row.
        reason: What is wrong with it.
        text: The row as it is written.
    """

    where: str
    reason: str
    text: str


@dataclass(slots=True)
class RawLog:
    """Rows of a log in their order.

    Attributes:
        rows: Whole rows.
        bad: Lines that are no rows.
        findings: What is worth knowing, one line each.
    """

    rows: list[RawRow] = field(default_factory=list)
    bad: list[BadRow] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)


def read_log(settings: LogSettings) -> RawLog:
    """Return the rows of the log that ``settings`` name.

    Raises:
        FixConfiguration: If there is no such file, folder, database driver or table.
        FixData: If a file is of an unknown kind or has no header.
        RestoreService: If the file or the database cannot be read now.
    """
    if settings.url:
        return _read_table(settings.url, settings.table)
    log = RawLog()
    for file in _files(Path(settings.path)):
        try:
            _READERS[file.suffix.lower()](file, log)
        except (OSError, UnicodeDecodeError) as error:
            raise RestoreService(f"{file}: cannot be read ({_line(error)})") from error
    return log


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        inside = (file for file in path.rglob("*") if not file.name.startswith("."))
        return sorted(file for file in inside if file.suffix.lower() in SUFFIXES)
    if not path.is_file():
        raise FixConfiguration(
            f"{path}: no such log; let the program write it, or correct log.path in "
            "conf/strategy.yaml"
        )
    if path.suffix.lower() not in SUFFIXES:
        raise FixData(f"{path}: a log is one of {', '.join(SUFFIXES)}; rename or convert it")
    return [path]


def _whole_lines(file: Path, log: RawLog) -> list[str]:
    """Return the lines of a file that have their end."""
    whole, end, rest = file.read_bytes().rpartition(b"\n")
    if rest:
        log.findings.append(f"{file.name}: the last line has no end yet; it waits")
    return (whole + end).decode("utf-8-sig").splitlines(keepends=True)


def _read_csv(file: Path, log: RawLog) -> None:
    lines = _whole_lines(file, log)
    if not lines:
        return
    separator = max(SEPARATORS, key=lines[0].count)
    reader = csv.reader(lines, delimiter=separator)
    header = [name.strip() for name in next(reader)]
    if len(set(header)) < len(header):
        raise FixData(f"{file}: two columns have the same name; the first line names the columns")
    for cells in reader:
        where, text = f"{file.name}:{reader.line_num}", separator.join(cells)
        if len(cells) == len(header):
            log.rows.append(RawRow(where, dict(zip(header, cells, strict=True))))
        elif text.strip():
            reason = f"{len(cells)} cells, the header has {len(header)}"
            log.bad.append(BadRow(where, reason, text))


def _read_json_lines(file: Path, log: RawLog) -> None:
    for number, line in enumerate(_whole_lines(file, log), start=1):
        if not line.strip():
            continue
        where = f"{file.name}:{number}"
        try:
            values = json.loads(line)
        except ValueError as error:
            log.bad.append(BadRow(where, f"not JSON ({_line(error)})", line.strip()))
            continue
        if isinstance(values, dict):
            log.rows.append(RawRow(where, values))
        else:
            log.bad.append(BadRow(where, "not an object in braces", line.strip()))


def _read_parquet(file: Path, log: RawLog) -> None:
    try:
        frame = pd.read_parquet(file, partitioning=None)
    except DAMAGED as error:
        log.findings.append(f"{file.name}: cannot be read yet ({_line(error)}); it waits")
        return
    log.rows += _rows(file.name, frame.to_dict("records"))


_READERS = {
    ".csv": _read_csv,
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
    ".parquet": _read_parquet,
}


def _rows(name: str, records: list[dict[Any, Any]]) -> Iterator[RawRow]:
    for number, values in enumerate(records, start=1):
        yield RawRow(f"{name}:{number}", {str(key): value for key, value in values.items()})


def _read_table(url: str, name: str) -> RawLog:
    """Return the rows of a table, by its primary key if it has one."""
    try:
        engine = create_engine(make_url(url))
    except (ArgumentError, ModuleNotFoundError, SQLAlchemyError) as error:
        raise FixConfiguration(
            f"conf/strategy.yaml: log.url is no database address ({_line(error)}); such as "
            "postgresql+psycopg://user:${LOG_PASSWORD}@host/name"
        ) from error
    schema, _, plain_name = name.rpartition(".")
    try:
        with engine.connect() as connection:
            table = Table(plain_name, MetaData(), autoload_with=connection, schema=schema or None)
            statement = select(table).order_by(*table.primary_key)
            records = [dict(row) for row in connection.execute(statement).mappings()]
    except NoSuchTableError as error:
        raise FixConfiguration(
            f"conf/strategy.yaml: log.table: no table {name} in the database; correct the name"
        ) from error
    except SQLAlchemyError as error:
        reason = _line(getattr(error, "orig", None) or error)
        raise RestoreService(f"log table {name}: cannot be read ({reason})") from error
    finally:
        engine.dispose()
    return RawLog(rows=list(_rows(name, records)))


def _line(error: object) -> str:
    return " ".join(str(error).split())[:160]
