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
    inspect,
    select,
)

from ledger.errors import ConfigurationError
from ledger.store.engine import writing

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
    """Make the tables in an empty database, or refuse one that is not a witness's of this version.

    ConfigurationError for foreign tables and other versions.
    """
    with writing(engine) as connection:
        found = set(inspect(connection).get_table_names())
        if not found:
            metadata.create_all(connection)
            connection.execute(insert(about_table), [{"version": SCHEMA_VERSION}])
        elif about_table.name not in found:
            raise ConfigurationError(
                "the database holds something else; a witness needs one of its own"
            )
        _require_version(connection)


def _require_version(connection: Connection) -> None:
    version = connection.execute(select(about_table.c.version)).scalars().all()
    if list(version) != [SCHEMA_VERSION]:
        raise ConfigurationError(
            f"the witness database has schema {version}, this program wants {SCHEMA_VERSION}"
        )
