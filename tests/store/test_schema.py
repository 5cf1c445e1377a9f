"""Migrations: from nothing, twice, and never into a database that is not ours."""

import subprocess
import sys
from pathlib import Path

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect, text

from ledger.errors import ConfigurationError
from ledger.store import schema
from ledger.store.engine import reading, writing
from ledger.store.log_rows import read_head
from ledger.store.revision import newest_revision
from ledger.store.schema import migrate, migration_config, require_current
from tests.store.rows import TABLES, append, dump, items


def test_migrating_an_empty_database_makes_every_table_and_one_head(empty_engine: Engine) -> None:
    migrate(empty_engine)
    require_current(empty_engine)
    assert set(TABLES) <= set(inspect(empty_engine).get_table_names())
    with reading(empty_engine) as connection:
        head = read_head(connection)
    assert (head.size, head.published_size, head.verifier_position, head.documents) == (0, 0, 0, 0)


def test_migrating_twice_changes_nothing(engine: Engine) -> None:
    append(engine, items(5))
    before = dump(engine)
    migrate(engine)
    assert dump(engine) == before


def test_database_with_foreign_tables_is_refused_and_left_alone(empty_engine: Engine) -> None:
    with writing(empty_engine) as connection:
        connection.execute(text("CREATE TABLE customers (id INTEGER PRIMARY KEY)"))
    with pytest.raises(ConfigurationError, match="other tables"):
        migrate(empty_engine)
    with pytest.raises(ConfigurationError, match="holds no ledger"):
        require_current(empty_engine)
    assert inspect(empty_engine).get_table_names() == ["customers"]


def test_newer_schema_is_refused(engine: Engine) -> None:
    with writing(engine) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigurationError, match="newer than this program"):
        migrate(engine)
    with pytest.raises(ConfigurationError, match="has schema 9999"):
        require_current(engine)


def test_newest_revision_by_its_file_is_the_one_that_alembic_finds() -> None:
    script = ScriptDirectory.from_config(migration_config())
    assert newest_revision() == script.get_current_head()
    names = [Path(str(found.path)).name for found in script.walk_revisions()]
    revisions = [found.revision for found in script.walk_revisions()]
    assert revisions == [name.partition("_")[0] for name in names] == sorted(revisions)[::-1]


def test_ledger_that_names_two_schemas_or_none_is_refused(engine: Engine) -> None:
    with writing(engine) as connection:
        connection.execute(text("INSERT INTO alembic_version VALUES ('9999')"))
    with pytest.raises(ConfigurationError, match="several schemas"):
        require_current(engine)
    with writing(engine) as connection:
        connection.execute(text("DELETE FROM alembic_version"))
    with pytest.raises(ConfigurationError, match="holds no ledger"):
        require_current(engine)


def test_failed_migration_leaves_an_empty_database(
    empty_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise RuntimeError("killed")

    monkeypatch.setattr(schema, "empty_head", fail)
    with pytest.raises(RuntimeError, match="killed"):
        migrate(empty_engine)
    assert inspect(empty_engine).get_table_names() == []
    monkeypatch.undo()
    migrate(empty_engine)


def test_going_back_to_nothing_and_forth_again(engine: Engine) -> None:
    with writing(engine) as connection:
        command.downgrade(migration_config(connection), "base")
    assert inspect(engine).get_table_names() == ["alembic_version"]
    migrate(engine)
    require_current(engine)


COMPARE = """
import sys
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlmodel import SQLModel
import ledger.service.node  # brings in every table that the program uses
from ledger.store.engine import open_engine, reading
from ledger.store.schema import migrate
engine = open_engine(sys.argv[1])
migrate(engine)
with reading(engine) as connection:
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    print(compare_metadata(context, SQLModel.metadata))
"""


COMPARE_EXACTLY = """
import sys
from sqlalchemy import create_engine, text
from sqlmodel import SQLModel
import ledger.service.node  # brings in every table that the program uses
from ledger.store.engine import open_engine
from ledger.store.schema import migrate
LITE = "SELECT name, coalesce(sql, '') FROM sqlite_master WHERE name NOT LIKE 'sqlite%'"
COLUMNS = (
    "SELECT table_name || ' ' || column_name, concat_ws(' ', ordinal_position, data_type,"
    " is_nullable, column_default) FROM information_schema.columns WHERE table_schema = '{0}'"
)
KEYS = (
    "SELECT conrelid::regclass || ' ' || conname, pg_get_constraintdef(oid) FROM pg_constraint"
    " WHERE connamespace = '{0}'::regnamespace"
)
INDICES = "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = '{0}'"
def described(connection, schema):
    queries = [LITE] if connection.dialect.name == "sqlite" else [COLUMNS, KEYS, INDICES]
    found = set()
    for query in queries:
        for name, described in connection.execute(text(query.format(schema))):
            words = (name + ": " + described).replace(schema + ".", "").replace('"', "")
            found.add(" ".join(words.split()))
    return {words for words in found if "alembic_version" not in words}
engine = open_engine(sys.argv[1])
migrate(engine)
other = create_engine("sqlite://") if engine.dialect.name == "sqlite" else engine
with engine.begin() as migrated, other.begin() as modelled:
    before = described(migrated, "public")
    if other is engine:
        modelled.execute(text("CREATE SCHEMA model"))
        modelled = modelled.execution_options(schema_translate_map={None: "model"})
    SQLModel.metadata.create_all(modelled)
    after = described(modelled, "model")
assert len(before) >= len(SQLModel.metadata.tables), before
print(sorted(before ^ after))
"""


@pytest.mark.parametrize("comparison", [COMPARE, COMPARE_EXACTLY], ids=["alembic", "exactly"])
def test_models_and_migrations_describe_the_same_tables(database: str, comparison: str) -> None:
    """In a process of its own: other tests may have imported tables that are not in use yet.

    Alembic's comparison says what to migrate; it passes over keys, and SQLite's WITHOUT ROWID.
    """
    done = subprocess.run(
        [sys.executable, "-c", comparison, database], capture_output=True, text=True, check=False
    )
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr
