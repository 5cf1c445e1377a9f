"""The heartbeat: an EAT (RFC 9711) with this project's profile, as a value and as bytes.

``docs/profile.md`` answers the RFC's profile checklist and lists every claim with key, type, unit
and limits. Here the claims that the profile adds to plain EAT are required and checked.
"""

import re
from functools import lru_cache
from typing import Any, NamedTuple

from ledger.errors import Reason, Refused
from ledger.protocol import cbor, eat
from ledger.protocol.fields import is_printable
from ledger.values import ZERO_DIGEST, check_ueid

PROFILE = "tag:chip-passport.example,2026:heartbeat/1"
TYP = "application/chip-passport.heartbeat+cbor"
MAX_HEARTBEAT_BYTES = 2_048

IAT, NONCE, UEID, OEMID, HWMODEL, UPTIME, DBGSTAT = 6, 10, 256, 258, 259, 261, 263
LOCATION, EAT_PROFILE, BOOTCOUNT, BOOTSEED, MEASUREMENTS = 264, 265, 267, 268, 273
COUNTER, PREVIOUS, DIRECTIVE_SEEN, LEASE_ID = -65537, -65538, -65539, -65540

MEASUREMENT_FORMAT = 60
"""CoAP content format application/cbor: {"digest": bytes, "svn": uint, "version": text}."""

_REQUIRED = {
    IAT: "iat",
    NONCE: "eat_nonce",
    UEID: "ueid",
    OEMID: "oemid",
    HWMODEL: "hwmodel",
    UPTIME: "uptime",
    DBGSTAT: "dbgstat",
    LOCATION: "location",
    EAT_PROFILE: "eat_profile",
    BOOTCOUNT: "bootcount",
    BOOTSEED: "bootseed",
    MEASUREMENTS: "measurements",
    COUNTER: "counter",
    PREVIOUS: "previous",
}
_OPTIONAL = {DIRECTIVE_SEEN: "directive_seen", LEASE_ID: "lease"}
MAX_ACCURACY_M = 20_040_000.0
"""Half the Earth's circumference: a disc of that radius holds every place."""
_MAX_UINT = 2**53
_MODEL = re.compile(rb"[\x21-\x7e]{1,32}")


class Location(NamedTuple):
    """The chip's own claim of its place: WGS84 degrees, accuracy in metres, time in seconds."""

    latitude: float
    longitude: float
    accuracy_m: float
    timestamp: int


class Measurement(NamedTuple):
    """What runs on the chip: firmware version, security version number, SHA-256 of the image."""

    version: str
    svn: int
    digest: bytes


class Heartbeat(NamedTuple):
    """The claims of one heartbeat. ``iat`` in seconds, ``uptime`` in seconds since boot.

    ``previous`` is the content digest (SHA-256 of the Sig_structure) of the chip's heartbeat with
    the counter before, 32 zero bytes in the first one. ``directive_seen`` is the last decision the
    chip has received, as (sequence, statement digest).
    """

    iat: int
    epoch: bytes
    ueid: bytes
    oemid: int | bytes
    model: str
    uptime: int
    debug_status: int
    location: Location
    boot_count: int
    boot_seed: bytes
    measurement: Measurement
    counter: int
    previous: bytes = ZERO_DIGEST
    directive_seen: tuple[int, bytes] | None = None
    lease: bytes | None = None

    def encode(self) -> bytes:
        """The EAT payload in deterministic CBOR."""
        measured = {
            "version": self.measurement.version,
            "svn": self.measurement.svn,
            "digest": self.measurement.digest,
        }
        claims: dict[int, Any] = {
            IAT: self.iat,
            NONCE: self.epoch,
            UEID: self.ueid,
            OEMID: self.oemid,
            HWMODEL: self.model.encode(),
            UPTIME: self.uptime,
            DBGSTAT: self.debug_status,
            LOCATION: {
                1: self.location.latitude,
                2: self.location.longitude,
                4: self.location.accuracy_m,
                8: self.location.timestamp,
            },
            EAT_PROFILE: PROFILE,
            BOOTCOUNT: self.boot_count,
            BOOTSEED: self.boot_seed,
            MEASUREMENTS: [[MEASUREMENT_FORMAT, cbor.encode(measured)]],
            COUNTER: self.counter,
            PREVIOUS: self.previous,
        }
        if self.directive_seen is not None:
            claims[DIRECTIVE_SEEN] = list(self.directive_seen)
        if self.lease is not None:
            claims[LEASE_ID] = self.lease
        return cbor.encode(claims)


