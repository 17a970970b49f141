"""The highest decision seen of each lineage, and daily digests of the settled predictions."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make both tables and the column that says which digest covers a row."""
    op.create_table(
        "ml_lineages",
        sa.Column("lineage", sa.String, nullable=False),
        sa.Column("sequence", sa.Integer, nullable=False),
        sa.Column("decision_hash", sa.String, nullable=True),
        sa.Column("key_id", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("lineage", name="pk_ml_lineages"),
    )
    op.create_table(
        "ml_digests",
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("rows", sa.Integer, nullable=False),
        sa.Column("digest", sa.String, nullable=False),
        sa.Column("head", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_ml_digests"),
    )
    op.add_column("ml_predictions", sa.Column("digest_number", sa.Integer, nullable=True))
    op.add_column("ml_predictions", sa.Column("reported", sa.Boolean, nullable=True))
    op.create_index("ix_ml_predictions_digest_number", "ml_predictions", ["digest_number"])


def downgrade() -> None:
    """Drop them."""
    op.drop_index("ix_ml_predictions_digest_number", "ml_predictions")
    op.drop_column("ml_predictions", "reported")
    op.drop_column("ml_predictions", "digest_number")
    op.drop_table("ml_digests")
    op.drop_table("ml_lineages")
