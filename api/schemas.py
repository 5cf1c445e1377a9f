"""The JSON of requests and answers, for OpenAPI and for the tests that hold the answers to it.

Times are milliseconds since 1970-01-01T00:00:00Z (``_ms``), digests and keys are hexadecimal,
coordinates are WGS84 degrees.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from api.settings import MAX_PAGE
from ledger.protocol.fields import Country, ModelName, PartyId
from ledger.protocol.statements import Kind
from ledger.registry.records import ChipState

Hex = Annotated[str, Field(pattern=r"^([0-9a-f]{2})*$")]
Hex32 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
UeidHex = Annotated[str, Field(pattern=r"^([0-9a-fA-F]{2}){7,33}$")]
Ms = Annotated[int, Field(ge=0, le=2**53 - 1)]
Count = Annotated[int, Field(ge=0, le=2**53 - 1)]
Status = Literal["accepted", "recorded", "refused"]
Flag = Literal["silent", "suspect"]
ActionName = Literal["hold", "release", "revoke"]

_UEID = "01" + "5c" * 16
_DIGEST = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
_OTHER_DIGEST = "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752"
_T = 1_790_000_000_000


class Schema(BaseModel):
    """Base of every schema: nothing but the documented members."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


def _example(**value: Any) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [value]})


def _of(model: type[BaseModel]) -> Any:
    """The example of another schema."""
    return model.model_config["json_schema_extra"]["examples"][0]  # type: ignore[index]


class Clock(Schema):
    """The ledger's clock; a simulated one stands still until it is set."""

    model_config = _example(mode="simulated", now_ms=_T)
    mode: Literal["real", "simulated"]
    now_ms: Ms


class ClockRequest(Schema):
    """New time of a simulated clock; forward only."""

    model_config = _example(now_ms=_T)
    now_ms: Annotated[int, Field(ge=0, le=2**53 - 1, strict=True)]


class Cosigned(Schema):
    """What was taken: over the checkpoint of ``size``, by whom, and whether that is the newest."""

    model_config = _example(size=1_024, cosigners=["auditor.example/a1"], served=True)
    size: Count
    cosigners: list[str]
    served: bool


class Ledger(Schema):
    """Identity, keys and size of the ledger; ``origin`` to ``genesis`` are null before genesis."""

    model_config = _example(
        origin="ledger.example/1",
        genesis=_DIGEST,
        clock={"mode": "real", "now_ms": _T},
        ledger_key="a401012003200621582" + "0" * 5,
        verifier_key="a401012003200621582" + "0" * 5,
        vkey="ledger.example/1+8a1b2c3d+AQ==",
        size=1_024,
        published_size=1_020,
        epoch_s=3_600,
    )
    origin: str | None
    genesis: Hex32 | None
    """Statement digest of the genesis statement."""
    clock: Clock
    ledger_key: Hex
    """COSE_Key of the ledger, deterministic CBOR."""
    verifier_key: Hex
    """COSE_Key of the verifier."""
    vkey: str | None
    """The ledger's key as a signed-note verifier key (C2SP signed-note)."""
    size: Count
    published_size: Count
    epoch_s: Count | None
    """Length of an epoch in seconds."""


class Epoch(Schema):
    """The current epoch; its ``id`` is the nonce of heartbeats."""

    model_config = _example(
        id="000102030405060708090a0b0c0d0e0f",
        counter=7,
        not_before_ms=_T,
        not_after_ms=_T + 3_600_000,
        statement="d28440a04040",
    )
    id: Hex
    counter: Count
    not_before_ms: Ms
    not_after_ms: Ms
    statement: Hex
    """The ledger's signed epoch statement (COSE_Sign1)."""


class Landmark(Schema):
    """A landmark: who runs it, where it stands and answers; ``suspended`` says why it does not."""

    model_config = _example(
        id="beacon-fra",
        operator="lighthouse",
        latitude=50.11,
        longitude=8.68,
        addresses=["beacon.example:8490"],
        suspended=None,
    )
    id: PartyId
    operator: PartyId
    latitude: float
    longitude: float
    addresses: list[str]
    suspended: str | None


class Landmarks(Schema):
    """The landmark directory in force."""

    model_config = _example(version=1, landmarks=[_of(Landmark)], statement="d28440a04040")
    version: Count
    landmarks: list[Landmark]
    statement: Hex
    """The authority's signed directory statement (COSE_Sign1)."""


class Lease(Schema):
    """Permission to run until a time."""

    id: Hex
    until_ms: Ms


class Directive(Schema):
    """The chip's latest decision: number, action, statement digest."""

    sequence: Count
    action: ActionName
    digest: Hex32


