"""The bundle's bytes: round trips, what is refused, and that nothing else ever comes out."""

from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.bundle.format import (
    MAX_PIECE_ENTRIES,
    Bundle,
    Entry,
    Own,
    decode_piece,
    entry,
)
from ledger.bundle.redact import everything, redact
from ledger.errors import Reason
from ledger.protocol import cbor
from tests.bundle.double import check, founded, installed
from tests.protocol.refusals import mutations, only_refusals, refused


@cache
def valid() -> tuple[bytes, int]:
    """A bundle with a few heartbeats, and the present."""
    made = founded()
    (chip,) = installed(made)
    for _ in range(3):
        made.beat(chip)
    return made.show(chip), made.now_ms


def whole(head: Any, *pieces: Any) -> bytes:
    """A file of these parts, encoded unless they are bytes."""
    parts = [part if type(part) is bytes else cbor.encode(part) for part in (head, *pieces)]
    return cbor.encode(parts)


def head(**changes: Any) -> dict[str, Any]:
    """The head of the valid bundle as a map, with changes; None leaves a member out."""
    value = cbor.decode(Bundle.decode(valid()[0]).head.encode(), max_size=1 << 20)
    value |= changes
    return {name: item for name, item in value.items() if item is not None}


def test_decoding_and_encoding_give_the_same_bytes():
    data, _ = valid()
    bundle = Bundle.decode(data)
    assert bundle.encode() == data
    assert Bundle.of(bundle.head, bundle.entries()).encode() == data
    assert cbor.decode(data, max_size=len(data))[1:] == list(bundle.pieces)


def test_many_entries_fill_several_pieces():
    bundle = Bundle.decode(valid()[0])
    many = [Entry(n, n, "heartbeat", (Own(0, n),), None, bytes(32)) for n in range(1_100)]
    made = Bundle.of(bundle.head, many)
    assert [len(decode_piece(piece)) for piece in made.pieces] == [512, 512, 76]
    assert list(Bundle.decode(made.encode()).entries()) == many
    large = [item._replace(body=bytes(32_768)) for item in many[:20]]
    assert [len(decode_piece(piece)) for piece in Bundle.of(bundle.head, large).pieces] == [8, 8, 4]


REFUSED_HEADS = {
    "another format": {"format": "other"},
    "no format": {"format": None},
    "version 2": {"version": 2},
    "version true": {"version": True},
    "unknown member": {"more": 1},
    "member missing": {"log_proof": None},
    "one chain": {"chains": [["chip", b"x", 0, bytes(32), True]]},
    "unknown subject": {"chains": [["ship", b"x", 0, bytes(32), True]] * 2},
    "subject twice": {"chains": [["chip", b"x", 0, bytes(32), True]] * 2},
    "whole from the middle": {
        "chains": [["chip", b"x", 1, b"p" * 32, True], ["party", b"x", 0, bytes(32), True]]
    },
    "first that follows": {
        "chains": [["chip", b"x", 0, b"p" * 32, True], ["party", b"x", 0, bytes(32), True]]
    },
    "half a hash": {"log_proof": b"x" * 33},
    "text for bytes": {"map_proof": "x"},
    "no bucket": {"buckets": []},
    "consistency from nowhere": {"consistency": {"x": b""}},
    "consistency of halves": {"consistency": {1: b"x"}},
}


@pytest.mark.parametrize("changes", REFUSED_HEADS.values(), ids=REFUSED_HEADS)
def test_a_head_that_is_none_is_refused(changes: dict[str, Any]):
    with refused(Reason.BUNDLE_MALFORMED):
        Bundle.decode(whole(head(**changes)))


OWN = [[0, 0]]
REFUSED_ENTRIES = {
    "four members": [0, 0, "x", OWN],
    "index true": [True, 0, "x", OWN, b"s"],
    "index negative": [-1, 0, "x", OWN, b"s"],
    "index too large": [1 << 63, 0, "x", OWN, b"s"],
    "time a float": [0, 0.1, "x", OWN, b"s"],
    "time after 9999": [0, 253_402_300_800_000, "x", OWN, b"s"],
    "kind empty": [0, 0, "", OWN, b"s"],
    "kind long": [0, 0, "x" * 33, OWN, b"s"],
    "kind no ASCII": [0, 0, "é", OWN, b"s"],
    "links no array": [0, 0, "x", 1, b"s"],
    "links many": [0, 0, "x", OWN * 301, b"s"],
    "link of one": [0, 0, "x", [[0]], b"s"],
    "link with false": [0, 0, "x", [[False, 0]], b"s"],
    "link without hash": [0, 0, "x", [[b"x", 0, bytes(32)]], b"s"],
    "statement empty": [0, 0, "x", OWN, b""],
    "statement too long": [0, 0, "x", OWN, bytes(32_769)],
    "digest short": [0, 0, "x", OWN, [b"x"]],
    "statement null": [0, 0, "x", OWN, None],
    "no array": {"a": 1},
}


