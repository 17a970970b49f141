"""The four tables: signals with features, models, predictions with outcomes, trades."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

UTC = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create them."""
    op.create_table(
        "ml_trade_features",
        sa.Column("signal_id", sa.String, nullable=False),
        sa.Column("symbol", sa.String, nullable=False),
        sa.Column("timestamp", UTC, nullable=False),
        sa.Column("decided_at", UTC, nullable=False),
        sa.Column("side", sa.String, nullable=False),
        sa.Column("confidence_existing", sa.Float, nullable=False),
        sa.Column("features", sa.JSON, nullable=False),
        sa.Column("feature_set_hash", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("signal_id", name="pk_ml_trade_features"),
    )
    op.create_index("ix_ml_trade_features_decided_at", "ml_trade_features", ["decided_at"])
    op.create_table(
        "ml_models",
        sa.Column("version", sa.String, nullable=False),
        sa.Column("run_id", sa.String, nullable=False),
        sa.Column("family", sa.String, nullable=False),
        sa.Column("metrics", sa.JSON, nullable=False),
        sa.Column("trained_through", UTC),
        sa.Column("stage", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("version", name="pk_ml_models"),
    )
    op.create_table(
        "ml_predictions",
        sa.Column("signal_id", sa.String, nullable=False),
        sa.Column("symbol", sa.String, nullable=False),
        sa.Column("side", sa.String, nullable=False),
        sa.Column("decided_at", UTC, nullable=False),
        sa.Column("model_version", sa.String, nullable=False),
        sa.Column("p_win", sa.Float),
        sa.Column("confidence_existing", sa.Float, nullable=False),
        sa.Column("confidence_ml", sa.Float),
        sa.Column("weight", sa.Float, nullable=False),
        sa.Column("blended", sa.Float, nullable=False),
        sa.Column("arm", sa.String, nullable=False),
        sa.Column("decision", sa.Boolean, nullable=False),
        sa.Column("pivotal", sa.Boolean, nullable=False),
        sa.Column("latency_ms", sa.Float, nullable=False),
        sa.Column("fallback_reason", sa.String),
        sa.Column("settled_at", UTC),
        sa.Column("net_return", sa.Float),
        sa.Column("won", sa.Boolean),
        sa.Column("exit_reason", sa.String),
        sa.Column("hold_minutes", sa.Float),
        sa.Column("slippage_bps", sa.Float),
        sa.Column("stop_distance", sa.Float),
        sa.PrimaryKeyConstraint("signal_id", name="pk_ml_predictions"),
    )
    op.create_index("ix_ml_predictions_decided_at", "ml_predictions", ["decided_at"])
    op.create_index("ix_ml_predictions_settled_at", "ml_predictions", ["settled_at"])
    op.create_index(
        "ix_ml_predictions_model_version_settled_at",
        "ml_predictions",
        ["model_version", "settled_at"],
    )
    op.create_table(
        "trades",
        sa.Column("signal_id", sa.String, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("broker", sa.String, nullable=False),
        sa.Column("broker_order_id", sa.String),
        sa.Column("symbol", sa.String, nullable=False),
        sa.Column("side", sa.String, nullable=False),
        sa.Column("quantity", sa.Float, nullable=False),
        sa.Column("stop_price", sa.Float, nullable=False),
        sa.Column("target_price", sa.Float, nullable=False),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("submitted_at", UTC, nullable=False),
        sa.Column("entry_at", UTC),
        sa.Column("entry_price", sa.Float),
        sa.Column("exit_at", UTC),
        sa.Column("exit_price", sa.Float),
        sa.Column("exit_reason", sa.String),
        sa.Column("fees", sa.Float),
        sa.PrimaryKeyConstraint("signal_id", name="pk_trades"),
    )
    op.create_index("ix_trades_sequence", "trades", ["sequence"])


def downgrade() -> None:
    """Drop them."""
    for table in ("trades", "ml_predictions", "ml_models", "ml_trade_features"):
        op.drop_table(table)
