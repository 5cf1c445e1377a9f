"""The client's error tree, and how an answer becomes a value or one of these errors."""

from collections.abc import Generator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

import httpx

from ledger.errors import ChipPassportError

PROBLEM = "application/problem+json"


class ClientError(ChipPassportError):
    """Top of the client's errors. Members are None where no answer came or it names none."""

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        status: int | None = None,
        problem: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        """Reason code, a value of ``ledger.errors.Reason`` where this version knows it."""
        self.status = status
        """HTTP status."""
        self.problem = problem
        """The whole problem document (RFC 9457)."""


class Unreachable(ClientError):
    """No answer: no connection, or it broke, or it took too long. A POST may have been carried
    out."""


class AnswerInvalid(ClientError):
    """An answer that this service would not give: perhaps another program listens there."""


class RequestRefused(ClientError):
    """The service refused the request; ``reason`` says why."""


class ServiceUnavailable(ClientError):
    """The service failed, or is busy still after all attempts; ``reason`` says which."""


def problem(response: httpx.Response) -> dict[str, Any] | None:
    """The problem document in an answer, if it is one."""
    if response.headers.get("content-type", "").partition(";")[0] != PROBLEM:
        return None
    with reading():
        found = response.json()
        return {**found, "reason": str(found["reason"]), "detail": str(found["detail"])}


def successful(response: httpx.Response) -> httpx.Response:
    """The answer, if it is a success; else its error."""
    if response.is_success:
        return response
    status = response.status_code
    found = problem(response)
    if found is None:
        raise AnswerInvalid(f"HTTP {status} without a problem document", status=status)
    server = status >= HTTPStatus.INTERNAL_SERVER_ERROR
    kind = ServiceUnavailable if server else RequestRefused
    text = f"{found['reason']}: {found['detail']}"
    raise kind(text, reason=found["reason"], status=status, problem=found)


def mapping(response: httpx.Response) -> dict[str, Any]:
    """The JSON object of a successful answer."""
    with reading():
        found = successful(response).json()
        return dict(found)


def retry_after(response: httpx.Response) -> float | None:
    """Seconds to wait before the next attempt; None where none is invited."""
    if response.status_code != HTTPStatus.SERVICE_UNAVAILABLE:
        return None
    text = response.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() else None


@contextmanager
def reading() -> Generator[None, None, None]:
    """Turn what goes wrong in reading an answer into AnswerInvalid."""
    try:
        yield
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise AnswerInvalid(f"the answer is malformed: {type(error).__name__}") from error
