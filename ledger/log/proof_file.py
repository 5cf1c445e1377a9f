"""Proofs in one text file, per C2SP tlog-proof: an entry's index, its inclusion path and a
checkpoint with cosignatures, to be verified offline by a trust policy.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ledger.errors import Reason, Refused
from ledger.log.checkpoint import Checkpoint
from ledger.log.merkle import MAX_SIZE
from ledger.log.note import MAX_NOTE_SIZE, parse_note
from ledger.log.proofs import verify_inclusion
from ledger.log.quorum import Endorsement, evaluate
from ledger.log.trust import TrustPolicy
from ledger.log.vkey import Vkey, decode_base64, encode_base64

FILE_SUFFIX = ".tlog-proof"
MAX_EXTRA_SIZE = 65_536
MAX_PATH = 63
"""Hashes of an inclusion path, in a tree of fewer than 2**63 entries."""
MAX_PROOF_SIZE = MAX_NOTE_SIZE + 96_000

_HEADER = "c2sp.org/tlog-proof@v1"
_INDEX = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class ProofFile:
    """A proof taken apart; nothing in it is verified.

    ``path`` goes from the leaf's sibling up (32 bytes each), ``checkpoint`` is the whole signed
    note, and nothing ever vouches for ``extra``.
    """

    index: int
    path: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes | None = None

    def __post_init__(self) -> None:
        if type(self.index) is not int or not 0 <= self.index < MAX_SIZE:
            raise _malformed("an index is a number below 2**63", "index")
        if len(self.path) > MAX_PATH or any(len(value) != 32 for value in self.path):
            raise _malformed(f"a path is at most {MAX_PATH} hashes of 32 bytes", "path")
        if self.extra is not None and not 1 <= len(self.extra) <= MAX_EXTRA_SIZE:
            raise _malformed(f"extra data has 1 to {MAX_EXTRA_SIZE} bytes", "extra")
        Checkpoint.decode(parse_note(self.checkpoint).text)

    def encode(self) -> bytes:
        """The file."""
        lines = [_HEADER]
        if self.extra is not None:
            lines.append(f"extra {encode_base64(self.extra)}")
        lines.append(f"index {self.index}")
        lines += map(encode_base64, self.path)
        return "".join(f"{line}\n" for line in lines).encode() + b"\n" + self.checkpoint

    @classmethod
    def decode(cls, data: bytes) -> "ProofFile":
        """Strict inverse of :meth:`encode`. Refused: NOTE_MALFORMED, TOO_LARGE."""
        if len(data) > MAX_PROOF_SIZE:
            raise Refused(
                Reason.TOO_LARGE, f"a proof has at most {MAX_PROOF_SIZE} bytes", field="proof"
            )
        head, blank, checkpoint = data.partition(b"\n\n")
        try:
            lines = head.decode("ascii").split("\n")
        except UnicodeDecodeError as error:
            raise _malformed("the lines before the checkpoint are ASCII", "proof") from error
        if not blank or lines.pop(0) != _HEADER:
            raise _malformed(f"a proof starts with {_HEADER} and holds a checkpoint", "proof")
        extra = None
        if lines and lines[0].startswith("extra "):
            extra = _base64(lines.pop(0).removeprefix("extra "), "extra")
        index = lines.pop(0).removeprefix("index ") if _has_index(lines) else ""
        if not _INDEX.fullmatch(index):
            raise _malformed("the index line is: index, decimal without leading zeroes", "index")
        path = tuple(_base64(line, "path") for line in lines[: MAX_PATH + 1])
        return cls(int(index), path, checkpoint, extra)


def verify_proof_file(
    proof: ProofFile,
    leaf_hash: bytes,
    policy: TrustPolicy,
    *,
    origin: str | None = None,
    latest_s: int | None = None,
    extra_logs: Sequence[Vkey] = (),
) -> Endorsement:
    """Refuse unless a log of the policy holds ``leaf_hash`` (32 bytes) at the proof's index.

    1. The checkpoint is judged (``quorum.evaluate``), and the quorum is met (SIGNATURE_INVALID).
    2. The path leads from the leaf to the checkpoint's root (PROOF_INVALID).

    The caller makes the leaf hash from the entry itself, and decides how old is too old.
    """
    endorsement = evaluate(
        policy, proof.checkpoint, origin=origin, latest_s=latest_s, extra_logs=extra_logs
    )
    endorsement.require_quorum()
    checkpoint = endorsement.checkpoint
    verify_inclusion(leaf_hash, proof.index, checkpoint.size, proof.path, checkpoint.root)
    return endorsement


def _has_index(lines: list[str]) -> bool:
    return bool(lines) and lines[0].startswith("index ")


def _base64(text: str, field: str) -> bytes:
    try:
        return decode_base64(text)
    except ValueError as error:
        raise _malformed("not standard base64 with padding", field) from error


def _malformed(detail: str, field: str) -> Refused:
    return Refused(Reason.NOTE_MALFORMED, detail, field=field)
