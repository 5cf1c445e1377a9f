"""HTTP/1.1 on one connection: uvicorn's protocol with what it leaves open.

It sets no limit on the head of a request nor on how long one takes to arrive, lets a client that
reads nothing keep its answers in memory, and answers what is not HTTP in plain text. Here all of
these end in time, with a problem document where an answer can still be given.
"""

import asyncio
import re
from collections.abc import Sequence
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from api import problems
from ledger.errors import Reason, Refused

MAX_HEAD_BYTES = 64 * 1024
"""Request line and headers together. Browsers and proxies stay below 16 KiB."""
MAX_PIPELINED = 100
"""Requests of one connection that wait for the answer before theirs; uvicorn would take any
number, and each costs far more memory than its bytes."""
CHUNK_FRAME_BYTES = 16
"""What a chunk may have around its bytes without further account: its length and two line ends."""
MAX_CONNECTIONS = 4_096
PATIENCE_S = 30.0
LINGER_S = 2.0
"""How long a refused connection is still read from: closed at once, it would be reset, and the
client might never see the answer."""

_HOST = re.compile(
    rb"(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*(?::[0-9]*)?"
    rb"|\[[0-9A-Fa-fVv:.]+[A-Za-z0-9._~!$&'()*+,;=:-]*\](?::[0-9]*)?"
)
"""``uri-host [":" port]`` (RFC 3986, 3.2.2); empty where the target has no authority."""


