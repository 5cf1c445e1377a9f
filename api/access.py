"""Who asks: from a request's bearer token (RFC 6750) to the role that decides what is shown.

A token that is no good is refused, and its bearer never taken for the public instead: whoever
sends one believes that it counts.
"""

import re
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.types import Scope

from api.context import Context
from ledger.errors import Reason, Refused
from ledger.service.access import require_known
from ledger.service.viewer import EVERYBODY, OPEN, Viewer

SCHEME = "bearer"
_BEARER = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] +([\x21-\x7e]+)")
_DEPENDS = "depends_on_token"

OPTIONAL: dict[str, Any] = {"security": [{}, {SCHEME: []}]}
REQUIRED: dict[str, Any] = {"security": [{SCHEME: []}]}
"""What the OpenAPI document says of a route (``openapi_extra``)."""
SECURITY_SCHEMES = {
    SCHEME: {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "cpt_<id>_<secret>",
        "description": "Made with `chip-passport token create`. A service with open access needs "
        "none; a token that is no good is refused there too.",
    }
}
ANY_TOKEN = (Reason.TOKEN_INVALID,)
"""What a route that looks at tokens may answer."""
NEEDS_TOKEN = (*ANY_TOKEN, Reason.TOKEN_REQUIRED)


def viewer_of(context: Context) -> Callable[[Request], Viewer]:
    """A dependency that tells who asks. Refused (TOKEN_INVALID) with a token that is no good."""
    is_open = context.settings.access == "open"

    def viewer(request: Request) -> Viewer:
        setattr(request.state, _DEPENDS, True)
        values = request.headers.getlist("authorization")
        if not values:
            return OPEN if is_open else EVERYBODY
        found = context.node.viewer(_token(values), context.real_time.now_ms())
        return OPEN if is_open else found

    return viewer


def known_viewer_of(context: Context) -> Callable[[Request], Viewer]:
    """Like ``viewer_of``, and the public is refused (TOKEN_REQUIRED) before anything is read."""
    find = viewer_of(context)

    def viewer(request: Request) -> Viewer:
        found = find(request)
        require_known(found)
        return found

    return viewer


def depends_on_token(scope: Scope) -> bool:
    """Whether the answer to this request may be another with another token."""
    return _DEPENDS in scope.get("state", {})


def _token(values: list[str]) -> str:
    match = _BEARER.fullmatch(values[0]) if len(values) == 1 else None
    if match is None:
        raise Refused(Reason.TOKEN_INVALID, "send one header, Authorization: Bearer and the token")
    return match[1]
