"""Settled predictions packed by column, in blocks: what whole lives are read from.

A settled prediction never changes, and a row read from a table costs thirty times its column in a
block. A block is a copy (docs/decisions/0040): the rows stay the record, and rows without a block
are read as they are.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from sqlalchemy import Connection, func, select

from steelyard.gateways.ledger.tables import (
    COLUMN_DTYPES,
    FLOAT_COLUMNS,
    ROWS_AT_ONCE,
    SETTLED,
    TIME_COLUMNS,
    LedgerDigest,
    PackedPredictions,
    Prediction,
)
from steelyard.gateways.ledger.window import Window

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

PACKED = (*SETTLED, "reported")
"""Columns of a block."""
TRUTHS = ("decision", "pivotal", "won", "reported")
BLOCK_ROWS = 4_000
"""Rows from which a block takes no further digest."""
BLOCKS_AT_ONCE = 20
"""Blocks in memory at once while their columns are read."""
MANY = 100_000
"""Rows from which memory is given back."""
MOMENT = pa.timestamp("us", "UTC")
BOUNDS = tuple(
    getattr(PackedPredictions, name)
    for name in (
        "number",
        "first",
        "rows",
        "decided_from",
        "decided_until",
        "settled_from",
        "settled_until",
    )
)
"""Columns that tell what a block holds."""
UNREADABLE = (pa.ArrowException, OSError, LookupError, TypeError)
"""What reading a damaged block raises."""


def table_of(rows: Sequence[Sequence[Any]], names: Sequence[str]) -> pa.Table:
    """Return rows of ``ml_predictions`` by column.

    Args:
        rows: Values of each row, in the order of ``names``.
        names: Columns, of ``PACKED``.
    """
    columns = zip(*rows, strict=True) if rows else ((),) * len(names)
    arrays = [_array(name, list(values)) for name, values in zip(names, columns, strict=True)]
    return pa.table(arrays, names=list(names))


def _array(name: str, values: list[Any]) -> pa.Array:
    if name in TIME_COLUMNS:
        return pa.array(values, MOMENT)
    if name in FLOAT_COLUMNS:
        return pa.array(values, pa.float64())
    if name in TRUTHS:
        return pa.array(values, pa.bool_())
    texts = pa.array(values, pa.string())
    return texts if name == "signal_id" else texts.dictionary_encode()


def block_of(table: pa.Table) -> dict[str, Any]:
    """Return the columns of ``ml_packed`` for settled rows, but for lineage and digests.

    Args:
        table: Columns ``PACKED``, in any order of rows.
    """
    table = table.unify_dictionaries()
    positions = _in_order(table["settled_at"].to_numpy(), table["signal_id"].combine_chunks())
    table = table.take(positions).combine_chunks()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    decided, settled = (pc.min_max(table[name]).as_py() for name in ("decided_at", "settled_at"))
    return {
        "rows": len(table),
        "decided_from": decided["min"],
        "decided_until": decided["max"],
        "settled_from": settled["min"],
        "settled_until": settled["max"],
        "tally": _tally(table),
        "content": sink.getvalue().to_pybytes(),
    }


def _tally(table: pa.Table) -> list[list[Any]]:
    """Return decision, reason of the fallback, number and pivotal number of rows decided alike."""
    alike = zip(*(table[name].to_pylist() for name in ("decision", "fallback_reason")), strict=True)
    keys = list(alike)
    pivotal = Counter(
        key for key, changed in zip(keys, table["pivotal"].to_pylist(), strict=True) if changed
    )
    return sorted(([*key, count, pivotal[key]] for key, count in Counter(keys).items()), key=str)


def is_same_block(block: Mapping[str, Any], stored: Mapping[str, Any]) -> bool:
    """Return whether a stored block holds what it should.

    Args:
        block: What it should hold, from ``block_of``.
        stored: The same columns as they are stored.
    """
    if any(stored[name] != block[name] for name in block if name != "content"):
        return False
    try:
        return bool(_plain(stored["content"]).equals(_plain(block["content"])))
    except UNREADABLE:
        return False


def _plain(content: bytes) -> pa.Table:
    """Return a block whose texts are no longer coded, by numbers that depend on its making."""
    table = unpack(content)
    kinds = [getattr(field.type, "value_type", field.type) for field in table.schema]
    return table.cast(pa.schema(zip(table.column_names, kinds, strict=True)))


def unpacked_numbers(connection: Connection, lineage: str) -> list[int]:
    """Return the numbers of a lineage's digests that are in no block, in order.

    Args:
        connection: Connection to the ledger.
        lineage: Name of the lineage.
    """
    spans = select(PackedPredictions.first, PackedPredictions.number)
    blocks = connection.execute(spans.where(PackedPredictions.lineage == lineage)).all()
    packed = {number for first, last in blocks for number in range(first, last + 1)}
    own = LedgerDigest.lineage == lineage
    taken = connection.execute(select(func.count()).where(own)).scalar()
    if taken == len(packed):
        return []
    numbers = select(LedgerDigest.number).where(own).order_by(LedgerDigest.number)
    return [number for number in connection.execute(numbers).scalars() if number not in packed]


def unpacked_parts(
    connection: Connection, lineage: str, damaged: Sequence[int] = ()
) -> "list[ColumnElement[bool]]":
    """Return conditions for predictions of a lineage that are in no block that can be read.

    Each is answered by the index of digests, which databases do not see if they are one condition.

    Args:
        connection: Connection to the ledger.
        lineage: Name of the lineage.
        damaged: Digests whose block cannot be read.
    """
    own, number = Prediction.lineage == lineage, Prediction.digest_number
    unpacked = [*unpacked_numbers(connection, lineage), *damaged]
    covered = [own & number.in_(unpacked)] if unpacked else []
    return [own & number.is_(None), *covered]


def unpack(content: bytes, names: Sequence[str] = PACKED) -> pa.Table:
    """Return columns of a block.

    Args:
        content: ``ml_packed.content``.
        names: Columns, of ``PACKED``.

    Raises:
        ArrowException: If it is damaged; also others of ``UNREADABLE``.
    """
    included = sorted(PACKED.index(name) for name in names)
    options = pa.ipc.IpcReadOptions(included_fields=included)
    return pa.ipc.open_stream(content, options=options).read_all().select(list(names))


def read(
    connection: Connection, lineage: str, names: Sequence[str], order: str, window: Window
) -> pd.DataFrame:
    """Return columns of a lineage's predictions: from its blocks, and from rows without one.

    Args:
        connection: Connection whose reads all see the same moment.
        lineage: Name of the lineage.
        names: Columns, of ``PACKED``.
        order: Time the rows are ordered by; rows of the same time by ``signal_id``.
        window: Which predictions.
    """
    needed = tuple(dict.fromkeys((*names, "signal_id", "decided_at", "settled_at", "p_win")))
    own = PackedPredictions.lineage == lineage
    blocks = connection.execute(select(*BOUNDS).where(own)).all()
    wanted = {block.number for block in blocks if window.meets(block)}
    spans = {block.number: range(block.first, block.number + 1) for block in blocks}
    tables, damaged = [table_of((), needed)], list[int]()
    contents = _contents(connection, own, wanted)
    while part := tuple(islice(contents, BLOCKS_AT_ONCE)):
        unpacked = [_unpacked(spans[number], content, needed, damaged) for number, content in part]
        tables.append(_joined(unpacked))
    bounds = [] if blocks else window.conditions()  # few rows have no block: no index of times
    for rest in unpacked_parts(connection, lineage, damaged):
        tables += _rows(connection, needed, rest, *bounds)
    table = _rows_inside(window, pa.concat_tables(tables).unify_dictionaries())
    columns = dict(zip(table.column_names, table.columns, strict=True))
    tables.clear()  # a life is large, and so is each copy of it
    del table
    return _frame(columns, names, order)


def _rows_inside(window: Window, table: pa.Table) -> pa.Table:
    """Return the rows of a table that lie inside a window."""
    bounds = [
        (pc.greater, "decided_at", window.decided_after),
        (pc.less_equal, "decided_at", window.decided_until),
        (pc.greater, "settled_at", window.settled_after),
        (pc.less_equal, "settled_at", window.settled_until),
    ]
    inside = [
        holds(table[name], pa.scalar(pd.Timestamp(bound).floor("us"), MOMENT))
        for holds, name, bound in bounds
        if bound is not None
    ]
    if window.with_opinion:
        inside.append(pc.is_valid(table["p_win"]))
    masks = [mask for mask in inside if not pc.all(mask, skip_nulls=False).as_py()]
    return table.filter(reduce(pc.and_, masks)) if masks else table


def _joined(tables: list[pa.Table]) -> pa.Table:
    """Return tables of the same columns one below the other, copied out of their blocks."""
    return pa.concat_tables(tables).unify_dictionaries().combine_chunks()


def _unpacked(digests: range, content: bytes, names: Sequence[str], damaged: list[int]) -> pa.Table:
    """Return columns of a block; of a damaged one no rows, and its digests go to ``damaged``."""
    try:
        return unpack(content, names)
    except UNREADABLE:  # the rows are there, and the next verify makes it anew
        damaged += digests
        return table_of((), names)


def _contents(connection: Connection, own: Any, wanted: set[int]) -> Iterator[tuple[int, bytes]]:
    """Yield number and content of the wanted blocks, a few in memory at once."""
    if not wanted:
        return
    packed = PackedPredictions
    inside = own, packed.number.between(min(wanted), max(wanted))
    stored = select(packed.number, packed.content).where(*inside).order_by(packed.number)
    for number, content in connection.execute(
        stored, execution_options={"yield_per": BLOCKS_AT_ONCE}
    ):
        if number in wanted:
            yield number, content


def _rows(connection: Connection, names: Sequence[str], *conditions: Any) -> Iterator[pa.Table]:
    """Yield columns of rows of ``ml_predictions``, a part at a time."""
    columns = [getattr(Prediction, name) for name in names]
    stored = select(*columns).where(*conditions)
    at_once = {"yield_per": ROWS_AT_ONCE}
    for rows in connection.execute(stored, execution_options=at_once).partitions():
        yield table_of(rows, names)


def _frame(columns: dict[str, pa.ChunkedArray], names: Sequence[str], order: str) -> pd.DataFrame:
    """Return columns as a frame, ordered by a time and ``signal_id``; each is dropped once read."""
    stamps, ids = columns[order].to_numpy(), columns["signal_id"].combine_chunks()
    for name in columns.keys() - set(names):
        del columns[name]
    positions = _in_order(stamps, ids)
    del ids
    values = {
        name: _values(columns.pop(name).combine_chunks().take(positions), name) for name in names
    }
    if len(positions) > MANY:
        pa.default_memory_pool().release_unused()  # it would keep what a whole life took
    return pd.DataFrame(values, copy=False)


def _in_order(stamps: NDArray[np.datetime64], ids: pa.Array) -> pa.Array:
    """Return the positions of rows by time; by id, which is slow, only where blocks meet.

    Args:
        stamps: Time of each row, shape (n,).
        ids: Id of each row, shape (n,); those of a block are in order.
    """
    positions = np.argsort(stamps, kind="stable")
    ordered, sorted_ids = stamps[positions], ids.take(pa.array(positions))
    is_tie = ordered[1:] == ordered[:-1]
    swapped = is_tie & pc.greater(sorted_ids[:-1], sorted_ids[1:]).to_numpy(zero_copy_only=False)
    if swapped.any():
        mixed = np.isin(ordered, ordered[1:][swapped])
        rows = pa.table(
            [pa.array(ordered[mixed]), sorted_ids.filter(pa.array(mixed))], ["at", "id"]
        )
        again = pc.sort_indices(rows, sort_keys=[("at", "ascending"), ("id", "ascending")])
        positions[mixed] = positions[mixed][again.to_numpy()]
    return pa.array(positions)


def _values(column: pa.Array, name: str) -> Any:
    if name in TIME_COLUMNS:
        stamps = column.to_numpy(zero_copy_only=False).astype("datetime64[ns]")
        return pd.DatetimeIndex(stamps).tz_localize("UTC")
    kind = COLUMN_DTYPES.get(name, "object")
    if kind == "boolean":
        known = column.is_valid().to_numpy(zero_copy_only=False)
        values = column.fill_null(False).to_numpy(zero_copy_only=False)
        return pd.arrays.BooleanArray(values, ~known)
    if pa.types.is_dictionary(column.type):
        texts = np.array([*column.dictionary.to_pylist(), None], dtype=object)
        codes = column.indices.fill_null(len(texts) - 1).to_numpy()
        return pd.Series(texts[codes], dtype=kind)
    return pd.Series(column.to_numpy(zero_copy_only=False), dtype=kind, copy=False)
