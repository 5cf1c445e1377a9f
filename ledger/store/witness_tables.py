"""Tables of a witness: a small database of its own, never a ledger's.

They stand outside the ledger's metadata and migrations, because a witness is another party, on
another machine. There is one schema version; a database that says another is refused.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    LargeBinary,
    MetaData,
    Table,
    Text,
    insert,
)

from ledger.store.own_schema import prepare_own

SCHEMA_VERSION = 1

metadata = MetaData()

about_table = Table(
    "witness_about",
    metadata,
    Column("version", BigInteger, primary_key=True, autoincrement=False),
)

# One row for each log: the checkpoint cosigned last. The row that is locked to decide.
log_table = Table(
    "witness_logs",
    metadata,
    Column("origin", Text, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("root", LargeBinary, nullable=False),
    Column("note", LargeBinary, nullable=True),  # as the log sent it; null before the first
    Column("cosigned_s", BigInteger, nullable=False),
)

# Signed checkpoints that contradict the one cosigned: evidence against the log.
fork_table = Table(
    "witness_forks",
    metadata,
    Column("origin", Text, primary_key=True),
    Column("size", BigInteger, primary_key=True, autoincrement=False),
    Column("root", LargeBinary, primary_key=True),
    Column("note", LargeBinary, nullable=False),
    Column("cosigned_note", LargeBinary, nullable=False),
    Column("seen_s", BigInteger, nullable=False),
)


def prepare(engine: Engine) -> None:
    """Make the tables in an empty database; see ``prepare_own``."""
    prepare_own(engine, about_table, SCHEMA_VERSION, "a witness's memory", _make)


def _make(connection: Connection) -> None:
    metadata.create_all(connection)
    connection.execute(insert(about_table), [{"version": SCHEMA_VERSION}])
