"""What reaches the socket and is not a quick, well-formed request."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from api.embedded import ServerThread
from api.settings import ServiceSettings
from api.wire import MAX_HEAD_BYTES, MAX_PIPELINED
from ledger.errors import Reason
from tests.api.harness import COSE, PROBLEM, Altered

_HOST = b"Host: x\r\n"
_CLOSE = b"Connection: close\r\n"
_GET = b"GET /healthz HTTP/1.1\r\n" + _HOST
_POST = b"POST /v1/heartbeats HTTP/1.1\r\n" + _HOST + b"Content-Type: application/cose\r\n"
_CHUNKED = _POST + b"Transfer-Encoding: chunked\r\n\r\n"


class Wire:
    """A service, and connections to it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.port = int(url.rpartition(":")[2])

    @contextmanager
    def open(self, sent: bytes = b"") -> Iterator[socket.socket]:
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            connection.sendall(sent)
            yield connection

    def ask(self, sent: bytes) -> bytes:
        """All that is answered until the service closes the connection."""
        with self.open() as connection:
            with contextlib.suppress(OSError):  # it may stop to read before the end
                connection.sendall(sent)
            return rest(connection)

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.url + path, trust_env=False)


def rest(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65_536), b""))


def problem(answer: bytes, status: int, reason: Reason) -> dict[str, object]:
    """The one problem document in ``answer``, which ends its connection."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), answer[:200]
    assert b"content-type: " + PROBLEM.encode() in head
    assert b"connection: close" in head.lower()
    found = dict(json.loads(body))
    assert (found["status"], found["reason"]) == (status, reason.value)
    return found


@contextmanager
def serve(node: object, **settings: object) -> Iterator[Wire]:
    with ServerThread(node, settings=ServiceSettings(**settings)) as service:  # type: ignore[arg-type]
        wire = Wire(service.url)
        yield wire
        deadline = time.monotonic() + 10
        while "requests_in_flight 0.0" not in (text := wire.get("/metrics").text):
            assert time.monotonic() < deadline
        assert "faults_total{error=" not in text


@pytest.fixture
def wire(node) -> Iterator[Wire]:
    with serve(node) as wire:
        yield wire


@pytest.fixture
def hasty(node) -> Iterator[Wire]:
    """A service that waits for nobody."""
    with serve(node, upload_timeout_s=0.1) as wire:
        yield wire


# -- not HTTP ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /healthz HTTP/9.9\r\n\r\n",
        b"get /healthz HTTP/1.1\r\n\r\n",
        b"CONNECT x:443 HTTP/1.1\r\n" + _HOST + b"\r\n",
        b"GET /v1/\x00 HTTP/1.1\r\n\r\n",
        b"GET /v1/\xc3\xa9 HTTP/1.1\r\n\r\n",
        b"GET ?x HTTP/1.1\r\n\r\n",
        _GET + b"X: \x00\r\n\r\n",
        _GET + b"X: a\r\n b\r\n\r\n",
        _GET + b"no colon\r\n\r\n",
        _POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        _POST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        _POST + b"Content-Length: -1\r\n\r\nx",
        _POST + b"Transfer-Encoding: x\r\n\r\nx",
        _CHUNKED + b"zz\r\nabc\r\n0\r\n\r\n",
        _CHUNKED + b"3\r\nabcdef\r\n0\r\n\r\n",
        _CHUNKED + b"f" * 40 + b"\r\nabc",
        b"GET /healthz HTTP/1.1\r\n\r\n",
        _GET + _HOST + b"\r\n",
        _GET + b"Host: y\r\n\r\n",
        b"GET /healthz HTTP/1.0\r\n" + _HOST + _HOST + b"\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: a b\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: a/b\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: user@x\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x:80:80\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: [::1\r\n\r\n",
    ],
)
def test_what_is_not_http_gets_a_problem_and_ends_the_connection(wire: Wire, sent: bytes):
    found = problem(wire.ask(sent), 400, Reason.HTTP_MALFORMED)
    assert found["instance"] == ""
    assert found["remedy"]


@pytest.mark.parametrize(
    "head",
    [
        b"GET /healthz HTTP/1.0\r\n",
        b"GET /healthz HTTP/1.1\r\nHost:\r\n",
        b"GET /healthz HTTP/1.1\r\nhost:   ledger.example:8470  \r\n",
        b"GET /healthz HTTP/1.1\r\nHost: [2001:db8::1]:8470\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: l%65dger_x.example:\r\n",
    ],
)
def test_every_name_that_a_host_may_have_is_answered(wire: Wire, head: bytes):
    assert wire.ask(head + _CLOSE + b"\r\n").startswith(b"HTTP/1.1 200 ")


def test_a_second_host_ends_a_connection_that_was_good_so_far(wire: Wire):
    """What a proxy that goes by the other name would call the body is no request of ours."""
    answer = wire.ask(_GET + b"\r\n" + _GET + _HOST + b"\r\n" + _GET + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.count(b"HTTP/1.1 200 ") == 1


def test_what_follows_a_good_request_takes_nothing_from_its_answer(wire: Wire):
    answer = wire.ask(b"GET /v1/clock HTTP/1.1\r\n" + _HOST + b"\r\n\x00\x01garbage\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.count(b"HTTP/1.1 ") == 1


def test_pipelined_requests_are_answered_in_order(wire: Wire):
    answer = wire.ask(
        (_GET + b"\r\n") * 30 + b"GET /nothing HTTP/1.1\r\n" + _HOST + _CLOSE + b"\r\n"
    )
    assert answer.count(b"HTTP/1.1 200 ") == 30
    assert answer.rindex(b"HTTP/1.1 404 ") > answer.rindex(b"HTTP/1.1 200 ")


def test_a_request_may_come_byte_by_byte_and_in_odd_chunks(wire: Wire):
    body = b"1;name=value\r\nx\r\n0\r\nTrailer: y\r\n\r\n"
    with wire.open() as connection:
        for byte in _CHUNKED.replace(_HOST, _HOST + _CLOSE) + body:
            connection.sendall(bytes([byte]))
        assert b'"reason":"cose-malformed"' in rest(connection)


@pytest.mark.parametrize("name", [b"websocket", b"h2c", b"TLS/1.3"])
def test_an_upgrade_is_passed_over_and_the_connection_is_not_left_hanging(wire: Wire, name: bytes):
    upgrade = b"Connection: Upgrade\r\nUpgrade: " + name + b"\r\n"
    answer = wire.ask(_GET + upgrade + b"\r\n" + _GET + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close" in answer
    answer = wire.ask(_POST + upgrade + b"Content-Length: 1\r\n\r\nx")
    assert b'"reason":"cose-malformed"' in answer
    assert b'"reason":"cose-malformed"' in wire.ask(_POST + upgrade + b"\r\n")


@pytest.mark.parametrize(
    ("header", "field"),
    [
        (b"Transfer-Encoding: gzip, chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", "Transfer-Encoding"),
        (b"Content-Type: text/plain\r\nContent-Length: 1\r\n\r\nx", "Content-Type"),
    ],
)
def test_a_body_with_two_readings_is_refused(wire: Wire, header: bytes, field: str):
    answer = wire.ask(_POST + _CLOSE + header)
    assert problem(answer, 415, Reason.MEDIA_TYPE)["field"] == field


# -- too much ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "head",
    [
        _GET + b"X: " + b"a" * 3_000_000 + b"\r\n\r\n",
        _GET + b"X: " + b"a" * MAX_HEAD_BYTES + b"\r\n\r\n",
        _GET + b"a: b\r\n" * 40_000 + b"\r\n",
        b"GET /" + b"a" * MAX_HEAD_BYTES + b" HTTP/1.1\r\n\r\n",
        b"A" * 3_000_000,
    ],
)
def test_a_head_over_the_limit_is_refused(wire: Wire, head: bytes):
    answer = wire.ask(head)
    if head.startswith(b"A"):
        problem(answer, 400, Reason.HTTP_MALFORMED)
    else:
        problem(answer, 413, Reason.TOO_LARGE)


def test_a_head_under_the_limit_is_taken(wire: Wire):
    head = _GET + _CLOSE + b"X: " + b"a" * (MAX_HEAD_BYTES - 200) + b"\r\n\r\n"
    assert wire.ask(head).startswith(b"HTTP/1.1 200 ")


def test_a_refused_upload_leaves_its_connection_usable(wire: Wire):
    large = _POST + b"Content-Length: 300000\r\n\r\n" + bytes(300_000)
    answer = wire.ask(large + _GET + _CLOSE + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'{"status":"ok"}' in answer


# -- too slow ---------------------------------------------------------------------------------


def test_slow_uploads_take_nobodys_place(node):
    with serve(node, max_requests=2, upload_timeout_s=2.0) as wire, contextlib.ExitStack() as slow:
        stalled = [
            slow.enter_context(wire.open(_POST + b"Content-Length: 100\r\n\r\nabc"))
            for _ in range(40)
        ]
        assert wire.get("/v1/ledger").status_code == 200
        headers = {"Content-Type": COSE}
        posted = httpx.post(
            wire.url + "/v1/heartbeats", content=b"x", headers=headers, trust_env=False
        )
        assert posted.json()["reason"] == "cose-malformed"
        found = problem(rest(stalled[0]), 408, Reason.UPLOAD_TIMEOUT)
        assert found["instance"] == "/v1/heartbeats"


def test_a_head_that_stalls_is_ended_with_a_problem(hasty: Wire):
    with hasty.open(_GET + b"X: a") as connection:
        assert problem(rest(connection), 408, Reason.UPLOAD_TIMEOUT)["instance"] == ""


def test_a_second_head_that_stalls_is_ended_too(hasty: Wire):
    with hasty.open(_GET + b"\r\n" + b"GET /hea") as connection:
        first, _, second = rest(connection).partition(b'{"status":"ok"}')
        assert first.startswith(b"HTTP/1.1 200 ")
        problem(second, 408, Reason.UPLOAD_TIMEOUT)


@pytest.mark.parametrize("sent", [b"", b"\r\n"])
def test_a_connection_that_asks_nothing_is_closed(hasty: Wire, sent: bytes):
    with hasty.open(sent) as connection:
        answer = rest(connection)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 408 ")


def test_the_rest_of_a_refused_upload_is_not_waited_for_for_ever(hasty: Wire):
    with hasty.open(_POST + b"Content-Length: 9999999\r\n\r\nabc") as connection:
        assert rest(connection).startswith(b"HTTP/1.1 413 ")


def test_an_answer_that_takes_long_is_waited_for_though_more_is_begun(node):
    release = threading.Event()

    def status():
        assert release.wait(10)
        return node.status()

    altered = Altered(node, status=node.status)
    with serve(altered, upload_timeout_s=0.05) as wire:
        altered.status = status
        with wire.open(b"GET /v1/ledger HTTP/1.1\r\n" + _HOST + b"\r\nGET /heal") as connection:
            threading.Timer(0.3, release.set).start()
            assert rest(connection).startswith(b"HTTP/1.1 200 ")
        altered.status = node.status


def test_idle_connections_make_room_for_new_ones(node):
    with serve(node, max_connections=4) as wire, contextlib.ExitStack() as idle:
        silent = [idle.enter_context(wire.open()) for _ in range(2)]
        begun = idle.enter_context(wire.open(b"GET /hea"))
        kept = idle.enter_context(wire.open(_GET + b"\r\n"))
        assert kept.recv(65_536).startswith(b"HTTP/1.1 200 ")
        assert wire.get("/v1/ledger").status_code == 200
        assert rest(silent[0]) == b""
        more = [idle.enter_context(wire.open(_GET + b"\r\n")) for _ in range(4)]
        for connection in more:
            assert connection.recv(65_536).startswith(b"HTTP/1.1 200 ")
        assert rest(silent[1]) == rest(begun) == rest(kept) == b""


def test_a_stalled_upload_makes_room_for_a_new_connection(node):
    expecting = _POST + b"Expect: 100-continue\r\nContent-Length: 1\r\n\r\n"
    with serve(node, max_connections=1) as wire, wire.open(expecting) as stalled:
        assert stalled.recv(65_536).startswith(b"HTTP/1.1 100 ")
        assert wire.get("/v1/ledger").status_code == 200
        problem(rest(stalled), 408, Reason.UPLOAD_TIMEOUT)


def test_a_connection_that_is_answered_is_not_closed_for_a_new_one(node):
    entered, release = threading.Event(), threading.Event()

    def status():
        entered.set()
        assert release.wait(10)
        return node.status()

    altered = Altered(node, status=node.status)
    with serve(altered, max_connections=1) as wire:
        altered.status = status
        with wire.open(b"GET /v1/ledger HTTP/1.1\r\n" + _HOST + b"\r\nGET /heal") as busy:
            assert entered.wait(10)
            with wire.open() as turned_away:
                problem(rest(turned_away), 503, Reason.BUSY)
            release.set()
            assert busy.recv(65_536).startswith(b"HTTP/1.1 200 ")
        altered.status = node.status


def test_a_client_that_reads_nothing_is_cut_off(node):
    settings = ServiceSettings(upload_timeout_s=0.2, max_requests=1)
    more_than_any_buffer = bytes(32 * 2**20)
    large = Altered(node, checkpoint=lambda: more_than_any_buffer)
    with ServerThread(large, settings=settings) as service:  # type: ignore[arg-type]
        wire = Wire(service.url)
        with wire.open() as deaf:
            deaf.sendall((b"GET /log/checkpoint HTTP/1.1\r\n" + _HOST + b"\r\n") * 9)
            connections = service.server._listener.uvicorn.server_state.connections
            deadline = time.monotonic() + 10
            with httpx.Client(trust_env=False) as other:
                while other.get(service.url + "/v1/ledger").status_code != 200:
                    assert time.monotonic() < deadline  # its seat is free once its answer begins
                while len(connections) > 1:
                    assert time.monotonic() < deadline
                    assert other.get(service.url + "/healthz").status_code == 200
        assert "faults_total{error=" not in wire.get("/metrics").text


def test_a_client_that_leaves_while_its_requests_wait_is_no_fault(node):
    entered, release = threading.Event(), threading.Event()

    def status():
        entered.set()
        assert release.wait(10)
        return node.status()

    altered = Altered(node, status=node.status)
    with serve(altered) as wire:
        altered.status = status
        with wire.open((b"GET /v1/ledger HTTP/1.1\r\n" + _HOST + b"\r\n") * 9):
            assert entered.wait(10)
        wire.get("/healthz")
        release.set()
        altered.status = node.status


def test_more_requests_than_may_wait_end_the_connection_after_their_answers(node):
    release = threading.Event()

    def status():
        assert release.wait(10)
        return node.status()

    altered = Altered(node, status=node.status)
    with serve(altered) as wire:
        altered.status = status
        with wire.open(b"GET /v1/ledger HTTP/1.1\r\n" + _HOST + b"\r\n") as connection:
            connection.sendall((_GET + b"\r\n") * 5 * MAX_PIPELINED)
            release.set()
            answer = rest(connection)
        altered.status = node.status
    assert answer.count(b"HTTP/1.1 200 ") == 1 + MAX_PIPELINED
    assert answer.count(b"connection: close") == 1
