"""Every statement kind but the heartbeat: bodies, signing, strict decoding.

A statement is COSE_Sign1 over a deterministic CBOR map with text keys; ``typ`` in the protected
header names the kind, so that a token signed as one kind is never taken for another. The fields of
each kind are listed in ``docs/statements.md``.
"""

from enum import StrEnum
from hashlib import sha256
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, ValidationError

from ledger.errors import Reason, Refused
from ledger.protocol import cbor, cose, heartbeat
from ledger.protocol.fields import (
    CertificateDer,
    ChipList,
    CoseKeyBytes,
    Country,
    Digest32,
    Latitude,
    LicenceId,
    Longitude,
    LongText,
    Millis,
    ModelName,
    PartyId,
    Seconds,
    ShortText,
    StatementModel,
    UeidBytes,
    UInt,
)
from ledger.protocol.heartbeat import Heartbeat
from ledger.protocol.keys import PublicKey, SigningKey
from ledger.protocol.landmarks import (
    LandmarkDirectory,
    RangingReport,
    check_landmarks,
    check_rows,
)
from ledger.protocol.policy import Policy, RuleId
from ledger.values import check_ueid

MAX_STATEMENT_BYTES = 32_768
LEDGER_PARTY = "ledger"
"""Party id under which a ledger files what it signs itself."""


class Kind(StrEnum):
    """Kinds of statement; ``conflict`` marks an authentic statement that contradicts the record."""

    GENESIS = "genesis"
    PARTY = "party"
    LICENCE = "licence"
    BIRTH = "birth"
    SHIP = "ship"
    RECEIVE = "receive"
    INSTALL = "install"
    RETIRE = "retire"
    HEARTBEAT = "heartbeat"
    POLICY = "policy"
    DECISION = "decision"
    EPOCH = "epoch"
    INDEX_ROOT = "index-root"
    LANDMARK_DIRECTORY = "landmark-directory"
    RANGING_REPORT = "ranging-report"
    CONFLICT = "conflict"


class Role(StrEnum):
    """What a party may sign."""

    AUTHORITY = "authority"
    LEDGER = "ledger"
    VERIFIER = "verifier"
    OFFICER = "officer"
    MANUFACTURER = "manufacturer"
    CUSTODIAN = "custodian"
    CARRIER = "carrier"
    LANDMARK = "landmark"


class Action(StrEnum):
    """What a decision does."""

    HOLD = "hold"
    RELEASE = "release"
    REVOKE = "revoke"


class Founder(StatementModel):
    """A party that the genesis statement brings into being."""

    id: PartyId
    name: ShortText
    key: CoseKeyBytes


class Genesis(StatementModel):
    """``genesis``: the first entry, signed by the authority's own key. Fixes what never changes."""

    iat: Seconds
    origin: Annotated[str, Field(pattern=r"^[\x21-\x2a\x2c-\x7e]{1,200}$")]
    """Name of the log in checkpoints (C2SP tlog-checkpoint origin)."""
    clock: Literal["real", "simulated"]
    epoch_s: Annotated[int, Field(ge=60, le=86_400)]
    bucket_bits: Annotated[int, Field(ge=0, le=24)]
    """2^bucket_bits buckets in the heads map."""
    authority: Founder
    ledger: CoseKeyBytes
    verifier: Founder
    officers: Annotated[list[Founder], Field(min_length=1, max_length=32)]


class PartyStatement(StatementModel):
    """``party``: the authority registers a party and its key."""

    iat: Seconds
    id: PartyId
    name: ShortText
    roles: Annotated[
        list[Literal["officer", "manufacturer", "custodian", "carrier", "landmark"]],
        Field(min_length=1, max_length=5),
    ]
    country: Country
    key: CoseKeyBytes
    parent: PartyId | None = None
    """Ultimate parent, where another party owns this one."""
    root_certificate: CertificateDer | None = None
    """A manufacturer's X.509 root, DER."""


