"""The bundle as bytes: one CBOR array of byte strings, a head and then pieces with the entries.

Byte strings, so that a reader cuts the file up without decoding it: each part is bounded and
decoded by itself, and a hostile file costs no more memory than a few times its own size.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, NamedTuple

from ledger.errors import Reason, Refused
from ledger.log.merkle import HASH_SIZE
from ledger.log.note import MAX_NOTE_SIZE
from ledger.protocol import cbor
from ledger.protocol.fields import MAX_SECONDS
from ledger.protocol.statements import MAX_STATEMENT_BYTES
from ledger.values import MILLIS_PER_SECOND, SubjectKind, check_ueid

FORMAT = "chip-passport-bundle"
VERSION = 1
FILE_SUFFIX = ".passport"
MEDIA_TYPE = "application/chip-passport.bundle+cbor"

MAX_BUNDLE_BYTES = 1 << 28
MAX_HEAD_BYTES = 1 << 21
MAX_PIECE_BYTES = 1 << 20
MAX_PIECES = 8_192
MAX_PIECE_ENTRIES = 512
PIECE_BYTES = 1 << 18
"""A piece is closed when it reaches this; no entry alone fills what then remains."""
MAX_CHAINS = 4_096
MAX_PROOF_BYTES = 1 << 19
MAX_BUCKET_BYTES = 1 << 19
MAX_CONSISTENCY = 16
MAX_LINKS = 300
MAX_NUMBER = (1 << 63) - 1
MAX_MILLIS = MAX_SECONDS * MILLIS_PER_SECOND + 999
"""Later times fit no calendar that a sentence could be written in."""

_KINDS = {kind.value: kind for kind in SubjectKind}
_MEMBERS = {
    "format",
    "version",
    "ueid",
    "checkpoint",
    "chains",
    "log_proof",
    "buckets",
    "map_proof",
    "consistency",
}


class Own(NamedTuple):
    """A link into a chain that the bundle shows: which one, and the entry's number in it."""

    chain: int
    seq: int


class Other(NamedTuple):
    """A link into another subject's chain, as it stands in the leaf."""

    subject: bytes
    seq: int
    prev: bytes


class Entry(NamedTuple):
    """One entry. ``body`` is the statement; where it is withheld there is only its digest.

    ``kind`` is the leaf's: a statement's kind, or "conflict".
    """

    index: int  # type: ignore[assignment]  # nobody asks a row for tuple.index
    received_ms: int
    kind: str
    links: tuple[Own | Other, ...]
    body: bytes | None
    digest: bytes

    @property
    def plain(self) -> list[Any]:
        """As it is encoded."""
        body = [self.digest] if self.body is None else self.body
        return [self.index, self.received_ms, self.kind, [list(link) for link in self.links], body]


class ChainHead(NamedTuple):
    """A chain that the bundle shows: from its entry number ``first``, which follows ``before``.

    ``whole``: shown from its first entry to its last, which a bucket of the heads map proves;
    else the last entry shown is proved to be in the log, and the ones before it with it.
    """

    kind: SubjectKind
    ident: bytes
    first: int
    before: bytes
    whole: bool


@dataclass(frozen=True, slots=True)
class Head:
    """Everything but the entries.

    ``log_proof`` leads from the index-root, entry 0 and the last entry of each chain that is not
    whole to the checkpoint's root; ``map_proof`` from ``buckets`` (those of the whole chains, in
    the order of their numbers) to the index-root's. ``consistency`` holds proofs from earlier
    sizes of the log to the checkpoint's.
    """

    ueid: bytes
    checkpoint: bytes
    chains: tuple[ChainHead, ...]
    log_proof: bytes
    buckets: tuple[bytes, ...]
    map_proof: bytes
    consistency: dict[int, bytes] = field(default_factory=dict)

    def encode(self) -> bytes:
        """Deterministic CBOR of the head."""
        return cbor.encode(
            {
                "format": FORMAT,
                "version": VERSION,
                "ueid": self.ueid,
                "checkpoint": self.checkpoint,
                "chains": [[c.kind.value, *c[1:]] for c in self.chains],
                "log_proof": self.log_proof,
                "buckets": list(self.buckets),
                "map_proof": self.map_proof,
                "consistency": self.consistency,
            }
        )


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle taken apart; nothing in it is verified. ``pieces`` hold the entries, encoded."""

    head: Head
    pieces: tuple[bytes, ...]

    @classmethod
    def decode(cls, data: bytes, *, max_size: int = MAX_BUNDLE_BYTES) -> "Bundle":
        """Cut a file up and decode its head. Refused: TOO_LARGE, CBOR_*, BUNDLE_MALFORMED."""
        if len(data) > max_size:
            raise Refused(Reason.TOO_LARGE, f"a bundle has at most {max_size} bytes")
        head, *pieces = _cut(data)
        return cls(_decode_head(head), tuple(pieces))

    @classmethod
    def of(cls, head: Head, entries: Iterable[Entry]) -> "Bundle":
        """A bundle with these entries, which stand in the log's order."""
        return cls(head, tuple(_pieces(entries)))

    def encode(self) -> bytes:
        """The file. Decoding it gives this bundle."""
        parts = [self.head.encode(), *self.pieces]
        return b"".join([_start(_ARRAY, len(parts)), *(_start(_BYTES, len(p)) + p for p in parts)])

    def entries(self) -> Iterator[Entry]:
        """The entries in the order in which they stand, decoded piece by piece.

        Raises Refused where a piece is not what it has to be.
        """
        for piece in self.pieces:
            for row in decode_piece(piece):
                yield entry(row)


