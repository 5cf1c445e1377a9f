"""The one factory of the HTTP service. Nothing is opened or started by importing it."""

from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import anyio.to_thread
from fastapi import FastAPI

from api import handlers, openapi
from api.context import Context
from api.metrics import Metrics
from api.routes import about, cosignatures, entries, health, ingest, log, pages, passports
from api.settings import ServiceSettings
from ledger.log.cosignature import CosignatureVerifier
from ledger.service.clock import Clock, SystemClock
from ledger.service.node import Node

API_VERSION = "1.0"
SUMMARY = "A verifiable custody ledger for AI accelerators."
_DESCRIPTION = """\
Every message is a COSE_Sign1 token (RFC 9052) over deterministic CBOR; every refusal is a problem
document (RFC 9457) with a `reason` from a documented list and a `remedy`. Times ending in `_ms`
are milliseconds since 1970-01-01T00:00:00Z."""


def create_app(
    node: Node,
    *,
    settings: ServiceSettings | None = None,
    on_fatal: Callable[[BaseException], None] | None = None,
    real_time: Clock | None = None,
    auditors: Sequence[CosignatureVerifier] = (),
) -> FastAPI:
    """The HTTP service over ``node``, which stays the caller's to open, tick and close.

    ``on_fatal`` is told once stored data contradicts itself: the caller has to stop serving.
    Access tokens expire by ``real_time``, by default the machine's. Cosignatures are taken of
    ``auditors``.
    """
    limits = settings or ServiceSettings()
    context = Context(
        node,
        limits,
        Metrics(node),
        on_fatal or _ignore,
        real_time or SystemClock(),
        tuple(auditors),
    )
    workers = ingest.Workers(
        singles=ThreadPoolExecutor(2, "ingest"),
        batches=ThreadPoolExecutor(limits.batch_workers, "batch"),
    )
    app = FastAPI(
        title="Chip Passport",
        summary=SUMMARY,
        description=_DESCRIPTION,
        version=API_VERSION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan(limits, workers),
    )
    app.router.routes.extend(ingest.routes(context, workers))
    for part in (about, passports, entries, log, cosignatures, health):
        app.include_router(part.router(context))
    app.include_router(pages.router(lambda: app.openapi()))
    app.state.metrics = context.metrics
    handlers.install(app, context)
    openapi.install(app)
    return app


def _lifespan(
    limits: ServiceSettings, workers: ingest.Workers
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = limits.read_workers
        try:
            yield
        finally:
            workers.singles.shutdown()
            workers.batches.shutdown()

    return lifespan


def _ignore(_error: BaseException) -> None:
    """Nobody wants to be told."""
