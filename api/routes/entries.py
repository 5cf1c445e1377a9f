"""Statements in the log's order: what an auditor reads beside the leaves."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from api import answers, schemas
from api.access import ANY_TOKEN, OPTIONAL, viewer_of
from api.context import Context
from api.media import CBOR_SEQ
from api.openapi import ALWAYS, problem_responses
from api.parameters import at_most_once
from ledger.errors import Reason
from ledger.protocol.entries import encode_statements
from ledger.service.viewer import Viewer

_SEQUENCE: dict[str, Any] = {
    CBOR_SEQ: {
        "schema": {"type": "string", "format": "binary"},
        "example": "5902c4d2845818a3012704…f6f65901a9d2845818a3012704…",
    }
}


def router(context: Context) -> APIRouter:
    """The statements of entries, one behind the other."""
    routes = APIRouter(prefix="/v1", tags=["log"], dependencies=[Depends(at_most_once)])
    node = context.node

    @routes.get(
        "/entries",
        response_class=Response,
        responses={
            200: {"content": _SEQUENCE},
            **problem_responses(*ANY_TOKEN, Reason.PARAMETER_INVALID, *ALWAYS),
        },
        openapi_extra=OPTIONAL,
    )
    def entries(
        query: Annotated[schemas.EntriesQuery, Query()],
        viewer: Annotated[Viewer, Depends(viewer_of(context))],
    ) -> Response:
        """Statements of published entries, in the log's order, as a CBOR sequence (RFC 8742).

        One item for each entry from `start`: a byte string, the statement as it was filed, or null
        where you may not see it or it is withheld. It may be fewer than `limit`: an answer ends
        behind the statement with which it reaches 1 MiB. Go on at `start` plus the number of items.
        An answer without items says that the newest checkpoint has no such entry.
        """
        found = node.statements(query.start, query.limit, viewer)
        return Response(encode_statements(found), media_type=CBOR_SEQ, headers=answers.NO_STORE)

    return routes
