"""Deterministic CBOR: one encoding for a value, and nothing else is taken."""

import math
import struct
from enum import IntEnum, StrEnum
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import Reason, Refused
from ledger.protocol import cbor
from ledger.protocol.cbor import Tagged
from tests.protocol.refusals import mutations, only_refusals, refused

LIMIT = 4_096
UINT64 = (1 << 64) - 1


class Number(IntEnum):
    MINUS_EIGHT = -8


class Word(StrEnum):
    CHIP = "chip"


def decode(data: bytes, **options: Any) -> Any:
    return cbor.decode(data, max_size=LIMIT, **options)


# Value and its encoding; the numbers are those of RFC 8949, appendix A.
ENCODINGS: list[tuple[Any, str]] = [
    (0, "00"),
    (23, "17"),
    (24, "1818"),
    (255, "18ff"),
    (256, "190100"),
    (65_536, "1a00010000"),
    (1 << 32, "1b0000000100000000"),
    (UINT64, "1bffffffffffffffff"),
    (-1, "20"),
    (-24, "37"),
    (-25, "3818"),
    (-UINT64 - 1, "3bffffffffffffffff"),
    (0.0, "f90000"),
    (-0.0, "f98000"),
    (1.0, "f93c00"),
    (1.1, "fb3ff199999999999a"),
    (65504.0, "f97bff"),
    (100000.0, "fa47c35000"),
    (3.4028234663852886e38, "fa7f7fffff"),
    (1.0e300, "fb7e37e43c8800759c"),
    (5.960464477539063e-08, "f90001"),  # smallest half subnormal
    (0.00006103515625, "f90400"),
    (1.401298464324817e-45, "fa00000001"),  # smallest single subnormal
    (5e-324, "fb0000000000000001"),  # smallest double subnormal
    (-4.1, "fbc010666666666666"),
    (math.inf, "f97c00"),
    (-math.inf, "f9fc00"),
    (False, "f4"),
    (True, "f5"),
    (None, "f6"),
    (b"", "40"),
    (b"\x01\x02", "420102"),
    ("", "60"),
    ("\u00fc", "62c3bc"),
    ([], "80"),
    ([1, [2, 3]], "8201820203"),
    ({}, "a0"),
    ({1: 2, 3: 4}, "a201020304"),
]


@pytest.mark.parametrize(("value", "encoding"), ENCODINGS)
def test_known_values_encode_and_decode(value: Any, encoding: str) -> None:
    assert cbor.encode(value).hex() == encoding
    decoded = decode(bytes.fromhex(encoding))
    assert decoded == value
    assert type(decoded) is type(value)
    assert str(decoded) == str(value)  # tells -0.0 from 0.0


def test_nan_has_one_encoding() -> None:
    payload_nan = struct.unpack(">d", bytes.fromhex("fff8000000000001"))[0]
    assert cbor.encode(math.nan).hex() == cbor.encode(payload_nan).hex() == "f97e00"
    assert math.isnan(decode(bytes.fromhex("f97e00")))


@pytest.mark.parametrize(
    "data", ["f97e01", "f9fe00", "fa7fc00000", "fb7ff8000000000000", "fb7ff8000000000001"]
)
def test_another_nan_is_refused(data: str) -> None:
    with refused(Reason.CBOR_NOT_DETERMINISTIC):
        decode(bytes.fromhex(data))


def test_map_keys_are_sorted_bytewise_and_not_by_length_first() -> None:
    keys = [-1, 100, 5, -100, "", "b", "aa", "B", UINT64, -UINT64 - 1]
    expected = [5, 100, UINT64, -1, -100, -UINT64 - 1, "", "B", "b", "aa"]
    encoded = cbor.encode(dict.fromkeys(keys, 0))
    assert list(decode(encoded)) == expected
    heads = [cbor2.dumps(key) for key in expected]
    assert heads == sorted(heads)
    # cbor2's canonical mode puts the one-byte -1 before the two-byte 100.
    assert cbor.encode({-1: 0, 100: 0}) != cbor2.dumps({-1: 0, 100: 0}, canonical=True)


def test_the_order_of_an_argument_does_not_matter() -> None:
    assert cbor.encode({3: {2: 0, 1: 0}, 1: 0}) == cbor.encode({1: 0, 3: {1: 0, 2: 0}})


def test_enum_members_and_tuples_encode_as_plain_values() -> None:
    assert cbor.encode((Number.MINUS_EIGHT, Word.CHIP)) == cbor.encode([-8, "chip"])


@pytest.mark.parametrize("value", [UINT64 + 1, -UINT64 - 2, [1 << 70], {UINT64 + 1: 0}])
def test_encoding_an_integer_beyond_64_bits_raises(value: Any) -> None:
    with pytest.raises(ValueError, match="64 bits"):
        cbor.encode(value)


