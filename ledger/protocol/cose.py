"""COSE_Sign1 (RFC 9052, 4.2), the envelope of every statement, strict to the byte.

One shape is taken: tag 18 around [protected, {}, payload, signature], where protected holds alg
(1), kid (4) and, in all statements of ours, typ (16, RFC 9596). Everything that a lenient decoder
would take besides (alg in the unprotected header, unknown crit, other tags, bytes that follow)
is refused before a signature is paid for.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import cbor2

from ledger.errors import Reason, Refused
from ledger.protocol import cbor
from ledger.protocol.keys import Algorithm, PublicKey, SigningKey

MAX_TOKEN_SIZE = 16_384
MAX_PROTECTED_SIZE = 1_024
MIN_KID_SIZE, MAX_KID_SIZE = 4, 32
MAX_TYP_LENGTH = 127
"""A media type has at most 127 characters on each side (RFC 6838, 4.2); ours have far fewer."""

ALG, CRIT, KID, TYP = 1, 2, 4, 16
_TAG_18 = 0xD2
_NOTHING_MORE: frozenset[int] = frozenset()
_MAX_DEPTH = 4
_CACHED_HEADERS = 4_096


class _Header(NamedTuple):
    alg_id: int
    kid: bytes
    typ: str | None


class Sign1(NamedTuple):
    """A well-formed token. Nothing in it is authentic until ``verify_sign1`` returned.

    ``protected`` is the content of the protected byte string as sent: extra labels that the
    caller allowed are read from there.
    """

    alg_id: int
    kid: bytes
    typ: str | None
    payload: bytes
    protected: bytes
    signature: bytes

    def tbs(self, external_aad: bytes = b"") -> bytes:
        """The bytes that are signed."""
        return sig_structure(self.protected, self.payload, external_aad)


def sig_structure(protected: bytes, payload: bytes, external_aad: bytes = b"") -> bytes:
    """Sig_structure with the context "Signature1" (RFC 9052, 4.4)."""
    # An array of byte strings has one definite-length encoding in cbor2 too.
    return cbor2.dumps(("Signature1", protected, external_aad, payload))


def decode_sign1(
    token: bytes,
    *,
    max_size: int = MAX_TOKEN_SIZE,
    extra_protected: frozenset[int] = _NOTHING_MORE,
) -> Sign1:
    """Split a token into its parts and check its form; verify nothing.

    Steps, in order of cost:

    1. size: TOO_LARGE
    2. tag 18 and nothing around it: COSE_MALFORMED
    3. deterministic CBOR, one item: CBOR_*
    4. four members; payload and signature are byte strings: COSE_MALFORMED
    5. empty unprotected header: COSE_UNPROTECTED
    6. protected header is a deterministic map with alg, kid and at most typ, besides
       ``extra_protected``: COSE_CRIT, COSE_HEADER, COSE_ALGORITHM
    7. signature size fits the algorithm: COSE_MALFORMED
    """
    if len(token) > max_size:
        raise Refused(Reason.TOO_LARGE, f"the token has {len(token)} bytes, {max_size} allowed")
    if not token or token[0] != _TAG_18:
        raise Refused(Reason.COSE_MALFORMED, "the token does not begin with tag 18", field="tag")
    parts = cbor.decode(token[1:], max_size=max_size, max_depth=_MAX_DEPTH)
    if not isinstance(parts, list) or len(parts) != 4:
        raise Refused(Reason.COSE_MALFORMED, "a COSE_Sign1 is an array of four")
    protected, unprotected, payload, signature = parts
    for name, part in (("protected", protected), ("payload", payload), ("signature", signature)):
        if not isinstance(part, bytes):
            raise Refused(Reason.COSE_MALFORMED, f"{name} is not a byte string", field=name)
    if unprotected != {}:
        raise Refused(
            Reason.COSE_UNPROTECTED, "the unprotected header is not an empty map", field="header"
        )
    alg_id, kid, typ = _decode_header(protected, extra_protected)
    if len(signature) != Algorithm.from_wire(alg_id).signature_size:
        raise Refused(
            Reason.COSE_MALFORMED, "the signature's size does not fit alg", field="signature"
        )
    return Sign1(alg_id, kid, typ, payload, protected, signature)


@lru_cache(maxsize=_CACHED_HEADERS)
def _decode_header(protected: bytes, extra: frozenset[int]) -> _Header:
    """Check a protected header. A signer's header is the same in all its tokens of a kind."""
    labels = cbor.decode(protected, max_size=MAX_PROTECTED_SIZE, max_depth=_MAX_DEPTH)
    if not isinstance(labels, dict):
        raise Refused(Reason.COSE_HEADER, "the protected header is not a map", field="header")
    if CRIT in labels:
        raise Refused(Reason.COSE_CRIT, "no critical parameters are defined here", field="crit")
    unknown = set(labels) - {ALG, KID, TYP} - extra
    if unknown:
        shown = ", ".join(sorted(str(label)[:20] for label in unknown)[:4])
        raise Refused(Reason.COSE_HEADER, f"unknown protected parameter {shown}", field="header")
    return _Header(_alg(labels), _kid(labels), _typ(labels))


