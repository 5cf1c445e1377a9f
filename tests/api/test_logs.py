"""Logs go to stderr and never show a body, a secret or the text of a fault."""

import asyncio
import io
import json
import logging
import threading
from collections.abc import Iterator

import pytest
import structlog

from api import logs
from ledger.errors import StorageError
from tests.api.harness import COSE, Altered, assert_problem, serving


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Leave the process's logging as it was."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)
    structlog.reset_defaults()


def configured(**arguments) -> io.StringIO:
    stream = io.StringIO()
    logs.configure(form="json", stream=stream, **arguments)
    return stream


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_secrets_and_bytes_are_withheld():
    stream = configured()
    structlog.get_logger("x").info("event", token="abc", seed=b"12345", raw=b"123", path="/v1")
    (line,) = lines(stream)
    assert line["token"] == "<3 withheld>"
    assert line["seed"] == "<5 withheld>"
    assert line["raw"] == "<3 withheld>"
    assert line["path"] == "/v1"


def test_a_fault_is_logged_by_class_and_place_and_without_its_text(node):
    stream = configured()

    def submit(tokens, expect=None):
        raise ValueError(f"secret {tokens}")

    with serving(Altered(node, submit=submit)) as http:
        assert http.post("/v1/heartbeats", b"my body", COSE).status_code == 500
    (line,) = lines(stream)
    assert (line["error"], line["path"], line["level"]) == (
        "ValueError", "/v1/heartbeats", "error",
    )  # fmt: skip
    assert "test_logs.py" in str(line["at"])
    assert "secret" not in stream.getvalue()
    assert "my body" not in stream.getvalue()


def test_the_operator_reads_each_storage_fault_once_and_the_client_no_word_of_it(node):
    stream = configured()
    full, again = StorageError("database or disk is full"), StorageError("disk I/O error")
    faults = iter([full, full, again])

    def status():
        raise next(faults)

    with serving(Altered(node, status=status)) as http:
        answers = [http.get("/v1/ledger") for _ in range(3)]
    found = lines(stream)
    assert [line["detail"] for line in found] == [str(full), str(again)]
    assert {(line["event"], line["level"], line["path"]) for line in found} == {
        ("storage fault", "error", "/v1/ledger")
    }
    for answer in answers:
        assert_problem(answer, 503, "storage-unavailable")
        assert "disk" not in answer.text


def test_one_failed_write_of_many_posts_is_one_line(node):
    stream = configured()
    begun, release = threading.Event(), threading.Event()

    def submit(tokens, expect=None):
        if tokens == [b"first"]:
            begun.set()
            assert release.wait(10)
            return node.submit(tokens, expect)
        raise StorageError("database or disk is full")

    async def post(client, body: bytes):
        headers = {"Content-Type": COSE}
        return await client.post("/v1/heartbeats", content=body, headers=headers)

    async def others(client):
        await asyncio.to_thread(begun.wait, 10)
        posts = [asyncio.create_task(post(client, b"%d" % n)) for n in range(5)]
        while "queue_depth 5.0" not in (await client.get("/metrics")).text:
            pass
        release.set()
        return await asyncio.gather(*posts)

    with serving(Altered(node, submit=submit)) as http:
        _, failed = http.together(lambda client: post(client, b"first"), others)
    assert [answer.status_code for answer in failed] == [503] * 5
    assert [line["detail"] for line in lines(stream)] == ["database or disk is full"]


def test_the_standard_library_s_loggers_take_the_same_way():
    stream = configured(level="warning")
    logging.getLogger("uvicorn.error").info("not shown")
    try:
        raise ValueError("secret")
    except ValueError:
        logging.getLogger("uvicorn.error").exception("it broke")
    (line,) = lines(stream)
    assert (line["event"], line["error"]) == ("it broke", "ValueError")
    assert "secret" not in stream.getvalue()


def test_text_logs_are_one_line_each():
    stream = io.StringIO()
    logs.configure(form="text", stream=stream)
    structlog.get_logger("x").warning("event", path="/v1")
    assert len(stream.getvalue().splitlines()) == 1
    assert "path=/v1" in stream.getvalue()
