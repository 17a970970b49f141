"""Digests of the settled predictions, so that none can change or vanish unnoticed.

Each guard takes a digest of the predictions that were settled since the last one, whenever they
settled, and chains it to the one before. Number and head of the chain are part of the sealed state
in MLflow. The latency is left out: it is a measurement that no replay repeats.
"""

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any

import pyarrow as pa
from sqlalchemy import Connection, delete, insert, select, update

from steelyard.gateways.ledger.ledger import Ledger
from steelyard.gateways.ledger.packed import (
    BLOCK_ROWS,
    PACKED,
    UNREADABLE,
    block_of,
    is_same_block,
    table_of,
    unpack,
    unpacked_numbers,
)
from steelyard.gateways.ledger.tables import (
    ROWS_AT_ONCE,
    SETTLED,
    LedgerDigest,
    PackedPredictions,
    Prediction,
    id_chunks,
)

COLUMNS = tuple(name for name in (*SETTLED, "reported") if name != "latency_ms")
GENESIS = "0" * 64
STORED = (*COLUMNS, "latency_ms")
"""Columns read of every row: those a digest covers, and last what only a block keeps."""
_STORED_COLUMNS = [getattr(Prediction, name) for name in STORED]

_BLOCK = [
    column
    for column in PackedPredictions.__table__.columns
    if column.name not in ("lineage", "number", "first")
]
"""Columns that follow from the rows of a block."""
_Mark = tuple[dict[str, Any], bytes]

_log = logging.getLogger(__name__)


