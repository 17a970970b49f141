"""Digests of what a home keeps, for tests that check whether anything changed."""

import hashlib
from pathlib import Path

from sqlalchemy import select

from steelyard.gateways.ledger import Base, Ledger


def ledger_digest(ledger: Ledger) -> str:
    """Return a SHA-256 over every row of every table."""
    digest = hashlib.sha256()
    with ledger._engine.connect() as connection:
        for table in Base.metadata.sorted_tables:
            for row in connection.execute(select(table).order_by(*table.primary_key)):
                digest.update(repr(tuple(row)).encode())
    return digest.hexdigest()


def lake_digest(folder: Path) -> str:
    """Return a SHA-256 over names and contents of all files of the lake in ``folder``."""
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.name != ".lock":
            digest.update(str(file.relative_to(folder)).encode() + file.read_bytes())
    return digest.hexdigest()
