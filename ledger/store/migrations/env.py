"""Alembic's entry point: runs on the connection that ``ledger.store.schema`` hands over."""

from alembic import context
from sqlmodel import SQLModel

from ledger.store import tables as tables

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=SQLModel.metadata,
    compare_type=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
