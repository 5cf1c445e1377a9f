"""Statements of entries on the wire: exact there and back, and refused in any other form."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from ledger.errors import Reason, Refused
from ledger.protocol.entries import decode_statements, encode_statements
from ledger.protocol.statements import MAX_STATEMENT_BYTES

STATEMENTS = some.lists(some.none() | some.binary(max_size=300), max_size=20)


@given(STATEMENTS)
def test_every_sequence_comes_back(statements: list[bytes | None]) -> None:
    assert decode_statements(encode_statements(statements), limit=len(statements)) == statements


@pytest.mark.parametrize("size", [0, 23, 24, 255, 256, MAX_STATEMENT_BYTES])
def test_every_length_comes_back(size: int) -> None:
    assert decode_statements(encode_statements([bytes(size)]), limit=1) == [bytes(size)]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x41", Reason.CBOR_MALFORMED),  # cut in the string
        (b"\x58", Reason.CBOR_MALFORMED),  # cut in the length
        (b"\x59\x01", Reason.CBOR_MALFORMED),
        (b"\x00", Reason.CBOR_MALFORMED),  # a number
        (b"\x61a", Reason.CBOR_MALFORMED),  # a text
        (b"\x80", Reason.CBOR_MALFORMED),  # an array
        (b"\xf7", Reason.CBOR_MALFORMED),  # undefined
        (b"\x5f\x41a\xff", Reason.CBOR_MALFORMED),  # a string in pieces
        (b"\x5a\x00\x00\x00\x01a", Reason.CBOR_MALFORMED),
        (b"\x58\x01a", Reason.CBOR_NOT_DETERMINISTIC),
        (b"\x59\x00\xff" + bytes(255), Reason.CBOR_NOT_DETERMINISTIC),
        (b"\x59\x80\x01" + bytes(32_769), Reason.TOO_LARGE),
        (b"\xf6\xf6\xf6", Reason.SEQUENCE_TOO_LONG),
    ],
)
def test_other_form_is_refused(data: bytes, reason: Reason) -> None:
    with pytest.raises(Refused) as refused:
        decode_statements(data, limit=2)
    assert refused.value.reason is reason


@given(some.binary(max_size=400) | STATEMENTS.map(encode_statements), some.integers(0, 25))
def test_bytes_are_read_exactly_or_refused(data: bytes, limit: int) -> None:
    try:
        found = decode_statements(data, limit=limit)
    except Refused:
        return
    assert encode_statements(found) == data