class HttpProtocol(HttpToolsProtocol):
    """One connection. ``patience_s``: how long a head may take to arrive, and how long a client
    may leave an answer unread; set by ``protocol``."""

    patience_s = PATIENCE_S
    max_connections = MAX_CONNECTIONS
    idle: ClassVar[dict["HttpProtocol", None]] = {}
    """Connections of this service that wait for their client, the longest first."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._in_head = True
        self._head_bytes = 0
        self._frame_bytes = 0
        self._refusal: Refused | None = None
        self._ended = False
        self._answered: RequestResponseCycle | None = None
        """The request whose answer is under way; uvicorn's ``cycle`` is the newest."""
        self._deadline: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None

    # -- arriving ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request, and not for ever."""
        super().connection_made(transport)
        if len(self.connections) <= self.max_connections or self._make_room():
            self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers and what waits; nobody is left to answer."""
        self._nobody_reads()
        super().connection_lost(exc)
        self._stop_waiting()
        self._read_again()

    def data_received(self, data: bytes) -> None:
        """Count the bytes of the head and those around the body, and parse."""
        if self._ended or self.transport.is_closing():
            return
        if self._in_head:
            self._head_bytes += len(data)
            if self._deadline is None:
                self._expect_head()
        else:
            self._frame_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > MAX_HEAD_BYTES and not self._ended:
            self._refuse(_head_too_large())
        elif not self._in_head and self._frame_bytes > MAX_HEAD_BYTES and not self._ended:
            self._end_body()

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        self._head_bytes = max(self._head_bytes, 1)
        if self._deadline is None:
            self._expect_head()

    def on_headers_complete(self) -> None:
        """The head is here: refuse what is too large, or what no answer could follow."""
        self._in_head = False
        self._head_bytes = self._frame_bytes = 0
        self._stop_waiting()
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > MAX_HEAD_BYTES:
            self._refusal = _head_too_large()
            raise self._refusal
        if not _has_host(self.headers, self.parser.get_http_version()):
            self._refusal = Refused(Reason.HTTP_MALFORMED, "a request names its Host once")
            raise self._refusal
        if len(self.pipeline) == MAX_PIPELINED:
            # The last one that waits ends the connection, and the client asks again.
            raise Refused(Reason.BUSY, "too many requests at once on one connection")
        super().on_headers_complete()
        self.idle[self] = None  # until the body is here, whose time the route bounds

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the head. Those of a trailer are dropped: no route knows one, and merged with
        the head (RFC 9110, 6.5.1) they would speak for it."""
        if self._in_head:
            super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        """Some bytes of the body, which have a limit of their own."""
        self._frame_bytes = max(0, self._frame_bytes - len(body) - CHUNK_FRAME_BYTES)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The body is here too."""
        super().on_message_complete()
        self._in_head = True
        self._stop_waiting()

    def on_response_complete(self) -> None:
        """Where the answer did not wait for the body, wait for the rest of that to discard it."""
        super().on_response_complete()
        if self._in_head and self._deadline is None and not self.pipeline:
            self.idle[self] = None  # uvicorn's own timer ends it
        if not self._in_head and self.cycle.response_complete and not self.transport.is_closing():
            self._expect_head()

    # -- leaving ----------------------------------------------------------------------------

    def pause_writing(self) -> None:
        """The client is slow to read: give it time, and not for ever."""
        super().pause_writing()
        if self._unread is None:
            self._unread = self.loop.call_later(self.patience_s, self._cut)

    def resume_writing(self) -> None:
        """It read."""
        super().resume_writing()
        self._read_again()

    def send_400_response(self, msg: str) -> None:
        """The answer to what cannot be parsed, and the end of the connection."""
        refusal = self._refusal or Refused(Reason.HTTP_MALFORMED, "the request cannot be parsed")
        self._refuse(refusal)

    def _refuse(self, refusal: Refused) -> None:
        """Read no further requests; answer, unless an earlier request is still being answered."""
        self._stop_waiting()
        self._ended = True
        cycle = self._newest()
        if cycle is not None and not cycle.response_complete:
            cycle.keep_alive = False
            if self.pipeline or not cycle.more_body:
                return  # its answer ends the connection
            cycle.disconnected = True  # its own body is broken, and this is the answer to that
            cycle.message_event.set()
            if cycle.response_started:
                self.transport.close()
                return
        self.transport.write(_bytes(refusal))
        self._linger()

    def _end_body(self) -> None:
        """Too much around the body: the parser would join a trailer of any length in memory."""
        if self.cycle.response_complete:
            self._stop_waiting()
            self._linger()
        else:
            detail = f"there are more than {MAX_HEAD_BYTES} bytes around the body"
            self._refuse(Refused(Reason.TOO_LARGE, detail))

    def _linger(self) -> None:
        self._ended = True
        self.transport.write_eof()
        self._deadline = self.loop.call_later(LINGER_S, self.transport.abort)

    def _unsupported_upgrade_warning(self) -> None:
        """An upgrade that we do not know is no fault; but the parser reads nothing behind it."""
        self._ended = True
        self.cycle.keep_alive = False

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answered = cycle
        super()._start_asgi_task(cycle, app)

    def _cut(self) -> None:
        self._nobody_reads()
        self.transport.abort()

    def _nobody_reads(self) -> None:
        """Let the requests under way end without an answer; written, it would be a fault."""
        self.pipeline.clear()
        if self._answered is not None:
            self._answered.disconnected = True
            self._answered.message_event.set()

    def _newest(self) -> RequestResponseCycle | None:
        # uvicorn's own type for it leaves out that there is none before the first request.
        return self.cycle

    # -- waiting ----------------------------------------------------------------------------

    def _make_room(self) -> bool:
        """Close the connection that has waited for its client the longest, or this one.

        Each is an open file, and a process without files cannot write its database either.
        """
        for other in self.idle:
            if other._leave():
                return True
        self.transport.write(_bytes(Refused(Reason.BUSY, "too many connections are open")))
        self.transport.close()
        return False

    def _leave(self) -> bool:
        """Close this connection, unless an answer is under way."""
        cycle = self._newest()
        if cycle is not None and not cycle.response_complete:
            if self.pipeline or not cycle.more_body or cycle.response_started:
                return False
            detail = "the body was slow to arrive, and others needed the connection"
            self.transport.write(_bytes(Refused(Reason.UPLOAD_TIMEOUT, detail)))
            self._nobody_reads()
        self._stop_waiting()
        self.transport.close()
        return True

    def _expect_head(self) -> None:
        self._stop_waiting()
        self.idle[self] = None
        self._deadline = self.loop.call_later(self.patience_s, self._waited)

    def _stop_waiting(self) -> None:
        self.idle.pop(self, None)
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _read_again(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _waited(self) -> None:
        self._deadline = None
        if self.transport.is_closing():
            return
        cycle = self._newest()
        if self._in_head and cycle is not None and not cycle.response_complete:
            self._expect_head()  # it waits for us
        elif self._in_head and self._head_bytes:
            detail = f"the head of the request did not arrive within {self.patience_s:g} s"
            self._refuse(Refused(Reason.UPLOAD_TIMEOUT, detail))
        else:
            self.transport.close()


def protocol(patience_s: float, max_connections: int = MAX_CONNECTIONS) -> type[HttpProtocol]:
    """The class that uvicorn makes one of for each connection of one service."""
    members = {"patience_s": patience_s, "max_connections": max_connections, "idle": {}}
    return type("HttpProtocol", (HttpProtocol,), members)


def _has_host(headers: Sequence[tuple[bytes, bytes]], version: str) -> bool:
    """Exactly one Host (RFC 9112, 3.2), which HTTP/1.0 alone may leave out.

    Of two, a proxy might go by the first and we by the second.
    """
    hosts = [value for name, value in headers if name == b"host"]
    if not hosts:
        return version == "1.0"
    return len(hosts) == 1 and _HOST.fullmatch(hosts[0].strip(b" \t")) is not None


def _head_too_large() -> Refused:
    return Refused(Reason.TOO_LARGE, f"the head of a request has at most {MAX_HEAD_BYTES} bytes")


def _bytes(refusal: Refused) -> bytes:
    """A whole answer; there is no address to name."""
    answer = problems.of_refused(refusal, "", close=True)
    headers = [name + b": " + value + b"\r\n" for name, value in answer.raw_headers]
    return b"".join([STATUS_LINE[answer.status_code], *headers, b"\r\n", bytes(answer.body)])
