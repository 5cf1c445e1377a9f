"""Values that the service hands to its callers."""

from dataclasses import dataclass, field
from typing import Any

from ledger.errors import Reason
from ledger.protocol.statements import Kind


@dataclass(frozen=True, slots=True)
class Lease:
    """Until when a chip may run without hearing from the ledger."""

    id: bytes
    until_ms: int


@dataclass(frozen=True, slots=True)
class Directive:
    """A chip's latest decision: sequence number, action, statement digest."""

    sequence: int
    action: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a statement got: its durable place; ``conflict`` where it is on record as one."""

    index: int
    leaf_hash: bytes
    received_ms: int
    kind: Kind
    conflict: Reason | None = None
    detail: str = ""
    lease: Lease | None = None
    directive: Directive | None = None


@dataclass(frozen=True, slots=True)
class LedgerStatus:
    """The ledger in brief. ``origin`` and what follows from it are None before the genesis."""

    origin: str | None
    genesis_digest: bytes | None
    clock_mode: str
    now_ms: int
    size: int
    published_size: int
    verifier_position: int
    ledger_key: bytes
    verifier_key: bytes
    vkey: str | None
    epoch_s: int | None


@dataclass(frozen=True, slots=True)
class EpochView:
    """The current epoch and the signed statement that opened it."""

    id: bytes
    counter: int
    not_before_ms: int
    not_after_ms: int
    statement: bytes


@dataclass(frozen=True, slots=True)
class PassportFilter:
    """Which chips to list; None leaves a column open."""

    state: str | None = None
    holder: str | None = None
    country: str | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Some items in order, JSON-ready, and where the next page begins (None at the end)."""

    items: list[dict[str, Any]] = field(default_factory=list)
    next: str | None = None
