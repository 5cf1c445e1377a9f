"""What a browser meets first: an index of the routes, and what each reason code means."""

from collections.abc import Callable
from html import escape
from typing import Annotated, Any

from fastapi import APIRouter, Path
from starlette.responses import HTMLResponse, Response

from api import answers, problems, schemas
from api.openapi import problem_responses
from ledger.errors import Reason, Refused

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 1rem/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem;
  padding: 0 1rem; color: #1a1a1a; background: #fff; }}
td, th {{ padding: .25rem .75rem .25rem 0; text-align: left; vertical-align: top; }}
code {{ font-family: ui-monospace, monospace; }}
@media (prefers-color-scheme: dark) {{ body {{ color: #eee; background: #161616; }}
  a {{ color: #8ab4f8; }} }}
</style>
<h1>{title}</h1>
<p>{summary} <a href="/openapi.json">OpenAPI document</a>, <a href="/problems">problems</a>.</p>
<table>
<thead><tr><th scope="col">Method</th><th scope="col">Address</th><th scope="col">What</th></tr>
</thead>
<tbody>
{rows}
</tbody>
</table>
</html>
"""


def router(openapi: Callable[[], dict[str, Any]]) -> APIRouter:
    """Index and problem descriptions."""
    routes = APIRouter(tags=["operation"])

    @routes.get("/", response_class=HTMLResponse)
    def index() -> Response:
        """A list of the routes for people; loads nothing else."""
        return HTMLResponse(
            _index(openapi()), headers={"Content-Security-Policy": _POLICY, **answers.NO_CACHE}
        )

    @routes.get("/problems", response_model=list[schemas.ProblemInfo])
    def all_problems() -> Response:
        """Every reason code with its status, meaning and remedy."""
        return answers.json(problems.descriptions())

    @routes.get(
        "/problems/{code}",
        response_model=schemas.ProblemInfo,
        responses=problem_responses(Reason.NOT_FOUND),
    )
    def problem(
        code: Annotated[str, Path(description="Reason code", examples=["signature-invalid"])],
    ) -> Response:
        """What one reason code means."""
        for known in problems.descriptions():
            if known["reason"] == code:
                return answers.json(known)
        raise Refused(Reason.NOT_FOUND, "no such reason code", field="code")

    return routes


def _index(document: dict[str, Any]) -> str:
    rows = [
        _row(method.upper(), path, operation)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if path != "/"
    ]
    info = document["info"]
    return _PAGE.format(
        title=escape(info["title"]), summary=escape(info["summary"]), rows="\n".join(rows)
    )


def _row(method: str, path: str, operation: dict[str, Any]) -> str:
    shown = f"<code>{escape(path)}</code>"
    if method == "GET" and "{" not in path:
        shown = f'<a href="{escape(path)}">{shown}</a>'
    what = operation.get("description", operation["summary"]).partition("\n")[0]
    return f"<tr><td>{method}</td><td>{shown}</td><td>{escape(what)}</td></tr>"
