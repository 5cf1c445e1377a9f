"""One inclusion proof for several leaves of one tree (RFC 6962 hashing).

Prover and verifier walk the same ranges, left to right: a range without any of the leaves is one
hash of the proof, a single leaf that was asked for is known, and everything else is split where
RFC 6962 splits it. So leaves that lie together share their path, and for given leaves a proof has
exactly one acceptable length.
"""

from collections.abc import Iterator, Mapping, Sequence

from ledger.errors import Reason, Refused
from ledger.log.merkle import (
    HASH_SIZE,
    Nodes,
    fold_right,
    node_hash,
    perfect_nodes,
    require_hashes,
    require_size,
    split_hashes,
)

MAX_LEAVES = 8_192


def prove(nodes: Nodes, indices: Sequence[int], size: int) -> bytes:
    """Concatenated hashes that lead from the leaves at ``indices`` to the root.

    ``nodes`` is asked once. Refuses (PROOF_INVALID) indices that do not ascend or lie outside.
    """
    _require(indices, size)
    parts = [
        list(perfect_nodes(begin, end)) for begin, end, found in _ranges(indices, size) if not found
    ]
    hashes = iter(nodes([node for part in parts for node in part]))
    return b"".join(fold_right([next(hashes) for _ in part]) for part in parts)


def root(leaves: Mapping[int, bytes], size: int, proof: bytes) -> bytes:
    """The root that the leaf hashes (by index) and a proof lead to. Refused: PROOF_INVALID.

    The caller compares it with one that it trusts.
    """
    indices = sorted(leaves)
    _require(indices, size)
    require_hashes(leaves.values(), "leaf_hash")
    if len(proof) % HASH_SIZE:
        raise _invalid("a proof is whole hashes of 32 bytes")
    spare = iter(split_hashes(proof))
    folded: list[tuple[int, int, bytes]] = []
    for begin, end, found in _ranges(indices, size):
        value = leaves[begin] if found else next(spare, b"")
        if not value:
            raise _invalid("the proof is too short")
        folded.append((begin, end, value))
    if next(spare, None) is not None:
        raise _invalid("the proof is too long")
    value, rest = _fold(folded, 0, 0, size)
    if rest != len(folded):  # pragma: no cover - the ranges tile the tree
        raise _invalid("the proof does not fit the tree")
    return value


def _fold(
    parts: Sequence[tuple[int, int, bytes]], at: int, begin: int, end: int
) -> tuple[bytes, int]:
    """Hash of [begin, end) from the parts that tile it, and where the next part stands."""
    if parts[at][:2] == (begin, end):
        return parts[at][2], at + 1
    middle = _split(begin, end)
    left, at = _fold(parts, at, begin, middle)
    right, at = _fold(parts, at, middle, end)
    return node_hash(left, right), at


def _ranges(indices: Sequence[int], size: int) -> Iterator[tuple[int, int, bool]]:
    """(begin, end, whether it is a leaf that is asked for), tiling the tree from left to right."""
    waiting = [(0, size, 0, len(indices))]
    while waiting:
        begin, end, low, high = waiting.pop()
        if low == high:
            yield begin, end, False
        elif end - begin == 1:
            yield begin, end, True
        else:
            middle = _split(begin, end)
            cut = low
            while cut < high and indices[cut] < middle:
                cut += 1
            waiting.append((middle, end, cut, high))
            waiting.append((begin, middle, low, cut))


def _split(begin: int, end: int) -> int:
    return begin + (1 << (end - begin - 1).bit_length() - 1)


def _require(indices: Sequence[int], size: int) -> None:
    require_size(size)
    if not 1 <= len(indices) <= MAX_LEAVES:
        raise _invalid(f"a proof is for 1 to {MAX_LEAVES} leaves")
    last = -1
    for index in indices:
        if type(index) is not int or not last < index < size:
            raise _invalid("indices ascend and lie within the tree")
        last = index


def _invalid(detail: str) -> Refused:
    return Refused(Reason.PROOF_INVALID, detail, field="proof")
