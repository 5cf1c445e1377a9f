"""EAT claims: each known claim at its limits, just beyond them, and of another type."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import Reason
from ledger.protocol import cbor, eat
from tests.protocol.refusals import mutations, only_refusals, refused

RAND_UEID = b"\x01" + bytes(range(16))
URI = "tag:example.org,2026:chip-passport/heartbeat#1"
MINIMAL: dict[int | str, Any] = {6: 1_750_000_000, 10: bytes(32), 256: RAND_UEID, 265: URI}
FULL: dict[int | str, Any] = MINIMAL | {
    258: 32473,
    259: b"SIM-A1",
    261: 3_600,
    263: 3,
    264: {1: 48.1374, 2: 11.5755, 3: -12, 4: 120, 5: 0, 6: 359.5, 7: 0.0, 8: 1_749_999_990, 9: 10},
    267: 42,
    268: bytes(32),
    273: [[258, b"measurement"]],
}
NAN = math.nan
INF = math.inf
MAX = (1 << 63) - 1
OVER = 1 << 63

# Label, name, values that are taken, values that are not.
CASES: list[tuple[int, str, list[Any], list[Any]]] = [
    (
        eat.IAT,
        "iat",
        [0, 1_750_000_000, 253_402_300_799],
        [-1, 253_402_300_800, 1.75e9, True, "0", b"0", None],
    ),
    (
        eat.NONCE,
        "eat_nonce",
        [bytes(8), bytes(64)],
        [bytes(7), bytes(65), b"", "a" * 8, [bytes(8), bytes(8)], 8, None],
    ),
    (
        eat.UEID,
        "ueid",
        [
            RAND_UEID,
            b"\x01" + bytes(24),
            b"\x01" + bytes(32),
            b"\x02" + bytes(6),
            b"\x02" + bytes(8),
        ],
        [b"", b"\x01" + bytes(15), b"\x01" + bytes(33), b"\x04" + bytes(16), RAND_UEID.hex(), 1],
    ),
    (
        eat.OEMID,
        "oemid",
        [bytes(16), bytes(3), 0, 32473, MAX],
        [bytes(4), bytes(15), bytes(17), b"", -1, OVER, 1.0, True, "AAAA"],
    ),
    (eat.HWMODEL, "hwmodel", [b"A", bytes(32)], [b"", bytes(33), "SIM-A1", 1]),
    (eat.UPTIME, "uptime", [0, MAX], [-1, OVER, 0.5, 1.0, False, None]),
    (eat.DBGSTAT, "dbgstat", [0, 1, 2, 3, 4], [-1, 5, True, 3.0, "disabled", None]),
    (eat.LOCATION, "location", [{1: 0, 2: 0}], [[0, 0], None, "here", b"", 0]),
    (
        eat.PROFILE,
        "eat_profile",
        [URI, "https://example.org/p", "urn:x", "a:" + "b" * 253, b"\x2b\x06\x01", b"\x88\x37"],
        [
            "",
            "heartbeat",
            "a:" + "b" * 254,
            "1a:b",
            "a:b c",
            "a:b\n",
            "a:\u00fc",
            b"",
            b"\x80\x01",
            b"\x2b\x80\x01",
            b"\x2b\x86",
            bytes(256),
            1,
            None,
        ],
    ),
    (eat.BOOTCOUNT, "bootcount", [0, MAX], [-1, OVER, 1.0, True]),
    (eat.BOOTSEED, "bootseed", [bytes(16), bytes(32)], [bytes(15), bytes(24), bytes(33), "", 0]),
    (
        eat.MEASUREMENTS,
        "measurements",
        [[[0, b"x"]], [[65_535, b"x"]] * 64],
        [
            [],
            [[0, b"x"]] * 65,
            [[0, b""]],
            [[65_536, b"x"]],
            [[-1, b"x"]],
            [[True, b"x"]],
            [[0, "x"]],
            [[0, b"x", 0]],
            [[0]],
            [b"x"],
            {0: b"x"},
            None,
        ],
    ),
]

LOCATION_CASES: list[tuple[int, str, list[Any], list[Any]]] = [
    (eat.LATITUDE, "latitude", [-90, 90.0, -0.0, 48.1], [-90.001, 91, NAN, INF, True, "48", None]),
    (eat.LONGITUDE, "longitude", [-180, 180.0], [-180.001, 181, NAN, -INF, False, b"", None]),
    (eat.ALTITUDE, "altitude", [-420, 8_848.86, 0], [NAN, INF, -INF, True, "0"]),
    (eat.ACCURACY, "accuracy", [0, 0.0, 12.5, 20_000_000], [-1, -0.1, NAN, INF, True, None]),
    (eat.ALTITUDE_ACCURACY, "altitude-accuracy", [0, 3.5], [-1, NAN, INF, True]),
    (eat.HEADING, "heading", [0, 359.9, NAN], [-0.1, 360, INF, True, None]),
    (eat.SPEED, "speed", [0, 12.5], [-0.1, NAN, INF, True]),
    (eat.TIMESTAMP, "timestamp", [0, 253_402_300_799], [-1, 253_402_300_800, 1.0, True, "now"]),
    (eat.AGE, "age", [0, MAX], [-1, OVER, 0.5, True]),
]


def rows(cases: list[tuple[int, str, list[Any], list[Any]]], taken: bool) -> list[Any]:
    return [
        pytest.param(label, name, value, id=f"{name}-{number}")
        for label, name, good, bad in cases
        for number, value in enumerate(good if taken else bad)
    ]


def located(label: int, value: Any) -> dict[int | str, Any]:
    return FULL | {eat.LOCATION: {eat.LATITUDE: 0, eat.LONGITUDE: 0} | {label: value}}


def test_a_full_and_a_minimal_claims_set_are_taken() -> None:
    eat.check_eat_claims(FULL)
    eat.check_eat_claims(MINIMAL)
    assert eat.decode_claims(cbor.encode(FULL)) == FULL


@pytest.mark.parametrize(("label", "name", "value"), rows(CASES, taken=True))
def test_a_claim_within_its_limits_is_taken(label: int, name: str, value: Any) -> None:
    eat.check_eat_claims(FULL | {label: value})


@pytest.mark.parametrize(("label", "name", "value"), rows(CASES, taken=False))
def test_a_claim_beyond_its_limits_is_refused(label: int, name: str, value: Any) -> None:
    with refused(Reason.CLAIM_INVALID, name):
        eat.check_eat_claims(FULL | {label: value})


@pytest.mark.parametrize(("label", "name", "value"), rows(LOCATION_CASES, taken=True))
def test_a_location_member_within_its_limits_is_taken(label: int, name: str, value: Any) -> None:
    eat.check_eat_claims(located(label, value))


@pytest.mark.parametrize(("label", "name", "value"), rows(LOCATION_CASES, taken=False))
def test_a_location_member_beyond_its_limits_is_refused(label: int, name: str, value: Any) -> None:
    with refused(Reason.CLAIM_INVALID, f"location.{name}"):
        eat.check_eat_claims(located(label, value))


def test_every_claim_and_member_has_cases() -> None:
    assert [(claim.label, claim.name) for claim in eat.CLAIMS] == [case[:2] for case in CASES]
    assert [(claim.label, claim.name) for claim in eat.LOCATION_MEMBERS] == [
        case[:2] for case in LOCATION_CASES
    ]


@pytest.mark.parametrize("label", sorted(eat.REQUIRED))
def test_a_missing_required_claim_is_refused_by_name(label: int) -> None:
    name = next(claim.name for claim in eat.CLAIMS if claim.label == label)
    with refused(Reason.CLAIM_MISSING, name):
        eat.check_eat_claims({key: value for key, value in FULL.items() if key != label})


def test_a_profile_may_require_more_claims_known_or_not() -> None:
    required = (*eat.REQUIRED, eat.UPTIME, -65_537)
    with refused(Reason.CLAIM_MISSING, "uptime"):
        eat.check_eat_claims(MINIMAL, required=required)
    with refused(Reason.CLAIM_MISSING, "-65537"):
        eat.check_eat_claims(FULL, required=required)
    eat.check_eat_claims(FULL | {-65_537: 1}, required=required)


@pytest.mark.parametrize(
    ("label", "name"), [(eat.LATITUDE, "latitude"), (eat.LONGITUDE, "longitude")]
)
def test_a_location_without_a_coordinate_is_refused(label: int, name: str) -> None:
    location = {key: value for key, value in {1: 0, 2: 0}.items() if key != label}
    with refused(Reason.CLAIM_MISSING, f"location.{name}"):
        eat.check_eat_claims(FULL | {eat.LOCATION: location})


@pytest.mark.parametrize("label", [0, 10, -1, "latitude"])
def test_an_unknown_location_member_is_refused(label: int | str) -> None:
    with refused(Reason.CLAIM_INVALID, "location"):
        eat.check_eat_claims(FULL | {eat.LOCATION: {1: 0, 2: 0, label: 0}})


def test_unknown_claims_are_tolerated() -> None:
    eat.check_eat_claims(FULL | {70_001: "x", -70_001: [1], "vendor": None})


@pytest.mark.parametrize("payload", ["80", "00", "f6", "40", "60"])
def test_a_payload_that_is_no_map_is_refused(payload: str) -> None:
    with refused(Reason.CLAIM_INVALID, "claims"):
        eat.decode_claims(bytes.fromhex(payload))


def test_a_payload_over_the_limit_is_refused() -> None:
    with refused(Reason.TOO_LARGE):
        eat.decode_claims(cbor.encode({70_001: bytes(eat.MAX_CLAIMS_SIZE)}))


def appraise(payload: bytes) -> dict[int | str, Any]:
    claims = eat.decode_claims(payload)
    eat.check_eat_claims(claims)
    return claims


@given(st.binary(max_size=100))
def test_random_payloads_are_only_refused(payload: bytes) -> None:
    assert only_refusals(appraise, payload) is None


@given(mutations(cbor.encode(FULL)))
def test_mutated_payloads_are_refused_or_their_own_encoding(payload: bytes) -> None:
    claims = only_refusals(appraise, payload)
    if claims is not None:
        assert cbor.encode(claims) == payload


LABELS = st.sampled_from([claim.label for claim in (*eat.CLAIMS, *eat.LOCATION_MEMBERS)])
ANYTHING = st.recursive(
    st.integers(-(1 << 64), (1 << 64) - 1) | st.binary() | st.text() | st.booleans() | st.none()
    | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(LABELS, inner, max_size=4),
    max_leaves=8,
)  # fmt: skip


@given(label=LABELS, value=ANYTHING)
def test_any_value_of_a_claim_is_taken_or_refused(label: int, value: Any) -> None:
    data = cbor.encode(MINIMAL | {label: value})
    only_refusals(appraise, data)
