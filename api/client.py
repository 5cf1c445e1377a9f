"""The public client: one connection pool, plain values, one error tree.

Speaks only what ``docs/http.md`` documents. It verifies nothing that the service says; proofs and
signatures are checked with ``ledger.log`` and ``ledger.protocol``.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx

from api import client_errors as errors
from api.client_errors import (
    AnswerInvalid,
    ClientError,
    RequestRefused,
    ServiceUnavailable,
    Unreachable,
)
from api.connection import Connected, authorization, is_loopback, parse_url
from ledger.errors import Refused

__all__ = [
    "AnswerInvalid",
    "Client",
    "ClientError",
    "Directive",
    "EpochInfo",
    "Lease",
    "RequestRefused",
    "Result",
    "ServiceUnavailable",
    "Unreachable",
]

MAX_BATCH_ITEMS = 4_096
MAX_BATCH_BYTES = 4 * 1024 * 1024
TIMEOUT_S = 60.0
CLOCK_TIMEOUT_S = 3_600.0
"""Moving a simulated clock by months makes the service open epochs and appraise for a while."""
ATTEMPTS = 5
MAX_PAUSE_S = 30.0
PAGE = 1_000
_KEEP_ALIVE_S = 30.0
"""Shorter than the service keeps a connection."""
"""What an Authorization header can carry (RFC 6750, 2.1)."""
_NOT_ABOUT_THE_TOKEN = frozenset(
    {
        "http-malformed",
        "media-type-unsupported",
        "method-not-allowed",
        "not-found",
        "parameter-invalid",
        "upload-timeout",
    }
)


@dataclass(frozen=True, slots=True)
class Lease:
    """Permission to run until a time (milliseconds)."""

    id: bytes
    until_ms: int


@dataclass(frozen=True, slots=True)
class Directive:
    """The chip's latest decision: number, action, statement digest (32 bytes)."""

    sequence: int
    action: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class EpochInfo:
    """The current epoch; ``id`` is the nonce of heartbeats, ``statement`` the signed token."""

    id: bytes
    counter: int
    not_before_ms: int
    not_after_ms: int
    statement: bytes


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one message: ``status`` is accepted, recorded (a conflict) or refused."""

    status: str
    kind: str | None = None
    index: int | None = None
    leaf_hash: bytes | None = None
    received_ms: int | None = None
    reason: str | None = None
    detail: str | None = None
    field: str | None = None
    remedy: str | None = None
    lease: Lease | None = None
    directive: Directive | None = None

    @property
    def accepted(self) -> bool:
        """Whether the message stands on the ledger without contradiction."""
        return self.status == "accepted"


class Client(Connected):
    """A service at ``base_url``. Not for use by several threads at once.

    GET requests are tried again when the connection fails; every request is tried again on a 503
    with Retry-After, since that says that nothing was kept. Everything else that goes wrong is a
    ``ClientError``.

    An access ``token`` goes with GET requests under ``/v1`` only: messages are signed and need
    none. It is not sent over http:// to another machine unless ``allow_plaintext`` says so, since
    whoever reads the line would have it; and no redirect is followed.
    """

    def __init__(
        self,
        base_url: str,
        *,
        timeout: float = TIMEOUT_S,
        transport: httpx.BaseTransport | None = None,
        attempts: int = ATTEMPTS,
        sleep: Callable[[float], None] = time.sleep,
        token: str | None = None,
        allow_plaintext: bool = False,
    ) -> None:
        """``timeout`` in seconds; raises ClientError on a malformed URL or token."""
        url = parse_url(base_url)
        self._authorization = (
            {} if token is None else authorization(url, token, allow_plaintext=allow_plaintext)
        )
        self._attempts = attempts
        self._sleep = sleep
        self._http = httpx.Client(
            base_url=url,
            timeout=timeout,
            transport=transport,
            limits=httpx.Limits(max_connections=8, keepalive_expiry=_KEEP_ALIVE_S),
            # A proxy named in the environment is not meant for a service on this machine.
            trust_env=not is_loopback(url.host),
        )

    # -- messages ---------------------------------------------------------------------------

    def post_heartbeats(self, tokens: Sequence[bytes]) -> list[Result]:
        """One result per heartbeat, in order. Any number; sent in batches of what is allowed.

        Bytes that are not even CBOR break the framing of their batch: the whole batch is refused
        then (RequestRefused).
        """
        return self._post("/v1/heartbeats", tokens)

    def post_statements(self, tokens: Sequence[bytes]) -> list[Result]:
        """One result per statement (any kind but heartbeats), in order; like post_heartbeats."""
        return self._post("/v1/statements", tokens)

    # -- the ledger -------------------------------------------------------------------------

    def ledger(self) -> dict[str, Any]:
        """GET /v1/ledger."""
        return self._get("/v1/ledger")

    def epoch(self) -> EpochInfo:
        """GET /v1/epoch; RequestRefused (ledger-has-no-genesis) before genesis."""
        found = self._get("/v1/epoch")
        with errors.reading():
            return EpochInfo(
                bytes.fromhex(found["id"]),
                found["counter"],
                found["not_before_ms"],
                found["not_after_ms"],
                bytes.fromhex(found["statement"]),
            )

    def landmarks(self) -> dict[str, Any]:
        """GET /v1/landmarks; RequestRefused (landmark-unknown) where there is no directory."""
        return self._get("/v1/landmarks")

    def clock(self) -> dict[str, Any]:
        """GET /v1/clock: ``mode`` and ``now_ms``."""
        return self._get("/v1/clock")

    def set_clock(self, now_ms: int, *, timeout: float = CLOCK_TIMEOUT_S) -> dict[str, Any]:
        """Move a simulated clock forward; answers when the verifier has followed."""
        answer = self._send("POST", "/v1/clock", json={"now_ms": now_ms}, timeout=timeout)
        return errors.mapping(answer)

    def ready(self) -> str:
        """GET /readyz: ``ready`` or ``awaiting genesis``; ServiceUnavailable when it is not."""
        found = self._get("/readyz")
        with errors.reading():
            return str(found["status"])

    # -- passports --------------------------------------------------------------------------

    def devices(
        self,
        *,
        state: str | None = None,
        holder: str | None = None,
        country: str | None = None,
        model: str | None = None,
        after: bytes | str | None = None,
        page: int = PAGE,
    ) -> Iterator[dict[str, Any]]:
        """Passports by filter in order of UEID, fetched page by page.

        ``after``: the UEID of the last one that was read; the query goes on behind it.
        """
        filters = {"state": state, "holder": holder, "country": country, "model": model}
        filters["after"] = after.hex() if isinstance(after, bytes) else after
        return self._pages("/v1/devices", filters, page)

    def device(self, ueid: bytes | str) -> dict[str, Any]:
        """One passport; RequestRefused (chip-unknown) for an unknown chip."""
        return self._get(f"/v1/devices/{_hex(ueid)}")

    def history(
        self, ueid: bytes | str, *, after: int | None = None, page: int = PAGE
    ) -> Iterator[dict[str, Any]]:
        """A chip's entries, oldest first, fetched page by page.

        ``after``: the ``seq`` of the last entry that was read; the query goes on behind it.
        """
        return self._pages(f"/v1/devices/{_hex(ueid)}/history", {"after": _cursor(after)}, page)

    def decisions(
        self,
        *,
        ueid: bytes | str | None = None,
        action: str | None = None,
        after: int | None = None,
        page: int = PAGE,
    ) -> Iterator[dict[str, Any]]:
        """Decisions, oldest first, fetched page by page.

        ``after``: the ``index`` of the last decision that was read; the query goes on behind it.
        """
        filters = {"ueid": None if ueid is None else _hex(ueid), "action": action}
        filters["after"] = _cursor(after)
        return self._pages("/v1/decisions", filters, page)

    def bundle(self, ueid: bytes | str, *, redacted: bool = False) -> bytes:
        """A chip's passport bundle, to be checked offline (``ledger.bundle.verify``)."""
        params = {"redacted": "true"} if redacted else None
        path = f"/v1/devices/{_hex(ueid)}/bundle"
        return errors.successful(self._send("GET", path, params=params)).content

    # -- the log ----------------------------------------------------------------------------

    def statements(self, start: int, limit: int = PAGE) -> list[bytes | None]:
        """Statements of published entries from index ``start`` on; None where one is not shown.

        Perhaps fewer than ``limit``; an empty list says that there is no such entry yet.
        """
        from ledger.protocol.entries import decode_statements  # other requests need none of it

        params = {"start": str(start), "limit": str(limit)}
        response = errors.successful(self._send("GET", "/v1/entries", params=params))
        try:
            return decode_statements(response.content, limit=limit)
        except Refused as error:
            raise AnswerInvalid(f"the answer is malformed: {error.detail}") from error

    def checkpoint(self) -> bytes:
        """The latest signed checkpoint; RequestRefused (not-found) before the first."""
        return errors.successful(self._send("GET", "/log/checkpoint")).content

    def tile(self, path: str) -> bytes:
        """A tile or entry bundle; ``path`` as in ``0/x001/234.p/17`` or ``entries/000``."""
        return errors.successful(self._send("GET", f"/log/tile/{path}")).content

    def heads(self, path: str) -> bytes:
        """A part of the heads map; ``path`` as in ``1024/index-root`` or ``1024/bucket/007``."""
        return errors.successful(self._send("GET", f"/log/heads/{path}")).content

    def proof(self, index: int) -> bytes:
        """The proof file of an entry (``ledger.log.proof_file``); RequestRefused (not-found)."""
        return errors.successful(self._send("GET", f"/log/proof/{index}")).content

    # -- transport --------------------------------------------------------------------------

    def _get(self, path: str, params: Mapping[str, str] | None = None) -> dict[str, Any]:
        return errors.mapping(self._send("GET", path, params=params))

    def _pages(
        self, path: str, filters: Mapping[str, str | None], page: int
    ) -> Iterator[dict[str, Any]]:
        wanted = {key: value for key, value in filters.items() if value is not None}
        wanted["limit"] = str(page)
        while True:
            found = self._get(path, wanted)
            with errors.reading():
                items, following = found["items"], found["next"]
            yield from items
            if following is None:
                return
            wanted["after"] = str(following)

    def _post(self, path: str, tokens: Sequence[bytes]) -> list[Result]:
        results: list[Result] = []
        for chunk in _chunks(tokens):
            results += self._one(path, chunk[0]) if len(chunk) == 1 else self._many(path, chunk)
        return results

    def _one(self, path: str, token: bytes) -> list[Result]:
        headers = {"Content-Type": "application/cose"}
        response = self._send("POST", path, content=token, headers=headers)
        if 400 <= response.status_code < 500:
            problem = errors.problem(response)
            if problem is not None and problem["reason"] not in _NOT_ABOUT_THE_TOKEN:
                status = "recorded" if "index" in problem else "refused"
                return [_result({**problem, "status": status})]
        return [_result(errors.mapping(response))]

    def _many(self, path: str, tokens: Sequence[bytes]) -> list[Result]:
        headers = {"Content-Type": "application/cbor-seq"}
        response = self._send("POST", path, content=b"".join(tokens), headers=headers)
        problem = errors.problem(response)
        found = problem if problem and "results" in problem else errors.mapping(response)
        with errors.reading():
            results = [_result(item) for item in found["results"]]
        if len(results) != len(tokens):
            # Bytes that are several CBOR items, or a part of one, were sent as one token.
            raise AnswerInvalid(f"{len(results)} results for {len(tokens)} messages")
        return results

    def _send(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """One answer, whatever its status, after as many attempts as its kind allows."""
        if method == "GET" and path.startswith("/v1/"):
            arguments["headers"] = {**arguments.get("headers", {}), **self._authorization}
        for attempt in range(1, self._attempts + 1):
            last = attempt == self._attempts
            try:
                response = self._http.request(method, path, **arguments)
            except httpx.InvalidURL as error:
                raise ClientError(f"{path!r} cannot be asked for: {error}") from error
            except httpx.HTTPError as error:
                if last or method != "GET":
                    raise Unreachable(f"{self._http.base_url}: {_cause(error)}") from error
                self._sleep(min(0.1 * 2**attempt, MAX_PAUSE_S))
                continue
            pause = errors.retry_after(response)
            if pause is None or last:
                return response
            self._sleep(min(pause, MAX_PAUSE_S))
        raise Unreachable("no attempt was allowed")


def _result(item: Mapping[str, Any]) -> Result:
    with errors.reading():
        lease, directive, leaf = item.get("lease"), item.get("directive"), item.get("leaf_hash")
        return Result(
            item["status"],
            item.get("kind"),
            item.get("index"),
            None if leaf is None else bytes.fromhex(leaf),
            item.get("received_ms"),
            item.get("reason"),
            item.get("detail"),
            item.get("field"),
            item.get("remedy"),
            None if lease is None else Lease(bytes.fromhex(lease["id"]), lease["until_ms"]),
            None if directive is None else _directive(directive),
        )


def _directive(item: Mapping[str, Any]) -> Directive:
    return Directive(item["sequence"], item["action"], bytes.fromhex(item["digest"]))


def _chunks(tokens: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """Slices that fit one batch. A token too large for any goes alone, to be refused."""
    start = size = 0
    for at, token in enumerate(tokens):
        if at > start and (at - start == MAX_BATCH_ITEMS or size + len(token) > MAX_BATCH_BYTES):
            yield tokens[start:at]
            start, size = at, 0
        size += len(token)
    if start < len(tokens):
        yield tokens[start:]


def _cursor(index: int | None) -> str | None:
    return None if index is None else str(index)


def _hex(ueid: bytes | str) -> str:
    return quote(ueid, safe="") if isinstance(ueid, str) else ueid.hex()


def _cause(error: httpx.HTTPError) -> str:
    return str(error) or type(error).__name__
