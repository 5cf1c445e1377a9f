"""Cosignatures of checkpoints, per C2SP tlog-cosignature: Ed25519 (0x04) and ML-DSA-44 (0x06).

A cosignature carries the time at which its maker vouched for the checkpoint being the largest
that it had seen. Ed25519 signs the whole note text; ML-DSA-44 signs the cosigner's name, the log's
origin, the size and the root, but no extension lines. Times are whole seconds since 1970.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from ledger.errors import ConfigurationError, Reason, Refused
from ledger.log.checkpoint import Checkpoint
from ledger.log.note import Note, NoteKey, NoteSignature, NoteVerifier, Verifier, parse_note
from ledger.log.vkey import (
    ED25519,
    KEY_SIZE,
    Vkey,
    check_name,
    decode_base64,
    is_ed25519_key,
    verify_ed25519,
)

ED25519_COSIGNATURE = 0x04
MLDSA44_COSIGNATURE = 0x06
WITNESS_TYPES = frozenset({ED25519_COSIGNATURE, MLDSA44_COSIGNATURE})
LOG_TYPES = frozenset({ED25519, MLDSA44_COSIGNATURE})
"""What a log signs with here: a plain note signature, or ML-DSA-44 as tlog-checkpoint advises."""

MLDSA44_KEY_SIZE = 1312
MLDSA44_SIGNATURE_SIZE = 2420
TIMESTAMP_SIZE = 8
MAX_TIMESTAMP = 2**63 - 1
_MAX_VKEY_SIZE = 3_072
"""An ML-DSA-44 key is 1,752 characters of base64, and a name has up to 1,020 bytes."""
_MAX_SHORT = 255
"""Name and origin lie in vectors with one length byte in what ML-DSA-44 signs."""
_V1_HEADER = b"cosignature/v1\n"
_SUBTREE_LABEL = b"subtree/v1\n\x00"


def parse_vkey(text: str) -> Vkey:
    """A note key of any size up to ML-DSA-44; strict as ``Vkey.parse``, which ends at 512 bytes."""
    parts = text.split("+", 2) if len(text) <= _MAX_VKEY_SIZE else []
    try:
        name, _, blob = parts
        data = decode_base64(blob)
        vkey = Vkey(check_name(name), data[0], data[1:])
    except (ValueError, IndexError, Refused) as error:
        raise _bad_key("a note key is name+keyid+base64") from error
    if vkey.encode() != text:
        raise _bad_key("the key id does not fit the key")
    return vkey


def v1_message(text: bytes, timestamp_s: int) -> bytes:
    """What Ed25519 signs: a header line, a time line, and the whole note text."""
    return _V1_HEADER + b"time %d\n" % timestamp_s + text


def subtree_message(
    name: str, timestamp_s: int, origin: str, start: int, end: int, root: bytes
) -> bytes:
    """What ML-DSA-44 signs for the entries ``[start, end)``; a checkpoint starts at 0."""
    return b"".join(
        (
            _SUBTREE_LABEL,
            _short(name, "name"),
            timestamp_s.to_bytes(TIMESTAMP_SIZE),
            _short(origin, "origin"),
            start.to_bytes(TIMESTAMP_SIZE),
            end.to_bytes(TIMESTAMP_SIZE),
            root,
        )
    )


def split_timestamp(signature: bytes) -> tuple[int, bytes]:
    """Time (seconds) and bare signature. Refused(NOTE_MALFORMED) if too short or after 2**63-1."""
    timestamp = int.from_bytes(signature[:TIMESTAMP_SIZE])
    if len(signature) <= TIMESTAMP_SIZE or timestamp > MAX_TIMESTAMP:
        raise Refused(
            Reason.NOTE_MALFORMED,
            "a cosignature is a time below 2**63 and a signature",
            field="signature",
        )
    return timestamp, signature[TIMESTAMP_SIZE:]


class CosignatureVerifier:
    """Verifies the cosignatures of one key, of either type."""

    def __init__(self, vkey: Vkey | str) -> None:
        """Refuses (KEY_INVALID) other types, wrong sizes and Ed25519 points of small order.

        ConfigurationError where the key is ML-DSA-44 and the installed cryptography has none.
        """
        parsed = parse_vkey(vkey) if isinstance(vkey, str) else vkey
        if parsed.signature_type not in WITNESS_TYPES:
            raise _bad_key("not a cosigner's key: its type is neither 0x04 nor 0x06")
        self._mldsa: Any = None
        if parsed.signature_type == MLDSA44_COSIGNATURE:
            _short(parsed.name, "name")
            self._mldsa = _mldsa_public(parsed.public_key)
        elif not is_ed25519_key(parsed.public_key):
            raise _bad_key("not an Ed25519 point of prime order")
        self.vkey = parsed
        self.name = parsed.name
        self.key_id = parsed.key_id

    def __repr__(self) -> str:
        return f"CosignatureVerifier({self.name}+{self.key_id.hex()})"

    def verify(self, text: bytes, signature: bytes, /) -> bool:
        """Whether ``signature`` (8 bytes of time, then 64 or 2,420) is over this checkpoint."""
        try:
            timestamp, bare = split_timestamp(signature)
            message = _message(self.vkey, text, timestamp)
        except Refused:
            return False
        if self._mldsa is None:
            return verify_ed25519(self.vkey.public_key, message, bare)
        if len(bare) != MLDSA44_SIGNATURE_SIZE:
            return False
        try:
            self._mldsa.verify(bare, message)
        except InvalidSignature:
            return False
        return True


class Cosigner:
    """Cosigns checkpoints as ``name``; the size of the public key says with which algorithm.

    An Ed25519 cosignature does not cover the name, so no two cosigners may share such a key.
    """

    def __init__(self, name: str, key: NoteKey) -> None:
        raw = key.public.raw
        kind = ED25519_COSIGNATURE if len(raw) == KEY_SIZE else MLDSA44_COSIGNATURE
        self.vkey = Vkey(check_name(name), kind, raw)
        CosignatureVerifier(self.vkey)
        self._key = key

    def __repr__(self) -> str:
        return f"Cosigner({self.vkey.name}+{self.vkey.key_id.hex()})"

    def cosign(self, text: bytes, timestamp_s: int) -> NoteSignature:
        """The signature line over a checkpoint's text; refuses a text that is no checkpoint."""
        if not 0 <= timestamp_s <= MAX_TIMESTAMP:
            raise Refused(Reason.NOTE_MALFORMED, "a time lies below 2**63", field="timestamp")
        bare = self._key.sign(_message(self.vkey, text, timestamp_s))
        signature = timestamp_s.to_bytes(TIMESTAMP_SIZE) + bare
        return NoteSignature(self.vkey.name, self.vkey.key_id, signature)

    def require_origin(self, origin: str) -> None:
        """Refuse (NOTE_MALFORMED) an origin whose checkpoints this key's form cannot name."""
        if self.vkey.signature_type == MLDSA44_COSIGNATURE:
            _short(origin, "origin")

    def at(self, timestamp_s: int) -> "TimedCosigner":
        """A ``note.Signer`` that cosigns at this time, for ``sign_note``."""
        return TimedCosigner(self, timestamp_s)