def _alg(labels: dict[Any, Any]) -> int:
    alg_id = labels.get(ALG)
    if type(alg_id) is not int:
        raise Refused(Reason.COSE_HEADER, "alg is missing or not an integer", field="alg")
    Algorithm.from_wire(alg_id)
    return alg_id


def _kid(labels: dict[Any, Any]) -> bytes:
    kid = labels.get(KID)
    if not isinstance(kid, bytes) or not MIN_KID_SIZE <= len(kid) <= MAX_KID_SIZE:
        raise Refused(
            Reason.COSE_HEADER,
            f"kid is missing or not a byte string of {MIN_KID_SIZE} to {MAX_KID_SIZE} bytes",
            field="kid",
        )
    return kid


def _typ(labels: dict[Any, Any]) -> str | None:
    typ = labels.get(TYP)
    if TYP not in labels:
        return None
    if not isinstance(typ, str) or not 0 < len(typ) <= MAX_TYP_LENGTH or not typ.isascii():
        raise Refused(Reason.COSE_HEADER, "typ is not a media type in text", field="typ")
    return typ


def verify_sign1(
    msg: Sign1,
    key: PublicKey,
    *,
    typ: str | None,
    external_aad: bytes = b"",
    check_kid: bool = True,
) -> None:
    """Return if ``msg`` is of the kind ``typ`` and signed by ``key``; else refuse.

    Steps, in order of cost: 1. typ is the expected one, None meaning absent (COSE_TYPE); 2. alg
    is the key's, never the other way round (COSE_KEY_MISMATCH); 3. kid is the key's, unless the
    caller found the key in another way (COSE_KEY_MISMATCH); 4. signature (SIGNATURE_INVALID).

    Still owed by the caller: that ``key`` may sign this kind now, and that the payload is fresh.
    """
    if msg.typ != typ:
        raise Refused(Reason.COSE_TYPE, f"typ is {msg.typ!r}, expected {typ!r}", field="typ")
    if Algorithm.from_wire(msg.alg_id) is not key.alg:
        raise Refused(
            Reason.COSE_KEY_MISMATCH, f"alg {msg.alg_id} with a key of {key.alg.name}", field="alg"
        )
    if check_kid and msg.kid != key.kid:
        raise Refused(Reason.COSE_KEY_MISMATCH, "kid is not the key's", field="kid")
    if not key.verify(msg.tbs(external_aad), msg.signature):
        raise Refused(Reason.SIGNATURE_INVALID, "the signature does not verify", field="signature")


def sign1(
    payload: bytes,
    signer: SigningKey,
    *,
    typ: str | None,
    kid: bytes | None = None,
    external_aad: bytes = b"",
) -> bytes:
    """A token over ``payload``: alg -8 or -35, kid of the signer's key unless given."""
    header: dict[int, Any] = {ALG: int(signer.public.alg), KID: kid or signer.public.kid}
    if typ is not None:
        header[TYP] = typ
    protected = cbor.encode(header)
    _decode_header(protected, _NOTHING_MORE)  # never emit what decode_sign1 refuses
    signature = signer.sign(sig_structure(protected, payload, external_aad))
    return bytes([_TAG_18]) + cbor2.dumps((protected, {}, payload, signature))
