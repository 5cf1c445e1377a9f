"""One process's hold on one ledger: open it safely, take statements, move on, answer questions."""

import os
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from ledger.appraisal.places import Places, cached_places
from ledger.errors import ConfigurationError, IntegrityError, Reason, Refused, StorageError
from ledger.geo.borders import Borders
from ledger.log.cosignature import CosignatureVerifier
from ledger.log.note import NoteSigner, NoteVerifier
from ledger.protocol import statements as st
from ledger.protocol.fields import MAX_SECONDS
from ledger.protocol.keys import PublicKey
from ledger.protocol.statements import Kind
from ledger.registry.records import Owner
from ledger.service import history as reads
from ledger.service import passports as passport_reads
from ledger.service.clock import SimulatedClock, Stopwatch, SystemClock
from ledger.service.cosigned import (
    Published,
    cosigned_checkpoint,
    extension_proof,
    newest_checkpoint,
)
from ledger.service.entries import statements
from ledger.service.follow import Follower
from ledger.service.heads import heads
from ledger.service.keys import NodeKeys, load_or_make_keys
from ledger.service.publish import checkpoint_root, publish, require_sound_checkpoint
from ledger.service.reader import Reader
from ledger.service.sequence import Sequencer, move_simulated_clock, rewrite_head
from ledger.service.signed import Signed, SignedRecord
from ledger.service.submitted import newer_than_stored, read_submission
from ledger.service.viewer import OPEN, Viewer
from ledger.service.views import (
    EpochView,
    LedgerStatus,
    Page,
    PassportFilter,
    Receipt,
)
from ledger.store.case_rows import verifier_time
from ledger.store.cosignature_rows import keep_cosignatures, read_cosignatures
from ledger.store.engine import (
    WriterLock,
    database_url,
    open_engine,
    reading,
    shown_database,
    write_failure,
    writing,
)
from ledger.store.log_rows import read_head
from ledger.store.registry_rows import document_entry, load_documents
from ledger.store.schema import migrate, require_current
from ledger.values import MILLIS_PER_DAY, MILLIS_PER_SECOND

MAX_CLOCK_STEP_MS = 400 * MILLIS_PER_DAY
"""A simulated clock moves at most this far at once."""

MAX_EPOCHS_AT_ONCE = 10_000
"""Nor past more epochs than this, each an entry of its own: over 400 days of an hour each."""

LATEST_MS = MAX_SECONDS * MILLIS_PER_SECOND - MILLIS_PER_DAY
"""How far a simulated clock goes: its epochs have to end before the calendar does."""

VERIFIER_SHARE_S = 0.25
"""Of each second under load, what the verifier takes at least; when idle it reads to the end."""


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """What a node needs to be told.

    ``database``: a SQLite file's path or a URL. ``keys``: folder of the node's keys (default:
    ``<database>.keys`` beside a SQLite file). ``authority_kid``: key id of the only authority whose
    genesis is taken; None takes the first that comes. ``executor``: where signatures are checked.
    """

    database: str
    keys: Path | None = None
    clock: SystemClock | SimulatedClock | None = None
    authority_kid: bytes | None = None
    executor: Executor | None = None
    read_only: bool = False
    borders: Path | None = None


