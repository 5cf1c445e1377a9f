"""Statements of consecutive entries on the wire: a CBOR sequence (RFC 8742), one item an entry.

An item is a byte string, the statement exactly as it was filed, or null where it is not shown.
"""

from collections.abc import Sequence

from ledger.errors import Reason, Refused
from ledger.protocol import cbor
from ledger.protocol.statements import MAX_STATEMENT_BYTES

MAX_ENTRIES = 1_000
"""Items in one answer at most."""
MAX_ANSWER_BYTES = 1 << 20
"""An answer ends behind the statement with which it reaches so many bytes."""
MAX_SEQUENCE_BYTES = MAX_ANSWER_BYTES + MAX_STATEMENT_BYTES + 8
"""No answer is larger."""

_NULL = 0xF6
_BYTES_MAJOR, _INLINE = 0x40, 24
_ARGUMENT_SIZES = {24: 1, 25: 2}
"""Bytes of a length, by a head's lower five bits; no statement needs a longer one."""


def encode_statements(statements: Sequence[bytes | None]) -> bytes:
    """The sequence; a statement has at most 32,768 bytes."""
    return b"".join(map(cbor.encode, statements))


def decode_statements(data: bytes, *, limit: int) -> list[bytes | None]:
    """At most ``limit`` statements of at most 32,768 bytes; no bytes at all are no statements.

    Refuses (CBOR_MALFORMED, CBOR_NOT_DETERMINISTIC, TOO_LARGE, SEQUENCE_TOO_LONG) everything that
    :func:`encode_statements` does not write.
    """
    found: list[bytes | None] = []
    at = 0
    while at < len(data):
        if len(found) == limit:
            raise Refused(Reason.SEQUENCE_TOO_LONG, f"more than {limit} statements")
        if data[at] == _NULL:
            found.append(None)
            at += 1
            continue
        begin, size = _head(data, at)
        at = begin + size
        if at > len(data):
            raise Refused(Reason.CBOR_MALFORMED, "the last statement is cut short")
        found.append(data[begin:at])
    return found


def _head(data: bytes, at: int) -> tuple[int, int]:
    """Where the byte string begins whose head stands at ``at``, and how long it is."""
    info = data[at] - _BYTES_MAJOR
    if 0 <= info < _INLINE:
        return at + 1, info
    width = _ARGUMENT_SIZES.get(info)
    if width is None:
        raise Refused(
            Reason.CBOR_MALFORMED, "an item is a byte string of up to 32768 bytes, or null"
        )
    begin = at + 1 + width
    if begin > len(data):
        raise Refused(Reason.CBOR_MALFORMED, "the last statement is cut short")
    size = int.from_bytes(data[at + 1 : begin])
    if size < (_INLINE if width == 1 else 1 << 8):
        raise Refused(Reason.CBOR_NOT_DETERMINISTIC, "a length is not in its shortest form")
    if size > MAX_STATEMENT_BYTES:
        raise Refused(Reason.TOO_LARGE, f"a statement has at most {MAX_STATEMENT_BYTES} bytes")
    return begin, size
