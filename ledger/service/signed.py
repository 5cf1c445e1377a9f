"""What this ledger has signed last, kept in a file apart from the database.

A database that lost its newest transactions (an old backup, a disk that forgot what it had promised
to keep, a standby that took over too early) looks sound from within, and its ledger would sign
another checkpoint of a size that it has signed already. This record is how a start notices.

With SQLite it lies beside the database and is written *before* the checkpoint's transaction
commits, so that nothing can be served that is not recorded. A start that finds a checkpoint which
was recorded and not committed publishes that very one first: the same entries at the same time give
the same bytes. On PostgreSQL, where another process may go on meanwhile, it lies with the node's
keys and is written after the commit; whatever it says was committed then.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ledger.errors import ConfigurationError, IntegrityError, StorageError
from ledger.service.files import replace_file, sync_folder
from ledger.values import sha256

VERSION = "chip-passport signed v1"
MAX_BYTES = 1_000


@dataclass(frozen=True, slots=True)
class Signed:
    """A checkpoint's size and root, the digest of its ledger's genesis, and when it was made."""

    genesis: bytes
    size: int
    root: bytes
    received_ms: int

    def encode(self) -> bytes:
        """Three lines: version, content as JSON, SHA-256 of the first two."""
        content = [self.genesis.hex(), self.size, self.root.hex(), self.received_ms]
        text = f"{VERSION}\n{json.dumps(content)}\n".encode()
        return text + sha256(text).hex().encode() + b"\n"

    @classmethod
    def decode(cls, data: bytes) -> "Signed":
        """Inverse of ``encode``; ValueError for anything else."""
        lines = data.split(b"\n")
        if len(data) > MAX_BYTES or len(lines) != 4:
            raise ValueError("it does not have three lines")
        text = b"\n".join(lines[:2]) + b"\n"
        if lines[0] != VERSION.encode():
            raise ValueError("its first line names another format")
        if lines[2] != sha256(text).hex().encode() or lines[3]:
            raise ValueError("its digest is of something else")
        try:
            genesis, size, root, received_ms = json.loads(lines[1])
            return cls(bytes.fromhex(genesis), int(size), bytes.fromhex(root), int(received_ms))
        except TypeError as error:
            raise ValueError("it does not hold what it should") from error


class SignedRecord:
    """The record in its file; without a path it remembers nothing. Held by one thread at a time."""

    def __init__(self, path: Path | None, *, before_commit: bool) -> None:
        self.path = path
        self.before_commit = before_commit
        self._last: Signed | None = None

    @property
    def _fresh(self) -> str:
        """What is added to the name while writing; several processes may share the later record."""
        return ".new" if self.before_commit else f".{os.getpid()}.new"

    def read(self) -> Signed | None:
        """What the file says; None where there is none. ConfigurationError where it is damaged."""
        self._last = None
        if self.path is None:
            return None
        try:
            self._last = Signed.decode(self.path.read_bytes())
        except FileNotFoundError:
            pass
        except OSError as error:
            raise ConfigurationError(f"cannot read {self.path}: {error.strerror}") from error
        except ValueError as error:
            raise ConfigurationError(
                f"{self.path} is damaged: {error}. It says which checkpoint this ledger signed "
                "last; put it back, or remove it if the database is certainly the newest state"
            ) from error
        return self._last

    def write(self, signed: Signed) -> None:
        """Durable when it returns; StorageError where it was not written."""
        if self.path is None:
            return
        try:
            replace_file(self.path, signed.encode(), ending=self._fresh)
            self._last = signed  # in its place, if not yet for certain
            sync_folder(self.path.parent)
        except OSError as error:
            raise StorageError(f"cannot write {self.path}: {error.strerror}") from error

    @contextmanager
    def withdrawn_on_failure(self) -> Iterator[None]:
        """Put back what was recorded before, should the transaction inside not be committed.

        Where that cannot be done nothing may be appended any more, or the recorded checkpoint could
        never be made: IntegrityError. The next start makes it.
        """
        before = self._last
        try:
            yield
        except BaseException as failure:
            if self._last is not before:
                self._put_back(before, failure)
            raise

    def _put_back(self, before: Signed | None, failure: BaseException) -> None:
        assert self.path is not None  # noqa: S101 - something was written
        try:
            if before is None:
                self.path.unlink(missing_ok=True)
            else:
                replace_file(self.path, before.encode(), ending=self._fresh)
            sync_folder(self.path.parent)
        except OSError as error:
            raise IntegrityError(
                f"a checkpoint was not stored ({failure}), and {self.path}, which says that it was "
                f"signed, cannot be put back: {error.strerror}; start again once the disk is sound"
            ) from failure
        self._last = before
