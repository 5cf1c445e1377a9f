"""May this authentic message join the log? Accepted, on record as a conflict, or refused.

The signature has been checked by the caller (``Registry.key_for`` names the key). Refused means
that nothing is kept; a conflict is an authentic statement that contradicts the record: it is kept
as evidence, filed under those it touches, and changes nothing else. ``judge`` changes nothing.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from ledger.errors import Reason, Refused
from ledger.protocol import statements as st
from ledger.protocol import x509
from ledger.protocol.heartbeat import Heartbeat
from ledger.protocol.keys import PublicKey
from ledger.protocol.landmarks import LandmarkDirectory, RangingReport
from ledger.protocol.ranging_rows import check_report
from ledger.protocol.statements import Action, Kind, Message, Role
from ledger.registry.records import (
    Chip,
    ChipState,
    Party,
    Registry,
    Subject,
    Verdict,
    chip_subject,
    landmark_subject,
    licence_subject,
    may_decide,
    party_subject,
    state_after,
    subject_idents,
)
from ledger.values import MILLIS_PER_SECOND

_TAKES_CHIPS = frozenset((Role.CUSTODIAN, Role.CARRIER, Role.MANUFACTURER))
MAX_STATEMENT_SKEW_MS = 86_400_000
"""A statement's own time may lie this far from the ledger's; custody papers are often late."""
MAX_REPORT_SKEW_MS = 60_000
"""A landmark's clock is good: its report is no later than now and no earlier than its epoch."""


def judge(registry: Registry, message: Message, now_ms: int) -> Verdict:
    """Decide on ``message`` at ledger time ``now_ms``; raises ``Refused``."""
    verdict = contradiction(registry, message, now_ms)
    if verdict.conflict is not None:
        _check_tally(registry, message, verdict)
    return verdict


def contradiction(registry: Registry, message: Message, now_ms: int) -> Verdict:
    """``judge`` without the limit on recorded conflicts.

    For who reads a conflict that is on the log already: it was within the limit then, and the
    author's tally may have moved on since.
    """
    if message.kind is Kind.GENESIS:
        return _genesis(registry, message)
    if registry.genesis is None:
        raise Refused(Reason.LEDGER_EMPTY, "the first entry of a ledger is its genesis")
    if message.kind not in (Kind.HEARTBEAT, Kind.DECISION):
        _check_time(message.body.iat, now_ms)
    return _JUDGES[message.kind](registry, message, now_ms)


def check_freshness(registry: Registry, heartbeat: Heartbeat, now_ms: int) -> None:
    """Refuse a heartbeat whose nonce is not the current or the previous epoch's id.

    The current epoch also has to be running still: a ledger that opens no epochs takes nothing.
    The previous one counts for an epoch's length after its end: it may have ended long ago, where
    the ledger stood still, and heartbeats made ahead for it are not fresh.
    """
    _fresh_epoch(registry, heartbeat.epoch, now_ms, "eat_nonce")


def _fresh_epoch(registry: Registry, ident: bytes, now_ms: int, field: str) -> st.Epoch:
    epochs = registry.epochs[-2:]
    for epoch in reversed(epochs):
        if epoch.id == ident:
            length_s = 0 if registry.genesis is None else registry.genesis.epoch_s
            grace_ms = 0 if epoch is epochs[-1] else length_s * MILLIS_PER_SECOND
            if now_ms >= min(epochs[-1].not_after_ms, epoch.not_after_ms + grace_ms):
                raise Refused(Reason.EPOCH_EXPIRED, f"epoch {epoch.counter} is over", field=field)
            return epoch
    raise Refused(
        Reason.EPOCH_UNKNOWN,
        "the nonce is neither the current nor the previous epoch",
        field=field,
    )


def _check_time(iat: int, now_ms: int) -> None:
    if abs(iat * 1000 - now_ms) > MAX_STATEMENT_SKEW_MS:
        raise Refused(
            Reason.TIME_IMPLAUSIBLE, "iat is more than a day from the ledger's time", field="iat"
        )


def _genesis(registry: Registry, message: Message) -> Verdict:
    if registry.genesis is not None:
        raise Refused(Reason.GENESIS_EXISTS, f"this ledger is {registry.genesis.origin}")
    body: st.Genesis = message.body
    founders = [body.authority, body.verifier, *body.officers]
    idents = [founder.id for founder in founders]
    keys = [PublicKey.from_cose_key(founder.key).kid for founder in founders]
    keys.append(PublicKey.from_cose_key(body.ledger).kid)
    if len(set(idents)) != len(idents) or st.LEDGER_PARTY in idents:
        raise Refused(Reason.FIELD_INVALID, "founders have different ids, none is 'ledger'")
    if len(set(keys)) != len(keys):
        raise Refused(Reason.KEY_IN_USE, "every founder has a key of its own")
    return Verdict((party_subject(body.authority.id),))


