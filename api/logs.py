"""Logs on stderr: one event per line, for people or as JSON. Never a body, never a secret."""

import logging
import sys
import traceback
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any, Literal, TextIO

import structlog

_SECRET = frozenset(
    {"body", "token", "payload", "statement", "secret", "password", "seed", "private_key"}
)
"""Members that no event may show, whatever the caller passed."""

LogFormat = Literal["text", "json"]


def configure(
    *, level: str = "info", form: LogFormat = "text", stream: TextIO | None = None
) -> None:
    """Set up structlog and route the standard library's loggers (uvicorn) through it.

    The one place that changes process-wide state; called by the program, never by a library.
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[structlog.types.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _redact,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    target = stream or sys.stderr
    renderer: structlog.types.Processor = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=target.isatty(), pad_event_to=0)
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            _class_of_error,
            renderer,
        ],
    )
    handler = logging.StreamHandler(target)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(max(number, logging.WARNING))
    # Uvicorn's notices about its own start and stop add nothing to ours.
    logging.getLogger("uvicorn").setLevel(max(number, logging.WARNING))


def place(error: BaseException) -> str | None:
    """Where an exception was raised, as ``file.py:line``."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else None


def _redact(_logger: Any, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace secrets and raw bytes by their size."""
    for key, value in event.items():
        if key in _SECRET or isinstance(value, bytes | bytearray | memoryview):
            size = len(value) if hasattr(value, "__len__") else 0
            event[key] = f"<{size} withheld>"
    return event


def _class_of_error(
    _logger: Any, _name: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Keep an exception's class and drop its text and traceback, which may quote a request."""
    info = event.pop("exc_info", None)
    error = info[1] if isinstance(info, tuple) else info
    if isinstance(error, BaseException):
        event["error"], event["at"] = type(error).__name__, place(error)
    event.pop("stack_info", None)
    return event
