"""Chips, their custody histories, and decisions."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from starlette.responses import Response

from api import answers, schemas
from api.context import Context
from api.openapi import ALWAYS, problem_responses
from api.parameters import at_most_once, none_taken
from ledger.bundle.format import MEDIA_TYPE
from ledger.errors import Reason
from ledger.service.views import PassportFilter
from ledger.values import parse_ueid

_PAGE = problem_responses(Reason.PARAMETER_INVALID, *ALWAYS)
_ONE = problem_responses(
    Reason.CHIP_UNKNOWN, Reason.CLAIM_INVALID, Reason.PARAMETER_INVALID, *ALWAYS
)
Ueid = Annotated[str, Path(description="UEID in hexadecimal", examples=["01" + "5c" * 16])]


def router(context: Context) -> APIRouter:
    """Routes under /v1 that tell about chips."""
    routes = APIRouter(prefix="/v1", tags=["passports"], dependencies=[Depends(at_most_once)])
    node = context.node

    @routes.get("/devices", response_model=schemas.Passports, responses=_PAGE)
    def devices(query: Annotated[schemas.PassportQuery, Query()]) -> Response:
        """Passports, filtered and paged."""
        wanted = PassportFilter(
            state=query.state, holder=query.holder, country=query.country, model=query.model
        )
        return answers.page(node.passports(wanted, query.after, query.limit))

    @routes.get(
        "/devices/{ueid}",
        response_model=schemas.Passport,
        responses=_ONE,
        dependencies=[Depends(none_taken)],
    )
    def device(ueid: Ueid) -> Response:
        """The passport of one chip."""
        return answers.json(node.passport(parse_ueid(ueid)))

    @routes.get("/devices/{ueid}/history", response_model=schemas.History, responses=_ONE)
    def history(ueid: Ueid, query: Annotated[schemas.HistoryQuery, Query()]) -> Response:
        """The custody history of one chip, oldest entry first."""
        return answers.page(node.history(parse_ueid(ueid), query.after, query.limit))

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
                Reason.LEDGER_EMPTY, Reason.CLAIM_INVALID, Reason.PARAMETER_INVALID, *ALWAYS
            ),
        },
    )
    def bundle(ueid: Ueid, query: Annotated[schemas.BundleQuery, Query()]) -> Response:
        """The passport bundle of one chip, which anybody can check offline (docs/bundle.md).

        For a UEID that the ledger has never seen it proves just that.
        """
        data = node.bundle(parse_ueid(ueid), redacted=query.redacted)
        return Response(data, media_type=MEDIA_TYPE, headers=answers.NO_CACHE)

    @routes.get(
        "/decisions",
        response_model=schemas.Decisions,
        responses=problem_responses(
            Reason.PARAMETER_INVALID, Reason.CLAIM_INVALID, Reason.CHIP_UNKNOWN, *ALWAYS
        ),
    )
    def decisions(query: Annotated[schemas.DecisionQuery, Query()]) -> Response:
        """Decisions with their reasons and evidence digests, oldest first."""
        ueid = None if query.ueid is None else parse_ueid(query.ueid)
        return answers.page(node.decisions(ueid, query.action, query.after, query.limit))

    return routes
