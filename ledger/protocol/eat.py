"""Claims of an Entity Attestation Token (RFC 9711): form, unit and limits of each.

This module knows the claims, not the policy: whether an epoch is current or a place permitted is
decided elsewhere. Claims that it does not know are tolerated (RFC 9711, 6.2), but a known claim
that has the wrong form refuses the token, whether or not anybody needs it.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ledger.errors import Reason, Refused
from ledger.protocol import cbor
from ledger.values import check_ueid

MAX_CLAIMS_SIZE = 8_192

IAT, NONCE, UEID, OEMID, HWMODEL = 6, 10, 256, 258, 259
UPTIME, DBGSTAT, LOCATION, PROFILE = 261, 263, 264, 265
BOOTCOUNT, BOOTSEED, MEASUREMENTS = 267, 268, 273
LATITUDE, LONGITUDE, ALTITUDE, ACCURACY, ALTITUDE_ACCURACY = 1, 2, 3, 4, 5
HEADING, SPEED, TIMESTAMP, AGE = 6, 7, 8, 9

REQUIRED = frozenset((IAT, NONCE, UEID, PROFILE))
"""What no token of ours can do without; a profile asks for more."""

MAX_SECONDS = 253_402_300_799
"""9999-12-31T23:59:59Z: later times fit no calendar that a verdict could be written in."""
MAX_COUNT = (1 << 63) - 1
"""Largest integer that every database column holds."""
MAX_MEASUREMENTS = 64
_MAX_CONTENT_FORMAT = 65_535  # CoAP, RFC 7252, 12.3
_MAX_PROFILE = 255
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:[!-~]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim or a member of one: its label, name, form in words, and the test of a value."""

    label: int
    name: str
    form: str
    accepts: Callable[[Any], bool]


def _is_count(value: Any) -> bool:
    # Not isinstance: True is an int to Python, and not to CBOR.
    return type(value) is int and 0 <= value <= MAX_COUNT


