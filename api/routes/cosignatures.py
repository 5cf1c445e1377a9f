"""Where auditors hand in their cosignatures."""

from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import Response

from api import answers, schemas
from api.context import Context
from api.media import TEXT, Uploads, content_type
from api.openapi import ALWAYS, problem_responses
from api.parameters import none_taken
from ledger.errors import Reason
from ledger.log.note import MAX_NOTE_SIZE

_NOTE_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            TEXT: {
                "schema": {"type": "string"},
                "example": "ledger.example/1\n1024\n…=\n\n— ledger.example/1 …=\n"
                "— auditor.example/a1 …=\n",
            }
        },
    }
}


def router(context: Context) -> APIRouter:
    """The one route."""
    routes = APIRouter(prefix="/v1", tags=["log"], dependencies=[Depends(none_taken)])
    node = context.node
    uploads = Uploads(max_held=2**22, timeout_s=context.settings.upload_timeout_s)

    @routes.post(
        "/cosignatures",
        response_model=schemas.Cosigned,
        openapi_extra=_NOTE_BODY,
        responses=problem_responses(
            Reason.NOTE_MALFORMED,
            Reason.SIGNATURE_INVALID,
            Reason.CHECKPOINT_UNKNOWN,
            Reason.PARAMETER_INVALID,
            Reason.TOO_LARGE,
            Reason.UPLOAD_TIMEOUT,
            Reason.MEDIA_TYPE,
            *ALWAYS,
        ),
    )
    async def cosignatures(request: Request) -> Response:
        """Take a checkpoint that an auditor has cosigned.

        The note is a checkpoint as this ledger has published it, with cosignature lines (C2SP
        tlog-cosignature). Those of the auditors that the operator has named are verified, stored,
        and served with `/log/checkpoint` while that checkpoint is the newest; lines of others are
        not looked at. Of each key the newest cosignature is kept.
        """
        content_type(request, (TEXT,))
        async with uploads.body(request, MAX_NOTE_SIZE) as body:
            size, names, served = await run_in_threadpool(
                node.take_cosignatures, body, context.auditors
            )
        return answers.json({"size": size, "cosigners": names, "served": served})

    return routes