def _require_role(registry: Registry, message: Message, *roles: Role) -> Party:
    party = registry.signer(message)
    if not party.roles.intersection(roles):
        wanted = " or ".join(roles)
        raise Refused(
            Reason.NOT_AUTHORISED,
            f"{party.id} is {', '.join(sorted(party.roles))}; {message.kind} takes {wanted}",
        )
    return party


def _party(registry: Registry, message: Message, _now_ms: int) -> Verdict:
    _require_role(registry, message, Role.AUTHORITY)
    body: st.PartyStatement = message.body
    if body.id == st.LEDGER_PARTY or registry.find_party(body.id) is not None:
        raise Refused(Reason.PARTY_REGISTERED, f"{body.id} is registered", field="id")
    if registry.find_owner(PublicKey.from_cose_key(body.key).kid) is not None:
        raise Refused(Reason.KEY_IN_USE, "the key has an owner", field="key")
    if body.parent is not None and registry.find_party(body.parent) is None:
        raise Refused(Reason.PARTY_UNKNOWN, f"no party {body.parent}", field="parent")
    if (Role.MANUFACTURER in body.roles) != (body.root_certificate is not None):
        raise Refused(
            Reason.FIELD_INVALID,
            "a manufacturer, and only a manufacturer, has a root certificate",
            field="root_certificate",
        )
    if body.root_certificate is not None:
        x509.check_root(body.root_certificate)
    return Verdict((party_subject(body.id),))


def _licence(registry: Registry, message: Message, _now_ms: int) -> Verdict:
    _require_role(registry, message, Role.AUTHORITY)
    body: st.Licence = message.body
    if registry.find_licence(body.id) is not None:
        raise Refused(Reason.LICENCE_REGISTERED, f"{body.id} is registered", field="id")
    if registry.find_party(body.holder) is None:
        raise Refused(Reason.PARTY_UNKNOWN, f"no party {body.holder}", field="holder")
    return Verdict((licence_subject(body.id), party_subject(body.holder)))


def _policy(registry: Registry, message: Message, _now_ms: int) -> Verdict:
    party = _require_role(registry, message, Role.AUTHORITY)
    wanted = 1 if registry.policy is None else registry.policy.version + 1
    if message.body.version != wanted:
        raise Refused(Reason.POLICY_VERSION, f"the next version is {wanted}", field="version")
    return Verdict((party_subject(party.id),))


def _landmark_directory(registry: Registry, message: Message, _now_ms: int) -> Verdict:
    """That its landmarks are registered is not asked: what counts is who signs a report."""
    party = _require_role(registry, message, Role.AUTHORITY)
    body: LandmarkDirectory = message.body
    wanted = 1 if registry.directory is None else registry.directory.version + 1
    if body.version != wanted:
        raise Refused(Reason.DIRECTORY_VERSION, f"the next version is {wanted}", field="version")
    return Verdict((party_subject(party.id),))


def _ranging_report(registry: Registry, message: Message, now_ms: int) -> Verdict:
    """Filed under the landmark alone: no chip can hold back what was measured of it."""
    party = _require_role(registry, message, Role.LANDMARK)
    body: RangingReport = message.body
    if body.landmark != party.id:
        raise Refused(Reason.NOT_AUTHORISED, f"{party.id} signs for itself", field="landmark")
    epoch = _fresh_epoch(registry, body.epoch, now_ms, "epoch")
    signed_ms = body.iat * MILLIS_PER_SECOND
    earliest_ms = epoch.not_before_ms - MAX_REPORT_SKEW_MS
    if not earliest_ms <= signed_ms <= now_ms + MAX_REPORT_SKEW_MS:
        raise Refused(Reason.TIME_IMPLAUSIBLE, "before its epoch or after now", field="iat")
    directory = registry.directory
    entry = None if directory is None else directory.find(party.id)
    if directory is None or entry is None:
        raise Refused(
            Reason.LANDMARK_UNKNOWN, f"no entry for {party.id} in the directory", field="landmark"
        )
    if entry.suspended is not None:
        raise Refused(Reason.LANDMARK_SUSPENDED, entry.suspended, field="landmark")
    if body.directory != directory.version:
        raise Refused(
            Reason.DIRECTORY_VERSION,
            f"version {directory.version} is in force",
            field="directory",
        )
    for row in body.rows:
        registry.chip(row.ueid)
    check_report(body, party.key)
    return Verdict((landmark_subject(party.id),))


