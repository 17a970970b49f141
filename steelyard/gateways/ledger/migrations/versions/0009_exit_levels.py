"""Trades keep the exit levels of the signal's own, and may have no target."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

LEVELS = ("level_stop", "level_target", "level_bars", "level_trail")


def upgrade() -> None:
    """Add the levels, NULL for the policy's, and let the target be NULL."""
    with op.batch_alter_table("trades") as table:
        for name in LEVELS:
            table.add_column(sa.Column(name, sa.Float))
        table.alter_column("target_price", existing_type=sa.Float, nullable=True)


def downgrade() -> None:
    """Drop the levels; a trade without target has one at its stop."""
    op.execute("UPDATE trades SET target_price = stop_price WHERE target_price IS NULL")
    with op.batch_alter_table("trades") as table:
        table.alter_column("target_price", existing_type=sa.Float, nullable=False)
        for name in LEVELS:
            table.drop_column(name)
