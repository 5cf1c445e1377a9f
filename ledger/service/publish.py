"""Signing checkpoints: never one that does not extend the last, never one that was not re-derived.

Before the ledger's key signs, the hashes of all entries since the last checkpoint are computed
again from the stored bytes and added to the tree that was published last. Only if that leads to
the root that the appends have kept is the checkpoint signed, and only once it is stored is it
served.
"""

from typing import Any

from sqlalchemy import Connection, Engine, insert, select

from ledger.errors import IntegrityError, Refused
from ledger.log.chain import leaf_hash
from ledger.log.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from ledger.log.merkle import CompactRange
from ledger.log.note import NoteSigner, NoteVerifier
from ledger.store.engine import writing
from ledger.store.log_rows import Head, entry_table, read_head, update_head
from ledger.store.tables import CheckpointRow
from ledger.values import sha256

checkpoint_table: Any = CheckpointRow.__table__  # type: ignore[attr-defined]
READ_AHEAD = 2_000


def publish(engine: Engine, signer: NoteSigner, origin: str, now_ms: int) -> bytes | None:
    """Sign and store a checkpoint of the whole log; None where the last one covers it.

    Raises IntegrityError where stored entries and tree contradict each other: then nothing may be
    signed any more.
    """
    with writing(engine) as connection:
        head = read_head(connection, lock=True)
        if head.size == head.published_size:
            return None
        frontier = rehash(connection, head.published_frontier, head.size)
        if frontier != head.frontier:
            raise IntegrityError(
                f"entries {head.published_size} to {head.size - 1} do not lead to the tree's root"
            )
        root = frontier.root()
        note = sign_checkpoint(Checkpoint(origin, head.size, root), [signer])
        published_ms = max(now_ms, head.received_ms)  # where the clock went back
        row = {"size": head.size, "root": root, "note": note, "published_ms": published_ms}
        connection.execute(insert(checkpoint_table), [row])
        update_head(connection, published_size=head.size, published_frontier=frontier.encode())
    return note


def rehash(connection: Connection, start: CompactRange, size: int) -> CompactRange:
    """Extend a tree to ``size`` from the stored leaves, each compared with its statement."""
    frontier = start
    while frontier.size < size:
        query = (
            select(entry_table.c.idx, entry_table.c.leaf, entry_table.c.body)
            .where(entry_table.c.idx >= frontier.size, entry_table.c.idx < size)
            .order_by(entry_table.c.idx)
            .limit(READ_AHEAD)
        )
        hashes = []
        for expected, (index, leaf, body) in enumerate(connection.execute(query), frontier.size):
            if index != expected:
                raise IntegrityError(f"entry {expected} is missing")
            # The statement digest is the last member of a leaf.
            if body is not None and leaf[-32:] != sha256(body):
                raise IntegrityError(f"entry {index}: the statement does not fit its leaf")
            hashes.append(leaf_hash(leaf))
        if not hashes:
            raise IntegrityError(f"entry {frontier.size} is missing")
        frontier = frontier.extend(hashes)
    return frontier


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


def latest_checkpoint(connection: Connection) -> Any:
    """Row of the newest checkpoint, or None."""
    query = select(checkpoint_table).order_by(checkpoint_table.c.size.desc()).limit(1)
    return connection.execute(query).mappings().first()