def _epoch(registry: Registry, message: Message, now_ms: int) -> Verdict:
    party = _require_role(registry, message, Role.LEDGER)
    body: st.Epoch = message.body
    last = registry.epoch
    wanted = 0 if last is None else last.counter + 1
    if body.counter != wanted or any(body.id == epoch.id for epoch in registry.epochs):
        raise Refused(Reason.FIELD_INVALID, f"the next epoch is {wanted}, with an id of its own")
    assert registry.genesis is not None  # noqa: S101 - judge looked
    if body.not_after_ms - body.not_before_ms > registry.genesis.epoch_s * MILLIS_PER_SECOND:
        raise Refused(
            Reason.FIELD_INVALID,
            f"an epoch lasts at most {registry.genesis.epoch_s} s here",
            field="not_after_ms",
        )
    if not body.not_before_ms <= now_ms < body.not_after_ms:
        raise Refused(Reason.TIME_IMPLAUSIBLE, "an epoch is opened while it runs")
    if last is not None and body.not_before_ms < last.not_before_ms:
        raise Refused(Reason.TIME_IMPLAUSIBLE, "epochs follow each other")
    return Verdict((party_subject(party.id),))


def _index_root(registry: Registry, message: Message, _now_ms: int) -> Verdict:
    """Filed under no subject: it speaks of all of them. Its root is for those who see the map."""
    _require_role(registry, message, Role.LEDGER)
    body: st.IndexRoot = message.body
    assert registry.genesis is not None  # noqa: S101 - judge looked
    if body.bucket_bits != registry.genesis.bucket_bits:
        raise Refused(
            Reason.FIELD_INVALID, "the genesis fixes the number of buckets", field="bucket_bits"
        )
    return Verdict(())


def _birth(registry: Registry, message: Message, _now_ms: int) -> Verdict:
    party = _require_role(registry, message, Role.MANUFACTURER)
    body: st.Birth = message.body
    key = PublicKey.from_cose_key(body.key)
    assert party.root_certificate is not None  # noqa: S101 - _party demands it of manufacturers
    device_key = x509.verify_chain(
        body.certificates,
        party.root_certificate,
        at=datetime.fromtimestamp(body.iat, UTC),
        ueid=body.ueid,
    )
    if not device_key.verify(st.binding_message(body.ueid, body.key), body.binding):
        raise Refused(
            Reason.BINDING_INVALID, "the device key did not sign UEID and key", field="binding"
        )
    subjects = (chip_subject(body.ueid), party_subject(party.id))
    if registry.find_chip(body.ueid) is not None:
        detail = "the UEID is registered; the first registration stands"
        return Verdict(subjects, Reason.UEID_REGISTERED, detail)
    owner = registry.find_owner(key.kid)
    if owner is not None:
        # Filed under the rightful owner, never under the UEID that was not let in.
        filed = subject_idents([(owner.kind, owner.ident), party_subject(party.id)])
        return Verdict(tuple(filed), Reason.KEY_IN_USE, "the key has an owner")
    return Verdict(subjects)


def _heartbeat(registry: Registry, message: Message, now_ms: int) -> Verdict:
    body: Heartbeat = message.body
    check_freshness(registry, body, now_ms)
    chip = registry.chip(body.ueid)
    subjects = (chip_subject(chip.ueid),)
    if body.counter <= chip.counter:
        if message.content_digest == chip.heartbeat_digest:
            raise Refused(Reason.DUPLICATE, f"heartbeat {body.counter} is on the ledger")
        detail = f"counter {body.counter} after {chip.counter}"
        return Verdict(subjects, Reason.COUNTER_ROLLBACK, detail)
    if body.counter == chip.counter + 1 and body.previous != chip.heartbeat_digest:
        detail = f"heartbeat {body.counter} names another heartbeat {chip.counter}"
        return Verdict(subjects, Reason.HEARTBEAT_FORK, detail)
    return Verdict(subjects)


