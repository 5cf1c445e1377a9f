"""A ledger's public read API as an auditor asks it: nothing it says is believed, or waited for.

Every answer has a size beyond which it is not read and a time after which it is given up, also
where it comes drop by drop.
"""

import time
from collections.abc import Callable, Mapping
from http import HTTPStatus

import httpx

from api import client_errors as errors
from api.client_errors import Unreachable
from api.connection import Connected, authorization, is_loopback, parse_url
from ledger.errors import Refused
from ledger.log.note import MAX_NOTE_SIZE
from ledger.log.tiles import ENTRIES, MAX_ENTRY_SIZE, TILE_WIDTH, tile_path
from ledger.protocol.entries import MAX_SEQUENCE_BYTES, decode_statements
from ledger.service.audit.report import FaultFound

TIMEOUT_S = 10.0
"""For a connection, and between two pieces of an answer."""
ANSWER_S = 60.0
"""For a whole answer."""
ATTEMPTS = 5
MAX_PAUSE_S = 10.0
MAX_BUNDLE_BYTES = TILE_WIDTH * (MAX_ENTRY_SIZE + 2)
MAX_PROBLEM_BYTES = 65_536
_BUSY = (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS)


class HttpSource(Connected):
    """A service at ``url``, asked with an access token where there is one.

    Safe to use from several threads. A service that does not answer, or answers that it does not
    take the token, is a ClientError; an answer of the wrong form a FaultFound.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """ClientError for what is no URL, and for a token that could be read on the way there."""
        base = parse_url(url)
        # No compression: an answer is bounded by the bytes that come.
        headers = {"Accept-Encoding": "identity"}
        if token is not None:
            headers |= authorization(base, token)
        self._sleep = sleep
        self._http = httpx.Client(
            base_url=base,
            headers=headers,
            timeout=TIMEOUT_S,
            transport=transport,
            # A proxy named in the environment is not meant for a service on this machine.
            trust_env=not is_loopback(base.host),
        )

    def checkpoint(self) -> bytes:
        """The newest signed checkpoint; RequestRefused before the first."""
        answer = self._ask("GET", "/log/checkpoint", "checkpoint", MAX_NOTE_SIZE)
        return errors.successful(answer).content

    def tile(self, level: int, n: int, width: int) -> bytes | None:
        """A hash tile; None where there is none."""
        path = f"/log/{tile_path(level, n, width)}"
        return self._find(path, f"tile {level}/{n}", TILE_WIDTH * 32)

    def bundle(self, n: int, width: int) -> bytes | None:
        """An entry bundle; None where there is none."""
        path = f"/log/{tile_path(ENTRIES, n, width)}"
        return self._find(path, f"entry bundle {n}", MAX_BUNDLE_BYTES)

    def statements(self, start: int, limit: int) -> list[bytes | None]:
        """Statements from an index on, perhaps fewer than asked for."""
        params = {"start": str(start), "limit": str(limit)}
        place = f"entry {start}, statement"
        answer = self._ask("GET", "/v1/entries", place, MAX_SEQUENCE_BYTES, params)
        data = errors.successful(answer).content
        try:
            return decode_statements(data, limit=limit)
        except Refused as refusal:
            raise FaultFound(
                place, f"what is given from it on is malformed: {refusal.detail}"
            ) from (refusal)

    def submit(self, note: bytes) -> None:
        """Hand a cosigned checkpoint to the ledger; RequestRefused says why it does not take it."""
        answer = self._ask("POST", "/v1/cosignatures", "the answer", MAX_PROBLEM_BYTES, body=note)
        errors.successful(answer)

    # -- transport --------------------------------------------------------------------------

    def _find(self, path: str, place: str, limit: int) -> bytes | None:
        answer = self._ask("GET", path, place, limit)
        if answer.status_code == HTTPStatus.NOT_FOUND:
            return None
        return errors.successful(answer).content

    def _ask(
        self,
        method: str,
        path: str,
        place: str,
        limit: int,
        params: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> httpx.Response:
        """One answer, whatever its status, after as many attempts as a busy service wants."""
        for attempt in range(1, ATTEMPTS + 1):
            last = attempt == ATTEMPTS
            pause = min(0.1 * 2**attempt, MAX_PAUSE_S)
            try:
                answer = self._once(method, path, place, limit, params, body)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                if last or body is not None:
                    raise Unreachable(
                        f"{self._http.base_url}: {str(error) or type(error).__name__}"
                    ) from error
            else:
                if answer.status_code not in _BUSY or last:
                    return answer
                pause = min(errors.retry_after(answer) or pause, MAX_PAUSE_S)
            self._sleep(pause)
        raise Unreachable("no attempt was allowed")

    def _once(
        self,
        method: str,
        path: str,
        place: str,
        limit: int,
        params: Mapping[str, str] | None,
        body: bytes | None,
    ) -> httpx.Response:
        headers = {} if body is None else {"Content-Type": "text/plain; charset=utf-8"}
        until = time.monotonic() + ANSWER_S
        with self._http.stream(
            method, path, params=params, content=body, headers=headers
        ) as response:
            limit = limit if response.is_success else MAX_PROBLEM_BYTES
            parts, size = [], 0
            for part in response.iter_raw():
                size += len(part)
                if size > limit:
                    raise FaultFound(place, f"the answer has more than {limit} bytes")
                if time.monotonic() > until:
                    raise Unreachable(f"{path}: the answer took more than {ANSWER_S:g} s")
                parts.append(part)
            if response.headers.get("content-encoding", "identity") != "identity":
                raise FaultFound(place, "the answer is compressed, which was not asked for")
            kept = {
                name: response.headers[name]
                for name in ("content-type", "retry-after")
                if name in response.headers
            }
            return httpx.Response(response.status_code, headers=kept, content=b"".join(parts))
