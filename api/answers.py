"""Small answers that the routes share."""

import zlib
from collections.abc import Mapping
from hashlib import sha256
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from api import negotiation
from api.outcomes import dump
from ledger.service.views import Page

IMMUTABLE = {"Cache-Control": "public, max-age=31536000, immutable"}
NO_CACHE = {"Cache-Control": "no-cache"}
NO_STORE = {"Cache-Control": "no-store"}
"""For whatever may show where a chip is."""


def json(value: Any, *, status: int = 200) -> Response:
    """Compact JSON that no cache keeps."""
    return Response(
        dump(value), status_code=status, media_type="application/json", headers=NO_STORE
    )


def page(found: Page) -> Response:
    """A page: ``{"items": [...], "next": text or null}``."""
    return json({"items": found.items, "next": found.next})


def whole(
    request: Request,
    body: bytes,
    media_type: str,
    caching: Mapping[str, str],
    *,
    gzip: bool = False,
) -> Response:
    """Bytes with an entity tag: 304 without them where the client holds them already.

    ``gzip`` compresses them for clients that take it; caches are told to keep both forms apart.
    """
    headers = {**caching, "Vary": "Accept-Encoding"} if gzip else dict(caching)
    tag = sha256(body).hexdigest()[:32]
    if gzip and negotiation.takes_gzip(request.headers.getlist("accept-encoding")):
        tag += f"-{negotiation.GZIP}"
        headers["Content-Encoding"] = negotiation.GZIP
    headers["ETag"] = f'"{tag}"'
    if negotiation.holds(request.headers.getlist("if-none-match"), headers["ETag"]):
        headers.pop("Content-Encoding", None)
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    content = _compressed(body) if "Content-Encoding" in headers else body
    return Response(content, media_type=media_type, headers=headers)


def _compressed(body: bytes) -> bytes:
    """In gzip's form (RFC 1952) without a time, so that the same bytes give the same answer."""
    packer = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    return packer.compress(body) + packer.flush()