@dataclass(frozen=True, slots=True)
class TimedCosigner:
    """A cosigner at one moment: what ``sign_note`` and ``sign_checkpoint`` take."""

    cosigner: Cosigner
    timestamp_s: int

    def sign(self, text: bytes, /) -> NoteSignature:
        """The signature line over ``text``."""
        return self.cosigner.cosign(text, self.timestamp_s)


@dataclass(frozen=True, slots=True)
class _RawKey:
    raw: bytes


class _MlDsaPrivate(Protocol):
    def sign(self, data: bytes, /) -> bytes: ...

    def private_bytes(
        self,
        encoding: serialization.Encoding,
        format: serialization.PrivateFormat,
        encryption_algorithm: serialization.KeySerializationEncryption,
    ) -> bytes: ...


class MlDsa44Key:
    """An ML-DSA-44 private key (FIPS 204) for :class:`Cosigner`.

    Signing is hedged: the library draws fresh randomness, so signatures do not repeat.
    """

    def __init__(self, private: Any) -> None:
        if not isinstance(private, _mldsa().MLDSA44PrivateKey):
            raise ConfigurationError("the key is not an ML-DSA-44 private key")
        self._private: _MlDsaPrivate = private
        self.public = _RawKey(private.public_key().public_bytes_raw())

    @classmethod
    def from_seed(cls, seed: bytes) -> "MlDsa44Key":
        """The key that FIPS 204 makes from ``seed``, 32 bytes.

        ConfigurationError where the installed cryptography or its OpenSSL has no ML-DSA-44.
        """
        try:
            return cls(_mldsa().MLDSA44PrivateKey.from_seed_bytes(seed))
        except UnsupportedAlgorithm as error:
            raise _no_mldsa() from error

    @classmethod
    def from_pem(cls, pem: bytes, password: bytes | None = None) -> "MlDsa44Key":
        """From PKCS #8 in PEM; ConfigurationError if it cannot be read or is another kind."""
        try:
            return cls(serialization.load_pem_private_key(pem, password or None))
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise ConfigurationError("the ML-DSA-44 key cannot be read") from error

    def to_pem(self) -> bytes:
        """PKCS #8 in PEM, not encrypted; it holds the seed (RFC 9881)."""
        return self._private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    def __repr__(self) -> str:
        return "MlDsa44Key()"

    def sign(self, message: bytes, /) -> bytes:
        """2,420 bytes, with the empty context."""
        return self._private.sign(message)


