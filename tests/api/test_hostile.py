"""Requests that mean harm: each gets one problem document in time, and nobody else notices."""

import contextlib
import json
import socket
from collections.abc import Iterator

import httpx
import pytest

from api.embedded import ServerThread
from api.settings import ServiceSettings
from api.wire import MAX_HEAD_BYTES
from tests.api.harness import PROBLEM

_END = b"Host: x\r\nConnection: close\r\n"
_POST = b"POST /v1/heartbeats HTTP/1.1\r\n" + _END + b"Content-Type: application/cose\r\n"
_CHUNKED = _POST + b"Transfer-Encoding: chunked\r\n\r\n"
_BODY = b"3\r\nabc\r\n"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerThread]:
    """A service over a ledger before its genesis; it waits so long that no timeout helps it."""
    from tests.api.conftest import open_node

    node = open_node(tmp_path_factory.mktemp("hostile"))
    with ServerThread(node, settings=ServiceSettings(upload_timeout_s=600)) as running:
        yield running
        text = httpx.get(running.url + "/metrics", trust_env=False).text
        assert "faults_total{error=" not in text
        assert "requests_in_flight 0.0" in text
    node.close()


def ask(service: ServerThread, sent: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the one answer before the connection ends."""
    port = int(service.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        with contextlib.suppress(OSError):  # it may stop to read before the end
            connection.sendall(sent)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := connection.recv(65_536):
                answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return int(first.split(" ")[1]), headers, body


def refused(service: ServerThread, sent: bytes, status: int) -> str:
    """The reason of the problem document that ``sent`` gets."""
    found, headers, body = ask(service, sent)
    assert (found, headers["content-type"]) == (status, PROBLEM), body
    problem = json.loads(body)
    assert problem["status"] == status
    return str(problem["reason"])


@pytest.mark.parametrize(
    "around",
    [
        _BODY + b"0\r\n" + b"X: y\r\n" * 200_000,
        _BODY + b"0\r\nX: " + b"a" * 1_000_000,
        b"3;x=" + b"a" * 1_000_000,
        b"0" * 1_000_000 + _BODY,
        (b"1;x=" + b"y" * 500 + b"\r\na\r\n") * 2_000,
    ],
    ids=["many trailers", "a long trailer", "a long extension", "a long number", "many extensions"],
)
def test_what_stands_around_a_body_is_bounded(service: ServerThread, around: bytes):
    assert refused(service, _CHUNKED + around, 413) == "too-large"


@pytest.mark.parametrize("trailer", [b"X: " + b"a" * 4_000_000, b"X: y\r\n" * 700_000])
def test_a_trailer_behind_an_answered_request_ends_the_connection(
    service: ServerThread, trailer: bytes
):
    head = b"GET /v1/ledger HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    port = int(service.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(head)
        answer = connection.recv(65_536)
        assert answer.startswith(b"HTTP/1.1 200 ")
        connection.sendall(_BODY + b"0\r\n")
        with contextlib.suppress(OSError):
            connection.sendall(trailer)
        with contextlib.suppress(ConnectionResetError):
            while piece := connection.recv(65_536):
                answer += piece
    assert answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    "body",
    [
        b"".join(b"1\r\na\r\n" for _ in range(2_000)) + b"0\r\n\r\n",
        b"00000003;name=value\r\nabc\r\n0\r\nX: y\r\n\r\n",
        _BODY + b"0\r\nX: " + b"a" * (MAX_HEAD_BYTES // 2) + b"\r\n\r\n",
    ],
    ids=["single bytes", "an extension", "a trailer"],
)
def test_a_body_in_odd_chunks_is_read(service: ServerThread, body: bytes):
    assert refused(service, _CHUNKED + body, 400) == "cose-malformed"


def test_a_large_body_in_many_chunks_is_read(service: ServerThread):
    head = _CHUNKED.replace(b"application/cose", b"application/cbor-seq")
    body = b"".join(b"400\r\n" + b"\xff" * 1_024 + b"\r\n" for _ in range(4_000)) + b"0\r\n\r\n"
    assert refused(service, head + body, 400) == "cbor-malformed"


def test_a_trailer_says_nothing_for_the_head(service: ServerThread):
    head = _CHUNKED.replace(b"Content-Type: application/cose\r\n", b"")
    trailer = b"0\r\nContent-Type: application/cose\r\n\r\n"
    assert refused(service, head + _BODY + trailer, 415) == "media-type-unsupported"