@pytest.mark.parametrize(
    "value", [object(), {1}, 1j, {True: 0}, {1.0: 0}, {b"k": 0}, {None: 0}, bytearray(b"x")]
)
def test_encoding_what_is_not_in_the_model_raises(value: Any) -> None:
    with pytest.raises(TypeError):
        cbor.encode(value)


# --- refusals -------------------------------------------------------------------------------

REFUSED: list[tuple[str, str, Reason]] = [
    ("nothing", "", Reason.CBOR_MALFORMED),
    ("integer cut short", "1901", Reason.CBOR_MALFORMED),
    ("text cut short", "62c3", Reason.CBOR_MALFORMED),
    ("text not UTF-8", "62c328", Reason.CBOR_MALFORMED),
    ("surrogate in text", "63eda080", Reason.CBOR_MALFORMED),
    ("huge length of a byte string", "5bffffffffffffffff", Reason.CBOR_MALFORMED),
    ("huge length of a text", "7bffffffffffffffff", Reason.CBOR_MALFORMED),
    ("huge length of an array", "9bffffffffffffffff", Reason.CBOR_MALFORMED),
    ("huge length of a map", "bbffffffffffffffff", Reason.CBOR_MALFORMED),
    ("reserved length", "1c", Reason.CBOR_MALFORMED),
    ("lone break", "ff", Reason.CBOR_MALFORMED),
    ("undefined", "f7", Reason.CBOR_MALFORMED),
    ("undefined inside", "81f7", Reason.CBOR_MALFORMED),
    ("simple value 16", "f0", Reason.CBOR_MALFORMED),
    ("simple value 255", "f8ff", Reason.CBOR_MALFORMED),
    ("false in two bytes", "f814", Reason.CBOR_MALFORMED),
    ("bytes as a key", "a1416100", Reason.CBOR_MALFORMED),
    ("true as a key", "a1f500", Reason.CBOR_MALFORMED),
    ("null as a key", "a1f600", Reason.CBOR_MALFORMED),
    ("float as a key", "a1f93c0000", Reason.CBOR_MALFORMED),
    ("array as a key", "a1800000", Reason.CBOR_MALFORMED),
    ("map as a key", "a1a000", Reason.CBOR_MALFORMED),
    ("same integer key", "a201000100", Reason.CBOR_DUPLICATE_KEY),
    ("same text key", "a2616100616100", Reason.CBOR_DUPLICATE_KEY),
    ("one and true", "a20100f500", Reason.CBOR_DUPLICATE_KEY),
    ("one and 1.0", "a20100f93c0000", Reason.CBOR_DUPLICATE_KEY),
    ("same key in another length", "a20100180100", Reason.CBOR_DUPLICATE_KEY),
    ("keys out of order", "a202000100", Reason.CBOR_NOT_DETERMINISTIC),
    ("negative before positive", "a220000100", Reason.CBOR_NOT_DETERMINISTIC),
    ("negatives out of order", "a221002000", Reason.CBOR_NOT_DETERMINISTIC),
    ("length-first order", "a22000186400", Reason.CBOR_NOT_DETERMINISTIC),
    ("text before integer", "a26161000100", Reason.CBOR_NOT_DETERMINISTIC),
    ("texts out of order", "a2616200616100", Reason.CBOR_NOT_DETERMINISTIC),
    ("longer text first", "a262616100616200", Reason.CBOR_NOT_DETERMINISTIC),
    ("out of order within", "81a202000100", Reason.CBOR_NOT_DETERMINISTIC),
    ("integer too long", "1817", Reason.CBOR_NOT_DETERMINISTIC),
    ("negative too long", "3817", Reason.CBOR_NOT_DETERMINISTIC),
    ("length too long", "580161", Reason.CBOR_NOT_DETERMINISTIC),
    ("array head too long", "980100", Reason.CBOR_NOT_DETERMINISTIC),
    ("map head too long", "b8010000", Reason.CBOR_NOT_DETERMINISTIC),
    ("double where a half does", "fb3ff0000000000000", Reason.CBOR_NOT_DETERMINISTIC),
    ("single where a half does", "fa3f800000", Reason.CBOR_NOT_DETERMINISTIC),
    ("double where a single does", "fb40f86a0000000000", Reason.CBOR_NOT_DETERMINISTIC),
    ("double zero", "fb0000000000000000", Reason.CBOR_NOT_DETERMINISTIC),
    ("double negative zero", "fb8000000000000000", Reason.CBOR_NOT_DETERMINISTIC),
    ("double infinity", "fb7ff0000000000000", Reason.CBOR_NOT_DETERMINISTIC),
    ("one float too long among good ones", "82f93c00fa3f800000", Reason.CBOR_NOT_DETERMINISTIC),
    ("indefinite array", "9fff", Reason.CBOR_NOT_DETERMINISTIC),
    ("indefinite map", "bfff", Reason.CBOR_NOT_DETERMINISTIC),
    ("indefinite bytes", "5f4101ff", Reason.CBOR_NOT_DETERMINISTIC),
    ("indefinite text", "7f6161ff", Reason.CBOR_NOT_DETERMINISTIC),
    ("a second item", "0000", Reason.CBOR_TRAILING_BYTES),
    ("a byte after a map", "a000", Reason.CBOR_TRAILING_BYTES),
    ("tag of a date", "c11a514b67b0", Reason.CBOR_TAG),
    ("tag of a big number", "c249010000000000000000", Reason.CBOR_TAG),
    ("tag of a small big number", "c24101", Reason.CBOR_TAG),
    ("tag of a negative big number", "c34101", Reason.CBOR_TAG),
    ("bigfloat that would fill the memory", "c5821b00ffffffffffffff01", Reason.CBOR_TAG),
    ("decimal fraction that would fill the memory", "c4821b00ffffffffffffff01", Reason.CBOR_TAG),
    ("tag of a regular expression", "d82362612b", Reason.CBOR_TAG),
    ("self-described CBOR", "d9d9f700", Reason.CBOR_TAG),
    ("shared value", "d81c80", Reason.CBOR_TAG),
    ("reference to a shared value", "d81d00", Reason.CBOR_TAG),
    ("string reference", "d81900", Reason.CBOR_TAG),
    ("set", "d9010280", Reason.CBOR_TAG),
    ("unknown tag", "d9ffff00", Reason.CBOR_TAG),
    ("tag inside", "81c100", Reason.CBOR_TAG),
    ("tag in a key", "a1c24101f6", Reason.CBOR_TAG),
]


