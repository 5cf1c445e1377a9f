"""Public keys as COSE_Keys, their thumbprints, and signers for Ed25519 and P-384.

Ed25519 is verified through libsodium (PyNaCl): about twice as fast as OpenSSL, and it refuses
small-order points and signatures with an unreduced scalar. ES384 goes through cryptography, with
the raw ``r || s`` form of COSE. Both release the interpreter lock.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property, lru_cache
from typing import Any, Protocol, Self

import nacl.bindings
import nacl.exceptions
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from ledger.errors import ConfigurationError, Reason, Refused
from ledger.protocol import cbor

SEED_SIZE = 32
KID_SIZE = 16
_COORDINATE = 48
_MAX_COSE_KEY = 128
# COSE_Key labels and values (RFC 9053, 7.1 and 7.2).
_KTY, _CRV, _X, _Y = 1, -1, -2, -3
_OKP, _EC2 = 1, 2
_CRV_P384, _CRV_ED25519 = 2, 6
_ES384 = ec.ECDSA(hashes.SHA384())
_ES384_SIGN = ec.ECDSA(hashes.SHA384(), deterministic_signing=True)
_P384_SEED_LABEL = b"chip-passport/p384-seed/v1\x00"
_CACHED_KEYS = 16_384
"""Parsed keys kept in memory: one site's chips, about 10 MB at most."""


class Algorithm(IntEnum):
    """The signature algorithms of the protocol, by their COSE identifier."""

    ED25519 = -8
    ES384 = -35

    @classmethod
    def from_wire(cls, alg_id: int) -> "Algorithm":
        """The algorithm of a COSE id: EdDSA (-8), Ed25519 (-19), ES384 (-35), ESP384 (-51).

        The last three are RFC 9864's fully specified names of the same algorithms.
        """
        found = _WIRE_IDS.get(alg_id)
        if found is None:
            raise Refused(
                Reason.COSE_ALGORITHM, f"algorithm {alg_id} is not supported", field="alg"
            )
        return found

    @property
    def key_size(self) -> int:
        """Bytes of a raw public key: x, or x || y."""
        return 32 if self is Algorithm.ED25519 else 2 * _COORDINATE

    @property
    def signature_size(self) -> int:
        """Bytes of a raw signature: R || S, or r || s."""
        return 64 if self is Algorithm.ED25519 else 2 * _COORDINATE


_WIRE_IDS = {
    -8: Algorithm.ED25519,
    -19: Algorithm.ED25519,
    -35: Algorithm.ES384,
    -51: Algorithm.ES384,
}


@dataclass(frozen=True)
class PublicKey:
    """A valid public key: ``raw`` is x (Ed25519, 32 bytes) or x || y (P-384, 96 bytes).

    Making one checks the point, so a key that exists can be used. Refused(KEY_INVALID) for a
    wrong size, a point off its curve, and on Ed25519 a non-canonical y, a small order or a
    component of small order (RFC 8032, 5.1.3 and 5.1.7; such keys accept signatures that nobody
    made, or that verify here and not there).
    """

    alg: Algorithm
    raw: bytes

    def __post_init__(self) -> None:
        _checked(self.alg, self.raw)

    @classmethod
    def from_cose_key(cls, data: bytes) -> "PublicKey":
        """From a COSE_Key (RFC 9052, 7) with kty, crv, x (and y) and nothing else."""
        members = cbor.decode(data, max_size=_MAX_COSE_KEY, max_depth=1)
        if not isinstance(members, dict):
            raise _invalid("a COSE_Key is a map")
        x, y = members.get(_X), members.get(_Y, b"")
        if not isinstance(x, bytes) or not isinstance(y, bytes):
            raise _invalid("x and y are byte strings")
        alg = Algorithm.ED25519 if members.get(_KTY) == _OKP else Algorithm.ES384
        key = cls(alg, x + y)
        # Everything else at once: kty, crv, sizes, no further member, no true for 1.
        if key.to_cose_key() != data:
            raise _invalid("a COSE_Key has kty, crv, x (and y) of Ed25519 or P-384 and no more")
        return key

    def to_cose_key(self) -> bytes:
        """Deterministic COSE_Key; also the input of the thumbprint (RFC 9679, 3)."""
        if self.alg is Algorithm.ED25519:
            return cbor.encode({_KTY: _OKP, _CRV: _CRV_ED25519, _X: self.raw})
        x, y = self.raw[:_COORDINATE], self.raw[_COORDINATE:]
        return cbor.encode({_KTY: _EC2, _CRV: _CRV_P384, _X: x, _Y: y})

    @cached_property
    def thumbprint(self) -> bytes:
        """SHA-256 COSE key thumbprint (RFC 9679), 32 bytes."""
        return hashlib.sha256(self.to_cose_key()).digest()

    @property
    def kid(self) -> bytes:
        """The key id that our tokens carry: the first 16 bytes of the thumbprint."""
        return self.thumbprint[:KID_SIZE]

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Whether ``signature`` (raw, 64 or 96 bytes) is this key's over ``message``."""
        if len(signature) != self.alg.signature_size:
            return False
        if self.alg is Algorithm.ED25519:
            return _verify_ed25519(self.raw, message, signature)
        return _verify_es384(_checked(self.alg, self.raw), message, signature)

    def __repr__(self) -> str:
        return f"PublicKey({self.alg.name}, kid={self.kid.hex()})"


