"""Every row carries its lineage; older rows get the name they had in conf/services.yaml."""

from collections.abc import Iterator

import sqlalchemy as sa
from alembic import context, op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

KEYS = {
    "ml_trade_features": "signal_id",
    "ml_models": "version",
    "ml_predictions": "signal_id",
    "trades": "signal_id",
    "log_signals": "signal_id",
    "ml_digests": "number",
}
"""Table → its key, which begins with the lineage from now on."""
KEYED_BY_NAME = ("ml_drift", "ml_trials")
"""Tables whose key has begun with the lineage and a slash from the beginning."""
INDEXES: dict[str, list[tuple[str, ...]]] = {
    "ml_trade_features": [("decided_at",)],
    "ml_predictions": [
        ("decided_at",),
        ("settled_at",),
        ("digest_number",),
        ("model_version", "settled_at"),
    ],
    "trades": [("sequence",)],
    "log_signals": [("decided_at",)],
    "ml_drift": [("as_of",)],
    "ml_trials": [("as_of",)],
}
"""Table → columns of its indexes, to which the lineage comes first."""


def upgrade() -> None:
    """Add the column, name the rows, and put it into keys and indexes."""
    first = context.config.attributes["first_lineage"]
    _drop_indexes()
    for table in (*KEYS, *KEYED_BY_NAME):
        op.add_column(table, sa.Column("lineage", sa.String, nullable=True))
        named = sa.table(table, sa.column("lineage"), sa.column("key"))
        name = _before_slash(named.c.key) if table in KEYED_BY_NAME else sa.literal(first)
        op.execute(named.update().values(lineage=name))
        with op.batch_alter_table(table) as batch:
            batch.alter_column("lineage", existing_type=sa.String, nullable=False)
            if table in KEYS:
                batch.drop_constraint(f"pk_{table}", type_="primary")
                batch.create_primary_key(f"pk_{table}", ["lineage", KEYS[table]])
    op.add_column("trades", sa.Column("order_id", sa.String, nullable=True))
    op.execute("UPDATE trades SET order_id = signal_id")
    _create_indexes("lineage")


def downgrade() -> None:
    """Drop the column; two lineages with the same key do not fit into the older tables."""
    _drop_indexes("lineage")
    op.drop_column("trades", "order_id")
    for table in (*KEYS, *KEYED_BY_NAME):
        with op.batch_alter_table(table) as batch:
            if table in KEYS:
                batch.drop_constraint(f"pk_{table}", type_="primary")
                batch.create_primary_key(f"pk_{table}", [KEYS[table]])
            batch.drop_column("lineage")
    _create_indexes()


def _before_slash(key: sa.ColumnElement[str]) -> sa.ColumnElement[str]:
    """Return the part of a key before its first slash."""
    if op.get_bind().dialect.name == "postgresql":
        return sa.func.split_part(key, "/", 1)
    return sa.func.substr(key, 1, sa.func.instr(key, "/") - 1)


def _drop_indexes(*first: str) -> None:
    for name, table, _ in _indexes(first):
        op.drop_index(name, table)


def _create_indexes(*first: str) -> None:
    for name, table, columns in _indexes(first):
        op.create_index(name, table, columns)


def _indexes(first: tuple[str, ...]) -> Iterator[tuple[str, str, list[str]]]:
    """Yield name, table and columns of each index, with ``first`` before its own columns."""
    for table, indexes in INDEXES.items():
        for columns in indexes:
            yield f"ix_{table}_{'_'.join((*first, *columns))}", table, [*first, *columns]