@pytest.mark.parametrize(
    ("data", "reason"), [pytest.param(data, reason, id=name) for name, data, reason in REFUSED]
)
def test_not_the_deterministic_encoding_is_refused(data: str, reason: Reason) -> None:
    with refused(reason):
        decode(bytes.fromhex(data))


def test_size_over_the_limit_is_refused_and_at_the_limit_taken() -> None:
    data = cbor.encode(bytes(98))
    assert len(data) == 100
    assert cbor.decode(data, max_size=100) == bytes(98)
    with refused(Reason.TOO_LARGE):
        cbor.decode(data, max_size=99)


def test_nesting_over_the_limit_is_refused_and_at_the_limit_taken() -> None:
    assert decode(b"\x81" * 8 + b"\x00") == [[[[[[[[0]]]]]]]]
    with refused(Reason.CBOR_TOO_DEEP):
        decode(b"\x81" * 9 + b"\x00")
    with refused(Reason.CBOR_TOO_DEEP):
        decode(b"\x81" * 4_000 + b"\x00")
    with refused(Reason.CBOR_TOO_DEEP):
        decode(b"\xa1\x00" * 1_000 + b"\x00")


def test_an_allowed_tag_is_kept_and_others_are_refused() -> None:
    data = bytes.fromhex("d28201a101d82080")
    allowed = frozenset((18, 32))
    value = decode(data, allow_tags=allowed)
    assert value == Tagged(18, [1, {1: Tagged(32, [])}])
    assert cbor.encode(value) == data
    with refused(Reason.CBOR_TAG):
        decode(data, allow_tags=frozenset((18,)))
    with refused(Reason.CBOR_NOT_DETERMINISTIC):
        decode(bytes.fromhex("d81200"), allow_tags=allowed)
    with refused(Reason.CBOR_TAG):
        decode(bytes.fromhex("c24101"), allow_tags=allowed)


# --- sequences ------------------------------------------------------------------------------


def test_a_sequence_is_split_into_slices_of_its_bytes() -> None:
    items = [b"\xd2\x84\x40\xa0\x41\x01\x41\x02", b"\x18\x01", b"\xc2\x41\x01", b"\x80"]
    assert cbor.split_sequence(b"".join(items), max_items=4, max_item_size=8) == items


def test_an_empty_sequence_is_refused() -> None:
    with refused(Reason.SEQUENCE_EMPTY):
        cbor.split_sequence(b"", max_items=4, max_item_size=8)


def test_a_sequence_with_too_many_items_is_refused() -> None:
    assert len(cbor.split_sequence(b"\x00" * 4, max_items=4, max_item_size=8)) == 4
    with refused(Reason.SEQUENCE_TOO_LONG):
        cbor.split_sequence(b"\x00" * 5, max_items=4, max_item_size=8)


