"""Records of the registry: parties, licences, chips, keys, epochs, the policy in force.

Look-ups go through ``find_*`` methods, so that storage can load single records on demand.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from ledger.errors import Reason, Refused
from ledger.protocol import statements as st
from ledger.protocol.keys import PublicKey
from ledger.protocol.landmarks import LandmarkDirectory
from ledger.protocol.policy import Policy
from ledger.protocol.statements import Action, Kind, Message, Role
from ledger.values import ZERO_DIGEST, SubjectKind

DEFAULT_CONFLICTS_PER_EPOCH = 8
Subject = tuple[SubjectKind, bytes]


class ChipState(StrEnum):
    """Where a chip stands; ``docs/states.md`` has the table of transitions."""

    REGISTERED = "registered"
    ACTIVE = "active"
    HELD = "held"
    REVOKED = "revoked"
    RETIRED = "retired"


_AFTER_DECISION = {
    (ChipState.REGISTERED, Action.HOLD): ChipState.HELD,
    (ChipState.ACTIVE, Action.HOLD): ChipState.HELD,
    (ChipState.HELD, Action.RELEASE): ChipState.ACTIVE,
    (ChipState.REGISTERED, Action.REVOKE): ChipState.REVOKED,
    (ChipState.ACTIVE, Action.REVOKE): ChipState.REVOKED,
    (ChipState.HELD, Action.REVOKE): ChipState.REVOKED,
}
_MAY_DECIDE = {
    Action.HOLD: Role.VERIFIER,
    Action.REVOKE: Role.VERIFIER,
    Action.RELEASE: Role.OFFICER,
}


def may_decide(action: Action) -> Role:
    """The role whose signature ``action`` takes."""
    return _MAY_DECIDE[action]


def state_after(state: ChipState, action: Action) -> ChipState | None:
    """State that ``action`` leads to, or None where ``state`` does not allow it."""
    return _AFTER_DECISION.get((state, action))


@dataclass(slots=True)
class Party:
    """A registered party and its key."""

    id: str
    name: str
    roles: frozenset[str]
    country: str
    key: PublicKey
    parent: str | None = None
    root_certificate: bytes | None = None
    conflict_epoch: int = -1
    conflicts: int = 0

    @property
    def only_carries(self) -> bool:
        """A carrier that is nothing else: holds chips for others, never uses them."""
        return Role.CARRIER in self.roles and not self.roles & {Role.CUSTODIAN, Role.MANUFACTURER}


@dataclass(slots=True)
class Licence:
    """A licence and how many chips have found a place in its quota, by calendar year."""

    body: st.Licence
    used: dict[int, int] = field(default_factory=dict)


@dataclass(slots=True)
class Chip:
    """One chip's record: identity, custody, state, continuity."""

    ueid: bytes
    oemid: int
    model: str
    manufacturer: str
    key: PublicKey
    holder: str
    born_ms: int
    state: ChipState = ChipState.REGISTERED
    consignee: str | None = None
    shipped_ms: int = 0
    shipped_licence: str | None = None
    country: str | None = None
    site: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    licence: str | None = None
    over_quota: bool = False
    """It has no place in its licence's quota: the year's number was reached, or whoever brought it
    under the licence is not the licence's holder."""
    counter: int = 0
    heartbeat_digest: bytes = ZERO_DIGEST
    heartbeat_ms: int = 0
    decision_sequence: int = 0
    decision_digest: bytes = ZERO_DIGEST
    decision_action: str | None = None
    conflict_epoch: int = -1
    conflicts: int = 0
    forks: int = 0
    retired: bool = False


@dataclass(frozen=True, slots=True)
class Owner:
    """To whom a key belongs: a chip (its UEID) or a party (its id in ASCII)."""

    kind: SubjectKind
    ident: bytes
    key: PublicKey


@dataclass(frozen=True, slots=True)
class Verdict:
    """Outcome of ``judge``: file under ``subjects``; ``conflict`` says what it contradicts."""

    subjects: tuple[Subject, ...]
    conflict: Reason | None = None
    detail: str = ""