class Result(Schema):
    """What became of one message. ``index`` to ``received_ms`` are null when it was refused."""

    model_config = _example(
        status="accepted",
        kind="heartbeat",
        index=1_023,
        leaf_hash=_DIGEST,
        received_ms=_T,
        reason=None,
        detail=None,
        field=None,
        remedy=None,
        lease={"id": "0f0e0d0c0b0a09080706050403020100", "until_ms": _T + 86_400_000},
        directive=None,
    )
    status: Status
    kind: Kind | None
    index: Count | None
    leaf_hash: Hex32 | None
    received_ms: Ms | None
    reason: str | None
    detail: str | None
    field: str | None
    remedy: str | None
    lease: Lease | None
    directive: Directive | None


class Results(Schema):
    """What became of the messages of a batch, in their order."""

    model_config = _example(
        accepted=1,
        recorded=0,
        refused=1,
        results=[
            _of(Result),
            {
                "status": "refused",
                "kind": None,
                "index": None,
                "leaf_hash": None,
                "received_ms": None,
                "reason": "signature-invalid",
                "detail": "the signature does not verify",
                "field": None,
                "remedy": "Sign the Sig_structure of RFC 9052, 4.4.",
                "lease": None,
                "directive": None,
            },
        ],
    )
    accepted: Count
    recorded: Count
    refused: Count
    results: list[Result]


class Holder(Schema):
    """Who has a chip in custody."""

    id: str
    name: str | None
    country: str | None


class LicenceView(Schema):
    """The licence that a chip is under; times in seconds since 1970."""

    id: str
    holder: str
    countries: list[str]
    models: list[str]
    not_before: Count
    not_after: Count
    quota_per_year: Count | None
    over_quota: bool
    """Whether the chip came under the licence after its quota of the year was used up."""
    assurance: Literal["claim", "cleared", "inside"]


class Claimed(Schema):
    """The chip's own latest claim of its place."""

    latitude: float
    longitude: float
    accuracy_m: float
    countries: list[str]
    """Every country that the claim may lie in."""
    at_ms: Ms


class Place(Schema):
    """Where a chip is: as installed by its custodian, and as it claims itself."""

    country: str | None
    site: str | None
    latitude: float | None
    longitude: float | None
    claimed: Claimed | None


class LastHeartbeat(Schema):
    """Counter and time of the latest accepted heartbeat."""

    counter: Count
    received_ms: Ms


class FlagReason(Schema):
    """Why a flag is set. A flag is no verdict: anybody's papers can make a chip suspect."""

    flag: Flag
    author: str | None
    """Who filed the paper; "verifier" where the chip's own heartbeats, or their absence, did it;
    null where the statement is withheld."""
    words: str
    index: Count | None
    """The entry of a paper that contradicts the record."""


class Decision(Schema):
    """One decision about one chip, with its grounds."""

    model_config = _example(
        index=2_048,
        received_ms=_T,
        leaf_hash=_DIGEST,
        signer="verifier",
        action="hold",
        ueid=_UEID,
        sequence=1,
        rules=["location-claim"],
        reasons=["claims to be in XK, licensed for DE"],
        evidence=[_OTHER_DIGEST],
        policy=_DIGEST,
        issued_ms=_T,
        effective_ms=_T,
        expires_ms=None,
        appeal="office@authority.example",
        digest=_OTHER_DIGEST,
    )
    index: Count
    received_ms: Ms
    leaf_hash: Hex32
    signer: str
    action: ActionName
    ueid: UeidHex
    sequence: Count
    rules: list[str]
    reasons: list[str]
    evidence: list[Hex32]
    """Leaf hashes of the entries that the decision rests on."""
    policy: Hex32
    issued_ms: Ms
    effective_ms: Ms
    expires_ms: Ms | None
    appeal: str
    digest: Hex32
    """Statement digest, by which directives name the decision."""


class Passport(Schema):
    """One chip: identity, custody, licence, place, state."""

    model_config = _example(
        ueid=_UEID,
        model="H100-SXM",
        oemid=32_473,
        manufacturer="maker",
        key=_DIGEST,
        born_ms=_T,
        holder={"id": "cloud-1", "name": "Cloud One", "country": "DE"},
        in_transit_to=None,
        licence={
            "id": "LIC-1",
            "holder": "cloud-1",
            "countries": ["DE", "FR"],
            "models": ["H100-SXM"],
            "not_before": _T // 1000,
            "not_after": _T // 1000 + 31_536_000,
            "quota_per_year": None,
            "over_quota": False,
            "assurance": "claim",
        },
        place={
            "country": "DE",
            "site": "FRA-1",
            "latitude": 50.11,
            "longitude": 8.68,
            "claimed": {
                "latitude": 50.12,
                "longitude": 8.69,
                "accuracy_m": 500.0,
                "countries": ["DE"],
                "at_ms": _T,
            },
        },
        state="active",
        flags=["suspect"],
        flag_reasons=[
            {
                "flag": "suspect",
                "author": "cloud-2",
                "words": "a conflicting shipment was filed by cloud-2, who was not the holder of "
                "the chip; without effect, and no finding about the chip",
                "index": 40,
            }
        ],
        last_heartbeat={"counter": 42, "received_ms": _T},
        open_decisions=[],
        conflicts=0,
        entries=45,
    )
    ueid: UeidHex
    model: str
    oemid: Count
    manufacturer: str
    key: Hex32
    """Thumbprint (RFC 9679) of the heartbeat key."""
    born_ms: Ms
    holder: Holder
    in_transit_to: str | None
    licence: LicenceView | None
    place: Place
    state: ChipState
    flags: list[Flag]
    flag_reasons: list[FlagReason]
    last_heartbeat: LastHeartbeat | None
    open_decisions: list[Decision]
    conflicts: Count
    entries: Count


