"""A witness: cosigns the checkpoints of logs that it follows, and never two that contradict.

The order that this rests on: authenticate; begin and lock the log's row; decide; write the new
row; commit; only then sign and answer. A crash in between leaves a record without a cosignature,
never a cosignature without a record; the log asks again and is served.
"""

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Engine

from ledger.errors import ConfigurationError, IntegrityError, Refused
from ledger.log.cosignature import LOG_TYPES, Cosigner, note_verifier
from ledger.log.trust import TrustPolicy
from ledger.log.vkey import Vkey
from ledger.log.witness import Declined, Problem, Seen, Submission, authenticate, decide
from ledger.service.clock import Clock
from ledger.store.engine import open_engine, reading, writing
from ledger.store.witness_rows import (
    Fork,
    Latest,
    advance,
    keep_fork,
    lock_seen,
    read_forks,
    read_latest,
    register,
)
from ledger.store.witness_tables import prepare


@dataclass(frozen=True)
class WitnessSettings:
    """``database`` is a path or URL, ``logs`` the keys trusted for each origin.

    ``create=False`` refuses to start with a SQLite file that is not there: a witness that lost its
    memory would cosign a fork. It is what a service wants after its first start.
    """

    database: str
    cosigners: Sequence[Cosigner]
    logs: Mapping[str, Sequence[Vkey]]
    clock: Clock
    create: bool = field(default=True, kw_only=True)


class Witness:
    """One witness with its keys and memory. Safe to call from several threads, and several
    processes may share a database.
    """

    def __init__(self, settings: WitnessSettings, engine: Engine) -> None:
        self.settings = settings
        self._engine = engine
        self._fault: IntegrityError | None = None
        self._fault_lock = threading.Lock()

    @classmethod
    def open(cls, settings: WitnessSettings) -> "Witness":
        """Open or make the database. ConfigurationError for settings that cannot work,
        IntegrityError where the record of a followed log contradicts itself.
        """
        _require_usable(settings)
        engine = open_engine(settings.database, create=settings.create)
        try:
            prepare(engine)
            with writing(engine) as connection:
                register(connection, settings.logs)
                for origin in settings.logs:
                    lock_seen(connection, origin)
        except BaseException:
            engine.dispose()
            raise
        return cls(settings, engine)

    def add_checkpoint(self, body: bytes) -> bytes | Declined:
        """Answer an add-checkpoint request: signature lines, or why there are none.

        Blocking; the new record is durable before this returns lines. StorageError: the record
        may not have been written, nothing was signed, ask again. IntegrityError: the database
        contradicts itself; from then on every call raises it.
        """
        self._require_sound()
        submission = authenticate(body, self.settings.logs)
        if isinstance(submission, Declined):
            return submission
        try:
            outcome = self._remember(submission)
        except IntegrityError as error:
            with self._fault_lock:
                self._fault = error
            raise
        if isinstance(outcome, Declined):
            return outcome
        lines = [
            cosigner.cosign(submission.text, outcome.cosigned_s).line()
            for cosigner in self.settings.cosigners
        ]
        return "".join(lines).encode()

    def latest(self, origin: str) -> Latest:
        """What is remembered of a followed log. IntegrityError for any other."""
        with reading(self._engine) as connection:
            return read_latest(connection, origin)

    def forks(self) -> list[Fork]:
        """Evidence of forks that was kept."""
        with reading(self._engine) as connection:
            return read_forks(connection)

    @property
    def vkeys(self) -> list[str]:
        """The public keys, one for each cosigner, as a trust policy takes them."""
        return [cosigner.vkey.encode() for cosigner in self.settings.cosigners]

    def close(self) -> None:
        """Give the database back."""
        self._engine.dispose()

    def _remember(self, submission: Submission) -> Seen | Declined:
        now_s = self.settings.clock.now_ms() // 1000
        checkpoint, note = submission.checkpoint, submission.request.note
        with writing(self._engine) as connection:
            latest = lock_seen(connection, checkpoint.origin)
            outcome = decide(submission, latest.seen, now_s)
            if isinstance(outcome, Seen):
                advance(connection, latest, outcome, note)
            elif outcome.problem is Problem.FORK:
                keep_fork(connection, latest, checkpoint.root, note, now_s)
        return outcome

    def _require_sound(self) -> None:
        with self._fault_lock:
            fault = self._fault
        if fault is not None:
            raise IntegrityError(str(fault))


def followed_logs(policy: TrustPolicy) -> dict[str, list[Vkey]]:
    """The logs of a trust policy as :class:`WitnessSettings` takes them: keys by origin."""
    logs: dict[str, list[Vkey]] = {}
    for log in policy.logs:
        logs.setdefault(log.vkey.name, []).append(log.vkey)
    return logs


def require_followed(logs: Mapping[str, Sequence[Vkey]]) -> None:
    """ConfigurationError for keys of logs that cannot be followed."""
    for origin, vkeys in logs.items():
        if not vkeys or any(vkey.signature_type not in LOG_TYPES for vkey in vkeys):
            raise ConfigurationError(f"the log {origin} needs keys of type 0x01 or 0x06")
        _require_distinct(vkeys, f"the log {origin} has the same key twice")
        for vkey in vkeys:
            note_verifier(vkey)


def _require_usable(settings: WitnessSettings) -> None:
    if not settings.cosigners:
        raise ConfigurationError("a witness needs a key to cosign with")
    own = [cosigner.vkey for cosigner in settings.cosigners]
    _require_distinct(own, "two of the witness's keys are the same")
    require_followed(settings.logs)
    for origin in settings.logs:
        for cosigner in settings.cosigners:
            try:
                cosigner.require_origin(origin)
            except Refused as error:
                raise ConfigurationError(
                    f"ML-DSA-44 cannot cosign a log whose origin is that long: {origin[:40]}…"
                ) from error


def _require_distinct(vkeys: Iterable[Vkey], message: str) -> None:
    keys = [vkey.public_key for vkey in vkeys]
    if len(set(keys)) != len(keys):
        raise ConfigurationError(message)
