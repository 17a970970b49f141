"""Where MLflow's database and the files of its runs lie, whatever the path of the home.

MLflow stores absolute places. A home that was copied or moved is therefore given its own at the
first opening: new runs are written into it, never into the home it came from.
"""

import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

SQLITE = "sqlite:///"
COPIED_FROM = "steelyard.copied_from"
"""Tag of an experiment in a home that was copied or moved: the folder its files were in."""
_PLACES = (
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
_ODD = frozenset("?#%")
"""Characters that mean something else in a URL than in a path."""

_log = logging.getLogger(__name__)


def database_file(address: str) -> Path | None:
    """Return the file of a SQLite address; None for any other."""
    return Path(address.removeprefix(SQLITE)) if address.startswith(SQLITE) else None


def client_address(address: str) -> str:
    """Return an address as SQLAlchemy reads it: a question mark in a path begins no options."""
    file = database_file(address)
    if file is None or "?" not in str(file):
        return address
    return f"{SQLITE}file:{quote(str(file))}?uri=true"


def artifact_location(artifacts: str, name: str = "") -> str:
    """Return the place of an experiment's files as MLflow reads it.

    Args:
        artifacts: Folder or URL of all files.
        name: Last part of the experiment's name; empty for the place of all.
    """
    place = f"{artifacts}/{name}" if name else artifacts
    return Path(place).as_uri() if "://" not in place and _ODD & set(place) else place


def foreign_place(file: Path, artifacts: str) -> str | None:
    """Return the folder of another home that new runs would be written to; None if there is none.

    Args:
        file: MLflow's database; nothing is created.
        artifacts: Folder or URL of the home's own files.
    """
    with closing(sqlite3.connect(f"file:{quote(str(file))}?mode=ro", uri=True)) as connection:
        places = [old for _, old, _ in _foreign(connection, artifacts)]
        return str(Path(_folder(places[0])).parent) if places else None


def take_over(file: Path, artifacts: str) -> None:
    """Give every experiment its place in this home; safe to repeat.

    A run keeps its place if this home has no copy of its files.

    Args:
        file: MLflow's database; the caller holds its lock.
        artifacts: Folder or URL of the home's own files.
    """
    with closing(sqlite3.connect(file)) as connection, connection:
        foreign = _foreign(connection, artifacts)
        if foreign:
            _log.warning(
                "this home was copied or moved: files of new runs go to %s, no longer to %s",
                artifacts,
                Path(_folder(foreign[0][1])).parent,
            )
            _forget_places()
        for number, old, new in foreign:
            connection.execute(
                "UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?",
                (new, number),
            )
            connection.execute(
                "INSERT OR REPLACE INTO experiment_tags (key, value, experiment_id) "
                "VALUES (?, ?, ?)",
                (COPIED_FROM, str(Path(_folder(old)).parent), number),
            )
            for table, column in _PLACES:
                _move_copied(connection, table, column, old, new)


def _forget_places() -> None:
    """Empty MLflow's cache of places, whose key is the run: the original has runs of these ids."""
    from mlflow.tracking._tracking_service import utils

    utils._artifact_repos_cache.clear()


def _foreign(connection: sqlite3.Connection, artifacts: str) -> list[tuple[int, str, str]]:
    """Return id, place, and own place of the experiments whose place is another home's."""
    rows = connection.execute(
        "SELECT experiment_id, name, artifact_location FROM experiments "
        "WHERE name LIKE 'steelyard/%'"
    ).fetchall()
    own = [(number, place, artifact_location(artifacts, name[10:])) for number, name, place in rows]
    return [row for row in own if row[1] != row[2] and _is_local(row[1]) and _is_local(row[2])]


def _move_copied(
    connection: sqlite3.Connection, table: str, column: str, old: str, new: str
) -> None:
    """Rewrite the places of files that were copied along."""
    select = f"SELECT rowid, {column} FROM {table} WHERE {column} LIKE ? || '/%'"  # noqa: S608
    update = f"UPDATE {table} SET {column} = ? WHERE rowid = ?"  # noqa: S608
    rows = [
        (new + place.removeprefix(old), number)
        for number, place in connection.execute(select, (old,)).fetchall()
        if place.startswith(old)
    ]
    copied = [(place, number) for place, number in rows if Path(_folder(place)).exists()]
    connection.executemany(update, copied)


def _is_local(place: str) -> bool:
    return place.startswith(("/", "file://"))


def _folder(place: str) -> str:
    """Return a local place as a path."""
    return unquote(urlsplit(place).path) if place.startswith("file://") else place
