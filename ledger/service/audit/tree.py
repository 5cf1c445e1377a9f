"""The tree's side of a check: leaf hashes, tiles, checkpoints, the head row."""

from typing import Any

from sqlalchemy import Connection, func, select

from ledger.errors import Refused
from ledger.log.checkpoint import open_checkpoint
from ledger.log.merkle import CompactRange
from ledger.log.note import NoteVerifier
from ledger.log.tiles import TILE_WIDTH, grow
from ledger.log.vkey import ED25519, Vkey
from ledger.protocol.keys import PublicKey
from ledger.protocol.statements import Genesis
from ledger.service.audit.report import CheckReport, FaultFound
from ledger.service.publish import checkpoint_table
from ledger.store.log_rows import Head, tile_table
from ledger.values import MILLIS_PER_DAY

FULL = TILE_WIDTH * 32
CLOCK_TOLERANCE_MS = MILLIS_PER_DAY
"""A machine's clock may be set back between a checkpoint and the next entry; a node that finds
the ledger's time further ahead than this does not start."""


def require_tile(level: int, n: int, found: bytes | None, made: bytes) -> None:
    """A tile is the one that the entries make."""
    if found is None:
        raise FaultFound(f"tile {level}/{n}", "it is missing")
    if found != made:
        at = next((i for i in range(0, len(made), 32) if found[i : i + 32] != made[i : i + 32]), 0)
        raise FaultFound(
            f"tile {level}/{n}", f"hash {at // 32} is not the one that the entries make"
        )


class TreeCheck:
    """Grows the tree again, entry by entry, beside the stored tiles and checkpoints."""

    def __init__(self, connection: Connection, report: CheckReport) -> None:
        self._connection = connection
        self._report = report
        self.frontier = CompactRange()
        self.published = CompactRange()
        """Range of the last checkpoint passed."""
        self._received_ms = 0
        self._open: tuple[int, int] | None = None
        """Size and time of the newest checkpoint, until an entry comes that is newer."""
        self._partial: dict[tuple[int, int], bytes] = {}
        self._pending: list[bytes] = []
        query = select(checkpoint_table).order_by(checkpoint_table.c.size)
        self._checkpoints = connection.execute(query.execution_options(yield_per=500)).mappings()
        self._next = next(self._checkpoints, None)
        self._verifier: NoteVerifier | None = None
        self._origin = ""

    def found(self, genesis: Genesis) -> None:
        """The genesis names the key that has to have signed every checkpoint."""
        key = PublicKey.from_cose_key(genesis.ledger)
        self._origin = genesis.origin
        self._verifier = NoteVerifier(Vkey(genesis.origin, ED25519, key.raw))

    def add(self, leaf_hash: bytes, received_ms: int) -> None:
        """The next entry's leaf hash, and when it came."""
        self.check_published_before(received_ms)
        self._received_ms = received_ms
        self._pending.append(leaf_hash)
        size = self.frontier.size + len(self._pending)
        while self._next is not None and self._next["size"] <= size:
            self._settle()
            self._check_checkpoint(self._next)
            self._next = next(self._checkpoints, None)
        if len(self._pending) >= FULL // 32:
            self._settle()

    def finish(self, head: Head) -> None:
        """After the last entry: partial tiles, no rows too many, the head row."""
        self._settle()
        for (level, n), data in sorted(self._partial.items()):
            self._check_tile(level, n, data)
        stored = self._connection.execute(select(func.count()).select_from(tile_table)).scalar()
        if stored != self._report.tiles:
            raise FaultFound("tiles", f"{stored} are stored, the entries make {self._report.tiles}")
        if self._next is not None:
            raise FaultFound(
                f"checkpoint {self._next['size']}", "it covers more entries than there are"
            )
        if head.frontier != self.frontier:
            raise FaultFound("log head", "its compact range is not that of the entries")
        self._report.root = self.frontier.root().hex()

    def _settle(self) -> None:
        if not self._pending:
            return
        changed = grow(self._partial, self.frontier.size, self._pending)
        self.frontier = self.frontier.extend(self._pending)
        self._pending = []
        for (level, n), data in changed.items():
            if len(data) == FULL:
                self._partial.pop((level, n), None)
                self._check_tile(level, n, data)
            else:
                self._partial[level, n] = data

    def _check_tile(self, level: int, n: int, data: bytes) -> None:
        query = select(tile_table.c.data).where(tile_table.c.level == level, tile_table.c.n == n)
        stored = self._connection.execute(query).scalar()
        self._report.tiles += 1
        require_tile(level, n, stored, data)

    def _check_checkpoint(self, row: Any) -> None:
        place = f"checkpoint {row['size']}"
        if self._verifier is None:
            raise FaultFound(place, "there is no genesis before it")
        try:
            checkpoint, _ = open_checkpoint(row["note"], self._origin, [self._verifier])
        except Refused as refusal:
            raise FaultFound(place, f"the note does not verify: {refusal.detail}") from refusal
        if checkpoint.size != row["size"] or checkpoint.size != self.frontier.size:
            raise FaultFound(place, f"the note says size {checkpoint.size}")
        if checkpoint.root != self.frontier.root():
            raise FaultFound(place, "its root is not the one that the entries make")
        if row["root"] != checkpoint.root:
            raise FaultFound(place, "its row and its note name different roots")
        if row["published_ms"] < self._received_ms:
            raise FaultFound(place, "it was published before its last entry came")
        self._open = (row["size"], row["published_ms"])
        self._report.checkpoints += 1
        self.published = self.frontier

    def check_published_before(self, later_ms: int) -> None:
        """``later_ms``: a time of the ledger's after its newest checkpoint so far."""
        if self._open is not None and self._open[1] > later_ms + CLOCK_TOLERANCE_MS:
            raise FaultFound(
                f"checkpoint {self._open[0]}", "it was published more than a day after what follows"
            )
        self._open = None
