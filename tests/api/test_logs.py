"""Logs go to stderr and never show a body, a secret or the text of a fault."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from api import logs
from tests.api.harness import COSE, Altered, serving


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
