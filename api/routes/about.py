"""The ledger as a whole: its identity and size, its clock, the current epoch."""

from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import ValidationError
from starlette.responses import Response

from api import answers, schemas
from api.context import Context
from api.handlers import validation_refusal
from api.media import COSE, JSON, Uploads, accepts, content_type
from api.openapi import ALWAYS, problem_responses
from api.parameters import none_taken
from api.settings import MAX_CLOCK_BYTES
from ledger.errors import Reason
from ledger.service.views import LedgerStatus

_CLOCK_BODY = {
    "requestBody": {
        "required": True,
        "content": {JSON: {"schema": {"$ref": "#/components/schemas/ClockRequest"}}},
    }
}
_READ = problem_responses(Reason.PARAMETER_INVALID, *ALWAYS)
_SIGNED_BYTES: dict[str, Any] = {
    COSE: {"schema": {"type": "string", "format": "binary"}, "example": "d2845818a3012704…"}
}


def router(context: Context) -> APIRouter:
    """Routes under /v1 about the ledger itself."""
    routes = APIRouter(prefix="/v1", tags=["ledger"], dependencies=[Depends(none_taken)])
    node = context.node
    uploads = Uploads(max_held=2**20, timeout_s=context.settings.upload_timeout_s)

    @routes.get("/ledger", response_model=schemas.Ledger, responses=_READ)
    def ledger() -> Response:
        """Origin, genesis, keys, clock and size of the ledger."""
        return answers.json(_ledger(node.status()))

    @routes.get("/clock", response_model=schemas.Clock, responses=_READ)
    def clock() -> Response:
        """The ledger's clock."""
        return answers.json(_clock(node.status()))

    @routes.post(
        "/clock",
        response_model=schemas.Clock,
        openapi_extra=_CLOCK_BODY,
        responses=problem_responses(
            Reason.CLOCK,
            Reason.PARAMETER_INVALID,
            Reason.TOO_LARGE,
            Reason.UPLOAD_TIMEOUT,
            Reason.MEDIA_TYPE,
            *ALWAYS,
        ),
    )
    async def set_clock(request: Request) -> Response:
        """Move a simulated clock forward.

        Simulations only: a service on the real clock refuses it. It is not authenticated, since
        a simulation belongs to whoever can reach it. At most 400 days and 10,000 epochs at once.

        Opens every epoch on the way, lets the verifier follow, publishes a checkpoint, and only
        then answers.
        """
        content_type(request, (JSON,))
        async with uploads.body(request, MAX_CLOCK_BYTES) as body:
            wanted = _clock_request(body)
        await run_in_threadpool(node.set_time, wanted.now_ms)
        return answers.json(_clock(await run_in_threadpool(node.status)))

    @routes.get(
        "/epoch",
        response_model=schemas.Epoch,
        responses={
            200: {"content": _SIGNED_BYTES},
            **problem_responses(Reason.LEDGER_EMPTY, Reason.PARAMETER_INVALID, *ALWAYS),
        },
    )
    def epoch(request: Request) -> Response:
        """The current epoch; with `Accept: application/cose`, its signed statement's bytes."""
        now = node.epoch()
        if accepts(request, COSE):
            headers = {**answers.NO_CACHE, "Vary": "Accept"}
            return Response(now.statement, media_type=COSE, headers=headers)
        return answers.json(
            {
                "id": now.id.hex(),
                "counter": now.counter,
                "not_before_ms": now.not_before_ms,
                "not_after_ms": now.not_after_ms,
                "statement": now.statement.hex(),
            }
        )

    @routes.get(
        "/landmarks",
        response_model=schemas.Landmarks,
        responses={
            200: {"content": _SIGNED_BYTES},
            **problem_responses(Reason.LANDMARK_UNKNOWN, Reason.PARAMETER_INVALID, *ALWAYS),
        },
    )
    def landmarks(request: Request) -> Response:
        """The landmark directory in force; with `Accept: application/cose`, its signed bytes."""
        message = node.landmarks()
        if accepts(request, COSE):
            headers = {**answers.NO_CACHE, "Vary": "Accept"}
            return Response(message.token, media_type=COSE, headers=headers)
        body = message.body
        return answers.json(
            {
                "version": body.version,
                "landmarks": [entry.model_dump() for entry in body.landmarks],
                "statement": message.token.hex(),
            }
        )

    return routes


def _clock_request(body: bytes) -> schemas.ClockRequest:
    try:
        return schemas.ClockRequest.model_validate_json(body)
    except ValidationError as error:
        raise validation_refusal(error.errors(include_url=False, include_input=False)) from None


def _clock(status: LedgerStatus) -> dict[str, Any]:
    return {"mode": status.clock_mode, "now_ms": status.now_ms}


def _ledger(status: LedgerStatus) -> dict[str, Any]:
    genesis = status.genesis_digest
    return {
        "origin": status.origin,
        "genesis": None if genesis is None else genesis.hex(),
        "clock": _clock(status),
        "ledger_key": status.ledger_key.hex(),
        "verifier_key": status.verifier_key.hex(),
        "vkey": status.vkey,
        "size": status.size,
        "published_size": status.published_size,
        "epoch_s": status.epoch_s,
    }
