"""Signed notes, per C2SP signed-note, with Ed25519 signatures (type 0x01).

A note is text, a blank line, and one line for each signature. Signatures by keys that the
caller did not name are ignored; one by a named key that does not verify refuses the whole note.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from ledger.errors import ConfigurationError, Reason, Refused
from ledger.log.vkey import (
    ED25519,
    KEY_ID_SIZE,
    Vkey,
    check_name,
    decode_base64,
    encode_base64,
    is_ed25519_key,
    verify_ed25519,
)

# The standard wants 16 signatures accepted, and post-quantum ones reach 5 kB: 110 kB in base64.
MAX_NOTE_SIZE = 262_144
MAX_SIGNATURES = 64

_DASH = "\u2014 "


class RawKey(Protocol):
    """A public key that shows its raw encoding; Ed25519 has 32 bytes."""

    @property
    def raw(self) -> bytes: ...


class NoteKey(Protocol):
    """The signing key of a note: any holder of an Ed25519 private key."""

    @property
    def public(self) -> RawKey: ...

    def sign(self, message: bytes, /) -> bytes: ...


class Verifier(Protocol):
    """One key that may sign notes; other signature types fit in with their own class."""

    @property
    def name(self) -> str: ...

    @property
    def key_id(self) -> bytes: ...

    def verify(self, text: bytes, signature: bytes, /) -> bool: ...


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line: key name, 4-byte key id, and the signature without the key id."""

    name: str
    key_id: bytes
    signature: bytes

    def line(self) -> str:
        """The line with its newline."""
        return f"{_DASH}{self.name} {encode_base64(self.key_id + self.signature)}\n"


class Signer(Protocol):
    """Whatever makes one signature line; :class:`NoteSigner`, or a cosigner of another type."""

    def sign(self, text: bytes, /) -> NoteSignature: ...


@dataclass(frozen=True, slots=True)
class Note:
    """A note taken apart; nothing in it has been verified."""

    text: bytes
    signatures: tuple[NoteSignature, ...]

    def encode(self) -> bytes:
        """The note's bytes."""
        return self.text + b"\n" + "".join(s.line() for s in self.signatures).encode()


class NoteVerifier:
    """Verifies Ed25519 note signatures (type 0x01) of one key."""

    def __init__(self, vkey: Vkey | str) -> None:
        """Refuses (KEY_INVALID) other types and points that are not of the prime order."""
        parsed = Vkey.parse(vkey) if isinstance(vkey, str) else vkey
        if parsed.signature_type != ED25519 or not is_ed25519_key(parsed.public_key):
            raise Refused(Reason.KEY_INVALID, "not an Ed25519 note key", field="vkey")
        self.vkey = parsed
        self.name = parsed.name
        self.key_id = parsed.key_id

    def __repr__(self) -> str:
        return f"NoteVerifier({self.vkey.encode()!r})"

    def verify(self, text: bytes, signature: bytes, /) -> bool:
        """Whether ``signature`` (64 bytes) is this key's over ``text``."""
        return verify_ed25519(self.vkey.public_key, text, signature)


class NoteSigner:
    """Signs notes as ``name`` with an Ed25519 key."""

    def __init__(self, name: str, key: NoteKey) -> None:
        self.vkey = Vkey(check_name(name), ED25519, key.public.raw)
        if not is_ed25519_key(self.vkey.public_key):
            raise Refused(Reason.KEY_INVALID, "notes are signed with an Ed25519 key")
        self._key = key

    def __repr__(self) -> str:
        return f"NoteSigner({self.vkey.encode()!r})"

    def sign(self, text: bytes, /) -> NoteSignature:
        """The signature line over ``text``."""
        return NoteSignature(self.vkey.name, self.vkey.key_id, self._key.sign(text))


def sign_note(text: bytes, signers: Sequence[Signer]) -> bytes:
    """The note over ``text`` (which ends in a newline) with one line for each signer."""
    _require_text(text)
    data = Note(text, tuple(signer.sign(text) for signer in signers)).encode()
    parse_note(data)
    return data


def parse_note(data: bytes) -> Note:
    """Take a note apart without verifying anything.

    Refuses (NOTE_MALFORMED, TOO_LARGE) anything that :meth:`Note.encode` would not give back.
    """
    if len(data) > MAX_NOTE_SIZE:
        raise Refused(Reason.TOO_LARGE, f"a note has at most {MAX_NOTE_SIZE} bytes", field="note")
    # The text may hold blank lines, signature lines cannot: the last blank line parts them.
    at = data.rfind(b"\n\n")
    text, block = data[: at + 1], data[at + 2 :]
    _require_text(text)
    return Note(text, tuple(parse_signature_lines(block)))


def parse_signature_lines(block: bytes) -> list[NoteSignature]:
    """Signature lines, each ending in a newline; at least one, at most 64."""
    lines = _decode_text(block).split("\n")
    if lines.pop() or not 1 <= len(lines) <= MAX_SIGNATURES:
        raise Refused(Reason.NOTE_MALFORMED, f"a note has 1 to {MAX_SIGNATURES} signature lines")
    return [_parse_line(line) for line in lines]


def _parse_line(line: str) -> NoteSignature:
    name, _, blob = line.removeprefix(_DASH).partition(" ")
    try:
        data = decode_base64(blob)
    except ValueError:
        data = b""
    if not line.startswith(_DASH) or len(data) <= KEY_ID_SIZE:
        raise Refused(
            Reason.NOTE_MALFORMED, "a signature line is: em dash, name, base64", field="signature"
        )
    return NoteSignature(check_name(name), data[:KEY_ID_SIZE], data[KEY_ID_SIZE:])


def open_note(
    data: bytes, verifiers: Iterable[Verifier]
) -> tuple[bytes, tuple[NoteSignature, ...]]:
    """The text of a note and its verified signatures, at least one.

    1. The note parses (else NOTE_MALFORMED or TOO_LARGE).
    2. Every signature by a known key (name and key id) verifies, else SIGNATURE_INVALID.
    3. There is one, else SIGNATURE_INVALID.

    A key that signed twice is returned once. How many signatures of whom suffice, and what the
    text says, is for the caller to check.
    """
    known = _by_identity(verifiers)
    note = parse_note(data)
    verified: dict[tuple[str, bytes], NoteSignature] = {}
    for signature in note.signatures:
        identity = signature.name, signature.key_id
        verifier = known.get(identity)
        if verifier is None:
            continue
        if not verifier.verify(note.text, signature.signature):
            raise Refused(
                Reason.SIGNATURE_INVALID, f"the signature of {signature.name} does not verify"
            )
        verified[identity] = signature
    if not verified:
        raise Refused(Reason.SIGNATURE_INVALID, "no known key has signed the note")
    return note.text, tuple(verified.values())


def _by_identity(verifiers: Iterable[Verifier]) -> dict[tuple[str, bytes], Verifier]:
    known: dict[tuple[str, bytes], Verifier] = {}
    for verifier in verifiers:
        identity = verifier.name, verifier.key_id
        if identity in known:
            raise ConfigurationError(f"two note keys share {verifier.name}+{verifier.key_id.hex()}")
        known[identity] = verifier
    return known


def _require_text(text: bytes) -> None:
    if not text.endswith(b"\n"):
        raise Refused(Reason.NOTE_MALFORMED, "the text of a note ends in a newline", field="text")
    _decode_text(text)


def _decode_text(data: bytes) -> str:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refused(Reason.NOTE_MALFORMED, "a note is UTF-8") from error
    if any(character < " " and character != "\n" for character in text):
        raise Refused(Reason.NOTE_MALFORMED, "a note has no control characters but newline")
    return text
