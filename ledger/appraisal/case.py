"""What the verifier remembers about one chip between entries, and how that is stored."""

from dataclasses import dataclass, field, fields
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


@dataclass(frozen=True, slots=True)
class Fix:
    """The last claim that showed a place, for the next one to be compared with.

    ``at_s`` is the heartbeat's own time, held within the policy's skew of the time it arrived.
    """

    at_s: int
    latitude: float
    longitude: float
    accuracy_m: float


@dataclass(slots=True)
class Case:
    """One chip's file with the verifier.

    ``failures`` counts contraindicated appraisals per rule since they were last cleared; only
    ``clear_after`` clean heartbeats or an officer's release clear them, silence never does.
    ``forks`` counts proofs that the key lives twice; only a release clears these.
    ``pending`` is the sequence number of a decision that is drafted and not yet on the log.
    """

    ueid: bytes
    failures: dict[str, int] = field(default_factory=dict)
    evidence: dict[str, list[bytes]] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)
    clean_run: int = 0
    tiers: dict[str, int] = field(default_factory=dict)
    seen: Seen | None = None
    fix: Fix | None = None
    silent: bool = False
    suspect: bool = False
    expected_since_ms: int = 0
    """Ledger time from which silence counts; 0 while no heartbeat is expected."""
    owes_report: bool = False
    """Installed, and not heard from since."""
    unclear_run: int = 0
    """Heartbeats in a row, up to the last one, whose claim showed no place inside or outside."""
    outside_since_ms: int = 0
    """Ledger time of the first claim outside with no claim inside after it; 0: there is none."""
    forks: int = 0
    fork_evidence: list[bytes] = field(default_factory=list)
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

    def record_fork(self, leaf_hash: bytes) -> None:
        """Count one proof that the chip's key lives twice."""
        self.forks += 1
        self.fork_evidence = [*self.fork_evidence, leaf_hash][-EVIDENCE_KEPT:]

    def clear(self) -> None:
        """Forget counted failures, after clean heartbeats."""
        self.failures, self.evidence, self.words = {}, {}, {}
        self.suspect = False

    def release(self) -> None:
        """Forget everything that told against the chip: an officer has looked at it."""
        self.clear()
        self.clean_run = self.unclear_run = self.outside_since_ms = self.forks = 0
        self.fork_evidence, self.held_rules, self.held_ms = [], (), 0
        self.silent = self.owes_report = False

    def encode(self) -> bytes:
        """Deterministic CBOR of the case: its fields in order."""
        return cbor.encode([_plain(getattr(self, item.name)) for item in fields(self)])


def decode_case(data: bytes) -> Case:
    """Read a stored case back; raises ``IntegrityError`` where the bytes are not one."""
    try:
        values: list[Any] = cbor.decode(data, max_size=MAX_CASE_BYTES)
        named: dict[str, Any] = dict(zip(_NAMES, values, strict=True))
        named["seen"] = _record(Seen, named["seen"])
        named["fix"] = _record(Fix, named["fix"])
        named["held_rules"] = _tuple(named["held_rules"])
        case = Case(**named)
        if not _fits(case):
            raise ValueError("a member has the wrong type")
    except (Refused, ValueError, TypeError, AttributeError) as error:
        raise IntegrityError(f"a stored case is damaged: {error}") from error
    return case


_NAMES = tuple(item.name for item in fields(Case))


def _plain(value: Any) -> Any:
    if isinstance(value, Seen | Fix):
        return [_plain(getattr(value, item.name)) for item in fields(value)]
    return list(value) if isinstance(value, tuple) else value


def _tuple(value: Any) -> tuple[Any, ...]:
    if type(value) is not list:
        raise TypeError("a list is wanted")
    return tuple(value)


def _record(kind: type[Any], values: list[Any] | None) -> Any:
    if values is None:
        return None
    made = kind(
        *(
            _tuple(value) if item.type == tuple[str, ...] else value
            for item, value in zip(fields(kind), values, strict=True)
        )
    )
    if any(not _is(getattr(made, item.name), item.type) for item in fields(kind)):
        raise TypeError(f"a {kind.__name__} member has the wrong type")
    return made


def _fits(case: Case) -> bool:
    """Whether every member has its declared type; ``seen`` and ``fix`` have been looked at."""
    return all(
        _is(getattr(case, item.name), item.type)
        for item in fields(case)
        if item.name not in ("seen", "fix")
    )


def _is(value: Any, kind: Any) -> bool:
    parts: Any = getattr(kind, "__args__", ())
    match getattr(kind, "__origin__", kind):
        case origin if origin is dict:
            return type(value) is dict and all(
                _is(key, parts[0]) and _is(item, parts[1]) for key, item in value.items()
            )
        case origin if origin in (list, tuple):
            return type(value) is origin and all(_is(item, parts[0]) for item in value)
        case origin:
            return type(value) is origin
