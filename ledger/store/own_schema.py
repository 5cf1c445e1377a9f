"""Databases of others than a ledger: a witness, an auditor. One schema version, no migration."""

from collections.abc import Callable

from sqlalchemy import Connection, Engine, Table, inspect, select

from ledger.errors import ConfigurationError
from ledger.store.engine import writing


def prepare_own(
    engine: Engine, about: Table, version: int, owner: str, make: Callable[[Connection], None]
) -> None:
    """Make the tables in an empty database, or refuse what is not for ``owner`` in this version.

    ``about`` is the table that says whose the database is, with its version. ConfigurationError
    for foreign tables and other versions.
    """
    with writing(engine) as connection:
        found = set(inspect(connection).get_table_names())
        if not found:
            make(connection)
        elif about.name not in found:
            raise ConfigurationError(
                f"the database holds something else than {owner}, which needs one of its own"
            )
        stored = connection.execute(select(about.c.version)).scalars().all()
        if list(stored) != [version]:
            raise ConfigurationError(
                f"the database for {owner} has schema {list(stored)}, this program wants {version}"
            )
