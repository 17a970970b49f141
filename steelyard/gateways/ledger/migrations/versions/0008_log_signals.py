"""Signals that a log gave, with the outcomes it told."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "log_signals",
        sa.Column("signal_id", sa.String, nullable=False),
        sa.Column("symbol", sa.String, nullable=False),
        sa.Column("timestamp", moment, nullable=False),
        sa.Column("decided_at", moment, nullable=False),
        sa.Column("taken_in_at", moment, nullable=False),
        sa.Column("side", sa.String, nullable=False),
        sa.Column("confidence", sa.Float, nullable=False),
        sa.Column("own", sa.JSON, nullable=False),
        sa.Column("levels", sa.JSON, nullable=True),
        sa.Column("traded", sa.Boolean, nullable=False),
        sa.Column("entry_at", moment, nullable=True),
        sa.Column("entry_price", sa.Float, nullable=True),
        sa.Column("exit_at", moment, nullable=True),
        sa.Column("exit_price", sa.Float, nullable=True),
        sa.Column("settled_at", moment, nullable=True),
        sa.Column("net_return", sa.Float, nullable=True),
        sa.Column("won", sa.Boolean, nullable=True),
        sa.Column("exit_reason", sa.String, nullable=True),
        sa.Column("hold_minutes", sa.Float, nullable=True),
        sa.Column("stop_distance", sa.Float, nullable=True),
        sa.Column("quantity", sa.Float, nullable=True),
        sa.Column("fees", sa.Float, nullable=True),
        sa.Column("outcome_taken_in_at", moment, nullable=True),
        sa.Column("faults", sa.JSON, nullable=False),
        sa.Column("source", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("signal_id", name="pk_log_signals"),
    )
    op.create_index("ix_log_signals_decided_at", "log_signals", ["decided_at"])


def downgrade() -> None:
    """Drop it."""
    op.drop_table("log_signals")
