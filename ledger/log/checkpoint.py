"""Checkpoints: the log's size and root as the text of a signed note, per C2SP tlog-checkpoint."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from ledger.errors import Reason, Refused
from ledger.log.merkle import EMPTY_ROOT, HASH_SIZE, MAX_SIZE
from ledger.log.note import (
    NoteSignature,
    Signer,
    Verifier,
    open_note,
    sign_note,
)
from ledger.log.vkey import decode_base64, encode_base64

_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A tree head: the log's origin, size in entries (below 2**63) and root (32 bytes).

    Extension lines are opaque, non-empty and best left out: no monitor can audit them.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for line in (self.origin, *self.extensions):
            _require_line(line)
        if type(self.size) is not int or not 0 <= self.size < MAX_SIZE:
            raise Refused(Reason.NOTE_MALFORMED, "a size is a number below 2**63", field="size")
        if len(self.root) != HASH_SIZE or (self.size == 0 and self.root != EMPTY_ROOT):
            raise Refused(
                Reason.NOTE_MALFORMED, "a root has 32 bytes, of size 0 a fixed value", field="root"
            )

    def encode(self) -> bytes:
        """The note text, with its final newline."""
        lines = (self.origin, str(self.size), encode_base64(self.root), *self.extensions)
        return "".join(f"{line}\n" for line in lines).encode()

    @classmethod
    def decode(cls, text: bytes) -> Self:
        """Strict inverse of :meth:`encode`; raises Refused with NOTE_MALFORMED."""
        try:
            lines = text.decode("utf-8").split("\n")
        except UnicodeDecodeError as error:
            raise Refused(Reason.NOTE_MALFORMED, "a checkpoint is UTF-8") from error
        if len(lines) < 4 or lines.pop():
            raise Refused(Reason.NOTE_MALFORMED, "a checkpoint has three lines or more")
        origin, size, root, *extensions = lines
        if not _SIZE.fullmatch(size):
            raise Refused(
                Reason.NOTE_MALFORMED, "a size is decimal without leading zeroes", field="size"
            )
        try:
            return cls(origin, int(size), decode_base64(root), tuple(extensions))
        except ValueError as error:
            raise Refused(Reason.NOTE_MALFORMED, "the root is not base64", field="root") from error


def _require_line(line: str) -> None:
    if not line or any(c < " " or "\ud800" <= c <= "\udfff" for c in line):
        raise Refused(Reason.NOTE_MALFORMED, "a checkpoint line is non-empty text without controls")


def sign_checkpoint(checkpoint: Checkpoint, signers: Sequence[Signer]) -> bytes:
    """The checkpoint as a signed note.

    The caller answers for its being consistent with every checkpoint signed before.
    """
    return sign_note(checkpoint.encode(), signers)


def open_checkpoint(
    data: bytes, origin: str, verifiers: Iterable[Verifier]
) -> tuple[Checkpoint, tuple[NoteSignature, ...]]:
    """The checkpoint of the log ``origin``, signed by at least one of ``verifiers``.

    Raises Refused: NOTE_MALFORMED (also for another log's origin), TOO_LARGE,
    SIGNATURE_INVALID. Give only keys of the log itself, or look at the names returned.
    """
    text, signatures = open_note(data, verifiers)
    checkpoint = Checkpoint.decode(text)
    if checkpoint.origin != origin:
        raise Refused(Reason.NOTE_MALFORMED, "the checkpoint is of another log", field="origin")
    return checkpoint, signatures
