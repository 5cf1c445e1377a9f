"""The app without a socket, and ledgers that behave as a test wants."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from api.app import create_app
from api.settings import ServiceSettings

COSE, CBOR_SEQ = "application/cose", "application/cbor-seq"
PROBLEM = "application/problem+json"


class Http:
    """Synchronous requests to an app in this process."""

    def __init__(self, runner: asyncio.Runner, app: Any) -> None:
        self.app = app
        self._runner = runner
        self._client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")

    def get(self, path: str, **arguments: Any) -> httpx.Response:
        return self.request("GET", path, **arguments)

    def post(self, path: str, content: Any, media: str) -> httpx.Response:
        return self.request("POST", path, content=content, headers={"Content-Type": media})

    def request(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        return self._runner.run(self._client.request(method, path, **arguments))

    def together(self, *calls: Callable[[httpx.AsyncClient], Any]) -> list[Any]:
        """Run several coroutines of the client at the same time."""

        async def all_of_them() -> list[Any]:
            return await asyncio.gather(*(call(self._client) for call in calls))

        return self._runner.run(all_of_them())


@contextmanager
def serving(node: Any, *, real_time: Any = None, **settings: Any) -> Iterator[Http]:
    """An app over ``node``; open to everybody unless told otherwise."""
    limits = ServiceSettings(**{"access": "open", **settings})
    with asyncio.Runner() as runner:
        yield Http(runner, create_app(node, settings=limits, real_time=real_time))


class Altered:
    """A ledger with some methods replaced: ``Altered(node, submit=boom)``."""

    def __init__(self, node: Any, **methods: Callable[..., Any]) -> None:
        self._node = node
        self.__dict__.update(methods)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._node, name)


def assert_problem(response: httpx.Response, status: int, reason: str) -> dict[str, Any]:
    """A problem document with exactly the members of the contract, at least."""
    problem = response.json()
    assert response.headers["content-type"] == PROBLEM, response.text
    assert (response.status_code, problem["reason"]) == (status, reason), problem
    assert problem["status"] == status
    assert problem["type"] == f"/problems/{reason}"
    assert problem["instance"] == response.request.url.path
    assert problem["title"]
    assert problem["remedy"]
    assert problem["detail"]
    assert "field" in problem
    return problem
