"""Rows of an auditor: what it has derived up to some entry.

Contract: ``save_audit`` runs inside one ``writing`` transaction, so the rows are all as of the same
entry, whatever ends the program. They are the auditor's own word and nobody else's: reading them
back checks their form, not their truth.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import islice

from sqlalchemy import Connection, delete, insert, select, update

from ledger.appraisal.case import Case
from ledger.errors import IntegrityError
from ledger.log.headsmap import ROW_SIZE, decode_bucket
from ledger.log.headsmap_update import MapUpdate, TileKey
from ledger.log.merkle import CompactRange
from ledger.protocol import statements as st
from ledger.protocol.statements import Kind
from ledger.registry.records import Chip, Registry
from ledger.store.audit_tables import about_table, due_table
from ledger.store.bulk import insert_rows
from ledger.store.case_rows import load_verifier, save_verifier
from ledger.store.log_rows import (
    Head,
    chunks,
    entry_table,
    read_head,
    subject_table,
    tile_table,
    update_head,
    upsert,
)
from ledger.store.map_rows import bucket_table, node_table
from ledger.store.registry_rows import (
    document_entry,
    document_table,
    key_table,
    licence_row,
    licence_table,
    party_row,
    party_table,
    readable,
)
from ledger.values import sha256

DueRow = tuple[int, int, st.Decision]
"""A decision that is due: the entry that makes it so, when that came, the decision."""
Heads = dict[bytes, tuple[int, bytes]]
"""By subject key: how many entries, and the newest's leaf hash."""


@dataclass(frozen=True, slots=True)
class About:
    """Whose audit it is, of what, and the counts that the entries do not give again."""

    vkey: str | None = None
    target: bytes | None = None
    sight: str = ""
    shown: int | None = None
    signatures: int = 0
    conflicts: int = 0
    decisions: int = 0
    map_roots: int = 0
    tiles: int = 0
    unseen: int = 0


@dataclass(frozen=True, slots=True)
class Document:
    """A statement that is looked up by its number, as a policy is, with its entry's parts."""

    index: int
    number: int
    kind: Kind
    received_ms: int
    leaf: bytes
    leaf_hash: bytes
    body: bytes
    content_digest: bytes


@dataclass(slots=True)
class Kept:
    """All that an audit goes on from, as of one entry.

    ``genesis`` is that statement's digest, ``heads`` are those of all subjects. The registry is
    there twice: admission changes one, the verifier another, and at this entry they are alike.
    """

    head: Head
    about: About
    genesis: bytes | None
    registry: Registry
    verifier_registry: Registry
    cases: list[Case]
    partial_tiles: dict[TileKey, bytes]
    buckets: dict[int, bytes]
    map_tiles: dict[TileKey, bytes]
    pending: Heads
    heads: Heads
    due: list[DueRow]


@dataclass(slots=True)
class Change:
    """What one batch changes; ``chips`` with their cases, ``owners_known`` as of the last batch."""

    frontier: CompactRange
    received_ms: int
    about: About
    registry: Registry
    owners_known: int
    chips: Sequence[Chip]
    cases: dict[bytes, Case]
    partial_tiles: dict[TileKey, bytes]
    map: MapUpdate
    pending: Heads
    due: Iterable[DueRow]
    documents: Sequence[Document]
    published: bool
    """The frontier is that of a checkpoint that has been audited whole."""


def read_about(connection: Connection) -> About:
    """The one row about the audit."""
    rows = connection.execute(select(about_table)).mappings().all()
    if len(rows) != 1:
        raise IntegrityError(f"the audit has {len(rows)} rows about itself")
    return About(**{name: rows[0][name] for name in About.__dataclass_fields__})


def set_vkey(connection: Connection, vkey: str) -> None:
    """Whose audit it is, once for all."""
    connection.execute(update(about_table).values(vkey=vkey))