class PublicPassport(Schema):
    """One chip as it is shown to whoever may not see all about it: what it is, and its state."""

    model_config = _example(ueid=_UEID, model="H100-SXM", manufacturer="maker", state="active")
    ueid: UeidHex
    model: str
    manufacturer: str
    state: ChipState


class HistoryEntry(Schema):
    """One entry of a chip's custody history."""

    model_config = _example(
        index=17,
        seq=0,
        leaf_hash=_DIGEST,
        received_ms=_T,
        kind="birth",
        signer="maker",
        meaning="made by Maker as H100-SXM",
        reason=None,
        statement_digest=_OTHER_DIGEST,
    )
    index: Count
    seq: Count
    """Number of the entry in the chip's own chain, from 0."""
    leaf_hash: Hex32
    received_ms: Ms
    kind: str
    signer: str | None
    meaning: str
    reason: str | None
    """What a recorded conflict contradicts."""
    statement_digest: Hex32


class Passports(Schema):
    """A page of passports; ``next`` is the ``after`` of the following page."""

    model_config = _example(items=[_of(Passport)], next="100")
    items: list[Passport]
    next: str | None


class History(Schema):
    """A page of a chip's history, oldest first."""

    model_config = _example(items=[_of(HistoryEntry)], next="100")
    items: list[HistoryEntry]
    next: str | None


class Decisions(Schema):
    """A page of decisions, oldest first."""

    model_config = _example(items=[_of(Decision)], next="100")
    items: list[Decision]
    next: str | None


class Problem(BaseModel):
    """Why a request was not carried out (RFC 9457)."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "type": "/problems/epoch-unknown",
                    "title": "The nonce is not an epoch of this ledger",
                    "status": 409,
                    "detail": "the nonce is neither the current nor the previous epoch",
                    "reason": "epoch-unknown",
                    "field": "eat_nonce",
                    "remedy": "Fetch GET /v1/epoch and use its id.",
                    "instance": "/v1/heartbeats",
                }
            ]
        },
    )
    type: str
    title: str
    status: Annotated[int, Field(ge=400, le=599)]
    detail: str
    reason: str
    field: str | None
    remedy: str
    instance: str


class ProblemInfo(Schema):
    """What a reason code means."""

    model_config = _example(
        reason="signature-invalid",
        status=403,
        title="The signature does not verify",
        remedy="Sign the Sig_structure of RFC 9052, 4.4.",
    )
    reason: str
    status: Annotated[int, Field(ge=400, le=599)]
    title: str
    remedy: str


class Health(Schema):
    """Liveness or readiness, in a word."""

    model_config = _example(status="ready")
    status: str


# -- query parameters ------------------------------------------------------------------------


def _decimal(value: Any) -> Any:
    """Digits and nothing else: Python's own readings (``1_0``, ``+5``, ``5.0``) stay out."""
    if isinstance(value, str) and not (value.isascii() and value.isdigit()):
        raise ValueError("write it in decimal digits")
    return value


Decimal = BeforeValidator(_decimal)
Limit = Annotated[int, Field(ge=1, le=MAX_PAGE), Decimal]


class PassportQuery(Schema):
    """Which passports, and which page of them; ``after`` is a UEID."""

    state: ChipState | None = None
    holder: PartyId | None = None
    country: Country | None = None
    model: ModelName | None = None
    after: UeidHex | None = None
    limit: Limit = 100


class HistoryQuery(Schema):
    """Which page of a history; ``after`` is a sequence number."""

    after: Annotated[Count, Decimal] | None = None
    limit: Limit = 100


class BundleQuery(Schema):
    """``redacted``: leave every statement out whose digest alone still proves."""

    redacted: bool = False


class EntriesQuery(Schema):
    """Which entries; ``start`` is the first one's index."""

    start: Annotated[Count, Decimal]
    limit: Limit = 100


class DecisionQuery(Schema):
    """Which decisions, and which page of them; ``after`` is an index."""

    ueid: UeidHex | None = None
    action: ActionName | None = None
    after: Annotated[Count, Decimal] | None = None
    limit: Limit = 100