class Digests:
    """The chain of digests of one lineage's predictions.

    Every method raises ``RestoreService`` if the database cannot be reached or is locked.

    Args:
        ledger: Ledger with the current tables.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._is_own = Prediction.lineage == ledger.lineage
        self._own_links = LedgerDigest.lineage == ledger.lineage
        self._own_blocks = PackedPredictions.lineage == ledger.lineage
        self._copies: dict[int, _Mark] = {}
        """Blocks that were held against their rows, or made of them, here: a check of the last
        digests need not read those of a block that is still the same."""

    def extend(self) -> tuple[int, str]:
        """Take the digest of what is newly settled; return number and head of the chain.

        The first digest is taken even if nothing is settled, so that an emptied ledger is noticed.
        One caller at a time: call it under the journal's lock.
        """
        links = select(LedgerDigest.number, LedgerDigest.head).where(self._own_links)
        newest = links.order_by(LedgerDigest.number.desc())
        unseen = self._is_own, Prediction.digest_number.is_(None)
        self._pack()
        with self._ledger.transaction() as connection:
            number, head = connection.execute(newest.limit(1)).first() or (0, GENESIS)
            stored = connection.execute(select(*_STORED_COLUMNS).where(*unseen))
            # asked with the rest, SQLite takes the index of times and walks the whole life
            rows = [row for row in stored if row.settled_at is not None]
            if number and not rows:
                return number, head
            (count, digest), number = digest_of(row[:-1] for row in rows), number + 1
            head = _next_head(head, number, count, digest)
            values = {"number": number, "rows": count, "digest": digest, "head": head}
            values["lineage"] = self._ledger.lineage
            connection.execute(insert(LedgerDigest).values(values))
            for ids in id_chunks([row.signal_id for row in rows]):
                covered = update(Prediction).where(self._is_own, Prediction.signal_id.in_(ids))
                connection.execute(covered.values(digest_number=number))
            self._add_to_block(connection, number, table_of(rows, STORED).select(PACKED))
        return number, head

    def _pack(self) -> None:
        """Make the missing blocks: those of digests that an earlier version took, or lost ones."""
        with self._ledger.transaction() as connection:
            missing = unpacked_numbers(connection, self._ledger.lineage)
        for number in missing:  # one at a time, so that no writer waits for long
            with self._ledger.transaction() as connection:
                covered = self._is_own, Prediction.digest_number == number
                rows = connection.execute(select(*_STORED_COLUMNS).where(*covered)).all()
                self._add_to_block(connection, number, table_of(rows, STORED).select(PACKED))

    def _add_to_block(self, connection: Connection, number: int, table: pa.Table) -> None:
        """Put a digest into the block before it, or into a new one if that is full."""
        packed = PackedPredictions
        before = (
            self._own_blocks,
            packed.number == number - 1,
            packed.rows + len(table) <= BLOCK_ROWS,
        )
        columns = (packed.first, *_BLOCK)
        stored = connection.execute(select(*columns).where(*before)).mappings().first()
        last = dict(stored) if stored else None
        try:
            table = pa.concat_tables([unpack(last["content"]), table]) if last else table
            first = last["first"] if last else number
        except UNREADABLE:  # the check of the digests makes it anew
            first = number
        if first < number:
            connection.execute(delete(packed).where(*before))
        own, block = {"lineage": self._ledger.lineage, "number": number}, block_of(table)
        connection.execute(insert(packed).values(own | {"first": first} | block))
        former = self._copies.pop(number - 1, None) if first < number else None
        if first == number or (last and former == _mark(last)):
            self._copies[number] = _mark(block)

    def reset(self) -> None:
        """Forget all digests: the next one covers everything that is settled then."""
        with self._ledger.transaction() as connection:
            connection.execute(update(Prediction).where(self._is_own).values(digest_number=None))
            connection.execute(delete(LedgerDigest).where(self._own_links))
            connection.execute(delete(PackedPredictions).where(self._own_blocks))

    def faults(self, number: int, head: str | None, last: int | None = None) -> list[str]:
        """Return what does not fit the chain that the sealed state names, one line each.

        Args:
            number: Number of the last digest that the state knows; 0 for none.
            head: Head of the chain that the state knows; None for none.
            last: Check the rows of this many last digests; None for all.
        """
        if not number:
            return []
        anchor = 0 if last is None else max(0, number - last)
        own_links = select(*LedgerDigest.__table__.columns).where(self._own_links)
        chain = own_links.order_by(LedgerDigest.number)
        covered = select(Prediction.digest_number, *_STORED_COLUMNS).where(self._is_own)
        with self._ledger.transaction() as connection:
            blocks = self._blocks(connection, anchor)
            if last is not None:
                blocks = [block for block in blocks if not self._is_known(connection, block.number)]
            anchor = min([anchor, *(block.first - 1 for block in blocks)])
            links = connection.execute(chain.where(LedgerDigest.number >= anchor)).all()
            broken = _chain_fault(links, anchor, number, head)
            if broken:
                return [broken]
            stored = connection.execute(
                covered.where(Prediction.digest_number > anchor).order_by(Prediction.digest_number),
                execution_options={"yield_per": ROWS_AT_ONCE},
            )
            spans = {block.number: range(block.first, block.number + 1) for block in blocks}
            block_of_digest = {digest: number for number in spans for digest in spans[number]}
            taken = {link.number: (link.rows, link.digest) for link in links}
            found = dict.fromkeys(taken, digest_of(()))
            for block, group in groupby(stored, lambda row: block_of_digest.get(row[0])):
                rows = list(group)
                for covering, part in groupby(rows, itemgetter(0)):
                    found[covering] = digest_of(row[1:-1] for row in part)
                if block and all(found.get(each) == taken.get(each) for each in spans[block]):
                    self._mend_block(connection, block, [row[1:] for row in rows])
        return [
            fault
            for link in links
            if link.number > anchor and (fault := _fault(link, *found[link.number]))
        ]

    def _blocks(self, connection: Connection, anchor: int) -> Sequence[Any]:
        """Return first and last digest of the blocks that reach beyond a digest."""
        spans = select(PackedPredictions.first, PackedPredictions.number)
        beyond = self._own_blocks, PackedPredictions.number > anchor
        return connection.execute(spans.where(*beyond)).all()

    def _is_known(self, connection: Connection, number: int) -> bool:
        """Return whether a block is the one that was found to be a copy of its rows."""
        known = self._copies.get(number)
        return known is not None and known == _mark(self._stored(connection, number))

    def _stored(self, connection: Connection, number: int) -> dict[str, Any]:
        of_number = self._own_blocks, PackedPredictions.number == number
        return dict(connection.execute(select(*_BLOCK).where(*of_number)).mappings().one())

    def _mend_block(
        self, connection: Connection, number: int, rows: Sequence[Sequence[Any]]
    ) -> None:
        """Make a block anew if it is not a copy of its rows, and say so."""
        block = block_of(table_of(rows, STORED).select(PACKED))
        stored = self._stored(connection, number)
        if is_same_block(block, stored):
            self._copies[number] = _mark(stored)
            return
        of_number = self._own_blocks, PackedPredictions.number == number
        connection.execute(update(PackedPredictions).where(*of_number).values(block))
        _log.warning("block %d of the ledger was not a copy of its rows and was made anew", number)


def _mark(block: Mapping[str, Any]) -> _Mark:
    """Return what tells a block from any other."""
    short = {column.name: block[column.name] for column in _BLOCK if column.name != "content"}
    return short, hashlib.sha256(block["content"]).digest()


def _fault(link: Any, count: int, digest: str) -> str | None:
    """Return what does not fit one digest; None if all does.

    Args:
        link: The digest as it was taken.
        count: Number of predictions it covers now.
        digest: Their digest now.
    """
    if count != link.rows:
        kind = "are missing from" if count < link.rows else "were added to"
        return (
            f"{abs(link.rows - count)} settled predictions {kind} the {link.rows} that digest "
            f"{link.number} of the ledger covers"
        )
    if digest == link.digest:
        return None
    return (
        f"settled predictions in the ledger were changed after digest {link.number} covered "
        f"them ({link.rows} rows)"
    )


def digest_of(rows: Iterable[Any]) -> tuple[int, str]:
    """Return number and SHA-256 of rows with the columns ``COLUMNS``, whatever their order."""
    texts = sorted(_ENCODER.encode(list(row)) for row in rows)
    return len(texts), hashlib.sha256("\n".join(texts).encode()).hexdigest()


_ENCODER = json.JSONEncoder(default=datetime.isoformat)


def _next_head(head: str, number: int, rows: int, digest: str) -> str:
    return hashlib.sha256(f"{head} {number} {rows} {digest}".encode()).hexdigest()


def _chain_fault(links: Sequence[Any], anchor: int, number: int, head: str | None) -> str | None:
    """Return why the stored chain is not the one whose head the state knows.

    Args:
        links: Links from number ``anchor`` on, in order; from 1 on if that is 0.
        anchor: Number of the link that the others are held against.
        number: Number of the last link that the state knows.
        head: Head that the state knows.
    """
    by_number = {link.number: link for link in links}
    if number not in by_number or (anchor and anchor not in by_number):
        return (
            f"the ledger has no digest {number}, which the sealed state knows: it was emptied or "
            "replaced, or an older copy of it was put back"
        )
    expected = by_number[anchor].head if anchor else GENESIS
    for position in range(anchor + 1, max(by_number) + 1):
        link = by_number.get(position)
        if link is None or link.head != _next_head(expected, position, link.rows, link.digest):
            return f"digest {position} of the ledger's settled predictions was changed"
        expected = link.head
    if by_number[number].head != head:
        return f"digest {number} of the ledger is not the one that the sealed state knows"
    return None
