"""From tokens to durable entries: decode, authenticate, judge, append, in one transaction.

Order of work for a heartbeat, cheap before dear: size and form; a registered key; freshness, and
whether it is the very heartbeat that was taken last; the signature; then, with the log locked,
freshness and counter against the record, and the append. Other statements may depend on one before
them in the same batch (a party, then its first statement), so theirs is looked at again inside the
transaction.
"""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, insert, select

from ledger.errors import Reason, Refused
from ledger.protocol import cose
from ledger.protocol import statements as st
from ledger.protocol.heartbeat import MAX_HEARTBEAT_BYTES
from ledger.protocol.keys import Algorithm, PublicKey
from ledger.protocol.statements import Kind, Message
from ledger.registry.apply import apply
from ledger.registry.judge import check_freshness, judge
from ledger.registry.records import (
    Chip,
    ChipState,
    Owner,
    Registry,
    Verdict,
    chip_subject,
)
from ledger.service.admission import Opened, assemble, open_heartbeats, open_token
from ledger.service.views import Directive, Lease, Receipt
from ledger.store.engine import reading, writing
from ledger.store.log_rows import (
    Appender,
    Head,
    entry_table,
    link_table,
    read_head,
    update_head,
)
from ledger.store.registry_rows import Documents, StoreRegistry, load_documents
from ledger.store.tables import DecisionRow
from ledger.values import MILLIS_PER_SECOND, subject_key

decision_table: Any = DecisionRow.__table__  # type: ignore[attr-defined]

RECENT_ENTRIES = 256
"""A chip's newest entries that are searched for a repetition of an older heartbeat. A replay has
to carry the current or previous epoch, so a repeated heartbeat cannot lie far back."""
DEFAULT_LEASE_S = 86_400
REMEMBERED = 200_000
"""Chains and chips kept in memory at most (about 200 MB)."""
RECENT_MESSAGES = 8_192
"""Decoded statements kept for the verifier (about 25 MB)."""
_CHUNK = 128
"""Tokens handed to an executor at a time: about 15 ms of work."""
WORTH_SENDING = 16
"""Fewer tokens than this are opened at once, without an executor."""


@dataclass(slots=True)
class Candidate:
    """One token on its way: refused, or a message that may be authenticated already."""

    message: Message | None = None
    refusal: Refused | None = None
    authentic: bool = False


@dataclass(slots=True)
class Memory:
    """Chains and chips as stored when the log had ``size`` entries.

    Every change of a chain or a chip comes with an entry. So while the log still has that size when
    it is locked the next time, nobody has changed them, and they need not be read again.
    """

    size: int = -1
    chains: dict[bytes, tuple[int, bytes]] = field(default_factory=dict)
    chips: dict[bytes, Chip] = field(default_factory=dict)

    def keep(self, appender: Appender, registry: StoreRegistry) -> None:
        """Take over what a committed batch looked at and changed."""
        self.size = appender.size
        if len(self.chains) > REMEMBERED:
            self.chains.clear()
            self.chips.clear()
        self.chains.update(appender.chains)
        self.chips.update(registry.chips)


