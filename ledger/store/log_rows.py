"""The log's rows. ``Appender`` is the sequencer: one locked head, one transaction.

Contract of an append (either engine, any number of processes):
durable when the surrounding transaction has committed, and not before; two appenders never build
on the same head, the second waits; an exception before the commit leaves nothing behind.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, bindparam, select, update
from sqlalchemy.dialects import postgresql, sqlite

from ledger.errors import IntegrityError, Refused
from ledger.log.chain import Link, encode_leaf, leaf_hash
from ledger.log.merkle import CompactRange
from ledger.log.tiles import GetTiles, Tile, grow, partial_tiles
from ledger.registry.records import Subject
from ledger.store.bulk import Row, insert_rows, update_rows
from ledger.store.tables import EntryRow, EntrySubjectRow, HeadRow, SubjectRow, TileRow
from ledger.values import ZERO_DIGEST, subject_key

_ENTRY_COLUMNS = (
    "idx",
    "kind",
    "received_ms",
    "leaf",
    "leaf_hash",
    "body",
    "content_digest",
    "conflict",
    "detail",
)
_SUBJECT_COLUMNS = ("subject", "kind", "ident", "count", "head")
CHUNK = 500
"""Values in one IN list (SQLite takes 32,766, PostgreSQL plans badly over a thousand)."""

head_table: Any = HeadRow.__table__  # type: ignore[attr-defined]
entry_table: Any = EntryRow.__table__  # type: ignore[attr-defined]
link_table: Any = EntrySubjectRow.__table__  # type: ignore[attr-defined]
subject_table: Any = SubjectRow.__table__  # type: ignore[attr-defined]
tile_table: Any = TileRow.__table__  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class Head:
    """The head row as a value."""

    size: int
    frontier: CompactRange
    received_ms: int
    published_size: int
    published_frontier: CompactRange
    verifier_position: int
    documents: int
    simulated_ms: int


_HEAD = select(head_table).where(head_table.c.id == 1)
_LOCKED_HEAD = _HEAD.with_for_update()
_SUBJECTS = select(subject_table.c.subject, subject_table.c["count"], subject_table.c.head).where(
    subject_table.c.subject.in_(bindparam("keys", expanding=True))
)
_TILE = select(tile_table.c.data).where(
    tile_table.c.level == bindparam("level"), tile_table.c.n == bindparam("n")
)


def read_head(connection: Connection, *, lock: bool = False) -> Head:
    """The log's head; ``lock`` keeps every other appender waiting until the transaction ends."""
    row = connection.execute(_LOCKED_HEAD if lock else _HEAD).mappings().first()
    if row is None:
        raise IntegrityError("the ledger has no head row; run the migrations")
    try:
        frontier = CompactRange.decode(row["frontier"])
        published = CompactRange.decode(row["published_frontier"])
    except (Refused, TypeError) as error:  # SQLite keeps a text in a column of bytes, if told to
        raise IntegrityError(f"the head row's compact range is damaged: {error}") from error
    if (frontier.size, published.size) != (row["size"], row["published_size"]):
        raise IntegrityError("the head row contradicts its own compact range")
    return Head(
        row["size"],
        frontier,
        row["received_ms"],
        row["published_size"],
        published,
        row["verifier_position"],
        row["documents"],
        row["simulated_ms"],
    )


def stored_tiles(connection: Connection) -> GetTiles:
    """Getter of the log's stored tiles, as ``tile_nodes`` takes it; a missing one is empty."""

    def get_tiles(tiles: Sequence[Tile]) -> list[bytes]:
        found = _load_tiles(connection, [(tile.level, tile.n) for tile in tiles])
        return [found.get((tile.level, tile.n), b"") for tile in tiles]

    return get_tiles


def update_head(connection: Connection, **values: Any) -> None:
    """Write columns of the head row."""
    connection.execute(update(head_table).where(head_table.c.id == 1).values(**values))


def advance_published(connection: Connection, before: Head, after: CompactRange) -> None:
    """Put ``after`` in the place of what ``before`` says was published last, if it is still so.

    The head's lock has kept other publishers waiting; that it did is looked at once more, since
    two checkpoints of one size could never be taken back.
    """
    ours = (
        head_table.c.id == 1,
        head_table.c.published_size == before.published_size,
        head_table.c.published_frontier == before.published_frontier.encode(),
    )
    values = {"published_size": after.size, "published_frontier": after.encode()}
    if connection.execute(update(head_table).where(*ours).values(**values)).rowcount != 1:
        raise IntegrityError("another publisher was at work under this one's lock")


def chunks(values: Sequence[Any]) -> Iterable[Sequence[Any]]:
    """``values`` in pieces that fit one IN list."""
    return (values[at : at + CHUNK] for at in range(0, len(values), CHUNK))


