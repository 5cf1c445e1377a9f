"""What the verifier remembers about one chip between entries, and how that is stored."""

from dataclasses import dataclass, field
from typing import Any

from ledger.errors import IntegrityError, Refused
from ledger.protocol import cbor

MAX_CASE_BYTES = 65_536
EVIDENCE_KEPT = 8
"""Newest leaf hashes kept per failing rule; a decision names these."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The last heartbeat that was appraised: when, where and which boot."""

    received_ms: int
    iat: int
    latitude: float
    longitude: float
    accuracy_m: float
    boot_count: int
    boot_seed: bytes
    uptime: int
    leaf_hash: bytes
    countries: tuple[str, ...]


@dataclass(slots=True)
class Case:
    """One chip's file with the verifier.

    ``failures`` counts contraindicated appraisals per rule since they were last cleared; only
    ``clear_after`` clean heartbeats or an officer's release clear them, silence never does.
    ``pending`` is the sequence number of a decision that is drafted and not yet on the log.
    """

    ueid: bytes
    failures: dict[str, int] = field(default_factory=dict)
    evidence: dict[str, list[bytes]] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)
    clean_run: int = 0
    tiers: dict[str, int] = field(default_factory=dict)
    seen: Seen | None = None
    silent: bool = False
    suspect: bool = False
    expected_since_ms: int = 0
    """Ledger time from which silence counts; 0 while no heartbeat is expected."""
    pending: int = 0
    held_rules: tuple[str, ...] = ()
    held_ms: int = 0

    @property
    def flags(self) -> list[str]:
        """Names of the flags that are set, in fixed order."""
        return [name for name in ("silent", "suspect") if getattr(self, name)]

    def record(self, rule: str, leaf_hash: bytes, words: str) -> None:
        """Count one contraindicated appraisal of ``rule``."""
        self.failures[rule] = self.failures.get(rule, 0) + 1
        self.evidence[rule] = [*self.evidence.get(rule, []), leaf_hash][-EVIDENCE_KEPT:]
        self.words[rule] = words
        self.suspect = True

    def clear(self) -> None:
        """Forget counted failures (after clean heartbeats or a release)."""
        self.failures, self.evidence, self.words = {}, {}, {}
        self.suspect = False

    def encode(self) -> bytes:
        """Deterministic CBOR of the case."""
        seen = None
        if self.seen is not None:
            seen = [getattr(self.seen, name) for name in _SEEN_FIELDS]
            seen[-1] = list(self.seen.countries)
        return cbor.encode(
            [
                self.ueid,
                self.failures,
                self.evidence,
                self.words,
                self.clean_run,
                self.tiers,
                seen,
                self.silent,
                self.suspect,
                self.expected_since_ms,
                self.pending,
                list(self.held_rules),
                self.held_ms,
            ]
        )


_SEEN_FIELDS = tuple(Seen.__dataclass_fields__)


def _seen(values: list[Any]) -> Seen:
    named: dict[str, Any] = dict(zip(_SEEN_FIELDS, values, strict=True))
    return Seen(**named | {"countries": tuple(named["countries"])})


def decode_case(data: bytes) -> Case:
    """Read a stored case back; raises ``IntegrityError`` where the bytes are not one."""
    try:
        value: list[Any] = cbor.decode(data, max_size=MAX_CASE_BYTES)
        (ueid, failures, evidence, words, clean, tiers, seen, silent, suspect, since, *rest) = value
        pending, held_rules, held_ms = rest
        return Case(
            ueid,
            failures,
            evidence,
            words,
            clean,
            tiers,
            None if seen is None else _seen(seen),
            silent,
            suspect,
            since,
            pending,
            tuple(held_rules),
            held_ms,
        )
    except (Refused, ValueError, TypeError) as error:
        raise IntegrityError(f"a stored case is damaged: {error}") from error
