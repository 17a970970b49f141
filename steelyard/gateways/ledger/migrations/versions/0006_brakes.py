"""A brake in the ledger, for a home whose disk cannot be written."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "ml_brakes",
        sa.Column("lineage", sa.String, nullable=False),
        sa.Column("operator", sa.String, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("lineage", name="pk_ml_brakes"),
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("ml_brakes")
