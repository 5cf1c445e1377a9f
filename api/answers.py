"""Small answers that the routes share."""

from typing import Any

from starlette.responses import Response

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
