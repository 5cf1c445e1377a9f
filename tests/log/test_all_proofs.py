"""Every proof of every tree up to 600 leaves, against RFC 6962 written down a second time.

The naive side hashes each range of leaves as the text has it, and remembers it: without that, the
same hashes would be made millions of times.
"""

from collections.abc import Iterable
from functools import cache
from hashlib import sha256

import pytest

from ledger.errors import Refused
from ledger.log import merkle, proofs
from tests.log import oracle

LARGEST = 600
LEAVES = oracle.leaves(LARGEST)
NODES = merkle.leaf_nodes(LEAVES)
SIZES = [
    pytest.param(range(1, 71), id="to 70"),
    pytest.param((127, 128, 129, 255, 256, 257, 511, 512, 513, 599, 600), id="around tiles"),
    pytest.param(range(71, LARGEST + 1), id="to 600", marks=pytest.mark.slow),
]


@cache
def split(count: int) -> int:
    k = 1
    while k * 2 < count:
        k *= 2
    return k


@cache
def root(begin: int, end: int) -> bytes:
    """MTH of the leaves [begin, end)."""
    if end - begin == 1:
        return LEAVES[begin]
    k = begin + split(end - begin)
    return sha256(b"\x01" + root(begin, k) + root(k, end)).digest()


def path(index: int, begin: int, end: int) -> list[bytes]:
    """PATH of leaf ``index`` in the tree over [begin, end)."""
    if end - begin == 1:
        return []
    k = begin + split(end - begin)
    if index < k:
        return [*path(index, begin, k), root(k, end)]
    return [*path(index, k, end), root(begin, k)]


def subproof(start: int, end: int, left: int, right: int, known: bool = True) -> list[bytes]:
    """SUBTREE_SUBPROOF of [start, end) in the tree over [left, right); from 0, SUBPROOF."""
    if (start, end) == (left, right):
        return [] if known else [root(left, right)]
    k = left + split(right - left)
    if end <= k:
        return [*subproof(start, end, left, k, known), root(k, right)]
    if k <= start:
        return [*subproof(start, end, k, right, known), root(left, k)]
    return [*subproof(k, end, k, right, False), root(left, k)]


@pytest.mark.parametrize("sizes", SIZES)
def test_every_inclusion_proof(sizes: Iterable[int]) -> None:
    for size in sizes:
        for index in range(size):
            proof = proofs.inclusion_proof(NODES, index, size)
            assert proof == path(index, 0, size)
            proofs.verify_inclusion(LEAVES[index], index, size, proof, root(0, size))


@pytest.mark.parametrize("sizes", SIZES)
def test_every_consistency_proof(sizes: Iterable[int]) -> None:
    for size2 in sizes:
        for size1 in range(1, size2 + 1):
            proof = proofs.consistency_proof(NODES, size1, size2)
            assert proof == subproof(0, size1, 0, size2)
            proofs.verify_consistency(size1, size2, root(0, size1), root(0, size2), proof)


@pytest.mark.parametrize("size", [1, 2, 7, 8, 23, 64, 70])
def test_every_subtree(size: int) -> None:
    """Of every range of leaves: where it is a subtree it is proved, any other is refused."""
    for end in range(1, size + 1):
        for start in range(end):
            width = 1 << (end - start - 1).bit_length()
            if start % width:
                with pytest.raises(Refused):
                    proofs.subtree_proof(NODES, start, end, size)
                continue
            proof = proofs.subtree_proof(NODES, start, end, size)
            assert proof == subproof(start, end, 0, size)
            proofs.verify_subtree(start, end, size, root(start, end), root(0, size), proof)
            for index in range(start, end):
                inside = path(index, start, end)
                proofs.verify_subtree_inclusion(
                    LEAVES[index], index, start, end, inside, root(start, end)
                )


def test_largest_tree_has_the_root_of_the_plain_definition() -> None:
    """What the naive side remembers changes nothing."""
    for size in (1, 2, 255, 256, 257, 599, LARGEST):
        assert root(0, size) == oracle.root(LEAVES[:size])
        assert path(size // 3, 0, size) == oracle.path(size // 3, LEAVES[:size])
        assert subproof(0, size // 2 + 1, 0, size) == oracle.proof(size // 2 + 1, LEAVES[:size])