def _custody(registry: Registry, message: Message, _now_ms: int) -> Verdict:
    roles = {Role.CUSTODIAN, Role.MANUFACTURER}
    if message.kind is not Kind.INSTALL:
        roles |= {Role.CARRIER}  # who carries chips for others does not put them into service
    party = _require_role(registry, message, *sorted(roles))
    body: Any = message.body
    subjects: list[Subject] = [chip_subject(ueid) for ueid in body.chips]
    subjects.append(party_subject(party.id))
    licence_id = getattr(body, "licence", None)
    if licence_id is not None:
        if registry.find_licence(licence_id) is None:
            raise Refused(Reason.LICENCE_UNKNOWN, f"no licence {licence_id}", field="licence")
        subjects.append(licence_subject(licence_id))
    for name in ("to", "sender"):
        ident = getattr(body, name, None)
        if ident is not None:
            other = registry.find_party(ident)
            if other is None:
                raise Refused(Reason.PARTY_UNKNOWN, f"no party {ident}", field=name)
            if not other.roles & _TAKES_CHIPS:
                raise Refused(Reason.FIELD_INVALID, f"{ident} takes no chips", field=name)
            subjects.append(party_subject(ident))
    filed = tuple(subject_idents(subjects))
    for ueid in body.chips:
        fault = _custody_fault(registry.chip(ueid), party, message.kind, body)
        if fault is not None:
            return Verdict(filed, fault, f"chip {ueid.hex()}")
    return Verdict(filed)


def _custody_fault(chip: Chip, party: Party, kind: Kind, body: Any) -> Reason | None:
    if chip.retired:
        return Reason.CHIP_RETIRED
    if kind is Kind.INSTALL and chip.state is ChipState.REVOKED:
        return Reason.CHIP_REVOKED  # it may be sent back, received, retired; never put to use
    if kind is Kind.RECEIVE:
        expected = chip.consignee == party.id and chip.holder == body.sender
        return None if expected else Reason.NOTHING_IN_TRANSIT
    if chip.holder != party.id:
        return Reason.NOT_CUSTODIAN
    return Reason.IN_TRANSIT if chip.consignee is not None else None


def _decision(registry: Registry, message: Message, now_ms: int) -> Verdict:
    body: st.Decision = message.body
    party = _require_role(registry, message, may_decide(Action(body.action)))
    if body.issued_ms > now_ms:  # an old one is in order: the verifier may have been down
        raise Refused(Reason.TIME_IMPLAUSIBLE, "issued after the ledger's time", field="issued_ms")
    if body.effective_ms > now_ms:  # its entry takes effect at once: no other time may be promised
        raise Refused(
            Reason.TIME_IMPLAUSIBLE, "takes effect after the ledger's time", field="effective_ms"
        )
    chip = registry.chip(body.ueid)
    if body.key != chip.key.thumbprint:
        raise Refused(Reason.COSE_KEY_MISMATCH, "the decision names another key", field="key")
    if (body.sequence, body.previous) != (chip.decision_sequence + 1, chip.decision_digest):
        raise Refused(
            Reason.DECISION_SEQUENCE,
            f"the next decision is {chip.decision_sequence + 1} after "
            f"{chip.decision_digest.hex()[:16]}",
            field="sequence",
        )
    if state_after(chip.state, Action(body.action)) is None:
        raise Refused(
            Reason.DECISION_TRANSITION, f"a chip that is {chip.state} takes no {body.action}"
        )
    return Verdict((chip_subject(chip.ueid), party_subject(party.id)))


def _check_tally(registry: Registry, message: Message, verdict: Verdict) -> None:
    """Refuse a conflict whose author has filled this epoch's share of them."""
    who: Chip | Party
    if message.kind is Kind.HEARTBEAT:
        who = registry.chip(message.body.ueid)
    else:
        who = registry.signer(message)
    full = who.conflicts >= registry.conflicts_per_epoch
    if full and who.conflict_epoch == registry.epoch_counter:
        raise Refused(Reason.CONFLICTS_CAPPED, f"{verdict.conflict}: {verdict.detail}")


_JUDGES: dict[Kind, Callable[[Registry, Message, int], Verdict]] = {
    Kind.PARTY: _party,
    Kind.LICENCE: _licence,
    Kind.POLICY: _policy,
    Kind.EPOCH: _epoch,
    Kind.INDEX_ROOT: _index_root,
    Kind.LANDMARK_DIRECTORY: _landmark_directory,
    Kind.RANGING_REPORT: _ranging_report,
    Kind.BIRTH: _birth,
    Kind.HEARTBEAT: _heartbeat,
    Kind.SHIP: _custody,
    Kind.RECEIVE: _custody,
    Kind.INSTALL: _custody,
    Kind.RETIRE: _custody,
    Kind.DECISION: _decision,
}