def read_audit(connection: Connection) -> Kept:
    """Everything; ``IntegrityError`` where it contradicts itself."""
    head = read_head(connection)
    registry, _ = load_verifier(connection, head.size)
    verifier_registry, cases = load_verifier(connection, head.size)
    genesis = document_entry(connection, Kind.GENESIS)
    buckets = {row.n: row.data for row in connection.execute(select(bucket_table))}
    nodes = connection.execute(select(node_table.c.level, node_table.c.n, node_table.c.data))
    tiles = connection.execute(select(tile_table.c.level, tile_table.c.n, tile_table.c.data))
    columns = (subject_table.c.subject, subject_table.c["count"], subject_table.c.head)
    pending = {key: (count, leaf) for key, count, leaf in connection.execute(select(*columns))}
    with readable("decision that is due"):
        due = [
            (row.cause, row.received_ms, _decision(row.body))
            for row in connection.execute(select(due_table).order_by(due_table.c.number))
        ]
    return Kept(
        head,
        read_about(connection),
        None if genesis is None else sha256(genesis[1]),
        registry,
        verifier_registry,
        cases,
        {(level, n): data for level, n, data in tiles},
        buckets,
        {(level, n): data for level, n, data in nodes},
        pending,
        _heads(buckets) | pending,
        due,
    )


def save_audit(connection: Connection, change: Change) -> None:
    """Write one batch; the caller commits."""
    size = change.frontier.size
    _save_documents(connection, change.documents)
    _save_registry(connection, change.registry, change.owners_known)
    save_verifier(connection, size, change.chips, change.cases, change.registry.licences.values())
    _save_map(connection, change.map, change.pending)
    connection.execute(delete(tile_table))
    insert_rows(
        connection,
        tile_table,
        ("level", "n", "data"),
        [(*key, data) for key, data in change.partial_tiles.items()],
    )
    connection.execute(delete(due_table))
    due = [
        (number, cause, received_ms, st.encode_body(draft))
        for number, (cause, received_ms, draft) in enumerate(change.due)
    ]
    insert_rows(connection, due_table, ("number", "cause", "received_ms", "body"), due)
    connection.execute(update(about_table).values(**asdict(change.about)))
    encoded = change.frontier.encode()
    values = {"size": size, "frontier": encoded, "received_ms": change.received_ms}
    if change.published:
        values |= {"published_size": size, "published_frontier": encoded}
    update_head(connection, **values)


def _save_documents(connection: Connection, documents: Sequence[Document]) -> None:
    entries = [
        {
            "idx": item.index,
            "kind": item.kind.value,
            "received_ms": item.received_ms,
            "leaf": item.leaf,
            "leaf_hash": item.leaf_hash,
            "body": item.body,
            "content_digest": item.content_digest,
        }
        for item in documents
    ]
    rows = [
        {"kind": item.kind.value, "number": item.number, "idx": item.index} for item in documents
    ]
    if rows:
        connection.execute(insert(entry_table), entries)
        connection.execute(insert(document_table), rows)


def _save_registry(connection: Connection, registry: Registry, owners_known: int) -> None:
    """All parties and licences, which are few; of keys those that are new, which never change."""
    upsert(connection, party_table, [party_row(party) for party in registry.parties.values()])
    upsert(connection, licence_table, [licence_row(item) for item in registry.licences.values()])
    owners = [
        {
            "kid": kid,
            "owner_kind": owner.kind.value,
            "owner": owner.ident,
            "cose_key": owner.key.to_cose_key(),
        }
        for kid, owner in islice(registry.owners.items(), owners_known, None)
    ]
    for part in chunks(owners):
        upsert(connection, key_table, list(part))


def _save_map(connection: Connection, changed: MapUpdate, pending: Heads) -> None:
    buckets = [{"n": n, "data": data} for n, data in changed.buckets.items()]
    tiles = [{"level": level, "n": n, "data": data} for (level, n), data in changed.tiles.items()]
    for table, rows in ((bucket_table, buckets), (node_table, tiles)):
        for part in chunks(rows):
            upsert(connection, table, list(part))
    connection.execute(delete(subject_table))
    insert_rows(
        connection,
        subject_table,
        ("subject", "kind", "ident", "count", "head"),
        [(key, "", b"", count, leaf) for key, (count, leaf) in pending.items()],
    )


def _heads(buckets: dict[int, bytes]) -> Heads:
    """Every row of the map, which the buckets hold one behind the other."""
    found: Heads = {}
    for data in buckets.values():
        with readable("bucket of the heads map"):
            if len(data) % ROW_SIZE:
                raise ValueError("not whole rows")
            rows = decode_bucket(data, 0, 0)
        found.update((row.subject, (row.count, row.head)) for row in rows)
    return found


def _decision(body: bytes) -> st.Decision:
    decision = st.decode_body(Kind.DECISION, body)
    if not isinstance(decision, st.Decision):
        raise TypeError("not a decision")
    return decision
