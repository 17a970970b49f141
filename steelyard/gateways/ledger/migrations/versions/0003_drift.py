"""Checks for drift, one a day and version."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "ml_drift",
        sa.Column("key", sa.String, primary_key=True),
        sa.Column("as_of", sa.DateTime(timezone=True), nullable=False),
        sa.Column("model_version", sa.String, nullable=False),
        sa.Column("verdict", sa.String, nullable=False),
        sa.Column("share", sa.Float),
        sa.Column("reasons", sa.JSON, nullable=False),
        sa.Column("columns", sa.JSON, nullable=False),
        sa.Column("run_id", sa.String, nullable=False),
        sa.Column("asked", sa.Boolean, nullable=False),
    )
    op.create_index("ix_ml_drift_as_of", "ml_drift", ["as_of"])


def downgrade() -> None:
    """Drop it."""
    op.drop_index("ix_ml_drift_as_of", "ml_drift")
    op.drop_table("ml_drift")