def _is_seconds(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MAX_SECONDS


def _is_bytes(low: int, high: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is bytes and low <= len(value) <= high


def _is_finite(value: Any) -> bool:
    return type(value) is int or (type(value) is float and math.isfinite(value))


def _is_within(low: float, high: float) -> Callable[[Any], bool]:
    # A NaN is in no interval.
    return lambda value: (type(value) is float or type(value) is int) and low <= value <= high


def _is_size(value: Any) -> bool:
    return _is_finite(value) and value >= 0


def _is_heading(value: Any) -> bool:
    if type(value) is float and math.isnan(value):
        return True
    return _is_finite(value) and 0 <= value < 360


def _is_ueid(value: Any) -> bool:
    if type(value) is not bytes:
        return False
    try:
        check_ueid(value)
    except Refused:
        return False
    return True


def _is_oemid(value: Any) -> bool:
    return _is_count(value) or (type(value) is bytes and len(value) in (3, 16))


def _is_bootseed(value: Any) -> bool:
    return type(value) is bytes and len(value) in (16, 32)


def _is_profile(value: Any) -> bool:
    if type(value) is str:
        return len(value) <= _MAX_PROFILE and _URI.fullmatch(value) is not None
    return type(value) is bytes and 0 < len(value) <= _MAX_PROFILE and _is_oid(value)


def _is_oid(value: bytes) -> bool:
    """BER content of an object identifier: base-128 arcs, each complete and in shortest form."""
    starts = [0, *(at + 1 for at, byte in enumerate(value[:-1]) if byte < 0x80)]
    return value[-1] < 0x80 and all(value[start] != 0x80 for start in starts)


def _is_measurements(value: Any) -> bool:
    return (
        type(value) is list
        and 0 < len(value) <= MAX_MEASUREMENTS
        and all(_is_measurement(item) for item in value)
    )


def _is_measurement(item: Any) -> bool:
    if type(item) is not list or len(item) != 2:
        return False
    content_format, body = item
    return (
        _is_count(content_format)
        and content_format <= _MAX_CONTENT_FORMAT
        and (type(body) is bytes and len(body) > 0)
    )


CLAIMS: tuple[Claim, ...] = (
    Claim(IAT, "iat", "int, seconds since 1970, to the end of 9999", _is_seconds),
    Claim(NONCE, "eat_nonce", "bytes, 8 to 64", _is_bytes(8, 64)),
    Claim(UEID, "ueid", "bytes: 01 + 16, 24, 32; 02 + 6, 8; 03 + 14", _is_ueid),
    Claim(OEMID, "oemid", "bytes, 16 random or 3 of the IEEE; or int, an IANA PEN", _is_oemid),
    Claim(HWMODEL, "hwmodel", "bytes, 1 to 32", _is_bytes(1, 32)),
    Claim(UPTIME, "uptime", "uint, seconds", _is_count),
    Claim(DBGSTAT, "dbgstat", "int, 0 (enabled) to 4", lambda v: type(v) is int and 0 <= v <= 4),
    Claim(LOCATION, "location", "map of the members below", lambda v: type(v) is dict),
    Claim(PROFILE, "eat_profile", "text, a URI, or bytes, an OID; up to 255", _is_profile),
    Claim(BOOTCOUNT, "bootcount", "uint", _is_count),
    Claim(BOOTSEED, "bootseed", "bytes, 16 or 32", _is_bootseed),
    Claim(
        MEASUREMENTS,
        "measurements",
        "array of 1 to 64 [CoAP content format, bytes]",
        _is_measurements,
    ),
)
"""The known claims; a number is an int or a float, and finite unless said otherwise."""

LOCATION_MEMBERS: tuple[Claim, ...] = (
    Claim(LATITUDE, "latitude", "number, degrees WGS 84, -90 to 90", _is_within(-90, 90)),
    Claim(LONGITUDE, "longitude", "number, degrees WGS 84, -180 to 180", _is_within(-180, 180)),
    Claim(ALTITUDE, "altitude", "number, metres", _is_finite),
    Claim(ACCURACY, "accuracy", "number, metres, not negative", _is_size),
    Claim(ALTITUDE_ACCURACY, "altitude-accuracy", "number, metres, not negative", _is_size),
    Claim(HEADING, "heading", "number, degrees, 0 to under 360; NaN at rest", _is_heading),
    Claim(SPEED, "speed", "number, metres per second, not negative", _is_size),
    Claim(TIMESTAMP, "timestamp", "int, seconds since 1970, to the end of 9999", _is_seconds),
    Claim(AGE, "age", "uint, seconds", _is_count),
)
"""Members of the location claim (RFC 9711, 4.2.10); its map is closed."""

_BY_LABEL: dict[int | str, Claim] = {claim.label: claim for claim in CLAIMS}
_BY_MEMBER: dict[int | str, Claim] = {member.label: member for member in LOCATION_MEMBERS}
_NAMES = {claim.label: claim.name for claim in CLAIMS}


def decode_claims(payload: bytes) -> dict[int | str, Any]:
    """The claims set of a token's payload, strictly decoded; its claims are not checked yet."""
    claims = cbor.decode(payload, max_size=MAX_CLAIMS_SIZE)
    if type(claims) is not dict:
        raise Refused(Reason.CLAIM_INVALID, "a claims set is a map", field="claims")
    return claims


def check_eat_claims(
    claims: Mapping[int | str, Any], *, required: Iterable[int] = REQUIRED
) -> None:
    """Return if every required claim is there and every known claim has its form.

    Refused(CLAIM_MISSING or CLAIM_INVALID) with the claim's name as field; members of the
    location are named ``location.latitude`` and so on.
    """
    for label in required:
        if label not in claims:
            name = _NAMES.get(label, str(label))
            raise Refused(Reason.CLAIM_MISSING, f"{name} ({label}) is missing", field=name)
    for key, value in claims.items():
        known = _BY_LABEL.get(key)
        if known is not None and not known.accepts(value):
            raise _invalid(known, known.name)
    if LOCATION in claims:
        _check_location(claims[LOCATION])


def _check_location(location: dict[int | str, Any]) -> None:
    for label, name in ((LATITUDE, "location.latitude"), (LONGITUDE, "location.longitude")):
        if label not in location:
            raise Refused(Reason.CLAIM_MISSING, f"{name} is missing", field=name)
    for key, value in location.items():
        member = _BY_MEMBER.get(key)
        if member is None:
            raise Refused(Reason.CLAIM_INVALID, "location has an unknown member", field="location")
        if not member.accepts(value):
            raise _invalid(member, f"location.{member.name}")


def _invalid(claim: Claim, name: str) -> Refused:
    return Refused(Reason.CLAIM_INVALID, f"{name} ({claim.label}) must be {claim.form}", field=name)
