"""The 31 seed tokens: each gets the verdict that its file expects of a strict heartbeat decoder."""

import json
from typing import Any

import pytest

from ledger.errors import Reason, Refused
from ledger.protocol import cose, eat
from ledger.protocol.keys import Algorithm, PublicKey
from tests.vectors import vectors_dir

SEED = json.loads((vectors_dir() / "eat-heartbeat-seed" / "vectors.json").read_text())
# Our profile fixes tag 18 and an empty unprotected header, so the three open cases are rejected.
VERDICTS = {
    "accept": "accept",
    "reject": "reject",
    "accept-if-profile-allows": "reject",
    "reject-if-profile-needs-tag": "reject",
    "reject-if-strict": "reject",
}
# Why each is rejected: a decoder that refuses for another reason would refuse too much.
REASONS = {
    "ok-cwt-tag-61": Reason.COSE_MALFORMED,
    "trailing-byte": Reason.CBOR_TRAILING_BYTES,
    "untagged": Reason.COSE_MALFORMED,
    "bad-signature": Reason.SIGNATURE_INVALID,
    "alg-in-unprotected": Reason.COSE_UNPROTECTED,
    "alg-mismatch-key": Reason.COSE_MALFORMED,
    "kid-unprotected-swap": Reason.COSE_UNPROTECTED,
    "unprotected-junk": Reason.COSE_UNPROTECTED,
    "crit-unknown": Reason.COSE_CRIT,
    "other-context-aad": Reason.SIGNATURE_INVALID,
    "payload-dup-key": Reason.CBOR_DUPLICATE_KEY,
    "payload-indefinite-map": Reason.CBOR_NOT_DETERMINISTIC,
    "payload-non-preferred-int": Reason.CBOR_NOT_DETERMINISTIC,
    "iat-float": Reason.CLAIM_INVALID,
    "nonce-short": Reason.CLAIM_INVALID,
    "nonce-long": Reason.CLAIM_INVALID,
    "nonce-missing": Reason.CLAIM_MISSING,
    "ueid-short": Reason.CLAIM_INVALID,
    "location-no-longitude": Reason.CLAIM_MISSING,
    "location-lat-range": Reason.CLAIM_INVALID,
    "location-nan": Reason.CLAIM_INVALID,
    "nested-depth-bomb": Reason.CBOR_TOO_DEEP,
    "small-order-key": Reason.KEY_INVALID,
    "cose-sign-type": Reason.COSE_MALFORMED,
    "cose-mac0-type": Reason.COSE_MALFORMED,
}


def appraise(vector: dict[str, Any]) -> None:
    key = SEED["keys"][vector["key"]]
    raw = bytes.fromhex(key["x_hex"] + key.get("y_hex", ""))
    alg = Algorithm.ES384 if "y_hex" in key else Algorithm.ED25519
    public = PublicKey(alg, raw)
    message = cose.decode_sign1(bytes.fromhex(vector["token_hex"]))
    # These tokens carry no typ, and a kid of eight bytes that is not our thumbprint.
    cose.verify_sign1(message, public, typ=None, check_kid=False)
    eat.check_eat_claims(eat.decode_claims(message.payload))


def test_all_tokens_are_there_and_every_rejection_has_its_reason() -> None:
    assert len(SEED["vectors"]) == 31
    rejected = {v["name"] for v in SEED["vectors"] if VERDICTS[v["expect"]] == "reject"}
    assert rejected == set(REASONS)


@pytest.mark.parametrize("vector", SEED["vectors"], ids=lambda vector: vector["name"])
def test_a_seed_token_gets_its_verdict(vector: dict[str, Any]) -> None:
    if VERDICTS[vector["expect"]] == "accept":
        appraise(vector)
        return
    with pytest.raises(Refused) as caught:
        appraise(vector)
    assert caught.value.reason is REASONS[vector["name"]]
