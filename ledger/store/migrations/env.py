"""Alembic's entry point: runs on the connection that ``ledger.store.schema`` hands over."""

from typing import Any, Literal

from alembic import context
from sqlmodel import SQLModel

from ledger.store import cosignature_rows as cosignature_rows
from ledger.store import map_tables as map_tables
from ledger.store import tables as tables
from ledger.store import token_rows as token_rows


def render(kind: str, item: Any, _context: object) -> str | Literal[False]:
    """Our byte strings are plain ones in a migration."""
    return "sa.LargeBinary()" if kind == "type" and isinstance(item, tables.Blob) else False


connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=SQLModel.metadata,
    compare_type=True,
    render_as_batch=True,
    render_item=render,
)
with context.begin_transaction():
    context.run_migrations()
