"""Limits on request bodies: size, time, what is held at once."""

import asyncio
import threading

import pytest

from tests.api.harness import CBOR_SEQ, COSE, Altered, Http, assert_problem, serving

_HEARTBEAT, _STATEMENT, _BATCH = 2_048, 32_768, 4 * 1024 * 1024
LIMITS = [
    ("/v1/heartbeats", COSE, _HEARTBEAT),
    ("/v1/heartbeats", CBOR_SEQ, _BATCH),
    ("/v1/statements", COSE, _STATEMENT),
    ("/v1/statements", CBOR_SEQ, _BATCH),
    ("/v1/clock", "application/json", 1_024),
]


@pytest.mark.parametrize(("path", "media", "limit"), LIMITS)
def test_a_declared_length_over_the_limit_is_refused_unread(http: Http, path, media, limit):
    async def never():
        raise AssertionError("the body was read")
        yield b""

    headers = {"Content-Type": media, "Content-Length": str(limit + 1)}
    answer = http.request("POST", path, content=never(), headers=headers)
    assert_problem(answer, 413, "too-large")


@pytest.mark.parametrize(("path", "media", "limit"), LIMITS)
def test_a_body_that_grows_over_the_limit_is_refused_while_it_arrives(
    http: Http, path, media, limit
):
    sent = 0

    async def endless():
        nonlocal sent
        while True:
            sent += 1
            yield bytes(limit // 4)

    answer = http.request("POST", path, content=endless(), headers={"Content-Type": media})
    assert_problem(answer, 413, "too-large")
    assert sent <= 6


@pytest.mark.parametrize(("path", "media", "limit"), LIMITS)
def test_a_body_of_the_limit_is_read(http: Http, path, media, limit):
    answer = http.post(
        path,
        b"\x00" * limit if media != CBOR_SEQ else b"\x5a\x00\x3f\xff\xfb" + bytes(limit - 5),
        media,
    )
    assert answer.status_code in (400, 413, 422)
    assert "are taken here" not in answer.text


@pytest.mark.parametrize("length", ["x", "-1", "²", "", "9" * 400])
def test_a_content_length_that_is_no_size_does_no_harm(http: Http, length: str):
    headers = {"Content-Type": COSE, "Content-Length": length.encode()}
    answer = http.request("POST", "/v1/heartbeats", content=b"x", headers=headers)
    assert answer.status_code in (400, 413)


@pytest.mark.parametrize("path", ["/v1/heartbeats", "/v1/statements"])
@pytest.mark.parametrize(
    "media", ["", "text/plain", "application/cbor", "application/json", "x" * 9_999]
)
def test_another_content_type_is_refused(http: Http, path: str, media: str):
    problem = assert_problem(http.post(path, b"x", media), 415, "media-type-unsupported")
    assert problem["field"] == "Content-Type"


def test_a_compressed_body_is_refused(http: Http):
    headers = {"Content-Type": COSE, "Content-Encoding": "gzip"}
    answer = http.request("POST", "/v1/heartbeats", content=b"x", headers=headers)
    assert_problem(answer, 415, "media-type-unsupported")


def test_parameters_and_case_of_a_content_type_do_not_matter(http: Http):
    answer = http.post("/v1/heartbeats", b"x", "Application/COSE; charset=utf-8")
    assert_problem(answer, 400, "cose-malformed")


def test_an_upload_that_takes_too_long_is_ended(node):
    async def slow():
        yield b"x"
        await asyncio.sleep(5)

    with serving(node, upload_timeout_s=0.05) as http:
        headers = {"Content-Type": COSE}
        answer = http.request("POST", "/v1/heartbeats", content=slow(), headers=headers)
        assert_problem(answer, 408, "upload-timeout")
        assert answer.headers["connection"] == "close"
        assert http.post("/v1/heartbeats", b"x", COSE).status_code == 400


def test_what_is_held_at_once_is_bounded_and_given_back(node):
    arrived = asyncio.Event()

    async def parked():
        yield bytes(3 * 1024 * 1024)
        arrived.set()
        await asyncio.sleep(0.05)

    async def first(client):
        headers = {"Content-Type": CBOR_SEQ}
        return await client.post("/v1/heartbeats", content=parked(), headers=headers)

    async def second(client):
        await arrived.wait()
        headers = {"Content-Type": CBOR_SEQ}
        return await client.post("/v1/heartbeats", content=bytes(2 * 1024 * 1024), headers=headers)

    with serving(node, max_buffered_bytes=_BATCH) as http:
        held, turned_away = http.together(first, second)
        assert_problem(turned_away, 503, "busy")
        assert held.status_code == 413  # three million items
        assert http.post("/v1/heartbeats", bytes(_BATCH), CBOR_SEQ).status_code == 413


def test_a_stalled_upload_gives_its_memory_to_a_newer_one(node, monkeypatch):
    monkeypatch.setattr("api.media.Uploads.__init__.__kwdefaults__", {"patience_s": 0.0})
    arrived = asyncio.Event()

    async def stalled():
        yield bytes(3 * 1024 * 1024)
        arrived.set()
        await asyncio.sleep(10)

    async def first(client):
        headers = {"Content-Type": CBOR_SEQ}
        return await client.post("/v1/heartbeats", content=stalled(), headers=headers)

    async def second(client):
        await arrived.wait()
        headers = {"Content-Type": CBOR_SEQ}
        return await client.post("/v1/heartbeats", content=bytes(2 * 1024 * 1024), headers=headers)

    with serving(node, max_buffered_bytes=_BATCH) as http:
        ended, served = http.together(first, second)
        assert "others needed its place" in assert_problem(ended, 408, "upload-timeout")["detail"]
        assert served.status_code == 413  # two million items
        assert http.post("/v1/heartbeats", bytes(_BATCH), CBOR_SEQ).status_code == 413


def _answering(node) -> tuple[Altered, threading.Event, threading.Event]:
    """A ledger whose status takes until the second event; the first says that it is asked for."""
    entered, release = threading.Event(), threading.Event()

    def status():
        entered.set()
        assert release.wait(10)
        return node.status()

    return Altered(node, status=status), entered, release


def test_more_requests_than_allowed_are_turned_away_but_operators_are_not(node):
    altered, entered, release = _answering(node)

    async def first(client):
        return await client.get("/v1/ledger")

    async def others(client):
        await asyncio.to_thread(entered.wait, 10)
        try:
            headers = {"Content-Type": COSE}
            return [
                await client.get("/v1/epoch"),
                await client.post("/v1/heartbeats", content=b"x", headers=headers),
                await client.get("/healthz"),
            ]
        finally:
            release.set()

    with serving(altered, max_requests=1) as http:
        served, (turned_away, upload, health) = http.together(first, others)
        assert "requests_in_flight 0.0" in http.get("/metrics").text
    assert served.status_code == health.status_code == 200
    for answer in (turned_away, upload):
        assert_problem(answer, 503, "busy")
        assert answer.headers["retry-after"] == "1"


def test_an_upload_takes_nobodys_place_before_it_is_complete(node):
    started, release = asyncio.Event(), asyncio.Event()

    async def parked():
        started.set()
        await release.wait()
        yield b"x"

    async def first(client):
        return await client.post("/v1/heartbeats", content=parked(), headers={"Content-Type": COSE})

    async def others(client):
        await started.wait()
        try:
            headers = {"Content-Type": COSE}
            return [
                await client.get("/v1/ledger"),
                await client.post("/v1/heartbeats", content=b"x", headers=headers),
            ]
        finally:
            release.set()

    with serving(node, max_requests=1) as http:
        served, (read, posted) = http.together(first, others)
    assert read.status_code == 200
    assert_problem(posted, 400, "cose-malformed")
    assert_problem(served, 400, "cose-malformed")
