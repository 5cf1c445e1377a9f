"""The OpenAPI document: complete, exemplified, and true to the routes."""

import re
from typing import Any

import pytest
from starlette.routing import Route

from api import schemas
from tests.api.harness import COSE, Http

_UNLISTED = {("HEAD", "/openapi.json"), ("GET", "/openapi.json")}


def served(app: Any) -> set[tuple[str, str]]:
    """Every (method, path) that the app answers."""
    found = {
        (method, re.sub(r":path}", "}", route.path))
        for route in _flat(app.routes)
        for method in route.methods or ()
    }
    return found - _UNLISTED


def _flat(routes: Any) -> list[Route]:
    flat = []
    for route in routes:
        if isinstance(route, Route):
            flat.append(route)
        else:
            flat += _flat(
                route.routes if hasattr(route, "routes") else route.original_router.routes
            )
    return flat


@pytest.fixture
def document(http: Http) -> dict[str, Any]:
    return http.get("/openapi.json").json()


def operations(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (method.upper(), path): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def test_the_document_lists_exactly_the_served_routes(http: Http, document: dict[str, Any]):
    assert set(operations(document)) == served(http.app)


def test_every_operation_says_what_it_does_and_what_it_answers(document: dict[str, Any]):
    for where, operation in operations(document).items():
        assert operation.get("description"), where
        responses = operation["responses"]
        assert any(status.startswith("2") for status in responses), where
        for status, answer in responses.items():
            assert answer["description"], (where, status)
            if status[0] in "45":
                content = answer["content"]["application/problem+json"]
                assert content["schema"]["$ref"].endswith("/Problem"), (where, status)
                assert content["example"]["status"] == int(status), (where, status)


def test_every_reference_of_the_document_resolves(document: dict[str, Any]):
    known = document["components"]["schemas"]
    used = set(re.findall(r"#/components/schemas/(\w+)", str(document)))
    assert used <= set(known)
    assert set(known) <= used | {"Problem"}


def test_every_request_and_answer_of_ours_has_an_example(document: dict[str, Any]):
    models = document["components"]["schemas"]
    for where, operation in operations(document).items():
        contents = [operation.get("requestBody", {})]
        contents += [a for s, a in operation["responses"].items() if s.startswith("2")]
        for content in contents:
            for media, body in content.get("content", {}).items():
                name = _model_of(body.get("schema", {}))
                shown = "example" in body or "examples" in models.get(name, {})
                assert shown or media in ("text/html",), (where, media)


def _model_of(schema: dict[str, Any]) -> str:
    first = schema.get("items") or next(iter(schema.get("anyOf", ())), schema)
    return first.get("$ref", "").rpartition("/")[2]


@pytest.mark.parametrize(
    "model", [value for value in vars(schemas).values() if isinstance(value, type)]
)
def test_the_example_of_a_schema_fits_it(model: Any):
    extra = getattr(model, "model_config", {}).get("json_schema_extra") or {}
    for example in extra.get("examples", ()):
        model.model_validate(example)


def test_the_index_links_the_document_and_loads_nothing(http: Http):
    page = http.get("/")
    assert page.status_code == 200
    assert 'href="/openapi.json"' in page.text
    assert "<script" not in page.text
    assert not re.search(r"(src|href)=\"(https?:)?//", page.text)
    assert "default-src 'none'" in page.headers["content-security-policy"]
    for path in ("/v1/heartbeats", "/v1/devices/{ueid}/history", "/metrics"):
        assert path in page.text
    assert http.get("/docs").status_code == 404


def test_the_signed_epoch_statement_comes_as_bytes_when_asked_for(http: Http, document: Any):
    content = document["paths"]["/v1/epoch"]["get"]["responses"]["200"]["content"]
    assert set(content) == {"application/json", COSE}
