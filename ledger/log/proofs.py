"""Inclusion and consistency proofs (RFC 6962, sections 2.1.1 and 2.1.2), and those of subtrees.

A subtree is a range of leaves [start, end) that is a tree of its own inside every larger tree:
``start`` is a multiple of the smallest power of two that is no less than ``end - start``
(draft-ietf-plants-merkle-tree-certs). A tree is its own subtree from 0; so a consistency proof is
the proof that one subtree from 0 is part of a tree.

Both sides walk the same list of leaf ranges: the prover hashes each range, the verifier knows
from the range on which side its hash belongs. So a proof has exactly one acceptable length.

Size 0 follows C2SP tlog-witness: from the empty tree to any tree the proof is empty.
"""

from collections.abc import Sequence

from ledger.errors import Reason, Refused
from ledger.log.merkle import (
    EMPTY_ROOT,
    CompactRange,
    Nodes,
    fold_right,
    node_hash,
    perfect_nodes,
    require_hashes,
    require_size,
)

Range = tuple[int, int]


def inclusion_proof(nodes: Nodes, index: int, size: int) -> list[bytes]:
    """Audit path of leaf ``index`` in the tree of ``size`` leaves, from the leaf upwards.

    ``nodes`` is asked once, for at most 126 nodes. Refuses an index outside the tree.
    """
    _require_index(index, size)
    return _hash_ranges(nodes, _inclusion_ranges(index, size))


def consistency_proof(nodes: Nodes, size1: int, size2: int) -> list[bytes]:
    """Proof that the tree of ``size1`` leaves is a prefix of the tree of ``size2`` leaves.

    Empty for equal sizes and for ``size1`` 0. Refuses ``size1`` above ``size2``.
    """
    _require_order(size1, size2)
    if size1 in (0, size2):
        return []
    return _hash_ranges(nodes, _consistency_ranges(0, size1, size2))


def subtree_proof(nodes: Nodes, start: int, end: int, size: int) -> list[bytes]:
    """Proof that the subtree [start, end) is part of the tree of ``size`` leaves.

    Refuses a range that is no subtree, or not inside of the tree.
    """
    _require_subtree(start, end, size)
    return _hash_ranges(nodes, _consistency_ranges(start, end, size))


def compact_range(nodes: Nodes, size: int) -> CompactRange:
    """The append state of the tree of ``size`` leaves."""
    require_size(size)
    return CompactRange(size, tuple(nodes(list(perfect_nodes(0, size)))))


def tree_root(nodes: Nodes, size: int) -> bytes:
    """Root of the tree of ``size`` leaves."""
    return compact_range(nodes, size).root()


