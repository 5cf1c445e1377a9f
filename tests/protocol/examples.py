"""One statement of every kind with every member, as a plain map and as a signed token."""

from hashlib import sha256
from typing import Any

from ledger.protocol import cbor
from ledger.protocol import statements as st
from ledger.protocol.landmarks import RangingRow
from ledger.protocol.ranging_rows import make_report
from ledger.protocol.statements import Kind
from ledger.values import ZERO_DIGEST
from tests.world import MODEL, START_MS, World, signer

IAT = START_MS // 1000
WORLD = World()
CHIP = WORLD.chip(1)
UEID = CHIP.ueid
DIGEST = sha256(b"a digest").digest()


def cose_key(label: str) -> bytes:
    """The COSE_Key of a key made from a label."""
    return signer(label).public.to_cose_key()


def founder(name: str) -> dict[str, Any]:
    """A founder in a genesis statement."""
    return {"id": name, "name": name.title(), "key": cose_key(name)}


def plain(token: bytes) -> dict[str, Any]:
    """A token's body as the map that it is on the wire."""
    value: dict[str, Any] = cbor.decode(st.decode(token).sign1.payload, max_size=32_768)
    return value


def ranging_row(ueid: bytes = UEID, round_trip_us: int = 8_125) -> RangingRow:
    """A row of a ranging report."""
    return RangingRow(ueid=ueid, round_trip_us=round_trip_us, probes=4, transcript=DIGEST)


BODIES: dict[Kind, dict[str, Any]] = {
    Kind.GENESIS: {
        "iat": IAT,
        "origin": "test.example/ledger",
        "clock": "simulated",
        "epoch_s": 3_600,
        "bucket_bits": 8,
        "authority": founder("authority"),
        "ledger": cose_key("ledger"),
        "verifier": founder("verifier"),
        "officers": [founder("officer")],
    },
    Kind.PARTY: {
        "iat": IAT,
        "id": "maker",
        "name": "Maker, Inc. – Zürich",
        "roles": ["manufacturer", "custodian"],
        "country": "US",
        "key": cose_key("maker"),
        "parent": "holding",
        "root_certificate": WORLD.root_certificate,
    },
    Kind.LICENCE: {
        "iat": IAT,
        "id": "L-1",
        "holder": "holder",
        "countries": ["DE", "FR"],
        "models": [MODEL],
        "not_before": IAT,
        "not_after": IAT + 86_400,
        "quota_per_year": 10,
        "assurance": "claim",
    },
    Kind.BIRTH: plain(WORLD.birth(CHIP)) | {"processing_performance": 4_992},
    Kind.SHIP: {
        "iat": IAT,
        "chips": [UEID],
        "to": "holder",
        "destination": "DE",
        "licence": "L-1",
        "reference": "bill of lading 7",
    },
    Kind.RECEIVE: {
        "iat": IAT,
        "chips": [UEID],
        "sender": "maker",
        "country": "DE",
        "reference": "bill of lading 7",
    },
    Kind.INSTALL: {
        "iat": IAT,
        "chips": [UEID],
        "site": "Frankfurt 1",
        "country": "DE",
        "latitude": 50.1109,
        "longitude": 8.6821,
        "licence": "L-1",
    },
    Kind.RETIRE: {"iat": IAT, "chips": [UEID], "cause": "worn out"},
    Kind.POLICY: plain(WORLD.policy()),
    Kind.DECISION: {
        "iat": IAT,
        "action": "hold",
        "ueid": UEID,
        "key": CHIP.signer.public.thumbprint,
        "sequence": 1,
        "previous": ZERO_DIGEST,
        "rules": ["licence"],
        "reasons": ["licence: it has none"],
        "evidence": [DIGEST],
        "policy": DIGEST,
        "issued_ms": START_MS,
        "effective_ms": START_MS,
        "expires_ms": START_MS + 1,
        "appeal": "to authority",
    },
    Kind.EPOCH: {
        "iat": IAT,
        "id": DIGEST[:16],
        "counter": 0,
        "not_before_ms": START_MS,
        "not_after_ms": START_MS + 3_600_000,
    },
    Kind.INDEX_ROOT: {"iat": IAT, "size": 7, "root": DIGEST, "bucket_bits": 8},
    Kind.LANDMARK_DIRECTORY: {
        "iat": IAT,
        "version": 1,
        "landmarks": [
            {
                "id": "beacon",
                "operator": "lighthouse",
                "latitude": 50.1109,
                "longitude": 8.6821,
                "addresses": ["beacon.example:8490", "[2001:db8::1]:8490"],
            },
            {
                "id": "beacon-2",
                "operator": "lighthouse",
                "latitude": 1.3521,
                "longitude": 103.8198,
                "addresses": [],
                "suspended": "moved to another city",
            },
        ],
    },
    Kind.RANGING_REPORT: make_report(
        IAT, "beacon", DIGEST[:16], 1, [ranging_row()], signer("beacon")
    ).model_dump(),
}
HEARTBEAT_TOKEN = WORLD.chip(1).heartbeat(
    DIGEST[:16],
    START_MS,
    directive_seen=(1, DIGEST),
    lease=DIGEST[:16],
    counter=2,
    previous=DIGEST,
)
"""A heartbeat with every claim of the profile."""
HEARTBEAT: dict[int | str, Any] = cbor.decode(
    st.decode(HEARTBEAT_TOKEN).sign1.payload, max_size=2_048
)


def token(kind: Kind) -> bytes:
    """A signed example of a kind."""
    if kind is Kind.HEARTBEAT:
        return HEARTBEAT_TOKEN
    return st.sign(body(kind), signer("authority"))


def body(kind: Kind) -> Any:
    """The decoded example of a kind."""
    if kind is Kind.HEARTBEAT:
        return st.decode(HEARTBEAT_TOKEN).body
    return st.decode_body(kind, cbor.encode(BODIES[kind]))


KINDS = tuple(kind for kind in Kind if kind is not Kind.CONFLICT)
assert {*BODIES, Kind.HEARTBEAT} == set(KINDS)
