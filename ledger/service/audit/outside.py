"""An auditor: replays a ledger from outside, and remembers how far it has come.

What it has derived of a prefix of the log is written down as one transaction, and only once that
prefix is proved to belong to the checkpoint that is being audited. So an audit that is interrupted
goes on from there, a later one reads only what is new, and a ledger that takes something back is
found out. A cosignature is made only where every statement was seen and all of it matches; it is
stored before anybody sees it.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path

from ledger.appraisal.appraiser import Appraiser
from ledger.appraisal.places import cached_places
from ledger.errors import ConfigurationError, IntegrityError, Refused
from ledger.geo.borders import Borders
from ledger.log.chain import leaf_hash
from ledger.log.checkpoint import Checkpoint, open_checkpoint
from ledger.log.headsmap_update import MapUpdate
from ledger.log.note import NoteVerifier, parse_note
from ledger.log.proofs import consistency_proof, tree_root, verify_consistency
from ledger.log.quorum import Endorsement, evaluate
from ledger.log.tiles import TILE_WIDTH, Tile, grow, partial_tiles, tile_nodes
from ledger.log.trust import TrustPolicy
from ledger.log.vkey import ED25519, Vkey
from ledger.protocol.keys import PublicKey
from ledger.registry.records import Chip
from ledger.service.audit.folder import AuditFolder
from ledger.service.audit.heads import MapCheck
from ledger.service.audit.replay import (
    WITHHELD,
    Chains,
    Entry,
    Replay,
    read_leaf,
    read_statement,
    require_index_root,
    verified_ahead,
)
from ledger.service.audit.report import Fault, FaultFound, Tally
from ledger.service.audit.served import Part, ServedTiles, Source, fetch_parts
from ledger.service.audit.tree import require_tile
from ledger.service.audit.verdicts import Due, VerdictCheck
from ledger.service.clock import Clock
from ledger.service.sequence import document_number
from ledger.service.viewer import PUBLIC_KINDS
from ledger.store.audit_rows import (
    About,
    Change,
    Document,
    Kept,
    read_audit,
    save_audit,
)
from ledger.store.engine import reading, writing
from ledger.values import MILLIS_PER_HOUR, MILLIS_PER_SECOND

BATCH = 4_096
"""Entries between two commits: what an interrupted audit reads again at most. Whole tiles."""
OVERDUE_MS = MILLIS_PER_HOUR
"""A decision stands on the log within an hour of the ledger's time of the entry that made it due,
or is missing. The verifier takes seconds; it may have been restarted."""
FUTURE_S = 60
"""How far in the auditor's future a witness's cosignature may lie and still count."""

ALL, PUBLIC = "all", "public"
"""Which statements are seen; it is not known before the first that the public does not see."""
_PUBLIC = frozenset(kind.value for kind in PUBLIC_KINDS)

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class AuditSettings:
    """``trust`` says which log keys count; ``clock`` is the world's.

    ``has_token``: whoever asks believes to see every statement. ``verifying`` and ``fetching``:
    where signatures are checked and answers fetched, here and one by one without.
    """

    trust: TrustPolicy
    clock: Clock
    has_token: bool = False
    verifying: Executor | None = None
    fetching: Executor | None = None
    borders: Path | None = None


@dataclass(slots=True)
class AuditReport(Tally):
    """What was established of the log up to ``size``; counts are those of all audits of it."""

    size: int = 0
    """Of the checkpoint."""
    first: int = 0
    """The first entry that this audit read; those before it were audited earlier."""
    map_roots: int = 0
    tiles: int = 0
    chips: int = 0
    unseen: int = 0
    """Statements that were not shown; their entries' leaves and chains were checked."""
    waiting: int = 0
    """Decisions that are due, and had not come when the checkpoint was made."""
    root: str | None = None
    quorum_met: bool = False
    vkey: str | None = None
    cosigned: bool = False
    faults: list[Fault] = field(default_factory=list)

    @property
    def matches(self) -> bool:
        """Nothing was found."""
        return not self.faults


def audit(
    folder: AuditFolder, source: Source, settings: AuditSettings, progress: Progress | None = None
) -> AuditReport:
    """Audit up to the ledger's newest checkpoint; ``progress`` is told (entries done, all).

    The report names the first fault. Raises what the source raises where it does not answer,
    ConfigurationError where the ledger is another one or shows less than it did.
    """
    report = AuditReport()
    try:
        _Audit(folder, source, settings, report, progress).run()
    except FaultFound as found:
        report.faults.append(found.fault)
    except Refused as refusal:
        report.faults.append(Fault(f"after {report.entries} entries", refusal.detail))
    return report


