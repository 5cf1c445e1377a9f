"""Chips, their custody histories, and decisions."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from starlette.responses import Response

from api import answers, schemas
from api.access import (
    ANY_TOKEN,
    NEEDS_TOKEN,
    OPTIONAL,
    REQUIRED,
    known_viewer_of,
    viewer_of,
)
from api.context import Context
from api.openapi import ALWAYS, problem_responses
from api.parameters import at_most_once, none_taken
from ledger.bundle.format import MEDIA_TYPE
from ledger.errors import Reason
from ledger.service.viewer import Viewer
from ledger.service.views import PassportFilter
from ledger.values import parse_ueid

_PAGE = problem_responses(*NEEDS_TOKEN, Reason.PARAMETER_INVALID, *ALWAYS)
_CHIP = (Reason.CHIP_UNKNOWN, Reason.CLAIM_INVALID, Reason.PARAMETER_INVALID, *ALWAYS)
_ONE = problem_responses(*ANY_TOKEN, *_CHIP)
_LIFE = problem_responses(*NEEDS_TOKEN, Reason.TOKEN_SCOPE, *_CHIP)
Ueid = Annotated[str, Path(description="UEID in hexadecimal", examples=["01" + "5c" * 16])]


def router(context: Context) -> APIRouter:
    """Routes under /v1 that tell about chips."""
    routes = APIRouter(prefix="/v1", tags=["passports"], dependencies=[Depends(at_most_once)])
    node = context.node
    anybody, known = viewer_of(context), known_viewer_of(context)

    @routes.get(
        "/devices", response_model=schemas.Passports, responses=_PAGE, openapi_extra=REQUIRED
    )
    def devices(
        viewer: Annotated[Viewer, Depends(known)],
        query: Annotated[schemas.PassportQuery, Query()],
    ) -> Response:
        """Passports, filtered and paged; to a holder those of the chips that it holds now."""
        wanted = PassportFilter(
            state=query.state, holder=query.holder, country=query.country, model=query.model
        )
        return answers.page(node.passports(wanted, query.after, query.limit, viewer=viewer))

    @routes.get(
        "/devices/{ueid}",
        response_model=schemas.Passport | schemas.PublicPassport,
        responses=_ONE,
        dependencies=[Depends(none_taken)],
        openapi_extra=OPTIONAL,
    )
    def device(viewer: Annotated[Viewer, Depends(anybody)], ueid: Ueid) -> Response:
        """The passport of one chip; in short for whoever may not see all about it."""
        return answers.json(node.passport(parse_ueid(ueid), viewer=viewer))

    @routes.get(
        "/devices/{ueid}/history",
        response_model=schemas.History,
        responses=_LIFE,
        openapi_extra=REQUIRED,
    )
    def history(
        viewer: Annotated[Viewer, Depends(known)],
        ueid: Ueid,
        query: Annotated[schemas.HistoryQuery, Query()],
    ) -> Response:
        """The custody history of one chip, oldest entry first."""
        found = node.history(parse_ueid(ueid), query.after, query.limit, viewer=viewer)
        return answers.page(found)

    @routes.get(
        "/devices/{ueid}/bundle",
        response_class=Response,
        responses={
            200: {
                "content": {
                    MEDIA_TYPE: {
                        "schema": {"type": "string", "format": "binary"},
                        "example": "a1666865616465…",
                    }
                }
            },
            **problem_responses(
                *NEEDS_TOKEN,
                Reason.TOKEN_SCOPE,
                Reason.LEDGER_EMPTY,
                Reason.CLAIM_INVALID,
                Reason.PARAMETER_INVALID,
                *ALWAYS,
            ),
        },
        openapi_extra=OPTIONAL,
    )
    def bundle(
        viewer: Annotated[Viewer, Depends(anybody)],
        ueid: Ueid,
        query: Annotated[schemas.BundleQuery, Query()],
    ) -> Response:
        """The passport bundle of one chip, which anybody can check offline (docs/bundle.md).

        For a UEID that the ledger has never seen it proves just that. A redacted one is for
        everybody.
        """
        data = node.bundle(parse_ueid(ueid), redacted=query.redacted, viewer=viewer)
        return Response(data, media_type=MEDIA_TYPE, headers=answers.NO_STORE)

    @routes.get(
        "/decisions",
        response_model=schemas.Decisions,
        responses=_LIFE,
        openapi_extra=REQUIRED,
    )
    def decisions(
        viewer: Annotated[Viewer, Depends(known)],
        query: Annotated[schemas.DecisionQuery, Query()],
    ) -> Response:
        """Decisions with their reasons and evidence digests, oldest first.

        To a holder those about the chips that it holds now.
        """
        ueid = None if query.ueid is None else parse_ueid(query.ueid)
        found = node.decisions(ueid, query.action, query.after, query.limit, viewer=viewer)
        return answers.page(found)

    return routes
