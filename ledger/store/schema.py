"""Brings a database to the newest schema, and refuses one that it does not know."""

from typing import Any

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, insert, inspect, select

from ledger.errors import ConfigurationError
from ledger.log.merkle import CompactRange
from ledger.store.engine import writing
from ledger.store.log_rows import entry_table, head_table
from ledger.store.revision import MIGRATIONS, revision_of
from ledger.store.revision import require_current as require_current


def migration_config(connection: Connection | None = None) -> Config:
    """Alembic's configuration; there is no ini file."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    if connection is not None:
        config.attributes["connection"] = connection
    return config


def migrate(engine: Engine) -> None:
    """Run every pending migration and make the head row."""
    with writing(engine) as connection:
        _refuse_foreign(connection)
        command.upgrade(migration_config(connection), "head")
        # A head that is missing beside entries is damage, and an empty one would hide it.
        columns = (head_table.c.id, entry_table.c.idx)
        if not any(connection.execute(select(column).limit(1)).first() for column in columns):
            connection.execute(insert(head_table), [empty_head()])


def _refuse_foreign(connection: Connection) -> None:
    """Never migrate somebody else's database, nor one from the future."""
    tables = set(inspect(connection).get_table_names())
    current = revision_of(connection)
    known = {
        script.revision
        for script in ScriptDirectory.from_config(migration_config()).walk_revisions()
    }
    if current is not None and current not in known:
        raise ConfigurationError(
            f"the ledger has schema {current}, which is newer than this program"
        )
    if current is None and tables - {"alembic_version"}:
        raise ConfigurationError("the database already holds other tables; give an empty one")


def empty_head() -> dict[str, Any]:
    """The head row of a log without entries."""
    empty = CompactRange().encode()
    return {
        "id": 1,
        "size": 0,
        "frontier": empty,
        "received_ms": 0,
        "published_size": 0,
        "published_frontier": empty,
        "verifier_position": 0,
        "documents": 0,
        "simulated_ms": 0,
    }
