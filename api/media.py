"""Request bodies: content types, size and time limits, and a bound on what is held at once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import ClientDisconnect, Request

from ledger.errors import Reason, Refused

COSE = "application/cose"
CBOR_SEQ = "application/cbor-seq"
JSON = "application/json"


def content_type(request: Request, allowed: tuple[str, ...]) -> str:
    """The request's media type without parameters; refuses others and compressed bodies."""
    headers = request.headers
    media = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media not in allowed:
        raise Refused(Reason.MEDIA_TYPE, f"send {' or '.join(allowed)}", field="Content-Type")
    if headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise Refused(Reason.MEDIA_TYPE, "send it uncompressed", field="Content-Encoding")
    return media


def accepts(request: Request, media: str) -> bool:
    """Whether the client named ``media`` in Accept (wildcards do not count)."""
    ranges = request.headers.get("accept", "").lower().split(",")
    return any(part.partition(";")[0].strip() == media for part in ranges)


class UploadEnded(Refused):
    """A body that we wait for no longer; its connection is of no more use."""


class Uploads:
    """Reads bodies within limits. One per app; used from its event loop only."""

    def __init__(self, *, max_held: int, timeout_s: float) -> None:
        self._max_held = max_held
        self._timeout_s = timeout_s
        self.held = 0
        """Bytes of request bodies in memory now."""

    @asynccontextmanager
    async def body(self, request: Request, limit: int) -> AsyncIterator[bytes]:
        """The whole body, counted as held until the block ends.

        Refuses more than ``limit`` bytes (TOO_LARGE: by Content-Length before anything is read,
        then while it arrives) and bodies that take too long or would exceed what the service
        holds at once (BUSY).
        """
        _check_length(request.headers.get("content-length"), limit)
        data = bytearray()
        try:
            await self._read(request, limit, data)
            yield bytes(data)
        finally:
            self.held -= len(data)

    async def _read(self, request: Request, limit: int, data: bytearray) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                async for chunk in request.stream():
                    if len(data) + len(chunk) > limit:
                        raise _too_large(limit)
                    if self.held + len(chunk) > self._max_held:
                        raise Refused(Reason.BUSY, "too many uploads are being held")
                    data += chunk
                    self.held += len(chunk)
        except TimeoutError:
            detail = f"the body did not arrive within {self._timeout_s:g} s"
            raise UploadEnded(Reason.BUSY, detail) from None
        except ClientDisconnect:
            # Nobody is left to read the answer; the refusal only ends the request in order.
            raise UploadEnded(Reason.BUSY, "the upload was abandoned") from None


def _check_length(declared: str | None, limit: int) -> None:
    # A header that is no number is left to the server's own HTTP parser.
    known = declared is not None and declared.isascii() and declared.isdigit()
    if known and (len(declared or "") > 18 or int(declared or 0) > limit):
        raise _too_large(limit)


def _too_large(limit: int) -> Refused:
    return Refused(Reason.TOO_LARGE, f"at most {limit} bytes are taken here")
