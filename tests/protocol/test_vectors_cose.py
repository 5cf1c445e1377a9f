"""Published COSE examples: what is signed, signatures that verify, and shapes we refuse.

Nearly all examples put kid into the unprotected header, so the strict decoder refuses them; what
lies beneath it (Sig_structure and signature) has to agree all the same.
"""

import base64
import json
from pathlib import Path
from typing import Any

import cbor2
import pytest

from ledger.errors import Reason, Refused
from ledger.protocol import cose
from ledger.protocol.keys import Algorithm, PublicKey
from tests.vectors import vectors_dir

WG = vectors_dir() / "cose-wg-examples"
GO = vectors_dir() / "go-cose-testdata"
WG_SIGN1 = sorted(
    path for path in WG.glob("*/*.json") if "sign0" in json.loads(path.read_text())["input"]
)
GO_ALL = sorted(GO.glob("*.json"))


def name(path: Path) -> str:
    return path.stem


def load(path: Path) -> Any:
    return json.loads(path.read_text())


def coordinate(key: dict[str, str], letter: str) -> bytes:
    if f"{letter}_hex" in key:
        return bytes.fromhex(key[f"{letter}_hex"])
    return base64.urlsafe_b64decode(key[letter] + "=" * (-len(key[letter]) % 4))


def public_key(key: dict[str, str]) -> PublicKey | None:
    """The example's key, if it is of a kind that this protocol has."""
    if key["crv"] == "Ed25519":
        return PublicKey(Algorithm.ED25519, coordinate(key, "x"))
    if key["crv"] == "P-384":
        return PublicKey(Algorithm.ES384, coordinate(key, "x") + coordinate(key, "y"))
    return None


def message_of(token: bytes) -> cose.Sign1:
    """The token's parts, read leniently."""
    protected, unprotected, payload, signature = cbor2.loads(token).value
    header = cbor2.loads(protected)
    kid = header.get(4, unprotected.get(4, b""))
    return cose.Sign1(header[1], kid, None, payload, protected, signature)


def test_the_examples_are_there() -> None:
    assert len(WG_SIGN1) >= 15
    assert len(GO_ALL) == 18


@pytest.mark.parametrize("path", WG_SIGN1, ids=name)
def test_the_signed_bytes_are_those_of_the_working_group(path: Path) -> None:
    example = load(path)
    case = example["input"]["sign0"]
    expected = bytes.fromhex(example["intermediates"]["ToBeSign_hex"])
    # A failure case changes the token after signing, so the parts are taken from what was signed.
    context, protected, aad, payload = cbor2.loads(expected)
    assert context == "Signature1"
    assert aad == bytes.fromhex(case.get("external", ""))
    assert cose.sig_structure(protected, payload, aad) == expected


@pytest.mark.parametrize("path", WG_SIGN1, ids=name)
def test_the_strict_decoder_refuses_the_working_group_examples(path: Path) -> None:
    token = bytes.fromhex(load(path)["output"]["cbor"])
    with pytest.raises(Refused) as caught:
        cose.decode_sign1(token)
    expected = {
        "A_3": Reason.COSE_ALGORITHM,  # the CWT example has our form, but ES256
        "sign-fail-01": Reason.COSE_MALFORMED,  # another tag
        "sign-pass-03": Reason.COSE_MALFORMED,  # no tag
    }
    assert caught.value.reason is expected.get(name(path), Reason.COSE_UNPROTECTED)


SUPPORTED = [path for path in WG_SIGN1 if public_key(load(path)["input"]["sign0"]["key"])]


def test_both_algorithms_have_an_example() -> None:
    assert [name(path) for path in SUPPORTED] == ["ecdsa-sig-02", "eddsa-sig-01"]


@pytest.mark.parametrize("path", SUPPORTED, ids=name)
def test_examples_of_our_algorithms_verify_and_a_flipped_one_does_not(path: Path) -> None:
    example = load(path)
    key = public_key(example["input"]["sign0"]["key"])
    assert key is not None
    message = message_of(bytes.fromhex(example["output"]["cbor"]))
    cose.verify_sign1(message, key, typ=None, check_kid=False)
    assert not key.verify(message.tbs() + b"\x00", message.signature)
    assert not key.verify(message.tbs(), message.signature[:-1] + b"\x00")


@pytest.mark.parametrize("file", ["ecdsa-examples/ecdsa-02", "eddsa-examples/eddsa-01"])
def test_signatures_of_several_signers_verify_as_raw_signatures(file: str) -> None:
    example = load(WG / f"{file}.json")
    key = public_key(example["input"]["sign"]["signers"][0]["key"])
    assert key is not None
    signature = cbor2.loads(bytes.fromhex(example["output"]["cbor"])).value[3][0][2]
    signed = bytes.fromhex(example["intermediates"]["signers"][0]["ToBeSign_hex"])
    assert key.verify(signed, signature)
    assert not key.verify(signed[:-1], signature)


def test_es256_of_rfc_8152_is_refused_as_unknown() -> None:
    token = bytes.fromhex(load(WG / "RFC8152/Appendix_C_2_1.json")["output"]["cbor"])
    message = message_of(token)
    assert message.alg_id == -7
    with pytest.raises(Refused) as caught:
        Algorithm.from_wire(message.alg_id)
    assert caught.value.reason is Reason.COSE_ALGORITHM
    # The same with everything else as the profile wants it.
    protected = cbor2.dumps({1: -7, 4: b"12345678"})
    profiled = b"\xd2" + cbor2.dumps([protected, {}, message.payload, message.signature])
    with pytest.raises(Refused) as caught:
        cose.decode_sign1(profiled)
    assert caught.value.reason is Reason.COSE_ALGORITHM


# --- go-cose --------------------------------------------------------------------------------

GO_SIGN = [path for path in GO_ALL if "sign1::sign" in load(path)]
GO_VERIFY = [path for path in GO_ALL if "sign1::verify" in load(path)]


@pytest.mark.parametrize("path", GO_SIGN, ids=name)
def test_the_signed_bytes_are_those_of_go_cose(path: Path) -> None:
    case = load(path)["sign1::sign"]
    protected = bytes.fromhex(case["protectedHeaders"]["cborHex"])
    external = bytes.fromhex(case.get("external", ""))
    tbs = cose.sig_structure(protected, bytes.fromhex(case["payload"]), external)
    assert tbs.hex() == case["tbsHex"]["cborHex"]


@pytest.mark.parametrize("path", GO_VERIFY, ids=name)
def test_go_cose_tokens_verify_where_the_algorithm_is_ours(path: Path) -> None:
    example = load(path)
    case = example["sign1::verify"]
    token = bytes.fromhex(case["taggedCOSESign1"]["cborHex"])
    with pytest.raises(Refused):
        cose.decode_sign1(token)
    key = public_key(example["key"]) if "crv" in example["key"] else None
    if key is None or not case["shouldVerify"]:
        return
    aad = bytes.fromhex(case.get("external", ""))
    message = message_of(token)
    cose.verify_sign1(message, key, typ=None, external_aad=aad, check_kid=False)
    with pytest.raises(Refused):
        cose.verify_sign1(message, key, typ=None, external_aad=aad + b"x", check_kid=False)


def test_go_cose_has_an_es384_token() -> None:
    algs = [load(path)["alg"] for path in GO_VERIFY if load(path)["sign1::verify"]["shouldVerify"]]
    assert "ES384" in algs
