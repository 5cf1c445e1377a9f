"""The log's read API (C2SP tlog-tiles)."""

import re
from typing import Annotated, Any

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from api import answers
from api.context import Context
from api.media import COSE
from api.openapi import ALWAYS, problem_responses
from ledger.errors import Reason, Refused
from ledger.log.tiles import ENTRIES
from ledger.service.heads import INDEX_ROOT

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
_COSE: dict[str, Any] = {
    COSE: {
        "schema": {"type": "string", "format": "binary"},
        "example": "the signed index-root statement, at its own address",
    }
}
_PROOF: dict[str, Any] = {
    "text/plain": {
        "schema": {"type": "string"},
        "example": "c2sp.org/tlog-proof@v1\nextra …\nindex 7\n…=\n\nledger.example/1\n1024\n…",
    }
}
_INDEX = re.compile(r"0|[1-9][0-9]{0,18}")


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

    @routes.get(
        "/heads/{path:path}",
        response_class=_Octets,
        responses={
            200: {"content": _TILE | _COSE},
            **problem_responses(Reason.TILE_PATH, Reason.TILE_UNKNOWN, *ALWAYS),
        },
    )
    def heads(
        request: Request,
        path: Annotated[
            str,
            Path(
                description="`<size>/index-root`, `<size>/bucket/<number>` or "
                "`<size>/tile/<level>/<index>[.p/<width>]`; `size` is the newest checkpoint's",
                examples=["1024/index-root", "1024/bucket/x001/234", "1024/tile/0/000.p/16"],
            ),
        ],
    ) -> Response:
        """The heads map of the newest checkpoint: whether a history is whole.

        Bytes at a path never change. There is nothing under a size that is not the newest: ask for
        the checkpoint again then.
        """
        data = node.heads(path)
        media = COSE if path.endswith(INDEX_ROOT) else OCTETS
        return answers.whole(request, data, media, answers.IMMUTABLE)

    @routes.get(
        "/proof/{index}",
        response_class=_Text,
        responses={
            200: {"content": _PROOF},
            **problem_responses(Reason.NOT_FOUND, Reason.PARAMETER_INVALID, *ALWAYS),
        },
    )
    def proof(
        request: Request, index: Annotated[str, Path(description="Number of the entry, from 0")]
    ) -> Response:
        """Proof of one entry under the newest checkpoint (C2SP tlog-proof), to be checked offline.

        The entry's leaf is in its `extra` line.
        """
        if not _INDEX.fullmatch(index):
            raise Refused(
                Reason.PARAMETER_INVALID, "a number without leading zeroes", field="index"
            )
        return answers.whole(request, node.proof(int(index)), _Text.media_type, answers.NO_CACHE)

    return routes
