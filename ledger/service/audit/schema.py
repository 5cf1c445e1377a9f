"""The part of a check that is about SQLite's own list of tables, indices, triggers and views.

A trigger or a view that nobody's migration made could change what is stored, or what a query sees,
without any row being wrong on the day of the check.
"""

from alembic import command
from sqlalchemy import Connection, create_engine
from sqlalchemy.pool import StaticPool

from ledger.service.audit.report import FaultFound
from ledger.store.schema import migration_config

Objects = dict[tuple[str, str], str]
"""The text that made each object, blanks and quotes aside, by (type, name)."""

_QUERY = """
SELECT type, name, coalesce(sql, '') FROM sqlite_master
WHERE NOT (type = 'index' AND sql IS NULL) AND NOT (type = 'table' AND name GLOB 'sqlite_stat[0-9]')
"""
"""All but what SQLite makes by itself: indices of keys, and statistics for its planner. A name is
no proof of that: whoever may write the schema can call a trigger ``sqlite_…`` as well."""


def check_schema(connection: Connection) -> None:
    """Everything in the file is as the migrations make it, and nothing else is there."""
    stored, expected = _objects(connection), _expected()
    for key in sorted(expected.keys() | stored.keys()):
        if stored.get(key) == expected.get(key):
            continue
        kind, name = key
        if key not in stored:
            problem = f"the {kind} {name} is missing"
        elif key not in expected:
            problem = f"no migration makes its {kind} {name}"
        else:
            problem = f"the {kind} {name} is not as the migrations make it"
        raise FaultFound("database file", problem)


def _expected() -> Objects:
    engine = create_engine("sqlite://", poolclass=StaticPool)
    try:
        with engine.begin() as connection:
            command.upgrade(migration_config(connection), "head")
            return _objects(connection)
    finally:
        engine.dispose()


def _objects(connection: Connection) -> Objects:
    rows = connection.exec_driver_sql(_QUERY)
    return {(kind, name): "".join(sql.replace('"', "").split()).lower() for kind, name, sql in rows}
