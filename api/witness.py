"""The HTTP side of a witness: ``POST /add-checkpoint``, per C2SP tlog-witness.

Answers are plain text, not problem documents: the standard fixes them, and its clients read the
status. Nothing is authenticated but the checkpoint itself.
"""

from http import HTTPStatus

import structlog
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from ledger.errors import IntegrityError, StorageError
from ledger.log.witness import MAX_REQUEST_SIZE, Declined, Problem
from ledger.service.witness import Witness

ADD_CHECKPOINT = "/add-checkpoint"
SIZE_TYPE = "text/x.tlog.size"
RETRY_AFTER_S = 1

STATUS = {
    Problem.MALFORMED: HTTPStatus.BAD_REQUEST,
    Problem.OLD_SIZE: HTTPStatus.BAD_REQUEST,
    Problem.SIGNATURE: HTTPStatus.FORBIDDEN,
    Problem.UNKNOWN_LOG: HTTPStatus.NOT_FOUND,
    Problem.CONFLICT: HTTPStatus.CONFLICT,
    Problem.FORK: HTTPStatus.CONFLICT,
    Problem.PROOF: HTTPStatus.UNPROCESSABLE_ENTITY,
    Problem.CLOCK: HTTPStatus.SERVICE_UNAVAILABLE,
}
"""The only status table of a witness."""

WORTH_TELLING = (Problem.FORK, Problem.PROOF, Problem.CLOCK)
"""What the operator has to look at; all else anybody can provoke with any request."""

_log = structlog.get_logger("api.witness")


def create_witness_app(witness: Witness, *, prefix: str = "") -> Starlette:
    """An ASGI application; ``prefix`` is the path of the submission prefix, such as ``/w1``."""

    async def add_checkpoint(request: Request) -> Response:
        body = await _read_body(request)
        if body is None:
            return _text(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {MAX_REQUEST_SIZE} bytes are read"
            )
        try:
            answer = await run_in_threadpool(witness.add_checkpoint, body)
        except StorageError as error:
            _log.error("not cosigned", problem="storage", detail=str(error))
            response = _text(HTTPStatus.SERVICE_UNAVAILABLE, "the database did not take the write")
            response.headers["Retry-After"] = str(RETRY_AFTER_S)
            return response
        except IntegrityError as error:
            _log.critical("nothing is cosigned any more", detail=str(error))
            return _text(HTTPStatus.INTERNAL_SERVER_ERROR, "the witness's record is damaged")
        if not isinstance(answer, Declined):
            return PlainTextResponse(answer)
        if answer.problem in WORTH_TELLING:
            _log.warning("not cosigned", problem=answer.problem.value, detail=answer.detail)
        return _declined(answer)

    return Starlette(routes=[Route(prefix + ADD_CHECKPOINT, add_checkpoint, methods=["POST"])])


def _declined(answer: Declined) -> Response:
    status = STATUS[answer.problem]
    if answer.size is None:
        return _text(status, answer.detail)
    # Set by hand: Starlette would add a charset to a text type.
    return Response(f"{answer.size}\n", status, headers={"Content-Type": SIZE_TYPE})


def _text(status: HTTPStatus, words: str) -> PlainTextResponse:
    return PlainTextResponse(f"{words}\n", status)


async def _read_body(request: Request) -> bytes | None:
    """The body, or None as soon as it is too large."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_REQUEST_SIZE:
            return None
        parts.append(part)
    return b"".join(parts)
