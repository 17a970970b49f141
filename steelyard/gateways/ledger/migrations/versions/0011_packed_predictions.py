"""Settled predictions packed by column, in blocks; the next guard makes them."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the empty table; blocks are made by the guard, so that no start waits for them."""
    moments = ("decided_from", "decided_until", "settled_from", "settled_until")
    op.create_table(
        "ml_packed",
        sa.Column("lineage", sa.String, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("first", sa.Integer, nullable=False),
        sa.Column("rows", sa.Integer, nullable=False),
        *(sa.Column(name, sa.DateTime(timezone=True), nullable=True) for name in moments),
        sa.Column("tally", sa.JSON, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("lineage", "number", name="pk_ml_packed"),
    )


def downgrade() -> None:
    """Drop it; nothing is lost, the rows are the record."""
    op.drop_table("ml_packed")
