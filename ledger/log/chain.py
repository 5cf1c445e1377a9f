"""Leaves and per-subject chains: what the log commits to.

A leaf is deterministic CBOR ``[1, kind, received_at_ms, [[subject_key, seq, prev], ...],
statement_digest]``. ``seq`` counts the subject's entries from 0 and ``prev`` is the leaf hash of
its previous entry, so every chip, party and licence has a hash chain of its own inside the one
log. A leaf holds digests only: whoever reads the public log learns no place and no name.
"""

from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple

from ledger.errors import Reason, Refused
from ledger.protocol import cbor
from ledger.values import ZERO_DIGEST

LEAF_VERSION = 1
MAX_LEAF_BYTES = 65_535
"""An entry bundle gives each leaf a 16-bit length (C2SP tlog-tiles)."""
MAX_SUBJECTS = 300

_LEAF_PREFIX = b"\x00"


class Link(NamedTuple):
    """One subject's place for an entry: its key, the entry's number in it, the leaf before."""

    subject: bytes
    seq: int
    prev: bytes


@dataclass(frozen=True, slots=True)
class Leaf:
    """One entry of the log as it is hashed."""

    kind: str
    received_ms: int
    links: tuple[Link, ...]
    statement_digest: bytes

    def encode(self) -> bytes:
        """Deterministic CBOR of the leaf, at most 65,535 bytes."""
        return encode_leaf(self.kind, self.received_ms, self.links, self.statement_digest)


def leaf_hash(leaf: bytes) -> bytes:
    """SHA-256(0x00 || leaf) (RFC 6962, 2.1)."""
    return sha256(_LEAF_PREFIX + leaf).digest()


def encode_leaf(
    kind: str, received_ms: int, links: tuple[Link, ...], statement_digest: bytes
) -> bytes:
    """Deterministic CBOR of a leaf's parts."""
    return cbor.encode(
        [
            LEAF_VERSION,
            kind,
            received_ms,
            [list(link) for link in links],
            statement_digest,
        ]
    )


def decode_leaf(data: bytes) -> Leaf:
    """Parse a leaf strictly; the only valid bytes for a leaf are those that encode it."""
    value = cbor.decode(data, max_size=MAX_LEAF_BYTES, max_depth=4)
    if not isinstance(value, list) or len(value) != 5:
        raise Refused(Reason.CBOR_MALFORMED, "a leaf is an array of five")
    if not _is_uint(value[0]) or value[0] != LEAF_VERSION:  # true and 1.0 equal 1 as well
        raise Refused(Reason.CBOR_MALFORMED, f"a leaf has version {LEAF_VERSION}")
    _, kind, received_ms, links, digest = value
    if not isinstance(kind, str) or not _is_uint(received_ms) or not _is_digest(digest):
        raise Refused(Reason.CBOR_MALFORMED, "a leaf has a kind, a time and a 32-byte digest")
    if not isinstance(links, list) or len(links) > MAX_SUBJECTS:
        raise Refused(Reason.CBOR_MALFORMED, f"a leaf has at most {MAX_SUBJECTS} subjects")
    leaf = Leaf(kind, received_ms, tuple(_link(item) for item in links), digest)
    if len({link.subject for link in leaf.links}) != len(leaf.links):
        raise Refused(Reason.CBOR_MALFORMED, "a leaf names each subject once")
    return leaf


def _link(item: object) -> Link:
    if not isinstance(item, list) or len(item) != 3:
        raise Refused(Reason.CBOR_MALFORMED, "a link is [subject key, seq, prev]")
    subject, seq, prev = item
    if not _is_digest(subject) or not _is_uint(seq) or not _is_digest(prev):
        raise Refused(Reason.CBOR_MALFORMED, "a link is [32 bytes, unsigned, 32 bytes]")
    if (seq == 0) != (prev == ZERO_DIGEST):
        raise Refused(Reason.CBOR_MALFORMED, "only a subject's first entry has a zero prev")
    return Link(subject, seq, prev)


def _is_digest(value: object) -> bool:
    return isinstance(value, bytes) and len(value) == 32


def _is_uint(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
