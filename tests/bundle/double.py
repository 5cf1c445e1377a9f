"""A ledger in memory that makes bundles, and that can be told to lie.

It does what a real one does (admission, chains, verifier, index-root, checkpoint, witnesses), with
the product's own parts. Tests change what it shows, or what it commits to.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

from ledger.appraisal.appraiser import Appraiser, LoggedEntry
from ledger.bundle.build import Chain, Stored, Trees, build
from ledger.bundle.findings import Report
from ledger.bundle.format import Bundle
from ledger.bundle.verify import verify
from ledger.log.chain import Link, encode_leaf
from ledger.log.checkpoint import Checkpoint, sign_checkpoint
from ledger.log.cosignature import Cosigner, add_signatures
from ledger.log.headsmap import Row, bucket_of, encode_bucket
from ledger.log.merkle import leaf_hash, leaf_nodes, root_from_leaves
from ledger.log.note import NoteSigner
from ledger.log.quorum import TrustPolicy
from ledger.log.vkey import Vkey
from ledger.protocol import statements as st
from ledger.protocol.keys import Ed25519Signer
from ledger.protocol.statements import Kind
from ledger.registry.judge import contradiction
from ledger.registry.records import Registry, Subject, party_subject
from ledger.values import ZERO_DIGEST, SubjectKind, subject_key
from tests.appraisal.bench import places
from tests.registry.bench import HOUR_MS, LEDGER, PARTIES, VERIFIER
from tests.world import Chip, World, signer

ORIGIN = "test.example/ledger"
BITS = 8
WITNESSES = tuple(Cosigner(f"witness.example/w{n}", signer(f"witness {n}")) for n in range(3))


@dataclass
class Double:
    """``put`` files tokens; ``show`` gives the bundle of a chip under a fresh checkpoint."""

    world: World = field(default_factory=World)
    verifier: Appraiser = field(default_factory=lambda: Appraiser(Registry(), places))
    log: list[Stored] = field(default_factory=list)
    chains: dict[bytes, list[Stored]] = field(default_factory=dict)
    epoch: bytes = b""
    hides: tuple[str, ...] = ()
    """Actions of the verifier that never reach the log."""
    drafts: list[st.Decision] = field(default_factory=list)
    key: Ed25519Signer = LEDGER
    notes: list[bytes] = field(default_factory=list)

    @property
    def registry(self) -> Registry:
        return self.verifier.registry

    @property
    def now_ms(self) -> int:
        return self.world.now_ms

    # -- taking ------------------------------------------------------------------------------

    def put(self, *tokens: bytes) -> None:
        """File statements as admission says."""
        for token in tokens:
            message = st.decode(token)
            verdict = contradiction(self.registry, message, self.now_ms)
            kind = Kind.CONFLICT if verdict.conflict else message.kind
            self.file(token, kind, verdict.subjects)

    def file(self, token: bytes, kind: str, subjects: Sequence[Subject]) -> Stored:
        """Append an entry, whatever it is, and let the verifier read it."""
        message = st.decode(token)
        stored = self.append(token, kind, subjects)
        entry = LoggedEntry(
            stored.index, leaf_hash(stored.leaf), self.now_ms, message, kind == Kind.CONFLICT
        )
        for draft in self.verifier.feed(entry):
            if draft.action in self.hides:
                self.drafts.append(draft)
            else:
                self.put(st.sign(draft, VERIFIER))
        return stored

    def append(self, token: bytes, kind: str, subjects: Sequence[Subject]) -> Stored:
        """Append an entry that nobody reads."""
        keys = [subject_key(*subject) for subject in subjects]
        links = tuple(Link(key, *self.head(key)) for key in keys)
        leaf = encode_leaf(kind, self.now_ms, links, sha256(token).digest())
        stored = Stored(len(self.log), leaf, token)
        self.log.append(stored)
        for key in keys:
            self.chains.setdefault(key, []).append(stored)
        return stored

    def fill(self, key: bytes) -> None:
        """An entry of some other subject; its statement does not matter here."""
        link = Link(key, *self.head(key))
        leaf = encode_leaf("heartbeat", self.now_ms, (link,), ZERO_DIGEST)
        stored = Stored(len(self.log), leaf, None)
        self.log.append(stored)
        self.chains.setdefault(key, []).append(stored)

    def head(self, key: bytes) -> tuple[int, bytes]:
        """Count and newest leaf hash of a chain."""
        chain = self.chains.get(key, [])
        return len(chain), leaf_hash(chain[-1].leaf) if chain else ZERO_DIGEST

    def tick(self, hours: float = 1) -> None:
        """Let time pass and open the next epoch."""
        self.world.now_ms += int(hours * HOUR_MS)
        last = self.registry.epoch
        counter = 0 if last is None else last.counter + 1
        self.epoch = sha256(b"epoch %d" % counter).digest()[:16]
        body = st.Epoch(
            iat=self.world.iat,
            id=self.epoch,
            counter=counter,
            not_before_ms=self.now_ms,
            not_after_ms=self.now_ms + HOUR_MS,
        )
        self.put(st.sign(body, self.key))

    def beat(self, chip: Chip, **changes: Any) -> None:
        """The chip's next heartbeat, an hour later."""
        self.tick()
        self.put(chip.heartbeat(self.epoch, self.now_ms, **changes))

    def release(self, chip: Chip) -> None:
        """An officer lets it go."""
        record = self.registry.chip(chip.ueid)
        self.put(self.world.release(chip, record.decision_sequence + 1, record.decision_digest))

    # -- showing -----------------------------------------------------------------------------

    def rows(self) -> dict[bytes, tuple[int, bytes]]:
        """The heads map as it should be."""
        return {key: self.head(key) for key in self.chains}

    def publish(self, rows: dict[bytes, tuple[int, bytes]] | None = None, **changes: Any) -> None:
        """Append an index-root over ``rows`` and sign a checkpoint."""
        self.map = self.rows() if rows is None else rows
        body = st.IndexRoot(
            iat=self.world.iat,
            size=len(self.log),
            root=root_from_leaves([leaf_hash(b) for b in self.buckets()]),
            bucket_bits=BITS,
        )
        token = st.sign(body.model_copy(update=changes), self.key)
        self.root_entry = self.append(token, Kind.INDEX_ROOT, [])
        self.sign()

    def sign(self) -> None:
        """Sign a checkpoint of the log as it is."""
        hashes = [leaf_hash(stored.leaf) for stored in self.log]
        checkpoint = Checkpoint(ORIGIN, len(self.log), root_from_leaves(hashes))
        note = sign_checkpoint(checkpoint, [NoteSigner(ORIGIN, self.key)])
        text = checkpoint.encode()
        lines = [cosigner.cosign(text, self.world.iat) for cosigner in WITNESSES]
        self.notes.append(add_signatures(note, lines))

    def buckets(self) -> list[bytes]:
        """Contents of all buckets."""
        found: list[list[Row]] = [[] for _ in range(1 << BITS)]
        for key, (count, head) in self.map.items():
            found[bucket_of(key, BITS)].append(Row(key, count, head))
        return [encode_bucket(rows) for rows in found]

    def trees(self) -> Trees:
        """What the newest checkpoint is over."""
        buckets = self.buckets()
        return Trees(
            len(self.log),
            leaf_nodes([leaf_hash(stored.leaf) for stored in self.log]),
            BITS,
            lambda numbers: [buckets[number] for number in numbers],
            leaf_nodes([leaf_hash(bucket) for bucket in buckets]),
        )

    def bundle(self, ueid: bytes, since: Sequence[int] = (), **shown: Any) -> Bundle:
        """The bundle under the newest checkpoint; ``shown`` replaces what it is made of."""
        chip = self.chain(SubjectKind.CHIP, ueid, whole=True)
        chains = [chip, self.chain(SubjectKind.PARTY, b"authority", whole=True)]
        if chip.entries:
            for name in ("maker", "holder", "reseller"):
                chains.append(self.registration(SubjectKind.PARTY, name.encode()))
            chains.append(self.registration(SubjectKind.LICENCE, b"L-1"))
            chains.append(self.chain(SubjectKind.PARTY, b"ledger", whole=False))
        chains = shown.pop("chains", lambda made: made)(chains)
        return build(ueid, self.notes[-1], chains, self.root_entry, self.trees(), since)

    def chain(self, kind: SubjectKind, ident: bytes, *, whole: bool) -> Chain:
        """A subject's entries."""
        return Chain(kind, ident, whole, list(self.chains.get(subject_key(kind, ident), [])))

    def registration(self, kind: SubjectKind, ident: bytes) -> Chain:
        """A subject's first entry."""
        chain = self.chain(kind, ident, whole=False)
        return replace(chain, entries=chain.entries[:1])

    def show(self, chip: Chip | bytes, **shown: Any) -> bytes:
        """Publish, and the chip's bundle as a file."""
        self.publish()
        return self.bundle(chip if isinstance(chip, bytes) else chip.ueid, **shown).encode()