class Licence(StatementModel):
    """``licence``: the authority lets a holder have chips of some models in some countries."""

    iat: Seconds
    id: LicenceId
    holder: PartyId
    countries: Annotated[list[Country], Field(min_length=1, max_length=250)]
    models: Annotated[list[ModelName], Field(min_length=1, max_length=64)]
    not_before: Seconds
    not_after: Seconds
    quota_per_year: Annotated[int, Field(ge=1, le=100_000_000)] | None = None
    """Most chips that may come under the licence in one calendar year (UTC)."""
    assurance: Literal["claim", "cleared", "inside"] = "claim"


class Birth(StatementModel):
    """``birth``: the manufacturer endorses a chip, its certificate and its heartbeat key."""

    iat: Seconds
    ueid: UeidBytes
    oemid: UInt
    """Private Enterprise Number of the manufacturer (EAT oemid)."""
    model: ModelName
    key: CoseKeyBytes
    """Heartbeat key."""
    certificates: Annotated[list[CertificateDer], Field(min_length=2, max_length=4)]
    """Device certificate first, then the CAs up to, without, the root."""
    binding: Annotated[bytes, Field(min_length=96, max_length=96)]
    """The device key's signature over ``binding_message(ueid, key)``."""
    processing_performance: UInt | None = None
    """Total processing performance as published for the model."""


class Ship(StatementModel):
    """``ship``: the custodian sends chips to another party."""

    iat: Seconds
    chips: ChipList
    to: PartyId
    destination: Country
    licence: LicenceId | None = None
    """Licence of the consignee under which the chips go out."""
    reference: ShortText | None = None


class Receive(StatementModel):
    """``receive``: the addressee confirms that chips arrived."""

    iat: Seconds
    chips: ChipList
    sender: PartyId
    country: Country
    reference: ShortText | None = None


class Install(StatementModel):
    """``install``: the custodian puts chips into service at a site."""

    iat: Seconds
    chips: ChipList
    site: ShortText
    country: Country
    latitude: Latitude
    longitude: Longitude
    licence: LicenceId


class Retire(StatementModel):
    """``retire``: the custodian takes chips out of service for good."""

    iat: Seconds
    chips: ChipList
    cause: ShortText


class Epoch(StatementModel):
    """``epoch``: the ledger opens an epoch; its id is the nonce of heartbeats."""

    iat: Seconds
    id: Annotated[bytes, Field(min_length=16, max_length=16)]
    counter: UInt
    not_before_ms: Millis
    not_after_ms: Millis


class IndexRoot(StatementModel):
    """``index-root``: the ledger commits to every subject's number of entries and newest one."""

    iat: Seconds
    size: UInt
    """Entries before this one, all of which the heads map covers."""
    root: Digest32
    """Root of the heads map."""
    bucket_bits: Annotated[int, Field(ge=0, le=24)]


class Decision(StatementModel):
    """``decision``: hold, release or revoke one chip, with the grounds."""

    iat: Seconds
    action: Literal["hold", "release", "revoke"]
    ueid: UeidBytes
    key: Digest32
    """Thumbprint (RFC 9679) of the chip's heartbeat key."""
    sequence: Annotated[int, Field(ge=1, le=2**31)]
    previous: Digest32
    """Statement digest of the chip's decision before, zero in the first."""
    rules: Annotated[list[RuleId], Field(max_length=16)]
    reasons: Annotated[list[LongText], Field(min_length=1, max_length=16)]
    evidence: Annotated[list[Digest32], Field(max_length=32)]
    """Leaf hashes of the entries that the decision rests on."""
    policy: Digest32
    """Statement digest of the policy in force, zero where there is none."""
    issued_ms: Millis
    effective_ms: Millis
    expires_ms: Millis | None = None
    appeal: ShortText


