"""Trades know since when they have neither stop nor target at the broker."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the moment; NULL for a protected trade."""
    with op.batch_alter_table("trades") as table:
        table.add_column(sa.Column("unprotected_since", sa.DateTime(timezone=True)))


def downgrade() -> None:
    """Drop it."""
    with op.batch_alter_table("trades") as table:
        table.drop_column("unprotected_since")
