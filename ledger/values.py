"""Values that every layer shares: UEIDs, digests, subjects and ledger time."""

import hashlib
from enum import StrEnum
from typing import NewType

from ledger.errors import Reason, Refused

Digest = NewType("Digest", bytes)
"""A SHA-256 digest, 32 bytes."""

Millis = NewType("Millis", int)
"""Milliseconds since 1970-01-01T00:00:00Z; the ledger's time."""

ZERO_DIGEST = Digest(bytes(32))
MILLIS_PER_SECOND = 1_000
MILLIS_PER_HOUR = 3_600_000
MILLIS_PER_DAY = 86_400_000

_UEID_LENGTHS = {0x01: (17, 25, 33), 0x02: (7, 9), 0x03: (15,)}
_SUBJECT_LABEL = b"chip-passport/subject/v1\x00"


class SubjectKind(StrEnum):
    """What an entry can be filed under."""

    CHIP = "chip"
    PARTY = "party"
    LICENCE = "licence"
    LANDMARK = "landmark"


def sha256(data: bytes) -> Digest:
    """SHA-256 of ``data``."""
    return Digest(hashlib.sha256(data).digest())


def check_ueid(ueid: bytes) -> bytes:
    """Return ``ueid`` if it has a type byte and length of RFC 9711, 4.2.1; else refuse.

    Type 0x01 (RAND) has 17, 25 or 33 bytes with the type byte, 0x02 (IEEE EUI) 7 or 9, and
    0x03 (IMEI) 15.
    """
    if not ueid or len(ueid) not in _UEID_LENGTHS.get(ueid[0], ()):
        raise Refused(
            Reason.CLAIM_INVALID,
            "a UEID is 01 + 16, 24 or 32 random bytes, 02 + an EUI, or 03 + an IMEI",
            field="ueid",
        )
    return ueid


def parse_ueid(text: str) -> bytes:
    """UEID from its hexadecimal form."""
    try:
        raw = bytes.fromhex(text)
    except ValueError as error:
        raise Refused(Reason.CLAIM_INVALID, "a UEID is written in hexadecimal", field="ueid") from (
            error
        )
    return check_ueid(raw)


def subject_key(kind: SubjectKind, ident: bytes) -> Digest:
    """The 32-byte key that leaves show instead of the subject's own name.

    SHA-256(label || kind || 0x00 || ident). A party's or licence's ident is its id in ASCII.
    """
    return sha256(_SUBJECT_LABEL + kind.value.encode() + b"\x00" + ident)
