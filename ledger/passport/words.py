"""What an entry means, in one sentence. Names of parties are their ids."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from ledger.errors import Reason
from ledger.protocol.statements import Kind


def describe(kind: Kind, body: Any, *, conflict: str | None = None, detail: str = "") -> str:
    """One sentence on a statement; for a conflict, what it contradicts."""
    said = _SENTENCES[kind](body)
    if conflict is None:
        return said
    return f"on record as evidence, without effect ({conflict}: {detail}): {said}"


def moment(ms: int) -> str:
    """Ledger time in ISO 8601, seconds, UTC."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def place(latitude: float, longitude: float) -> str:
    """Coordinates in decimal degrees with hemispheres."""
    north = "N" if latitude >= 0 else "S"
    east = "E" if longitude >= 0 else "W"
    return f"{abs(latitude):.4f}° {north}, {abs(longitude):.4f}° {east}"


def reasons_once(rules: Iterable[str], reasons: Iterable[str]) -> list[str]:
    """A decision's reasons as people read them: ``licence: L-1 allows …``.

    A verifier writes ``<rule>: <finding>``, and some findings begin with the rule's own name.
    """
    names, told = tuple(rules), []
    for reason in reasons:
        rule = _rule_of(reason, names)
        twice = f"{rule}: {rule} "
        once = f"{rule}: {reason.removeprefix(twice)}" if reason.startswith(twice) else reason
        told.append(once)
    return list(dict.fromkeys(told))


def contradicted(kind: Kind, conflict: Reason, author: str, *, this_chip: bool = True) -> str:
    """Why a chip is suspect when somebody else's paper contradicts the record, and who that is.

    ``this_chip``: the contradiction is about this chip and not another one that the paper names.
    """
    paper = _PAPERS.get(kind, "statement")
    about = CONTRADICTIONS.get(conflict, f"({conflict})")
    which = "the chip" if this_chip else "another chip on it"
    return (
        f"a conflicting {paper} was filed by {author}, {about.format(chip=which)}; "
        "without effect, and no finding about the chip"
    )


def _rule_of(reason: str, rules: Iterable[str]) -> str | None:
    return next((rule for rule in rules if reason.startswith(f"{rule}: ")), None)


def _genesis(body: Any) -> str:
    return f"ledger {body.origin} founded by {body.authority.id}, on a {body.clock} clock"


def _party(body: Any) -> str:
    return f"{body.id} ({body.name}, {body.country}) registered as {', '.join(body.roles)}"


def _licence(body: Any) -> str:
    quota = "" if body.quota_per_year is None else f", at most {body.quota_per_year} a year"
    return (
        f"licence {body.id}: {body.holder} may have {', '.join(body.models)} in "
        f"{', '.join(body.countries)} from {_day(body.not_before)} to {_day(body.not_after)}{quota}"
    )


def _birth(body: Any) -> str:
    return f"born as a {body.model}; device certificate and heartbeat key registered"


def _ship(body: Any) -> str:
    under = "under no licence" if body.licence is None else f"under licence {body.licence}"
    return f"shipped to {body.to} in {body.destination}, {under}{_others(body)}"


def _receive(body: Any) -> str:
    return f"received from {body.sender} in {body.country}{_others(body)}"


def _install(body: Any) -> str:
    return (
        f"installed at {body.site}, {body.country} ({place(body.latitude, body.longitude)}), "
        f"under licence {body.licence}{_others(body)}"
    )


def _retire(body: Any) -> str:
    return f"taken out of service: {body.cause}{_others(body)}"


def _heartbeat(body: Any) -> str:
    claim = body.location
    return (
        f"heartbeat {body.counter}: claims {place(claim.latitude, claim.longitude)} "
        f"± {claim.accuracy_m:.0f} m, firmware {body.measurement.version}, boot {body.boot_count}"
    )


def _policy(body: Any) -> str:
    return f"policy version {body.version} in force: {body.title}"


def _epoch(body: Any) -> str:
    return f"epoch {body.counter} opened, until {moment(body.not_after_ms)}"


def _index_root(body: Any) -> str:
    return f"committed to how many entries each subject has among the first {body.size:,}"


def _landmark_directory(body: Any) -> str:
    operators = len({entry.operator for entry in body.landmarks})
    suspended = sum(entry.suspended is not None for entry in body.landmarks)
    return (
        f"landmark directory version {body.version} in force: {len(body.landmarks)} landmarks of "
        f"{operators} operators, {suspended} suspended"
    )


def _ranging_report(body: Any) -> str:
    return (
        f"{body.landmark} measured round trips to {len(body.rows)} chips in epoch "
        f"{body.epoch.hex()}, by landmark directory {body.directory}"
    )


def _decision(body: Any) -> str:
    told = reasons_once(body.rules, body.reasons)
    by_rule = [f"by {reason}" for reason in told if _rule_of(reason, body.rules)]
    others = [reason for reason in told if not _rule_of(reason, body.rules)]
    named = {_rule_of(reason, body.rules) for reason in told}
    silent = [rule for rule in body.rules if rule not in named]
    words = f"{body.action.upper()}, decision {body.sequence}"
    words += f" ({', '.join(silent)})" if silent else ""
    words += f", {'; '.join(by_rule)}" if by_rule else ""
    return words + (f": {'; '.join(others)}" if others else "")


def _others(body: Any) -> str:
    count = len(body.chips) - 1
    return "" if count == 0 else f", with {count} other{'s' if count > 1 else ''}"


def _day(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()


_PAPERS = {
    Kind.SHIP: "shipment",
    Kind.RECEIVE: "receipt",
    Kind.INSTALL: "installation",
    Kind.RETIRE: "retirement",
    Kind.BIRTH: "birth statement",
}
CONTRADICTIONS = {
    Reason.NOT_CUSTODIAN: "who was not the holder of {chip}",
    Reason.NOTHING_IN_TRANSIT: "to whom nobody had shipped {chip}",
    Reason.IN_TRANSIT: "who had shipped {chip} already",
    Reason.CHIP_RETIRED: "although {chip} was retired",
    Reason.CHIP_REVOKED: "although {chip} was revoked",
    Reason.UEID_REGISTERED: "although its number was registered already",
    Reason.KEY_IN_USE: "although its key was registered already",
}
_SENTENCES = {
    Kind.GENESIS: _genesis,
    Kind.PARTY: _party,
    Kind.LICENCE: _licence,
    Kind.BIRTH: _birth,
    Kind.SHIP: _ship,
    Kind.RECEIVE: _receive,
    Kind.INSTALL: _install,
    Kind.RETIRE: _retire,
    Kind.HEARTBEAT: _heartbeat,
    Kind.POLICY: _policy,
    Kind.EPOCH: _epoch,
    Kind.INDEX_ROOT: _index_root,
    Kind.LANDMARK_DIRECTORY: _landmark_directory,
    Kind.RANGING_REPORT: _ranging_report,
    Kind.DECISION: _decision,
}