def decode_piece(piece: bytes) -> list[Any]:
    """Entries of a piece as plain values. Their form is not checked yet: ``entry`` does that."""
    if len(piece) > MAX_PIECE_BYTES:
        raise Refused(Reason.TOO_LARGE, f"a piece has at most {MAX_PIECE_BYTES} bytes")
    rows = cbor.decode_unchecked(piece, max_size=MAX_PIECE_BYTES, max_depth=5)
    if type(rows) is not list or not 1 <= len(rows) <= MAX_PIECE_ENTRIES:
        raise _malformed(f"a piece is an array of 1 to {MAX_PIECE_ENTRIES} entries", "entries")
    return rows


def entry(row: Any) -> Entry:
    """Check the form of one decoded entry."""
    if type(row) is not list or len(row) != 5:
        raise _malformed("an entry is an array of five", "entries")
    index, received_ms, kind, links, body = row
    if not _is_number(index) or not _is_number(received_ms) or received_ms > MAX_MILLIS:
        raise _malformed("an entry has an index and a time", "entries")
    if type(kind) is not str or not 0 < len(kind) <= 32 or not kind.isascii():
        raise _malformed("an entry has a kind", "entries")
    if type(links) is not list or len(links) > MAX_LINKS:
        raise _malformed(f"an entry has at most {MAX_LINKS} links", "entries")
    made = tuple(_link(link) for link in links)
    if type(body) is bytes and 0 < len(body) <= MAX_STATEMENT_BYTES:
        return Entry(index, received_ms, kind, made, body, sha256(body).digest())
    if type(body) is list and len(body) == 1 and is_hash(body[0]):
        return Entry(index, received_ms, kind, made, None, body[0])
    raise _malformed("an entry has its statement, or the statement's digest in an array", "entries")


def _link(link: Any) -> Own | Other:
    if type(link) is list and len(link) == 2 and all(map(_is_number, link)):
        return Own(*link)
    if type(link) is list and len(link) == 3:
        subject, seq, prev = link
        if is_hash(subject) and _is_number(seq) and is_hash(prev):
            return Other(subject, seq, prev)
    raise _malformed("a link is [chain, number] or [subject key, number, leaf hash]", "entries")


# -- head ------------------------------------------------------------------------------------


def _decode_head(data: bytes) -> Head:
    value = cbor.decode(data, max_size=MAX_HEAD_BYTES, max_depth=4)
    if type(value) is not dict or value.get("format") != FORMAT:
        raise _malformed(f"the head's format is {FORMAT}", "format")
    if type(value.get("version")) is not int or value["version"] != VERSION:
        raise _malformed(f"this program reads version {VERSION}", "version")
    if value.keys() != _MEMBERS:
        raise _malformed("the head lacks a member, or has an unknown one", "head")
    ueid = _bytes(value["ueid"], 33, "ueid")
    buckets = value["buckets"]
    if type(buckets) is not list or not 1 <= len(buckets) <= MAX_CHAINS:
        raise _malformed("buckets are an array", "buckets")
    return Head(
        check_ueid(ueid),
        _bytes(value["checkpoint"], MAX_NOTE_SIZE, "checkpoint"),
        _chains(value["chains"]),
        _hashes(value["log_proof"], "log_proof"),
        tuple(_bytes(bucket, MAX_BUCKET_BYTES, "buckets") for bucket in buckets),
        _hashes(value["map_proof"], "map_proof"),
        _consistency(value["consistency"]),
    )