class Node:
    """A ledger in use. Thread-safe; writers take turns."""

    def __init__(
        self,
        settings: NodeSettings,
        engine: Engine,
        keys: NodeKeys | None,
        lock: WriterLock | None,
    ) -> None:
        self.settings = settings
        self.clock: SystemClock | SimulatedClock = settings.clock or SystemClock()
        self._engine = engine
        self._reader = Reader(engine)
        self._keys = keys
        self._lock = lock
        self._turn = threading.RLock()
        self._following = threading.RLock()
        """Taken before ``_turn`` by whoever needs both."""
        self._under_way: set[int] = set()
        """Threads that are submitting."""
        self._fatal: str | None = None
        self._told: list[Callable[[], None]] = []
        self._follower: Follower | None = None
        self._places: Places | None = None
        self._known: dict[bytes, Owner] = {}
        self._genesis: st.Genesis | None = None
        self._genesis_digest: bytes | None = None
        self._epoch_until_ms = 0
        self._sequencer = Sequencer(engine, settings.executor, self._known, turn=self._turn)
        self._signed = _signed_record(settings)

    # -- opening and closing ----------------------------------------------------------------

    @classmethod
    def open(cls, settings: NodeSettings) -> "Node":
        """Open a ledger, or make an empty one. Every refusal says what to do about it.

        Raises ConfigurationError (another process, wrong keys, damaged or foreign file) or
        IntegrityError (the stored log contradicts itself).
        """
        try:
            return cls._open(settings)
        except OSError as error:
            place = shown_database(settings.database)
            raise ConfigurationError(f"cannot open {place}: {error.strerror or error}") from error

    @classmethod
    def _open(cls, settings: NodeSettings) -> "Node":
        if settings.read_only:
            reader = open_engine(settings.database, read_only=True)
            require_current(reader)
            node = cls(settings, reader, None, None)
            node._load_genesis()
            return node
        lock = WriterLock(settings.database)
        engine: Engine | None = None
        try:
            engine = open_engine(settings.database)
            migrate(engine)
            with reading(engine) as connection:
                size = read_head(connection).size
            keys = load_or_make_keys(_keys_folder(settings), may_make=size == 0)
            node = cls(settings, engine, keys, lock)
            node._recover()
        except BaseException:
            if engine is not None:
                engine.dispose()
            lock.release()
            raise
        return node

    def close(self) -> None:
        """Store the verifier's state and let go of the database."""
        with self._following, self._turn:
            try:
                if self._follower is not None and self._fatal is None:
                    self._follower.save()
            finally:
                self._follower = None
                self._engine.dispose()
                if self._lock is not None:
                    self._lock.release()

    def _recover(self) -> None:
        """The normal path's own checks, before anything is signed."""
        self._load_genesis()
        with reading(self._engine) as connection:
            head = read_head(connection)
            if self._genesis is not None:
                self._require_own(self._genesis)
                verifier = NoteVerifier(self._note_signer.vkey)
                require_sound_checkpoint(connection, head, self._genesis.origin, verifier)
            verifier_time(connection, head)
        self._require_signed()
        if isinstance(self.clock, SimulatedClock):
            self.clock.move(max(self.clock.now_ms(), head.simulated_ms, head.received_ms))
        elif head.received_ms > self.clock.now_ms() + MILLIS_PER_DAY:
            raise ConfigurationError(
                "the newest entry lies more than a day in the future; set this machine's clock"
            )

    def _require_signed(self) -> None:
        """The database holds the checkpoint that was signed last, or is about to."""
        signed = self._signed.read()
        if signed is None:
            return
        with reading(self._engine) as connection:
            head = read_head(connection)
            stored = checkpoint_root(connection, signed.size)
        if self._genesis_digest != signed.genesis:
            state = "is empty" if head.size == 0 else "holds another ledger"
            raise ConfigurationError(
                f"{self._signed.path} is of a ledger that signed a checkpoint of {signed.size} "
                f"entries, but the database {state}: put that one back, or move the record away"
            )
        if stored == signed.root:
            return
        if stored is None and head.size == signed.size - 1 and self._signed.before_commit:
            self._publish(signed)  # stopped between the record and the commit
            return
        raise IntegrityError(
            f"this ledger has signed a checkpoint of {signed.size} entries with the root "
            f"{signed.root.hex()} ({self._signed.path}), but the database "
            + (f"ends with entry {head.size - 1}" if stored is None else "has another of that size")
            + "; an old backup? Put back its newest state: going on from here would be a fork"
        )

    def _require_own(self, genesis: st.Genesis) -> None:
        self._require_authority(PublicKey.from_cose_key(genesis.authority.key).kid)
        keys = self._own_keys
        if PublicKey.from_cose_key(genesis.ledger) != keys.ledger.public:
            raise ConfigurationError("the ledger key is not the one in the genesis entry")
        if PublicKey.from_cose_key(genesis.verifier.key) != keys.verifier.public:
            raise ConfigurationError("the verifier key is not the one in the genesis entry")
        if genesis.clock != self.clock.mode:
            raise ConfigurationError(
                f"this ledger runs on a {genesis.clock} clock; start it with "
                f"--clock {genesis.clock}"
            )

    def _require_authority(self, kid: bytes) -> None:
        wanted = self.settings.authority_kid
        if wanted is not None and kid != wanted:
            raise ConfigurationError(
                f"the genesis is by the authority {kid.hex()}, but --authority names {wanted.hex()}"
            )

    def _load_genesis(self) -> st.Genesis | None:
        with reading(self._engine) as connection:
            found = document_entry(connection, Kind.GENESIS)
        if found is not None:
            message = reads.stored_message(*found)
            self._genesis, self._genesis_digest = message.body, message.digest
        self._newest_epoch()
        return self._genesis

    # -- writing ----------------------------------------------------------------------------

    def submit(
        self, tokens: Sequence[bytes], expect: Kind | None = None
    ) -> list[Receipt | Refused]:
        """Take statements; one durable transaction, one answer each, in order.

        Raises StorageError (nothing was kept) or IntegrityError (the node has stopped).
        """
        with self._guard():
            self._require_writable()
            if not self._is_founded():
                return self._found(tokens, expect)
            if self.clock.mode == "real":
                self._open_epoch()
            self._under_way.add(threading.get_ident())
            try:
                return self._sequencer.submit(tokens, self.clock.now_ms(), expect=expect)
            finally:
                self._under_way.discard(threading.get_ident())

    def _found(self, tokens: Sequence[bytes], expect: Kind | None) -> list[Receipt | Refused]:
        """Only a fitting genesis statement gets past an empty ledger; the rest follows it."""
        with self._turn:
            refusal = self._genesis_refusal(tokens[0]) if tokens else None
            if refusal is not None:
                return [refusal, *([_no_genesis()] * (len(tokens) - 1))]
            now_ms = self.clock.now_ms()
            results = self._sequencer.submit(tokens[:1], now_ms, expect=expect)
            self._load_genesis()
            if self._genesis is None:
                return [*results, *([_no_genesis()] * (len(tokens) - 1))]
            self._open_epoch()
            if len(tokens) > 1:
                results += self._sequencer.submit(tokens[1:], now_ms, expect=expect)
            return results

    def _is_founded(self) -> bool:
        """Whether there is a genesis; another process may have taken it a moment ago."""
        if self._genesis is not None:
            return True
        with self._turn:
            genesis = self._load_genesis()
        if genesis is not None and self._keys is not None:
            try:
                self._require_own(genesis)
            except ConfigurationError as error:
                raise IntegrityError(f"another process founded this ledger: {error}") from error
        return genesis is not None

    def _look_for_genesis(self) -> None:
        """Notice another process's genesis, for questions that are answered in any state."""
        if self._genesis is None and self._fatal is None:
            with suppress(IntegrityError), self._guard():  # the guard keeps it for `ready`
                self._is_founded()

    def _genesis_refusal(self, token: bytes) -> Refused | None:
        try:
            message = st.decode(token)
            if message.kind is not Kind.GENESIS:
                return _no_genesis()
            self._require_own(message.body)
        except Refused as refusal:
            return refusal
        except ConfigurationError as error:
            return Refused(Reason.GENESIS_MISMATCH, str(error))
        return None

    def _open_epoch(self) -> None:
        """Open the epoch of the present, unless it is open."""
        if self._genesis is None or self.clock.now_ms() < self._epoch_until_ms:
            return
        with self._turn:
            now_ms = self.clock.now_ms()
            if now_ms < self._epoch_until_ms:
                return
            last = self._newest_epoch()
            if last is not None and now_ms < last.not_after_ms:
                return  # another process was first
            length_ms = self._genesis.epoch_s * MILLIS_PER_SECOND
            counter = 0 if last is None else last.counter + 1
            body = st.Epoch(
                iat=now_ms // MILLIS_PER_SECOND,
                id=self._epoch_id(counter),
                counter=counter,
                not_before_ms=now_ms - now_ms % length_ms,
                not_after_ms=now_ms - now_ms % length_ms + length_ms,
            )
            result = self._sequencer.submit([st.sign(body, self._own_keys.ledger)], now_ms)[0]
            newest = self._newest_epoch()
            if isinstance(result, Refused) and (newest is None or newest.counter < counter):
                raise IntegrityError(f"the ledger's own epoch is refused: {result}")

    def _newest_epoch(self) -> st.Epoch | None:
        """The newest epoch on the log; remembers until when it runs."""
        with reading(self._engine) as connection:
            epochs = load_documents(connection).epochs
        self._epoch_until_ms = epochs[-1].not_after_ms if epochs else 0
        return epochs[-1] if epochs else None

    def _epoch_id(self, counter: int) -> bytes:
        """16 bytes nobody can foretell; on a simulated clock the same in every run of a seed."""
        if self.clock.mode == "real":
            return secrets.token_bytes(16)
        label = b"chip-passport simulated epoch " + str(counter).encode()
        return sha256(self._own_keys.ledger.sign(label)).digest()[:16]

    # -- moving on --------------------------------------------------------------------------

    def tick(self, *, publish: bool = True) -> None:
        """On a real clock, about once a second: epoch, verifier, and a checkpoint if wanted."""
        with self._guard():
            if write_failure(self._engine) is not None and self._keys is not None:
                rewrite_head(self._engine)  # or a service that nobody asks would never recover
            if self._is_founded() and self.clock.mode == "real":
                self._open_epoch()
                self.follow(share_s=VERIFIER_SHARE_S)
                if publish:
                    self.publish()

    def set_time(self, now_ms: int) -> None:
        """Move a simulated clock forward; see the order of work in docs/ledger.md."""
        if not isinstance(self.clock, SimulatedClock):
            raise Refused(Reason.CLOCK, "this service runs on the real clock")
        with self._guard(), self._following, self._turn:
            self._require_writable()
            self._is_founded()
            if now_ms > LATEST_MS:
                raise Refused(
                    Reason.PARAMETER_INVALID, "no calendar holds that time", field="now_ms"
                )
            self._require_step(now_ms)
            if now_ms < self.clock.now_ms():
                self.clock.move(now_ms)  # refuses
            self.follow()
            while self._genesis is not None and self._epoch_until_ms <= now_ms:
                self.clock.move(max(self._epoch_until_ms, self.clock.now_ms()))
                self._open_epoch()
            self.follow()
            self.clock.move(now_ms)
            move_simulated_clock(self._engine, now_ms)
            self.publish()

    def _require_step(self, now_ms: int) -> None:
        """Refuse a step that would open too many epochs; before the genesis there are none."""
        if self._genesis is None:
            return
        epochs_ms = MAX_EPOCHS_AT_ONCE * self._genesis.epoch_s * MILLIS_PER_SECOND
        furthest_ms = min(
            self.clock.now_ms() + MAX_CLOCK_STEP_MS, self._epoch_until_ms + epochs_ms - 1
        )
        if now_ms > furthest_ms:
            raise Refused(
                Reason.PARAMETER_INVALID,
                f"at most to {furthest_ms} at once: {MAX_CLOCK_STEP_MS // MILLIS_PER_DAY} days, "
                f"and {MAX_EPOCHS_AT_ONCE} epochs of {self._genesis.epoch_s} s",
                field="now_ms",
            )

    def follow(self, share_s: float | None = None) -> None:
        """Let the verifier read to the end of the log, its own decisions included.

        With ``share_s`` it stops after so many seconds while statements are coming in.
        """
        with self._guard(), self._following:
            if not self._is_founded():
                return
            watch = Stopwatch()
            if self._follower is None:
                if self._places is None:
                    self._places = cached_places(Borders.load(self.settings.borders))
                self._follower = Follower(self._sequencer, self._own_keys.verifier, self._places)
            try:
                while self._follower.follow(self.clock.now_ms()).read:
                    if share_s is not None and self._under_way and watch.seconds() > share_s:
                        break
            except BaseException:
                self._follower = None  # its memory may be ahead of the database
                raise

    def publish(self) -> bytes | None:
        """Sign a checkpoint if the log has grown."""
        with self._guard(), self._turn:
            self._require_writable()
            note = self._publish()
        if note is not None:
            for told in self._told:
                told()
        return note

    def _publish(self, again: Signed | None = None) -> bytes | None:
        """Publish and record; or publish ``again``, and nothing else, what was recorded."""
        if not self._is_founded() or self._genesis is None or self._genesis_digest is None:
            return None
        digest, made = self._genesis_digest, []

        def record(size: int, root: bytes, received_ms: int) -> None:
            signed = Signed(digest, size, root, received_ms)
            if again is not None and signed != again:
                raise IntegrityError(
                    f"the entries lead to another checkpoint of {size} than was signed"
                    f" ({self._signed.path}); an old backup?"
                )
            made.append(signed)
            if self._signed.before_commit and again is None:
                self._signed.write(signed)

        now_ms = self.clock.now_ms() if again is None else again.received_ms
        key = self._own_keys.ledger
        with self._signed.withdrawn_on_failure():
            note = publish(self._sequencer, self._genesis, key, now_ms, record)
        if made and not self._signed.before_commit:
            self._signed.write(made[0])
        return note

    def on_checkpoint(self, told: Callable[[], None]) -> None:
        """Call ``told`` behind each checkpoint that this node stores; it must not block."""
        self._told.append(told)

    # -- witnesses --------------------------------------------------------------------------

    def published(self) -> Published | None:
        """The newest checkpoint without cosignatures."""
        with reading(self._engine) as connection:
            return newest_checkpoint(connection)

    def cosigned_sizes(self) -> dict[str, int]:
        """By a witness's name: the size of the checkpoint that it has cosigned last."""
        with reading(self._engine) as connection:
            return {found.vkey.name: found.size for found in read_cosignatures(connection)}

    def extension_proof(self, old_size: int, size: int) -> list[bytes]:
        """Consistency proof from the tree of ``old_size`` entries to a published one."""
        with self._guard(), reading(self._engine) as connection:
            return extension_proof(connection, old_size, size)

    def keep_cosignatures(self, size: int, signatures: Mapping[str, bytes]) -> None:
        """Store verified signatures, by vkey, over the checkpoint of ``size``; served at once."""
        with self._guard(), self._turn:
            self._require_writable()
            with writing(self._engine) as connection:
                keep_cosignatures(connection, size, signatures)

    def take_cosignatures(
        self, note: bytes, auditors: Sequence[CosignatureVerifier]
    ) -> tuple[int, list[str], bool]:
        """Take what ``auditors`` have cosigned of a published checkpoint, or refuse it.

        Gives the checkpoint's size, the auditors' names, and whether it is the newest.
        """
        with reading(self._engine) as connection:
            submitted = read_submission(connection, note, auditors)
            fresh = newer_than_stored(connection, submitted)
            newest = read_head(connection).published_size
        self.keep_cosignatures(submitted.size, fresh)
        names = sorted(vkey.partition("+")[0] for vkey in submitted.signatures)
        return submitted.size, names, submitted.size == newest

    def contradicted(self, witness: str, claim: str) -> IntegrityError:
        """A witness knows another history: stop for good, taking and signing nothing more.

        Whoever put back an old backup must not go on from it: what was promised since is gone.
        """
        self._fatal = (
            f"{witness} contradicts this ledger: {claim}{'' if claim.endswith('?') else '.'} Put "
            "back the newest state of the ledger; if it is this one and the witness errs, start "
            "without that witness"
        )
        return IntegrityError(self._fatal)

    # -- reading ----------------------------------------------------------------------------

    def status(self) -> LedgerStatus:
        """The ledger in brief."""
        self._look_for_genesis()
        with reading(self._engine) as connection:
            head = read_head(connection)
        genesis, keys = self._genesis, self._keys
        ledger_key = verifier_key = b""
        if genesis is not None:
            ledger_key, verifier_key = genesis.ledger, genesis.verifier.key
        elif keys is not None:
            ledger_key = keys.ledger.public.to_cose_key()
            verifier_key = keys.verifier.public.to_cose_key()
        position = head.verifier_position if self._follower is None else self._follower.position
        now_ms = self.clock.now_ms()
        return LedgerStatus(
            None if genesis is None else genesis.origin,
            self._genesis_digest,
            self.clock.mode if genesis is None else genesis.clock,
            max(now_ms, head.simulated_ms) if self.clock.mode == "simulated" else now_ms,
            head.size,
            head.published_size,
            position,
            ledger_key,
            verifier_key,
            None if genesis is None or keys is None else self._note_signer.vkey.encode(),
            None if genesis is None else genesis.epoch_s,
        )

    def epoch(self) -> EpochView:
        """The current epoch; refuses while there is no genesis."""
        with self._guard():
            if not self._is_founded():
                raise _no_genesis()
            if self.clock.mode == "real":
                self._open_epoch()
        with reading(self._engine) as connection:
            found = document_entry(connection, Kind.EPOCH)
        if found is None:
            raise _no_genesis()
        message = reads.stored_message(*found)
        body: st.Epoch = message.body
        return EpochView(
            body.id, body.counter, body.not_before_ms, body.not_after_ms, message.token
        )

    def landmarks(self) -> st.Message:
        """The landmark directory in force, as it was signed; refuses where there is none."""
        with reading(self._engine) as connection:
            found = document_entry(connection, Kind.LANDMARK_DIRECTORY)
        if found is None:
            raise Refused(Reason.LANDMARK_UNKNOWN, "no landmark directory is on the ledger")
        return reads.stored_message(*found)

    def checkpoint(self) -> bytes | None:
        """The newest published checkpoint, a signed note, with the cosignatures that it has."""
        with reading(self._engine) as connection:
            return cosigned_checkpoint(connection)

    def tile(self, path: str) -> bytes:
        """A tile or entry bundle by its path behind ``/log/tile/``."""
        with reading(self._engine) as connection:
            return reads.tile(connection, path, read_head(connection).published_size)

    def heads(self, path: str) -> bytes:
        """A part of the newest checkpoint's heads map by its path behind ``/log/heads/``."""
        with reading(self._engine) as connection:
            return heads(connection, path)

    def proof(self, index: int) -> bytes:
        """The proof file of an entry under the newest checkpoint; see ``Reader``."""
        return self._reader.proof(index)

    def statements(self, start: int, limit: int, viewer: Viewer) -> list[bytes | None]:
        """Statements of published entries in order, each as far as ``viewer`` may see it."""
        with reading(self._engine) as connection:
            published_size = read_head(connection).published_size
            return statements(connection, start, limit, published_size, viewer)

    def viewer(self, token: str, now_ms: int) -> Viewer:
        """Who asks with this access token at ``now_ms``, real time; see ``Reader``."""
        return self._reader.viewer(token, now_ms)

    def passports(
        self, wanted: PassportFilter, after: str | None, limit: int, *, viewer: Viewer = OPEN
    ) -> Page:
        """Chips in order of UEID from the one behind ``after`` (hex)."""
        start = None if after is None else _cursor_bytes(after)
        with reading(self._engine) as connection:
            return passport_reads.passports(
                connection, wanted, start, limit, self._live, viewer=viewer
            )

    def passport(self, ueid: bytes, *, viewer: Viewer = OPEN) -> dict[str, Any]:
        """One chip's passport."""
        with reading(self._engine) as connection:
            return passport_reads.passport(connection, ueid, self._live, viewer=viewer)

    def history(self, ueid: bytes, after: int | None, limit: int, *, viewer: Viewer = OPEN) -> Page:
        """One chip's custody history."""
        return self._reader.history(ueid, after, limit, viewer=viewer)

    def bundle(self, ueid: bytes, *, redacted: bool = False, viewer: Viewer = OPEN) -> bytes:
        """One chip's passport bundle under the newest checkpoint."""
        return self._reader.bundle(ueid, redacted=redacted, viewer=viewer)

    def decisions(
        self,
        ueid: bytes | None,
        action: str | None,
        after: int | None,
        limit: int,
        *,
        viewer: Viewer = OPEN,
    ) -> Page:
        """Decisions in the log's order."""
        return self._reader.decisions(ueid, action, after, limit, viewer=viewer)

    def ready(self) -> str | None:
        """None, or why the node takes nothing."""
        try:
            self._look_for_genesis()
        except StorageError as error:
            return f"the database does not answer: {error}"
        if self._fatal is not None:
            return self._fatal
        failure = write_failure(self._engine)
        return None if failure is None else f"the last write failed: {failure}"

    # -- inner ------------------------------------------------------------------------------

    @property
    def _live(self) -> Any:
        return None if self._follower is None else self._follower.appraiser.cases

    @property
    def _own_keys(self) -> NodeKeys:
        if self._keys is None:
            raise ConfigurationError("the ledger is open for reading only")
        return self._keys

    def _require_writable(self) -> None:
        if self._keys is None:
            raise ConfigurationError("the ledger is open for reading only")

    @property
    def _note_signer(self) -> NoteSigner:
        origin = "" if self._genesis is None else self._genesis.origin
        return NoteSigner(origin, self._own_keys.ledger)

    @contextmanager
    def _guard(self) -> Iterator[None]:
        """Stop for good at the first sign that stored data contradicts itself."""
        if self._fatal is not None:
            raise IntegrityError(self._fatal)
        try:
            yield
        except IntegrityError as error:
            self._fatal = str(error)
            raise


def _keys_folder(settings: NodeSettings) -> Path:
    if settings.keys is not None:
        return settings.keys
    url = database_url(settings.database)
    if url.get_backend_name() != "sqlite":
        raise ConfigurationError("name the folder of the node's keys with --keys")
    return Path(f"{url.database}.keys")


def _signed_record(settings: NodeSettings) -> SignedRecord:
    """Beside a SQLite file; otherwise with the keys, if that folder takes files."""
    url = database_url(settings.database)
    if settings.read_only:
        return SignedRecord(None, before_commit=True)
    if url.get_backend_name() == "sqlite":
        beside = Path(f"{Path(url.database or '').resolve()}.signed")
        return SignedRecord(beside, before_commit=True)
    folder = _keys_folder(settings)
    path = folder / "signed" if os.access(folder, os.W_OK) else None
    return SignedRecord(path, before_commit=False)


def _no_genesis() -> Refused:
    return Refused(Reason.LEDGER_EMPTY, "the first entry of a ledger is its genesis")


def _cursor_bytes(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise Refused(Reason.PARAMETER_INVALID, "not a place to go on from", field="after") from (
            error
        )
