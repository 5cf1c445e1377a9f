"""One error tree and the pinned list of reason codes.

A reason code is wire format: once published it keeps its spelling and its meaning. Each one is
documented in ``docs/reasons.md`` (made from this module, compared by a test). HTTP statuses are
not chosen here but in ``api.problems``.
"""

from dataclasses import dataclass
from enum import StrEnum


class ChipPassportError(Exception):
    """Top of the tree: everything this project raises on purpose."""


class IntegrityError(ChipPassportError):
    """Stored data contradicts itself. Fatal: nothing may be signed after this."""


class ConfigurationError(ChipPassportError):
    """The operator has to change something before the program can run."""


class StorageError(ChipPassportError):
    """The database did not carry out a write. Nothing of it is kept; it may be retried."""


class Reason(StrEnum):
    """Why an input was not accepted."""

    # Encoding
    TOO_LARGE = "too-large"
    CBOR_MALFORMED = "cbor-malformed"
    CBOR_NOT_DETERMINISTIC = "cbor-not-deterministic"
    CBOR_DUPLICATE_KEY = "cbor-duplicate-key"
    CBOR_TOO_DEEP = "cbor-too-deep"
    CBOR_TRAILING_BYTES = "cbor-trailing-bytes"
    CBOR_TAG = "cbor-tag-not-allowed"
    SEQUENCE_TOO_LONG = "sequence-too-long"
    SEQUENCE_EMPTY = "sequence-empty"
    # COSE
    COSE_MALFORMED = "cose-malformed"
    COSE_UNPROTECTED = "cose-unprotected-header"
    COSE_HEADER = "cose-header-not-allowed"
    COSE_CRIT = "cose-crit-unknown"
    COSE_ALGORITHM = "cose-algorithm-unknown"
    COSE_TYPE = "cose-type-mismatch"
    COSE_KEY_MISMATCH = "cose-key-mismatch"
    SIGNATURE_INVALID = "signature-invalid"
    KEY_INVALID = "key-invalid"
    CERTIFICATE_INVALID = "certificate-invalid"
    # Claims and statements
    CLAIM_MISSING = "claim-missing"
    CLAIM_INVALID = "claim-invalid"
    PROFILE_UNKNOWN = "profile-unknown"
    KIND_UNKNOWN = "kind-unknown"
    FIELD_INVALID = "field-invalid"
    # Registration and authority
    LEDGER_EMPTY = "ledger-has-no-genesis"
    GENESIS_EXISTS = "genesis-exists"
    GENESIS_MISMATCH = "genesis-mismatch"
    KEY_UNKNOWN = "key-unknown"
    KEY_IN_USE = "key-in-use"
    UEID_REGISTERED = "ueid-already-registered"
    PARTY_REGISTERED = "party-already-registered"
    PARTY_UNKNOWN = "party-unknown"
    LICENCE_REGISTERED = "licence-already-registered"
    LICENCE_UNKNOWN = "licence-unknown"
    NOT_AUTHORISED = "not-authorised"
    BINDING_INVALID = "key-binding-invalid"
    POLICY_VERSION = "policy-version"
    # Freshness and continuity
    EPOCH_UNKNOWN = "epoch-unknown"
    EPOCH_EXPIRED = "epoch-expired"
    TIME_IMPLAUSIBLE = "time-implausible"
    DUPLICATE = "duplicate"
    COUNTER_ROLLBACK = "counter-rollback"
    HEARTBEAT_FORK = "heartbeat-fork"
    CHIP_UNKNOWN = "chip-unknown"
    CONFLICTS_CAPPED = "conflicts-capped"
    # Custody
    NOT_CUSTODIAN = "not-custodian"
    NOTHING_IN_TRANSIT = "nothing-in-transit"
    IN_TRANSIT = "in-transit"
    CHIP_RETIRED = "chip-retired"
    CHIP_REVOKED = "chip-revoked"
    # Decisions
    DECISION_SEQUENCE = "decision-sequence"
    DECISION_TRANSITION = "decision-transition"
    # Ranging
    RANGING_MALFORMED = "ranging-malformed"
    RANGING_SESSION = "ranging-session-unknown"
    RANGING_PROBE = "ranging-probe-repeated"
    RANGING_REPLAYED = "ranging-replayed"
    RANGING_LATE = "ranging-late"
    RANGING_NONCE = "ranging-nonce-mismatch"
    RANGING_OPENING = "ranging-opening-mismatch"
    RANGING_ROWS = "ranging-rows-mismatch"
    LANDMARK_UNKNOWN = "landmark-unknown"
    LANDMARK_SUSPENDED = "landmark-suspended"
    DIRECTORY_VERSION = "directory-version"
    # Proofs, notes, tiles
    PROOF_INVALID = "proof-invalid"
    NOTE_MALFORMED = "note-malformed"
    TILE_PATH = "tile-path-malformed"
    TILE_UNKNOWN = "tile-unknown"
    CHECKPOINT_UNKNOWN = "checkpoint-unknown"
    BUNDLE_MALFORMED = "bundle-malformed"
    # Access
    TOKEN_REQUIRED = "token-required"  # noqa: S105 - a reason's name
    TOKEN_INVALID = "token-invalid"  # noqa: S105 - a reason's name
    TOKEN_SCOPE = "token-insufficient"  # noqa: S105 - a reason's name
    # Service
    NOT_FOUND = "not-found"
    METHOD_NOT_ALLOWED = "method-not-allowed"
    PARAMETER_INVALID = "parameter-invalid"
    MEDIA_TYPE = "media-type-unsupported"
    CLOCK = "clock-not-simulated"
    HTTP_MALFORMED = "http-malformed"
    UPLOAD_TIMEOUT = "upload-timeout"
    BUSY = "busy"
    STORAGE = "storage-unavailable"


