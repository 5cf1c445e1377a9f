"""Changing the heads map: incrementally for the ledger, from nothing for whoever checks it.

The two share no hashing code on purpose: `rebuild` is the second path to what `update` keeps.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from itertools import groupby
from typing import NamedTuple

from ledger.errors import IntegrityError
from ledger.log.chain import Leaf
from ledger.log.headsmap import (
    COUNT_END,
    COUNT_SIZE,
    EMPTY_HASHES,
    MAX_COUNT,
    ROW_SIZE,
    TILE_BITS,
    GetBuckets,
    filled_tiles,
    find,
    require_bucket_bits,
    top_bits,
)
from ledger.log.merkle import HASH_SIZE, node_hash
from ledger.log.tiles import TILE_WIDTH, GetTiles, Tile

Changes = Mapping[bytes, tuple[int, bytes]]
"""By subject key: how many entries it has now, and the leaf hash of the newest."""
TileKey = tuple[int, int]
"""(tile level, index)."""

TILES_REMEMBERED = 1_024
"""Tiles whose roots are kept, 8 KiB each: all of a map of 2**16 buckets, before and after."""


class MapUpdate(NamedTuple):
    """What a change of the map leaves behind.

    ``buckets`` and ``tiles`` are the changed ones, whole. ``root_before`` is computed from every
    bucket and tile that the change read: if it is the root that was last committed to, then none
    of them had been altered since.
    """

    buckets: dict[int, bytes]
    tiles: dict[TileKey, bytes]
    root: bytes
    root_before: bytes


class MapInMemory:
    """A whole map as two dictionaries, for an auditor who follows a ledger's index-roots."""

    def __init__(self, bucket_bits: int) -> None:
        require_bucket_bits(bucket_bits)
        self.bucket_bits = bucket_bits
        self.buckets: dict[int, bytes] = {}
        self.tiles: dict[TileKey, bytes] = {}

    def get_buckets(self, numbers: Sequence[int]) -> list[bytes]:
        """A ``GetBuckets``."""
        return [self.buckets.get(number, b"") for number in numbers]

    def get_tiles(self, tiles: Sequence[Tile]) -> list[bytes]:
        """A ``GetTiles``."""
        return [self.tiles.get((tile.level, tile.n), b"") for tile in tiles]

    def apply(self, changes: Changes) -> MapUpdate:
        """Carry changes out; returns what they changed and the new root."""
        done = update(self.get_buckets, self.get_tiles, self.bucket_bits, changes)
        self.buckets.update(done.buckets)
        self.tiles.update(done.tiles)
        return done


def update(
    get_buckets: GetBuckets, get_tiles: GetTiles, bucket_bits: int, changes: Changes
) -> MapUpdate:
    """Carry changes out on a stored map; each getter is called once.

    Raises ``IntegrityError`` where what is stored cannot be: a bucket that is not the one that
    its tile names, a tile that is not the one above it, a subject whose history would get shorter
    or get another head at the same length.
    """
    require_bucket_bits(bucket_bits)
    by_bucket = _grouped(changes, bucket_bits)
    numbers = list(by_bucket)
    found = get_buckets(numbers)
    if len(found) != len(numbers):
        raise IntegrityError(f"asked for {len(numbers)} buckets, got {len(found)}")
    before = dict(zip(numbers, found, strict=True))
    after = {
        number: _merged(number, content, by_bucket[number]) for number, content in before.items()
    }
    tiles, root, root_before = _rehashed(get_tiles, bucket_bits, _leaves(before), _leaves(after))
    changed = {number: data for number, data in after.items() if data != before[number]}
    return MapUpdate(changed, tiles, root, root_before)


def changes_of(entries: Iterable[tuple[Leaf, bytes]]) -> dict[bytes, tuple[int, bytes]]:
    """What consecutive entries, each (leaf, leaf hash) in the order of the log, change."""
    return {link.subject: (link.seq + 1, hashed) for leaf, hashed in entries for link in leaf.links}


