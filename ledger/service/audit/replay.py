"""Replaying a log: each entry by itself, then in its place, as far as its statement is to be seen.

``check`` feeds it what is stored, an auditor what a ledger serves. It reads nothing and writes
nothing; whoever feeds it compares what he has beside the entries (tables, tiles, checkpoints).
"""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Any

from ledger.appraisal.appraiser import LoggedEntry
from ledger.errors import Refused
from ledger.log.chain import Leaf, decode_leaf
from ledger.protocol import statements as st
from ledger.protocol.fields import MAX_SECONDS
from ledger.protocol.keys import verify_many
from ledger.protocol.statements import Kind, Message
from ledger.registry.apply import apply
from ledger.registry.judge import judge
from ledger.registry.records import Registry, Subject, Verdict
from ledger.service.audit.heads import MapCheck
from ledger.service.audit.report import FaultFound, Tally
from ledger.service.audit.verdicts import VerdictCheck
from ledger.values import MILLIS_PER_SECOND, ZERO_DIGEST, sha256, subject_key

CHUNK = 512
"""Entries whose signatures are handed to the executor together."""
AHEAD = 4
"""Chunks that may be under way there."""
_KINDS = frozenset(kind.value for kind in Kind)
WITHHELD = "it is withheld and cannot be checked"

Chains = dict[bytes, tuple[Subject | None, int, bytes]]
"""By subject key: who it is where that is known, how many entries, the newest's leaf hash."""


@dataclass(slots=True)
class Entry:
    """One entry, parsed; ``message`` is None where its statement is not to be seen.

    ``good`` is the signature's result where it was checked ahead, ``row`` is the caller's.
    """

    index: int
    leaf: Leaf
    leaf_hash: bytes
    message: Message | None
    row: Any = None
    good: bool | None = None


def read_leaf(index: int, data: bytes) -> Leaf:
    """A leaf in its form."""
    try:
        leaf = decode_leaf(data)
    except Refused as refusal:
        raise FaultFound(f"entry {index}, leaf", refusal.detail) from refusal
    if leaf.received_ms > MAX_SECONDS * MILLIS_PER_SECOND:
        raise FaultFound(f"entry {index}, leaf", "its time is in no calendar")
    return leaf


def read_statement(index: int, leaf: Leaf, body: bytes | None) -> Message:
    """The statement of which the leaf has the digest."""
    place = f"entry {index}, statement"
    if body is None:
        raise FaultFound(place, WITHHELD)
    if sha256(body) != leaf.statement_digest:
        raise FaultFound(place, "its bytes do not have the leaf's digest")
    try:
        return st.decode(body)
    except Refused as refusal:
        raise FaultFound(place, str(refusal)) from refusal


