"""The verifier's rules. Each looks at one heartbeat in context and says what it finds.

A finding has a tier of the AR4SI trust vector (draft-ietf-rats-ar4si): 2 affirming, 32 warning,
96 contraindicated. A warning never counts towards a hold, nor clears what counts: it says "cannot
tell" or "unusual". Where "cannot tell" would serve a chip that has something to hide, a limit in
the policy turns it into a contraindication.
Rule ids are those of ``ledger.protocol.policy.RuleId``; ``docs/rules.md`` lists them.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from enum import IntEnum
from math import asin, cos, radians, sin, sqrt
from typing import NamedTuple

from ledger.appraisal.case import Case, Fix, Seen
from ledger.protocol.heartbeat import Heartbeat
from ledger.protocol.policy import Policy
from ledger.registry.records import Chip, Registry
from ledger.values import MILLIS_PER_HOUR, MILLIS_PER_SECOND

EARTH_RADIUS_KM = 6371.0088
"""Mean radius (IUGG)."""
MIN_TRAVEL_SPAN_S = 60
"""Two claims closer in time than this are compared as if a minute apart."""


class Tier(IntEnum):
    """AR4SI trust tiers."""

    AFFIRMING = 2
    WARNING = 32
    CONTRAINDICATED = 96


class Finding(NamedTuple):
    """What one rule says about one entry, in words.

    ``unclear``: the location claim shows neither a place inside nor one outside.
    """

    rule: str
    tier: Tier
    words: str
    unclear: bool = False


class Context(NamedTuple):
    """Everything a rule may look at. ``chip`` is the record before this heartbeat."""

    body: Heartbeat
    received_ms: int
    chip: Chip
    case: Case
    policy: Policy
    registry: Registry
    countries: frozenset[str]


def appraise(context: Context) -> list[Finding]:
    """All findings on a heartbeat, in the fixed order of the rules."""
    findings = []
    for rule in _RULES:
        finding = rule(context)
        if finding is not None:
            findings.append(finding)
    return findings


def _identity(context: Context) -> Finding:
    body, chip = context.body, context.chip
    if body.model != chip.model:
        words = f"says it is a {body.model}, born as {chip.model}"
        return Finding("identity", Tier.CONTRAINDICATED, words)
    if body.oemid != chip.oemid:
        said = body.oemid.hex() if isinstance(body.oemid, bytes) else body.oemid
        words = f"says its maker is {said}, born as one of {chip.oemid}"
        return Finding("identity", Tier.CONTRAINDICATED, words)
    return _fine("identity", "signed by the key in the birth statement")


def _continuity(context: Context) -> Finding:
    missing = context.body.counter - context.chip.counter - 1
    if missing > 0:
        return Finding("continuity", Tier.WARNING, f"{missing} heartbeats never arrived")
    return _fine("continuity", "counter and previous digest follow")


def _boot(context: Context) -> Finding:
    seen, body = context.case.seen, context.body
    if seen is not None:
        if body.boot_count < seen.boot_count:
            words = f"boot count {body.boot_count} after {seen.boot_count}"
            return Finding("boot", Tier.CONTRAINDICATED, words)
        if body.boot_count == seen.boot_count and body.boot_seed != seen.boot_seed:
            words = f"two boot seeds within boot {body.boot_count}"
            return Finding("boot", Tier.CONTRAINDICATED, words)
        if body.boot_count == seen.boot_count and body.uptime < seen.uptime:
            words = f"uptime went back from {seen.uptime} s to {body.uptime} s within one boot"
            return Finding("boot", Tier.CONTRAINDICATED, words)
        if body.boot_count > seen.boot_count and body.boot_seed == seen.boot_seed:
            words = f"boot {body.boot_count} has the seed of boot {seen.boot_count}"
            return Finding("boot", Tier.CONTRAINDICATED, words)
    return _fine("boot", "boot count and seed follow")


def _freshness(context: Context) -> Finding:
    skew = context.body.iat - context.received_ms // 1000
    if abs(skew) > context.policy.max_clock_skew_s:
        words = (
            f"its clock is {abs(skew)} s {'ahead' if skew > 0 else 'behind'}, "
            f"{context.policy.max_clock_skew_s} s allowed"
        )
        return Finding("freshness", Tier.CONTRAINDICATED, words)
    return _fine("freshness", "current epoch, clock within limits")


def _debug(context: Context) -> Finding:
    status = context.body.debug_status
    if status not in context.policy.allowed_debug:
        words = f"debug status {_DEBUG_WORDS[status]} is not allowed"
        return Finding("debug", Tier.CONTRAINDICATED, words)
    return _fine("debug", "debug access is disabled")


def _measurements(context: Context) -> Finding:
    measured, model = context.body.measurement, context.chip.model
    known = context.policy.reference_values.get(model)
    if known is None:
        words = f"the policy has no reference value for {model}"
        return Finding("measurements", Tier.WARNING, words)
    minimum = context.policy.minimum_svn.get(model, 0)
    if measured.svn < minimum:
        words = f"firmware {measured.version} has security version {measured.svn} under {minimum}"
        return Finding("measurements", Tier.CONTRAINDICATED, words)
    for value in known:
        if (value.digest, value.svn, value.version) == (
            measured.digest,
            measured.svn,
            measured.version,
        ):
            return _fine("measurements", f"firmware {measured.version} is a reference value")
    words = (
        f"firmware {measured.version} (security version {measured.svn}, digest "
        f"{measured.digest.hex()[:16]}…) is not a reference value of {model}"
    )
    return Finding("measurements", Tier.CONTRAINDICATED, words)


def _licence(context: Context) -> Finding | None:
    return licence_finding(context.registry, context.chip, context.received_ms)


def licence_finding(registry: Registry, chip: Chip, at_ms: int) -> Finding | None:
    """Does a licence in force cover this chip with this holder? None while none is needed.

    None is needed while the chip is with its manufacturer or on its way with a carrier, and not
    installed. A licence that covers it on its way with a carrier is judged but for holder and
    country.
    """
    holder = registry.find_party(chip.holder)
    in_service = chip.site is not None
    if holder is None or (chip.holder == chip.manufacturer and not in_service):
        return None
    carried = holder.only_carries and not in_service
    licence = None if chip.licence is None else registry.find_licence(chip.licence)
    if licence is None:
        if carried:
            return None
        words = f"{holder.id} in {holder.country} holds it under no licence"
        return Finding("licence", Tier.CONTRAINDICATED, words)
    body = licence.body
    fault = None
    if not carried:
        if body.holder != holder.id:
            fault = f"is {body.holder}'s, the chip is with {holder.id} in {holder.country}"
        elif chip.country is not None and chip.country not in body.countries:
            fault = (
                f"covers {', '.join(body.countries)}; {holder.id} has the chip in {chip.country}"
            )
    if chip.model not in body.models:
        fault = f"covers {', '.join(body.models)}, not {chip.model}"
    elif not body.not_before <= at_ms // 1000 < body.not_after:
        fault = f"is in force from {_day(body.not_before)} to {_day(body.not_after)} only"
    elif fault is None and chip.over_quota:
        fault = f"allows {body.quota_per_year} chips a year; this one is above that number"
    if fault is not None:
        return Finding("licence", Tier.CONTRAINDICATED, f"licence {body.id} {fault}")
    return _fine("licence", f"licence {body.id} covers it")


def _location_claim(context: Context) -> Finding:
    where, claim = _names(context.countries), context.body.location
    place = f"{claim.latitude:.4f}, {claim.longitude:.4f} ± {claim.accuracy_m:.0f} m"
    chip = context.chip
    licence = None if chip.licence is None else context.registry.find_licence(chip.licence)
    if licence is None:
        permitted, basis = frozenset({chip.country or ""}), f"its papers say {chip.country}"
    else:
        permitted = frozenset(licence.body.countries)
        basis = f"licence {licence.body.id} covers {_names(permitted)}"
    if not context.countries & permitted:
        words = f"reports from {where} ({place}); {basis}"
        return Finding("location-claim", Tier.CONTRAINDICATED, words)
    words = _no_place_shown(context) or ""
    if not words and not context.countries <= permitted:
        words = f"may be in any of {where} ({place}); {basis}"
    if not words:
        return _fine("location-claim", f"reports from {where}; {basis}")
    run, limit = context.case.unclear_run + 1, context.policy.unclear_after
    if 0 < limit < run:
        words = f"{run} heartbeats in a row show no place inside, {limit} are tolerated: {words}"
        return Finding("location-claim", Tier.CONTRAINDICATED, words, unclear=True)
    return Finding("location-claim", Tier.WARNING, words, unclear=True)


def _no_place_shown(context: Context) -> str | None:
    """Why the claim is no fix of the chip's present place, wherever that is."""
    body, policy = context.body, context.policy
    if body.location.accuracy_m > policy.max_accuracy_m:
        return f"its position is only good to {body.location.accuracy_m / 1000:.0f} km"
    age_s = body.iat - body.location.timestamp
    if age_s > policy.max_fix_age_s:
        return f"its position was taken {age_s} s before the heartbeat"
    if -age_s > policy.max_clock_skew_s:
        return f"its position is dated {-age_s} s after the heartbeat"
    return None


