"""Alembic's entry: migrations run on the connection the ledger hands over."""

from alembic import context

from steelyard.gateways.ledger import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
