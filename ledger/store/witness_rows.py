"""Rows of a witness: what it cosigned last for each log, and the forks that it was shown.

Contract of a decision: one ``writing`` transaction reads the row with ``lock_seen`` and changes it
with ``advance``. The lock (SQLite: ``BEGIN IMMEDIATE``; PostgreSQL: ``FOR UPDATE``) lets one
decision for a log happen at a time, in one process or several, and ``advance`` compares once more.
A cosignature is made only after the commit.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, func, insert, select, update

from ledger.errors import IntegrityError, Refused
from ledger.log.checkpoint import Checkpoint
from ledger.log.merkle import EMPTY_ROOT
from ledger.log.note import parse_note
from ledger.log.witness import Seen
from ledger.store.witness_tables import fork_table, log_table

MAX_FORKS = 16
"""Kept for each log: one proves the case, and a log's key must not fill the witness's disk."""


@dataclass(frozen=True, slots=True)
class Latest:
    """A log as the witness knows it: ``note`` is what the log signed, None before the first."""

    origin: str
    seen: Seen
    note: bytes | None


@dataclass(frozen=True, slots=True)
class Fork:
    """Two notes by one log, same size and different roots; ``cosigned`` is the one believed."""

    origin: str
    size: int
    cosigned: bytes
    contradicting: bytes
    seen_s: int


def register(connection: Connection, origins: Iterable[str]) -> None:
    """Make the row of each log that has none: size 0, the empty root.

    The row has to exist before the first request, or two first requests would lock nothing.
    """
    known = set(connection.execute(select(log_table.c.origin)).scalars())
    rows = [
        {"origin": origin, "size": 0, "root": EMPTY_ROOT, "note": None, "cosigned_s": 0}
        for origin in sorted(set(origins) - known)
    ]
    if rows:
        connection.execute(insert(log_table), rows)


def lock_seen(connection: Connection, origin: str) -> Latest:
    """The log's row, locked until the transaction ends. IntegrityError if absent or torn."""
    return _read(connection, origin, lock=True)


def read_latest(connection: Connection, origin: str) -> Latest:
    """The log's row. IntegrityError if absent or contradicting itself."""
    return _read(connection, origin, lock=False)


def advance(connection: Connection, before: Latest, after: Seen, note: bytes) -> None:
    """Put ``after`` in the place of ``before``; IntegrityError if ``before`` is not there."""
    statement = (
        update(log_table)
        .where(
            log_table.c.origin == before.origin,
            log_table.c.size == before.seen.size,
            log_table.c.root == before.seen.root,
            log_table.c.cosigned_s == before.seen.cosigned_s,
        )
        .values(size=after.size, root=after.root, note=note, cosigned_s=after.cosigned_s)
    )
    if connection.execute(statement).rowcount != 1:
        raise IntegrityError(f"the record of {before.origin} changed under its lock")


def keep_fork(connection: Connection, latest: Latest, root: bytes, note: bytes, now_s: int) -> None:
    """Keep a checkpoint that contradicts the one cosigned, unless it is kept or there are many."""
    ours = fork_table.c.origin == latest.origin
    same = (ours, fork_table.c.size == latest.seen.size, fork_table.c.root == root)
    count = connection.execute(select(func.count()).select_from(fork_table).where(ours)).scalar()
    known = connection.execute(select(fork_table.c.size).where(*same)).first()
    if known is None and (count or 0) < MAX_FORKS:
        row = {"origin": latest.origin, "size": latest.seen.size, "root": root, "note": note}
        row |= {"cosigned_note": latest.note, "seen_s": now_s}
        connection.execute(insert(fork_table), [row])


def read_forks(connection: Connection) -> list[Fork]:
    """Every fork kept, by origin and size."""
    columns = fork_table.c
    query = select(fork_table).order_by(columns.origin, columns.size, columns.root)
    return [
        Fork(row.origin, row.size, row.cosigned_note, row.note, row.seen_s)
        for row in connection.execute(query)
    ]


def _read(connection: Connection, origin: str, *, lock: bool) -> Latest:
    query = select(log_table).where(log_table.c.origin == origin)
    row = connection.execute(query.with_for_update() if lock else query).first()
    if row is None:
        raise IntegrityError(f"the record of {origin} is missing")
    latest = Latest(origin, Seen(row.size, row.root, row.cosigned_s), row.note)
    if not _agrees(latest):
        raise IntegrityError(f"the record of {origin} contradicts the checkpoint kept with it")
    return latest


def _agrees(latest: Latest) -> bool:
    seen = latest.seen
    if latest.note is None:
        return seen == Seen()
    try:
        checkpoint = Checkpoint.decode(parse_note(latest.note).text)
    except Refused:
        return False
    return (checkpoint.origin, checkpoint.size, checkpoint.root) == (
        latest.origin,
        seen.size,
        seen.root,
    )
