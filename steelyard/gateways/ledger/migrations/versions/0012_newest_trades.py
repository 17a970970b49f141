"""Indexes by which the newest trades, and those of a status, are found without reading all."""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

COLUMNS = ("submitted_at", "status")


def upgrade() -> None:
    """Make them."""
    for column in COLUMNS:
        op.create_index(f"ix_trades_lineage_{column}", "trades", ["lineage", column])


def downgrade() -> None:
    """Drop them."""
    for column in COLUMNS:
        op.drop_index(f"ix_trades_lineage_{column}", "trades")