class Registry:
    """Records by id. In memory; the store's subclass loads what is missing."""

    def __init__(self) -> None:
        self.genesis: st.Genesis | None = None
        self.policy: Policy | None = None
        self.policy_digest: bytes = ZERO_DIGEST
        self.directory: LandmarkDirectory | None = None
        self.epochs: list[st.Epoch] = []
        self.parties: dict[str, Party] = {}
        self.licences: dict[str, Licence] = {}
        self.chips: dict[bytes, Chip] = {}
        self.owners: dict[bytes, Owner] = {}

    # -- look-ups ---------------------------------------------------------------------------

    def find_party(self, ident: str) -> Party | None:
        """The party of that id."""
        return self.parties.get(ident)

    def find_licence(self, ident: str) -> Licence | None:
        """The licence of that id."""
        return self.licences.get(ident)

    def find_chip(self, ueid: bytes) -> Chip | None:
        """The chip of that UEID."""
        return self.chips.get(ueid)

    def find_owner(self, kid: bytes) -> Owner | None:
        """The owner of the key with that key id."""
        return self.owners.get(kid)

    @property
    def epoch(self) -> st.Epoch | None:
        """The newest epoch."""
        return self.epochs[-1] if self.epochs else None

    # -- authentication ---------------------------------------------------------------------

    def key_for(self, message: Message) -> PublicKey:
        """The registered key that has to have signed ``message``; refuses unknown signers."""
        if message.kind is Kind.GENESIS:
            return PublicKey.from_cose_key(message.body.authority.key)
        owner = self.find_owner(message.kid)
        if owner is None:
            raise Refused(Reason.KEY_UNKNOWN, f"no key with id {message.kid.hex()}", field="kid")
        is_chip = owner.kind is SubjectKind.CHIP
        if is_chip != (message.kind is Kind.HEARTBEAT):
            raise Refused(Reason.NOT_AUTHORISED, "a chip's key signs heartbeats and only these")
        if is_chip and owner.ident != message.body.ueid:
            raise Refused(Reason.COSE_KEY_MISMATCH, "the key belongs to another chip", field="ueid")
        return owner.key

    def signer(self, message: Message) -> Party:
        """The party whose key signed; for the genesis statement, the authority it names."""
        owner = self.find_owner(message.kid)
        party = None
        if owner is not None and owner.kind is SubjectKind.PARTY:
            party = self.find_party(owner.ident.decode())
        if party is None:
            raise Refused(Reason.KEY_UNKNOWN, f"no party with key {message.kid.hex()}", field="kid")
        return party

    def chip(self, ueid: bytes) -> Chip:
        """The chip of that UEID; refuses an unknown one."""
        chip = self.find_chip(ueid)
        if chip is None:
            raise Refused(Reason.CHIP_UNKNOWN, f"no chip {ueid.hex()}", field="ueid")
        return chip

    @property
    def conflicts_per_epoch(self) -> int:
        """How many conflicts of one chip or party are recorded per epoch."""
        return self.policy.conflicts_per_epoch if self.policy else DEFAULT_CONFLICTS_PER_EPOCH

    @property
    def epoch_counter(self) -> int:
        """Counter of the newest epoch, 0 before the first."""
        return self.epochs[-1].counter if self.epochs else 0


def subject_idents(subjects: Iterable[Subject]) -> list[Subject]:
    """Subjects in order, each once."""
    return list(dict.fromkeys(subjects))


def year_of(ms: int) -> int:
    """Calendar year (UTC) of a ledger time."""
    return datetime.fromtimestamp(ms / 1000, UTC).year


def chip_subject(ueid: bytes) -> Subject:
    """The subject under which a chip's entries are filed."""
    return (SubjectKind.CHIP, ueid)


def party_subject(ident: str) -> Subject:
    """The subject under which a party's entries are filed."""
    return (SubjectKind.PARTY, ident.encode())


def licence_subject(ident: str) -> Subject:
    """The subject under which a licence's entries are filed."""
    return (SubjectKind.LICENCE, ident.encode())


def landmark_subject(ident: str) -> Subject:
    """The subject under which a landmark's ranging reports are filed."""
    return (SubjectKind.LANDMARK, ident.encode())
