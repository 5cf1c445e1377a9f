"""COSE_Sign1: the one shape that is taken, and each departure from it by name."""

from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import Reason
from ledger.protocol import cbor, cose
from ledger.protocol.keys import Ed25519Signer, P384Signer, SigningKey
from tests.protocol.refusals import mutations, only_refusals, refused

ED = Ed25519Signer.from_seed(b"\x01" * 32)
EC = P384Signer.from_seed(b"\x01" * 32)
BOTH = pytest.mark.parametrize("signer", [ED, EC], ids=["ed25519", "es384"])
TYP = "application/chip-passport.heartbeat+cbor"
PAYLOAD = b"payload"
TOKEN = cose.sign1(PAYLOAD, ED, typ=TYP)
EC_TOKEN = cose.sign1(PAYLOAD, EC, typ=TYP)
HEADER: dict[Any, Any] = {1: -8, 4: ED.public.kid, 16: TYP}


def token_of(
    protected: Any = HEADER, unprotected: Any = None, payload: Any = PAYLOAD, **changes: Any
) -> bytes:
    """A token signed by ED whose parts can be anything; the signature is right for them."""
    raw = protected if isinstance(protected, bytes) else cbor.encode(protected)
    content = payload if isinstance(payload, bytes) else b""
    signature = ED.sign(cose.sig_structure(raw, content))
    parts = {
        "protected": raw,
        "unprotected": {} if unprotected is None else unprotected,
        "payload": payload,
        "signature": signature,
    } | changes
    return b"\xd2" + cbor2.dumps(list(parts.values()))


@BOTH
def test_a_signed_token_decodes_and_verifies(signer: SigningKey) -> None:
    token = cose.sign1(PAYLOAD, signer, typ=TYP)
    message = cose.decode_sign1(token)
    assert message.alg_id == int(signer.public.alg)
    assert message.kid == signer.public.kid
    assert message.typ == TYP
    assert message.payload == PAYLOAD
    cose.verify_sign1(message, signer.public, typ=TYP)
    assert cose.sign1(PAYLOAD, signer, typ=TYP) == token


def test_the_bytes_of_a_token_are_pinned() -> None:
    protected = cbor.encode(HEADER)
    signature = ED.sign(cbor.encode(["Signature1", protected, b"", PAYLOAD]))
    assert cbor.encode(cbor.Tagged(18, [protected, {}, PAYLOAD, signature])) == TOKEN
    assert token_of() == TOKEN


def test_the_sig_structure_is_the_encoded_array() -> None:
    message = cose.decode_sign1(TOKEN)
    for aad in (b"", b"aad", bytes(300)):
        expected = cbor.encode(["Signature1", message.protected, aad, PAYLOAD])
        assert message.tbs(aad) == expected


def test_a_token_without_typ_and_with_a_given_kid_is_taken_on_request() -> None:
    message = cose.decode_sign1(cose.sign1(b"", ED, typ=None, kid=b"12345678"))
    assert (message.typ, message.kid, message.payload) == (None, b"12345678", b"")
    cose.verify_sign1(message, ED.public, typ=None, check_kid=False)
    with refused(Reason.COSE_KEY_MISMATCH, "kid"):
        cose.verify_sign1(message, ED.public, typ=None)


@pytest.mark.parametrize("alg_id", [-8, -19])
def test_both_names_of_an_algorithm_verify(alg_id: int) -> None:
    message = cose.decode_sign1(token_of(HEADER | {1: alg_id}))
    assert message.alg_id == alg_id
    cose.verify_sign1(message, ED.public, typ=TYP)


# --- form -----------------------------------------------------------------------------------

BARE = TOKEN[1:]
SIGNATURE = ED.sign(cose.sig_structure(cbor.encode(HEADER), PAYLOAD))


def without(*labels: int) -> dict[Any, Any]:
    return {label: value for label, value in HEADER.items() if label not in labels}