def verify_many(items: Sequence[tuple[int, bytes, bytes, bytes]]) -> list[bool]:
    """Verify (algorithm id, raw key, message, signature) rows; False too for an invalid key.

    A module function of plain values, so that any ``concurrent.futures`` executor can run it.
    """
    return [_verify_row(*item) for item in items]


def _verify_row(alg_id: int, raw_key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        key = PublicKey(Algorithm.from_wire(alg_id), raw_key)
    except Refused:
        return False
    return key.verify(message, signature)


def _invalid(detail: str) -> Refused:
    return Refused(Reason.KEY_INVALID, detail, field="key")


@lru_cache(maxsize=_CACHED_KEYS)
def _checked(alg: Algorithm, raw: bytes) -> Any:
    """Check a point once; for P-384 the parsed key. A refusal is not cached."""
    if len(raw) != alg.key_size:
        raise _invalid(f"a raw {alg.name} key has {alg.key_size} bytes")
    if alg is Algorithm.ED25519:
        # libsodium: canonical y, on the curve, in the prime-order subgroup, not of small order.
        if not nacl.bindings.crypto_core_ed25519_is_valid_point(raw):
            raise _invalid("the Ed25519 point is not canonical, off the curve or of small order")
        return None
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP384R1(), b"\x04" + raw)
    except ValueError as error:
        raise _invalid("the point is not on P-384") from error


def _verify_ed25519(raw: bytes, message: bytes, signature: bytes) -> bool:
    try:
        nacl.bindings.crypto_sign_open(signature + message, raw)
    except nacl.exceptions.BadSignatureError:
        return False
    return True


def _verify_es384(key: ec.EllipticCurvePublicKey, message: bytes, signature: bytes) -> bool:
    r = int.from_bytes(signature[:_COORDINATE])
    s = int.from_bytes(signature[_COORDINATE:])
    try:
        key.verify(encode_dss_signature(r, s), message, _ES384)
    except InvalidSignature:
        return False
    return True


# --- Signers --------------------------------------------------------------------------------


class SigningKey(Protocol):
    """Whoever can sign: a key in memory here, a hardware module elsewhere."""

    @property
    def public(self) -> PublicKey:
        """The key that verifies this signer's signatures."""

    def sign(self, message: bytes) -> bytes:
        """Raw signature over ``message``, ``public.alg.signature_size`` bytes."""