def root_from_inclusion(leaf_hash: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes:
    """The root that an inclusion proof leads to; the caller compares it with one it trusts."""
    _require_index(index, size)
    require_hashes((leaf_hash,), "leaf_hash")
    ranges = _inclusion_ranges(index, size)
    _require_length(proof, len(ranges))
    value = leaf_hash
    for (begin, _), sibling in zip(ranges, proof, strict=True):
        value = node_hash(value, sibling) if begin > index else node_hash(sibling, value)
    return value


def verify_inclusion(
    leaf_hash: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> None:
    """Refuse unless ``proof`` shows ``leaf_hash`` at ``index`` of the tree with this root."""
    require_hashes((root,), "root")
    if root_from_inclusion(leaf_hash, index, size, proof) != root:
        raise Refused(Reason.PROOF_INVALID, "the inclusion proof leads to another root")


def verify_consistency(
    size1: int, size2: int, root1: bytes, root2: bytes, proof: Sequence[bytes]
) -> None:
    """Refuse unless ``proof`` shows that the first tree is a prefix of the second.

    A size of 0 goes with the empty root only; from it, any tree follows by an empty proof.
    """
    _require_order(size1, size2)
    require_hashes((root1, root2), "root")
    if size1 == 0 and root1 != EMPTY_ROOT:
        raise Refused(Reason.PROOF_INVALID, "a tree of size 0 has the empty root", field="root")
    if size1 in (0, size2):
        _require_length(proof, 0)
        if size1 == size2 and root1 != root2:
            raise Refused(Reason.PROOF_INVALID, "one size has two roots: the log has forked")
        return
    if _roots_from_consistency(0, size1, size2, root1, proof) != (root1, root2):
        raise Refused(Reason.PROOF_INVALID, "the consistency proof leads to other roots")


def verify_subtree(
    start: int, end: int, size: int, subtree_root: bytes, root: bytes, proof: Sequence[bytes]
) -> None:
    """Refuse unless ``proof`` shows that the subtree [start, end) is part of the tree."""
    _require_subtree(start, end, size)
    require_hashes((subtree_root, root), "root")
    if _roots_from_consistency(start, end, size, subtree_root, proof) != (subtree_root, root):
        raise Refused(Reason.PROOF_INVALID, "the subtree's proof leads to other roots")


def verify_subtree_inclusion(
    leaf_hash: bytes, index: int, start: int, end: int, proof: Sequence[bytes], root: bytes
) -> None:
    """Refuse unless ``proof`` shows ``leaf_hash`` at ``index`` of the log, in [start, end)."""
    _require_subtree(start, end, end)
    _require_index(index, end)
    verify_inclusion(leaf_hash, index - start, end - start, proof, root)


def _roots_from_consistency(
    start: int, end: int, size: int, subtree_root: bytes, proof: Sequence[bytes]
) -> tuple[bytes, bytes]:
    ranges = _consistency_ranges(start, end, size)
    _require_length(proof, len(ranges))
    steps = list(zip(ranges, proof, strict=True))
    if steps and ranges[0][1] == end:
        old = new = steps.pop(0)[1]
    else:
        # The subtree is one node of the tree, so its root is where both start.
        old = new = subtree_root
    for (begin, _), sibling in steps:
        if begin >= end:
            new = node_hash(new, sibling)
        elif begin < start:
            new = node_hash(sibling, new)
        else:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
    return old, new


def _inclusion_ranges(index: int, size: int) -> list[Range]:
    """Leaf ranges of the siblings on the path of a leaf, from the leaf upwards."""
    begin, end, ranges = 0, size, []
    while end - begin > 1:
        middle = _split(begin, end)
        if index < middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((begin, middle))
            begin = middle
    return ranges[::-1]


def _consistency_ranges(start: int, end: int, size: int) -> list[Range]:
    """Leaf ranges of the proof that [start, end) is part of the tree, deepest first.

    From 0 it is SUBPROOF of RFC 6962, 2.1.2. Needs a subtree. The first range ends at ``end``
    unless the subtree is a node of the tree, whose hash the verifier knows already.
    """
    left, right, ranges = 0, size, []
    while left < start or right != end:
        middle = _split(left, right)
        if end <= middle:
            ranges.append((middle, right))
            right = middle
        else:
            ranges.append((left, middle))
            left = middle
    if left > start:
        ranges.append((left, right))
    return ranges[::-1]


def _split(begin: int, end: int) -> int:
    """Where RFC 6962 splits a range: after the largest power of two below its length."""
    return begin + (1 << (end - begin - 1).bit_length() - 1)


def _hash_ranges(nodes: Nodes, ranges: Sequence[Range]) -> list[bytes]:
    parts = [list(perfect_nodes(begin, end)) for begin, end in ranges]
    hashes = iter(nodes([node for part in parts for node in part]))
    return [fold_right([next(hashes) for _ in part]) for part in parts]


def _require_index(index: int, size: int) -> None:
    require_size(size)
    if type(index) is not int or not 0 <= index < size:
        raise Refused(Reason.PROOF_INVALID, "the index lies outside the tree", field="index")


def _require_order(size1: int, size2: int) -> None:
    require_size(size1, "size1")
    require_size(size2, "size2")
    if size1 > size2:
        raise Refused(Reason.PROOF_INVALID, "the first tree is the larger one", field="size1")


def _require_subtree(start: int, end: int, size: int) -> None:
    require_size(start, "start")
    require_size(end, "end")
    _require_order(end, size)
    if start >= end or start & ((1 << (end - start - 1).bit_length()) - 1):
        raise Refused(Reason.PROOF_INVALID, "the range is no subtree", field="start")


def _require_length(proof: Sequence[bytes], expected: int) -> None:
    if len(proof) != expected:
        raise Refused(
            Reason.PROOF_INVALID,
            f"the proof has {len(proof)} hashes, not {expected}",
            field="proof",
        )
    require_hashes(proof, "proof")