@dataclass(slots=True)
class Sequencer:
    """Admits tokens to one database. ``known_owners`` remembers keys, which never change hands."""

    engine: Engine
    executor: Executor | None = None
    known_owners: dict[bytes, Owner] = field(default_factory=dict)
    turn: AbstractContextManager[Any] = field(default_factory=threading.RLock)
    """Held while the log is locked, so that writers of one process queue here."""
    _last: dict[bytes, bytes] = field(default_factory=dict)
    _recent: dict[int, Message] = field(default_factory=dict)
    _documents: Documents = field(default_factory=Documents)
    _memory: "Memory" = field(default_factory=lambda: Memory())

    def submit(
        self, tokens: Sequence[bytes], now_ms: int, *, expect: Kind | None = None
    ) -> list[Receipt | Refused]:
        """Append what may be appended; one answer per token, in order.

        Durable when it returns. Raises StorageError (nothing kept) or IntegrityError.
        """
        candidates = self._admit(tokens, now_ms, expect)
        if all(candidate.refusal is not None for candidate in candidates):
            return [_refusal(candidate) for candidate in candidates]
        with self.batch(now_ms) as batch:
            batch.prefetch([c.message for c in candidates if c.message and not c.refusal])
            results = [batch.take(candidate) for candidate in candidates]
        self._remember(candidates, results)
        return results

    @contextmanager
    def batch(self, now_ms: int) -> "Iterator[Batch]":
        """One write transaction on the locked log; flushed and committed at the end."""
        with self.turn:
            memory, self._memory = self._memory, Memory()
            with writing(self.engine) as connection:
                head = read_head(connection, lock=True)
                if memory.size != head.size:
                    memory = Memory()
                appender = Appender(connection, head, memory.chains)
                documents = self._current_documents(connection, head.documents)
                registry = StoreRegistry(connection, self.known_owners, documents, memory.chips)
                batch = Batch(connection, appender, registry, now_ms)
                yield batch
                batch.flush()
                genesis = registry.genesis
                if genesis is not None and genesis.clock == "simulated":
                    _keep_simulated_time(connection, head, appender.received_ms)
            # Only now is it certain that what is remembered is what is stored.
            memory.keep(appender, registry)
            self._memory = memory

    def _current_documents(self, connection: Connection, position: int) -> Documents:
        """Genesis, policy and epochs; read again only when there are newer ones."""
        documents = self._documents
        if documents.position != position:
            # Another thread may replace the remembered ones at any time, by older ones too.
            documents = self._documents = load_documents(connection)
        return documents

    def _remember(self, candidates: list[Candidate], results: Sequence[Receipt | Refused]) -> None:
        """Keep what was just taken: a plain replay then costs no signature check, and the verifier
        need not decode what was decoded a moment ago."""
        for candidate, result in zip(candidates, results, strict=True):
            message = candidate.message
            if isinstance(result, Receipt) and message is not None:
                self._recent[result.index] = message
                if message.kind is Kind.HEARTBEAT:
                    self._last[message.body.ueid] = message.content_digest
        if len(self._last) > REMEMBERED:
            self._last.clear()
        if len(self._recent) > RECENT_MESSAGES:
            self._recent.clear()

    def recall(self, index: int) -> Message | None:
        """The decoded statement of a recent entry, once; None where it has to be read."""
        return self._recent.pop(index, None)

    def _key_or_refusal(
        self, registry: Registry, candidate: Candidate, now_ms: int
    ) -> PublicKey | None:
        """The key to check with; None where the message is refused or has to wait for its turn."""
        message = candidate.message
        assert message is not None  # noqa: S101 - the caller selected it so
        try:
            key = registry.key_for(message)
            if (message.kid, Algorithm.from_wire(message.sign1.alg_id)) != (key.kid, key.alg):
                raise Refused(Reason.COSE_KEY_MISMATCH, "alg or kid is not the key's", field="kid")
            if message.kind is Kind.HEARTBEAT:
                check_freshness(registry, message.body, now_ms)
                if self._last.get(message.body.ueid) == message.content_digest:
                    raise Refused(Reason.DUPLICATE, "this heartbeat was the last one taken")
            return key
        except Refused as refusal:
            # An unknown signer of a statement may be registered by one before it in this batch.
            if message.kind is Kind.HEARTBEAT or refusal.reason is not Reason.KEY_UNKNOWN:
                candidate.refusal = refusal
            return None

    def _admit(self, tokens: Sequence[bytes], now_ms: int, expect: Kind | None) -> list[Candidate]:
        """Decode, refuse what the last committed record refuses, check the signatures left.

        With an executor, heartbeats are decoded and their signatures checked there, piece by piece.
        """
        candidates: list[Candidate] = []
        with reading(self.engine) as connection:
            documents = self._current_documents(connection, read_head(connection).documents)
            registry = StoreRegistry(connection, self.known_owners, documents)
            if self.executor is None or expect is not Kind.HEARTBEAT or len(tokens) < WORTH_SENDING:
                opened = (open_token(token, expect) for token in tokens)
                return self._screen(registry, list(opened), now_ms)
            for piece in self._opened_elsewhere(self.executor, registry, tokens):
                candidates += self._screen(registry, piece, now_ms)
        return candidates

    def _opened_elsewhere(
        self, executor: Executor, registry: StoreRegistry, tokens: Sequence[bytes]
    ) -> Iterator[list[Opened]]:
        """Heartbeats as another process opens them; all pieces are sent before one is awaited."""
        epochs = [epoch.id for epoch in registry.epochs[-2:]]
        sent = []
        for at in range(0, len(tokens), _CHUNK):
            piece = list(tokens[at : at + _CHUNK])
            envelopes = [_envelope(token) for token in piece]
            registry.load_owners(sign1.kid for sign1 in envelopes if sign1 is not None)
            keys = [self._raw_key(sign1) for sign1 in envelopes]
            future = executor.submit(open_heartbeats, piece, keys, epochs)
            sent.append((piece, envelopes, future))
        for piece, envelopes, future in sent:
            yield list(map(assemble, piece, envelopes, future.result()))

    def _raw_key(self, sign1: cose.Sign1 | None) -> tuple[int, bytes] | None:
        owner = None if sign1 is None else self.known_owners.get(sign1.kid)
        return None if owner is None else (int(owner.key.alg), owner.key.raw)

    def _screen(self, registry: StoreRegistry, piece: list[Opened], now_ms: int) -> list[Candidate]:
        """Refuse what the record refuses, then what is badly signed."""
        candidates = [
            Candidate(refusal=opened) if isinstance(opened, Refused) else Candidate(opened[0])
            for opened in piece
        ]
        registry.load_owners(c.message.kid for c in candidates if c.message is not None)
        for candidate, opened in zip(candidates, piece, strict=True):
            message = candidate.message
            if message is None or isinstance(opened, Refused):
                continue
            key = self._key_or_refusal(registry, candidate, now_ms)
            if key is None:
                continue
            checked = opened[1]
            if checked is None or checked[0] != key.raw:
                checked = key.raw, key.verify(message.tbs, message.sign1.signature)
            candidate.authentic = checked[1]
            if not candidate.authentic:
                candidate.refusal = _bad_signature()
        return candidates


