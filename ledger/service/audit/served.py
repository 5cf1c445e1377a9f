"""What a ledger serves, fetched in parts and put together to entries.

Nothing that comes from there is believed. A ``Source`` bounds sizes and times; here every answer
is looked at for its form, and what does not fit is raised as ``FaultFound`` with its place.
"""

from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Protocol

from ledger.errors import Refused
from ledger.log.tiles import TILE_WIDTH, Tile, entry_bundle_decode
from ledger.protocol.entries import MAX_ENTRIES
from ledger.service.audit.report import FaultFound

PART_BUNDLES = 4
"""Entry bundles fetched together, so that their statements fill an answer or two."""
PARTS_AHEAD = 3
TILES_KEPT = 64
"""Tiles remembered for proofs: the right edge of the tree, which every proof needs."""


class Source(Protocol):
    """A ledger's public read API. Safe to call from several threads.

    Raises FaultFound for an answer of the wrong form, and any other ChipPassportError where there
    is none. None stands for a tile or bundle that is not there.
    """

    def checkpoint(self) -> bytes:
        """The newest signed checkpoint."""

    def tile(self, level: int, n: int, width: int) -> bytes | None:
        """A hash tile."""

    def bundle(self, n: int, width: int) -> bytes | None:
        """An entry bundle."""

    def statements(self, start: int, limit: int) -> list[bytes | None]:
        """Statements from an index on, perhaps fewer than asked for."""


@dataclass(frozen=True, slots=True)
class Part:
    """Consecutive entries from ``start``, with the hash tile over each bundle."""

    start: int
    leaves: tuple[bytes, ...]
    hashes: dict[int, bytes]
    statements: dict[int, bytes | None]


def fetch_parts(source: Source, start: int, size: int, executor: Executor | None) -> Iterator[Part]:
    """The entries from the bundle that has ``start`` up to ``size``, fetched ahead in order."""
    step = PART_BUNDLES * TILE_WIDTH
    begins = range(start // TILE_WIDTH * TILE_WIDTH, size, step)
    jobs = ((source, begin, max(begin, start), min(begin + step, size)) for begin in begins)
    if executor is None:
        for job in jobs:
            yield _fetch(*job)
        return
    under_way: deque[Future[Part]] = deque()
    try:
        for job in jobs:
            under_way.append(executor.submit(_fetch, *job))
            if len(under_way) > PARTS_AHEAD:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    finally:
        for future in under_way:
            future.cancel()


def _fetch(source: Source, begin: int, start: int, end: int) -> Part:
    leaves: list[bytes] = []
    hashes: dict[int, bytes] = {}
    for first in range(begin, end, TILE_WIDTH):
        n, width = first // TILE_WIDTH, min(TILE_WIDTH, end - first)
        leaves += _bundle(source, n, width)
        hashes[n] = whole_tile(source, Tile(0, n, width))
    statements: dict[int, bytes | None] = {}
    at = start
    while at < end:
        page = source.statements(at, min(end - at, MAX_ENTRIES))
        if not 0 < len(page) <= end - at:
            raise FaultFound(f"entry {at}, statement", "the ledger gives nothing in its place")
        statements.update(enumerate(page, at))
        at += len(page)
    return Part(begin, tuple(leaves), hashes, statements)


def _bundle(source: Source, n: int, width: int) -> list[bytes]:
    data = source.bundle(n, width)
    full = data is None and width < TILE_WIDTH
    if full:  # a log may keep the full one alone, once there is one
        data = source.bundle(n, TILE_WIDTH)
    if data is None:
        raise FaultFound(f"entry bundle {n}", "it is missing")
    try:
        return entry_bundle_decode(data, TILE_WIDTH if full else width)[:width]
    except Refused as refusal:
        raise FaultFound(f"entry bundle {n}", refusal.detail) from refusal


def whole_tile(source: Source, tile: Tile) -> bytes:
    """A hash tile at its width, cut from the full one where only that is served."""
    data = source.tile(*tile)
    if data is None and tile.width < TILE_WIDTH:
        data = (source.tile(tile.level, tile.n, TILE_WIDTH) or b"")[: tile.width * 32]
    if not data:
        raise FaultFound(f"tile {tile.level}/{tile.n}", "it is missing")
    if len(data) != tile.width * 32:
        raise FaultFound(
            f"tile {tile.level}/{tile.n}", f"it has {len(data)} bytes, not {tile.width} hashes"
        )
    return data


class ServedTiles:
    """The ledger's own hash tiles as ``tile_nodes`` takes them, for proofs that are verified."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._kept: OrderedDict[Tile, bytes] = OrderedDict()

    def __call__(self, tiles: Sequence[Tile]) -> list[bytes]:
        return [self.get(tile) for tile in tiles]

    def get(self, tile: Tile) -> bytes:
        """One tile; FaultFound where it is not there."""
        data = self._kept.pop(tile, None) or whole_tile(self._source, tile)
        self._kept[tile] = data
        if len(self._kept) > TILES_KEPT:
            self._kept.popitem(last=False)
        return data