def rebuild(bucket_bits: int, heads: Iterable[tuple[bytes, int, bytes]]) -> MapUpdate:
    """The map of ``heads``, each (subject key, count, head), from nothing and in any order.

    Gives every bucket with a row and every tile above one. Raises ``IntegrityError`` for what is
    no row, and for two rows of a subject.
    """
    require_bucket_bits(bucket_bits)
    rows = sorted(_row(*each) for each in heads)
    buckets: dict[int, bytes] = {}
    for number, members in groupby(rows, lambda row: top_bits(row, bucket_bits)):
        part = list(members)
        if len({row[:HASH_SIZE] for row in part}) != len(part):
            raise IntegrityError(f"two heads of one subject in bucket {number}")
        buckets[number] = b"".join(part)
    nodes = _leaves(buckets)
    tiles = _tiles_of(0, nodes, bucket_bits)
    for level in range(1, bucket_bits + 1):
        empty = EMPTY_HASHES[level - 1]
        nodes = {
            index: node_hash(nodes.get(2 * index, empty), nodes.get(2 * index + 1, empty))
            for index in dict.fromkeys(number >> 1 for number in nodes)
        }
        if level % TILE_BITS == 0:
            tiles |= _tiles_of(level // TILE_BITS, nodes, bucket_bits)
    empty_root = EMPTY_HASHES[bucket_bits]
    return MapUpdate(buckets, tiles, nodes.get(0, empty_root), empty_root)


def _row(subject: bytes, count: int, head: bytes) -> bytes:
    if len(subject) != HASH_SIZE or len(head) != HASH_SIZE or not 1 <= count <= MAX_COUNT:
        raise IntegrityError("the heads map has no such row")
    return subject + count.to_bytes(COUNT_SIZE) + head


def _grouped(changes: Changes, bucket_bits: int) -> dict[int, list[bytes]]:
    """New rows by bucket, both ascending."""
    groups: dict[int, list[bytes]] = {}
    for subject in sorted(changes):
        row = _row(subject, *changes[subject])
        groups.setdefault(top_bits(subject, bucket_bits), []).append(row)
    return groups


def _merged(number: int, content: bytes, rows: Sequence[bytes]) -> bytes:
    """A bucket with ascending ``rows`` put in: over the row of the same subject, or between."""
    if len(content) % ROW_SIZE:
        raise IntegrityError(f"bucket {number} of the heads map is not whole rows")
    parts, start = [], 0
    for row in rows:
        at, present = find(content, row[:HASH_SIZE])
        parts += [content[start:at], row]
        start = at
        if present:
            start += ROW_SIZE
            old = content[at:start]
            # The keys are equal, so this compares counts; equal counts must mean equal heads.
            if old[:COUNT_END] >= row[:COUNT_END] and old != row:
                raise IntegrityError(f"a subject in bucket {number} would lose entries")
    return b"".join([*parts, content[start:]])


def _leaves(buckets: Mapping[int, bytes]) -> dict[int, bytes]:
    return {n: sha256(b"\x00" + content).digest() for n, content in buckets.items()}


def _rehashed(
    get_tiles: GetTiles, bucket_bits: int, before: dict[int, bytes], after: dict[int, bytes]
) -> tuple[dict[TileKey, bytes], bytes, bytes]:
    """Changed tiles, new root and old root; ``before`` and ``after`` are leaf hashes by bucket."""
    # Without a change there still is a root: the way up from bucket 0 is looked at for it.
    levels = _tiles_above(list(after) or [0], bucket_bits)
    stored = iter(filled_tiles(get_tiles, [tile for level in levels for tile in level]))
    changed: dict[TileKey, bytes] = {}
    for tiles in levels:
        width = tiles[0].width
        old = b"".join([next(stored) for _ in tiles])
        new = _patched(tiles, old, before, after)
        for tile, at in zip(tiles, range(0, len(new), width * HASH_SIZE), strict=True):
            content = new[at : at + width * HASH_SIZE]
            if content != old[at : at + width * HASH_SIZE]:
                changed[tile.level, tile.n] = content
        before = _tile_roots(tiles, old)
        after = _tile_roots(tiles, new)
    return changed, after[0], before[0]


def _tiles_above(numbers: Sequence[int], bucket_bits: int) -> list[list[Tile]]:
    """The tiles over ascending bucket numbers, level by level up to the one with the root."""
    levels = []
    for level in range(bucket_bits // TILE_BITS + 1):
        width = min(TILE_WIDTH, 1 << bucket_bits - TILE_BITS * level)
        numbers = list(dict.fromkeys(number >> TILE_BITS for number in numbers))
        levels.append([Tile(level, number, width) for number in numbers])
    return levels


def _patched(
    tiles: Sequence[Tile], old: bytes, before: Mapping[int, bytes], after: Mapping[int, bytes]
) -> bytes:
    """The tiles' bytes with the nodes ``before`` replaced by ``after``."""
    starts = {tile.n: at * tile.width for at, tile in enumerate(tiles)}
    row = bytearray(old)
    for number, value in after.items():
        at = (starts[number >> TILE_BITS] + number % TILE_WIDTH) * HASH_SIZE
        if row[at : at + HASH_SIZE] != before[number]:
            level = tiles[0].level
            raise IntegrityError(
                f"the heads map contradicts itself below node {number} of tile level {level}"
            )
        row[at : at + HASH_SIZE] = value
    return bytes(row)


def _tile_roots(tiles: Sequence[Tile], row: bytes) -> dict[int, bytes]:
    step = tiles[0].width * HASH_SIZE
    return {
        tile.n: _tile_root(row[at : at + step])
        for tile, at in zip(tiles, range(0, len(row), step), strict=True)
    }


@lru_cache(maxsize=TILES_REMEMBERED)
def _tile_root(row: bytes) -> bytes:
    """Root over 2**n concatenated hashes, level by level without an object for each node.

    Remembered by content: the tiles that one update leaves are those that the next one has to
    check, and with their roots known the check is free.
    """
    pair = 2 * HASH_SIZE
    while len(row) > HASH_SIZE:
        row = b"".join(
            [sha256(b"\x01" + row[at : at + pair]).digest() for at in range(0, len(row), pair)]
        )
    return row


def _tiles_of(level: int, nodes: Mapping[int, bytes], bucket_bits: int) -> dict[TileKey, bytes]:
    """The tiles of a level that hold one of ``nodes``."""
    empty = EMPTY_HASHES[TILE_BITS * level]
    width = min(TILE_WIDTH, 1 << bucket_bits - TILE_BITS * level)
    return {
        (level, n): b"".join(nodes.get(n * TILE_WIDTH + at, empty) for at in range(width))
        for n in dict.fromkeys(index >> TILE_BITS for index in nodes)
    }
