"""What a witness decides, per C2SP tlog-witness: requests taken apart, authenticated and judged.

Pure: who keeps the last checkpoint, and that it is kept before the answer leaves, is told in
``ledger.service.witness``.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ledger.errors import Reason, Refused
from ledger.log.checkpoint import Checkpoint
from ledger.log.cosignature import note_verifier, require_covered
from ledger.log.merkle import EMPTY_ROOT, HASH_SIZE, MAX_SIZE
from ledger.log.note import MAX_NOTE_SIZE, open_note, parse_note
from ledger.log.proofs import verify_consistency
from ledger.log.vkey import Vkey, decode_base64, encode_base64

MAX_PROOF = 63
MAX_REQUEST_SIZE = MAX_NOTE_SIZE + 4_096
MAX_CLOCK_STEP_S = 60
"""How far the clock may have gone back (a leap second, a correction) for a witness to go on."""

_OLD = re.compile(rb"old (0|[1-9][0-9]{0,18})")


class Problem(StrEnum):
    """Why a witness does not cosign; the HTTP status is chosen in ``api.witness``."""

    MALFORMED = "malformed"
    UNKNOWN_LOG = "unknown-log"
    SIGNATURE = "signature"
    OLD_SIZE = "old-size"
    """The old size is above the checkpoint's."""
    CONFLICT = "conflict"
    """The old size is not that of the checkpoint cosigned last; the answer says which is."""
    FORK = "fork"
    """Same size, another root: the log has signed two histories."""
    PROOF = "proof"
    CLOCK = "clock"
    """The witness's clock stands far before its last cosignature."""


@dataclass(frozen=True, slots=True)
class Declined:
    """No cosignature; ``size`` is that of the checkpoint cosigned last, for CONFLICT only."""

    problem: Problem
    detail: str
    size: int | None = None


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """A request: the size that the log thinks the witness knows, the proof from there, the note."""

    old_size: int
    proof: tuple[bytes, ...]
    note: bytes

    def encode(self) -> bytes:
        """The request's body."""
        lines = [f"old {self.old_size}", *map(encode_base64, self.proof)]
        return "".join(f"{line}\n" for line in lines).encode() + b"\n" + self.note

    @classmethod
    def decode(cls, body: bytes) -> "AddCheckpoint":
        """Strict inverse of :meth:`encode`. Refused: NOTE_MALFORMED, TOO_LARGE."""
        if len(body) > MAX_REQUEST_SIZE:
            raise Refused(Reason.TOO_LARGE, f"a request has at most {MAX_REQUEST_SIZE} bytes")
        head, blank, note = body.partition(b"\n\n")
        old, *lines = head.split(b"\n")
        match = _OLD.fullmatch(old)
        if not blank or match is None or int(match[1]) >= MAX_SIZE:
            raise _malformed("a request starts with an old size line", "old")
        try:
            proof = tuple(decode_base64(line.decode("ascii")) for line in lines[: MAX_PROOF + 1])
        except ValueError as error:
            raise _malformed("proof lines are base64", "proof") from error
        if len(proof) > MAX_PROOF or any(len(value) != HASH_SIZE for value in proof):
            raise _malformed(f"a proof has at most {MAX_PROOF} hashes of 32 bytes", "proof")
        parse_note(note)
        return cls(int(match[1]), proof, note)


@dataclass(frozen=True, slots=True)
class Submission:
    """A request whose checkpoint the log has signed; ``text`` is what gets cosigned."""

    request: AddCheckpoint
    checkpoint: Checkpoint
    text: bytes


@dataclass(frozen=True, slots=True)
class Seen:
    """The checkpoint that a witness cosigned last: size, root (32 bytes), time (seconds)."""

    size: int = 0
    root: bytes = EMPTY_ROOT
    cosigned_s: int = 0


def authenticate(body: bytes, logs: Mapping[str, Sequence[Vkey]]) -> Submission | Declined:
    """What can be judged without the witness's memory; ``logs`` are trusted keys by origin.

    1. The request, its note and its checkpoint parse (MALFORMED).
    2. The origin is known (UNKNOWN_LOG).
    3. A trusted key signed it, and no signature by such a key fails (SIGNATURE).
    4. The old size is not above the new one (OLD_SIZE).
    """
    try:
        request = AddCheckpoint.decode(body)
        checkpoint = Checkpoint.decode(parse_note(request.note).text)
    except Refused as error:
        return Declined(Problem.MALFORMED, error.detail)
    keys = {(vkey.name, vkey.key_id): vkey for vkey in logs.get(checkpoint.origin, ())}
    if not keys:
        return Declined(Problem.UNKNOWN_LOG, "this witness does not follow that log")
    try:
        text, signatures = open_note(request.note, [note_verifier(v) for v in keys.values()])
        require_covered(checkpoint, [keys[s.name, s.key_id] for s in signatures])
    except Refused as error:
        return Declined(Problem.SIGNATURE, error.detail)
    if request.old_size > checkpoint.size:
        return Declined(Problem.OLD_SIZE, "the old size is above the checkpoint's")
    return Submission(request, checkpoint, text)


def decide(submission: Submission, seen: Seen, now_s: int) -> Seen | Declined:
    """What to remember before cosigning, or why not to. Atomic with reading ``seen``.

    1. The old size is the size seen last (CONFLICT), so that no later tree is ever rolled back.
    2. At the same size the root is the same (FORK).
    3. The new tree extends the one seen, by the proof (PROOF); from size 0 the proof is empty.
    4. The clock does not stand far before the last cosignature (CLOCK); a small step back is
       bridged with the time used last.
    """
    request, checkpoint = submission.request, submission.checkpoint
    if request.old_size != seen.size:
        return Declined(
            Problem.CONFLICT, f"the checkpoint cosigned last has size {seen.size}", seen.size
        )
    if checkpoint.size == seen.size and checkpoint.root != seen.root:
        return Declined(Problem.FORK, "another root was cosigned for this size")
    try:
        verify_consistency(seen.size, checkpoint.size, seen.root, checkpoint.root, request.proof)
    except Refused as error:
        return Declined(Problem.PROOF, error.detail)
    if now_s < seen.cosigned_s - MAX_CLOCK_STEP_S:
        return Declined(Problem.CLOCK, "the witness's clock has gone back")
    return Seen(checkpoint.size, checkpoint.root, max(now_s, seen.cosigned_s))


def _malformed(detail: str, field: str) -> Refused:
    return Refused(Reason.NOTE_MALFORMED, detail, field=field)