Body = (
    Genesis
    | PartyStatement
    | Licence
    | Birth
    | Ship
    | Receive
    | Install
    | Retire
    | Policy
    | Decision
    | Epoch
    | IndexRoot
    | LandmarkDirectory
    | RangingReport
    | Heartbeat
)
CustodyBody = Ship | Receive | Install | Retire

_MODELS: dict[Kind, type[StatementModel]] = {
    Kind.GENESIS: Genesis,
    Kind.PARTY: PartyStatement,
    Kind.LICENCE: Licence,
    Kind.BIRTH: Birth,
    Kind.SHIP: Ship,
    Kind.RECEIVE: Receive,
    Kind.INSTALL: Install,
    Kind.RETIRE: Retire,
    Kind.POLICY: Policy,
    Kind.DECISION: Decision,
    Kind.EPOCH: Epoch,
    Kind.INDEX_ROOT: IndexRoot,
    Kind.LANDMARK_DIRECTORY: LandmarkDirectory,
    Kind.RANGING_REPORT: RangingReport,
}
STATEMENT_MODELS = dict(_MODELS)
_KINDS = {model: kind for kind, model in _MODELS.items()}
_KIND_NAMES = frozenset(kind.value for kind in Kind) - {Kind.CONFLICT.value}
_TYP_PREFIX, _TYP_SUFFIX = "application/chip-passport.", "+cbor"


def typ_of(kind: Kind) -> str:
    """Media type of a kind, as in the protected header (RFC 9596)."""
    return f"{_TYP_PREFIX}{kind.value}{_TYP_SUFFIX}"


class Message(NamedTuple):
    """A decoded, not yet authenticated statement.

    ``token`` are the bytes as they came; ``digest`` is their SHA-256 and stands in the leaf;
    ``content_digest`` is the SHA-256 of the Sig_structure, the same for every signature over it.
    """

    kind: Kind
    token: bytes
    sign1: cose.Sign1
    tbs: bytes
    body: Any
    digest: bytes
    content_digest: bytes

    @property
    def kid(self) -> bytes:
        """Key id of the signer."""
        return self.sign1.kid

    def verify(self, key: PublicKey) -> None:
        """Refuse unless ``key`` made the signature."""
        cose.verify_sign1(self.sign1, key, typ=typ_of(self.kind))


def encode_body(body: Body) -> bytes:
    """Deterministic CBOR of a body: a member that is None is left out, every other is written.

    Defaults of the models spare their makers typing; on the wire nothing is implied, so that a
    statement means the same to every version of this software.
    """
    if isinstance(body, Heartbeat):
        return body.encode()
    return cbor.encode(body.model_dump(exclude_none=True))


def kind_of(body: Body) -> Kind:
    """Kind of a body."""
    return Kind.HEARTBEAT if isinstance(body, Heartbeat) else _KINDS[type(body)]


def sign(body: Body, signer: SigningKey) -> bytes:
    """A statement token: COSE_Sign1 by ``signer`` over ``body``."""
    return cose.sign1(encode_body(body), signer, typ=typ_of(kind_of(body)))


def decode(token: bytes, *, expect: Kind | None = None) -> Message:
    """Parse a token strictly, up to but without its signature.

    1 size, 2 COSE structure and header, 3 kind, 4 body. ``expect`` is the only kind taken.
    """
    limit = heartbeat.MAX_HEARTBEAT_BYTES if expect is Kind.HEARTBEAT else MAX_STATEMENT_BYTES
    sign1 = cose.decode_sign1(token, max_size=limit)
    kind = _kind(sign1.typ)
    if expect is not None and kind is not expect:
        raise Refused(Reason.COSE_TYPE, f"expected {typ_of(expect)}, got {sign1.typ}", field="typ")
    if kind is Kind.HEARTBEAT and len(token) > heartbeat.MAX_HEARTBEAT_BYTES:
        raise Refused(
            Reason.TOO_LARGE, f"a heartbeat has at most {heartbeat.MAX_HEARTBEAT_BYTES} bytes"
        )
    if len(sign1.kid) != 16:
        raise Refused(Reason.COSE_HEADER, "kid has 16 bytes", field="kid")
    body, tbs = decode_body(kind, sign1.payload), sign1.tbs()
    return Message(kind, token, sign1, tbs, body, sha256(token).digest(), sha256(tbs).digest())


