"""Trades know their decision bar, their bracket, and why risk left them."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what a broker needs to carry a bracket on after a restart."""
    with op.batch_alter_table("trades") as table:
        table.add_column(sa.Column("timestamp", sa.DateTime(timezone=True)))
        table.add_column(sa.Column("stop_offset", sa.Float))
        table.add_column(sa.Column("target_offset", sa.Float))
        table.add_column(sa.Column("veto", sa.String))
    op.create_index("ix_trades_status", "trades", ["status"])


def downgrade() -> None:
    """Drop it."""
    op.drop_index("ix_trades_status", "trades")
    with op.batch_alter_table("trades") as table:
        for name in ("veto", "target_offset", "stop_offset", "timestamp"):
            table.drop_column(name)
