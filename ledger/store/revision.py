"""Which schema a database has, and which one this program wants.

Read without Alembic: a query needs no more than that, and to import it takes longer than to answer.
"""

from pathlib import Path

from sqlalchemy import Connection, Engine, column, inspect, select, table

from ledger.errors import ConfigurationError
from ledger.store.engine import reading

MIGRATIONS = Path(__file__).parent / "migrations"
_VERSIONS = table("alembic_version", column("version_num"))


def newest_revision() -> str:
    """The last migration's name; migrations are numbered, and their files begin with the number."""
    names = [path.name for path in (MIGRATIONS / "versions").glob("[0-9]*_*.py")]
    return max(names).partition("_")[0]


def revision_of(connection: Connection) -> str | None:
    """Which schema the database says it has; None where it holds no ledger."""
    if not inspect(connection).has_table(_VERSIONS.name):
        return None
    found = connection.execute(select(_VERSIONS.c.version_num)).scalars().all()
    if len(found) > 1:
        raise ConfigurationError("the ledger names several schemas; restore it from a backup")
    return str(found[0]) if found else None


def require_current(engine: Engine) -> None:
    """Refuse a database whose schema is not the newest (for read-only use)."""
    newest = newest_revision()
    with reading(engine) as connection:
        current = revision_of(connection)
    if current is None:
        raise ConfigurationError("the database holds no ledger")
    if current != newest:
        raise ConfigurationError(
            f"the ledger has schema {current}, this program wants {newest}; "
            "start the matching version's server once to migrate it"
        )