MALFORMED: list[tuple[str, bytes, Reason, str | None]] = [
    ("empty", b"", Reason.COSE_MALFORMED, "tag"),
    ("tag alone", b"\xd2", Reason.CBOR_MALFORMED, None),
    ("untagged", BARE, Reason.COSE_MALFORMED, "tag"),
    ("CWT tag around", b"\xd8\x3d" + TOKEN, Reason.COSE_MALFORMED, "tag"),
    ("tag 18 twice", b"\xd2" + TOKEN, Reason.CBOR_TAG, None),
    ("tag 18 in two bytes", b"\xd8\x12" + BARE, Reason.COSE_MALFORMED, "tag"),
    ("tag of COSE_Sign", b"\xd8\x62" + BARE, Reason.COSE_MALFORMED, "tag"),
    ("tag of COSE_Mac0", b"\xd1" + BARE, Reason.COSE_MALFORMED, "tag"),
    ("a byte after", TOKEN + b"\x00", Reason.CBOR_TRAILING_BYTES, None),
    ("a token after", TOKEN + TOKEN, Reason.CBOR_TRAILING_BYTES, None),
    ("cut short", TOKEN[:-1], Reason.CBOR_MALFORMED, None),
    ("indefinite array", b"\xd2\x9f" + TOKEN[2:] + b"\xff", Reason.CBOR_NOT_DETERMINISTIC, None),
    ("long array head", b"\xd2\x98\x04" + TOKEN[2:], Reason.CBOR_NOT_DETERMINISTIC, None),
    ("three members", b"\xd2" + cbor.encode([b"", {}, b""]), Reason.COSE_MALFORMED, None),
    ("five members", token_of(more=b""), Reason.COSE_MALFORMED, None),
    ("a map", b"\xd2\xa0", Reason.COSE_MALFORMED, None),
    ("a byte string", b"\xd2\x40", Reason.COSE_MALFORMED, None),
    ("detached payload", token_of(payload=None), Reason.COSE_MALFORMED, "payload"),
    ("payload in text", token_of(payload="text"), Reason.COSE_MALFORMED, "payload"),
    ("payload not wrapped", token_of(payload={6: 1}), Reason.COSE_MALFORMED, "payload"),
    ("signature in text", token_of(signature="x" * 64), Reason.COSE_MALFORMED, "signature"),
    ("signature empty", token_of(signature=b""), Reason.COSE_MALFORMED, "signature"),
    ("signature short", token_of(signature=bytes(63)), Reason.COSE_MALFORMED, "signature"),
    ("signature long", token_of(signature=bytes(65)), Reason.COSE_MALFORMED, "signature"),
    ("signature of ES384", token_of(signature=bytes(96)), Reason.COSE_MALFORMED, "signature"),
    ("unprotected kid", token_of(unprotected={4: b"other"}), Reason.COSE_UNPROTECTED, "header"),
    (
        "alg in the unprotected header",
        token_of(without(1), unprotected={1: -8}),
        Reason.COSE_UNPROTECTED,
        "header",
    ),
    ("unprotected junk", token_of(unprotected={99: b"x"}), Reason.COSE_UNPROTECTED, "header"),
    ("unprotected false", token_of(unprotected=False), Reason.COSE_UNPROTECTED, "header"),
    ("unprotected array", token_of(unprotected=[]), Reason.COSE_UNPROTECTED, "header"),
    ("unprotected bytes", token_of(unprotected=b"\xa0"), Reason.COSE_UNPROTECTED, "header"),
    ("no alg", token_of(without(1)), Reason.COSE_HEADER, "alg"),
    ("alg in text", token_of(HEADER | {1: "EdDSA"}), Reason.COSE_HEADER, "alg"),
    ("alg true", token_of(HEADER | {1: True}), Reason.COSE_HEADER, "alg"),
    ("alg as a float", token_of(HEADER | {1: -8.0}), Reason.COSE_HEADER, "alg"),
    ("alg ES256", token_of(HEADER | {1: -7}), Reason.COSE_ALGORITHM, "alg"),
    ("alg HMAC", token_of(HEADER | {1: 5}), Reason.COSE_ALGORITHM, "alg"),
    ("alg zero", token_of(HEADER | {1: 0}), Reason.COSE_ALGORITHM, "alg"),
    ("alg of ES384", token_of(HEADER | {1: -35}), Reason.COSE_MALFORMED, "signature"),
    ("no kid", token_of(without(4)), Reason.COSE_HEADER, "kid"),
    ("kid in text", token_of(HEADER | {4: "kid-kid"}), Reason.COSE_HEADER, "kid"),
    ("kid short", token_of(HEADER | {4: b"abc"}), Reason.COSE_HEADER, "kid"),
    ("kid long", token_of(HEADER | {4: bytes(33)}), Reason.COSE_HEADER, "kid"),
    ("typ as a number", token_of(HEADER | {16: 60}), Reason.COSE_HEADER, "typ"),
    ("typ null", token_of(HEADER | {16: None}), Reason.COSE_HEADER, "typ"),
    ("typ empty", token_of(HEADER | {16: ""}), Reason.COSE_HEADER, "typ"),
    ("typ long", token_of(HEADER | {16: "t" * 128}), Reason.COSE_HEADER, "typ"),
    ("typ not ASCII", token_of(HEADER | {16: "t\u00fcp"}), Reason.COSE_HEADER, "typ"),
    ("crit", token_of(HEADER | {2: [9999], 9999: 1}), Reason.COSE_CRIT, "crit"),
    ("crit of a known label", token_of(HEADER | {2: [1]}), Reason.COSE_CRIT, "crit"),
    ("crit empty", token_of(HEADER | {2: []}), Reason.COSE_CRIT, "crit"),
    ("content type", token_of(HEADER | {3: 0}), Reason.COSE_HEADER, "header"),
    ("unknown label", token_of(HEADER | {9999: 0}), Reason.COSE_HEADER, "header"),
    ("unknown text label", token_of(HEADER | {"x" * 99: 0}), Reason.COSE_HEADER, "header"),
    ("header is an array", token_of([1, -8]), Reason.COSE_HEADER, "header"),
    ("header is an integer", token_of(1), Reason.COSE_HEADER, "header"),
    ("header empty map", token_of({}), Reason.COSE_HEADER, "alg"),
    ("header empty string", token_of(b""), Reason.CBOR_MALFORMED, None),
    ("header twice", token_of(cbor.encode(HEADER) * 2), Reason.CBOR_TRAILING_BYTES, None),
    (
        "header out of order",
        token_of(b"\xa2\x04\x44kidk\x01\x27"),
        Reason.CBOR_NOT_DETERMINISTIC,
        None,
    ),
    ("alg twice", token_of(b"\xa3\x01\x27\x01\x27\x04\x44kidk"), Reason.CBOR_DUPLICATE_KEY, None),
    ("header large", token_of(HEADER | {99: bytes(1_100)}), Reason.TOO_LARGE, None),
    ("header deep", token_of(HEADER | {99: [[[[[0]]]]]}), Reason.CBOR_TOO_DEEP, None),
    ("unprotected deep", token_of(unprotected={9: [[[[[0]]]]]}), Reason.CBOR_TOO_DEEP, None),
]