@dataclass(frozen=True, slots=True)
class ReasonInfo:
    """What a reason code means (``title``) and what the sender can do about it (``remedy``)."""

    title: str
    remedy: str


REASONS: dict[Reason, ReasonInfo] = {
    Reason.TOO_LARGE: ReasonInfo(
        "The message is larger than allowed", "Send a smaller message, or split the batch."
    ),
    Reason.CBOR_MALFORMED: ReasonInfo(
        "The bytes are not one well-formed CBOR item",
        "Encode one definite-length CBOR item (RFC 8949).",
    ),
    Reason.CBOR_NOT_DETERMINISTIC: ReasonInfo(
        "The CBOR is not in core deterministic encoding",
        "Use shortest forms, definite lengths and bytewise sorted keys (RFC 8949, 4.2.1).",
    ),
    Reason.CBOR_DUPLICATE_KEY: ReasonInfo(
        "A CBOR map has the same key twice", "Give each key once."
    ),
    Reason.CBOR_TOO_DEEP: ReasonInfo("The CBOR is nested too deeply", "Flatten the message."),
    Reason.CBOR_TRAILING_BYTES: ReasonInfo("Bytes follow the CBOR item", "Send exactly one item."),
    Reason.CBOR_TAG: ReasonInfo("A CBOR tag stands where none is allowed", "Leave the tag out."),
    Reason.SEQUENCE_TOO_LONG: ReasonInfo(
        "The CBOR sequence has more items than allowed", "Send several smaller batches."
    ),
    Reason.SEQUENCE_EMPTY: ReasonInfo(
        "The CBOR sequence has no item", "Send at least one heartbeat."
    ),
    Reason.COSE_MALFORMED: ReasonInfo(
        "The token is not a COSE_Sign1 with tag 18",
        "Send 18([protected bstr, {}, payload bstr, signature bstr]) (RFC 9052, 4.2).",
    ),
    Reason.COSE_UNPROTECTED: ReasonInfo(
        "The unprotected header is not empty", "Move every header parameter to the protected one."
    ),
    Reason.COSE_HEADER: ReasonInfo(
        "The protected header has an unexpected or missing parameter",
        "Use exactly alg (1), kid (4) and typ (16).",
    ),
    Reason.COSE_CRIT: ReasonInfo(
        "The token names critical header parameters", "This profile defines none; leave crit out."
    ),
    Reason.COSE_ALGORITHM: ReasonInfo(
        "The signature algorithm is not supported", "Use EdDSA (-8) or ES384 (-35)."
    ),
    Reason.COSE_TYPE: ReasonInfo(
        "The token is of another kind than expected",
        "Set typ (16) to the media type of the kind that this route takes.",
    ),
    Reason.COSE_KEY_MISMATCH: ReasonInfo(
        "The token's algorithm or key id does not fit the registered key",
        "Sign with the key registered for the signer.",
    ),
    Reason.SIGNATURE_INVALID: ReasonInfo(
        "The signature does not verify", "Sign the Sig_structure of RFC 9052, 4.4."
    ),
    Reason.KEY_INVALID: ReasonInfo(
        "The public key is malformed, off its curve or of small order",
        "Give a COSE_Key with a valid Ed25519 or P-384 point.",
    ),
    Reason.CERTIFICATE_INVALID: ReasonInfo(
        "The certificate chain does not lead from the device to the manufacturer's root",
        "Send device and model certificates that chain to the registered root (RFC 5280).",
    ),
    Reason.CLAIM_MISSING: ReasonInfo("A required claim is missing", "Add the claim."),
    Reason.CLAIM_INVALID: ReasonInfo(
        "A claim has the wrong type or is out of its range",
        "See docs/profile.md for the claim's type, unit and limits.",
    ),
    Reason.PROFILE_UNKNOWN: ReasonInfo(
        "The EAT profile is not one that this service takes", "See docs/profile.md."
    ),
    Reason.KIND_UNKNOWN: ReasonInfo(
        "The statement kind is unknown", "Use a kind listed in docs/statements.md."
    ),
    Reason.FIELD_INVALID: ReasonInfo(
        "A statement field is missing, unknown, of the wrong type or out of range",
        "See docs/statements.md for the field.",
    ),
    Reason.LEDGER_EMPTY: ReasonInfo(
        "The ledger has no genesis entry yet", "Post the genesis statement first."
    ),
    Reason.GENESIS_EXISTS: ReasonInfo(
        "The ledger already has a genesis entry", "Use another ledger for another authority."
    ),
    Reason.GENESIS_MISMATCH: ReasonInfo(
        "The genesis statement does not fit this ledger",
        "Name this ledger's origin, keys, clock mode and, where the operator fixed one, authority.",
    ),
    Reason.KEY_UNKNOWN: ReasonInfo(
        "No registered key has this key id", "Register the chip or party first."
    ),
    Reason.KEY_IN_USE: ReasonInfo(
        "The key already belongs to another chip or party",
        "Use a fresh key; a key is never shared and never moves.",
    ),
    Reason.UEID_REGISTERED: ReasonInfo(
        "The UEID is already registered", "The first registration stands."
    ),
    Reason.PARTY_REGISTERED: ReasonInfo(
        "The party is already registered with other particulars", "The first registration stands."
    ),
    Reason.PARTY_UNKNOWN: ReasonInfo(
        "A named party is not registered", "Register the party first."
    ),
    Reason.LICENCE_REGISTERED: ReasonInfo(
        "The licence is already registered", "Issue a licence with a new id."
    ),
    Reason.LICENCE_UNKNOWN: ReasonInfo(
        "The named licence is not on the ledger", "Register the licence first."
    ),
    Reason.NOT_AUTHORISED: ReasonInfo(
        "The signer's role does not allow this statement", "Have a party with the role sign it."
    ),
    Reason.BINDING_INVALID: ReasonInfo(
        "The device key does not vouch for the heartbeat key",
        "Sign the binding with the key of the device certificate.",
    ),
    Reason.POLICY_VERSION: ReasonInfo(
        "The policy version does not follow the one in force", "Use the next version number."
    ),
    Reason.EPOCH_UNKNOWN: ReasonInfo(
        "The nonce is not an epoch of this ledger", "Fetch GET /v1/epoch and use its id."
    ),
    Reason.EPOCH_EXPIRED: ReasonInfo(
        "The epoch is over", "Fetch GET /v1/epoch and send a new heartbeat."
    ),
    Reason.TIME_IMPLAUSIBLE: ReasonInfo(
        "The statement's time is too far from the ledger's", "Set the sender's clock."
    ),
    Reason.DUPLICATE: ReasonInfo(
        "The same statement stands on the ledger already", "Nothing to do; do not send it again."
    ),
    Reason.COUNTER_ROLLBACK: ReasonInfo(
        "The heartbeat counter is not above the last one",
        "A restored or copied chip state is evidence of cloning; it is kept on record.",
    ),
    Reason.HEARTBEAT_FORK: ReasonInfo(
        "The previous-heartbeat digest does not match the last heartbeat",
        "Two holders of one key are evidence of cloning; it is kept on record.",
    ),
    Reason.CHIP_UNKNOWN: ReasonInfo(
        "No chip with this UEID is registered", "Register the birth statement first."
    ),
    Reason.CONFLICTS_CAPPED: ReasonInfo(
        "Enough conflicting messages of this signer are on record for this epoch",
        "Nothing more is recorded until the next epoch.",
    ),
    Reason.NOT_CUSTODIAN: ReasonInfo(
        "The signer does not hold this chip", "Only the present custodian can sign this."
    ),
    Reason.NOTHING_IN_TRANSIT: ReasonInfo(
        "No shipment of this chip to the signer is open", "The custodian has to ship it first."
    ),
    Reason.IN_TRANSIT: ReasonInfo(
        "The chip is in transit", "The addressee has to receive it first."
    ),
    Reason.CHIP_RETIRED: ReasonInfo("The chip is retired", "Retirement is final."),
    Reason.CHIP_REVOKED: ReasonInfo("The chip is revoked", "Revocation is final."),
    Reason.DECISION_SEQUENCE: ReasonInfo(
        "The decision does not follow the chip's last decision",
        "Name the next sequence number and the last decision's digest.",
    ),
    Reason.DECISION_TRANSITION: ReasonInfo(
        "The chip's state does not allow this decision", "See docs/states.md."
    ),
    Reason.RANGING_MALFORMED: ReasonInfo(
        "The datagram or transcript is not one of ranging",
        "See docs/ranging.md for the messages to the byte.",
    ),
    Reason.RANGING_SESSION: ReasonInfo(
        "The message does not belong to an open session of this landmark",
        "Begin a new session, with a session id that was never used.",
    ),
    Reason.RANGING_PROBE: ReasonInfo(
        "The probe has begun or ended already, or was never timed",
        "Number probes from 0, each once; begin a new session to range again.",
    ),
    Reason.RANGING_REPLAYED: ReasonInfo(
        "The message was sent before", "Send each reply once; a nonce is good for one."
    ),
    Reason.RANGING_LATE: ReasonInfo(
        "The reply or the opening came too late",
        "Reply at once and open within 30 seconds; range from a faster line.",
    ),
    Reason.RANGING_NONCE: ReasonInfo(
        "The probe was answered for another nonce than the landmark sent",
        "Answer the landmark's own challenge; a relay that asks ahead is found out here.",
    ),
    Reason.RANGING_OPENING: ReasonInfo(
        "The opened secret does not fit its commitment, or a timed probe is not opened",
        "Open every probe that was answered, with the secret that was committed to.",
    ),
    Reason.RANGING_ROWS: ReasonInfo(
        "The rows of the ranging report do not fit its root or the signature over it",
        "Make root and rows_signature from the rows as they stand in the report.",
    ),
    Reason.LANDMARK_UNKNOWN: ReasonInfo(
        "The landmark is not in the directory in force",
        "Have the authority publish a landmark directory with it.",
    ),
    Reason.LANDMARK_SUSPENDED: ReasonInfo(
        "The directory in force suspends the landmark",
        "Mend its coordinates or its clock, and have the authority publish the next directory.",
    ),
    Reason.DIRECTORY_VERSION: ReasonInfo(
        "The version is not the one that the landmark directory in force asks for",
        "A directory takes the next number; a report names the directory in force.",
    ),
    Reason.PROOF_INVALID: ReasonInfo(
        "The Merkle proof does not lead to the root", "Fetch the proof again; if it stays, report."
    ),
    Reason.NOTE_MALFORMED: ReasonInfo(
        "The signed note or checkpoint is malformed", "See C2SP signed-note and tlog-checkpoint."
    ),
    Reason.TILE_PATH: ReasonInfo("The tile path is malformed", "See C2SP tlog-tiles."),
    Reason.TILE_UNKNOWN: ReasonInfo(
        "The log has no such tile yet", "Ask only for tiles that the checkpoint covers."
    ),
    Reason.CHECKPOINT_UNKNOWN: ReasonInfo(
        "The ledger has not published this checkpoint",
        "Cosign a checkpoint as GET /log/checkpoint gives it.",
    ),
    Reason.BUNDLE_MALFORMED: ReasonInfo(
        "The file is not a passport bundle of a version that this program reads",
        "See docs/bundle.md; make the bundle again.",
    ),
    Reason.TOKEN_REQUIRED: ReasonInfo(
        "Without an access token this is not shown",
        "Send Authorization: Bearer with a token that the operator gave you (docs/access.md).",
    ),
    Reason.TOKEN_INVALID: ReasonInfo(
        "The access token is malformed, unknown, expired or revoked",
        "Ask the operator for a new one (docs/access.md); without a token, leave the header out.",
    ),
    Reason.TOKEN_SCOPE: ReasonInfo(
        "The access token's role does not allow this",
        "Ask for what the role may see (docs/access.md), or use a token of another role.",
    ),
    Reason.NOT_FOUND: ReasonInfo("There is nothing at this address", "See /openapi.json."),
    Reason.METHOD_NOT_ALLOWED: ReasonInfo(
        "The address does not take this method", "See /openapi.json."
    ),
    Reason.PARAMETER_INVALID: ReasonInfo(
        "A parameter is missing, unknown or out of range", "See /openapi.json."
    ),
    Reason.MEDIA_TYPE: ReasonInfo(
        "The content type is not one that this route takes", "Set Content-Type as documented."
    ),
    Reason.CLOCK: ReasonInfo(
        "The service does not run on a simulated clock, or time would go back",
        "Start it with --clock simulated, and move time forward only.",
    ),
    Reason.HTTP_MALFORMED: ReasonInfo(
        "The request is not HTTP", "Send HTTP/1.1 as RFC 9112 has it; TLS is a proxy's work."
    ),
    Reason.UPLOAD_TIMEOUT: ReasonInfo(
        "The request took too long to arrive",
        "Nothing was kept; send it again, in smaller batches where the line is slow.",
    ),
    Reason.BUSY: ReasonInfo("Too many requests are waiting", "Try again after Retry-After."),
    Reason.STORAGE: ReasonInfo(
        "The database did not take the write", "Nothing was kept; try again later."
    ),
}


class Refused(ChipPassportError):
    """An input that is not accepted: a reason code, a sentence, and the field where known."""

    def __init__(self, reason: Reason, detail: str, *, field: str | None = None) -> None:
        super().__init__(f"{reason.value}: {detail}" + (f" (field {field})" if field else ""))
        self.reason = reason
        self.detail = detail
        self.field = field

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild_refused, (self.reason, self.detail, self.field))


def _rebuild_refused(reason: Reason, detail: str, field: str | None) -> Refused:
    return Refused(reason, detail, field=field)
