"""Leaves made again from what a bundle says of an entry, and the chains that they form.

A bundle does not carry what follows from the rest: an entry's statement digest, and the leaf hash
of the entry before it in a chain that is shown. Whoever makes the leaves again gets the bytes that
the log holds, or other hashes.
"""

from collections import Counter
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice

from ledger.log.chain import LEAF_VERSION
from ledger.protocol import cbor
from ledger.values import SubjectKind, subject_key

SHOWN = 8
"""Numbers named at most where entries are missing or stand twice."""

_START = cbor.encode([LEAF_VERSION, "", 0, [], b""])[:2]
_BYTES_32 = b"\x58\x20"
_ONE_LINK = b"\x81\x83" + _BYTES_32


@dataclass(slots=True)
class ChainWalk:
    """One subject's chain while its entries are read in order.

    ``count`` and ``head`` are those behind the last entry read. ``seqs`` are the numbers that the
    entries claim, for naming what is wrong where they do not simply count up.
    """

    kind: SubjectKind
    ident: bytes
    first: int
    before: bytes
    whole: bool
    key: bytes = field(init=False)
    count: int = field(init=False)
    head: bytes = field(init=False)
    last_index: int = field(init=False, default=-1)
    irregular: list[int] = field(init=False, default_factory=list)
    """The claimed numbers from the first one on that was not the next; empty: all count up."""

    def __post_init__(self) -> None:
        self.key = subject_key(self.kind, self.ident)
        self.count, self.head = self.first, self.before

    @property
    def name(self) -> str:
        """How to speak of the subject."""
        if self.kind is SubjectKind.CHIP:
            return f"the chip {self.ident.hex()}"
        return f"the {self.kind.value} {self.ident.decode('ascii', 'replace')}"

    @property
    def sound(self) -> bool:
        """Whether the entries' numbers counted up."""
        return not self.irregular

    def advance(self, seq: int, index: int, leaf_hash: bytes) -> None:
        """Read the next entry: its claimed number, index and leaf hash."""
        if seq != self.count or self.irregular:
            self.irregular.append(seq)
        self.count += 1
        self.head = leaf_hash
        self.last_index = index

    def disorder(self) -> tuple[list[int], list[int], bool]:
        """Numbers that are missing, numbers that stand twice, and whether the rest descends."""
        regular = self.count - len(self.irregular)
        seqs = [*range(self.first, regular), *self.irregular]
        times = Counter(seqs)
        gaps = (seq for seq in range(self.first, max(seqs)) if seq not in times)
        # The claimed numbers may be huge: never more steps than there are entries, and a few.
        missing = list(islice(gaps, SHOWN))
        twice = [seq for seq, count in times.items() if count > 1][:SHOWN]
        once = list(times)
        return missing, twice, once != sorted(once)


def leaf_start(kind: str) -> bytes:
    """A leaf's first bytes, up to its time."""
    return _START + cbor.encode(kind)


def own_leaf(
    start: bytes, received_ms: int, link: tuple[bytes, int, bytes], digest: bytes
) -> bytes:
    """Leaf of an entry with one subject; the same bytes as ``chain.encode_leaf``, but quicker."""
    key, seq, prev = link
    return b"".join(
        (
            start,
            uint(received_ms),
            _ONE_LINK,
            key,
            uint(seq),
            _BYTES_32,
            prev,
            _BYTES_32,
            digest,
        )
    )


def hash_leaf(leaf: bytes) -> bytes:
    """SHA-256(0x00 || leaf)."""
    return sha256(b"\x00" + leaf).digest()


def uint(value: int) -> bytes:
    """CBOR unsigned integer in shortest form."""
    if value >= 1 << 32:
        return b"\x1b" + value.to_bytes(8)
    if value < 24:
        return value.to_bytes(1)
    if value < 1 << 8:
        return b"\x18" + value.to_bytes(1)
    if value < 1 << 16:
        return b"\x19" + value.to_bytes(2)
    return b"\x1a" + value.to_bytes(4)