class Batch:
    """One write transaction: the locked log and the registry, changed together."""

    def __init__(
        self, connection: Connection, appender: Appender, registry: StoreRegistry, now_ms: int
    ) -> None:
        self.connection = connection
        self.appender = appender
        self.registry = registry
        self.received_ms = max(now_ms, self.appender.received_ms)
        self._contents: set[bytes] = set()
        self._documents: list[tuple[Kind, int, int]] = []
        self._decisions: list[dict[str, Any]] = []
        self._flushed = False

    def prefetch(self, messages: Sequence[Message]) -> None:
        """Load what a batch of heartbeats or ranging reports needs in few queries."""
        ueids = [m.body.ueid for m in messages if m.kind is Kind.HEARTBEAT]
        ranged = [
            row.ueid for m in messages if m.kind is Kind.RANGING_REPORT for row in m.body.rows
        ]
        self.registry.load_chips([*ueids, *ranged])
        self.appender.prefetch(map(chip_subject, ueids))

    def take(self, candidate: Candidate) -> Receipt | Refused:
        """Append one candidate, or say why not. A refusal leaves everything as it was."""
        if candidate.refusal is not None or candidate.message is None:
            return _refusal(candidate)
        message = candidate.message
        if message.kind is Kind.INDEX_ROOT:
            # Its own signature does not let one in: it belongs at one place of the log only.
            return Refused(Reason.NOT_AUTHORISED, "the ledger appends it when it publishes")
        try:
            if not candidate.authentic:
                message.verify(self.registry.key_for(message))
            return self.append(message)
        except Refused as refusal:
            return refusal

    def append(self, message: Message) -> Receipt:
        """Judge an authentic message and append it; raises Refused."""
        content = message.content_digest
        if message.kind is not Kind.HEARTBEAT:
            self._refuse_repetition(content)
        verdict = judge(self.registry, message, self.received_ms)
        if message.kind is Kind.HEARTBEAT and verdict.conflict is not None:
            self._refuse_replay(message, content)
        index, leaf_hash = self._append(message, content, verdict)
        apply(self.registry, message, verdict, self.received_ms)
        self._contents.add(content)
        if verdict.conflict is None:
            self._index(message, index)
        return self._receipt(message, verdict, index, leaf_hash)

    def flush(self) -> None:
        """Write everything, once; the surrounding transaction commits it."""
        if self._flushed:
            return
        self._flushed = True
        self.appender.flush()
        self.registry.flush()
        for kind, number, index in self._documents:
            self.registry.note_document(kind, number, index)
        if self._decisions:
            self.connection.execute(insert(decision_table), self._decisions)

    def _append(self, message: Message, content: bytes, verdict: Verdict) -> tuple[int, bytes]:
        conflict = verdict.conflict
        return self.appender.add(
            (Kind.CONFLICT if conflict else message.kind).value,
            self.received_ms,
            verdict.subjects,
            digest=message.digest,
            content_digest=None if message.kind is Kind.HEARTBEAT else content,
            body=message.token,
            conflict=None if conflict is None else conflict.value,
            detail=verdict.detail or None,
        )

    def _index(self, message: Message, index: int) -> None:
        body = message.body
        number = document_number(message.kind, body)
        if number is not None:
            self._documents.append((message.kind, number, index))
        elif message.kind is Kind.DECISION:
            row = {
                "idx": index,
                "ueid": body.ueid,
                "action": body.action,
                "sequence": body.sequence,
            }
            self._decisions.append(row)

    def _refuse_repetition(self, content: bytes) -> None:
        query = select(entry_table.c.idx).where(entry_table.c.content_digest == content)
        index = self.connection.execute(query).scalar()
        if index is not None or content in self._contents:
            place = "in this batch" if index is None else f"entry {index}"
            raise Refused(Reason.DUPLICATE, f"the same statement is {place}")

    def _refuse_replay(self, message: Message, content: bytes) -> None:
        """A heartbeat sent twice is a repetition, not evidence against its chip."""
        if content in self._contents:
            raise Refused(Reason.DUPLICATE, "the same heartbeat is in this batch")
        subject = chip_subject(message.body.ueid)
        query = (
            select(entry_table.c.idx, entry_table.c.body)
            .join(link_table, link_table.c.idx == entry_table.c.idx)
            .where(link_table.c.subject == subject_key(*subject))
            .order_by(link_table.c.seq.desc())
            .limit(RECENT_ENTRIES)
        )
        for index, body in self.connection.execute(query):
            if body is not None and _same_content(body, message, content):
                raise Refused(Reason.DUPLICATE, f"the same heartbeat is entry {index}")

    def _receipt(self, message: Message, verdict: Verdict, index: int, leaf_hash: bytes) -> Receipt:
        lease = directive = None
        if message.kind is Kind.HEARTBEAT:
            chip = self.registry.chip(message.body.ueid)
            directive = directive_for(chip)
            if verdict.conflict is None:
                lease = self._lease(chip, leaf_hash)
        return Receipt(
            index,
            leaf_hash,
            self.received_ms,
            message.kind,
            verdict.conflict,
            verdict.detail,
            lease,
            directive,
        )

    def _lease(self, chip: Chip, leaf_hash: bytes) -> Lease | None:
        if chip.state is not ChipState.ACTIVE:
            return None
        policy = self.registry.policy
        seconds = DEFAULT_LEASE_S if policy is None else policy.lease_s
        return Lease(leaf_hash[:16], self.received_ms + seconds * MILLIS_PER_SECOND)


