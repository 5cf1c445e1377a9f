"""Merkle tree hashing (RFC 6962, section 2.1, SHA-256) and the state that an append needs.

A node is named (level, index): level 0 holds the leaf hashes, and node (l, i) covers the leaves
[i * 2**l, (i + 1) * 2**l). Only perfect nodes are ever named; the ragged right edge of a tree
is folded from them. Sizes stay below 2**63, so that they fit a signed database column.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Self

from ledger.errors import Reason, Refused

HASH_SIZE = 32
MAX_SIZE = 1 << 63
EMPTY_ROOT = sha256(b"").digest()
"""Root of the tree without leaves."""

Nodes = Callable[[Sequence[tuple[int, int]]], Sequence[bytes]]
"""Gives the hashes of perfect nodes, asked for by (level, index), in the order asked."""
OnNode = Callable[[int, int, bytes], None]
"""Told (level, index, hash) of every node that an append completes, leaves included."""


def leaf_hash(data: bytes) -> bytes:
    """Hash of one log entry: SHA-256(0x00 || data)."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node: SHA-256(0x01 || left || right)."""
    return sha256(b"\x01" + left + right).digest()


def parents(row: Iterable[bytes]) -> list[bytes]:
    """Parent hashes of consecutive pairs, the first of which starts at an even index.

    An odd last hash has no parent yet and is left out.
    """
    pairs = iter(row)
    return [
        sha256(b"\x01" + left + right).digest() for left, right in zip(pairs, pairs, strict=False)
    ]


def fold_right(hashes: Sequence[bytes]) -> bytes:
    """Root of a ragged tree from its perfect subtrees, largest (leftmost) first."""
    *rest, root = hashes
    for left in reversed(rest):
        root = node_hash(left, root)
    return root


def perfect_nodes(begin: int, end: int) -> Iterator[tuple[int, int]]:
    """The fewest perfect nodes (level, index) that cover leaves [begin, end), left to right."""
    while begin < end:
        level = (end - begin).bit_length() - 1
        if begin:
            level = min(level, (begin & -begin).bit_length() - 1)
        yield level, begin >> level
        begin += 1 << level


def require_hashes(hashes: Iterable[bytes], field: str) -> None:
    """Refuse anything but byte strings of 32 bytes."""
    if any(type(value) is not bytes or len(value) != HASH_SIZE for value in hashes):
        raise Refused(Reason.PROOF_INVALID, "a tree hash has 32 bytes", field=field)


def require_size(size: int, field: str = "size") -> None:
    """Refuse a tree size outside 0..2**63-1."""
    if type(size) is not int or not 0 <= size < MAX_SIZE:
        raise Refused(Reason.PROOF_INVALID, "a tree size is a number below 2**63", field=field)


@dataclass(frozen=True, slots=True)
class CompactRange:
    """A tree reduced to the hashes of its perfect subtrees: all that an append needs.

    ``hashes`` stand left to right, one for each bit set in ``size``, the largest subtree first.
    """

    size: int = 0
    hashes: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        require_size(self.size)
        require_hashes(self.hashes, "hashes")
        if len(self.hashes) != self.size.bit_count():
            raise Refused(
                Reason.PROOF_INVALID, "the number of hashes does not fit the size", field="hashes"
            )

    def append(self, leaf: bytes) -> "CompactRange":
        """The tree with one more leaf hash."""
        return self.extend((leaf,))

    def extend(self, leaf_hashes: Sequence[bytes], on_node: OnNode | None = None) -> "CompactRange":
        """The tree with more leaf hashes; see :func:`extend` for the faster form with rows."""
        grown, rows = extend(self, leaf_hashes)
        if on_node is not None:
            for level, row in enumerate(rows):
                for index, value in enumerate(row, self.size >> level):
                    on_node(level, index, value)
        return grown

    def root(self) -> bytes:
        """Root hash, 32 bytes; of the empty tree SHA-256 of nothing."""
        return fold_right(self.hashes) if self.hashes else EMPTY_ROOT

    def encode(self) -> bytes:
        """Size as 8 bytes big-endian, then the hashes."""
        return self.size.to_bytes(8) + b"".join(self.hashes)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Inverse of :meth:`encode`; refuses any other length."""
        if len(data) < 8 or len(data) % HASH_SIZE != 8:
            raise Refused(Reason.PROOF_INVALID, "a compact range is 8 bytes and whole hashes")
        return cls(int.from_bytes(data[:8]), split_hashes(data[8:]))


def split_hashes(data: bytes) -> tuple[bytes, ...]:
    """Cut concatenated hashes apart; the length is a multiple of 32."""
    return tuple(data[at : at + HASH_SIZE] for at in range(0, len(data), HASH_SIZE))


def extend(
    before: CompactRange, leaf_hashes: Sequence[bytes]
) -> tuple[CompactRange, list[list[bytes]]]:
    """Append leaf hashes; returns the new range and the completed nodes of each level.

    Row ``l`` starts at index ``before.size >> l``; row 0 is the leaf hashes. Works level by
    level, so that a batch costs one hash and no per-node object for each leaf.
    """
    if set(map(len, leaf_hashes)) - {HASH_SIZE}:
        raise Refused(Reason.PROOF_INVALID, "a leaf hash has 32 bytes", field="leaf_hashes")
    rows: list[list[bytes]] = []
    pending = list(before.hashes)
    kept: list[bytes] = []
    row = list(leaf_hashes)
    first = before.size
    while row:
        rows.append(row)
        # A set bit of the old size: the subtree at this level waited for its right sibling.
        joined = [pending.pop(), *row] if first & 1 else row
        if len(joined) & 1:
            kept.append(joined[-1])
        row = parents(joined)
        first >>= 1
    hashes = (*pending, *reversed(kept))
    return CompactRange(before.size + len(leaf_hashes), hashes), rows


def root_from_leaves(leaf_hashes: Sequence[bytes]) -> bytes:
    """Root over leaf hashes, level by level; an odd last node moves up as it is."""
    require_hashes(leaf_hashes, "leaf_hashes")
    row = list(leaf_hashes)
    while len(row) > 1:
        odd = row[-1:] if len(row) & 1 else []
        row = parents(row) + odd
    return row[0] if row else EMPTY_ROOT


def leaf_nodes(leaf_hashes: Sequence[bytes]) -> Nodes:
    """Node getter over a tree held in memory; hashes every perfect node once, here."""
    _, rows = extend(CompactRange(), leaf_hashes)

    def nodes(wanted: Sequence[tuple[int, int]]) -> list[bytes]:
        try:
            return [rows[level][index] for level, index in wanted]
        except IndexError as error:
            raise Refused(Reason.PROOF_INVALID, "the tree has no such node") from error

    return nodes
