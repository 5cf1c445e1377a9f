"""Leaves: one encoding, links that can be the first or a later one, fuzz."""

from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as h

from ledger.errors import Reason
from ledger.log.chain import (
    MAX_LEAF_BYTES,
    MAX_SUBJECTS,
    Leaf,
    Link,
    decode_leaf,
    encode_leaf,
    leaf_hash,
)
from ledger.protocol import cbor
from ledger.values import ZERO_DIGEST
from tests.protocol.refusals import mutations, only_refusals, refused

KEY, OTHER, DIGEST = (sha256(bytes([n])).digest() for n in range(3))
LEAF = Leaf("birth", 1_767_225_600_000, (Link(KEY, 0, ZERO_DIGEST), Link(OTHER, 7, KEY)), DIGEST)
PARTS: list[Any] = [1, "birth", 5, [[KEY, 0, ZERO_DIGEST], [OTHER, 7, KEY]], DIGEST]

DIGESTS = h.binary(min_size=32, max_size=32).filter(any)
LINKS = h.builds(Link, DIGESTS, h.just(0), h.just(ZERO_DIGEST)) | h.builds(
    Link, DIGESTS, h.integers(1, 2**53), DIGESTS
)
LEAVES = h.builds(
    Leaf,
    h.text(max_size=20),
    h.integers(0, 2**53),
    h.lists(LINKS, max_size=5, unique_by=lambda link: link.subject).map(tuple),
    h.binary(min_size=32, max_size=32),
)


@given(LEAVES)
def test_every_leaf_goes_there_and_back(leaf: Leaf):
    data = leaf.encode()
    assert decode_leaf(data) == leaf
    assert data == encode_leaf(leaf.kind, leaf.received_ms, leaf.links, leaf.statement_digest)


def test_a_leaf_is_the_array_of_the_design():
    assert cbor.decode(LEAF.encode(), max_size=500) == [
        1,
        "birth",
        1_767_225_600_000,
        [[KEY, 0, ZERO_DIGEST], [OTHER, 7, KEY]],
        DIGEST,
    ]


def test_a_leaf_hash_is_that_of_rfc_6962():
    assert leaf_hash(b"") == bytes.fromhex(
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    )
    assert leaf_hash(LEAF.encode()) == sha256(b"\x00" + LEAF.encode()).digest()


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "death"},
        {"received_ms": 0},
        {"links": LEAF.links[:1]},
        {"links": LEAF.links[::-1]},
        {"statement_digest": KEY},
    ],
)
def test_every_part_moves_the_hash(change: dict[str, Any]):
    assert leaf_hash(replace(LEAF, **change).encode()) != leaf_hash(LEAF.encode())


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (0, 2),
        (0, True),
        (0, 1.0),
        (3, [[KEY, 0, ZERO_DIGEST], [KEY, 1, DIGEST]]),
        (1, 1),
        (1, b"birth"),
        (2, -1),
        (2, True),
        (2, 1.5),
        (3, {}),
        (3, [[]]),
        (3, [[KEY, 0]]),
        (3, [[KEY, 0, ZERO_DIGEST, 1]]),
        (3, [[KEY[:31], 0, ZERO_DIGEST]]),
        (3, [[KEY, -1, DIGEST]]),
        (3, [[KEY, True, DIGEST]]),
        (3, [[KEY, 1, DIGEST[:31]]]),
        (3, [[KEY, 0, DIGEST]]),
        (3, [[KEY, 1, ZERO_DIGEST]]),
        (3, [[KEY, 1, DIGEST]] * (MAX_SUBJECTS + 1)),
        (4, DIGEST[:31]),
        (4, "x" * 32),
    ],
)
def test_a_part_of_the_wrong_form_is_refused(at: int, value: Any):
    with refused(Reason.CBOR_MALFORMED):
        decode_leaf(cbor.encode([*PARTS[:at], value, *PARTS[at + 1 :]]))


@pytest.mark.parametrize("value", [[], PARTS[:4], [*PARTS, 1], {}, 1, "leaf", None])
def test_something_else_than_an_array_of_five_is_refused(value: Any):
    with refused(Reason.CBOR_MALFORMED):
        decode_leaf(cbor.encode(value))


def test_a_leaf_with_the_most_subjects_fits_into_an_entry_bundle():
    links = [Link(n.to_bytes(32, "big"), 2**53, DIGEST) for n in range(MAX_SUBJECTS)]
    data = replace(LEAF, links=tuple(links)).encode()
    assert len(data) <= MAX_LEAF_BYTES
    assert len(decode_leaf(data).links) == MAX_SUBJECTS


def test_a_leaf_over_the_bundle_limit_is_refused():
    with refused(Reason.TOO_LARGE):
        decode_leaf(bytes(MAX_LEAF_BYTES + 1))


@given(h.binary(max_size=200))
def test_random_bytes_are_no_leaf(data: bytes):
    assert only_refusals(decode_leaf, data) is None


@settings(max_examples=200)
@given(mutations(LEAF.encode()))
def test_changed_leaves_are_taken_in_one_form_only(data: bytes):
    leaf = only_refusals(decode_leaf, data)
    if leaf is not None:
        assert leaf.encode() == data
