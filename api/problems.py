"""Problem documents (RFC 9457), and the only place where a reason becomes an HTTP status."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.responses import Response

from ledger.errors import REASONS, Reason, Refused

MEDIA_TYPE = "application/problem+json"
INTERNAL = "internal-error"
"""The one code that is no reason to refuse an input: the fault is ours."""
_INTERNAL_TITLE = "The service failed"
_INTERNAL_REMEDY = "Nothing was kept. Try again; if it stays, tell the operator."
_MAX_INSTANCE = 300

_BAD, _FORBIDDEN, _ABSENT = HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND
_CONFLICT, _CONTENT = HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY
_LARGE, _UNAVAILABLE = HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.SERVICE_UNAVAILABLE

STATUS: Mapping[Reason, HTTPStatus] = {
    # The bytes cannot be read.
    Reason.TOO_LARGE: _LARGE,
    Reason.CBOR_MALFORMED: _BAD,
    Reason.CBOR_NOT_DETERMINISTIC: _BAD,
    Reason.CBOR_DUPLICATE_KEY: _BAD,
    Reason.CBOR_TOO_DEEP: _BAD,
    Reason.CBOR_TRAILING_BYTES: _BAD,
    Reason.CBOR_TAG: _BAD,
    Reason.SEQUENCE_TOO_LONG: _LARGE,
    Reason.SEQUENCE_EMPTY: _BAD,
    Reason.COSE_MALFORMED: _BAD,
    Reason.COSE_UNPROTECTED: _BAD,
    Reason.COSE_HEADER: _BAD,
    Reason.COSE_CRIT: _BAD,
    Reason.COSE_ALGORITHM: _BAD,
    Reason.NOTE_MALFORMED: _BAD,
    Reason.TILE_PATH: _BAD,
    Reason.BUNDLE_MALFORMED: _BAD,
    Reason.HTTP_MALFORMED: _BAD,
    # Readable, and wrong in itself.
    Reason.COSE_TYPE: _CONTENT,
    Reason.KEY_INVALID: _CONTENT,
    Reason.CERTIFICATE_INVALID: _CONTENT,
    Reason.BINDING_INVALID: _CONTENT,
    Reason.CLAIM_MISSING: _CONTENT,
    Reason.CLAIM_INVALID: _CONTENT,
    Reason.PROFILE_UNKNOWN: _CONTENT,
    Reason.KIND_UNKNOWN: _CONTENT,
    Reason.FIELD_INVALID: _CONTENT,
    Reason.GENESIS_MISMATCH: _CONTENT,
    Reason.TIME_IMPLAUSIBLE: _CONTENT,
    Reason.PROOF_INVALID: _CONTENT,
    Reason.PARAMETER_INVALID: _CONTENT,
    Reason.RANGING_MALFORMED: _BAD,
    Reason.RANGING_SESSION: _CONTENT,
    Reason.RANGING_PROBE: _CONTENT,
    Reason.RANGING_REPLAYED: _CONTENT,
    Reason.RANGING_LATE: _CONTENT,
    Reason.RANGING_NONCE: _CONTENT,
    Reason.RANGING_OPENING: _CONTENT,
    Reason.RANGING_ROWS: _CONTENT,
    # Not by this signer.
    Reason.LANDMARK_SUSPENDED: _FORBIDDEN,
    Reason.COSE_KEY_MISMATCH: _FORBIDDEN,
    Reason.SIGNATURE_INVALID: _FORBIDDEN,
    Reason.KEY_UNKNOWN: _FORBIDDEN,
    Reason.NOT_AUTHORISED: _FORBIDDEN,
    Reason.NOT_CUSTODIAN: _FORBIDDEN,
    # Who asks, and what may be shown to them.
    Reason.TOKEN_REQUIRED: HTTPStatus.UNAUTHORIZED,
    Reason.TOKEN_INVALID: HTTPStatus.UNAUTHORIZED,
    Reason.TOKEN_SCOPE: _FORBIDDEN,
    # Names something that is not there.
    Reason.PARTY_UNKNOWN: _ABSENT,
    Reason.LICENCE_UNKNOWN: _ABSENT,
    Reason.CHIP_UNKNOWN: _ABSENT,
    Reason.LANDMARK_UNKNOWN: _ABSENT,
    Reason.TILE_UNKNOWN: _ABSENT,
    Reason.CHECKPOINT_UNKNOWN: _ABSENT,
    Reason.NOT_FOUND: _ABSENT,
    # Contradicts what stands on the ledger now.
    Reason.LEDGER_EMPTY: _CONFLICT,
    Reason.GENESIS_EXISTS: _CONFLICT,
    Reason.KEY_IN_USE: _CONFLICT,
    Reason.UEID_REGISTERED: _CONFLICT,
    Reason.PARTY_REGISTERED: _CONFLICT,
    Reason.LICENCE_REGISTERED: _CONFLICT,
    Reason.POLICY_VERSION: _CONFLICT,
    Reason.DIRECTORY_VERSION: _CONFLICT,
    Reason.EPOCH_UNKNOWN: _CONFLICT,
    Reason.EPOCH_EXPIRED: _CONFLICT,
    Reason.DUPLICATE: _CONFLICT,
    Reason.COUNTER_ROLLBACK: _CONFLICT,
    Reason.HEARTBEAT_FORK: _CONFLICT,
    Reason.NOTHING_IN_TRANSIT: _CONFLICT,
    Reason.IN_TRANSIT: _CONFLICT,
    Reason.CHIP_RETIRED: _CONFLICT,
    Reason.CHIP_REVOKED: _CONFLICT,
    Reason.DECISION_SEQUENCE: _CONFLICT,
    Reason.DECISION_TRANSITION: _CONFLICT,
    Reason.CLOCK: _CONFLICT,
    # About the request or the service as such.
    Reason.CONFLICTS_CAPPED: HTTPStatus.TOO_MANY_REQUESTS,
    Reason.METHOD_NOT_ALLOWED: HTTPStatus.METHOD_NOT_ALLOWED,
    Reason.UPLOAD_TIMEOUT: HTTPStatus.REQUEST_TIMEOUT,
    Reason.MEDIA_TYPE: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    Reason.BUSY: _UNAVAILABLE,
    Reason.STORAGE: _UNAVAILABLE,
}

CHALLENGES: Mapping[Reason, str] = {
    Reason.TOKEN_REQUIRED: "Bearer",
    Reason.TOKEN_INVALID: 'Bearer error="invalid_token"',
    Reason.TOKEN_SCOPE: 'Bearer error="insufficient_scope"',
}
"""``WWW-Authenticate`` (RFC 6750, 3): a request without a token is told of no error."""

RECORDED_STATUS = HTTPStatus.CONFLICT
"""An authentic message that contradicts the record and was kept as evidence of that."""


def document(
    reason: Reason, detail: str, instance: str, *, field: str | None = None, **members: Any
) -> dict[str, Any]:
    """The problem document of a reason; ``members`` are extensions (RFC 9457, 3.2)."""
    info = REASONS[reason]
    return {
        "type": f"/problems/{reason.value}",
        "title": info.title,
        "status": int(STATUS[reason]),
        "detail": detail,
        "reason": reason.value,
        "field": field,
        "remedy": info.remedy,
        "instance": instance[:_MAX_INSTANCE],
        **members,
    }


def internal_document(instance: str) -> dict[str, Any]:
    """The problem document of a fault of ours; says nothing of its cause."""
    return {
        "type": f"/problems/{INTERNAL}",
        "title": _INTERNAL_TITLE,
        "status": int(HTTPStatus.INTERNAL_SERVER_ERROR),
        "detail": "the request could not be carried out",
        "reason": INTERNAL,
        "field": None,
        "remedy": _INTERNAL_REMEDY,
        "instance": instance[:_MAX_INSTANCE],
    }


def response(problem: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    """A problem document as an HTTP answer; never cached."""
    return Response(
        json.dumps(problem, separators=(",", ":")).encode(),
        status_code=problem["status"],
        media_type=MEDIA_TYPE,
        headers={"Cache-Control": "no-store", **(headers or {})},
    )


def of_refused(
    refused: Refused, instance: str, *, retry_after_s: int = 1, close: bool = False
) -> Response:
    """The answer to a refused request; ``close`` ends the connection with it."""
    headers = {"Connection": "close"} if close else {}
    if STATUS[refused.reason] is _UNAVAILABLE:
        headers["Retry-After"] = str(retry_after_s)
    if refused.reason in CHALLENGES:
        headers["WWW-Authenticate"] = CHALLENGES[refused.reason]
    body = document(refused.reason, refused.detail, instance, field=refused.field)
    return response(body, headers)


def descriptions() -> list[dict[str, Any]]:
    """Every code with its status, title and remedy, as ``GET /problems`` gives them."""
    known = [
        {"reason": r.value, "status": int(STATUS[r]), "title": i.title, "remedy": i.remedy}
        for r, i in REASONS.items()
    ]
    ours = internal_document("")
    return [*known, {key: ours[key] for key in ("reason", "status", "title", "remedy")}]
