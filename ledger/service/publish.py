"""Signing checkpoints: never one that does not extend the last, never one that was not re-derived.

Before the ledger's key signs, the hashes of all entries since the last checkpoint are computed
again from the stored bytes and added to the tree that was published last; from the same bytes
follows what has changed in the heads map. Only if that leads to the root that the appends have
kept, and to the map that was committed to last, is an index-root appended and the checkpoint
signed, and only once it is stored is it served.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import cbor2
from sqlalchemy import Connection, insert, select

from ledger.errors import IntegrityError, Refused
from ledger.log.chain import leaf_hash
from ledger.log.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from ledger.log.headsmap import empty_root
from ledger.log.merkle import CompactRange
from ledger.log.note import NoteSigner, NoteVerifier
from ledger.protocol import statements as st
from ledger.protocol.keys import SigningKey
from ledger.protocol.statements import Kind
from ledger.service.sequence import Sequencer
from ledger.store.log_rows import Head, advance_published, entry_table, read_head
from ledger.store.map_rows import apply_changes
from ledger.store.tables import CheckpointRow
from ledger.values import MILLIS_PER_SECOND, sha256

checkpoint_table: Any = CheckpointRow.__table__  # type: ignore[attr-defined]
READ_AHEAD = 2_000


@dataclass(slots=True)
class Rehashed:
    """What stored leaves lead to: the tree, and each subject's newest (count, leaf hash)."""

    frontier: CompactRange
    changes: dict[bytes, tuple[int, bytes]] = field(default_factory=dict)


def publish(
    sequencer: Sequencer,
    genesis: st.Genesis,
    key: SigningKey,
    now_ms: int,
    record: Callable[[int, bytes, int], None] | None = None,
) -> bytes | None:
    """Append an index-root, sign and store a checkpoint; None where the last one covers the log.

    ``record`` is told size, root and time of the checkpoint before it is committed, and may raise.
    Raises IntegrityError where stored entries, tree and heads map contradict each other: then
    nothing may be signed any more.
    """
    with sequencer.batch(now_ms) as batch:
        connection, head = batch.connection, batch.appender.head
        if head.size == head.published_size:
            return None
        bits, committed = genesis.bucket_bits, _committed(connection, head)
        # A ledger from before the heads map has no index-root yet: its map begins with entry 0.
        start = head.published_frontier if committed is not None else CompactRange()
        before = rehash(connection, Rehashed(start), head.size)
        _require_tree(before.frontier, head.frontier, head.published_size)
        update = apply_changes(
            connection, bits, before.changes, committed=committed or empty_root(bits)
        )
        body = st.IndexRoot(
            iat=batch.received_ms // MILLIS_PER_SECOND,
            size=head.size,
            root=update.root,
            bucket_bits=bits,
        )
        batch.append(st.decode(st.sign(body, key)))
        batch.flush()
        size, kept = head.size + 1, read_head(connection).frontier
        frontier = rehash(connection, before, size).frontier
        _require_tree(frontier, kept, head.size)
        root = frontier.root()
        checkpoint = Checkpoint(genesis.origin, size, root)
        note = sign_checkpoint(checkpoint, [NoteSigner(genesis.origin, key)])
        published_ms = batch.received_ms  # not now_ms: the clock may have gone back
        row = {"size": size, "root": root, "note": note, "published_ms": published_ms}
        connection.execute(insert(checkpoint_table), [row])
        advance_published(connection, head, frontier)
        if record is not None:
            record(size, root, published_ms)
    return note


def _require_tree(derived: CompactRange, kept: CompactRange, start: int) -> None:
    if derived != kept:
        raise IntegrityError(f"entries {start} to {kept.size - 1} do not lead to the tree's root")


def _committed(connection: Connection, head: Head) -> bytes | None:
    """Root of the heads map as the newest index-root, a checkpoint's last entry, says."""
    index = head.published_size - 1
    query = select(entry_table.c.kind, entry_table.c.body).where(entry_table.c.idx == index)
    row = connection.execute(query).first()
    if row is None or row.kind != Kind.INDEX_ROOT:
        return None
    try:
        return bytes(st.decode(row.body or b"", expect=Kind.INDEX_ROOT).body.root)
    except Refused as error:
        raise IntegrityError(f"entry {index}: its index-root is damaged: {error}") from error


def rehash(connection: Connection, start: Rehashed, size: int) -> Rehashed:
    """Extend a tree to ``size`` from the stored leaves, each compared with its statement."""
    frontier, changes = start.frontier, start.changes
    while frontier.size < size:
        query = (
            select(entry_table.c.idx, entry_table.c.leaf, entry_table.c.body)
            .where(entry_table.c.idx >= frontier.size, entry_table.c.idx < size)
            .order_by(entry_table.c.idx)
            .limit(READ_AHEAD)
        )
        hashes = []
        # The driver's own tuples: SQLAlchemy's rows would take as long again as the hashing.
        result: Any = connection.execute(query)
        rows: list[tuple[int, bytes, bytes | None]] = result.cursor.fetchall()
        result.close()
        for expected, (index, leaf, body) in enumerate(rows, frontier.size):
            if index != expected:
                raise IntegrityError(f"entry {expected} is missing")
            # The statement digest is the last member of a leaf.
            if body is not None and leaf[-32:] != sha256(body):
                raise IntegrityError(f"entry {index}: the statement does not fit its leaf")
            hashed = leaf_hash(leaf)
            hashes.append(hashed)
            for subject, seq, _ in _links(leaf, index):
                changes[subject] = (seq + 1, hashed)
        if not hashes:
            raise IntegrityError(f"entry {frontier.size} is missing")
        frontier = frontier.extend(hashes)
    return Rehashed(frontier, changes)


def _links(leaf: bytes, index: int) -> list[tuple[bytes, int, bytes]]:
    # Strictness is the appender's business; here a leaf only has to be what was hashed.
    try:
        links: list[tuple[bytes, int, bytes]] = cbor2.loads(leaf)[3]
    except (cbor2.CBORError, TypeError, IndexError) as error:
        raise IntegrityError(f"entry {index}: its leaf is damaged") from error
    return links


def require_sound_checkpoint(
    connection: Connection, head: Head, origin: str, verifier: NoteVerifier
) -> None:
    """At start: the last published checkpoint has to be ours and of the tree that we would extend.

    ``IntegrityError`` says that the file was damaged or put together from several backups.
    """
    row = latest_checkpoint(connection)
    if row is None:
        if head.published_size:
            raise IntegrityError("the last published checkpoint is missing")
        return
    try:
        checkpoint, _ = open_checkpoint(row["note"], origin, [verifier])
    except Refused as error:
        raise IntegrityError(f"the last checkpoint is not this ledger's: {error}") from error
    if (checkpoint.size, checkpoint.root) != (head.published_size, head.published_frontier.root()):
        raise IntegrityError(
            f"the last checkpoint (size {checkpoint.size}) is not of the published tree"
            f" (size {head.published_size})"
        )
    if head.size < head.published_size:
        raise IntegrityError("the log is shorter than its last checkpoint; an old backup?")


def checkpoint_root(connection: Connection, size: int) -> bytes | None:
    """Root of the checkpoint of that size; None where none was published."""
    query = select(checkpoint_table.c.root).where(checkpoint_table.c.size == size)
    found: bytes | None = connection.execute(query).scalar()
    return found


def latest_checkpoint(connection: Connection) -> Any:
    """Row of the newest checkpoint, or None."""
    query = select(checkpoint_table).order_by(checkpoint_table.c.size.desc()).limit(1)
    return connection.execute(query).mappings().first()
