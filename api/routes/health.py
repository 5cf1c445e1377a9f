"""Liveness, readiness and metrics."""

from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from api import answers, schemas
from api.context import Context
from api.metrics import CONTENT_TYPE
from api.openapi import problem_responses
from ledger.errors import Reason, Refused

_METRICS: dict[str, Any] = {
    "text/plain": {"schema": {"type": "string"}, "example": "chip_passport_log_size 1024.0\n"}
}


class _Text(Response):
    media_type = "text/plain"


def router(context: Context) -> APIRouter:
    """What operators and their tools ask for."""
    routes = APIRouter(tags=["operation"])
    node = context.node

    @routes.get("/healthz", response_model=schemas.Health)
    async def healthz() -> Response:
        """The process answers. Says nothing of the ledger."""
        return answers.json({"status": "ok"})

    @routes.get(
        "/readyz", response_model=schemas.Health, responses=problem_responses(Reason.STORAGE)
    )
    def readyz() -> Response:
        """The store is open and the service can take messages."""
        obstacle = node.ready()
        if obstacle is not None:
            raise Refused(Reason.STORAGE, obstacle)
        waiting = node.status().origin is None
        return answers.json({"status": "awaiting genesis" if waiting else "ready"})

    @routes.get("/metrics", response_class=_Text, responses={200: {"content": _METRICS}})
    def metrics() -> Response:
        """Prometheus metrics."""
        return Response(context.metrics.render(), headers={"Content-Type": CONTENT_TYPE})

    return routes
