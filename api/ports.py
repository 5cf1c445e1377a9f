"""What the HTTP service needs of a ledger (stand-in until ledger.service.node is in the tree)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ledger.errors import Reason, Refused
from ledger.protocol.statements import Kind


@dataclass(frozen=True, slots=True)
class Lease:
    id: bytes
    until_ms: int


@dataclass(frozen=True, slots=True)
class Directive:
    sequence: int
    action: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class Receipt:
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
    origin: str | None
    genesis_digest: bytes | None
    clock_mode: str
    now_ms: int
    size: int
    published_size: int
    ledger_key: bytes
    verifier_key: bytes
    vkey: str | None
    epoch_s: int | None


@dataclass(frozen=True, slots=True)
class EpochView:
    id: bytes
    counter: int
    not_before_ms: int
    not_after_ms: int
    statement: bytes


@dataclass(frozen=True, slots=True)
class PassportFilter:
    state: str | None = None
    holder: str | None = None
    country: str | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    items: list[dict[str, Any]]
    next: str | None


class Node(Protocol):
    def submit(
        self, tokens: Sequence[bytes], expect: Kind | None = None
    ) -> list[Receipt | Refused]: ...
    def status(self) -> LedgerStatus: ...
    def epoch(self) -> EpochView: ...
    def set_time(self, now_ms: int) -> None: ...
    def tick(self) -> None: ...
    def checkpoint(self) -> bytes | None: ...
    def tile(self, path: str) -> bytes: ...
    def passports(self, filter: PassportFilter, after: str | None, limit: int) -> Page: ...
    def passport(self, ueid: bytes) -> dict[str, Any]: ...
    def history(self, ueid: bytes, after: int | None, limit: int) -> Page: ...
    def decisions(
        self, ueid: bytes | None, action: str | None, after: int | None, limit: int
    ) -> Page: ...
    def ready(self) -> str | None: ...
    def close(self) -> None: ...
