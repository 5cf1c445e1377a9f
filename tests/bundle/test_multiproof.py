"""One proof for several leaves, against the tree itself."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.bundle import multiproof
from ledger.errors import Reason
from ledger.log.merkle import leaf_nodes, root_from_leaves
from ledger.log.proofs import inclusion_proof
from tests.log import oracle
from tests.protocol.refusals import only_refusals, refused

LEAVES = oracle.leaves(70)


@st.composite
def chosen(draw: st.DrawFn) -> tuple[int, list[int]]:
    """A size, and some indices below it."""
    size = draw(st.integers(1, len(LEAVES)))
    wanted = draw(st.sets(st.integers(0, size - 1), min_size=1, max_size=size))
    return size, sorted(wanted)


@given(chosen())
def test_a_proof_leads_from_any_leaves_to_the_root(case: tuple[int, list[int]]):
    size, indices = case
    leaves = LEAVES[:size]
    proof = multiproof.prove(leaf_nodes(leaves), indices, size)
    found = {index: leaves[index] for index in indices}
    assert multiproof.root(found, size, proof) == root_from_leaves(leaves)


@given(chosen(), st.data())
def test_another_leaf_another_place_or_another_length_leads_elsewhere(
    case: tuple[int, list[int]], data: st.DataObject
):
    size, indices = case
    leaves = LEAVES[:size]
    proof = multiproof.prove(leaf_nodes(leaves), indices, size)
    found = {index: leaves[index] for index in indices}
    index = data.draw(st.sampled_from(indices))
    assert multiproof.root(found | {index: bytes(32)}, size, proof) != root_from_leaves(leaves)
    with refused(Reason.PROOF_INVALID):
        multiproof.root(found, size, proof + bytes(32))
    if proof:
        with refused(Reason.PROOF_INVALID):
            multiproof.root(found, size, proof[:-32])
        flipped = bytes([proof[0] ^ 1]) + proof[1:]
        assert multiproof.root(found, size, flipped) != root_from_leaves(leaves)


def test_for_one_leaf_it_has_the_hashes_of_an_inclusion_proof():
    for size in range(1, 40):
        for index in range(size):
            nodes = leaf_nodes(LEAVES[:size])
            proof = multiproof.prove(nodes, [index], size)
            single = inclusion_proof(nodes, index, size)
            assert sorted(single) == sorted(proof[at : at + 32] for at in range(0, len(proof), 32))


@pytest.mark.parametrize("indices", [[], [1, 0], [1, 1], [-1], [5], [True]])
def test_indices_that_do_not_ascend_or_lie_outside_are_refused(indices: list[int]):
    with refused(Reason.PROOF_INVALID):
        multiproof.prove(leaf_nodes(LEAVES[:5]), indices, 5)


@given(
    st.dictionaries(st.integers(-1, 2**64), st.binary(max_size=40), max_size=6),
    st.integers(-1, 2**64),
    st.binary(max_size=400),
)
@settings(max_examples=200)
def test_whatever_it_is_given_it_refuses_or_answers(
    leaves: dict[int, bytes], size: int, proof: bytes
):
    answer = only_refusals(lambda each: multiproof.root(leaves, size, each), proof)
    assert answer is None or len(answer) == 32
