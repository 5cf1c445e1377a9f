"""The OpenAPI document: problem answers for every route, and the two ingest routes by hand."""

from collections import defaultdict
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api import problems, schemas
from api.access import SECURITY_SCHEMES
from api.media import CBOR_SEQ, COSE
from ledger.errors import Reason

_REF = "#/components/schemas/"
_UNUSED = ("HTTPValidationError", "ValidationError")
_BYTES = {"type": "string", "format": "binary"}

ALWAYS = (Reason.BUSY, Reason.STORAGE)
"""What any route that works on the ledger may answer."""
_NOT_INGEST = frozenset(
    {
        *problems.CHALLENGES,
        Reason.NOT_FOUND,
        Reason.METHOD_NOT_ALLOWED,
        Reason.PARAMETER_INVALID,
        Reason.TILE_PATH,
        Reason.TILE_UNKNOWN,
        Reason.CHECKPOINT_UNKNOWN,
        Reason.BUNDLE_MALFORMED,
        Reason.NOTE_MALFORMED,
        Reason.PROOF_INVALID,
        Reason.CLOCK,
    }
)


def problem_responses(*reasons: Reason) -> dict[int | str, dict[str, Any]]:
    """OpenAPI answers for the problems that a route may give, by status."""
    by_status: dict[int, list[Reason]] = defaultdict(list)
    for reason in reasons:
        by_status[int(problems.STATUS[reason])].append(reason)
    return {status: _problem_answer(group) for status, group in sorted(by_status.items())}


def install(app: FastAPI) -> None:
    """Make ``app.openapi()`` give the complete document; built once, at the first call."""
    cached: list[dict[str, Any]] = []

    def openapi() -> dict[str, Any]:
        if not cached:
            cached.append(_document(app))
        return cached[0]

    app.openapi = openapi  # type: ignore[method-assign]


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=app.description,
        routes=app.routes,
    )
    models = document.setdefault("components", {}).setdefault("schemas", {})
    for name in _UNUSED:
        models.pop(name, None)
    for model in (schemas.Problem, schemas.Result, schemas.Results, schemas.ClockRequest):
        schema = model.model_json_schema(ref_template=_REF + "{model}")
        models.update(schema.pop("$defs", {}))
        models[model.__name__] = schema
    document["components"]["securitySchemes"] = SECURITY_SCHEMES
    document["paths"]["/v1/heartbeats"] = {"post": _ingest(heartbeats=True)}
    document["paths"]["/v1/statements"] = {"post": _ingest(heartbeats=False)}
    for operation in _operations(document):
        responses = operation["responses"]
        if _REF + _UNUSED[0] in str(responses.get("422")):
            # The framework's own form of refusal, which no route of ours gives.
            del responses["422"]
        responses.setdefault(500, _internal_answer())
        operation["responses"] = {str(key): responses[key] for key in sorted(responses, key=str)}
    return document


def _operations(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [operation for path in document["paths"].values() for operation in path.values()]


def _ingest(*, heartbeats: bool) -> dict[str, Any]:
    """POST of one message or a batch."""
    what = "heartbeat" if heartbeats else "statement"
    taken = [reason for reason in Reason if reason not in _NOT_INGEST]
    return {
        "tags": ["ingest"],
        "summary": f"File one {what}, or a batch of them",
        "description": _INGEST_TEXT.format(what=what, size="2 KiB" if heartbeats else "32 KiB"),
        "operationId": f"post_{what}s",
        "requestBody": {
            "required": True,
            "content": {
                COSE: {"schema": _BYTES, "example": "d2845818a3012704…"},
                CBOR_SEQ: {"schema": _BYTES, "example": "d2845818a3012704…d2845818a3012704…"},
            },
        },
        "responses": {
            200: _json("Every message of the batch was accepted", "Results"),
            201: _json("The message stands on the ledger", "Result"),
            207: _json("Some messages of the batch were accepted", "Results"),
            **problem_responses(*taken),
        },
    }


_INGEST_TEXT = """\
`application/cose`: one {what}, at most {size}; 201, or the problem why not. A message that is
authentic but contradicts the record is kept as evidence and answered with 409 and its `index`.

`application/cbor-seq`: 1 to 4096 of them, at most 4 MiB (RFC 8742). All are written in one durable
transaction, in order. 200 when all were accepted, 207 when some were; when none was, the first
one's problem with `results` in it."""


def _json(description: str, model: str) -> dict[str, Any]:
    return {
        "description": description,
        "content": {"application/json": {"schema": {"$ref": _REF + model}}},
    }


def _problem_answer(reasons: list[Reason]) -> dict[str, Any]:
    codes = ", ".join(f"`{reason.value}`" for reason in reasons)
    example = problems.document(reasons[0], "what was found", "/v1/…")
    return _problem(codes, example)


def _internal_answer() -> dict[str, Any]:
    return _problem(
        f"`{problems.INTERNAL}`: a fault of the service, never of the input",
        problems.internal_document("/v1/…"),
    )


def _problem(description: str, example: dict[str, Any]) -> dict[str, Any]:
    content = {"schema": {"$ref": _REF + "Problem"}, "example": example}
    return {"description": description, "content": {problems.MEDIA_TYPE: content}}
