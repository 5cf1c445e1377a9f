"""The rows of a ranging report: their Merkle tree, and one row shown alone.

The tree is that of RFC 6962 over the deterministic CBOR of the rows. The landmark signs its root
apart from the report, so that whoever is shown a row needs the landmark's key and nothing of the
other chips'. A row's transcript digest is unforeseeable, so a path gives none of its neighbours
away.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple

from ledger.errors import Reason, Refused
from ledger.protocol import cbor
from ledger.protocol.keys import PublicKey, SigningKey
from ledger.protocol.landmarks import MAX_ROWS, RangingReport, RangingRow
from ledger.protocol.ranging import EPOCH_SIZE, MAX_ROUND_TRIP_US
from ledger.values import check_ueid

MAX_PROOF_BYTES = 1_024
_LABEL = "chip-passport ranging rows v1"
_HASH = 32
_MAX_VERSION, _MAX_PROBES, _MAX_ID = 2**31, 64, 63


def row_hash(row: RangingRow) -> bytes:
    """Leaf hash of a row: SHA-256(0x00 || CBOR [ueid, round_trip_us, probes, transcript])."""
    parts = [row.ueid, row.round_trip_us, row.probes, row.transcript]
    return sha256(b"\x00" + cbor.encode(parts)).digest()


def rows_root(rows: Sequence[RangingRow]) -> bytes:
    """Root over rows in their order; at least one."""
    return _root([row_hash(row) for row in rows])


def rows_message(landmark: str, epoch: bytes, directory: int, count: int, root: bytes) -> bytes:
    """What ``rows_signature`` is over."""
    return cbor.encode([_LABEL, landmark, epoch, directory, count, root])


def make_report(
    iat: int,
    landmark: str,
    epoch: bytes,
    directory: int,
    rows: Sequence[RangingRow],
    signer: SigningKey,
) -> RangingReport:
    """A report over 1 to ``MAX_ROWS`` rows, sorted here; it is still to be signed as a statement.

    Raises pydantic's ValidationError on values that no report may have.
    """
    ordered = sorted(rows, key=lambda row: row.ueid)
    root = rows_root(ordered)
    message = rows_message(landmark, epoch, directory, len(ordered), root)
    return RangingReport(
        iat=iat,
        landmark=landmark,
        epoch=epoch,
        directory=directory,
        rows=ordered,
        root=root,
        rows_signature=signer.sign(message),
    )


def check_report(report: RangingReport, key: PublicKey) -> None:
    """Refuse a report whose root or rows_signature does not fit its rows."""
    if rows_root(report.rows) != report.root:
        raise Refused(Reason.RANGING_ROWS, "the rows have another root", field="root")
    message = rows_message(
        report.landmark, report.epoch, report.directory, len(report.rows), report.root
    )
    if not key.verify(message, report.rows_signature):
        raise Refused(
            Reason.RANGING_ROWS, "the landmark did not sign this root", field="rows_signature"
        )


class RowProof(NamedTuple):
    """Row ``number`` of a report of ``size`` rows, with all that it takes to believe it."""

    landmark: str
    epoch: bytes
    directory: int
    size: int
    root: bytes
    signature: bytes
    number: int
    row: RangingRow
    path: tuple[bytes, ...]

    @classmethod
    def of(cls, report: RangingReport, number: int) -> "RowProof":
        """Of row ``number`` of a report, counted from 0."""
        hashes = [row_hash(row) for row in report.rows]
        return cls(
            report.landmark,
            report.epoch,
            report.directory,
            len(report.rows),
            report.root,
            report.rows_signature,
            number,
            report.rows[number],
            tuple(_path(hashes, number)),
        )

    def verify(self, key: PublicKey) -> RangingRow:
        """The row, if the landmark with ``key`` put it into a report of this epoch; else refuse.

        Still owed by the caller: that ``key`` is the landmark's, and that the report stands on
        the ledger: this shows what the landmark signed, not that it was filed.
        """
        if not 0 <= self.number < self.size <= MAX_ROWS:
            raise Refused(Reason.PROOF_INVALID, "the report has no such row", field="number")
        if _climb(row_hash(self.row), self.number, self.size, self.path) != self.root:
            raise Refused(Reason.PROOF_INVALID, "the path leads to another root", field="path")
        message = rows_message(self.landmark, self.epoch, self.directory, self.size, self.root)
        if not key.verify(message, self.signature):
            raise Refused(Reason.SIGNATURE_INVALID, "the landmark did not sign this root")
        return self.row

    def encode(self) -> bytes:
        """Deterministic CBOR: an array of the members, the row as an array of its own."""
        row = self.row
        parts = [row.ueid, row.round_trip_us, row.probes, row.transcript]
        return cbor.encode([*self[:7], parts, list(self.path)])

    @classmethod
    def decode(cls, data: bytes) -> "RowProof":
        """Inverse of ``encode``; raises only ``Refused``."""
        parts = cbor.decode(data, max_size=MAX_PROOF_BYTES, max_depth=2)
        if not isinstance(parts, list) or len(parts) != len(cls._fields):
            raise _malformed("a row proof is an array of nine")
        landmark, epoch, directory, size, root, signature, number, row, path = parts
        if not isinstance(landmark, str) or not 0 < len(landmark) <= _MAX_ID:
            raise _malformed("landmark is a party id")
        if not _is_hash(epoch, EPOCH_SIZE) or not _is_hash(root) or not _is(signature, bytes):
            raise _malformed("epoch, root and signature are byte strings of their sizes")
        if not _within(directory, _MAX_VERSION) or not _within(size, MAX_ROWS):
            raise _malformed("directory and size are positive numbers within their limits")
        if not _is(number, int) or not 0 <= number < size:
            raise _malformed("number is that of a row, from 0")
        if not _is(row, list) or not _is(path, list) or not all(map(_is_hash, path)):
            raise _malformed("the row is an array, the path an array of hashes")
        return cls(
            landmark, epoch, directory, size, root, signature, number, _row(row), tuple(path)
        )


def _row(parts: list[object]) -> RangingRow:
    if len(parts) != 4:
        raise _malformed("a row is [ueid, round_trip_us, probes, transcript]")
    ueid, round_trip_us, probes, transcript = parts
    if not isinstance(ueid, bytes) or not _is_hash(transcript):
        raise _malformed("UEID and transcript are byte strings")
    if not _within(round_trip_us, MAX_ROUND_TRIP_US) or not _within(probes, _MAX_PROBES):
        raise _malformed("round trip and probes are positive numbers within their limits")
    check_ueid(ueid)
    values = {"ueid": ueid, "round_trip_us": round_trip_us}
    return RangingRow.model_validate(values | {"probes": probes, "transcript": transcript})


def _malformed(detail: str) -> Refused:
    return Refused(Reason.RANGING_MALFORMED, detail)


def _is(value: object, kind: type) -> bool:
    return type(value) is kind


def _is_hash(value: object, size: int = _HASH) -> bool:
    return isinstance(value, bytes) and len(value) == size


def _within(value: object, limit: int) -> bool:
    return type(value) is int and 1 <= value <= limit


# --- The tree (RFC 6962, 2.1), for the few rows of a report -----------------------------------
# ``ledger.log`` has the same for logs of any size; it stands on this package, so it is not
# imported here. A test holds both against each other.


def _node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


def _split(size: int) -> int:
    """The largest power of two below ``size``."""
    return 1 << ((size - 1).bit_length() - 1)


def _root(hashes: Sequence[bytes]) -> bytes:
    if len(hashes) == 1:
        return hashes[0]
    at = _split(len(hashes))
    return _node(_root(hashes[:at]), _root(hashes[at:]))


def _path(hashes: Sequence[bytes], index: int) -> list[bytes]:
    """Siblings from the leaf upwards."""
    if len(hashes) == 1:
        return []
    at = _split(len(hashes))
    if index < at:
        return [*_path(hashes[:at], index), _root(hashes[at:])]
    return [*_path(hashes[at:], index - at), _root(hashes[:at])]


def _climb(value: bytes, index: int, count: int, path: Sequence[bytes]) -> bytes:
    """The root that a path leads to; a path of another length than the tree asks for is refused."""
    if count == 1:
        if path:
            raise Refused(Reason.PROOF_INVALID, "the path is too long", field="path")
        return value
    if not path:
        raise Refused(Reason.PROOF_INVALID, "the path is too short", field="path")
    at = _split(count)
    if index < at:
        return _node(_climb(value, index, at, path[:-1]), path[-1])
    return _node(path[-1], _climb(value, index - at, count - at, path[:-1]))
