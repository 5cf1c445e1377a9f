"""What checking a bundle leads to: faults by name, the life in order, who vouches, how old."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from ledger.log.quorum import Voucher
from ledger.passport.words import describe
from ledger.protocol.statements import Kind, kind_of

MAX_FINDINGS = 100
"""Kept of each fault at most; the rest is counted."""
WITHHELD = "statement withheld"


class Fault(StrEnum):
    """What can be wrong with a bundle; ``docs/bundle.md`` says how each is noticed."""

    OMITTED = "omitted"
    REORDERED = "reordered"
    INSERTED = "inserted"
    DUPLICATED = "duplicated"
    ALTERED = "altered"
    FORKED = "forked"
    ROLLED_BACK = "rolled-back"
    STALE = "stale"
    SWAPPED_KEY = "swapped-key"
    MISSING_DECISION = "missing-decision"
    UNFOUNDED = "unfounded"
    BAD_SIGNATURE = "bad-signature"
    UNPROVEN = "unproven"
    UNTRUSTED = "untrusted"
    NO_QUORUM = "no-quorum"


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault: its name, a sentence, and the log index of the entry it was found at."""

    fault: Fault
    detail: str
    index: int | None = None

    def __str__(self) -> str:
        place = "" if self.index is None else f"entry {self.index}: "
        return f"{self.fault.value}: {place}{self.detail}"


class Event(NamedTuple):
    """One entry of the chip's life. ``body`` is None where the statement is withheld.

    ``conflict`` and ``detail`` say what a recorded conflict contradicts, where that is known.
    """

    index: int  # type: ignore[assignment]  # nobody asks a row for tuple.index
    seq: int
    received_ms: int
    kind: str
    signer: str | None
    body: Any
    conflict: str | None = None
    detail: str = ""

    @property
    def words(self) -> str:
        """What the entry means, in one sentence."""
        if self.body is None:
            return WITHHELD
        conflict = None
        if self.kind == Kind.CONFLICT:
            conflict = self.conflict or "not derived again from this bundle"
        return describe(kind_of(self.body), self.body, conflict=conflict, detail=self.detail)


class Findings:
    """Faults and remarks as they are collected."""

    def __init__(self) -> None:
        self.faults: list[Finding] = []
        self.remarks: list[str] = []
        self.more = 0
        """Faults beyond those kept."""
        self._kept: dict[Fault, int] = {}

    def add(self, fault: Fault, detail: str, index: int | None = None) -> None:
        """Note a fault."""
        count = self._kept[fault] = self._kept.get(fault, 0) + 1
        if count > MAX_FINDINGS:
            self.more += 1
        else:
            self.faults.append(Finding(fault, detail, index))

    def extend(self, others: Iterable[Finding]) -> None:
        """Note several."""
        for other in others:
            self.add(other.fault, other.detail, other.index)

    def remark(self, text: str) -> None:
        """Note something that is no fault, once."""
        if text not in self.remarks:
            self.remarks.append(text)


@dataclass(slots=True)
class Report:
    """What a bundle establishes. Times are in milliseconds since 1970 unless they end in ``_s``.

    ``sound``: nothing is wrong. ``vouched``: a trust policy was given, one of its logs signed the
    checkpoint and its quorum of witnesses cosigned it. Only ``accepted``, which is both, is a yes.
    """

    ueid: bytes
    origin: str = ""
    genesis: bytes = b""
    """Statement digest of the genesis."""
    size: int = 0
    root: bytes = b""
    published_ms: int = 0
    """When the index-root, the last entry covered, came: the ledger's own word for its time."""
    clock: str = ""
    logs: tuple[str, ...] = ()
    """Keys of the log that signed the checkpoint, in note key form."""
    vouchers: tuple[Voucher, ...] = ()
    policy_given: bool = False
    vouched: bool = False
    age_s: int | None = None
    """Seconds since the oldest cosignature that the quorum needs; without a quorum since
    ``published_ms``, which only the ledger says."""
    entries: int = 0
    """Entries of the chip; 0: the ledger holds none."""
    head_index: int | None = None
    """Log index of the newest of them, as the bundle says."""
    life: list[Event] = field(default_factory=list)
    withheld: dict[str, int] = field(default_factory=dict)
    """Statements left out, by kind."""
    signatures: int = 0
    """Statements whose signature was checked, and is good."""
    unchecked: int = 0
    """Statements whose signer's key is not in the bundle, since something is withheld."""
    decisions: int = 0
    """Decisions of the verifier that were derived again."""
    decisions_checked: bool = False
    """Whether the chip's life was replayed to its end to find decisions that are missing."""
    state: str | None = None
    faults: list[Finding] = field(default_factory=list)
    more_faults: int = 0
    remarks: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Nothing is wrong with the bundle."""
        return not self.faults

    @property
    def accepted(self) -> bool:
        """Sound, and vouched for by keys that the reader trusts."""
        return self.sound and self.vouched

    def names(self) -> list[str]:
        """The names of the faults, each once, in the order found."""
        return list(dict.fromkeys(finding.fault.value for finding in self.faults))
