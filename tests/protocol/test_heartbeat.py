"""Heartbeats: every claim of the profile at its limits, there and back, fuzz."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as h

from ledger.errors import Reason, Refused
from ledger.protocol import cbor, heartbeat
from ledger.protocol import statements as st
from ledger.protocol.heartbeat import (
    BOOTCOUNT,
    BOOTSEED,
    COUNTER,
    DBGSTAT,
    DIRECTIVE_SEEN,
    EAT_PROFILE,
    HWMODEL,
    IAT,
    LEASE_ID,
    LOCATION,
    MEASUREMENTS,
    NONCE,
    OEMID,
    PREVIOUS,
    UEID,
    UPTIME,
    Heartbeat,
    Location,
    Measurement,
)
from ledger.values import ZERO_DIGEST
from tests.protocol.examples import DIGEST, HEARTBEAT
from tests.protocol.refusals import mutations, only_refusals, refused

PLACE = HEARTBEAT[LOCATION]
MAX53, MAX63 = 2**53 - 1, 2**63 - 1


def measured(format_: Any = 60, **changes: Any) -> list[Any]:
    inner = {"version": "1.0", "svn": 3, "digest": DIGEST} | changes
    return [[format_, cbor.encode({k: v for k, v in inner.items() if v is not None})]]


# Claim, name, values that are taken, values that are not.
CASES: list[tuple[int, str, list[Any], list[Any]]] = [
    (IAT, "iat", [0, 253_402_300_799], [-1, 253_402_300_800, 1.0, True, None]),
    (NONCE, "eat_nonce", [bytes(8), bytes(64)], [bytes(7), bytes(65), "x" * 16, [bytes(16)]]),
    (UEID, "ueid", [b"\x02" + bytes(6), b"\x03" + bytes(14)], [b"", bytes(17), "x", None]),
    (OEMID, "oemid", [0, MAX63, bytes(3), bytes(16)], [-1, bytes(4), "x", 1.0, None]),
    (HWMODEL, "hwmodel", [b"!", b"~" * 32], [b"", b"x" * 33, b"a b", b"\x1b[2J", b"\xff", "x"]),
    (UPTIME, "uptime", [0, MAX63], [-1, 2**63, 1.5, None]),
    (DBGSTAT, "dbgstat", [0, 4], [-1, 5, True, "1"]),
    (
        LOCATION,
        "location",
        [
            {1: -90.0, 2: 180.0, 4: 0.0, 8: 0},
            {1: 50, 2: 8, 4: 12, 8: 1},
            PLACE | {3: 100.0, 5: 3, 6: math.nan, 7: 0.5, 9: 2},
            PLACE | {4: heartbeat.MAX_ACCURACY_M},
        ],
        [
            {},
            {1: 1.0, 4: 1.0, 8: 0},
            {1: 1.0, 2: 1.0, 8: 0},
            {1: 1.0, 2: 1.0, 4: 1.0},
            PLACE | {1: 90.5},
            PLACE | {2: math.inf},
            PLACE | {4: -1.0},
            PLACE | {4: math.nan},
            PLACE | {4: heartbeat.MAX_ACCURACY_M + 4},
            PLACE | {4: 1e300},
            PLACE | {8: 1.5},
            PLACE | {10: 1},
            [1.0, 2.0],
        ],
    ),
    (BOOTCOUNT, "bootcount", [0, MAX63], [-1, 2**63, 1.0]),
    (BOOTSEED, "bootseed", [bytes(16), bytes(32)], [bytes(15), bytes(33), "x" * 32]),
    (
        MEASUREMENTS,
        "measurements",
        [measured(version="x" * 64), measured(svn=MAX53), measured(version="é")],
        [
            [],
            measured() * 2,
            measured(61),
            measured(version=""),
            measured(version="x" * 65),
            measured(version="a\nb"),
            measured(version="a\u202eb"),
            measured(version=1),
            measured(svn=-1),
            measured(svn=2**53),
            measured(svn=True),
            measured(digest=bytes(31)),
            measured(digest=None),
            measured(extra=1),
            [[60, b"\xff"]],
            [[60, cbor.encode([1])]],
            [[60, bytes(300)]],
        ],
    ),
    (COUNTER, "counter", [2, MAX53], [0, -1, 2**53, True, 1.0, "1"]),
    (PREVIOUS, "previous", [DIGEST], [bytes(31), bytes(33), "x" * 32, ZERO_DIGEST]),
    (
        DIRECTIVE_SEEN,
        "directive_seen",
        [[0, bytes(32)], [MAX53, DIGEST]],
        [[], [1], [1, bytes(31)], [-1, DIGEST], [2**53, DIGEST], [1, DIGEST, 1], {1: 2}, None],
    ),
    (LEASE_ID, "lease", [bytes(16)], [bytes(15), "x" * 16, 1, None]),
]


def changed(claim: int, value: Any) -> bytes:
    return cbor.encode(HEARTBEAT | {claim: value})


def expand(side: int) -> list[Any]:
    return [
        pytest.param(claim, name, values[side][number], id=f"{name}-{number}")
        for claim, name, *values in CASES
        for number in range(len(values[side]))
    ]


def test_the_cases_name_every_claim_of_the_profile():
    assert {case[0] for case in CASES} | {EAT_PROFILE} == set(HEARTBEAT)


@pytest.mark.parametrize(("claim", "name", "value"), expand(0))
def test_a_claim_within_its_limits_is_taken(claim: int, name: str, value: Any):
    assert isinstance(heartbeat.decode(changed(claim, value)), Heartbeat)


@pytest.mark.parametrize(("claim", "name", "value"), expand(1))
def test_a_claim_beyond_its_limits_is_refused(claim: int, name: str, value: Any):
    with pytest.raises(Refused) as caught:
        heartbeat.decode(changed(claim, value))
    if claim != MEASUREMENTS:
        assert caught.value.reason in (Reason.CLAIM_INVALID, Reason.CLAIM_MISSING)
        assert (caught.value.field or "").split(".")[0] == name


@pytest.mark.parametrize("claim", [case[0] for case in CASES] + [EAT_PROFILE])
def test_a_missing_claim_is_refused_unless_it_is_optional(claim: int):
    payload = cbor.encode({key: value for key, value in HEARTBEAT.items() if key != claim})
    if claim in (DIRECTIVE_SEEN, LEASE_ID):
        assert heartbeat.decode(payload)
    else:
        with refused(Reason.CLAIM_MISSING):
            heartbeat.decode(payload)


@pytest.mark.parametrize("profile", ["tag:chip-passport.example,2026:heartbeat/2", b"\x2a\x03"])
def test_another_profile_is_refused(profile: Any):
    with refused(Reason.PROFILE_UNKNOWN, "eat_profile"):
        heartbeat.decode(changed(EAT_PROFILE, profile))


def test_a_first_heartbeat_has_a_zero_predecessor_and_no_other_has():
    assert heartbeat.decode(cbor.encode(HEARTBEAT | {COUNTER: 1, PREVIOUS: ZERO_DIGEST}))
    with refused(Reason.CLAIM_INVALID, "previous"):
        heartbeat.decode(changed(COUNTER, 1))


@pytest.mark.parametrize("payload", [b"", b"\x80", b"\xa0", cbor.encode([HEARTBEAT]), b"\xf6"])
def test_a_payload_that_is_no_claims_set_is_refused(payload: bytes):
    with pytest.raises(Refused):
        heartbeat.decode(payload)


def test_unknown_claims_are_tolerated_and_stay_in_the_bytes():
    payload = cbor.encode(HEARTBEAT | {-70_000: "x", "private": [1, {"a": None}], 400: 1.5})
    assert heartbeat.decode(payload) == heartbeat.decode(cbor.encode(HEARTBEAT))


def test_null_is_no_way_to_leave_a_claim_out():
    with refused(Reason.CLAIM_INVALID, "lease"):
        heartbeat.decode(changed(LEASE_ID, None))
    with refused(Reason.CLAIM_INVALID, "directive_seen"):
        heartbeat.decode(changed(DIRECTIVE_SEEN, None))


def test_a_damaged_measurement_is_refused_every_time():
    for _ in range(2):
        with refused(Reason.CLAIM_INVALID, "measurements.svn"):
            heartbeat.decode(changed(MEASUREMENTS, measured(svn=-1)))


UINT53, UINT63 = h.integers(0, MAX53), h.integers(0, MAX63)
FLOAT = h.floats(allow_nan=False, allow_infinity=False)
PRINTABLE = h.text(h.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=64)
BEATS = h.builds(
    Heartbeat,
    iat=h.integers(0, 253_402_300_799),
    epoch=h.binary(min_size=8, max_size=64),
    ueid=h.binary(min_size=16, max_size=16).map(lambda raw: b"\x01" + raw),
    oemid=UINT63 | h.binary(min_size=3, max_size=3) | h.binary(min_size=16, max_size=16),
    model=h.text(h.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=32),
    uptime=UINT63,
    debug_status=h.integers(0, 4),
    location=h.builds(
        Location,
        h.floats(-90, 90),
        h.floats(-180, 180),
        h.floats(0, heartbeat.MAX_ACCURACY_M),
        h.integers(0, 253_402_300_799),
    ),
    boot_count=UINT63,
    boot_seed=h.sampled_from([16, 32]).flatmap(lambda n: h.binary(min_size=n, max_size=n)),
    measurement=h.builds(Measurement, PRINTABLE, UINT53, h.binary(min_size=32, max_size=32)),
    counter=h.integers(2, MAX53),
    previous=h.binary(min_size=32, max_size=32).filter(any),
    directive_seen=h.none() | h.tuples(UINT53, h.binary(min_size=32, max_size=32)),
    lease=h.none() | h.binary(min_size=16, max_size=16),
)


@settings(max_examples=60)
@given(BEATS)
def test_every_heartbeat_goes_there_and_back(body: Heartbeat):
    payload = body.encode()
    assert heartbeat.decode(payload) == body
    assert st.decode_body(st.Kind.HEARTBEAT, payload) == body
    assert len(payload) < heartbeat.MAX_HEARTBEAT_BYTES - 200


@settings(max_examples=150)
@given(mutations(cbor.encode(HEARTBEAT)))
def test_changed_payloads_give_a_heartbeat_or_a_refusal(payload: bytes):
    body = only_refusals(heartbeat.decode, payload)
    if body is not None:
        # The value says it all but unknown claims, further members of the location and whole
        # degrees; digests and signatures are over the bytes, so none of these is lost or moved.
        assert heartbeat.decode(body.encode()) == body


@given(h.dictionaries(h.sampled_from(sorted(HEARTBEAT)), h.integers() | h.binary() | FLOAT))
def test_claims_of_any_type_give_a_heartbeat_or_a_refusal(changes: dict[int, Any]):
    small = {k: v for k, v in changes.items() if type(v) is not int or abs(v) < 2**64}
    only_refusals(heartbeat.decode, cbor.encode(HEARTBEAT | small))