def decode(payload: bytes) -> Heartbeat:
    """Parse a heartbeat payload strictly.

    Plain EAT claims are checked first (``eat.check_eat_claims``), then the profile, then that
    nothing the profile requires is missing. Unknown claims are tolerated (RFC 9711, 7.2.2) and stay
    on record in the statement's bytes.
    """
    claims = eat.decode_claims(payload)
    eat.check_eat_claims(claims)
    for key, name in _REQUIRED.items():
        if key not in claims:
            raise Refused(Reason.CLAIM_MISSING, f"claim {key} ({name}) is required", field=name)
    if claims[EAT_PROFILE] != PROFILE:
        raise Refused(Reason.PROFILE_UNKNOWN, f"the profile is {PROFILE}", field="eat_profile")
    for key, name in _OPTIONAL.items():
        if claims.get(key, 0) is None:
            raise Refused(Reason.CLAIM_INVALID, "leave it out instead of null", field=name)
    directive = claims.get(DIRECTIVE_SEEN)
    lease = claims.get(LEASE_ID)
    _check_private(claims[COUNTER], claims[PREVIOUS], directive, lease)
    return Heartbeat(
        iat=claims[IAT],
        epoch=_nonce(claims[NONCE]),
        ueid=check_ueid(claims[UEID]),
        oemid=claims[OEMID],
        model=_model(claims[HWMODEL]),
        uptime=claims[UPTIME],
        debug_status=claims[DBGSTAT],
        location=_location(claims[LOCATION]),
        boot_count=claims[BOOTCOUNT],
        boot_seed=claims[BOOTSEED],
        measurement=_measurement(claims[MEASUREMENTS]),
        counter=claims[COUNTER],
        previous=claims[PREVIOUS],
        directive_seen=None if directive is None else (directive[0], directive[1]),
        lease=lease,
    )


def _nonce(value: object) -> bytes:
    if not isinstance(value, bytes):
        raise Refused(Reason.CLAIM_INVALID, "the nonce is one epoch id", field="eat_nonce")
    return value


def _model(value: bytes) -> str:
    if _MODEL.fullmatch(value) is None:
        raise Refused(
            Reason.CLAIM_INVALID, "the model is printable ASCII without spaces", field="hwmodel"
        )
    return value.decode("ascii")


def _location(value: dict[int, Any]) -> Location:
    for key, name in ((4, "location.accuracy"), (8, "location.timestamp")):
        if key not in value:
            raise Refused(Reason.CLAIM_MISSING, f"{name} is required", field=name)
    if value[4] > MAX_ACCURACY_M:
        raise Refused(
            Reason.CLAIM_INVALID, f"at most {MAX_ACCURACY_M:.0f} m", field="location.accuracy"
        )
    return Location(float(value[1]), float(value[2]), float(value[4]), value[8])


def _measurement(value: list[Any]) -> Measurement:
    if len(value) != 1 or value[0][0] != MEASUREMENT_FORMAT or not isinstance(value[0][1], bytes):
        raise Refused(
            Reason.CLAIM_INVALID,
            "measurements is one [60, bstr .cbor {version, svn, digest}]",
            field="measurements",
        )
    return _decode_measurement(value[0][1])


@lru_cache(maxsize=4_096)
def _decode_measurement(data: bytes) -> Measurement:
    """A whole fleet runs few firmware versions; a refusal is not remembered."""
    inner = cbor.decode(data, max_size=256, max_depth=2)
    if not isinstance(inner, dict) or inner.keys() != {"version", "svn", "digest"}:
        raise Refused(
            Reason.CLAIM_INVALID,
            "a measurement has version, svn and digest and nothing else",
            field="measurements",
        )
    version, svn, digest = inner["version"], inner["svn"], inner["digest"]
    if not isinstance(version, str) or len(version) > 64 or not is_printable(version):
        raise Refused(
            Reason.CLAIM_INVALID, "1 to 64 printable characters", field="measurements.version"
        )
    if not _uint(svn):
        raise Refused(Reason.CLAIM_INVALID, "an unsigned integer", field="measurements.svn")
    if not isinstance(digest, bytes) or len(digest) != 32:
        raise Refused(Reason.CLAIM_INVALID, "32 bytes", field="measurements.digest")
    return Measurement(version, svn, digest)


def _check_private(counter: Any, previous: Any, directive: Any, lease: Any) -> None:
    if not _uint(counter) or counter == 0:
        raise Refused(Reason.CLAIM_INVALID, "the counter counts from 1", field="counter")
    if not isinstance(previous, bytes) or len(previous) != 32:
        raise Refused(Reason.CLAIM_INVALID, "32 bytes", field="previous")
    if (counter == 1) != (previous == ZERO_DIGEST):
        raise Refused(Reason.CLAIM_INVALID, "zero in the first heartbeat only", field="previous")
    if directive is not None and not (
        isinstance(directive, list)
        and len(directive) == 2
        and _uint(directive[0])
        and isinstance(directive[1], bytes)
        and len(directive[1]) == 32
    ):
        raise Refused(Reason.CLAIM_INVALID, "[sequence, 32 bytes]", field="directive_seen")
    if lease is not None and not (isinstance(lease, bytes) and len(lease) == 16):
        raise Refused(Reason.CLAIM_INVALID, "16 bytes", field="lease")


def _uint(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MAX_UINT
