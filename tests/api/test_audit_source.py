"""What an auditor asks over HTTP: bounded, timed, tried again, and every answer looked at."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from api.audit_source import ATTEMPTS, HttpSource
from api.client import AnswerInvalid, ClientError, RequestRefused, ServiceUnavailable, Unreachable
from ledger.errors import ChipPassportError
from ledger.log.note import MAX_NOTE_SIZE
from ledger.service.audit.report import FaultFound

PROBLEM = {"content-type": "application/problem+json"}
REFUSAL = b'{"reason": "tile-unknown", "detail": "not there"}'


class Asked:
    """A source whose service answers as told, one answer after the other; the last one stays."""

    def __init__(self, *answers: httpx.Response | Exception, token: str | None = None) -> None:
        self.requests: list[httpx.Request] = []
        self.paused: list[float] = []
        self._answers = list(answers)
        transport = httpx.MockTransport(self._answer)
        self.source = HttpSource(
            "http://127.0.0.1", token, transport=transport, sleep=self.paused.append
        )

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self._answers[0] if len(self._answers) == 1 else self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        if not answer.is_stream_consumed:
            return answer
        # As it comes over a line: not read yet.
        content = iter([answer.content])
        return httpx.Response(answer.status_code, headers=answer.headers, content=content)


def ok(content: bytes, **headers: str) -> httpx.Response:
    return httpx.Response(200, content=content, headers=headers)


def test_requests_are_those_of_the_read_api() -> None:
    asked = Asked(ok(b"\xf6\x41a"), token="cpt_x")
    assert asked.source.statements(7, 2) == [None, b"a"]
    assert asked.source.tile(1, 1_234, 5) == b"\xf6\x41a"
    assert asked.source.bundle(0, 256)
    assert asked.source.checkpoint()
    asked.source.submit(b"note")
    assert [(r.method, r.url.raw_path.decode()) for r in asked.requests] == [
        ("GET", "/v1/entries?start=7&limit=2"),
        ("GET", "/log/tile/1/x001/234.p/5"),
        ("GET", "/log/tile/entries/000"),
        ("GET", "/log/checkpoint"),
        ("POST", "/v1/cosignatures"),
    ]
    assert {request.headers["authorization"] for request in asked.requests} == {"Bearer cpt_x"}
    assert {request.headers["accept-encoding"] for request in asked.requests} == {"identity"}
    assert "authorization" not in _first_of(Asked(ok(b""))).headers


def _first_of(asked: Asked) -> httpx.Request:
    asked.source.checkpoint()
    return asked.requests[0]


def test_what_is_not_there_is_none() -> None:
    asked = Asked(httpx.Response(404, content=REFUSAL, headers=PROBLEM))
    assert asked.source.tile(0, 0, 256) is None
    assert asked.source.bundle(0, 256) is None
    with pytest.raises(RequestRefused, match="tile-unknown"):
        asked.source.checkpoint()


@pytest.mark.parametrize(
    ("call", "limit", "place"),
    [
        (HttpSource.checkpoint, MAX_NOTE_SIZE, "checkpoint"),
        (lambda source: source.tile(0, 7, 256), 8_192, "tile 0/7"),
        (lambda source: source.bundle(7, 256), 256 * 65_537, "entry bundle 7"),
        (lambda source: source.statements(7, 9), (1 << 20) + 32_776, "entry 7, statement"),
    ],
)
def test_answer_that_is_too_large_is_not_read(
    call: Callable[[HttpSource], Any], limit: int, place: str
) -> None:
    read: list[int] = []

    def endless() -> Iterator[bytes]:
        while True:
            read.append(1)
            yield bytes(65_536)

    asked = Asked(httpx.Response(200, content=endless()))
    with pytest.raises(FaultFound, match=f"more than {limit} bytes") as found:
        call(asked.source)
    assert found.value.fault.place == place
    assert len(read) <= limit // 65_536 + 2


def test_answer_that_comes_drop_by_drop_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(0, 1_000, 7))
    monkeypatch.setattr("api.audit_source.time.monotonic", lambda: next(now))
    asked = Asked(httpx.Response(200, content=(b"x" for _ in range(100))))
    with pytest.raises(Unreachable, match="more than 60 s"):
        asked.source.checkpoint()
    assert len(asked.requests) == 1


def test_compressed_answer_is_a_fault() -> None:
    asked = Asked(ok(b"", **{"content-encoding": "gzip"}))
    with pytest.raises(FaultFound, match="compressed"):
        asked.source.tile(0, 0, 256)


def test_statements_of_another_form_are_a_fault() -> None:
    for answer in (b"\x42a", b"\xf6\xf6\xf6", b"{}"):
        with pytest.raises(FaultFound, match="malformed") as found:
            Asked(ok(answer)).source.statements(3, 2)
        assert found.value.fault.place == "entry 3, statement"


def test_busy_service_is_asked_again_as_it_says() -> None:
    busy = httpx.Response(503, headers={"retry-after": "3"})
    asked = Asked(busy, httpx.Response(429), httpx.ConnectError("gone"), ok(b"x"))
    assert asked.source.checkpoint() == b"x"
    assert asked.paused == [3.0, 0.4, 0.8]


def test_service_that_never_answers_is_given_up() -> None:
    asked = Asked(httpx.ConnectError("refused"))
    with pytest.raises(Unreachable, match="refused"):
        asked.source.checkpoint()
    assert len(asked.requests) == ATTEMPTS
    failing = Asked(httpx.Response(503, content=REFUSAL, headers=PROBLEM))
    with pytest.raises(ServiceUnavailable):
        failing.source.checkpoint()


def test_submission_is_not_sent_twice_where_its_fate_is_unknown() -> None:
    asked = Asked(httpx.ReadTimeout("slow"))
    with pytest.raises(Unreachable):
        asked.source.submit(b"note")
    assert len(asked.requests) == 1


@pytest.mark.parametrize("status", [204, 302, 400, 404, 500])
def test_other_answers_are_said_to_be_none_of_a_ledger(status: int) -> None:
    asked = Asked(httpx.Response(status, content=b"<html>"))
    if status == 204:
        assert asked.source.checkpoint() == b"<html>"  # which is then looked at
        return
    with pytest.raises(AnswerInvalid, match=str(status)):
        asked.source.checkpoint()


@pytest.mark.parametrize("url", ["", "ftp://x", "http://", "x", "http://[::1"])
def test_address_that_is_none(url: str) -> None:
    with pytest.raises(ClientError):
        HttpSource(url)


@given(
    status=some.sampled_from([200, 201, 204, 301, 400, 401, 404, 429, 500, 503]),
    content=some.binary(max_size=300),
    kind=some.sampled_from(["application/problem+json", "application/cbor-seq", ""]),
    again=some.text(alphabet="0123456789abc.-", max_size=4),
)
@settings(deadline=None)
def test_any_answer_is_a_value_or_an_error_of_ours(
    status: int, content: bytes, kind: str, again: str
) -> None:
    headers = {"content-type": kind, "retry-after": again}
    calls: list[Callable[[HttpSource], Any]] = [
        HttpSource.checkpoint,
        lambda source: source.tile(0, 0, 1),
        lambda source: source.bundle(0, 1),
        lambda source: source.statements(0, 3),
        lambda source: source.submit(b"note"),
    ]
    for call in calls:
        asked = Asked(httpx.Response(status, content=content, headers=headers))
        with contextlib.suppress(ChipPassportError):
            call(asked.source)


@pytest.mark.parametrize("url", ["http://ledger.example", "https://name:word@ledger.example"])
def test_a_token_is_not_sent_where_others_can_read_it(url: str) -> None:
    with pytest.raises(ClientError, match="access token"):
        HttpSource(url, "cpt_x")
    HttpSource(url).close()


@pytest.mark.parametrize("url", ["https://ledger.example", "http://127.0.0.1", "http://localhost"])
def test_a_token_is_sent_where_they_cannot(url: str) -> None:
    HttpSource(url, "cpt_x").close()