class Replay:
    """What the entries so far make: registry, chains, heads map, and the decisions that are due.

    Without ``verdicts`` some statements are not seen: then their entries' chains are followed, and
    every other statement is still checked.
    """

    def __init__(
        self,
        tally: Tally,
        verdicts: VerdictCheck | None,
        *,
        registry: Registry | None = None,
        heads: MapCheck | None = None,
        chains: Chains | None = None,
        received_ms: int = 0,
    ) -> None:
        """All as of the same entry; nothing but ``verdicts`` is a replay from the first one."""
        self.tally = tally
        self.verdicts = verdicts
        self.registry = registry or Registry()
        self.heads = heads or MapCheck()
        self.chains: Chains = {} if chains is None else chains
        self.received_ms = received_ms
        self._keys: dict[Subject, bytes] = {}

    def add(self, entry: Entry) -> Verdict | None:
        """Take the next entry; what had to be decided on it, None where it is not seen.

        The caller counts it once he has compared what he has beside it.

        In this order: signature, time, that admission had to decide as it did, chains, the
        verifier's decision if it is one, heads map if it is an index-root. Raises FaultFound.
        """
        message = entry.message
        if message is None:
            if self.verdicts is not None:
                raise FaultFound(f"entry {entry.index}, statement", WITHHELD)
            self._check_time(entry)
            self._check_unseen(entry)
        else:
            self._check_signature(entry, message)
            self._check_time(entry)
            verdict = self._judge(entry, message)
            self._check_links(entry, verdict.subjects)
            self._take(entry, message, verdict)
        return None if message is None else verdict

    def signed(self, chunk: Iterable[Entry]) -> list[tuple[int, bytes, bytes, bytes]]:
        """Rows for ``verify_many``, one for each entry whose ``good`` is now False until then.

        Heartbeats of known chips: what else there is may be signed with a key that an entry
        registers that is not applied yet.
        """
        items = []
        for entry in chunk:
            message = entry.message
            if message is None or message.kind is not Kind.HEARTBEAT:
                continue
            owner = self.registry.find_owner(message.kid)
            if owner is None:
                continue
            items.append((int(owner.key.alg), owner.key.raw, message.tbs, message.sign1.signature))
            entry.good = False
        return items

    # -- one entry --------------------------------------------------------------------------

    def _check_signature(self, entry: Entry, message: Message) -> None:
        place = f"entry {entry.index}, statement"
        try:
            key = self.registry.key_for(message)
            if entry.good is None:
                message.verify(key)
            elif not entry.good:
                raise FaultFound(place, "the signature does not verify")
        except Refused as refusal:
            raise FaultFound(place, refusal.detail) from refusal
        self.tally.signatures += 1

    def _check_time(self, entry: Entry) -> None:
        if entry.leaf.received_ms < self.received_ms:
            raise FaultFound(f"entry {entry.index}", "it was received before the entry before it")
        self.received_ms = entry.leaf.received_ms

    def _judge(self, entry: Entry, message: Message) -> Verdict:
        place = f"entry {entry.index}"
        try:
            verdict = judge(self.registry, message, entry.leaf.received_ms)
        except Refused as refusal:
            raise FaultFound(place, f"it had to be refused: {refusal}") from refusal
        kind = Kind.CONFLICT if verdict.conflict else message.kind
        if entry.leaf.kind != kind.value:
            raise FaultFound(place, f"it is filed as {entry.leaf.kind} and is a {kind.value}")
        return verdict

    def _check_links(self, entry: Entry, subjects: tuple[Subject, ...]) -> None:
        place = f"entry {entry.index}"
        if len(entry.leaf.links) != len(subjects):
            raise FaultFound(place, "its leaf names another number of subjects")
        for subject, link in zip(subjects, entry.leaf.links, strict=True):
            key = self._keys.setdefault(subject, b"") or subject_key(*subject)
            self._keys[subject] = key
            _, count, head = self.chains.get(key, (subject, 0, ZERO_DIGEST))
            if (link.subject, link.seq, link.prev) != (key, count, head):
                raise FaultFound(place, f"it does not continue the chain of its {subject[0].value}")
            self._extend(entry, key, subject, count + 1)

    def _check_unseen(self, entry: Entry) -> None:
        place, leaf = f"entry {entry.index}", entry.leaf
        if leaf.kind not in _KINDS:
            raise FaultFound(place, "there is no such kind of statement")
        if not leaf.links:
            raise FaultFound(place, "its leaf names another number of subjects")
        for link in leaf.links:
            subject, count, head = self.chains.get(link.subject, (None, 0, ZERO_DIGEST))
            if (link.seq, link.prev) != (count, head):
                raise FaultFound(place, "it does not continue the chain of a subject")
            self._extend(entry, link.subject, subject, count + 1)

    def _extend(self, entry: Entry, key: bytes, subject: Subject | None, count: int) -> None:
        self.chains[key] = (subject, count, entry.leaf_hash)
        self.heads.add(key, count, entry.leaf_hash)

    def _take(self, entry: Entry, message: Message, verdict: Verdict) -> None:
        conflict = verdict.conflict is not None
        logged = LoggedEntry(
            entry.index, entry.leaf_hash, entry.leaf.received_ms, message, conflict
        )
        if self.verdicts is not None:
            self.verdicts.before(logged, self.registry)
        apply(self.registry, message, verdict, entry.leaf.received_ms)
        if message.kind is Kind.GENESIS:
            self.heads.found(message.body)
            self.tally.origin = message.body.origin
            self.tally.genesis = message.digest.hex()
        if message.kind is Kind.INDEX_ROOT and not conflict:
            self.heads.index_root(entry.index, message.body)
        if self.verdicts is not None:
            self.verdicts.after(logged)
        self.tally.conflicts += conflict


def require_index_root(replay: Replay, last: Entry) -> None:
    """Each checkpoint ends with an index-root (those from before the heads map had none)."""
    if replay.heads.count and last.leaf.kind != Kind.INDEX_ROOT:
        raise FaultFound(f"checkpoint {last.index + 1}", "it does not end with an index-root")


def verified_ahead(
    chunks: Iterable[list[Entry]], replay: Replay, executor: Executor | None
) -> Iterator[Entry]:
    """Entries in order; the signatures of some chunks are under way ahead.

    What goes wrong in reading is raised once all before it has been taken: the first fault is the
    one to name.
    """
    under_way: deque[tuple[list[Entry], Future[list[bool]] | None]] = deque()
    source, failure = iter(chunks), None
    while failure is None:
        try:
            chunk = next(source)
        except StopIteration:
            break
        except Exception as error:
            failure = error
        else:
            future = None
            if executor is not None:
                future = executor.submit(verify_many, replay.signed(chunk))
            under_way.append((chunk, future))
            if len(under_way) > AHEAD:
                yield from _settled(*under_way.popleft())
    while under_way:
        yield from _settled(*under_way.popleft())
    if failure is not None:
        raise failure


def _settled(chunk: list[Entry], future: "Future[list[bool]] | None") -> Iterator[Entry]:
    if future is not None:
        results = iter(future.result())
        for entry in chunk:
            if entry.good is not None:
                entry.good = next(results)
    return iter(chunk)