def _custody_place(context: Context) -> Finding:
    chip = context.chip
    if chip.retired:
        words = "sends heartbeats although its custodian retired it"
        return Finding("custody-place", Tier.CONTRAINDICATED, words)
    underway = _underway(context)
    if underway is not None:
        since_h = (context.received_ms - chip.shipped_ms) // MILLIS_PER_HOUR
        if 0 < context.policy.transit_limit_h <= since_h:
            words = f"{underway}, {since_h} h after it was shipped"
            return Finding("custody-place", Tier.CONTRAINDICATED, words)
        return Finding("custody-place", Tier.WARNING, underway)
    if chip.country is not None and chip.country not in context.countries:
        words = (
            f"reports from {_names(context.countries)}; {chip.holder} has it in {chip.country} "
            "by its papers"
        )
        return Finding("custody-place", Tier.CONTRAINDICATED, words)
    if chip.country is not None and context.countries != {chip.country}:
        words = f"may be in any of {_names(context.countries)}; its papers say {chip.country}"
        return Finding("custody-place", Tier.WARNING, words)
    return _fine("custody-place", "claim and custody agree")


def _underway(context: Context) -> str | None:
    """What a chip does that is on its way, or in the hands of somebody who only carries."""
    chip = context.chip
    if chip.consignee is not None:
        return f"reports while on its way to {chip.consignee}"
    holder = context.registry.find_party(chip.holder)
    if holder is not None and holder.only_carries and chip.site is None:
        return f"reports while {chip.holder} carries it"
    return None