def test_a_sequence_with_too_large_an_item_is_refused() -> None:
    item = cbor.encode(bytes(7))
    assert cbor.split_sequence(b"\x00" + item, max_items=4, max_item_size=8) == [b"\x00", item]
    with refused(Reason.TOO_LARGE):
        cbor.split_sequence(item, max_items=4, max_item_size=7)
    with refused(Reason.TOO_LARGE):
        cbor.split_sequence(item, max_items=1, max_item_size=7)


@pytest.mark.parametrize("tail", ["1901", "5820", "ff", "1c", "9f00ff", "81" * 9 + "00"])
def test_a_sequence_with_a_bad_last_item_is_refused(tail: str) -> None:
    with pytest.raises(Refused):
        cbor.split_sequence(b"\x00" + bytes.fromhex(tail), max_items=9, max_item_size=99)


# --- properties -----------------------------------------------------------------------------

KEYS = st.integers(-UINT64 - 1, UINT64) | st.integers(-70_000, 70_000) | st.text(max_size=6)
LEAVES = (
    st.integers(-UINT64 - 1, UINT64)
    | st.integers(-300, 300)
    | st.binary(max_size=40)
    | st.text(max_size=40)
    | st.booleans()
    | st.none()
    | st.floats(allow_nan=False)
    | st.floats(allow_nan=False, width=16)
    | st.floats(allow_nan=False, width=32)
)


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(inner, max_size=5) | st.dictionaries(KEYS, inner, max_size=5)


# As deep as decode goes by default.
VALUES = st.recursive(LEAVES, containers, max_leaves=20).filter(
    lambda value: depth(value) <= cbor.MAX_DEPTH
)


def depth(value: Any) -> int:
    if isinstance(value, list | dict):
        items = value.values() if isinstance(value, dict) else value
        return 1 + max(map(depth, items), default=0)
    return 0


def plain_encoding(value: Any) -> bytes:
    """A second encoder, of RFC 8949's sentences and nothing else, to compare with."""
    match value:
        case bool():
            return b"\xf5" if value else b"\xf4"
        case None:
            return b"\xf6"
        case int():
            return head(0, value) if value >= 0 else head(1, -1 - value)
        case bytes():
            return head(2, len(value)) + value
        case str():
            return head(3, len(value.encode())) + value.encode()
        case list():
            return head(4, len(value)) + b"".join(map(plain_encoding, value))
        case dict():
            rows = sorted((plain_encoding(key), plain_encoding(value[key])) for key in value)
            return head(5, len(value)) + b"".join(key + item for key, item in rows)
    if math.isnan(value):
        return b"\xf9\x7e\x00"
    for letter, first in (("e", 0xF9), ("f", 0xFA), ("d", 0xFB)):
        try:
            packed = struct.pack(">" + letter, value)
        except OverflowError:
            continue
        if struct.unpack(">" + letter, packed)[0] == value:
            return bytes([first]) + packed
    raise AssertionError(value)


def head(major: int, argument: int) -> bytes:
    if argument < 24:
        return bytes([major << 5 | argument])
    size = next(size for size in (1, 2, 4, 8) if argument < 1 << 8 * size)
    return bytes([major << 5 | 23 + size.bit_length()]) + argument.to_bytes(size)


@given(VALUES)
def test_encode_agrees_with_a_plain_reading_of_the_rfc(value: Any) -> None:
    assert cbor.encode(value) == plain_encoding(value)


@given(VALUES)
def test_decode_returns_what_was_encoded(value: Any) -> None:
    data = cbor.encode(value)
    decoded = cbor.decode(data, max_size=len(data))
    assert decoded == value
    assert cbor.encode(decoded) == data


@given(st.binary(max_size=64))
def test_random_bytes_are_refused_or_their_own_encoding(data: bytes) -> None:
    value = only_refusals(decode, data)
    if value is not None:
        assert cbor.encode(value) == data


@given(VALUES.map(cbor.encode).flatmap(mutations))
def test_mutated_encodings_are_refused_or_their_own_encoding(data: bytes) -> None:
    value = only_refusals(decode, data)
    if value is not None:
        assert cbor.encode(value) == plain_encoding(value) == data


@given(st.lists(VALUES.map(cbor.encode), min_size=1, max_size=6))
def test_a_sequence_of_encodings_is_split_where_they_were_joined(items: list[bytes]) -> None:
    assert split(b"".join(items)) == items


def split(data: bytes) -> list[bytes]:
    return cbor.split_sequence(data, max_items=100, max_item_size=100_000)


@given(st.binary(max_size=64))
def test_random_bytes_as_a_sequence_are_refused_or_split_without_loss(data: bytes) -> None:
    items = only_refusals(split, data)
    if items is not None:
        assert b"".join(items) == data