def decode_body(kind: Kind, payload: bytes) -> Body:
    """Parse and check a body of a known kind."""
    if kind is Kind.HEARTBEAT:
        return heartbeat.decode(payload)
    value = cbor.decode(payload, max_size=MAX_STATEMENT_BYTES)
    if not isinstance(value, dict):
        raise Refused(Reason.FIELD_INVALID, "a statement body is a map")
    try:
        body = _MODELS[kind].model_validate(value)
    except ValidationError as error:
        raise _refusal(error) from None
    except TypeError as error:
        raise Refused(Reason.FIELD_INVALID, "a statement body has text keys") from error
    _check_members(body)
    if encode_body(body) != payload:  # type: ignore[arg-type]
        raise _another_form(value, body)
    return body  # type: ignore[return-value]


def binding_message(ueid: bytes, key: bytes) -> bytes:
    """What the device key signs to vouch for the heartbeat key (a COSE_Key)."""
    return cbor.encode(["chip-passport binding v1", ueid, key])


def _kind(typ: str | None) -> Kind:
    if typ is not None and typ.startswith(_TYP_PREFIX) and typ.endswith(_TYP_SUFFIX):
        name = typ[len(_TYP_PREFIX) : -len(_TYP_SUFFIX)]
        if name in _KIND_NAMES:
            return Kind(name)
    raise Refused(Reason.KIND_UNKNOWN, f"typ is {_TYP_PREFIX}<kind>{_TYP_SUFFIX}", field="typ")


def _check_members(body: StatementModel) -> None:
    """Rules that span members or need our own types."""
    chips = getattr(body, "chips", None)
    if chips is not None:
        for ueid in chips:
            check_ueid(ueid)
        if len(set(chips)) != len(chips):
            raise Refused(Reason.FIELD_INVALID, "each chip once", field="chips")
    if isinstance(body, LandmarkDirectory):
        check_landmarks(body.landmarks)
    if isinstance(body, RangingReport):
        check_rows(body.rows)
    ueid = getattr(body, "ueid", None)
    if ueid is not None:
        check_ueid(ueid)
    for name in ("countries", "models", "roles", "allowed_debug", "rules", "evidence"):
        items = getattr(body, name, ())
        if len(set(items)) != len(items):
            raise Refused(Reason.FIELD_INVALID, "each member once", field=name)
    for first, last in _SPANS:
        start, end = getattr(body, first, None), getattr(body, last, None)
        if start is not None and end is not None and end <= start:
            raise Refused(Reason.FIELD_INVALID, f"{last} follows {first}", field=last)


_SPANS = (
    ("not_before", "not_after"),
    ("not_before_ms", "not_after_ms"),
    ("effective_ms", "expires_ms"),
)


def _another_form(value: dict[Any, Any], body: StatementModel) -> Refused:
    """Why a body that fits its model is not the one encoding of what it says."""
    for name, written in body.model_dump(exclude_none=True).items():
        if name not in value:
            return Refused(Reason.FIELD_INVALID, "has no default on the wire", field=name)
        if isinstance(written, float) and not isinstance(value[name], float):
            return Refused(Reason.FIELD_INVALID, "is a floating-point number", field=name)
    for name, given in value.items():
        if given is None:
            return Refused(Reason.FIELD_INVALID, "leave it out instead of null", field=name)
    return Refused(Reason.FIELD_INVALID, "the body is not in its one form")


def _refusal(error: ValidationError) -> Refused:
    """The first fault that pydantic found, in our words, without echoing the value."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    field = ".".join(str(part) for part in first["loc"])[:100] or None
    return Refused(Reason.FIELD_INVALID, str(first["msg"])[:200], field=field)
