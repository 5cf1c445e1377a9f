"""One pass over a bundle's entries: leaves made again, chains followed, signatures queued."""

from concurrent.futures import Executor, Future
from functools import lru_cache
from hashlib import sha256
from typing import Any

from ledger.appraisal.places import Places
from ledger.bundle.findings import Event, Fault, Findings
from ledger.bundle.format import MAX_MILLIS, MAX_NUMBER, Bundle, Entry, Own, decode_piece, entry
from ledger.bundle.leaves import ChainWalk, hash_leaf, leaf_start, own_leaf
from ledger.bundle.replay import CUSTODY, Replay, Taken
from ledger.bundle.twins import Twins
from ledger.errors import Reason, Refused
from ledger.log.chain import Link, encode_leaf
from ledger.protocol import statements as st
from ledger.protocol.keys import Algorithm, PublicKey, verify_many
from ledger.protocol.statements import Kind, Message
from ledger.registry.records import Verdict
from ledger.values import SubjectKind, subject_key

SIGNATURES = 256
"""Signatures checked at a time."""
CHIP, AUTHORITY = 0, 1
"""Numbers of the two chains that every bundle shows whole."""

_REGISTRATIONS = (Kind.GENESIS, Kind.PARTY, Kind.LICENCE)
"""The first entries of their subjects: a later one would be a second key or licence of the name."""
_HEARTBEAT, _EPOCH = Kind.HEARTBEAT.value, Kind.EPOCH.value
_HEARTBEAT_LEAF, _EPOCH_LEAF = leaf_start(_HEARTBEAT), leaf_start(_EPOCH)
_key_of = lru_cache(maxsize=4_096)(subject_key)
Queued = tuple[PublicKey, bytes, bytes]


