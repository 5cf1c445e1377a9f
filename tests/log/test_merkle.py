"""Hashing, roots and the compact range, against the recursive definition."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import Reason, Refused
from ledger.log import merkle
from ledger.log.merkle import EMPTY_ROOT, MAX_SIZE, CompactRange
from tests.log import oracle
from tests.vectors import vectors_dir

LEAVES = oracle.leaves(300)


def test_published_eight_leaf_hashes_and_roots() -> None:
    vectors = json.loads((vectors_dir() / "rfc6962-8leaf.json").read_text())
    hashes = [merkle.leaf_hash(bytes.fromhex(data)) for data in vectors["leaf_inputs_hex"]]
    assert [value.hex() for value in hashes] == vectors["leaf_hashes_hex"]
    roots = [merkle.root_from_leaves(hashes[:size]).hex() for size in range(9)]
    assert roots == vectors["roots_hex"]


def test_compact_range_root_equals_definition_for_every_size() -> None:
    range_ = CompactRange()
    for size in range(len(LEAVES) + 1):
        expected = oracle.root(LEAVES[:size])
        assert range_.root() == expected
        assert merkle.root_from_leaves(LEAVES[:size]) == expected
        assert CompactRange().extend(LEAVES[:size]) == range_
        assert CompactRange.decode(range_.encode()) == range_
        if size < len(LEAVES):
            range_ = range_.append(LEAVES[size])


@given(st.lists(st.integers(0, 70), max_size=8))
def test_extending_in_any_batches_equals_extending_at_once(batches: list[int]) -> None:
    stock = oracle.leaves(560)
    range_, at = CompactRange(), 0
    for batch in batches:
        range_ = range_.extend(stock[at : at + batch])
        at += batch
    assert range_ == CompactRange().extend(stock[:at])


@given(st.integers(0, 120), st.integers(0, 120))
def test_extend_reports_each_completed_node_once_with_its_place(before: int, added: int) -> None:
    seen: dict[tuple[int, int], bytes] = {}

    def on_node(level: int, index: int, value: bytes) -> None:
        assert (level, index) not in seen
        seen[level, index] = value

    CompactRange().extend(LEAVES[:before]).extend(LEAVES[before : before + added], on_node)
    total = before + added
    expected = {
        (level, index)
        for level in range(total.bit_length())
        for index in range(before >> level, total >> level)
    }
    assert set(seen) == expected
    for (level, index), value in seen.items():
        assert value == oracle.root(LEAVES[index << level : (index + 1) << level])


def test_empty_tree_has_the_hash_of_nothing() -> None:
    assert CompactRange().root() == EMPTY_ROOT == merkle.root_from_leaves([])


@pytest.mark.parametrize("leaf", [b"", bytes(31), bytes(33)])
def test_leaf_hash_of_wrong_length_is_refused(leaf: bytes) -> None:
    for call in (
        lambda: CompactRange().append(leaf),
        lambda: merkle.extend(CompactRange(), [bytes(32), leaf]),
        lambda: merkle.root_from_leaves([leaf]),
    ):
        with pytest.raises(Refused) as caught:
            call()
        assert caught.value.reason is Reason.PROOF_INVALID


@pytest.mark.parametrize(
    ("size", "hashes"),
    [
        (-1, ()),
        (MAX_SIZE, (bytes(32),)),
        (1, ()),
        (3, (bytes(32),)),
        (2, (bytes(32), bytes(32))),
        (1, (bytes(31),)),
        (True, (bytes(32),)),
    ],
)
def test_compact_range_that_contradicts_its_size_is_refused(
    size: int, hashes: tuple[bytes, ...]
) -> None:
    with pytest.raises(Refused):
        CompactRange(size, hashes)


def test_tree_cannot_grow_to_two_to_the_63() -> None:
    nearly = CompactRange(MAX_SIZE - 1, (bytes(32),) * 63)
    with pytest.raises(Refused):
        nearly.append(bytes(32))


@given(st.binary(max_size=200))
def test_fuzzed_compact_range_is_refused_or_encodes_back(data: bytes) -> None:
    try:
        range_ = CompactRange.decode(data)
    except Refused:
        return
    assert range_.encode() == data


def test_node_getter_over_leaves_refuses_a_node_that_is_not_there() -> None:
    nodes = merkle.leaf_nodes(LEAVES[:5])
    assert nodes([(2, 0), (0, 4)]) == [oracle.root(LEAVES[:4]), LEAVES[4]]
    for missing in ((2, 1), (0, 5), (3, 0)):
        with pytest.raises(Refused):
            nodes([missing])
