"""How every fault becomes a problem document: the app's exception handlers and its outer edge."""

from http import HTTPStatus
from typing import Any
from weakref import WeakSet

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import problems
from api.access import depends_on_token
from api.context import Context
from api.logs import place
from api.media import UploadEnded
from ledger.errors import IntegrityError, Reason, Refused, StorageError

_UNCOUNTED = frozenset({"/healthz", "/readyz", "/metrics"})
"""What an operator has to reach when the service is busy."""

_log = structlog.get_logger("api")


def install(app: FastAPI, context: Context) -> None:
    """Give ``app`` a problem document for every fault."""
    retry = context.settings.retry_after_s
    told: WeakSet[Exception] = WeakSet()

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, Refused)  # noqa: S101  (registered for this type)
        close = isinstance(error, UploadEnded)
        return problems.of_refused(error, request.url.path, retry_after_s=retry, close=close)

    async def storage(request: Request, error: Exception) -> Response:
        # One fault fails every post that shared the write; the operator reads it once. Its words
        # come from the database's driver, without the statement and its values.
        if error not in told:
            told.add(error)
            _log.error("storage fault", detail=str(error), path=request.url.path)
        refusal = Refused(Reason.STORAGE, "the write was not carried out and nothing was kept")
        return problems.of_refused(refusal, request.url.path, retry_after_s=retry)

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101
        return problems.of_refused(validation_refusal(error.errors()), request.url.path)

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101
        return _of_http(error, request)

    app.add_exception_handler(Refused, refused)
    app.add_exception_handler(StorageError, storage)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_middleware(Edge, context=context)


def validation_refusal(errors: Any) -> Refused:
    """The first fault that pydantic found, in our words, without echoing the value."""
    first = errors[0]
    path = [str(part) for part in first["loc"] if part not in ("query", "path", "body")]
    return Refused(
        Reason.PARAMETER_INVALID, str(first["msg"])[:200], field=".".join(path)[:100] or None
    )


def _of_http(error: HTTPException, request: Request) -> Response:
    """The framework's own refusals: no such route, or not with this method."""
    path = request.url.path
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        detail = f"{request.method[:20]} is not possible here"
        body = problems.document(Reason.METHOD_NOT_ALLOWED, detail, path)
        return problems.response(body, {"Allow": _allowed(error)})
    if error.status_code == HTTPStatus.NOT_FOUND:
        return problems.response(problems.document(Reason.NOT_FOUND, "no such address", path))
    body = problems.document(Reason.PARAMETER_INVALID, "the request cannot be read", path)
    return problems.response(body)


def _allowed(error: HTTPException) -> str:
    """The methods of an address; whatever is read by GET has HEAD as well."""
    named = (error.headers or {}).get("Allow", "").replace(" ", "").split(",")
    return ", ".join(sorted({*named, "HEAD"} if "GET" in named else set(named)))


class Edge:
    """Outermost ASGI layer: bounds the requests in flight, and catches what nothing else did.

    A request is in flight from the arrival of its last byte to the first byte of its answer:
    clients that are slow to send or to read take nobody's place.

    A fault of ours is answered with a problem document and logged by its class only, since its
    text may quote the request. Stored data that contradicts itself stops the service.
    """

    def __init__(self, app: ASGIApp, context: Context) -> None:
        self._app = app
        self._context = context
        self._in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["method"] == "HEAD":
            scope, send = {**scope, "method": "GET"}, _headers_only(send)
        if scope["path"].endswith("\n"):
            # A route's pattern ends in "$", which matches before a last newline too: "/v1/clock%0A"
            # would pass a proxy that keeps "/v1/clock" closed.
            nowhere = problems.document(Reason.NOT_FOUND, "no such address", scope["path"])
            await problems.response(nowhere)(scope, receive, send)
            return
        if scope["path"] in _UNCOUNTED:
            await self._guarded(scope, receive, send)
            return
        seat = _Seat(self)
        if scope["method"] == "GET":
            try:
                seat.take()
            except Refused as refusal:
                await self._busy(refusal, scope, receive, send)
                return
        else:
            receive = seat.taken_with(receive)
        try:
            await self._guarded(scope, receive, seat.left_with(send))
        finally:
            seat.leave()

    def enter(self) -> None:
        """One request more; refused with BUSY where they are too many."""
        if self._in_flight >= self._context.settings.max_requests:
            self._context.metrics.busy.inc()
            raise Refused(Reason.BUSY, "too many requests are being answered")
        self._count(1)

    def leave(self) -> None:
        """One request less."""
        self._count(-1)

    def _count(self, change: int) -> None:
        self._in_flight += change
        self._context.metrics.in_flight.set(self._in_flight)

    async def _busy(self, refusal: Refused, scope: Scope, receive: Receive, send: Send) -> None:
        retry = self._context.settings.retry_after_s
        answer = problems.of_refused(refusal, scope["path"], retry_after_s=retry)
        await answer(scope, receive, send)

    async def _guarded(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = False

        async def watched(message: Message) -> None:
            nonlocal began
            if message["type"] == "http.response.start":
                began = True
                if depends_on_token(scope):
                    MutableHeaders(scope=message).append("Vary", "Authorization")
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:
            name = type(error).__name__
            _log.error(
                "unexpected fault",
                error=name,
                at=place(error),
                method=scope["method"],
                path=scope["path"],
            )
            self._context.metrics.faults.labels(name).inc()
            if isinstance(error, IntegrityError):
                self._context.on_fatal(error)
            if not began:
                answer = problems.response(problems.internal_document(scope["path"]))
                await answer(scope, receive, send)


class _Seat:
    """One request's seat among those in flight."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self._taken = False

    def take(self) -> None:
        """Refused with BUSY where there is none."""
        if not self._taken:
            self._edge.enter()
            self._taken = True

    def leave(self) -> None:
        """Give it back, if it was taken."""
        if self._taken:
            self._taken = False
            self._edge.leave()

    def taken_with(self, receive: Receive) -> Receive:
        """``receive`` that takes the seat when the body is complete."""

        async def receiving() -> Message:
            message = await receive()
            if message["type"] == "http.request" and not message.get("more_body", False):
                self.take()
            return message

        return receiving

    def left_with(self, send: Send) -> Send:
        """``send`` that gives the seat back when the answer begins."""

        async def sending(message: Message) -> None:
            self.leave()
            await send(message)

        return sending


def _headers_only(send: Send) -> Send:
    """``send`` of an answer to HEAD: what GET would answer, without the body."""

    async def sending(message: Message) -> None:
        if message["type"] != "http.response.body":
            await send(message)
        elif not message.get("more_body", False):
            await send({"type": "http.response.body", "body": b""})

    return sending