def upsert(connection: Connection, table: Any, rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows, or overwrite those with the same primary key."""
    if not rows:
        return
    build = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    keys = [column.name for column in table.primary_key.columns]
    statement: Any = build(table)
    statement = statement.on_conflict_do_update(
        index_elements=keys,
        set_={name: statement.excluded[name] for name in rows[0] if name not in keys},
    )
    connection.execute(statement, list(rows))


@dataclass(slots=True)
class _Chain:
    """One subject's chain while a batch grows it; ``kind`` and ``ident`` only where it is new."""

    subject: bytes
    count: int
    head: bytes
    new: Subject | None = None


class Appender:
    """Adds entries to the locked log and writes them all with ``flush``.

    ``known`` are chains (count, head) that the caller vouches for as of the locked head.
    """

    def __init__(
        self, connection: Connection, head: Head, known: Mapping[bytes, tuple[int, bytes]]
    ) -> None:
        self._connection = connection
        self.head = head
        self._known = known
        self._entries: list[Row] = []
        self._links: list[Row] = []
        self._hashes: list[bytes] = []
        self._chains: dict[bytes, _Chain] = {}
        self.received_ms = self.head.received_ms

    @property
    def size(self) -> int:
        """Entries in the log, those not yet flushed included."""
        return self.head.size + len(self._entries)

    @property
    def chains(self) -> dict[bytes, tuple[int, bytes]]:
        """Count and head of every chain that this batch looked at."""
        return {chain.subject: (chain.count, chain.head) for chain in self._chains.values()}

    def prefetch(self, subjects: Iterable[Subject]) -> None:
        """Load many subjects' chains in a few queries."""
        wanted = []
        for key in (_key(*subject) for subject in subjects):
            if key not in self._chains:
                known = self._known.get(key)
                if known is None:
                    wanted.append(key)
                else:
                    self._chains[key] = _Chain(key, *known)
        for part in chunks(list(dict.fromkeys(wanted))):
            for subject, count, head in self._connection.execute(_SUBJECTS, {"keys": part}):
                self._chains[subject] = _Chain(subject, count, head)

    def add(
        self,
        kind: str,
        received_ms: int,
        subjects: Sequence[Subject],
        *,
        digest: bytes,
        content_digest: bytes | None,
        body: bytes,
        conflict: str | None = None,
        detail: str | None = None,
    ) -> tuple[int, bytes]:
        """Give a statement the next index; returns (index, leaf hash). Writes nothing yet."""
        index = self.size
        self.prefetch(subjects)
        chains = [self._chain(subject) for subject in subjects]
        links = tuple(Link(chain.subject, chain.count, chain.head) for chain in chains)
        leaf = encode_leaf(kind, received_ms, links, digest)
        hashed = leaf_hash(leaf)
        for chain in chains:
            self._links.append((chain.subject, chain.count, index))
            chain.count += 1
            chain.head = hashed
        self._entries.append(
            (index, kind, received_ms, leaf, hashed, body, content_digest, conflict, detail)
        )
        self._hashes.append(hashed)
        self.received_ms = received_ms
        return index, hashed

    def flush(self) -> None:
        """Write entries, chains, tiles and the head. The caller commits."""
        if not self._entries:
            return
        connection, head = self._connection, self.head
        insert_rows(connection, entry_table, _ENTRY_COLUMNS, self._entries)
        insert_rows(connection, link_table, ("subject", "seq", "idx"), self._links)
        self._flush_chains()
        before = _load_tiles(
            connection, [(tile.level, tile.n) for tile in partial_tiles(head.size)]
        )
        changed = grow(before, head.size, self._hashes)
        upsert(
            connection,
            tile_table,
            [{"level": level, "n": n, "data": data} for (level, n), data in changed.items()],
        )
        frontier = head.frontier.extend(self._hashes)
        update_head(
            connection,
            size=frontier.size,
            frontier=frontier.encode(),
            received_ms=self.received_ms,
        )

    def _flush_chains(self) -> None:
        fresh, changed = [], []
        for chain in self._chains.values():
            if chain.new is not None:
                kind, ident = chain.new
                fresh.append((chain.subject, kind.value, ident, chain.count, chain.head))
            else:
                changed.append((chain.count, chain.head, chain.subject))
        insert_rows(self._connection, subject_table, _SUBJECT_COLUMNS, fresh)
        update_rows(self._connection, subject_table, ("count", "head"), "subject", changed)

    def _chain(self, subject: Subject) -> _Chain:
        key = _key(*subject)
        chain = self._chains.get(key)
        if chain is None:
            chain = self._chains[key] = _Chain(key, 0, ZERO_DIGEST, subject)
        return chain


_key = lru_cache(maxsize=262_144)(subject_key)


def _load_tiles(
    connection: Connection, wanted: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], bytes]:
    found: dict[tuple[int, int], bytes] = {}
    for level, n in wanted:
        data = connection.execute(_TILE, {"level": level, "n": n}).scalar()
        if data is not None:
            found[level, n] = data
    return found