def document_number(kind: Kind, body: Any) -> int | None:
    """Number under which such a statement is found again; None for kinds that have none."""
    match kind:
        case Kind.GENESIS:
            return 0
        case Kind.POLICY | Kind.LANDMARK_DIRECTORY:
            return int(body.version)
        case Kind.EPOCH:
            return int(body.counter)
        case _:
            return None


def directive_for(chip: Chip) -> Directive | None:
    """The chip's latest decision."""
    if chip.decision_action is None:
        return None
    return Directive(chip.decision_sequence, chip.decision_action, chip.decision_digest)


def move_simulated_clock(engine: Engine, now_ms: int) -> None:
    """Store where a simulated clock stands, so that a restart goes on from there."""
    with writing(engine) as connection:
        update_head(connection, simulated_ms=now_ms)


def rewrite_head(engine: Engine) -> None:
    """The smallest write there is, to find out whether the database takes writes again."""
    with writing(engine) as connection:
        update_head(connection, id=1)


def _keep_simulated_time(connection: Connection, head: Head, received_ms: int) -> None:
    """A simulated clock never stands before an entry, not even while it is on its way."""
    if received_ms > head.simulated_ms:
        update_head(connection, simulated_ms=received_ms)


def _same_content(body: bytes, message: Message, content: bytes) -> bool:
    if body == message.token:
        return True
    if message.sign1.payload not in body:  # what a token says stands in it as it is
        return False
    try:
        return st.decode(body).content_digest == content
    except Refused:
        return False


def _envelope(token: bytes) -> cose.Sign1 | None:
    try:
        return cose.decode_sign1(token, max_size=MAX_HEARTBEAT_BYTES)
    except Refused:
        return None


def _refusal(candidate: Candidate) -> Refused:
    assert candidate.refusal is not None  # noqa: S101 - the caller looked
    return candidate.refusal


def _bad_signature() -> Refused:
    return Refused(Reason.SIGNATURE_INVALID, "the signature does not verify", field="signature")
