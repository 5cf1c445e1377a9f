"""The heads map: how many entries each subject has, and the leaf hash of its newest one.

The map has 2**bucket_bits buckets; a subject lies in the bucket that the top bits of its key
name. A bucket is the concatenation of its rows in the order of their keys, and a row is 72 bytes:
subject key (32), count (8, big-endian, at least 1), leaf hash of the newest entry (32). The map's
root is the RFC 6962 tree over the buckets as leaves; a bucket without rows is an empty leaf.

A bucket is shown whole. So one path proves that a subject is present, that it is absent, and that
it has no second row: whoever looks sees every row that there could be.

Nodes are kept in tiles as those of the log are, except that the tree never grows: a tile that
would hold nothing but empty subtrees is absent, and its bytes are then given as ``b""``.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import lt
from typing import NamedTuple

from ledger.errors import IntegrityError, Reason, Refused
from ledger.log.merkle import HASH_SIZE, Nodes, leaf_hash, node_hash
from ledger.log.proofs import inclusion_proof, tree_root, verify_inclusion
from ledger.log.tiles import GetTiles, Tile, tile_nodes

MAX_BUCKET_BITS = 24
COUNT_SIZE = 8
ROW_SIZE = HASH_SIZE + COUNT_SIZE + HASH_SIZE
COUNT_END = HASH_SIZE + COUNT_SIZE
MAX_COUNT = (1 << 8 * COUNT_SIZE) - 1
TILE_BITS = 8

GetBuckets = Callable[[Sequence[int]], Sequence[bytes]]
"""Gives the content of buckets in the order asked; ``b""`` for one without rows."""


@dataclass(frozen=True, slots=True, order=True)
class Row:
    """A subject's key, the number of its entries, and the leaf hash of the newest."""

    subject: bytes
    count: int
    head: bytes

    def encode(self) -> bytes:
        """The row's 72 bytes."""
        return self.subject + self.count.to_bytes(COUNT_SIZE) + self.head


class SubjectProof(NamedTuple):
    """What shows that a subject is in a map, or that it is not: its bucket and the bucket's path.

    ``path`` has ``bucket_bits`` hashes, from the bucket upwards.
    """

    bucket: bytes
    path: tuple[bytes, ...]


def _empty_hashes() -> tuple[bytes, ...]:
    hashes = [leaf_hash(b"")]
    for _ in range(MAX_BUCKET_BITS):
        hashes.append(node_hash(hashes[-1], hashes[-1]))
    return tuple(hashes)


EMPTY_HASHES = _empty_hashes()
"""Hash of the subtree of 2**level empty buckets, by level."""


def empty_root(bucket_bits: int) -> bytes:
    """Root of the map without rows."""
    require_bucket_bits(bucket_bits)
    return EMPTY_HASHES[bucket_bits]


def require_bucket_bits(bucket_bits: int) -> None:
    """Refuse anything but a number from 0 to 24."""
    if type(bucket_bits) is not int or not 0 <= bucket_bits <= MAX_BUCKET_BITS:
        raise _invalid(f"bucket bits are a number from 0 to {MAX_BUCKET_BITS}", "bucket_bits")


def bucket_of(subject: bytes, bucket_bits: int) -> int:
    """Number of the bucket of a 32-byte subject key: its top ``bucket_bits`` bits."""
    require_bucket_bits(bucket_bits)
    if type(subject) is not bytes or len(subject) != HASH_SIZE:
        raise _invalid("a subject key has 32 bytes", "subject_key")
    return top_bits(subject, bucket_bits)


def top_bits(subject: bytes, bucket_bits: int) -> int:
    """:func:`bucket_of` for a key and bits that have been checked."""
    return int.from_bytes(subject[:3]) >> MAX_BUCKET_BITS - bucket_bits


def encode_bucket(rows: Iterable[Row]) -> bytes:
    """Content of the bucket with these rows, given in any order.

    Refuses what :func:`decode_bucket` would refuse in every map.
    """
    ordered = sorted(rows)
    for row in ordered:
        if len(row.subject) != HASH_SIZE or len(row.head) != HASH_SIZE:
            raise _invalid("a row has a key and a head of 32 bytes", "bucket")
        if not 1 <= row.count <= MAX_COUNT:
            raise _invalid("a row's count is 1 to 2**64-1", "bucket")
    content = b"".join(row.encode() for row in ordered)
    verify_bucket(content, 0, 0)
    return content


def decode_bucket(data: bytes, number: int, bucket_bits: int) -> list[Row]:
    """Rows of bucket ``number``; refuses what :func:`verify_bucket` refuses."""
    verify_bucket(data, number, bucket_bits)
    return [_row(data, at) for at in range(0, len(data), ROW_SIZE)]


