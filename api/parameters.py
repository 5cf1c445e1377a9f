"""Query parameters that a route cannot mean: unknown ones, and one given twice."""

from starlette.requests import Request

from ledger.errors import Reason, Refused

_SHOWN = 100


async def none_taken(request: Request) -> None:
    """The route has no parameters. Answered all the same, a misspelt question would mislead."""
    for name, _ in request.query_params.multi_items():
        raise Refused(
            Reason.PARAMETER_INVALID, "there are no parameters here", field=name[:_SHOWN] or None
        )


async def at_most_once(request: Request) -> None:
    """Of two values one would be passed over in silence."""
    seen: set[str] = set()
    for name, _ in request.query_params.multi_items():
        if name in seen:
            raise Refused(
                Reason.PARAMETER_INVALID, "it is given twice", field=name[:_SHOWN] or None
            )
        seen.add(name)