class _Audit:
    """One run."""

    def __init__(
        self,
        folder: AuditFolder,
        source: Source,
        settings: AuditSettings,
        report: AuditReport,
        progress: Progress | None,
    ) -> None:
        self._folder = folder
        self._settings = settings
        self._source = source
        self._report = report
        self._progress = progress
        self._served = ServedTiles(source)
        self._parts: dict[int, bytes] = {}
        """Hash tiles of level 0 that were fetched with the entries below them."""
        self._pending: list[bytes] = []
        self._documents: list[Document] = []
        self._last: Entry | None = None

    def run(self) -> None:
        """Everything, in order of cost."""
        self._note = self._source.checkpoint()
        endorsement = self._endorsed()
        self._checkpoint = endorsement.checkpoint
        report = self._report
        report.size, report.quorum_met = self._checkpoint.size, endorsement.quorum_met
        report.vkey = self._folder.vkey
        with reading(self._folder.engine) as connection:
            kept = read_audit(connection)
        self._load(kept)
        self._check_extension(kept.about.target)
        if self._progress is not None:
            self._progress(report.entries, report.size)
        for entry in verified_ahead(self._entries(), self._replay, self._settings.verifying):
            self._add(entry)
        self._finish(endorsement)
        if self._sight != PUBLIC:
            report.cosigned = self._folder.cosign(
                self._note, report.size, self._settings.clock.now_ms() // MILLIS_PER_SECOND
            )

    # -- the checkpoint ---------------------------------------------------------------------

    def _endorsed(self) -> Endorsement:
        trust, now_ms = self._settings.trust, self._settings.clock.now_ms()
        try:
            claimed = Checkpoint.decode(parse_note(self._note).text)
        except Refused as refusal:
            raise FaultFound("checkpoint", refusal.detail) from refusal
        if all(log.vkey.name != claimed.origin for log in trust.logs):
            names = ", ".join(sorted({log.vkey.name for log in trust.logs}))
            raise ConfigurationError(f"the service has the ledger {claimed.origin}, not {names}")
        try:
            return evaluate(trust, self._note, latest_s=now_ms // MILLIS_PER_SECOND + FUTURE_S)
        except Refused as refusal:
            raise FaultFound(f"checkpoint {claimed.size}", refusal.detail) from refusal

    def _check_extension(self, target: bytes | None) -> None:
        """The checkpoint extends the one that an audit saw last, whether it finished or not."""
        if target is None:
            return
        new, old = self._checkpoint, Checkpoint.decode(parse_note(target).text)
        place = f"checkpoint {new.size}"
        words = f"it does not extend the one audited last, of {old.size} entries: "
        if old.origin != new.origin:
            raise ConfigurationError(
                f"{self._folder.path} audits {old.origin}; give {new.origin} a folder of its own"
            )
        if new.size < old.size:
            self._folder.keep_fork(target, self._note)
            raise FaultFound(place, f"{words}the ledger was rolled back")
        if new.size == old.size:
            if new.root != old.root:
                self._folder.keep_fork(target, self._note)
                raise FaultFound(place, f"{words}it has another root, a fork")
            return
        nodes = tile_nodes(self._served, new.size)
        try:
            proof = consistency_proof(nodes, old.size, new.size)
            verify_consistency(old.size, new.size, old.root, new.root, proof)
        except Refused as refusal:
            if tree_root(nodes, new.size) != new.root:
                raise FaultFound(place, "its root is not the one that the hash tiles make") from (
                    refusal
                )
            self._folder.keep_fork(target, self._note)
            raise FaultFound(place, f"{words}a fork") from refusal

    # -- what was kept ----------------------------------------------------------------------

    def _load(self, kept: Kept) -> None:
        about, report = kept.about, self._report
        if about.sight == PUBLIC and self._settings.has_token:
            raise ConfigurationError(
                f"{self._folder.path} holds an audit without statements; with a token begin "
                "one in a folder of its own"
            )
        self._sight, self._shown = about.sight, about.shown
        report.first = report.entries = kept.head.size
        report.signatures, report.conflicts = about.signatures, about.conflicts
        report.decisions, report.unseen = about.decisions, about.unseen
        report.map_roots, report.tiles = about.map_roots, about.tiles
        self._frontier = kept.head.frontier
        self._partial = kept.partial_tiles
        self._known = {n: data for (level, n), data in kept.partial_tiles.items() if level == 0}
        registry, chains = kept.registry, _chains(kept)
        genesis = registry.genesis
        bits = 0 if genesis is None else genesis.bucket_bits
        report.origin = None if genesis is None else genesis.origin
        report.genesis = None if kept.genesis is None else kept.genesis.hex()
        heads = MapCheck(bits, kept.buckets, kept.map_tiles, kept.pending, about.map_roots)
        self._owners_known = len(registry.owners)
        verdicts = None
        if self._sight != PUBLIC:
            places = cached_places(Borders.load(self._settings.borders))
            appraiser = Appraiser(
                kept.verifier_registry, places, kept.cases, now_ms=kept.head.received_ms
            )
            verdicts = VerdictCheck(appraiser, report, (Due(*row) for row in kept.due))
        self._replay = Replay(
            report,
            verdicts,
            registry=registry,
            heads=heads,
            chains=chains,
            received_ms=kept.head.received_ms,
        )

    # -- entries ----------------------------------------------------------------------------

    def _entries(self) -> Iterator[list[Entry]]:
        """Entries that are new, parsed; each part is fetched while those before are checked."""
        parts = fetch_parts(
            self._source, self._frontier.size, self._checkpoint.size, self._settings.fetching
        )
        for part in parts:
            self._parts |= part.hashes
            parsed: list[Entry] = []
            for index, leaf in enumerate(part.leaves, part.start):
                try:
                    entry = self._parse(part, index, leaf)
                except FaultFound:
                    yield parsed
                    raise
                if entry is not None:
                    parsed.append(entry)
            yield parsed

    def _parse(self, part: Part, index: int, data: bytes) -> Entry | None:
        hashed = leaf_hash(data)
        if index < self._report.first:
            self._require_same(index, hashed)
            return None
        leaf = read_leaf(index, data)
        body = part.statements[index]
        message = None
        if body is None:
            self._require_hidden(index, leaf.kind)
        else:
            message = read_statement(index, leaf, body)
            if leaf.kind not in _PUBLIC:
                if self._sight != PUBLIC:
                    self._sight = ALL
                    self._shown = index if self._shown is None else self._shown
                else:
                    message = None
        return Entry(index, leaf, hashed, message, data)

    def _require_same(self, index: int, hashed: bytes) -> None:
        """An entry that was audited earlier, and comes again with the bundle that it is in."""
        n, at = divmod(index, TILE_WIDTH)
        if self._known[n][at * 32 : at * 32 + 32] != hashed:
            raise FaultFound(f"entry {index}, leaf", "it is another one than was audited")

    def _require_hidden(self, index: int, kind: str) -> None:
        """A statement that is not shown is none that has to be."""
        place = f"entry {index}, statement"
        if kind in _PUBLIC:
            raise FaultFound(place, WITHHELD)
        if self._sight == ALL and self._shown is not None:
            if self._source.statements(self._shown, 1) in ([], [None]):
                raise ConfigurationError(
                    "the ledger no longer shows what it has shown to this audit; give its token"
                )
            raise FaultFound(place, WITHHELD)
        if self._settings.has_token:
            raise ConfigurationError(
                f"this token does not show entry {index}, a {kind}; an audit of every statement "
                "needs an auditor's, one of the public part none"
            )
        self._sight = PUBLIC
        self._replay.verdicts = None

    def _add(self, entry: Entry) -> None:
        try:
            self._replay.add(entry)
        except (Refused, IntegrityError) as error:
            raise FaultFound(f"entry {entry.index}", str(error)) from error
        self._report.entries += 1
        self._report.unseen += entry.message is None
        self._report.map_roots = self._replay.heads.count
        self._pending.append(entry.leaf_hash)
        self._last = entry
        self._note_document(entry)
        entries, size = self._report.entries, self._checkpoint.size
        if entries % BATCH == 0 and entries < size:
            self._settle()
            self._prove()
            self._save(published=False)
        if self._progress is not None and entries % 100 == 0:
            self._progress(entries, size)

    def _note_document(self, entry: Entry) -> None:
        message = entry.message
        if message is None or entry.leaf.kind != message.kind:
            return
        number = document_number(message.kind, message.body)
        if number is not None:
            self._documents.append(
                Document(
                    entry.index,
                    number,
                    message.kind,
                    entry.leaf.received_ms,
                    entry.row,
                    entry.leaf_hash,
                    message.token,
                    message.content_digest,
                )
            )

    # -- the tree ---------------------------------------------------------------------------

    def _settle(self) -> None:
        """Grow the tree by what came, and compare each tile that is full now with the ledger's."""
        changed = grow(self._partial, self._frontier.size, self._pending)
        self._frontier = self._frontier.extend(self._pending)
        self._pending = []
        for (level, n), data in changed.items():
            if len(data) == TILE_WIDTH * 32:
                self._partial.pop((level, n), None)
                self._check_tile(level, n, data)
            else:
                self._partial[level, n] = data

    def _check_tile(self, level: int, n: int, made: bytes) -> None:
        served = self._parts.pop(n, None) if level == 0 else None
        if served is None or len(served) != len(made):
            served = self._served.get(Tile(level, n, len(made) // 32))
        require_tile(level, n, served, made)
        self._report.tiles += 1

    def _prove(self) -> None:
        """What was derived so far is a part of the checkpoint's tree, or it is not remembered."""
        size, new = self._frontier.size, self._checkpoint
        nodes = tile_nodes(self._served, new.size)
        try:
            proof = consistency_proof(nodes, size, new.size)
            verify_consistency(size, new.size, self._frontier.root(), new.root, proof)
        except Refused as refusal:
            raise FaultFound(
                f"checkpoint {new.size}", f"its tree is not one of the first {size} entries"
            ) from refusal

    # -- the end ----------------------------------------------------------------------------

    def _finish(self, endorsement: Endorsement) -> None:
        report, checkpoint = self._report, self._checkpoint
        place = f"checkpoint {checkpoint.size}"
        self._settle()
        for level, n, width in partial_tiles(checkpoint.size):
            if self._last is not None:
                require_tile(
                    level, n, self._served.get(Tile(level, n, width)), self._partial[level, n]
                )
        if self._frontier.root() != checkpoint.root:
            raise FaultFound(place, "its root is not the one that the entries make")
        self._check_genesis(place, endorsement)
        if self._last is not None:
            require_index_root(self._replay, self._last)
        verdicts = self._replay.verdicts
        if verdicts is not None:
            overdue_ms = self._replay.received_ms - OVERDUE_MS
            report.waiting = verdicts.finish(
                self._replay.registry, lambda due: due.received_ms < overdue_ms
            )
        report.root = checkpoint.root.hex()
        report.chips = len(self._replay.registry.chips)
        self._save(published=True)
        if self._progress is not None:
            self._progress(report.entries, checkpoint.size)

    def _check_genesis(self, place: str, endorsement: Endorsement) -> None:
        """The key that is trusted for this ledger is the one that its first entry names."""
        genesis = self._replay.registry.genesis
        if genesis is None:
            raise FaultFound(place, "there is no genesis before it")
        key = Vkey(genesis.origin, ED25519, PublicKey.from_cose_key(genesis.ledger).raw)
        if any(v.signature_type == ED25519 and v != key for v in endorsement.logs):
            raise FaultFound("entry 0", "it names another ledger key than the one that is trusted")
        try:
            open_checkpoint(self._note, genesis.origin, [NoteVerifier(key)])
        except Refused as refusal:
            raise FaultFound(place, f"the note does not verify: {refusal.detail}") from refusal

    def _save(self, *, published: bool) -> None:
        report, replay = self._report, self._replay
        verdicts = replay.verdicts
        about = About(
            vkey=self._folder.vkey,
            target=self._note,
            sight=self._sight,
            shown=self._shown,
            signatures=report.signatures,
            conflicts=report.conflicts,
            decisions=report.decisions,
            map_roots=report.map_roots,
            tiles=report.tiles,
            unseen=report.unseen,
        )
        chips: list[Chip] = []
        if verdicts is not None:
            held = verdicts.appraiser
            chips = [held.registry.chips[ueid] for ueid in sorted(held.dirty)]
        change = Change(
            frontier=self._frontier,
            received_ms=replay.received_ms,
            about=about,
            registry=replay.registry,
            owners_known=self._owners_known,
            chips=chips,
            cases={} if verdicts is None else verdicts.appraiser.cases,
            partial_tiles=self._partial,
            map=replay.heads.changed,
            pending=replay.heads.pending,
            due=() if verdicts is None else verdicts.due,
            documents=self._documents,
            published=published,
        )
        with writing(self._folder.engine) as connection:
            save_audit(connection, change)
        self._owners_known = len(replay.registry.owners)
        self._documents = []
        replay.heads.changed = MapUpdate({}, {}, b"", b"")
        if verdicts is not None:
            verdicts.appraiser.dirty.clear()


def _chains(kept: Kept) -> Chains:
    """Who a subject is was said by statements that are not kept; its key says enough."""
    return {key: (None, count, head) for key, (count, head) in kept.heads.items()}