def _chains(value: Any) -> tuple[ChainHead, ...]:
    if type(value) is not list or not 2 <= len(value) <= MAX_CHAINS:
        raise _malformed("there are the chains of the chip and of the authority", "chains")
    chains = tuple(_chain(item) for item in value)
    if len({(chain.kind, chain.ident) for chain in chains}) != len(chains):
        raise _malformed("each subject has one chain", "chains")
    return chains


def _chain(item: Any) -> ChainHead:
    if type(item) is not list or len(item) != 5:
        raise _malformed("a chain is an array of five", "chains")
    kind, ident, first, before, whole = item
    if type(kind) is not str or kind not in _KINDS or not _is_number(first):
        raise _malformed("a chain has a kind of subject and a first number", "chains")
    if not is_hash(before) or (first == 0) != (before == bytes(HASH_SIZE)):
        raise _malformed("only the first entry of all follows zero", "chains")
    if type(whole) is not bool or (whole and first):
        raise _malformed("a whole chain begins with number 0", "chains")
    return ChainHead(_KINDS[kind], _bytes(ident, 64, "chains"), first, before, whole)


def _consistency(value: Any) -> dict[int, bytes]:
    if type(value) is not dict or len(value) > MAX_CONSISTENCY:
        raise _malformed(f"at most {MAX_CONSISTENCY} consistency proofs", "consistency")
    if not all(map(_is_number, value)):
        raise _malformed("a consistency proof has a size", "consistency")
    return {size: _hashes(proof, "consistency") for size, proof in value.items()}


def _hashes(value: Any, name: str) -> bytes:
    data = _bytes(value, MAX_PROOF_BYTES, name)
    if len(data) % HASH_SIZE:
        raise _malformed("a proof is whole hashes of 32 bytes", name)
    return data


def _bytes(value: Any, limit: int, name: str) -> bytes:
    if type(value) is not bytes:
        raise _malformed("a byte string is wanted", name)
    if len(value) > limit:
        raise Refused(Reason.TOO_LARGE, f"at most {limit} bytes", field=name)
    return value


def is_hash(value: Any) -> bool:
    """Whether it is 32 bytes."""
    return type(value) is bytes and len(value) == HASH_SIZE


def _is_number(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MAX_NUMBER


# -- the outer array -------------------------------------------------------------------------

_ARRAY, _BYTES = 4, 2
_WIDTHS = {24: 1, 25: 2, 26: 4, 27: 8}


def _start(major: int, value: int) -> bytes:
    if value < 24:
        return bytes([major << 5 | value])
    for info, width in _WIDTHS.items():
        if value < 1 << 8 * width:
            return bytes([major << 5 | info]) + value.to_bytes(width)
    raise ValueError("too large for CBOR")


def _read_start(data: bytes, at: int, major: int) -> tuple[int, int]:
    """Value of an item's first bytes, and where its content begins; shortest form only."""
    first = data[at] if at < len(data) else -1
    if first >> 5 != major:
        raise _malformed("a bundle is an array of byte strings", "bundle")
    info = first & 31
    if info < 24:
        return info, at + 1
    width = _WIDTHS.get(info, 0)
    end = at + 1 + width
    value = int.from_bytes(data[at + 1 : end])
    if end > len(data) or data[at:end] != _start(major, value):
        raise Refused(Reason.CBOR_NOT_DETERMINISTIC, "a length is not in shortest form")
    return value, end


def _cut(data: bytes) -> list[bytes]:
    """The byte strings of the outer array; nothing is decoded."""
    count, at = _read_start(data, 0, _ARRAY)
    if not 1 <= count <= MAX_PIECES + 1:
        raise _malformed(f"a bundle has a head and at most {MAX_PIECES} pieces", "bundle")
    parts = []
    for _ in range(count):
        size, begin = _read_start(data, at, _BYTES)
        at = begin + size
        if at > len(data):
            raise _malformed("the file is cut short", "bundle")
        parts.append(data[begin:at])
    if at != len(data):
        raise Refused(Reason.CBOR_TRAILING_BYTES, f"{len(data) - at} bytes follow the bundle")
    return parts


def _pieces(entries: Iterable[Entry]) -> Iterator[bytes]:
    rows: list[bytes] = []
    size = 0
    for item in entries:
        row = cbor.encode(item.plain)
        rows.append(row)
        size += len(row)
        if size >= PIECE_BYTES or len(rows) == MAX_PIECE_ENTRIES:
            yield _joined(rows)
            rows, size = [], 0
    if rows:
        yield _joined(rows)


def _joined(rows: Sequence[bytes]) -> bytes:
    return _start(_ARRAY, len(rows)) + b"".join(rows)


def _malformed(detail: str, name: str) -> Refused:
    return Refused(Reason.BUNDLE_MALFORMED, detail, field=name)