def founded(**policy: Any) -> Double:
    """A ledger with parties, policy, licence and an epoch."""
    made = Double()
    world = made.world
    made.put(
        world.genesis(LEDGER.public.to_cose_key(), VERIFIER.public.to_cose_key(), bucket_bits=BITS)
    )
    made.put(*world.parties(), *(party(world, *row) for row in PARTIES[:2]))
    made.put(world.policy(**policy), world.licence())
    made.tick()
    return made


def party(world: World, name: str, roles: list[str], country: str) -> bytes:
    """A party whose key derives from its id."""
    body = st.PartyStatement(
        iat=world.iat,
        id=name,
        name=name.title(),
        roles=roles,  # type: ignore[arg-type]
        country=country,
        key=signer(name).public.to_cose_key(),
    )
    return st.sign(body, world.authority)


def installed(made: Double, *numbers: int) -> list[Chip]:
    """Chips in service with the holder, in Frankfurt under L-1, shipped together."""
    world = made.world
    chips = [world.chip(number) for number in numbers or (1,)]
    made.put(*(world.birth(chip) for chip in chips))
    made.put(world.ship(*chips), world.receive(*chips), world.install(*chips))
    return chips


def trust(*names: str, quorum: str = "2", logs: Sequence[Vkey] | None = None) -> TrustPolicy:
    """A policy that trusts the test's ledger and two of its three witnesses."""
    keys = [NoteSigner(ORIGIN, LEDGER).vkey] if logs is None else logs
    lines = [f"log {key.encode()}" for key in keys]
    lines += [f"witness w{n} {w.vkey.encode()}" for n, w in enumerate(WITNESSES)]
    lines += [f"group g {quorum} w0 w1 w2", "quorum g"]
    return TrustPolicy.parse(("\n".join(lines) + "\n").encode())


def check(data: bytes, now_ms: int, **options: Any) -> Report:
    """Verify with the test's policy and borders unless told otherwise."""
    options = {"trust": trust(), "places": places, "now_ms": now_ms} | options
    return verify(data, **options)


LEDGER_SUBJECT = party_subject("ledger")
