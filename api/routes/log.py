"""The log's read API (C2SP tlog-tiles)."""

from typing import Annotated, Any

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from api import answers
from api.context import Context
from api.openapi import ALWAYS, problem_responses
from ledger.errors import Reason, Refused
from ledger.log.tiles import ENTRIES

OCTETS = "application/octet-stream"
_TEXT: dict[str, Any] = {
    "text/plain": {
        "schema": {"type": "string"},
        "example": "ledger.example/1\n1024\n…=\n\n— ledger.example/1 …=\n",
    }
}
_TILE: dict[str, Any] = {
    OCTETS: {
        "schema": {"type": "string", "format": "binary"},
        "example": "32 bytes for each of up to 256 hashes, or entries behind their 16-bit lengths",
    }
}


class _Octets(Response):
    media_type = OCTETS


class _Text(Response):
    media_type = "text/plain"


def router(context: Context) -> APIRouter:
    """Checkpoint, hash tiles and entry bundles."""
    routes = APIRouter(prefix="/log", tags=["log"])
    node = context.node

    @routes.get(
        "/checkpoint",
        response_class=_Text,
        responses={200: {"content": _TEXT}, **problem_responses(Reason.NOT_FOUND, *ALWAYS)},
    )
    def checkpoint(request: Request) -> Response:
        """The latest signed checkpoint, with the cosignatures that it has by now."""
        note = node.checkpoint()
        if note is None:
            raise Refused(Reason.NOT_FOUND, "no checkpoint is published yet")
        return answers.whole(request, note, _Text.media_type, answers.NO_CACHE)

    @routes.get(
        "/tile/{path:path}",
        response_class=_Octets,
        responses={
            200: {"content": _TILE},
            **problem_responses(Reason.TILE_PATH, Reason.TILE_UNKNOWN, *ALWAYS),
        },
    )
    def tile(
        request: Request,
        path: Annotated[
            str,
            Path(
                description="`<level>/<index>[.p/<width>]` or `entries/<index>[.p/<width>]`",
                examples=["0/000", "entries/x001/234.p/17"],
            ),
        ],
    ) -> Response:
        """One hash tile or entry bundle; the bytes at a path never change.

        Entry bundles are compressed where the client takes gzip; hashes would not get smaller.
        """
        data = node.tile(path)
        bundle = path.startswith(f"{ENTRIES}/")
        return answers.whole(request, data, OCTETS, answers.IMMUTABLE, gzip=bundle)

    return routes
