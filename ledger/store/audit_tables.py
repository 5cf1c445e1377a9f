"""Tables of an auditor: a small database of its own, made of the ledger's tables where they fit.

What an auditor has to remember between two runs is what a ledger and its verifier remember: the
head of the log, the registry, the verifier's cases, the heads map. So the rows are the same, and
hold what the auditor has derived himself. Of entries only those are kept that are documents
(genesis, policies, epochs and the like). Beside them stand two tables of the auditor's own.

There is one schema version and no migration; a database that says another is refused.
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

from ledger.store import tables
from ledger.store.case_rows import case_licence_table, case_table
from ledger.store.cosignature_rows import cosignature_table
from ledger.store.log_rows import entry_table, head_table, subject_table, tile_table
from ledger.store.map_rows import bucket_table, node_table
from ledger.store.own_schema import prepare_own
from ledger.store.registry_rows import document_table, key_table, licence_table, party_table
from ledger.store.schema import empty_head

SCHEMA_VERSION = 1

metadata = MetaData()


def _count(name: str) -> "Column[int]":
    return Column(name, BigInteger, nullable=False)


# One row: whose audit it is, of what, and what was counted so far.
about_table = Table(
    "audit_about",
    metadata,
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("vkey", Text, nullable=True),  # the auditor's own; null until its key is in its file
    Column("target", LargeBinary, nullable=True),  # checkpoint of which the entries are a part
    Column("sight", Text, nullable=False),  # which statements are seen; see ``Sight``
    Column("shown", BigInteger, nullable=True),  # an entry that was shown, and not to everybody
    _count("signatures"),
    _count("conflicts"),
    _count("decisions"),
    _count("map_roots"),
    _count("tiles"),
    _count("unseen"),
)

# Decisions that are due and not on the log yet, oldest first.
due_table = Table(
    "audit_due",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("cause", BigInteger, nullable=False),
    Column("received_ms", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
)

LEDGER_TABLES = (
    head_table,
    entry_table,
    document_table,
    subject_table,
    tile_table,
    bucket_table,
    node_table,
    cosignature_table,
    key_table,
    party_table,
    licence_table,
    case_table,
    case_licence_table,
)


def prepare(engine: Engine) -> None:
    """Make the tables in an empty database; see ``prepare_own``."""
    prepare_own(engine, about_table, SCHEMA_VERSION, "an audit", _make)


def _make(connection: Connection) -> None:
    metadata.create_all(connection)
    tables.HeadRow.metadata.create_all(connection, tables=list(LEDGER_TABLES))
    connection.execute(insert(head_table), [empty_head()])
    counts = dict.fromkeys(
        ("signatures", "conflicts", "decisions", "map_roots", "tiles", "unseen"), 0
    )
    row = {"version": SCHEMA_VERSION, "vkey": None, "target": None, "sight": ""}
    connection.execute(insert(about_table), [{**row, "shown": None, **counts}])
