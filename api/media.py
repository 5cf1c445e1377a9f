"""Request bodies: content types, size and time limits, and a bound on what is held at once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from starlette.requests import ClientDisconnect, Request

from api import negotiation
from ledger.errors import Reason, Refused

COSE = "application/cose"
CBOR_SEQ = "application/cbor-seq"
JSON = "application/json"
TEXT = "text/plain"


def content_type(request: Request, allowed: tuple[str, ...]) -> str:
    """The request's media type without parameters; refuses others and compressed bodies."""
    headers = request.headers
    named = headers.getlist("content-type")
    media = named[0].partition(";")[0].strip().lower() if len(named) == 1 else ""
    if media not in allowed:
        raise Refused(Reason.MEDIA_TYPE, f"send {' or '.join(allowed)}", field="Content-Type")
    if headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise Refused(Reason.MEDIA_TYPE, "send it uncompressed", field="Content-Encoding")
    if headers.get("transfer-encoding", "chunked").strip().lower() != "chunked":
        raise Refused(Reason.MEDIA_TYPE, "send it uncompressed", field="Transfer-Encoding")
    return media


def accepts(request: Request, media: str) -> bool:
    """Whether the client wants ``media`` by its name in Accept (wildcards do not count)."""
    return negotiation.names(request.headers.getlist("accept"), media)


class UploadEnded(Refused):
    """A body that we wait for no longer; its connection is of no more use."""


PATIENCE_S = 1.0
"""How long an upload keeps its memory for certain. A body of an honest client arrives in less."""


@dataclass(eq=False, slots=True)
class _Upload:
    """A body on its way in: when it began, what it holds, and the timer that ends it."""

    began: float
    timer: asyncio.Timeout
    held: int = 0
    evicted: bool = False


class Uploads:
    """Reads bodies within limits. One per app; used from its event loop only.

    Where the memory is full, the oldest upload that is still incomplete gives its share to the
    newest: otherwise a few clients that send all but their last byte would shut out everybody.
    """

    def __init__(self, *, max_held: int, timeout_s: float, patience_s: float = PATIENCE_S) -> None:
        self._max_held = max_held
        self._timeout_s = timeout_s
        self._patience_s = patience_s
        self._incomplete: dict[_Upload, None] = {}
        """Oldest first."""
        self.held = 0
        """Bytes of request bodies in memory now."""

    @asynccontextmanager
    async def body(self, request: Request, limit: int) -> AsyncIterator[bytes]:
        """The whole body, counted as held until the block ends.

        Refuses more than ``limit`` bytes (TOO_LARGE: by Content-Length before anything is read,
        then while it arrives), bodies that take too long (UPLOAD_TIMEOUT), and those that would
        exceed what the service holds at once (BUSY).
        """
        _check_length(request.headers.get("content-length"), limit)
        upload = _Upload(asyncio.get_running_loop().time(), asyncio.timeout(self._timeout_s))
        try:
            yield await self._read(request, limit, upload)
        finally:
            self.held -= upload.held

    async def _read(self, request: Request, limit: int, upload: _Upload) -> bytes:
        data = bytearray()
        self._incomplete[upload] = None
        try:
            async with upload.timer:
                async for chunk in request.stream():
                    if len(data) + len(chunk) > limit:
                        raise _too_large(limit)
                    self._hold(len(chunk), upload)
                    data += chunk
            return bytes(data)
        except TimeoutError:
            detail = f"the body did not arrive within {self._timeout_s:g} s"
            if upload.evicted:
                detail = "the body was slow to arrive, and others needed its place"
            raise UploadEnded(Reason.UPLOAD_TIMEOUT, detail) from None
        except ClientDisconnect:
            # Nobody is left to read the answer; the refusal only ends the request in order.
            raise UploadEnded(Reason.UPLOAD_TIMEOUT, "the upload was abandoned") from None
        finally:
            self._incomplete.pop(upload, None)

    def _hold(self, size: int, upload: _Upload) -> None:
        """Count ``size`` more bytes for ``upload``; BUSY where no room can be made for them."""
        now = asyncio.get_running_loop().time()
        while not upload.evicted and self.held + size > self._max_held:
            oldest = next(iter(self._incomplete))
            if oldest is upload or now - oldest.began < self._patience_s:
                raise Refused(Reason.BUSY, "too many uploads are being held")
            self._evict(oldest, now)
        if not upload.evicted:
            upload.held += size
            self.held += size

    def _evict(self, upload: _Upload, now: float) -> None:
        """Take an upload's share; its own task ends it at its next step."""
        del self._incomplete[upload]
        upload.evicted = True
        self.held -= upload.held
        upload.held = 0
        if not upload.timer.expired():
            upload.timer.reschedule(now)


def _check_length(declared: str | None, limit: int) -> None:
    # A header that is no number is left to the server's own HTTP parser.
    known = declared is not None and declared.isascii() and declared.isdigit()
    if known and (len(declared or "") > 18 or int(declared or 0) > limit):
        raise _too_large(limit)


def _too_large(limit: int) -> Refused:
    return Refused(Reason.TOO_LARGE, f"at most {limit} bytes are taken here")
