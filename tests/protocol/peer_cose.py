"""Runs under another interpreter, beside the package cwt: verifies and makes COSE_Sign1 tokens.

Reads JSON rows from stdin and writes one JSON answer a row to stdout, bytes in hexadecimal:
{"do": "verify", "key", "kid", "token"} gives {"payload"} or {"error"};
{"do": "sign", "key", "secret", "kid", "typ", "payload"} gives {"token"}.
``key`` is a COSE_Key. Nothing of this project is imported.
"""

import json
import sys

import cbor2
from cwt import COSE, COSEKey
from cwt.exceptions import CWTError

ALGORITHMS = {1: -8, 2: -35}
KTY, KID, ALG, D = 1, 2, 3, -4


def cose_key(row: dict[str, str]) -> COSEKey:
    members = cbor2.loads(bytes.fromhex(row["key"]))
    members |= {KID: bytes.fromhex(row["kid"]), ALG: ALGORITHMS[members[KTY]]}
    if "secret" in row:
        members[D] = bytes.fromhex(row["secret"])
    return COSEKey.new(members)


def verify(row: dict[str, str]) -> dict[str, str]:
    try:
        payload = COSE.new().decode(bytes.fromhex(row["token"]), keys=[cose_key(row)])
    except (CWTError, ValueError) as error:
        return {"error": type(error).__name__}
    return {"payload": payload.hex()}


def sign(row: dict[str, str]) -> dict[str, str]:
    key = cose_key(row)
    protected = {1: key.alg, 4: bytes.fromhex(row["kid"]), 16: row["typ"]}
    token = COSE.new().encode_and_sign(bytes.fromhex(row["payload"]), key, protected=protected)
    return {"token": token.hex()}


rows = json.load(sys.stdin)
json.dump([{"verify": verify, "sign": sign}[row["do"]](row) for row in rows], sys.stdout)