def _travel(context: Context) -> Finding | None:
    fix, claim, limit = context.case.fix, context.body.location, context.policy.travel_speed_kmh
    if fix is None or limit == 0:
        return None
    span_s = max(abs(_own_time(context) - fix.at_s), MIN_TRAVEL_SPAN_S)
    distance = distance_km(fix.latitude, fix.longitude, claim.latitude, claim.longitude)
    certain = distance - (fix.accuracy_m + claim.accuracy_m) / 1000
    if certain > limit * span_s / 3600:
        words = (
            f"claims to have moved {distance:.0f} km in {span_s / 3600:.1f} h, "
            f"faster than {limit} km/h"
        )
        return Finding("travel", Tier.CONTRAINDICATED, words)
    return _fine("travel", "no faster than an aircraft since the last place it showed")


def _own_time(context: Context) -> int:
    """When the heartbeat was made: by its own clock, as far as that may differ from the ledger's.

    A claimed time far off would make any journey look slow.
    """
    received_s, skew = context.received_ms // MILLIS_PER_SECOND, context.policy.max_clock_skew_s
    return min(max(context.body.iat, received_s - skew), received_s + skew)


def fix_from(context: Context) -> Fix | None:
    """The place that this heartbeat shows; None: keep the one before.

    Else one heartbeat that says "somewhere on Earth" between two far-off places would hide the
    journey.
    """
    if _no_place_shown(context) is not None:
        return None
    claim = context.body.location
    return Fix(_own_time(context), claim.latitude, claim.longitude, claim.accuracy_m)


def distance_km(lat1: float, lon1: float, lat2: float, lon2: float) -> float:
    """Great-circle distance in km on the mean sphere (haversine formula)."""
    p1, p2 = radians(lat1), radians(lat2)
    h = sin((p2 - p1) / 2) ** 2 + cos(p1) * cos(p2) * sin(radians(lon2 - lon1) / 2) ** 2
    return 2 * EARTH_RADIUS_KM * asin(min(1.0, sqrt(h)))


def seen_from(context: Context, leaf_hash: bytes) -> Seen:
    """What to remember of this heartbeat."""
    body = context.body
    return Seen(
        context.received_ms,
        body.iat,
        body.location.latitude,
        body.location.longitude,
        body.location.accuracy_m,
        body.boot_count,
        body.boot_seed,
        body.uptime,
        leaf_hash,
        tuple(sorted(context.countries)),
    )


def _fine(rule: str, words: str) -> Finding:
    return Finding(rule, Tier.AFFIRMING, words)


def _names(countries: frozenset[str]) -> str:
    return ", ".join(sorted(countries))


def _day(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()


_DEBUG_WORDS = (
    "enabled",
    "disabled",
    "disabled-since-boot",
    "disabled-permanently",
    "disabled-fully-and-permanently",
)
"""dbgstat values 0 to 4 (RFC 9711, 4.2.9)."""

_RULES: tuple[Callable[[Context], Finding | None], ...] = (
    _identity,
    _continuity,
    _boot,
    _freshness,
    _debug,
    _measurements,
    _licence,
    _location_claim,
    _custody_place,
    _travel,
)
