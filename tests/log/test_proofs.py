"""Proofs made from leaves and from tiles, against the recursive definition; strictness."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import Reason, Refused
from ledger.log import merkle, proofs, tiles
from ledger.log.merkle import EMPTY_ROOT, MAX_SIZE
from tests.log import oracle

LEAVES = oracle.leaves(700)
NODES = merkle.leaf_nodes(LEAVES)
TILES = tiles.grow({}, 0, LEAVES)


def tile_bytes(wanted: Sequence[tiles.Tile]) -> list[bytes]:
    return [TILES[level, n] for level, n, _ in wanted]


@st.composite
def sizes_in_order(draw: st.DrawFn, least: int = 0, most: int = 200) -> tuple[int, int]:
    size2 = draw(st.integers(max(least, 1), most))
    return draw(st.integers(least, size2)), size2


@given(sizes_in_order())
def test_inclusion_proof_equals_definition_and_verifies(pair: tuple[int, int]) -> None:
    index, size = pair[0], pair[1] + 1
    leaves = LEAVES[:size]
    proof = proofs.inclusion_proof(NODES, index, size)
    assert proof == oracle.path(index, leaves)
    assert proof == proofs.inclusion_proof(tiles.tile_nodes(tile_bytes, size), index, size)
    proofs.verify_inclusion(LEAVES[index], index, size, proof, oracle.root(leaves))


@given(sizes_in_order(least=1))
def test_consistency_proof_equals_definition_and_verifies(pair: tuple[int, int]) -> None:
    size1, size2 = pair
    proof = proofs.consistency_proof(NODES, size1, size2)
    assert proof == oracle.proof(size1, LEAVES[:size2])
    assert proof == proofs.consistency_proof(tiles.tile_nodes(tile_bytes, size2), size1, size2)
    root1, root2 = oracle.root(LEAVES[:size1]), oracle.root(LEAVES[:size2])
    proofs.verify_consistency(size1, size2, root1, root2, proof)


@given(sizes_in_order(least=201, most=700))
def test_proofs_across_several_tiles_verify(pair: tuple[int, int]) -> None:
    size1, size2 = pair
    nodes = tiles.tile_nodes(tile_bytes, size2)
    root1 = merkle.root_from_leaves(LEAVES[:size1])
    root2 = proofs.tree_root(nodes, size2)
    assert root2 == merkle.root_from_leaves(LEAVES[:size2])
    consistency = proofs.consistency_proof(nodes, size1, size2)
    proofs.verify_consistency(size1, size2, root1, root2, consistency)
    inclusion = proofs.inclusion_proof(nodes, size1 - 1, size2)
    proofs.verify_inclusion(LEAVES[size1 - 1], size1 - 1, size2, inclusion, root2)


@given(st.integers(0, 300))
def test_compact_range_from_nodes_equals_the_appended_one(size: int) -> None:
    grown = merkle.CompactRange().extend(LEAVES[:size])
    assert proofs.compact_range(tiles.tile_nodes(tile_bytes, size), size) == grown


@given(sizes_in_order(), st.data())
def test_inclusion_proof_with_any_change_is_refused(
    pair: tuple[int, int], data: st.DataObject
) -> None:
    index, size = pair[0], pair[1] + 1
    root = merkle.root_from_leaves(LEAVES[:size])
    proof = proofs.inclusion_proof(NODES, index, size)
    changed = data.draw(changes(proof))
    with pytest.raises(Refused) as caught:
        proofs.verify_inclusion(LEAVES[index], index, size, changed, root)
    assert caught.value.reason is Reason.PROOF_INVALID
    # Not only another sibling: the same proof for another leaf or another place fails too.
    with pytest.raises(Refused):
        proofs.verify_inclusion(LEAVES[index + 1], index, size, proof, root)
    if size > 1:
        with pytest.raises(Refused):
            proofs.verify_inclusion(LEAVES[index], (index + 1) % size, size, proof, root)


@given(sizes_in_order(least=1), st.data())
def test_consistency_proof_with_any_change_is_refused(
    pair: tuple[int, int], data: st.DataObject
) -> None:
    size1, size2 = pair
    root1 = merkle.root_from_leaves(LEAVES[:size1])
    root2 = merkle.root_from_leaves(LEAVES[:size2])
    proof = proofs.consistency_proof(NODES, size1, size2)
    for changed in (data.draw(changes(proof)), [*proof, root1], [root1, *proof]):
        with pytest.raises(Refused):
            proofs.verify_consistency(size1, size2, root1, root2, changed)
    for wrong1, wrong2 in ((EMPTY_ROOT, root2), (root1, EMPTY_ROOT)):
        with pytest.raises(Refused):
            proofs.verify_consistency(size1, size2, wrong1, wrong2, proof)


def changes(proof: list[bytes]) -> st.SearchStrategy[list[bytes]]:
    """The proof with a hash more, and where it has hashes one less, cut, or with a flipped bit."""
    longer = st.integers(0, len(proof)).map(lambda at: [*proof[:at], bytes(32), *proof[at:]])
    if not proof:
        return longer
    places = st.integers(0, len(proof) - 1)
    flipped = st.tuples(places, st.integers(0, 255)).map(lambda where: _flip(proof, *where))
    shorter = places.map(lambda at: [*proof[:at], *proof[at + 1 :]])
    cut = places.map(lambda at: [*proof[:at], proof[at][:31], *proof[at + 1 :]])
    return st.one_of(longer, shorter, cut, flipped)


def _flip(proof: list[bytes], at: int, bit: int) -> list[bytes]:
    value = int.from_bytes(proof[at]) ^ (1 << bit)
    return [*proof[:at], value.to_bytes(32), *proof[at + 1 :]]


def test_from_size_zero_an_empty_proof_leads_to_any_tree() -> None:
    """C2SP tlog-witness: a witness that has seen nothing sends old size 0 and no proof."""
    assert proofs.consistency_proof(NODES, 0, 7) == []
    proofs.verify_consistency(0, 7, EMPTY_ROOT, oracle.root(LEAVES[:7]), [])
    proofs.verify_consistency(0, 0, EMPTY_ROOT, EMPTY_ROOT, [])


@pytest.mark.parametrize(
    ("size1", "size2", "root1", "root2", "proof"),
    [
        pytest.param(0, 1, EMPTY_ROOT, LEAVES[0], [LEAVES[0]], id="proof from size 0 not empty"),
        pytest.param(0, 1, LEAVES[0], LEAVES[0], [], id="size 0 with a root of something"),
        pytest.param(0, 0, EMPTY_ROOT, LEAVES[0], [], id="second size 0 with a root of something"),
        pytest.param(1, 0, LEAVES[0], EMPTY_ROOT, [], id="shrinking"),
        pytest.param(2, 2, LEAVES[0], LEAVES[1], [], id="fork at one size"),
        pytest.param(2, 2, LEAVES[0], LEAVES[0], [LEAVES[0]], id="proof for equal sizes"),
        pytest.param(-1, 2, LEAVES[0], LEAVES[0], [], id="negative"),
        pytest.param(1, MAX_SIZE, LEAVES[0], LEAVES[0], [LEAVES[0]] * 63, id="too large"),
        pytest.param(1, 2, b"", LEAVES[0], [LEAVES[0]], id="empty first root"),
        pytest.param(1, 2, LEAVES[0], bytes(33), [LEAVES[0]], id="long second root"),
    ],
)
def test_consistency_claim_outside_the_rules_is_refused(
    size1: int, size2: int, root1: bytes, root2: bytes, proof: list[bytes]
) -> None:
    with pytest.raises(Refused) as caught:
        proofs.verify_consistency(size1, size2, root1, root2, proof)
    assert caught.value.reason is Reason.PROOF_INVALID


@pytest.mark.parametrize(
    ("index", "size"), [(0, 0), (5, 5), (-1, 5), (6, 5), (0, MAX_SIZE), (False, 5)]
)
def test_index_outside_the_tree_is_refused_on_both_sides(index: int, size: int) -> None:
    with pytest.raises(Refused):
        proofs.inclusion_proof(NODES, index, size)
    with pytest.raises(Refused):
        proofs.root_from_inclusion(LEAVES[0], index, size, [])


def test_proof_element_that_is_no_byte_string_is_refused() -> None:
    wrong: Any = ["a" * 32]
    with pytest.raises(Refused):
        proofs.verify_inclusion(LEAVES[0], 0, 2, wrong, LEAVES[1])
    with pytest.raises(Refused):
        proofs.verify_consistency(1, 2, LEAVES[0], LEAVES[1], wrong)


def test_proof_for_a_shrinking_tree_is_refused() -> None:
    with pytest.raises(Refused):
        proofs.consistency_proof(NODES, 6, 5)


def test_largest_sizes_take_proofs_of_63_hashes_at_most() -> None:
    with pytest.raises(Refused, match="not 63"):
        proofs.root_from_inclusion(bytes(32), 0, MAX_SIZE - 1, [])
    proofs.root_from_inclusion(bytes(32), 0, MAX_SIZE - 1, [bytes(32)] * 63)


@given(
    st.integers(-2, 2**64),
    st.integers(-2, 2**64),
    st.lists(st.binary(max_size=40) | st.just(bytes(32)), max_size=70),
)
def test_fuzzed_proofs_are_refused(size1: int, size2: int, proof: list[bytes]) -> None:
    with pytest.raises(Refused):
        proofs.verify_inclusion(LEAVES[0], size1, size2, proof, LEAVES[1])
    with pytest.raises(Refused):
        proofs.verify_consistency(size1, size2, LEAVES[0], LEAVES[1], proof)
