"""What an accepted entry changes in the registry."""

from typing import Any

from ledger.errors import Reason
from ledger.protocol import statements as st
from ledger.protocol.heartbeat import Heartbeat
from ledger.protocol.keys import PublicKey
from ledger.protocol.statements import Action, Kind, Message, Role
from ledger.registry.records import (
    Chip,
    ChipState,
    Licence,
    Owner,
    Party,
    Registry,
    Verdict,
    state_after,
    year_of,
)
from ledger.values import SubjectKind

_FORKS = (Reason.COUNTER_ROLLBACK, Reason.HEARTBEAT_FORK)


def apply(registry: Registry, message: Message, verdict: Verdict, received_ms: int) -> None:
    """Change the records as the entry for ``message`` demands.

    ``verdict`` is what ``judge`` said; a conflict changes nothing but its author's tally.
    """
    if verdict.conflict is not None:
        _count_conflict(registry, message, verdict.conflict)
        return
    body: Any = message.body
    match message.kind:
        case Kind.HEARTBEAT:
            _apply_heartbeat(registry.chip(body.ueid), body, message, received_ms)
        case Kind.GENESIS:
            _apply_genesis(registry, body)
        case Kind.PARTY:
            _apply_party(registry, body)
        case Kind.LICENCE:
            registry.licences[body.id] = Licence(body)
        case Kind.POLICY:
            registry.policy, registry.policy_digest = body, message.digest
        case Kind.EPOCH:
            registry.epochs = [*registry.epochs[-1:], body]
        case Kind.LANDMARK_DIRECTORY:
            registry.directory = body
        case Kind.INDEX_ROOT | Kind.RANGING_REPORT:
            pass
        case Kind.BIRTH:
            _apply_birth(registry, message, received_ms)
        case Kind.DECISION:
            _apply_decision(registry.chip(body.ueid), body, message)
        case _:
            for ueid in body.chips:
                _apply_custody(registry, registry.chip(ueid), message, received_ms)


def _count_conflict(registry: Registry, message: Message, reason: Reason) -> None:
    if message.kind is Kind.HEARTBEAT:
        chip = registry.chip(message.body.ueid)
        chip.forks += reason in _FORKS
        who: Chip | Party = chip
    else:
        who = registry.signer(message)
    epoch = registry.epoch_counter
    who.conflicts = who.conflicts + 1 if who.conflict_epoch == epoch else 1
    who.conflict_epoch = epoch


def _apply_heartbeat(chip: Chip, body: Heartbeat, message: Message, received_ms: int) -> None:
    chip.counter = body.counter
    chip.heartbeat_digest = message.content_digest
    chip.heartbeat_ms = received_ms
    if chip.state is ChipState.REGISTERED:
        chip.state = ChipState.ACTIVE


def _apply_genesis(registry: Registry, body: st.Genesis) -> None:
    registry.genesis = body
    _add_party(registry, body.authority, Role.AUTHORITY)
    _add_party(registry, body.verifier, Role.VERIFIER)
    for officer in body.officers:
        _add_party(registry, officer, Role.OFFICER)
    ledger = st.Founder(id=st.LEDGER_PARTY, name=body.origin, key=body.ledger)
    _add_party(registry, ledger, Role.LEDGER)


def _add_party(registry: Registry, founder: st.Founder, role: Role) -> None:
    key = PublicKey.from_cose_key(founder.key)
    registry.parties[founder.id] = Party(founder.id, founder.name, frozenset({role}), "", key)
    registry.owners[key.kid] = Owner(SubjectKind.PARTY, founder.id.encode(), key)


def _apply_party(registry: Registry, body: st.PartyStatement) -> None:
    key = PublicKey.from_cose_key(body.key)
    registry.parties[body.id] = Party(
        body.id,
        body.name,
        frozenset(body.roles),
        body.country,
        key,
        body.parent,
        body.root_certificate,
    )
    registry.owners[key.kid] = Owner(SubjectKind.PARTY, body.id.encode(), key)


def _apply_birth(registry: Registry, message: Message, received_ms: int) -> None:
    body: st.Birth = message.body
    maker = registry.signer(message)
    key = PublicKey.from_cose_key(body.key)
    registry.chips[body.ueid] = Chip(
        body.ueid,
        body.oemid,
        body.model,
        maker.id,
        key,
        holder=maker.id,
        born_ms=received_ms,
        country=maker.country,
    )
    registry.owners[key.kid] = Owner(SubjectKind.CHIP, body.ueid, key)


def _apply_decision(chip: Chip, body: st.Decision, message: Message) -> None:
    after = state_after(chip.state, Action(body.action))
    if after is ChipState.ACTIVE and chip.retired:
        after = ChipState.RETIRED
    if after is not None:
        chip.state = after
    chip.decision_sequence = body.sequence
    chip.decision_digest = message.digest
    chip.decision_action = body.action


def _apply_custody(registry: Registry, chip: Chip, message: Message, received_ms: int) -> None:
    body: Any = message.body
    match message.kind:
        case Kind.SHIP:
            chip.consignee = body.to
            chip.shipped_licence = body.licence
            chip.shipped_ms = received_ms
            chip.site = chip.latitude = chip.longitude = None
        case Kind.RECEIVE:
            _apply_receive(registry, chip, body, registry.signer(message), received_ms)
        case Kind.INSTALL:
            chip.site, chip.country = body.site, body.country
            chip.latitude, chip.longitude = body.latitude, body.longitude
            _bring_under(registry, chip, body.licence, received_ms)
        case Kind.RETIRE:
            chip.retired = True
            if chip.state in (ChipState.REGISTERED, ChipState.ACTIVE):
                chip.state = ChipState.RETIRED  # retiring is no way out of a hold


def _apply_receive(
    registry: Registry, chip: Chip, body: st.Receive, party: Party, received_ms: int
) -> None:
    chip.holder, chip.consignee, chip.country = party.id, None, body.country
    ident, chip.shipped_licence = chip.shipped_licence, None
    licence = None if ident is None else registry.find_licence(ident)
    if party.only_carries and (licence is None or licence.body.holder != party.id):
        return  # a carrier holds for others; what was licensed stays so
    if ident is None:
        chip.licence, chip.over_quota = None, False
    else:
        _bring_under(registry, chip, ident, received_ms)


def _bring_under(registry: Registry, chip: Chip, ident: str, received_ms: int) -> None:
    """Put the chip under a licence, and give it a place in the quota of the present year.

    A chip keeps its place while it is under the licence. Only the licence's own holder can take
    one: else anybody could use up another's quota. A chip without a place tries again each time.
    """
    licence = registry.find_licence(ident)
    own = licence is not None and licence.body.holder == chip.holder
    if chip.licence == ident and not (own and chip.over_quota):
        return
    chip.licence, chip.over_quota = ident, True
    if licence is None or not own:
        return
    year, quota = year_of(received_ms), licence.body.quota_per_year
    used = licence.used.get(year, 0)
    if quota is None or used < quota:
        licence.used[year] = used + 1
        chip.over_quota = False