class Walk:
    """State of the pass. ``structure`` and ``meaning`` collect what it finds."""

    def __init__(
        self,
        bundle: Bundle,
        places: Places | None,
        executor: Executor | None,
        receipts: frozenset[bytes],
    ) -> None:
        self.ueid = bundle.head.ueid
        self.structure, self.meaning = Findings(), Findings()
        self.replay = Replay(self.ueid, places, self.meaning)
        self.chains = [ChainWalk(*chain) for chain in bundle.head.chains]
        self.genesis: st.Genesis | None = None
        self.genesis_digest = b""
        self.included: dict[int, bytes] = {}
        """Leaf hashes, by index, that the log's proof has to show."""
        self.root_entry: Entry | None = None
        self.root_message: Message | None = None
        self.life: list[Event] = []
        self.withheld: dict[str, int] = {}
        self.signatures = self.unchecked = 0
        self.owed = set(receipts)
        self._twins = Twins()
        self._known_key: PublicKey | None = None
        self._ledger: int | None = None
        """Number of the chain of epochs."""
        for number, chain in enumerate(self.chains):
            if (chain.kind, chain.ident) == (SubjectKind.PARTY, st.LEDGER_PARTY.encode()):
                self._ledger = number
        self._whole = {chain.key for chain in self.chains if chain.whole}
        self._bundle = bundle
        self._executor = executor
        self._queue: list[Queued] = []
        self._queued: list[int] = []
        self._checks: list[tuple[list[int], Future[list[bool]]]] = []
        self._index = self._received_ms = -1
        self._last: Taken | None = None
        self._counter = 0
        self.backwards = False
        """Whether the chip's own counter goes back among its accepted heartbeats."""

    def run(self, grace_ms: int) -> None:
        """Read every entry. Raises Refused where the bundle is not in its form."""
        for piece in self._bundle.pieces:
            for row in decode_piece(piece):
                if not self._take_quickly(row):
                    self.take(entry(row))
        self._finish(grace_ms)

    # -- entries like those before -------------------------------------------------------------

    def _take_quickly(self, row: Any) -> bool:
        """Take an entry that most are like: the chip's next heartbeat, the ledger's next epoch.

        False: nothing was changed, and ``take`` looks at everything. What this takes, that would
        take too, and to the same effect.
        """
        if type(row) is not list or len(row) != 5:
            return False
        index, received_ms, kind, links, token = row
        if (
            type(index) is not int
            or type(received_ms) is not int
            or type(links) is not list
            or type(token) is not bytes
            or not self._index < index <= MAX_NUMBER
            or not self._received_ms <= received_ms <= MAX_MILLIS
        ):
            return False
        try:
            if kind == _HEARTBEAT:
                return self._take_heartbeat(index, received_ms, links, token)
            if kind == _EPOCH:
                return self._take_epoch(index, received_ms, links, token)
        except Refused:
            return False
        return False

    def _take_heartbeat(self, index: int, received_ms: int, links: list[Any], token: bytes) -> bool:
        chain, key = self.chains[CHIP], self._chip_key()
        if key is None or not _is_next(links, CHIP, chain):
            return False
        report = self._twins.heartbeat(token)
        body = report.body
        if body.ueid != self.ueid or not _fits(report.kid, report.alg_id, key):
            return False
        link = chain.key, chain.count, chain.head
        leaf_hash = hash_leaf(own_leaf(_HEARTBEAT_LEAF, received_ms, link, report.digest))
        if not self.replay.take_steady(report, leaf_hash, index, received_ms):
            return False
        self.life.append(Event(index, chain.count, received_ms, _HEARTBEAT, "chip", body))
        self._counter = body.counter
        self._advance(chain, index, received_ms, leaf_hash)
        self._queue_check(key, report.tbs, report.signature, index)
        return True

    def _take_epoch(self, index: int, received_ms: int, links: list[Any], token: bytes) -> bool:
        number = self._ledger
        if number is None or not _is_next(links, number, self.chains[number]):
            return False
        kid, body = self._twins.epoch(token)
        if not self.replay.take_epoch(kid, body, received_ms):
            return False
        chain = self.chains[number]
        link = chain.key, chain.count, chain.head
        leaf = own_leaf(_EPOCH_LEAF, received_ms, link, sha256(token).digest())
        self._advance(chain, index, received_ms, hash_leaf(leaf))
        return True

    def _chip_key(self) -> PublicKey | None:
        if self._known_key is None:
            chip = self.replay.registry.find_chip(self.ueid)
            self._known_key = None if chip is None else chip.key
        return self._known_key

    def _advance(self, chain: ChainWalk, index: int, received_ms: int, leaf_hash: bytes) -> None:
        chain.count += 1
        chain.head = leaf_hash
        chain.last_index = self._index = index
        self._received_ms = received_ms
        if self.owed:
            self.owed.discard(leaf_hash)

    # -- entries -----------------------------------------------------------------------------

    def take(self, item: Entry) -> None:
        """The next entry."""
        if self.root_entry is not None:
            raise _malformed("nothing follows the index-root")
        if self.genesis is None:
            self._require_genesis(item)
        self._check_order(item)
        links, own = self._resolve(item)
        leaf_hash = hash_leaf(_leaf(item, links))
        for link in own:
            self.chains[link.chain].advance(link.seq, item.index, leaf_hash)
        message = self._decode(item)
        taken = Taken(item.index, item.received_ms, item.kind, leaf_hash, message)
        if not own:
            self._take_root(item, taken)
            return
        if item.index == 0:
            self.included[0] = leaf_hash
        self.owed.discard(leaf_hash)
        self._read(item, taken, links, own)

    def _read(self, item: Entry, taken: Taken, links: list[Link], own: list[Own]) -> None:
        message = taken.message
        ours = next((link.seq for link in own if link.chain == CHIP), None)
        if message is None:
            if item.body is None:
                self.withheld[item.kind] = self.withheld.get(item.kind, 0) + 1
            self.replay.take(taken)
            if ours is not None:
                self._tell(item, ours, None, None, Verdict(()))
            return
        if ours is not None and not self._concerns(message, item.kind):
            detail = "it is filed under the chip and speaks of another"
            self.structure.add(Fault.INSERTED, detail, item.index)
            return
        signer = None if message.kind is Kind.HEARTBEAT else self._signer(message)
        self._queue_signature(taken)
        verdict, subjects = self.replay.take(taken)
        if subjects is not None and [_key_of(*s) for s in subjects] != [link[0] for link in links]:
            detail = "it is filed under other subjects than it names"
            self.meaning.add(Fault.UNFOUNDED, detail, item.index)
        if subjects and message.kind in _REGISTRATIONS and links[0].seq:
            detail = "it registers what was registered before"
            self.meaning.add(Fault.SWAPPED_KEY, detail, item.index)
        if message.kind is Kind.GENESIS and self.genesis is None:
            self.genesis, self.genesis_digest = message.body, message.digest
            self._require_authority()
        if ours is not None:
            self._tell(item, ours, message, signer or self._signer(message), verdict)

    def _tell(
        self, item: Entry, seq: int, message: Message | None, signer: str | None, verdict: Verdict
    ) -> None:
        body = None if message is None else message.body
        if message is not None and item.kind == Kind.HEARTBEAT:
            self.backwards |= message.body.counter <= self._counter
            self._counter = message.body.counter
        conflict = None if verdict.conflict is None else verdict.conflict.value
        event = Event(
            item.index, seq, item.received_ms, item.kind, signer, body, conflict, verdict.detail
        )
        self.life.append(event)

    def _decode(self, item: Entry) -> Message | None:
        if item.body is None:
            return None
        try:
            message = st.decode(item.body)
        except Refused as refusal:
            detail = f"admission had to refuse its statement: {refusal.detail}"
            self.meaning.add(Fault.UNFOUNDED, detail, item.index)
            return None
        if item.kind not in (message.kind, Kind.CONFLICT):
            detail = f"it is filed as {item.kind} and is a {message.kind}"
            self.meaning.add(Fault.UNFOUNDED, detail, item.index)
            return None
        return message

    def _check_order(self, item: Entry) -> None:
        if item.index <= self._index:
            detail = f"it stands behind entry {self._index}"
            self.structure.add(Fault.REORDERED, detail, item.index)
        elif item.received_ms < self._received_ms:
            detail = "it came before the entry in front of it"
            self.structure.add(Fault.REORDERED, detail, item.index)
        self._index, self._received_ms = item.index, item.received_ms

    def _resolve(self, item: Entry) -> tuple[list[Link], list[Own]]:
        """The links as they stand in the leaf, and those into chains of the bundle."""
        links: list[Link] = []
        own: list[Own] = []
        for link in item.links:
            if isinstance(link, Own):
                if link.chain >= len(self.chains):
                    raise _malformed("a link names a chain that there is not")
                chain = self.chains[link.chain]
                own.append(link)
                links.append(Link(chain.key, link.seq, chain.head))
            else:
                if link.subject in self._whole:
                    raise _malformed("an entry of a whole chain has its place in it")
                links.append(Link(*link))
        if len({link.subject for link in links}) != len(links):
            raise _malformed("an entry names each subject once")
        return links, own

    def _concerns(self, message: Message, kind: str) -> bool:
        body: Any = message.body
        if message.kind in CUSTODY:
            return self.ueid in body.chips
        if message.kind is Kind.BIRTH and kind == Kind.CONFLICT:
            return True  # somebody tried to register this chip's key for another
        return bool(getattr(body, "ueid", None) == self.ueid)

    # -- the first and the last entry --------------------------------------------------------

    def _require_genesis(self, item: Entry) -> None:
        if item.index != 0 or item.kind != Kind.GENESIS or item.body is None:
            raise _malformed("the first entry is the genesis")

    def _require_authority(self) -> None:
        assert self.genesis is not None  # noqa: S101 - just set
        chip, authority = self.chains[CHIP], self.chains[AUTHORITY]
        if (chip.kind, chip.ident) != (SubjectKind.CHIP, self.ueid) or not chip.whole:
            raise _malformed("chain 0 is the chip's, whole")
        ident = (SubjectKind.PARTY, self.genesis.authority.id.encode())
        if (authority.kind, authority.ident) != ident or not authority.whole:
            raise _malformed("chain 1 is the authority's, whole")

    def _take_root(self, item: Entry, taken: Taken) -> None:
        message = taken.message
        if item.kind != Kind.INDEX_ROOT or message is None or item.links:
            raise _malformed("every entry but the index-root is of a chain that is shown")
        self.included[item.index] = taken.leaf_hash
        self.root_entry, self.root_message, self._last = item, message, taken
        self._queue_signature(taken)

    def _finish(self, grace_ms: int) -> None:
        if self.root_entry is None or self._last is None:
            raise _malformed("the last entry is the index-root")
        if self.genesis is None:
            raise _malformed("the first entry is a genesis that can be read")
        for chain in self.chains:
            if chain.last_index >= 0 and not chain.whole:
                self.included[chain.last_index] = chain.head
            elif chain.last_index < 0 and not chain.whole:
                raise _malformed("a chain that is not whole shows an entry at least")
        self._flush()
        self.replay.judge_root(self._last)
        self.replay.finish(self._last, grace_ms)
        self._collect()

    # -- signatures --------------------------------------------------------------------------

    def _queue_signature(self, taken: Taken) -> None:
        message = taken.message
        assert message is not None  # noqa: S101 - the caller looked
        key = self.replay.key_for(taken)
        if key is None:
            self.unchecked += 1
            return
        if message.kind is Kind.EPOCH:
            # The ledger's own word, by the key whose checkpoint commits to its digest.
            return
        sign1 = message.sign1
        if _fits(sign1.kid, sign1.alg_id, key):
            self._queue_check(key, message.tbs, sign1.signature, taken.index)
        else:
            detail = "its signature is of another kind than its signer's key"
            self.meaning.add(Fault.BAD_SIGNATURE, detail, taken.index)

    def _queue_check(self, key: PublicKey, tbs: bytes, signature: bytes, index: int) -> None:
        """Have a signature checked, together with others: the processor's caches stay warm."""
        self._queue.append((key, tbs, signature))
        self._queued.append(index)
        if len(self._queue) >= SIGNATURES:
            self._flush()

    def _judge_signature(self, good: bool, index: int) -> None:
        if good:
            self.signatures += 1
        else:
            detail = "the signature of its statement does not verify"
            self.meaning.add(Fault.BAD_SIGNATURE, detail, index)

    def _flush(self) -> None:
        queue, queued = self._queue, self._queued
        self._queue, self._queued = [], []
        if not queue:
            return
        if self._executor is None:
            for index, (key, tbs, signature) in zip(queued, queue, strict=True):
                self._judge_signature(key.verify(tbs, signature), index)
        else:
            rows = [(int(key.alg), key.raw, tbs, signature) for key, tbs, signature in queue]
            self._checks.append((queued, self._executor.submit(verify_many, rows)))

    def _collect(self) -> None:
        for indices, check in self._checks:
            for index, good in zip(indices, check.result(), strict=True):
                self._judge_signature(good, index)

    def _signer(self, message: Message) -> str | None:
        if message.kind is Kind.HEARTBEAT:
            return "chip"
        owner = self.replay.registry.find_owner(message.kid)
        return None if owner is None else owner.ident.decode("ascii", "replace")


def _is_next(links: list[Any], number: int, chain: ChainWalk) -> bool:
    """Whether an entry has one link, to the next place of this chain."""
    # True equals 1 and 1.0 does too, but neither is a place.
    return (
        links == [[number, chain.count]]
        and type(links[0][0]) is int
        and type(links[0][1]) is int
        and not chain.irregular
    )


def _fits(kid: bytes, alg_id: int, key: PublicKey) -> bool:
    """Whether algorithm and key id are the key's."""
    return kid == key.kid and Algorithm.from_wire(alg_id) is key.alg


def _leaf(item: Entry, links: list[Link]) -> bytes:
    if len(links) == 1:
        return own_leaf(leaf_start(item.kind), item.received_ms, links[0], item.digest)
    return encode_leaf(item.kind, item.received_ms, tuple(links), item.digest)


def _malformed(detail: str) -> Refused:
    return Refused(Reason.BUNDLE_MALFORMED, detail, field="entries")
