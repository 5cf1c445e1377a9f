"""Keys of signed notes in text form, and the Ed25519 and base64 that notes are made with.

The text form ``name+keyid+base64(type || key)`` is that of the Go checksum database; C2SP
signed-note defines the key id and the type bytes.
"""

import base64
from dataclasses import dataclass
from hashlib import sha256
from typing import Self

from nacl.bindings import crypto_core_ed25519_is_valid_point, crypto_sign_open
from nacl.exceptions import BadSignatureError

from ledger.errors import Reason, Refused

ED25519 = 0x01
KEY_ID_SIZE = 4
KEY_SIZE = 32
SIGNATURE_SIZE = 64
MAX_NAME_SIZE = 255
MAX_VKEY_SIZE = 512


def key_id(name: str, public_key: bytes, signature_type: int = ED25519) -> bytes:
    """First four bytes of SHA-256(name || 0x0A || type || public key)."""
    return sha256(name.encode() + b"\n" + bytes([signature_type]) + public_key).digest()[:4]


def encode_base64(data: bytes) -> str:
    """Standard base64 with padding (RFC 4648, section 4)."""
    return base64.b64encode(data).decode("ascii")


def decode_base64(text: str) -> bytes:
    """Strict inverse of :func:`encode_base64`; ValueError on any other spelling."""
    data = base64.b64decode(text, validate=True)
    # Unused bits that are not zero would give one signature several texts.
    if encode_base64(data) != text:
        raise ValueError("base64 is not in its one canonical form")
    return data


def check_name(name: str) -> str:
    """Return a key name if it is non-empty UTF-8 text without spaces, '+' or controls."""
    if not name or len(name) > MAX_NAME_SIZE or any(map(_bars_from_name, name)):
        raise Refused(
            Reason.NOTE_MALFORMED, "a key name has no spaces, plus or controls", field="name"
        )
    return name


def _bars_from_name(character: str) -> bool:
    return (
        character == "+"
        or character < " "
        or character.isspace()
        or "\ud800" <= character <= "\udfff"
    )


@dataclass(frozen=True, slots=True)
class Vkey:
    """A note verification key in its text form ``name+keyid+base64(type || key)``."""

    name: str
    signature_type: int
    public_key: bytes

    @property
    def key_id(self) -> bytes:
        """The 4 bytes that signature lines carry."""
        return key_id(self.name, self.public_key, self.signature_type)

    def encode(self) -> str:
        """The text form."""
        blob = encode_base64(bytes([self.signature_type]) + self.public_key)
        return f"{self.name}+{self.key_id.hex()}+{blob}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Strict inverse of :meth:`encode`; the key id has to be the one the key gives.

        Raises Refused with KEY_INVALID. Any signature type is taken; its verifier checks more.
        """
        parts = text.split("+", 2) if len(text) <= MAX_VKEY_SIZE else []
        try:
            name, _, blob = parts
            data = decode_base64(blob)
            vkey = cls(check_name(name), data[0], data[1:])
        except (ValueError, IndexError, Refused) as error:
            raise Refused(
                Reason.KEY_INVALID, "a note key is name+keyid+base64", field="vkey"
            ) from error
        if vkey.encode() != text:
            raise Refused(Reason.KEY_INVALID, "the key id does not fit the key", field="vkey")
        return vkey


def is_ed25519_key(raw: bytes) -> bool:
    """Whether ``raw`` is a canonical Ed25519 point of the prime-order group."""
    return len(raw) == KEY_SIZE and crypto_core_ed25519_is_valid_point(raw)


def verify_ed25519(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """RFC 8032 verification through libsodium, which also refuses small-order keys."""
    if len(signature) != SIGNATURE_SIZE or len(public_key) != KEY_SIZE:
        return False
    try:
        crypto_sign_open(signature + message, public_key)
    except BadSignatureError:
        return False
    return True
