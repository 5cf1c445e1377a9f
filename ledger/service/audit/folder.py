"""An auditor's folder: what it remembers, its key, what it cosigned last, proofs of forks.

Name, key and memory are made together and stay together. The order in which they are made, and a
cosignature is given, leaves no state in which one is trusted without the other: a program that is
killed in between goes on from where it was.
"""

from pathlib import Path
from typing import Self

from sqlalchemy import Engine

from ledger.errors import ConfigurationError, IntegrityError, Refused
from ledger.log.checkpoint import Checkpoint
from ledger.log.cosignature import Cosigner, add_signatures, split_timestamp
from ledger.log.note import Note, NoteSignature, parse_note
from ledger.log.witness import MAX_CLOCK_STEP_S
from ledger.service.files import replace_file, sync_folder
from ledger.service.keys import make_key, read_key
from ledger.store.audit_rows import read_about, set_vkey
from ledger.store.audit_tables import prepare
from ledger.store.cosignature_rows import keep_cosignatures, read_cosignatures
from ledger.store.engine import WriterLock, open_engine, reading, writing

DATABASE, KEY, CHECKPOINT, FORK = "audit.db", "audit.key", "checkpoint", "fork"


class AuditFolder:
    """One auditor's folder, which no other process uses meanwhile."""

    def __init__(self, path: Path, engine: Engine, lock: WriterLock) -> None:
        self.path = path
        self.engine = engine
        self._lock = lock
        self._cosigner: Cosigner | None = None

    @classmethod
    def open(cls, path: Path, name: str | None = None) -> Self:
        """Open or make it. ConfigurationError where its parts do not belong together.

        ``name``: under which it cosigns, once for all; without one it does not until it has one.
        """
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(f"cannot make {path}: {error.strerror}") from error
        database, key = path / DATABASE, path / KEY
        lock = WriterLock(str(database))
        engine: Engine | None = None
        try:
            if key.exists() and not database.exists():
                raise ConfigurationError(
                    f"{database} is missing; an auditor that forgot what it cosigned must not go "
                    "on: give it a new folder, with a new name and key"
                )
            engine = open_engine(str(database))
            prepare(engine)
            folder = cls(path, engine, lock)
            folder._load_key(key, name)
        except BaseException:
            if engine is not None:
                engine.dispose()
            lock.release()
            raise
        return folder

    def close(self) -> None:
        """Give it back."""
        self.engine.dispose()
        self._lock.release()

    @property
    def vkey(self) -> str | None:
        """The public key, as a trust policy takes it; None for one that does not cosign."""
        return None if self._cosigner is None else self._cosigner.vkey.encode()

    @property
    def checkpoint_path(self) -> Path:
        """Where the checkpoint lies that was cosigned last."""
        return self.path / CHECKPOINT

    def cosign(self, note: bytes, size: int, now_s: int) -> bool:
        """Cosign a checkpoint of ``size`` that has been audited whole; False without a name.

        Stored first, then written to ``checkpoint_path``. Its tree extends every one cosigned
        before: what is audited is one row, which only ever grows.
        """
        if self._cosigner is None:
            return False
        parsed, last_s = parse_note(note), 0
        with writing(self.engine) as connection:
            for last in read_cosignatures(connection):
                if last.size > size:
                    raise IntegrityError(f"a checkpoint of {last.size} entries has been cosigned")
                last_s = split_timestamp(last.signature)[0]
            if now_s < last_s - MAX_CLOCK_STEP_S:
                raise ConfigurationError("this machine's clock stands before the last cosignature")
            line = self._cosigner.cosign(parsed.text, max(now_s, last_s))
            vkey = self._cosigner.vkey.encode()
            keep_cosignatures(connection, size, {vkey: line.signature})
        _write(self.checkpoint_path, _with_line(parsed, line))
        return True

    def keep_fork(self, audited: bytes, shown: bytes) -> None:
        """Two checkpoints that contradict each other, both signed by the ledger: the proof."""
        folder = self.path / FORK
        folder.mkdir(exist_ok=True)
        _write(folder / "audited", audited)
        _write(folder / "shown", shown)

    def _load_key(self, path: Path, name: str | None) -> None:
        """Nobody learns the key before both its file and the memory have it."""
        with reading(self.engine) as connection:
            vkey = read_about(connection).vkey
        if vkey is None and name is None:
            return
        if vkey is not None and not path.exists():
            raise ConfigurationError(f"{path} is missing; put it back")
        signer = read_key(path) if path.exists() else make_key(path)
        cosigner = Cosigner(name or (vkey or "").partition("+")[0], signer)
        if vkey is None:
            with writing(self.engine) as connection:
                set_vkey(connection, cosigner.vkey.encode())
        elif vkey != cosigner.vkey.encode():
            raise ConfigurationError(
                f"{self.path} is the folder of {vkey}; an auditor has one name and one key"
            )
        self._cosigner = cosigner


def _with_line(note: Note, line: NoteSignature) -> bytes:
    """The note with one more cosignature; with no others where they leave no room for it."""
    try:
        return add_signatures(note.encode(), [line])
    except Refused:
        origin = Checkpoint.decode(note.text).origin
        lines = tuple(other for other in note.signatures if other.name == origin)[:8]
        return Note(note.text, (*lines, line)).encode()


def _write(path: Path, data: bytes) -> None:
    """Put a file in place, durably."""
    replace_file(path, data)
    sync_folder(path.parent)