@pytest.mark.parametrize(
    ("token", "reason", "field"),
    [pytest.param(*row[1:], id=row[0]) for row in MALFORMED],
)
def test_another_form_is_refused(token: bytes, reason: Reason, field: str | None) -> None:
    with refused(reason, field):
        cose.decode_sign1(token)


def test_a_protected_header_that_is_a_map_and_not_a_string_is_refused() -> None:
    with refused(Reason.COSE_MALFORMED, "protected"):
        cose.decode_sign1(b"\xd2" + cbor.encode([HEADER, {}, PAYLOAD, SIGNATURE]))


def test_a_token_over_the_limit_is_refused_and_at_the_limit_taken() -> None:
    assert cose.decode_sign1(TOKEN, max_size=len(TOKEN)).payload == PAYLOAD
    with refused(Reason.TOO_LARGE):
        cose.decode_sign1(TOKEN, max_size=len(TOKEN) - 1)


def test_an_extra_protected_label_is_taken_only_where_the_caller_allows_it() -> None:
    token = token_of(HEADER | {33: b"certificate"})
    allowed = frozenset((33,))
    message = cose.decode_sign1(token, extra_protected=allowed)
    cose.verify_sign1(message, ED.public, typ=TYP)
    assert cbor.decode(message.protected, max_size=999)[33] == b"certificate"
    with refused(Reason.COSE_HEADER, "header"):
        cose.decode_sign1(token)
    with refused(Reason.COSE_CRIT):
        cose.decode_sign1(token_of(HEADER | {2: [33]}), extra_protected=frozenset((2,)))


# --- verification ---------------------------------------------------------------------------