def verify_bucket(data: bytes, number: int, bucket_bits: int) -> None:
    """Refuse bytes that are not the content of bucket ``number`` of a map.

    Every set of rows has exactly one content: whole rows, keys strictly ascending (so none
    twice), each key in this bucket, each count at least 1.
    """
    require_bucket_bits(bucket_bits)
    if type(number) is not int or not 0 <= number < 1 << bucket_bits:
        raise _invalid("the map has no bucket of this number", "bucket")
    if type(data) is not bytes or len(data) % ROW_SIZE:
        raise _invalid(f"a bucket is whole rows of {ROW_SIZE} bytes", "bucket")
    if not data:
        return
    keys = [data[at : at + HASH_SIZE] for at in range(0, len(data), ROW_SIZE)]
    if not all(map(lt, keys, keys[1:])):
        raise _invalid("a bucket's keys ascend, each standing once", "bucket")
    # Keys ascend, so the rest lies between these two.
    if any(top_bits(key, bucket_bits) != number for key in (keys[0], keys[-1])):
        raise _invalid("a bucket holds a row of another bucket", "bucket")
    zero = bytes(COUNT_SIZE)
    if any(data[at : at + COUNT_SIZE] == zero for at in range(HASH_SIZE, len(data), ROW_SIZE)):
        raise _invalid("a row's count is at least 1", "bucket")


def find(data: bytes, subject: bytes) -> tuple[int, bool]:
    """Offset where the subject's row stands or would stand in a bucket, and whether it does."""
    low, high = 0, len(data) // ROW_SIZE
    while low < high:
        middle = (low + high) // 2
        at = middle * ROW_SIZE
        if data[at : at + HASH_SIZE] < subject:
            low = middle + 1
        else:
            high = middle
    at = low * ROW_SIZE
    return at, data[at : at + HASH_SIZE] == subject


def verify_subject(
    root: bytes, bucket_bits: int, subject_key: bytes, bucket: bytes, path: Sequence[bytes]
) -> Row | None:
    """The subject's row in the map with this root; None where the map is proved not to have one.

    ``root`` and ``bucket_bits`` come from an index-root entry that the caller has already checked
    against a checkpoint and the genesis. Refuses (``proof-invalid``) a bucket that is not well
    formed, that is another one's, or that the path does not lead from to the root.
    """
    number = bucket_of(subject_key, bucket_bits)
    verify_bucket(bucket, number, bucket_bits)
    verify_inclusion(leaf_hash(bucket), number, 1 << bucket_bits, path, root)
    at, present = find(bucket, subject_key)
    return _row(bucket, at) if present else None


def prove_subject(
    get_buckets: GetBuckets, get_tiles: GetTiles, bucket_bits: int, subject_key: bytes
) -> SubjectProof:
    """The proof that :func:`verify_subject` takes. Each getter is called once."""
    number = bucket_of(subject_key, bucket_bits)
    (bucket,) = get_buckets([number])
    nodes = map_nodes(get_tiles, bucket_bits)
    return SubjectProof(bucket, tuple(inclusion_proof(nodes, number, 1 << bucket_bits)))


def map_root(get_tiles: GetTiles, bucket_bits: int) -> bytes:
    """Root as the stored top tile says."""
    return tree_root(map_nodes(get_tiles, bucket_bits), 1 << bucket_bits)


def map_nodes(get_tiles: GetTiles, bucket_bits: int) -> Nodes:
    """Node getter over a map's tiles, for the proofs of ``ledger.log.proofs``."""
    require_bucket_bits(bucket_bits)
    return tile_nodes(lambda tiles: filled_tiles(get_tiles, tiles), 1 << bucket_bits)


def filled_tiles(get_tiles: GetTiles, tiles: Sequence[Tile]) -> list[bytes]:
    """Tiles at their exact width, absent ones written out. ``IntegrityError`` on any other."""
    found = get_tiles(tiles)
    if len(found) != len(tiles):
        raise IntegrityError(f"asked for {len(tiles)} tiles of the heads map, got {len(found)}")
    filled = [
        data or EMPTY_HASHES[TILE_BITS * tile.level] * tile.width
        for tile, data in zip(tiles, found, strict=True)
    ]
    for tile, data in zip(tiles, filled, strict=True):
        if len(data) != tile.width * HASH_SIZE:
            raise IntegrityError(
                f"heads map tile {tile.level}/{tile.n} has {len(data)} bytes, width {tile.width}"
            )
    return filled


def _row(data: bytes, at: int) -> Row:
    return Row(
        data[at : at + HASH_SIZE],
        int.from_bytes(data[at + HASH_SIZE : at + COUNT_END]),
        data[at + COUNT_END : at + ROW_SIZE],
    )


def _invalid(detail: str, field: str) -> Refused:
    return Refused(Reason.PROOF_INVALID, detail, field=field)