def note_verifier(vkey: Vkey) -> Verifier:
    """The verifier that fits the key's signature type."""
    return NoteVerifier(vkey) if vkey.signature_type == ED25519 else CosignatureVerifier(vkey)


def require_covered(checkpoint: Checkpoint, signers: Iterable[Vkey]) -> None:
    """Refuse extension lines that no signature of the log covers (ML-DSA-44 leaves them out)."""
    if checkpoint.extensions and all(
        vkey.signature_type == MLDSA44_COSIGNATURE for vkey in signers
    ):
        raise Refused(
            Reason.SIGNATURE_INVALID,
            "the log's signature does not cover the extension lines",
            field="extensions",
        )


def add_signatures(note: bytes, signatures: Iterable[NoteSignature]) -> bytes:
    """The note with more signature lines; a newer line of the same key takes the old one's place.

    Nothing is verified. Refused where the result is no note (too many or too large).
    """
    parsed = parse_note(note)
    lines = {(line.name, line.key_id): line for line in parsed.signatures}
    lines.update({(line.name, line.key_id): line for line in signatures})
    data = Note(parsed.text, tuple(lines.values())).encode()
    parse_note(data)
    return data


def _message(vkey: Vkey, text: bytes, timestamp_s: int) -> bytes:
    checkpoint = Checkpoint.decode(text)
    if vkey.signature_type == ED25519_COSIGNATURE:
        return v1_message(text, timestamp_s)
    return subtree_message(
        vkey.name, timestamp_s, checkpoint.origin, 0, checkpoint.size, checkpoint.root
    )


def _short(text: str, field: str) -> bytes:
    data = text.encode()
    if not 1 <= len(data) <= _MAX_SHORT:
        raise Refused(Reason.NOTE_MALFORMED, "ML-DSA-44 signs 1 to 255 bytes of it", field=field)
    return bytes([len(data)]) + data


def _mldsa() -> Any:
    try:
        from cryptography.hazmat.primitives.asymmetric import mldsa
    except ImportError as error:
        raise ConfigurationError("ML-DSA-44 needs a newer release of cryptography") from error
    return mldsa


def _mldsa_public(raw: bytes) -> Any:
    if len(raw) != MLDSA44_KEY_SIZE:
        raise _bad_key(f"an ML-DSA-44 key has {MLDSA44_KEY_SIZE} bytes")
    try:
        return _mldsa().MLDSA44PublicKey.from_public_bytes(raw)
    except UnsupportedAlgorithm as error:
        raise _no_mldsa() from error
    except ValueError as error:
        raise _bad_key("not an ML-DSA-44 key") from error


def _no_mldsa() -> ConfigurationError:
    return ConfigurationError("the OpenSSL of cryptography has no ML-DSA-44")


def _bad_key(detail: str) -> Refused:
    return Refused(Reason.KEY_INVALID, detail, field="vkey")
