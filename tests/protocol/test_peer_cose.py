"""Another COSE implementation verifies our tokens, and we verify its tokens.

The peer (the package cwt) needs an older cbor2 than this project, so it runs in an environment of
its own: ``make peer``, or CHIP_PASSPORT_PEER_PYTHON names an interpreter that has it.
"""

import json
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from ledger.errors import Reason
from ledger.protocol import cose
from ledger.protocol.keys import Ed25519Signer, P384Signer
from tests.protocol.refusals import refused

pytestmark = pytest.mark.peer

SCRIPT = Path(__file__).with_name("peer_cose.py")
TYP = "application/chip-passport.heartbeat+cbor"
PAYLOAD = bytes(range(200))
SEED = b"\x01" * 32
SCALAR = 0xC0FFEE
ED = Ed25519Signer.from_seed(SEED)
EC = P384Signer(ec.derive_private_key(SCALAR, ec.SECP384R1()))
SIGNERS = [
    pytest.param(ED, SEED.hex(), id="ed25519"),
    pytest.param(EC, SCALAR.to_bytes(48).hex(), id="es384"),
]


def ask(python: str, *rows: dict[str, str]) -> list[dict[str, str]]:
    done = subprocess.run(
        [python, str(SCRIPT)],
        input=json.dumps(rows),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers: list[dict[str, str]] = json.loads(done.stdout)
    return answers


@pytest.mark.parametrize(("signer", "secret"), SIGNERS)
def test_the_peer_verifies_our_token_and_rejects_a_changed_one(
    peer_python: str, signer: Ed25519Signer | P384Signer, secret: str
) -> None:
    token = cose.sign1(PAYLOAD, signer, typ=TYP)
    flipped = token[:-1] + bytes([token[-1] ^ 1])
    changed = token.replace(PAYLOAD, PAYLOAD[::-1])
    retyped = token.replace(b"heartbeat", b"heartbeau")
    key, kid = signer.public.to_cose_key().hex(), signer.public.kid.hex()
    rows = [
        {"do": "verify", "key": key, "kid": kid, "token": each.hex()}
        for each in (token, flipped, changed, retyped)
    ]
    answers = ask(peer_python, *rows)
    assert answers[0] == {"payload": PAYLOAD.hex()}
    assert answers[1:] == [{"error": "VerifyError"}] * 3


@pytest.mark.parametrize(("signer", "secret"), SIGNERS)
def test_we_verify_the_token_of_the_peer_and_refuse_a_changed_one(
    peer_python: str, signer: Ed25519Signer | P384Signer, secret: str
) -> None:
    row = {
        "do": "sign",
        "key": signer.public.to_cose_key().hex(),
        "secret": secret,
        "kid": signer.public.kid.hex(),
        "typ": TYP,
        "payload": PAYLOAD.hex(),
    }
    token = bytes.fromhex(ask(peer_python, row)[0]["token"])
    message = cose.decode_sign1(token)
    assert message.payload == PAYLOAD
    cose.verify_sign1(message, signer.public, typ=TYP)
    with refused(Reason.SIGNATURE_INVALID):
        cose.verify_sign1(
            cose.decode_sign1(token.replace(PAYLOAD, PAYLOAD[::-1])), signer.public, typ=TYP
        )