@pytest.mark.parametrize("row", REFUSED_ENTRIES.values(), ids=REFUSED_ENTRIES)
def test_an_entry_that_is_none_is_refused(row: Any):
    with refused(Reason.BUNDLE_MALFORMED, "entries"):
        list(Bundle.decode(whole(head(), [row])).entries())


@pytest.mark.parametrize("piece", [[], {}, 1, [[]] * (MAX_PIECE_ENTRIES + 1)])
def test_a_piece_without_entries_or_with_too_many_is_refused(piece: Any):
    with refused(Reason.BUNDLE_MALFORMED, "entries"):
        list(Bundle.decode(whole(head(), piece)).entries())


def test_a_piece_that_is_not_in_its_one_form_is_refused():
    long_zero = bytes.fromhex("8185 1800 00 6178 81820000 4173".replace(" ", ""))
    with refused(Reason.CBOR_NOT_DETERMINISTIC):
        list(Bundle.decode(whole(head(), long_zero)).entries())
    assert entry(cbor.decode(long_zero.replace(b"\x18\x00", b"\x00"), max_size=99)[0]).index == 0


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", Reason.BUNDLE_MALFORMED),
        (b"\x80", Reason.BUNDLE_MALFORMED),
        (b"\xa0", Reason.BUNDLE_MALFORMED),
        (b"\x9f", Reason.CBOR_NOT_DETERMINISTIC),
        (b"\x81\x01", Reason.BUNDLE_MALFORMED),
        (b"\x81\x5a\xff\xff\xff\xff", Reason.BUNDLE_MALFORMED),
        (b"\x9b" + b"\xff" * 8, Reason.BUNDLE_MALFORMED),
        (b"\x81\x58\x01x", Reason.CBOR_NOT_DETERMINISTIC),
        (b"\x81\x41x!", Reason.CBOR_TRAILING_BYTES),
    ],
)
def test_a_file_that_is_no_array_of_byte_strings_is_refused(data: bytes, reason: Reason):
    with refused(reason):
        Bundle.decode(data)


def test_a_file_that_is_too_large_is_refused_before_it_is_looked_at():
    with refused(Reason.TOO_LARGE):
        Bundle.decode(b"\x00" * 100, max_size=99)


def test_small_items_do_not_multiply_in_memory():
    """A megabyte of empty arrays in one piece ends the reading there."""
    piece = cbor.encode([[]] * 1_000_000)
    with refused(Reason.BUNDLE_MALFORMED):
        list(Bundle.decode(whole(head(), piece, piece, piece)).entries())


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_only_refusals_come_out_of_a_damaged_bundle(data: st.DataObject):
    original, now_ms = valid()
    damaged = data.draw(mutations(original))
    report = only_refusals(lambda each: check(each, now_ms), damaged)
    if report is not None and damaged != original:
        assert not report.accepted or Bundle.decode(damaged).encode() == damaged


@given(st.binary(max_size=300))
def test_only_refusals_come_out_of_any_bytes(data: bytes):
    assert only_refusals(lambda each: check(each, 0), data) is None


VALUES = st.recursive(
    st.one_of(
        st.integers(-1, 2**64 - 1),
        st.binary(max_size=40),
        st.text(max_size=8),
        st.booleans(),
        st.none(),
        st.floats(),
    ),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=12,
)


@given(st.sampled_from(sorted(head())), VALUES)
@settings(deadline=None)
def test_only_refusals_come_out_of_a_head_with_a_strange_member(name: str, value: Any):
    data, now_ms = valid()
    pieces = Bundle.decode(data).pieces
    only_refusals(lambda each: check(each, now_ms), whole(head(**{name: value}), *pieces))


@given(st.integers(0, 40), st.integers(0, 4), VALUES)
@settings(deadline=None)
def test_only_refusals_come_out_of_an_entry_with_a_strange_member(at: int, place: int, value: Any):
    data, now_ms = valid()
    bundle = Bundle.decode(data)
    rows = [row for piece in bundle.pieces for row in decode_piece(piece)]
    rows[at % len(rows)][place] = value
    only_refusals(lambda each: check(each, now_ms), whole(head(), rows))


def test_what_is_left_out_stays_out():
    data, now_ms = valid()
    redacted = redact(Bundle.decode(data), everything)
    assert sum(redacted.withheld.values()) == len(list(Bundle.decode(data).entries())) - 2
    again = redact(redacted.bundle, everything)
    assert again.bundle == redacted.bundle
    assert again.withheld == {}
    assert check(again.bundle.encode(), now_ms).names() == []