def test_a_token_of_another_kind_is_refused() -> None:
    message = cose.decode_sign1(TOKEN)
    for typ in ("application/chip-passport.ship+cbor", TYP.upper(), None):
        with refused(Reason.COSE_TYPE, "typ"):
            cose.verify_sign1(message, ED.public, typ=typ)
    with refused(Reason.COSE_TYPE, "typ"):
        cose.verify_sign1(cose.decode_sign1(cose.sign1(PAYLOAD, ED, typ=None)), ED.public, typ=TYP)


def test_the_algorithm_comes_from_the_key_and_not_from_the_token() -> None:
    with refused(Reason.COSE_KEY_MISMATCH, "alg"):
        cose.verify_sign1(cose.decode_sign1(TOKEN), EC.public, typ=TYP, check_kid=False)
    with refused(Reason.COSE_KEY_MISMATCH, "alg"):
        cose.verify_sign1(cose.decode_sign1(EC_TOKEN), ED.public, typ=TYP, check_kid=False)


def test_another_key_is_refused_by_its_kid_or_else_by_the_signature() -> None:
    stranger = Ed25519Signer.from_seed(b"\x09" * 32).public
    with refused(Reason.COSE_KEY_MISMATCH, "kid"):
        cose.verify_sign1(cose.decode_sign1(TOKEN), stranger, typ=TYP)
    with refused(Reason.SIGNATURE_INVALID, "signature"):
        cose.verify_sign1(cose.decode_sign1(TOKEN), stranger, typ=TYP, check_kid=False)


@BOTH
def test_external_data_is_part_of_what_is_signed(signer: SigningKey) -> None:
    message = cose.decode_sign1(cose.sign1(PAYLOAD, signer, typ=TYP, external_aad=b"context"))
    cose.verify_sign1(message, signer.public, typ=TYP, external_aad=b"context")
    for other in (b"", b"contexu"):
        with refused(Reason.SIGNATURE_INVALID):
            cose.verify_sign1(message, signer.public, typ=TYP, external_aad=other)


@BOTH
def test_a_changed_header_or_payload_does_not_verify(signer: SigningKey) -> None:
    token = cose.sign1(PAYLOAD, signer, typ=TYP)
    for old, new in ((b"payload", b"payloae"), (b"heartbeat", b"heartbeau")):
        message = cose.decode_sign1(token.replace(old, new))
        with refused(Reason.SIGNATURE_INVALID):
            cose.verify_sign1(message, signer.public, typ=message.typ)


@pytest.mark.parametrize(("kid", "typ"), [(b"abc", TYP), (bytes(33), TYP), (None, ""), (None, "ü")])
def test_a_token_that_would_be_refused_is_not_signed(kid: bytes | None, typ: str) -> None:
    with refused(Reason.COSE_HEADER):
        cose.sign1(PAYLOAD, ED, typ=typ, kid=kid)


# --- fuzzing --------------------------------------------------------------------------------


def accept(token: bytes) -> cose.Sign1:
    message = cose.decode_sign1(token)
    cose.verify_sign1(message, ED.public, typ=TYP)
    return message


@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda data: b"\xd2\x84" + data))
def test_random_bytes_are_only_refused(data: bytes) -> None:
    assert only_refusals(accept, data) is None


@given(mutations(TOKEN))
def test_a_mutated_token_is_refused_unless_nothing_changed(data: bytes) -> None:
    # Ed25519 signatures have one form: whatever still verifies is the token itself.
    if only_refusals(accept, data) is not None:
        assert data == TOKEN


@given(mutations(EC_TOKEN))
def test_a_mutated_es384_token_gives_only_refusals(data: bytes) -> None:
    message = only_refusals(cose.decode_sign1, data)
    if message is not None:
        only_refusals(lambda _: cose.verify_sign1(message, EC.public, typ=TYP), data)


@given(
    st.dictionaries(
        st.integers(-3, 40), st.integers(-60, 20) | st.binary(max_size=40) | st.text(max_size=9)
    )
)
def test_any_protected_header_is_refused_or_has_exactly_our_labels(header: dict[int, Any]) -> None:
    message = only_refusals(cose.decode_sign1, token_of(header))
    if message is not None:
        assert set(header) in ({1, 4}, {1, 4, 16})