class _PemSigner:
    """What both signers share: PKCS #8 in PEM, and a repr that shows no secret."""

    public: PublicKey
    _private: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey

    def to_pem(self, password: bytes | None = None) -> bytes:
        """PKCS #8 in PEM, encrypted where a password is given."""
        encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if password:
            encryption = serialization.BestAvailableEncryption(password)
        return self._private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
        )

    @classmethod
    def from_pem(cls, pem: bytes, password: bytes | None = None) -> Self:
        """From PKCS #8 in PEM. ConfigurationError if it cannot be read or is another kind."""
        signer = signer_from_pem(pem, password)
        if not isinstance(signer, cls):
            raise ConfigurationError(f"the key is not the one expected: {signer!r}")
        return signer

    def __repr__(self) -> str:
        return f"{type(self).__name__}(kid={self.public.kid.hex()})"

    def __reduce__(self) -> Any:
        raise TypeError("a signer does not leave its process")


class Ed25519Signer(_PemSigner):
    """Signs with Ed25519 (RFC 8032; deterministic by design)."""

    _private: ed25519.Ed25519PrivateKey

    def __init__(self, private: ed25519.Ed25519PrivateKey) -> None:
        self._private = private
        raw, self._secret = nacl.bindings.crypto_sign_seed_keypair(private.private_bytes_raw())
        self.public = PublicKey(Algorithm.ED25519, raw)

    @classmethod
    def from_seed(cls, seed: bytes) -> "Ed25519Signer":
        """The key whose RFC 8032 private key is ``seed``, 32 bytes."""
        return cls(ed25519.Ed25519PrivateKey.from_private_bytes(_seed(seed)))

    def sign(self, message: bytes) -> bytes:
        """R || S, 64 bytes."""
        return nacl.bindings.crypto_sign(message, self._secret)[:64]


class P384Signer(_PemSigner):
    """Signs with ECDSA on P-384 and SHA-384, nonces of RFC 6979: runs repeat to the byte."""

    _private: ec.EllipticCurvePrivateKey

    def __init__(self, private: ec.EllipticCurvePrivateKey) -> None:
        if not isinstance(private.curve, ec.SECP384R1):
            raise ConfigurationError(f"the key is on {private.curve.name}, not on P-384")
        self._private = private
        numbers = private.public_key().public_numbers()
        self.public = PublicKey(
            Algorithm.ES384, numbers.x.to_bytes(_COORDINATE) + numbers.y.to_bytes(_COORDINATE)
        )

    @property
    def private(self) -> ec.EllipticCurvePrivateKey:
        """The private key itself, which certificates are signed with."""
        return self._private

    @classmethod
    def from_seed(cls, seed: bytes) -> "P384Signer":
        """A key derived from ``seed`` (32 bytes): 64 bits more than the order, then reduced.

        The spare bits make the bias of the reduction negligible (FIPS 186-5, A.2.1).
        """
        stream = hashlib.shake_256(_P384_SEED_LABEL + _seed(seed)).digest(_COORDINATE + 8)
        scalar = int.from_bytes(stream) % (ec.SECP384R1.group_order - 1) + 1
        return cls(ec.derive_private_key(scalar, ec.SECP384R1()))

    def sign(self, message: bytes) -> bytes:
        """r || s, 96 bytes."""
        r, s = decode_dss_signature(self._private.sign(message, _ES384_SIGN))
        return r.to_bytes(_COORDINATE) + s.to_bytes(_COORDINATE)


def signer_from_pem(pem: bytes, password: bytes | None = None) -> Ed25519Signer | P384Signer:
    """The signer of a PKCS #8 key in PEM, whichever of the two kinds it is.

    ConfigurationError, in one line and without key material, for a missing, needless or wrong
    password, for bytes that are no key, and for another kind of key.
    """
    try:
        private = serialization.load_pem_private_key(pem, password or None)
    except TypeError as error:
        state = "not encrypted, yet a password was given" if password else "encrypted"
        raise ConfigurationError(f"the private key is {state}") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        hint = " with this password" if password else ""
        raise ConfigurationError(f"the private key cannot be read{hint}") from error
    if isinstance(private, ed25519.Ed25519PrivateKey):
        return Ed25519Signer(private)
    if isinstance(private, ec.EllipticCurvePrivateKey):
        return P384Signer(private)
    raise ConfigurationError("the private key is neither Ed25519 nor P-384")


def _seed(seed: bytes) -> bytes:
    if len(seed) != SEED_SIZE:
        raise ValueError(f"a seed has {SEED_SIZE} bytes")
    return seed
