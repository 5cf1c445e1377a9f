"""What a ledger has promised, and whether what is stored keeps it."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path


@dataclass
class Promises:
    """Entries acknowledged and checkpoints served, over all lives of a ledger's process."""

    entries: dict[int, str] = field(default_factory=dict)
    checkpoints: dict[int, str] = field(default_factory=dict)
    size: int = 0

    def take(self, said: bytes) -> None:
        """Lines ``E index leaf`` and ``C size root``; what was cut was not promised yet."""
        for line in said[: said.rfind(b"\n") + 1].decode().splitlines():
            kind, *rest = line.split()
            if kind not in ("E", "C"):
                continue
            kept = self.entries if kind == "E" else self.checkpoints
            number = int(rest[0])
            # The newest checkpoint is told again after a restart; it has to be the same one.
            assert kept.setdefault(number, rest[1]) == rest[1], line

    def check(self, database: Path) -> None:
        """Every promise is kept by what is stored; the log never shrinks."""
        # For reading only: the WAL that a kill has left stays, for the next start to recover from.
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
            stored = dict(connection.execute("SELECT idx, lower(hex(leaf_hash)) FROM entries"))
            notes = dict(connection.execute("SELECT size, lower(hex(root)) FROM checkpoints"))
            ((size,),) = connection.execute("SELECT size FROM log_head")
        self.hold(stored, notes, size)

    def hold(self, stored: dict[int, str], notes: dict[int, str], size: int) -> None:
        """The same, of leaf hashes by index, roots by size, and the log's size."""
        assert size >= self.size
        assert size == len(stored)
        self.size = size
        for index, leaf_hash in self.entries.items():
            assert stored.get(index) == leaf_hash, f"entry {index} was acknowledged"
        for covered, root in self.checkpoints.items():
            assert notes.get(covered) == root, f"checkpoint {covered} was published"

    def pairs(self) -> list[tuple[int, int]]:
        """Sizes of consecutive checkpoints."""
        return list(pairwise(sorted(self.checkpoints)))
