"""What was tried to find a good system, counted once."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "ml_trials",
        sa.Column("key", sa.String, nullable=False),
        sa.Column("as_of", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("count", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_ml_trials"),
    )
    op.create_index("ix_ml_trials_as_of", "ml_trials", ["as_of"])


def downgrade() -> None:
    """Drop it."""
    op.drop_index("ix_ml_trials_as_of", "ml_trials")
    op.drop_table("ml_trials")
